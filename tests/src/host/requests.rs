//! Bodies of `/v1/decide`, and small changes to them.

use serde_json::{Value, json};

/// A clinician reads an observation of patient 123, whom they treat on the caller's word.
pub fn read() -> Value {
    json!({
        "request": { "method": "GET", "url": "/Observation/9" },
        "subject": { "user": "Practitioner/17", "client": "growth-chart", "scope": "user/Observation.rs" },
        "stored": { "Observation/9": observation("123") },
        "facts": { "relationships": [relationship("Practitioner/17", "123")] },
    })
}

/// The same without any word on relationships: the directory has to know.
pub fn read_by_directory() -> Value {
    without(&read(), "/facts")
}

/// A patient reads an observation of their own.
pub fn read_own() -> Value {
    json!({
        "request": { "method": "GET", "url": "/Observation/9" },
        "subject": { "user": "Patient/123", "client": "phr", "scope": "patient/Observation.rs", "patient": "123" },
        "stored": { "Observation/9": observation("123") },
    })
}

/// A clinician searches laboratory results and can narrow the search.
pub fn search() -> Value {
    json!({
        "request": { "method": "GET", "url": "/Observation?category=laboratory" },
        "subject": { "user": "Practitioner/17", "client": "growth-chart", "scope": "user/Observation.rs" },
        "facts": { "relationships": [relationship("Practitioner/17", "123")] },
        "obligations": ["search-narrowing"],
    })
}

/// Observation 9 of a patient.
pub fn observation(patient: &str) -> Value {
    json!({ "resourceType": "Observation", "id": "9", "subject": { "reference": format!("Patient/{patient}") } })
}

/// A live treatment relationship.
pub fn relationship(user: &str, patient: &str) -> Value {
    json!({ "user": user, "patient": patient, "kind": "treatment" })
}

/// A copy with the value at a JSON pointer (RFC 6901) set; missing objects on the way are made.
pub fn with(body: &Value, pointer: &str, value: Value) -> Value {
    let mut changed = body.clone();
    let mut at = &mut changed;
    for step in pointer.split('/').skip(1) {
        let step = step.replace("~1", "/");
        if at.is_null() {
            *at = json!({});
        }
        at = match step.parse::<usize>() {
            Ok(index) if at.is_array() => &mut at[index],
            _ => &mut at[step],
        };
    }
    *at = value;
    changed
}

/// A copy without the member at a JSON pointer.
pub fn without(body: &Value, pointer: &str) -> Value {
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let mut changed = body.clone();
    let removed = changed.pointer_mut(parent).and_then(Value::as_object_mut).and_then(|object| object.remove(member));
    assert!(removed.is_some(), "there is no {pointer}");
    changed
}

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use serde_json::{Value, json};

use super::apply;

fn stored() -> Value {
    json!({
        "resourceType": "Observation", "id": "o", "status": "preliminary", "valueString": "a",
        "subject": { "reference": "Patient/1" },
        "note": [{ "text": "one" }, { "text": "two" }], "category": [{ "text": "lab" }],
        "_status": { "id": "s" },
    })
}

fn after(patch: &Value) -> Option<Value> {
    let patched = apply(stored().to_string().as_bytes(), patch.to_string().as_bytes());
    patched.result.map(|result| serde_json::from_slice(&result).unwrap())
}

fn by_path(parts: Value) -> Value {
    json!({ "resourceType": "Parameters", "parameter": [{ "name": "operation", "part": parts }] })
}

#[test]
fn a_json_patch_is_applied_whole_or_not_at_all() {
    let moved = json!([{ "op": "move", "from": "/subject", "path": "/focus" }]);
    assert_eq!(after(&moved).unwrap()["focus"], json!({ "reference": "Patient/1" }));
    let whole = json!([{ "op": "replace", "path": "", "value": { "resourceType": "Observation", "id": "o" } }]);
    assert_eq!(after(&whole).unwrap(), json!({ "resourceType": "Observation", "id": "o" }));
    let fails = json!([{ "op": "remove", "path": "/status" }, { "op": "remove", "path": "/nothing" }]);
    assert_eq!(after(&fails), None);
    assert_eq!(after(&json!([{ "op": "merge", "path": "/status" }])), None);
}

#[test]
fn a_resource_that_is_copied_into_itself_does_not_grow_without_bound() {
    let copies = |count: usize, path: &dyn Fn(usize) -> String| {
        let copy = |n| json!({ "op": "copy", "from": "", "path": path(n) });
        after(&json!((0..count).map(copy).collect::<Vec<_>>()))
    };
    // Wide: each doubles it.
    assert!(copies(4, &|n| format!("/x{n}")).is_some());
    assert_eq!(copies(40, &|n| format!("/x{n}")), None);
    // Deep: each doubles how deep it is.
    assert!(copies(4, &|n| "/x".repeat(1 << n)).is_some());
    assert_eq!(copies(30, &|n| "/x".repeat(1 << n.min(12))), None);
    // The same, step by step, and by what is added.
    let grow = |count: usize| {
        let add = |n: usize| json!({ "op": "add", "path": "/x".repeat(n), "value": {} });
        after(&json!((1..=count).map(add).collect::<Vec<_>>()))
    };
    assert!(grow(64).is_some());
    assert_eq!(grow(65), None);
    let many = |count: usize| {
        let set = json!({ "op": "replace", "path": "/status", "value": "final" });
        after(&json!(vec![set; count]))
    };
    assert!(many(1_000).is_some());
    assert_eq!(many(1_001), None);
}

#[test]
fn a_patch_that_tests_says_so_whether_or_not_it_applies() {
    let tests = |patch: Value| apply(stored().to_string().as_bytes(), patch.to_string().as_bytes()).tests;
    assert!(tests(json!([{ "op": "test", "path": "/status", "value": "preliminary" }])));
    assert!(tests(json!([{ "op": "add", "path": "/x", "value": 1 }, { "op": "test", "path": "/y", "value": 1 }])));
    assert!(tests(json!([1])) && tests(json!([{ "path": "/x" }])));
    assert!(!tests(json!([{ "op": "add", "path": "/x", "value": 1 }])) && !tests(json!([])));
}

#[test]
fn a_fhirpath_patch_is_applied_where_its_result_is_beyond_doubt() {
    let path = |kind: &str, path: &str| {
        vec![json!({ "name": "type", "valueCode": kind }), json!({ "name": "path", "valueString": path })]
    };
    let with = |mut parts: Vec<Value>, more: &[Value]| {
        parts.extend_from_slice(more);
        by_path(json!(parts))
    };
    let value = json!({ "name": "value", "valueCode": "final" });
    let replaced = after(&with(
        path("replace", "Observation.subject.reference"),
        &[json!({ "name": "value", "valueString": "Patient/2" })],
    ));
    assert_eq!(replaced.unwrap()["subject"]["reference"], "Patient/2");
    let choice = after(&with(path("replace", "Observation.value"), &[json!({ "name": "value", "valueString": "b" })]));
    assert_eq!(choice.unwrap()["valueString"], "b");
    assert!(
        after(&with(path("replace", "Observation.note"), std::slice::from_ref(&value))).is_none(),
        "which of two notes"
    );
    let second = after(&with(path("delete", "Observation.note[1]"), &[])).unwrap();
    assert_eq!(second["note"], json!([{ "text": "one" }]));
    assert!(after(&with(path("delete", "Observation.category"), &[])).unwrap().get("category").is_none());
    assert!(after(&with(path("delete", "Observation.value"), &[])).unwrap().get("valueString").is_none());
    // It has an id of its own, which would stay behind.
    assert!(after(&with(path("delete", "Observation.status"), &[])).is_none());
    let named = json!({ "name": "name", "valueString": "note" });
    let note = json!({ "name": "value", "valueAnnotation": { "text": "three" } });
    let third = after(&with(path("add", "Observation"), &[named, note])).unwrap();
    assert_eq!(third["note"][2]["text"], "three");
    let index = |name: &str, at: u64| json!({ "name": name, "valueInteger": at });
    let turned =
        after(&with(path("move", "Observation.note"), &[index("source", 1), index("destination", 0)])).unwrap();
    assert_eq!(turned["note"][0]["text"], "two");
    assert!(after(&with(path("insert", "Observation.note"), &[index("index", 3), value.clone()])).is_none());
    assert!(after(&with(path("insert", "Observation.note"), &[index("index", 2), value.clone()])).is_some());
    for odd in
        ["Patient.note", "Observation.note.where(text='x')", "Observation.note[-1]", "Observation.note[x]", "note"]
    {
        assert!(after(&with(path("replace", odd), std::slice::from_ref(&value))).is_none(), "{odd}");
    }
    assert!(after(&with(path("upsert", "Observation.note[0]"), &[value])).is_none());
}

#[test]
fn what_is_added_is_judged_under_every_name_it_can_have() {
    let parts = json!([
        { "name": "type", "valueCode": "add" }, { "name": "path", "valueString": "Observation" },
        { "name": "name", "valueString": "effective" }, { "name": "value", "valueDateTime": "2026" },
    ]);
    let added = after(&by_path(parts)).unwrap();
    assert_eq!((&added["effective"], &added["effectiveDateTime"]), (&json!("2026"), &json!("2026")));
    let twice = json!([
        { "name": "type", "valueCode": "delete" }, { "name": "path", "valueString": "Observation.note[0]" },
        { "name": "path", "valueString": "Observation.note[1]" },
    ]);
    assert!(after(&by_path(twice)).is_none());
    let nested = json!([
        { "name": "type", "valueCode": "add" }, { "name": "path", "valueString": "Observation" },
        { "name": "name", "valueString": "subject" },
        { "name": "value", "part": [{ "name": "reference", "valueString": "Patient/2" }] },
    ]);
    assert!(after(&by_path(nested)).is_none());
}

#[test]
fn what_was_added_is_spoken_of_by_no_later_operation() {
    let operation = |parts: Value| json!({ "name": "operation", "part": parts });
    let add = |name: &str| {
        operation(json!([
            { "name": "type", "valueCode": "add" }, { "name": "path", "valueString": "Observation" },
            { "name": "name", "valueString": name }, { "name": "value", "valueReference": { "reference": "Patient/2" } }]))
    };
    let delete = |path: &str| {
        operation(json!([{ "name": "type", "valueCode": "delete" }, { "name": "path", "valueString": path }]))
    };
    let patch = |operations: Value| after(&json!({ "resourceType": "Parameters", "parameter": operations }));
    assert!(patch(json!([add("specimen")])).is_some());
    assert!(patch(json!([add("specimen"), add("device")])).is_some());
    assert!(patch(json!([add("specimen"), delete("Observation.note[0]")])).is_some());
    for path in
        ["Observation.specimen", "Observation.specimenReference", "Observation.spec", "Observation.specimen.reference"]
    {
        assert_eq!(patch(json!([add("specimen"), delete(path)])), None, "{path}");
    }
    assert_eq!(patch(json!([add("specimen"), add("specimen")])), None);
    // A list that was there has one name.
    let note = operation(json!([
        { "name": "type", "valueCode": "add" }, { "name": "path", "valueString": "Observation" },
        { "name": "name", "valueString": "note" }, { "name": "value", "valueAnnotation": { "text": "three" } }]));
    assert!(patch(json!([note, note, delete("Observation.note[0]")])).is_some());
}

#[test]
fn only_choices_are_known_by_half_their_names() {
    let delete = |path: &str| {
        after(&by_path(json!([{ "name": "type", "valueCode": "delete" }, { "name": "path", "valueString": path }])))
    };
    assert_eq!(delete("Observation.value").unwrap().get("valueString"), None);
    for path in ["Observation.valueStr", "Observation.sub", "Observation.resource", "Observation.val"] {
        assert_eq!(delete(path), None, "{path}");
    }
    let patient = br#"{"resourceType":"Patient","birthDate":"2000-01-01","generalPractitioner":[{"reference":"Practitioner/1"}]}"#;
    for path in ["Patient.birth", "Patient.general"] {
        let patch =
            by_path(json!([{ "name": "type", "valueCode": "delete" }, { "name": "path", "valueString": path }]));
        assert_eq!(apply(patient, patch.to_string().as_bytes()).result, None, "{path}");
    }
}

#![allow(clippy::unwrap_used, reason = "a failure here is a failed test")]

use chartgate_model::parse::ParseLimits;
use chartgate_model::{
    DecisionRequest, FhirBase, FhirRequest, Interaction, Millis, ReturnPreference, Stored, Subject, SubjectKind,
};
use serde_json::{Value, json};

use super::entry::{EntryError, decision, requests};

fn bundle(entries: Value) -> DecisionRequest {
    let body = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
    let request = FhirRequest {
        body: Some(body.to_string().into_bytes()),
        prefer_return: ReturnPreference::Minimal,
        ..FhirRequest::new(Interaction::Transaction, "", None)
    };
    DecisionRequest {
        tenant: "default".into(),
        base: FhirBase { name: "default".into(), url: "https://ehr.example/fhir".into(), version: "4.0.1".into() },
        request,
        subject: Subject {
            kind: SubjectKind::Patient,
            user: "Patient/1".into(),
            client: "phr".into(),
            scope: "patient/*.cruds".into(),
            patient: Some("1".into()),
            encounter: None,
            expires: None,
        },
        stored: vec![
            Stored {
                key: "Observation/o".into(),
                content: Some(br#"{"resourceType":"Observation","id":"o"}"#.to_vec()),
            },
            Stored { key: "Observation/other".into(), content: None },
        ],
        relationships: Vec::new(),
        records: Vec::new(),
        obligations: Vec::new(),
        pin: None,
        explain: false,
        now: Millis(0),
        simulate: false,
        break_glass: Vec::new(),
    }
}

fn read(entries: Value) -> Vec<Result<FhirRequest, EntryError>> {
    requests(&bundle(entries), &ParseLimits::default(), 10).unwrap()
}

fn one(entry: Value) -> Result<FhirRequest, EntryError> {
    read(json!([entry])).remove(0)
}

fn body(request: &FhirRequest) -> Value {
    serde_json::from_slice(request.body.as_deref().unwrap()).unwrap()
}

#[test]
fn an_entry_is_the_request_it_would_be_alone() {
    let get = one(json!({ "request": { "method": "GET", "url": "Observation?patient=1" } })).unwrap();
    assert_eq!((get.interaction, get.resource_type.as_str()), (Interaction::SearchType, "Observation"));
    let observation = json!({ "resourceType": "Observation", "status": "final" });
    let post = json!({ "resource": observation, "request": { "method": "POST", "url": "Observation", "ifNoneExist": "code=x" } });
    let post = one(post).unwrap();
    assert!(post.conditional && post.parameters.len() == 1);
    assert_eq!(body(&post), observation);
    assert_eq!(post.prefer_return, ReturnPreference::Minimal, "asked for of the whole");
    // What is sent along with a read counts for nothing.
    assert!(
        one(json!({ "resource": observation, "request": { "method": "GET", "url": "Observation/o" } }))
            .unwrap()
            .body
            .is_none()
    );
}

#[test]
fn a_patch_is_what_the_binary_holds_or_parameters() {
    let of = |content_type: &str, data: &str| {
        let binary = json!({ "resourceType": "Binary", "contentType": content_type, "data": data });
        one(json!({ "resource": binary, "request": { "method": "PATCH", "url": "Observation/o" } }))
    };
    // `[]`
    assert_eq!(of("application/json-patch+json", "W10=").unwrap().body.unwrap(), b"[]");
    assert!(of("application/json-patch+json", "W10").is_err() && of("text/plain", "W10=").is_err());
    let parameters = json!({ "resourceType": "Parameters" });
    let patch =
        one(json!({ "resource": parameters, "request": { "method": "PATCH", "url": "Observation/o" } })).unwrap();
    assert_eq!((patch.interaction, body(&patch)), (Interaction::Patch, parameters));
    // A Binary is a resource like any other where nothing is patched.
    let binary = json!({ "resourceType": "Binary", "contentType": "text/plain", "data": "W10=" });
    assert_eq!(
        body(&one(json!({ "resource": binary, "request": { "method": "POST", "url": "Binary" } })).unwrap()),
        binary
    );
}

#[test]
fn what_is_no_request_is_refused_by_its_member() {
    let member = |entry: Value| match one(entry) {
        Err(EntryError::Malformed { member, .. }) => member,
        other => format!("{other:?}"),
    };
    assert_eq!(member(json!(1)), "entry");
    assert_eq!(member(json!({})), "request");
    assert_eq!(member(json!({ "request": { "method": "GET" } })), "entry");
    assert_eq!(member(json!({ "request": { "method": "MOVE", "url": "Observation/o" } })), "request.method");
    for url in ["Patient/1/../2", "https://other.example/fhir/Patient/1", "/Patient//2"] {
        assert_eq!(member(json!({ "request": { "method": "GET", "url": url } })), "request.url", "{url}");
    }
    assert_eq!(member(json!({ "request": { "method": "PUT", "url": "Observation/o" } })), "request.body");
    let nested = json!({ "resource": { "resourceType": "Bundle", "type": "batch" }, "request": { "method": "POST", "url": "" } });
    assert_eq!(one(nested).unwrap_err(), EntryError::Nested);
}

#[test]
fn a_name_that_others_refer_by_is_that_of_what_the_entry_writes() {
    let put = |full_url: &str, id: &str| {
        let resource = json!({ "resourceType": "Observation", "id": id });
        json!({ "fullUrl": full_url, "resource": resource, "request": { "method": "PUT", "url": format!("Observation/{id}") } })
    };
    assert!(one(put("https://ehr.example/fhir/Observation/o", "o")).is_ok());
    assert!(one(put("urn:uuid:6a1d7d3c-6f4f-4f31-9d43-6f2f3a1e0b0a", "o")).is_ok());
    for name in ["https://ehr.example/fhir/Patient/1", "https://other.example/Observation/o", "Observation/o", ""] {
        assert_eq!(one(put(name, "o")).unwrap_err(), EntryError::FullUrl, "{name}");
    }
    let twice = read(json!([put("urn:uuid:a", "o"), put("urn:uuid:a", "p")]));
    assert!(twice.iter().all(|entry| *entry == Err(EntryError::FullUrl)));
}

#[test]
fn a_name_is_resolved_where_the_id_is_known_and_stays_where_it_is_not() {
    let encounter = json!({ "resourceType": "Encounter", "id": "e" });
    let refers = |name: &str| {
        let resource =
            json!({ "resourceType": "Observation", "subject": { "reference": name }, "note": [{ "text": name }] });
        json!({ "resource": resource, "request": { "method": "POST", "url": "Observation" } })
    };
    let entries = read(json!([
        { "fullUrl": "urn:uuid:a", "resource": encounter, "request": { "method": "PUT", "url": "Encounter/e" } },
        { "fullUrl": "urn:uuid:b", "resource": { "resourceType": "Patient" }, "request": { "method": "POST", "url": "Patient" } },
        refers("urn:uuid:a"),
        refers("urn:uuid:b"),
        refers("urn:uuid:c"),
    ]));
    let subject = |at: usize| body(entries.get(at).unwrap().as_ref().unwrap())["subject"]["reference"].clone();
    assert_eq!((subject(2), subject(3), subject(4)), (json!("Encounter/e"), json!("urn:uuid:b"), json!("urn:uuid:c")));
    let note = body(entries.get(2).unwrap().as_ref().unwrap())["note"][0]["text"].clone();
    assert_eq!(note, "urn:uuid:a", "words are words");
}

#[test]
fn a_bundle_has_one_entry_at_least_and_so_many_at_the_most() {
    let entry = json!({ "request": { "method": "GET", "url": "Observation/o" } });
    let of = |count: usize| requests(&bundle(json!(vec![entry.clone(); count])), &ParseLimits::default(), 10);
    assert!(of(0).is_none() && of(1).is_some() && of(10).is_some() && of(11).is_none());
    assert!(requests(&bundle(json!({})), &ParseLimits::default(), 10).is_none());
}

#[test]
fn an_entry_takes_along_what_is_stored_of_its_own_resource() {
    let of = |url: &str, method: &str| {
        let bundle = bundle(json!([{ "request": { "method": method, "url": url } }]));
        let request = requests(&bundle, &ParseLimits::default(), 10).unwrap().remove(0).unwrap();
        decision(&bundle, request).stored.into_iter().map(|stored| stored.key).collect::<Vec<_>>()
    };
    assert_eq!(of("Observation/o", "DELETE"), ["Observation/o"]);
    assert_eq!(of("Observation/other", "GET"), ["Observation/other"]);
    assert!(of("Observation/oth", "GET").is_empty() && of("Observation?patient=1", "GET").is_empty());
}

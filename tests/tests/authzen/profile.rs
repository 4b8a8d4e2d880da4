//! The FHIR profile: which request the entities stand for, and what contradicts itself.

use chartgate_tests::host::requests::{relationship, with, without};
use serde_json::{Value, json};

use crate::{action, alice, content, decided, evaluation, message, observation, read, records, updated};

/// The message of a 400.
fn refused(body: &Value) -> String {
    let (status, text) = message(&evaluation(body));
    assert_eq!(status, 400, "{text}");
    text
}

fn search(properties: Value) -> Value {
    let resource = json!({ "type": "Observation", "id": "*", "properties": properties });
    let body = json!({ "subject": alice(), "action": action("search-type"), "resource": resource });
    with(&body, "/context/supported_obligations", json!(["search-narrowing"]))
}

fn named(client: &str, body: &Value) -> Value {
    with(body, "/subject/properties/client", json!(client))
}

#[test]
fn each_interaction_is_read_as_the_fhir_request_it_stands_for() {
    let instance = json!({ "type": "Observation", "id": "9" });
    let of_type = json!({ "type": "Observation", "id": "*" });
    let system = json!({ "type": "*", "id": "*" });
    let put = |properties: Value| with(&instance, "/properties", properties);
    let bundle = |kind: &str| {
        with(&system, "/properties/content", json!({ "resourceType": "Bundle", "type": kind, "entry": [] }))
    };
    let stored = content("9", "123");
    let new = without(&stored, "/id");
    let version = with(&stored, "/meta/versionId", json!("2"));
    let table = [
        ("read", put(json!({ "content": stored })), "Observation", json!("9")),
        ("read", put(json!({ "stored": stored })), "Observation", json!("9")),
        ("vread", put(json!({ "version": "2", "content": version })), "Observation", json!("9")),
        ("history-instance", instance.clone(), "Observation", json!("9")),
        ("history-type", of_type.clone(), "Observation", json!(null)),
        ("history-system", system.clone(), "", json!(null)),
        ("search-type", of_type.clone(), "Observation", json!(null)),
        ("search-type", with(&of_type, "/id", json!("")), "Observation", json!(null)),
        ("search-system", system.clone(), "", json!(null)),
        ("create", with(&of_type, "/properties/content", new), "Observation", json!(null)),
        ("update", put(json!({ "content": stored, "stored": stored })), "Observation", json!("9")),
        ("delete", put(json!({ "content": stored })), "Observation", json!("9")),
        ("operation", put(json!({ "url": "/Observation/9/$meta", "stored": stored })), "Observation", json!("9")),
        ("batch", bundle("batch"), "", json!(null)),
        ("transaction", bundle("transaction"), "", json!(null)),
        ("capabilities", system.clone(), "", json!(null)),
    ];
    for (at, (name, resource, kind, id)) in table.into_iter().enumerate() {
        let client = format!("interaction-{at}");
        let body = json!({ "subject": alice(), "action": action(name), "resource": resource });
        evaluation(&named(&client, &body)).decided();
        let input = &records(&client)[0]["input"];
        assert_eq!((&input["interaction"], &input["resource_type"], &input["id"]), (&json!(name), &json!(kind), &id));
    }
}

#[test]
fn a_patch_says_which_kind_it_is() {
    let patch = json!([{ "op": "replace", "path": "/status", "value": "amended" }]);
    let resource = with(&updated("9", "123"), "/properties/content", patch);
    let body = json!({ "subject": alice(), "action": action("patch"), "resource": resource });
    assert!(refused(&body).starts_with("action.properties.headers.content-type: "));
    let headers = json!({ "Content-Type": "application/json-patch+json" });
    let body = with(&body, "/action/properties/headers", headers);
    assert!(decided(&body).0);
    let moved = json!([{ "op": "replace", "path": "/subject/reference", "value": "Patient/999" }]);
    assert!(!decided(&with(&body, "/resource/properties/content", moved)).0, "what comes of it is judged");
}

#[test]
fn a_search_is_a_url_or_parameters() {
    let expected = json!([{
        "id": "search-narrowing", "method": "GET", "url": "/Observation?category=laboratory&code=a%7Cb&patient=123", "body": null,
    }]);
    let forms = [
        json!({ "url": "/Observation?category=laboratory&code=a%7Cb" }),
        json!({ "url": "https://ehr.example/fhir/Observation?category=laboratory&code=a%7Cb" }),
        json!({ "parameters": { "category": "laboratory", "code": "a|b" } }),
        json!({ "parameters": { "category": ["laboratory"], "code": ["a|b"] } }),
    ];
    for properties in forms {
        let (decision, context) = decided(&search(properties));
        assert!(decision);
        assert_eq!(context, json!({ "obligations": expected }));
    }
    let repeats = search(json!({ "parameters": { "date": ["ge2026-01-01", "lt2026-02-01"] } }));
    evaluation(&named("repeats", &repeats)).decided();
    let pairs = json!([["date", "ge2026-01-01"], ["date", "lt2026-02-01"]]);
    assert_eq!(records("repeats")[0]["input"]["parameters"], pairs);
}

#[test]
fn a_permit_whose_obligation_the_caller_cannot_do_is_a_deny() {
    let body = search(json!({ "url": "/Observation?category=laboratory" }));
    for declared in [json!([]), json!(["if-match"])] {
        assert_eq!(decided(&with(&body, "/context/supported_obligations", declared)), (false, Value::Null));
    }
    assert_eq!(decided(&without(&body, "/context")), (false, Value::Null));
    let write = with(&updated("9", "123"), "/properties/stored/meta/versionId", json!("3"));
    let write = json!({ "subject": alice(), "action": action("update"), "resource": write });
    assert_eq!(decided(&write), (false, Value::Null));
    let able = with(&write, "/context/supported_obligations", json!(["if-match"]));
    assert_eq!(decided(&able), (true, json!({ "obligations": [{ "id": "if-match", "version": "3" }] })));
}

#[test]
fn what_contradicts_the_entities_is_refused() {
    let at = |pointer: &str, value: Value| with(&read(), pointer, value);
    let url = |url: &str| at("/resource/properties/url", json!(url));
    let elsewhere = "resource.properties.url: is not about the ";
    let table = [
        (url("/Observation/10"), format!("{elsewhere}resource id given")),
        (url("/Condition/record-1"), format!("{elsewhere}resource type given")),
        (url("/Observation?_id=record-1"), format!("{elsewhere}action given")),
        (url("/Observation/record-1/_history/2"), format!("{elsewhere}action given")),
        (search_at("/Condition?category=laboratory"), format!("{elsewhere}resource type given")),
        (search_at("/Observation/9"), format!("{elsewhere}action given")),
        (at("/resource/id", json!("record-1/_history/2")), "resource".into()),
        (at("/resource/id", json!("record-1?_elements=id")), "resource".into()),
        (at("/resource/id", json!("record-1/../record-2")), "resource".into()),
        (at("/resource/id", json!("*")), "resource".into()),
        (at("/resource/id", json!("")), "resource".into()),
        (at("/resource/type", json!("Patient/123/Observation")), "resource".into()),
        (at("/resource/type", json!("record")), "resource".into()),
        (at("/resource/properties/version", json!("2")), "resource: is not about the version given".into()),
        (at("/resource/properties/content/id", json!("10")), "resource.properties: ".into()),
        (at("/resource/properties/content/resourceType", json!("Condition")), "resource.properties: ".into()),
        (at("/resource/properties/stored", content("record-1", "123")), "resource.properties.stored: ".into()),
        (at("/action/name", json!("vread")), "resource.properties.version: is missing".into()),
        (at("/action/name", json!("write")), "action.name: ".into()),
        (at("/action/name", json!("operation")), "resource.properties.url: ".into()),
        (at("/subject/type", json!("user")), "subject.properties.kind: ".into()),
        (at("/subject/id", json!("alice/../bob")), "subject.id: ".into()),
        (at("/subject/properties/kind", json!("system")), "subject.type: ".into()),
        (
            with(&at("/subject/type", json!("Client")), "/subject/properties/kind", json!("system")),
            "subject.properties.client: ".into(),
        ),
        (at("/subject", json!({ "type": "Client", "id": "backend" })), "subject.properties.kind: ".into()),
        (at("/subject", client_alone()), "subject.properties.kind: `system` is not enabled".into()),
        (at("/action/properties/headers/authorization", json!("Bearer a.b.c")), "subject: ".into()),
        (at("/context/fhir", json!("other")), "context.fhir: ".into()),
    ];
    for (body, named) in table {
        let text = refused(&body);
        assert!(text.starts_with(&named), "{named}: {text}");
        assert!(!text.contains("a.b.c"), "{text}");
    }
    let both = search(json!({ "url": "/Observation", "parameters": { "code": "x" } }));
    assert!(refused(&both).starts_with("resource.properties.parameters: "));
    let with_content = search(json!({ "content": content("9", "123") }));
    assert!(refused(&with_content).starts_with("resource.properties.content: "));
    let in_agreement = url("/Observation/record-1?_elements=status");
    assert_eq!(decided(&in_agreement), (true, Value::Null));
}

/// A client without a user.
fn client_alone() -> Value {
    json!({ "type": "Client", "id": "backend", "properties": { "kind": "system", "scope": "system/*.rs" } })
}

fn search_at(url: &str) -> Value {
    search(json!({ "url": url }))
}

#[test]
fn without_content_a_deny_names_what_it_needs_and_a_patient_does_not_stand_for_it() {
    let needs = (false, json!({ "needs": ["Observation/record-1"] }));
    let bare = without(&read(), "/resource/properties");
    assert_eq!(decided(&bare), needs);
    for patient in ["123", "124"] {
        assert_eq!(decided(&with(&bare, "/resource/properties/patient", json!(patient))), needs);
    }
    let absent = with(&bare, "/resource/properties/content", json!(null));
    assert_eq!(decided(&absent), (false, Value::Null));
    // A patient's own record is in the URL: no content is needed.
    let chart = json!({ "type": "Patient", "id": "123" });
    let chart = with(&with(&bare, "/resource", chart), "/subject/properties/scope", json!("user/Patient.rs"));
    assert_eq!(decided(&chart), (true, Value::Null));
}

#[test]
fn d07_a_patient_that_contradicts_the_content_is_refused() {
    const PATIENT: &str = "/resource/properties/patient";
    let told = |patient: &str| with(&read(), PATIENT, json!(patient));
    assert_eq!(decided(&told("123")), (true, Value::Null));
    for patient in ["124", "Patient/123", "", "*", ".."] {
        assert!(refused(&told(patient)).starts_with("resource.properties.patient: "), "{patient}");
    }
    // The claim about somebody in reach never outweighs content about somebody else.
    let other = with(&told("123"), "/resource/properties/content/subject/reference", json!("Patient/124"));
    assert!(refused(&other).starts_with("resource.properties.patient: "));
    let honest = with(&other, PATIENT, json!("124"));
    assert_eq!(decided(&honest), (false, Value::Null));
    // Both images of a write.
    let write = json!({ "subject": alice(), "action": action("update"), "resource": updated("9", "123") });
    assert_eq!(decided(&with(&write, PATIENT, json!("123"))), (true, Value::Null));
    for image in ["content", "stored"] {
        let moved = with(&write, &format!("/resource/properties/{image}/subject/reference"), json!("Patient/124"));
        assert!(refused(&with(&moved, PATIENT, json!("123"))).starts_with("resource.properties.patient: "));
    }
    let chart = json!({ "type": "Patient", "id": "123", "properties": { "patient": "124" } });
    assert!(refused(&with(&read(), "/resource", chart)).starts_with("resource.properties.patient: "));
    // A search is about a patient when it says so.
    let searched = |url: &str| with(&search_at(url), PATIENT, json!("123"));
    for url in ["/Observation?patient=123", "/Observation?subject=Patient/123", "/Patient/123/Observation?code=x"] {
        assert_eq!(evaluation(&searched(url)).status, 200, "{url}");
    }
    for url in ["/Observation?patient=124", "/Observation?patient=123,124", "/Observation", "/Patient/124/Observation"]
    {
        assert!(refused(&searched(url)).starts_with("resource.properties.patient: "), "{url}");
    }
}

#[test]
fn facts_are_joined_as_in_decide() {
    let other = with(&read(), "/resource", observation("record-1", "125"));
    assert_eq!(decided(&other), (false, Value::Null));
    let told = json!([relationship("Practitioner/alice", "125")]);
    assert_eq!(decided(&with(&other, "/context/facts/relationships", told)), (true, Value::Null));
    let own = json!([with(&relationship("Practitioner/alice", "125"), "/kind", json!("self"))]);
    let text = refused(&with(&other, "/context/facts/relationships", own));
    assert!(text.starts_with("context.facts.relationships[0].kind: "), "{text}");
}

#[test]
fn a_launch_patient_and_an_ended_token_count() {
    let bound = with(&read(), "/subject/properties/scope", json!("patient/Observation.rs"));
    assert_eq!(decided(&bound), (false, Value::Null));
    let launched = |id: &str| with(&bound, "/subject/properties/patient", json!(id));
    assert_eq!((decided(&launched("123")), decided(&launched("124"))), ((true, Value::Null), (false, Value::Null)));
    let ends = |end: &str| decided(&with(&read(), "/subject/properties/expires", json!(end)));
    assert_eq!(ends("2999-01-01T00:00:00Z"), (true, Value::Null));
    assert_eq!(ends("2001-01-01T00:00:00Z"), (false, Value::Null));
    let ended = with(&read(), "/subject/properties/expires", json!("2001-01-01T00:00:00Z"));
    let (_, context) = decided(&with(&ended, "/context/explain", json!(true)));
    assert_eq!(context["reason"]["code"], "token-expired");
    let record = crate::host().0.record(&context["id"]);
    assert_eq!((&record["face"], &record["outcome"]["decision"]), (&json!("authzen"), &json!("deny")));
}

#[test]
fn reasons_are_told_only_to_those_who_ask() {
    let (decision, context) = decided(&with(&read(), "/context/explain", json!(true)));
    assert!(decision);
    assert_eq!(context["reason"]["code"], "relationship-treatment");
    assert_eq!(context["policy"]["name"], "smart-access");
    assert!(context["trace"].as_array().unwrap().iter().any(|step| step["rule"] == "scope"), "{context}");
    assert_eq!(crate::host().0.record(&context["id"])["face"], "authzen");
    let other = with(&read(), "/resource", observation("record-1", "124"));
    assert_eq!(evaluation(&other).text, r#"{"decision":false}"#);
    let (_, context) = decided(&with(&other, "/context/explain", json!(true)));
    assert_eq!(context["reason"]["code"], "no-relationship");
    assert_eq!(decided(&with(&read(), "/context/explain", json!(false))), (true, Value::Null));
}

#[test]
fn break_glass_never_helps_and_is_on_record() {
    let hidden = with(&read(), "/resource", observation("record-1", "124"));
    let fact = with(&relationship("Practitioner/alice", "124"), "/via", json!("break-glass"));
    let table = [
        ("/context/purpose_of_use", json!("BTG"), "context.purpose_of_use"),
        ("/context/break_glass/break-glass", json!(true), "context.break_glass.break-glass"),
        ("/subject/properties/purpose", json!(["TREAT", "ETREAT"]), "subject.properties.purpose"),
        ("/action/properties/btg", json!(1), "action.properties.btg"),
        ("/resource/properties/reason", json!("break-the-glass"), "resource.properties.reason"),
        ("/action/properties/headers/X-Break-Glass", json!("1"), "request.headers.x-break-glass"),
        ("/subject/properties/scope", json!("user/Observation.rs break-glass"), "subject.scope"),
        ("/context/facts/relationships", json!([fact]), "caller Practitioner/alice/124/treatment via break-glass"),
    ];
    for (at, (pointer, value, mark)) in table.into_iter().enumerate() {
        let client = format!("glass-{at}");
        assert_eq!(decided(&named(&client, &with(&hidden, pointer, value))), (false, Value::Null), "{pointer}");
        assert_eq!(records(&client)[0]["break_glass"], json!([mark]), "{pointer}");
    }
    assert_eq!(decided(&with(&read(), "/context/purpose_of_use", json!("BTG"))), (true, Value::Null));
}

#[test]
fn content_as_a_value_and_as_text_is_decided_alike() {
    for patient in ["123", "124"] {
        let value = with(&read(), "/resource", observation("record-1", patient));
        let text = content("record-1", patient).to_string();
        let text = with(&value, "/resource/properties/content", json!(text));
        assert_eq!(decided(&value), decided(&text));
    }
    let twice = json!(r#"{"resourceType":"Observation","id":"record-1","id":"record-1"}"#);
    assert!(refused(&with(&read(), "/resource/properties/content", twice)).starts_with("resource.properties: "));
}

//! `POST /v1/decide` of batches and transactions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::sync::OnceLock;

use chartgate_tests::host::{Answer, EHR, Guest, Host, World};
use serde_json::{Value, json};

fn shared() -> &'static (World, Host) {
    static HOST: OnceLock<(World, Host)> = OnceLock::new();
    HOST.get_or_init(|| {
        let mut world = World::new();
        world.add(Guest::Rules, "0.1.0", r#"{"writes":true}"#);
        let limits = "[limits]\nbundle_entries = 20\nbody_bytes = 20000\nbundle_bytes = 60000\ndeadline_ms = 60000\n";
        let rights = ["decide", "filter", "vouch-subject", "vouch-facts"];
        world.more = format!("{limits}{}", World::caller("gate", "gate-key", &["default"], &rights));
        let host = world.start();
        (world, host)
    })
}

fn decide(body: &Value) -> Answer {
    shared().1.decide_as(EHR, body)
}

fn asked(kind: &str, entries: Value) -> Value {
    json!({
        "request": {
            "method": "POST", "url": "/",
            "headers": { "content-type": "application/fhir+json", "prefer": "return=minimal" },
            "body": { "resourceType": "Bundle", "type": kind, "entry": entries },
        },
        "subject": { "user": "Patient/1", "client": "phr", "patient": "1", "scope": "patient/*.cruds" },
        "facts": { "patients": [{ "patient": "1", "birth_date": "1980-01-01" }, { "patient": "2", "birth_date": "1980-01-01" }] },
        "obligations": ["search-narrowing", "response-filter", "if-match", "return-minimal", "batch-entries"],
    })
}

fn observation(patient: &str) -> Value {
    json!({ "resourceType": "Observation", "status": "final", "subject": { "reference": format!("Patient/{patient}") } })
}

fn get(url: &str) -> Value {
    json!({ "request": { "method": "GET", "url": url } })
}

fn post(patient: &str) -> Value {
    json!({ "resource": observation(patient), "request": { "method": "POST", "url": "Observation" } })
}

fn entries(answer: &Answer) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let entries = answer.json()["entries"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| (text(&entry["decision"]), text(&entry["reason"]["code"]))).collect()
}

fn verdict(answer: &Answer) -> (String, String) {
    answer.verdict()
}

fn pair(decision: &str, reason: &str) -> (String, String) {
    (decision.into(), reason.into())
}

#[test]
fn entries_of_a_batch_fail_singly() {
    let answer =
        decide(&asked("batch", json!([get("Observation?patient=1"), get("Observation?patient=2"), get("Patient/1")])));
    assert_eq!(verdict(&answer), pair("permit", "entries-permitted"), "{}", answer.text);
    assert_eq!(answer.json()["obligations"], json!([{ "id": "batch-entries" }]));
    let wanted = [pair("permit", "self"), pair("deny", "not-launch-patient"), pair("permit", "self")];
    assert_eq!(entries(&answer), wanted);
    let told = &answer.json()["entries"][1];
    assert_eq!(told["denial"]["status"], 404);
    assert!(told["id"].is_string());
}

#[test]
fn a_batch_that_is_permitted_in_part_needs_a_caller_who_can_run_a_part() {
    let mut body = asked("batch", json!([get("Patient/1"), get("Patient/2")]));
    body["obligations"] = json!(["search-narrowing"]);
    assert_eq!(verdict(&decide(&body)), pair("deny", "obligation-not-supported"));
    body["request"]["body"]["entry"] = json!([get("Patient/1"), get("Observation?patient=1")]);
    let whole = decide(&body);
    assert_eq!(verdict(&whole), pair("permit", "entries-permitted"));
    assert_eq!(whole.json()["obligations"], json!([]));
    body["request"]["body"]["entry"] = json!([get("Patient/1"), get("Observation?code=x")]);
    assert_eq!(verdict(&decide(&body)), pair("deny", "obligation-not-supported"), "an entry has to be narrowed");
}

#[test]
fn a_transaction_is_denied_whole() {
    let good = decide(&asked("transaction", json!([post("1"), post("1")])));
    assert_eq!(verdict(&good), pair("permit", "entries-permitted"), "{}", good.text);
    let bad = decide(&asked("transaction", json!([post("1"), post("2")])));
    assert_eq!(verdict(&bad), pair("deny", "transaction-denied"));
    assert_eq!(entries(&bad), [pair("permit", "self"), pair("deny", "not-launch-patient")]);
    assert_eq!(bad.json()["denial"]["status"], 403);
    assert!(bad.json()["reason"]["text"].as_str().unwrap().contains("entry 1"), "{}", bad.text);
}

#[test]
fn an_entry_is_judged_as_it_would_be_alone() {
    let stranger = json!({ "reference": "Patient/2" });
    let hijack =
        json!({ "resourceType": "Observation", "id": "o", "status": "final", "subject": { "reference": "Patient/1" } });
    let alone = [
        ("GET", "/Observation?subject=Patient/2", Value::Null),
        ("GET", "/Patient/2", Value::Null),
        ("GET", "/Observation?_has:Group:member:_id=1", Value::Null),
        ("PUT", "/Observation/o", hijack),
        ("DELETE", "/Observation?patient=1,2", Value::Null),
        ("POST", "/Patient", json!({ "resourceType": "Patient" })),
        ("POST", "/Observation", observation("1")),
        ("GET", "/Patient/1/$everything", Value::Null),
        ("GET", "/Patient/$export", Value::Null),
        ("GET", "/metadata", Value::Null),
    ];
    let stored = json!({ "Observation/o": { "resourceType": "Observation", "id": "o", "status": "final", "subject": stranger } });
    let mut expected = Vec::new();
    let mut together = Vec::new();
    for (method, url, body) in &alone {
        let mut one = asked("batch", json!([]));
        one["request"]["method"] = json!(method);
        one["request"]["url"] = json!(url);
        one["request"]["body"] = body.clone();
        one["stored"] = stored.clone();
        let answer = decide(&one);
        let (decision, reason) = verdict(&answer);
        expected.push((decision, reason, answer.json()["obligations"].clone(), answer.json()["denial"].clone()));
        let mut entry = get(url.trim_start_matches('/'));
        entry["request"]["method"] = json!(method);
        if !body.is_null() {
            entry["resource"] = body.clone();
        }
        together.push(entry);
    }
    let mut bundle = asked("batch", json!(together));
    bundle["stored"] = stored;
    let answer = decide(&bundle);
    let found: Vec<_> = answer.json()["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| {
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            (
                text(&entry["decision"]),
                text(&entry["reason"]["code"]),
                entry["obligations"].clone(),
                entry["denial"].clone(),
            )
        })
        .collect();
    assert_eq!(found, expected);
    assert!(expected.iter().any(|one| one.0 == "permit") && expected.iter().any(|one| one.0 == "deny"));
}

#[test]
fn what_is_no_request_fails_by_itself_in_a_batch_and_with_the_rest_in_a_transaction() {
    let nested = json!({ "resource": { "resourceType": "Bundle", "type": "batch", "entry": [get("Patient/2")] }, "request": { "method": "POST", "url": "" } });
    let entries_of = json!([get("Patient/1"), get("Patient/1/../2"), nested]);
    let batch = decide(&asked("batch", entries_of.clone()));
    assert_eq!(verdict(&batch).0, "permit");
    let wanted = [pair("permit", "self"), pair("deny", "entry-malformed"), pair("deny", "bundle-nested")];
    assert_eq!(entries(&batch), wanted);
    assert!(batch.json()["entries"][1].get("id").is_none());
    assert_eq!(verdict(&decide(&asked("transaction", entries_of))), pair("deny", "transaction-denied"));
}

#[test]
fn nothing_refers_to_a_stranger_by_another_name() {
    let named = |full_url: &str, url: &str, method: &str| {
        let resource = json!({ "resourceType": "Observation", "id": "o", "status": "final", "subject": { "reference": "Patient/1" } });
        json!({ "fullUrl": full_url, "resource": resource, "request": { "method": method, "url": url } })
    };
    let moved = json!([named("https://ehr.example/fhir/Patient/1", "Observation", "POST"), post("1")]);
    let answer = decide(&asked("transaction", moved));
    assert_eq!(entries(&answer)[0], pair("deny", "full-url-mismatch"));
    // A subject that the transaction itself makes is nobody's chart yet.
    let mut about = observation("1");
    about["subject"] = json!({ "reference": "urn:uuid:6a1d7d3c-6f4f-4f31-9d43-6f2f3a1e0b0a" });
    let made = json!([
        { "fullUrl": "urn:uuid:6a1d7d3c-6f4f-4f31-9d43-6f2f3a1e0b0a", "resource": { "resourceType": "Patient" }, "request": { "method": "POST", "url": "Patient" } },
        { "resource": about, "request": { "method": "POST", "url": "Observation" } },
    ]);
    let answer = decide(&asked("transaction", made));
    assert_eq!(entries(&answer), [pair("deny", "type-not-writable"), pair("deny", "not-in-compartment")]);
}

#[test]
fn a_bundle_has_its_bounds_and_no_other_request_has_them() {
    let many = |count: usize| decide(&asked("batch", json!(vec![get("Patient/1"); count])));
    assert_eq!(verdict(&many(20)), pair("permit", "entries-permitted"));
    assert_eq!(verdict(&many(21)), pair("deny", "bundle-size"));
    assert_eq!(verdict(&many(0)), pair("deny", "bundle-size"));
    let padded = |kind: &str, url: &str, bytes: usize| {
        let mut body = asked(kind, json!([post("1")]));
        body["request"]["url"] = json!(url);
        if url != "/" {
            body["request"]["body"] = observation("1");
            body["request"]["body"]["text"] = json!({ "div": "x".repeat(bytes) });
        } else {
            body["request"]["body"]["entry"][0]["resource"]["text"] = json!({ "div": "x".repeat(bytes) });
        }
        decide(&body)
    };
    assert_eq!(verdict(&padded("batch", "/", 15_000)).0, "permit");
    let entry = padded("batch", "/", 30_000);
    assert_eq!(entries(&entry), [pair("deny", "entry-malformed")], "an entry is bounded like a request");
    assert_eq!(padded("batch", "/", 70_000).status, 413);
    assert_eq!(padded("batch", "/Observation", 15_000).verdict().0, "permit");
    assert_eq!(padded("batch", "/Observation", 30_000).status, 400);
}

#[test]
fn the_whole_and_each_entry_are_on_record() {
    let (world, _) = shared();
    let answer = decide(&asked("batch", json!([get("Patient/1"), get("Patient/2"), get("Patient//")])));
    let id = answer.json()["id"].as_str().unwrap().to_owned();
    let whole = world.record(&json!(id));
    assert_eq!((&whole["schema"], &whole["interaction"]), (&json!("chartgate-bundle/1"), &json!("batch")));
    let told: Vec<_> = whole["entries"].as_array().unwrap().iter().map(|entry| entry["reason"].clone()).collect();
    assert_eq!(told, ["self", "not-launch-patient", "entry-malformed"]);
    for at in 0..2 {
        let entry = &answer.json()["entries"][at]["id"];
        assert_eq!(whole["entries"][at]["id"], *entry);
        assert_eq!(world.record(entry)["schema"], "chartgate-decision/1");
    }
}

/// A write that was done is never told as one that failed: it would be done again.
#[test]
fn a_write_whose_result_its_writer_may_not_see_is_answered_without_it() {
    let host = &shared().1;
    let mut decide = asked("batch", json!([post("1")]));
    decide["subject"]["scope"] = json!("patient/Observation.c");
    let written = json!({
        "resource": { "resourceType": "Observation", "id": "9", "subject": { "reference": "Patient/1" } },
        "response": { "status": "201", "location": "Observation/9/_history/1", "etag": "W/\"1\"" },
    });
    let body = json!({
        "decide": decide,
        "bundle": { "resourceType": "Bundle", "type": "batch-response", "entry": [written] },
    });
    let headers = [("authorization", "Bearer gate-key")];
    let answer = host.client().send("POST", host.public, "/v1/filter", &headers, body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text);
    let entry = answer.json()["bundle"]["entry"][0].clone();
    assert_eq!((&entry["response"], entry.get("resource")), (&written["response"], None), "{entry}");
}

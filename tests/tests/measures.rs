//! How many policy calls usual decisions take, and what `/metrics` says of decisions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use chartgate_tests::host::requests::{observation, read, read_own, search, with, without};
use chartgate_tests::host::{EHR, Host, World};
use serde_json::{Value, json};

/// A read or search of a patient's app, launched for patient 123.
fn launched(user: &str, url: &str) -> Value {
    let scope = "patient/Observation.rs patient/Patient.rs";
    let subject = json!({ "user": user, "client": "phr", "scope": scope, "patient": "123" });
    json!({ "request": { "method": "GET", "url": url }, "subject": subject, "obligations": ["search-narrowing"] })
}

#[test]
fn usual_decisions_take_one_round() {
    let world = World::with_rules();
    for (user, kind) in [("Practitioner/17", "treatment"), ("RelatedPerson/5", "guardian")] {
        assert_eq!(world.directory(&["grant", user, "123", kind]).code, Some(0));
    }
    let host = world.start();
    let rounds = |body: &Value| {
        let json = host.decide(body).decided();
        assert_eq!(json["decision"], "permit", "{json}");
        world.record(&json["id"])["rounds"].as_u64().unwrap()
    };
    let content = json!({ "Observation/9": observation("123") });
    for user in ["Patient/123", "Practitioner/17", "RelatedPerson/5"] {
        let usual = [
            with(&launched(user, "/Observation/9"), "/stored", content.clone()),
            launched(user, "/Patient/123"),
            launched(user, "/Observation?category=laboratory"),
            launched(user, "/Observation?patient=123&category=laboratory"),
        ];
        for body in usual {
            assert_eq!(rounds(&body), 1, "{body}");
        }
    }
    let chart = with(&without(&read(), "/stored"), "/request/url", json!("/Patient/123"));
    assert_eq!(rounds(&with(&chart, "/subject/scope", json!("user/Patient.rs"))), 1);
    assert_eq!(rounds(&read_own()), 1);
    // Whose record an observation is stands in its content, and whom a search is for in its parameters.
    assert_eq!(rounds(&read()), 1);
    for url in ["/Observation?patient=123", "/Observation?subject=Patient/123"] {
        assert_eq!(rounds(&with(&search(), "/request/url", json!(url))), 1, "{url}");
    }
    // Whom a user reaches may be a long list: only a search for everybody asks for it.
    assert_eq!(rounds(&search()), 2);
}

/// The value of one sample of `/metrics`; 0 when it is not there.
fn sample(host: &Host, series: &str) -> f64 {
    let text = host.admin("GET", "/metrics", &[], "").text;
    let value = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok());
    value.unwrap_or_default()
}

#[test]
fn every_face_counts_its_decisions() {
    let world = World::with_rules();
    let host = world.start();
    let permit = r#"chartgate_decisions_total{decision="permit",reason="self"}"#;
    let deny = r#"chartgate_decisions_total{decision="deny",reason="content-missing"}"#;
    let ended = r#"chartgate_decisions_total{decision="deny",reason="token-expired"}"#;
    assert_eq!(sample(&host, permit), 0.0);
    host.decide(&read_own()).decided();
    host.decide(&without(&read_own(), "/stored")).decided();
    host.decide(&with(&read_own(), "/subject/expires", json!("2001-01-01T00:00:00Z"))).decided();
    let evaluations = json!({
        "subject": { "type": "Patient", "id": "123", "properties": { "scope": "patient/Observation.rs", "patient": "123" } },
        "action": { "name": "read" },
        "evaluations": [
            { "resource": { "type": "Observation", "id": "9", "properties": { "content": observation("123") } } },
            { "resource": { "type": "Observation", "id": "9" } },
            {},
        ],
    });
    let headers = [("authorization", &*format!("Bearer {EHR}")), ("content-type", "application/json")];
    let body = evaluations.to_string();
    assert_eq!(host.client().send("POST", host.public, "/access/v1/evaluations", &headers, body).status, 200);
    let table = [
        (permit, 2.0),
        (deny, 2.0),
        (ended, 1.0),
        (r#"chartgate_policy_rounds_bucket{le="0"}"#, 0.0),
        (r#"chartgate_policy_rounds_bucket{le="1"}"#, 2.0),
        (r#"chartgate_policy_rounds_bucket{le="3"}"#, 4.0),
        ("chartgate_policy_rounds_count", 4.0),
        ("chartgate_decision_seconds_count", 4.0),
        (r#"chartgate_decision_seconds_bucket{le="+Inf"}"#, 4.0),
    ];
    for (series, value) in table {
        assert_eq!(sample(&host, series), value, "{series}");
    }
}

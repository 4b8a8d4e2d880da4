//! Statuses, headers and the form of errors, for every path below `/access`.

use chartgate_tests::host::requests::{relationship, with};
use chartgate_tests::host::{Answer, EHR, Guest, PLAIN, World};
use serde_json::json;

use crate::{EVALUATION, EVALUATIONS, evaluation, host, message, post, read, send};

/// A request with exactly these headers.
fn bare(method: &str, path: &str, headers: &[(&str, &str)], text: &str) -> Answer {
    let (_, host) = host();
    host.client().send(method, host.public, path, headers, text)
}

const KEY: (&str, &str) = ("authorization", "Bearer ehr-key");
const JSON: (&str, &str) = ("content-type", "application/json");
const ID: (&str, &str) = ("x-request-id", "trace me/1");

#[test]
fn the_request_id_comes_back_with_every_status() {
    /// Status, method, path, headers, body.
    type Row<'a> = (u16, &'a str, &'a str, &'a [(&'a str, &'a str)], &'a str);
    let body = read().to_string();
    let large = format!("{}{}", " ".repeat(70_000), body);
    let table: [Row<'_>; 12] = [
        (200, "POST", EVALUATION, &[KEY, JSON, ID], &body),
        (200, "POST", EVALUATIONS, &[KEY, JSON, ID], &body),
        (400, "POST", EVALUATION, &[KEY, JSON, ID], "{"),
        (400, "POST", EVALUATION, &[KEY, ID], &body),
        (401, "POST", EVALUATION, &[JSON, ID], &body),
        (403, "POST", EVALUATION, &[("authorization", "Bearer plain-key"), JSON, ID], &body),
        (404, "POST", "/access/v1/search/subject", &[KEY, JSON, ID], &body),
        (404, "POST", "/access/v1/evaluation/", &[KEY, JSON, ID], &body),
        (404, "GET", "/access/", &[ID], ""),
        (404, "GET", "/access", &[ID], ""),
        (405, "GET", EVALUATION, &[KEY, ID], ""),
        (413, "POST", EVALUATION, &[KEY, JSON, ID], &large),
    ];
    for (status, method, path, headers, text) in table {
        let answer = bare(method, path, headers, text);
        assert_eq!((answer.status, answer.header("x-request-id")), (status, ID.1), "{method} {path}");
        if status != 200 {
            message(&answer);
        }
    }
}

#[test]
fn a_caller_over_its_rate_gets_its_request_id_too() {
    let world = World::with_rules_and("[limits]\ncaller_rate_per_s = 1\n");
    let host = world.start();
    let ask = || host.client().send("POST", host.public, EVALUATION, &[KEY, JSON, ID], read().to_string());
    let over = (0..20).map(|_| ask()).find(|answer| answer.status == 429).unwrap();
    assert_eq!((over.header("x-request-id"), over.header("retry-after")), (ID.1, "1"));
    message(&over);
}

#[test]
fn each_item_of_a_batch_counts_for_the_rate() {
    let world = World::with_rules_and("[limits]\ncaller_rate_per_s = 3\n");
    let host = world.start();
    let body = with(&read(), "/evaluations", json!([{}, {}, {}, {}]));
    let answer = host.client().send("POST", host.public, EVALUATIONS, &[KEY, JSON], body.to_string());
    let items = answer.decided()["evaluations"].clone();
    let status = |at: usize| items[at]["context"]["error"]["status"].as_u64();
    assert_eq!([0, 1, 2, 3].map(status), [None, None, None, Some(429)], "{items}");
}

#[test]
fn a_request_id_is_bounded() {
    let ask = |ids: &[&str]| {
        let headers: Vec<(&str, &str)> = ids.iter().map(|id| ("X-Request-ID", *id)).collect();
        send(EHR, EVALUATION, &headers, &read().to_string())
    };
    let (inside, outside) = ("i".repeat(256), "i".repeat(257));
    assert_eq!(ask(&[&inside]).header("x-request-id"), inside);
    for ids in [vec![outside.as_str()], vec!["ümlaut"], vec!["tab\tbed"], vec!["one", "two"]] {
        let answer = ask(&ids);
        let (status, text) = message(&answer);
        assert_eq!((status, answer.header("x-request-id")), (400, ""), "{ids:?}");
        assert!(text.starts_with("X-Request-ID: "), "{text}");
    }
}

#[test]
fn only_json_is_taken() {
    let ask = |types: &[&str]| {
        let mut headers = vec![KEY];
        headers.extend(types.iter().map(|media| ("content-type", *media)));
        bare("POST", EVALUATION, &headers, &read().to_string())
    };
    for media in ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=\"UTF-8\""] {
        assert_eq!(ask(&[media]).status, 200, "{media}");
    }
    let refused: [&[&str]; 7] = [
        &[],
        &["text/plain"],
        &["application/jsonp"],
        &["application/fhir+json"],
        &["application/json; charset=utf-16"],
        &[""],
        &["application/json", "application/json"],
    ];
    for types in refused {
        let answer = ask(types);
        assert_eq!(message(&answer), (400, "Content-Type: has to be application/json".into()), "{types:?}");
    }
}

#[test]
fn an_unknown_caller_learns_nothing() {
    let body = read().to_string();
    for headers in [vec![JSON], vec![("authorization", "Bearer nobody"), JSON], vec![("authorization", "ehr-key")]] {
        let answer = bare("POST", EVALUATION, &headers, &body);
        assert_eq!((answer.status, answer.header("www-authenticate")), (401, "Bearer"));
        assert_eq!(bare("POST", EVALUATIONS, &headers, "{").text, answer.text);
    }
}

#[test]
fn each_right_is_needed_for_what_it_allows() {
    let told = with(&read(), "/context/facts/relationships", json!([relationship("Practitioner/alice", "123")]));
    let explained = with(&read(), "/context/explain", json!(true));
    let table = [
        ("decide-key", read(), "`decide`"),
        ("vouch-subject-key", read(), "`vouch-subject`"),
        (PLAIN, read(), "`vouch-subject`"),
        ("vouch-facts-key", told.clone(), "context.facts: "),
        ("explain-key", explained.clone(), "context.explain: "),
    ];
    for (key, body, named) in table {
        let (status, text) = message(&send(key, EVALUATION, &[], &body.to_string()));
        assert_eq!(status, 403, "{key}");
        assert!(text.contains(named), "{text}");
        assert_eq!(evaluation(&body).status, 200, "{key}");
    }
    // In a batch it is the item that is refused.
    let batch = json!({ "evaluations": [read(), explained] }).to_string();
    let json = send("explain-key", EVALUATIONS, &[], &batch).decided();
    assert_eq!(json["evaluations"][0], json!({ "decision": true }));
    assert_eq!(
        (&json["evaluations"][1]["decision"], &json["evaluations"][1]["context"]["error"]["status"]),
        (&json!(false), &json!(403))
    );
    let elsewhere = with(&read(), "/context/tenant", json!("clinic-2"));
    assert_eq!(message(&send("explain-key", EVALUATION, &[], &elsewhere.to_string())).0, 403);
}

#[test]
fn duplicates_are_refused_at_any_depth() {
    let text = with(&read(), "/context", json!({ "other": { "deep": 1 } })).to_string();
    let table = [
        (r#""type":"Practitioner""#, r#""type":"Practitioner","type":"Practitioner""#, "subject.type"),
        (r#""scope":"#, r#""scope":"x","scope":"#, "subject.properties.scope"),
        (r#""deep":1"#, r#""deep":1,"d\u0065ep":1"#, "context.other.deep"),
        (r#""status":"final""#, r#""status":"final","status":"final""#, "resource.properties.content.status"),
        (r#""subject":{"id""#, r#""subject":{},"subject":{"id""#, "subject"),
    ];
    for (part, twice, member) in table {
        let twice = text.replacen(part, twice, 1);
        assert_ne!(twice, text);
        let (status, said) = message(&send(EHR, EVALUATION, &[], &twice));
        assert_eq!(status, 400);
        assert!(said.starts_with(&format!("{member}: duplicate")), "{said}");
        let batch = format!(r#"{{"evaluations":[{twice}]}}"#);
        assert_eq!(send(EHR, EVALUATIONS, &[], &batch).status, 400, "a whole payload can be doubtful");
    }
}

#[test]
fn the_wrong_type_is_named_and_its_value_is_not_quoted() {
    let table = [
        ("/subject", json!(["Practitioner", "hidden-value"]), "subject: "),
        ("/subject/id", json!(["hidden-value"]), "subject.id: "),
        ("/subject/properties", json!(["hidden-value"]), "subject.properties: "),
        ("/subject/properties", json!(null), "subject.properties: "),
        ("/subject/properties/scope", json!(["hidden-value"]), "subject.properties.scope: "),
        ("/action/properties/headers", json!(["hidden-value"]), "action.properties.headers: "),
        ("/resource", json!("hidden-value"), "resource: "),
        ("/resource/properties/patient", json!({ "hidden-value": 1 }), "resource.properties.patient: "),
        ("/resource/properties/content", json!(7), "resource.properties: "),
        ("/context", json!("hidden-value"), "context: "),
        ("/context", json!(null), "context: "),
        ("/context/supported_obligations", json!("hidden-value"), "context.supported_obligations: "),
        ("/context/facts/relationships", json!("hidden-value"), "context.facts.relationships: "),
    ];
    for (pointer, value, named) in table {
        let (status, text) = message(&evaluation(&with(&read(), pointer, value)));
        assert_eq!(status, 400, "{pointer}");
        assert!(text.starts_with(named) && !text.contains("hidden-value"), "{text}");
    }
    for text in ["[]", "null", "7", "\"x\"", "[{}]", "{}{}", "\u{feff}{}"] {
        assert_eq!(message(&send(EHR, EVALUATION, &[], text)).0, 400, "{text}");
        assert_eq!(message(&send(EHR, EVALUATIONS, &[], text)).0, 400, "{text}");
    }
}

#[test]
fn an_error_in_evaluation_is_never_a_permit() {
    let world = World::new();
    for (version, word) in [("0.1.0", "trap"), ("0.2.0", "loop"), ("0.3.0", "garbage"), ("0.4.0", "needs")] {
        world.add(Guest::Fixture, version, &format!(r#"{{"behave":"{word}"}}"#));
    }
    let host = world.start();
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.4.0"] {
        let rolled = host.roll_out(&json!({ "active": format!("fixture@{version}") }));
        assert_eq!(rolled.status, 200, "{}", rolled.text);
        let answer = host.client().send("POST", host.public, EVALUATION, &[KEY, JSON], read().to_string());
        let error = json!({ "status": 503, "message": "no decision was reached" });
        assert_eq!(answer.decided(), json!({ "decision": false, "context": { "error": error } }), "{version}");
    }
}

#[test]
fn a_pin_is_honoured_or_refused_as_in_decide() {
    let pinned = |pin: &str| with(&read(), "/context/policy", json!(pin));
    assert_eq!(evaluation(&pinned("smart-access@0.1.0")).decided(), json!({ "decision": true }));
    let (status, text) = message(&evaluation(&pinned("smart-access@9.0.0")));
    assert_eq!(status, 404);
    assert!(text.contains("smart-access@9.0.0"), "{text}");
    let (status, text) = message(&evaluation(&pinned("latest")));
    assert_eq!(status, 400);
    assert!(text.starts_with("context.policy: "), "{text}");
    let header = [("chartgate-policy", "smart-access@9.0.0")];
    assert_eq!(send(EHR, EVALUATION, &header, &read().to_string()).status, 404);
    assert!(evaluation(&read()).header("chartgate-policy").starts_with("sha256:"));
    let json = post(EVALUATIONS, &json!({ "evaluations": [read(), pinned("smart-access@9.0.0")] })).decided();
    assert_eq!(json["evaluations"][1]["context"]["error"]["status"], 404);
}

#[test]
fn the_document_describes_both_paths() {
    let (_, host) = host();
    let document = host.client().send("GET", host.public, "/openapi.json", &[], "").json();
    for path in [EVALUATION, EVALUATIONS] {
        let operation = &document["paths"][path]["post"];
        assert!(operation["responses"]["200"].is_object(), "{path}");
        assert!(operation["requestBody"]["content"]["application/json"]["schema"].is_object(), "{path}");
    }
    let schemas = &document["components"]["schemas"];
    for schema in ["SubjectEntity", "ActionEntity", "ResourceEntity", "ResourceProperties", "ContextEntity"] {
        assert!(schemas[schema]["properties"].is_object(), "{schema}");
    }
}

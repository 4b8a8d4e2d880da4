//! `POST /v1/filter`: what of an answer may leave.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::sync::OnceLock;

use chartgate_tests::host::{Answer, EHR, Host, PLAIN, World};
use serde_json::{Value, json};

fn shared() -> &'static (World, Host) {
    static HOST: OnceLock<(World, Host)> = OnceLock::new();
    HOST.get_or_init(|| {
        let mut world = World::with_rules();
        world.more = World::caller("gate", "gate-key", &["default"], &["decide", "filter", "vouch-subject"]);
        for (user, patient) in [("Practitioner/17", "123"), ("Practitioner/17", "124")] {
            assert_eq!(world.directory(&["grant", user, patient, "treatment"]).code, Some(0));
            let record = r#"{"birth_date":"1968-04-12"}"#;
            assert_eq!(world.directory(&["set", "patient", patient, record]).code, Some(0));
        }
        assert_eq!(world.directory(&["set", "user", "Practitioner/17", r#"{"status":"active"}"#]).code, Some(0));
        let host = world.start();
        (world, host)
    })
}

fn filter_as(key: &str, body: &Value) -> Answer {
    let key = format!("Bearer {key}");
    let host = &shared().1;
    host.client().send("POST", host.public, "/v1/filter", &[("authorization", &key)], body.to_string())
}

fn filter(body: &Value) -> Answer {
    filter_as("gate-key", body)
}

/// A clinician has searched, and the FHIR server answered this.
fn searched(scope: &str, entries: Vec<Value>) -> Value {
    json!({
        "decide": {
            "request": { "method": "GET", "url": "/Observation?_include=Observation:subject" },
            "subject": { "user": "Practitioner/17", "client": "growth-chart", "scope": scope },
            "obligations": ["search-narrowing", "response-filter"],
        },
        "bundle": { "resourceType": "Bundle", "type": "searchset", "total": entries.len(), "entry": entries },
    })
}

fn row(mode: &str, resource: Value) -> Value {
    json!({ "resource": resource, "search": { "mode": mode } })
}

fn observation(id: &str, patient: &str) -> Value {
    json!({ "resourceType": "Observation", "id": id, "subject": { "reference": format!("Patient/{patient}") } })
}

fn ids(answer: &Answer) -> Vec<String> {
    let bundle = &answer.json()["bundle"];
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap_or("-").to_owned()).collect()
}

#[test]
fn rows_and_what_came_along_are_judged_each_for_itself() {
    let entries = vec![
        row("match", observation("1", "123")),
        row("match", observation("2", "999")),
        row("include", json!({ "resourceType": "Patient", "id": "123" })),
        row("include", json!({ "resourceType": "Patient", "id": "999" })),
        row("match", observation("3", "124")),
        row(
            "outcome",
            json!({ "resourceType": "OperationOutcome", "issue": [{ "severity": "warning", "code": "not-found", "diagnostics": "Patient/999" }] }),
        ),
    ];
    let answer = filter(&searched("user/Observation.rs user/Patient.rs", entries.clone()));
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(ids(&answer), ["1", "123", "3", "-"]);
    let json = answer.json();
    assert_eq!((json["removed"].as_u64(), &json["bundle"]["total"]), (Some(2), &Value::Null));
    assert!(!answer.text.contains("999"), "{}", answer.text);
    assert_eq!(answer.headers["chartgate-policy"], json["policy"]["digest"].as_str().unwrap());
    let answer = filter(&searched("user/Observation.rs", entries));
    assert_eq!(ids(&answer), ["1", "3", "-"], "no scope for patients");
}

#[test]
fn what_left_is_on_record_by_its_digest() {
    let (world, _) = shared();
    let entries = vec![row("match", observation("1", "123")), row("match", observation("2", "999"))];
    let answer = filter(&searched("user/Observation.rs", entries));
    let record = world.record(&answer.json()["id"]);
    assert_eq!(
        (record["schema"].as_str(), record["decision"].as_str()),
        (Some("chartgate-filter/1"), Some("filtered"))
    );
    let items = record["items"].as_array().unwrap();
    let digest = chartgate_runtime::sha256(observation("1", "123").to_string().as_bytes());
    assert_eq!(format!("sha256:{}", items[0]["sha256"].as_str().unwrap()), digest);
    assert_eq!((&items[0]["hidden"], items[1]["hidden"].as_str()), (&Value::Null, Some("no-relationship")));
    let permitted = world.record(&record["permitted_by"]);
    assert_eq!(
        (permitted["schema"].as_str(), permitted["face"].as_str()),
        (Some("chartgate-decision/1"), Some("filter"))
    );
    assert!(!record.to_string().contains("resourceType"), "an answer is not kept");
}

#[test]
fn one_resource_leaves_or_is_as_if_absent() {
    let body = |patient: &str| {
        json!({
            "decide": {
                "request": { "method": "GET", "url": "/Observation/1" },
                "subject": { "user": "Practitioner/17", "client": "growth-chart", "scope": "user/Observation.rs" },
                "obligations": ["response-filter"],
            },
            "resource": observation("1", patient),
        })
    };
    let kept = filter(&body("123")).json();
    assert_eq!((&kept["resource"], kept["removed"].as_u64()), (&observation("1", "123"), Some(0)));
    let hidden = filter(&body("999")).json();
    assert_eq!((&hidden["resource"], hidden["removed"].as_u64()), (&Value::Null, Some(1)));
    assert_eq!(hidden["denial"]["status"], 404);
    let mut absent = body("999");
    absent["decide"]["resource"] = json!(null);
    absent["decide"]["stored"] = json!({ "Observation/1": null });
    absent["decide"].as_object_mut().unwrap().remove("resource");
    assert_eq!(
        filter(&absent).json()["denial"]["outcome"],
        hidden["denial"]["outcome"],
        "hidden and absent look alike"
    );
}

#[test]
fn nothing_leaves_that_was_not_permitted() {
    let answer = filter(&searched("user/Condition.rs", vec![row("match", observation("1", "123"))]));
    let json = answer.json();
    assert_eq!(
        (answer.verdict(), json["denial"]["status"].as_u64()),
        (("deny".into(), "scope-insufficient".into()), Some(403))
    );
    assert!(json.get("bundle").is_none() && !answer.text.contains("Observation"), "{}", answer.text);
    let mut unmet = searched("user/Observation.rs", vec![]);
    unmet["decide"]["obligations"] = json!([]);
    assert_eq!(filter(&unmet).verdict().0, "deny");
}

#[test]
fn what_is_no_answer_is_a_400_that_names_the_member() {
    let good = searched("user/Observation.rs", vec![row("match", observation("1", "123"))]);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        filter(&body).problem()
    };
    let bad = |member: &str| (400, member.to_owned());
    assert_eq!(with(&|body| drop(body.as_object_mut().unwrap().remove("bundle"))), bad("bundle"));
    assert_eq!(with(&|body| body["resource"] = observation("1", "123")), bad("bundle"));
    assert_eq!(with(&|body| body["bundle"]["type"] = json!("batch")), bad("bundle.type"));
    assert_eq!(with(&|body| body["bundle"]["entry"][0]["resource"] = json!(7)), bad("bundle.entry[0].resource"));
    assert_eq!(with(&|body| body["more"] = json!(1)), bad("more"));
    assert_eq!(with(&|body| body["decide"]["subject"]["user"] = json!("x")), bad("decide.subject.kind"));
    assert_eq!(with(&|body| body["decide"]["simulate"] = json!(true)).0, 403, "a right is missing");
    let twice = good.to_string().replacen(r#""id":"1""#, r#""id":"1","id":"1""#, 1);
    let host = &shared().1;
    let headers = [("authorization", "Bearer gate-key")];
    let answer = host.client().send("POST", host.public, "/v1/filter", &headers, twice);
    assert_eq!(answer.problem().0, 400, "{}", answer.text);
}

#[test]
fn the_right_to_filter_is_needed() {
    let body = searched("user/Observation.rs", vec![]);
    assert_eq!(filter_as(PLAIN, &body).status, 403);
    assert_eq!(filter_as(EHR, &body).status, 403);
    assert_eq!(filter_as("nobody", &body).status, 401);
}

/// Two megabytes and a thousand rows, which no decision would take.
#[test]
fn a_long_answer_is_judged_to_its_end() {
    let padding = "x".repeat(2_000);
    let entry = |at: usize| {
        let patient = if at.is_multiple_of(3) { "123" } else { "999" };
        let mut resource = observation(&at.to_string(), patient);
        resource["note"] = json!([{ "text": padding }]);
        row("match", resource)
    };
    let answer = filter(&searched("user/Observation.rs", (0..2_000).map(entry).collect()));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let found = ids(&answer);
    assert_eq!(found.len(), 667);
    assert!(found.iter().all(|id| id.parse::<usize>().unwrap().is_multiple_of(3)));
}

//! `POST /access/v1/evaluation` and `/access/v1/evaluations` (OpenID AuthZEN Authorization API 1.0).
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

mod batch;
mod certification;
mod errors;
mod profile;

use std::sync::OnceLock;

use chartgate_tests::host::requests::with;
use chartgate_tests::host::{Answer, EHR, Guest, Host, World};
use serde_json::{Value, json};

const EVALUATION: &str = "/access/v1/evaluation";
const EVALUATIONS: &str = "/access/v1/evaluations";
/// Items of one request at the most, as the host of [`host`] is configured.
const ITEMS_MAX: usize = 4;
/// Rights of the callers `<right>-key`: each lacks the one it is named after.
const RIGHTS: [&str; 4] = ["decide", "vouch-subject", "vouch-facts", "explain"];

/// One host for all tests; none of them changes what it decides. It may write. Alice treats patient
/// 123; Bob treats 123 and 124.
fn host() -> &'static (World, Host) {
    static HOST: OnceLock<(World, Host)> = OnceLock::new();
    HOST.get_or_init(|| {
        let mut world = World::new();
        world.add(Guest::Rules, "0.1.0", r#"{"writes":true}"#);
        world.more = format!("[limits]\nevaluations = {ITEMS_MAX}\nbody_bytes = 65536\n");
        for lacking in RIGHTS {
            let may: Vec<&str> = RIGHTS.into_iter().filter(|right| *right != lacking).collect();
            world.more += &World::caller(&format!("without-{lacking}"), &format!("{lacking}-key"), &["default"], &may);
        }
        for (user, patient) in [("alice", "123"), ("bob", "123"), ("bob", "124")] {
            let granted = world.directory(&["grant", &format!("Practitioner/{user}"), patient, "treatment"]);
            assert_eq!(granted.code, Some(0), "{}", granted.stderr);
        }
        let host = world.start();
        (world, host)
    })
}

/// A request as the holder of this key, with `Content-Type: application/json` and further headers.
fn send(key: &str, path: &str, headers: &[(&str, &str)], text: &str) -> Answer {
    let (_, host) = host();
    let key = format!("Bearer {key}");
    let mut all = vec![("authorization", key.as_str()), ("content-type", "application/json")];
    all.extend_from_slice(headers);
    host.client().send("POST", host.public, path, &all, text)
}

fn post(path: &str, body: &Value) -> Answer {
    send(EHR, path, &[], &body.to_string())
}

fn evaluation(body: &Value) -> Answer {
    post(EVALUATION, body)
}

/// The answer's `decision` and `context`, the latter null when it is absent.
fn decided(body: &Value) -> (bool, Value) {
    let json = evaluation(body).decided();
    (json["decision"].as_bool().unwrap(), json["context"].clone())
}

/// The message of an error answer, checked for the form of the standard.
fn message(answer: &Answer) -> (u16, String) {
    assert_eq!(answer.header("content-type"), "application/json", "{} {}", answer.status, answer.text);
    (answer.status, answer.json().as_str().unwrap().to_owned())
}

fn subject(id: &str, scope: &str) -> Value {
    json!({ "type": "Practitioner", "id": id, "properties": { "scope": scope, "client": "growth-chart" } })
}

fn alice() -> Value {
    subject("alice", "user/Observation.cruds")
}

/// Bob as the token of his usual app has him: he may read.
fn bob() -> Value {
    subject("bob", "user/Observation.rs")
}

/// Bob with the scopes of an administrative app.
fn bob_as_admin() -> Value {
    subject("bob", "user/Observation.cruds")
}

fn action(name: &str) -> Value {
    json!({ "name": name })
}

fn content(id: &str, patient: &str) -> Value {
    let subject = json!({ "reference": format!("Patient/{patient}") });
    json!({ "resourceType": "Observation", "id": id, "status": "final", "subject": subject })
}

/// An observation with its stored content.
fn observation(id: &str, patient: &str) -> Value {
    json!({ "type": "Observation", "id": id, "properties": { "content": content(id, patient) } })
}

/// The same as the target of an update that changes nothing.
fn updated(id: &str, patient: &str) -> Value {
    with(&observation(id, patient), "/properties/stored", content(id, patient))
}

/// Alice reads an observation of a patient she treats.
fn read() -> Value {
    json!({ "subject": alice(), "action": action("read"), "resource": observation("record-1", "123") })
}

/// The records of this face that name this client, oldest first.
fn records(client: &str) -> Vec<Value> {
    let lines = host().0.log_lines().into_iter().map(|line| serde_json::from_str::<Value>(&line).unwrap());
    let mut found: Vec<Value> =
        lines.filter(|record| record["face"] == "authzen" && record["input"]["subject"]["client"] == client).collect();
    found.sort_by_key(|record| record["id"].to_string());
    found
}

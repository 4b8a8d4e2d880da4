//! Tokens from anywhere, end to end: several issuers, fetched keys, introspection, other names for
//! claims, clients without a user. Issuers are real HTTP servers on this machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failure here is a failed test"
)]

mod claims;
mod introspection;
mod issuer;
mod keys;
mod starts;
mod system;
mod tls;

use std::time::{Duration, Instant};

use chartgate_tests::host::requests::{read, with, without};
use chartgate_tests::host::{Answer, BASE, Client, EHR, Host};
use chartgate_tests::signing::{Key, key_set, now_s};
use serde_json::{Value, json};

const ISSUER: &str = "https://login.example";
/// Only a host that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a good token of this issuer says.
fn claims(issuer: &str) -> Value {
    let now = now_s();
    json!({
        "iss": issuer, "aud": BASE, "exp": now + 300, "iat": now - 5, "sub": "u-17", "client_id": "growth-chart",
        "scope": "user/Observation.rs", "fhirUser": "Practitioner/17",
    })
}

/// The body of a request whose user this token names.
fn body(token: &str) -> Value {
    with(&without(&read(), "/subject"), "/request/headers/Authorization", json!(format!("Bearer {token}")))
}

fn ask(host: &Host, token: &str) -> Answer {
    host.decide(&body(token))
}

/// The decision and its reason.
fn verdict(host: &Host, token: &str) -> (String, String) {
    ask(host, token).verdict()
}

fn reason(host: &Host, token: &str) -> String {
    verdict(host, token).1
}

/// Ask for as many at once, each with a connection of its own; the reasons.
fn at_once(host: &Host, count: usize, token: &(dyn Fn(usize) -> String + Sync)) -> Vec<String> {
    let barrier = std::sync::Barrier::new(count);
    std::thread::scope(|scope| {
        let ask = |at: usize| {
            let (client, body) = (Client::new(), body(&token(at)));
            barrier.wait();
            client.decide(host.public, EHR, &body).verdict().1
        };
        let all: Vec<_> = (0..count).map(|at| scope.spawn(move || ask(at))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

/// Ask until this is the reason.
fn until(host: &Host, token: &str, expected: &str) {
    let since = Instant::now();
    loop {
        let found = reason(host, token);
        if found == expected {
            return;
        }
        assert!(since.elapsed() < PATIENCE, "{found} stays, {expected} does not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// The answer is no verdict on the token: the client is told to try again, and it is on record.
fn is_unknown(world: &chartgate_tests::host::World, answer: &Answer, code: &str) {
    assert_eq!(answer.verdict(), ("indeterminate".into(), code.into()));
    let json = answer.decided();
    let denial = &json["denial"];
    assert_eq!((denial["status"].as_u64(), &denial["headers"]["Retry-After"]), (Some(503), &json!("1")));
    assert_eq!(denial["headers"].get("WWW-Authenticate"), None, "the token may be fine");
    let record = world.record(&json["id"]);
    let outcome = &record["outcome"];
    assert_eq!((&outcome["decision"], &outcome["reason"]), (&json!("indeterminate"), &json!(code)));
    assert_eq!((&record["input"], &outcome["basis"]), (&Value::Null, &Value::Null));
}

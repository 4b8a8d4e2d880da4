//! Clients without a user.

use chartgate_tests::host::requests::{observation, with};
use chartgate_tests::host::{Guest, Host, World};
use serde_json::{Value, json};

use super::{ISSUER, Key, ask, claims, key_set, reason, verdict};

/// A host whose rules let clients without a user be.
fn start(key: &Key, host: bool, issuer: bool) -> (World, Host) {
    let mut world = World::new();
    world.add(Guest::Rules, "0.1.0", r#"{"system_clients":true}"#);
    let file = world.path("jwks.json");
    std::fs::write(&file, key_set(&[key])).unwrap();
    world.more = format!(
        "[system]\nenabled = {host}\n[[tokens]]\ntenants = [\"default\"]\nissuer = {ISSUER:?}\naudiences = [\"https://ehr.example/fhir\"]\n\
         jwks_file = {file:?}\nsystem_clients = {issuer}\n"
    );
    let host = world.start();
    (world, host)
}

/// What the token of a client without a user says, with one more claim.
fn alone(more: (&str, Value)) -> Value {
    let mut claims = claims(ISSUER);
    claims.as_object_mut().unwrap().remove("fhirUser");
    claims["scope"] = json!("system/Observation.rs");
    claims["sub"] = json!("growth-chart");
    claims[more.0] = more.1;
    claims
}

fn vouched(subject: Value) -> Value {
    json!({
        "request": { "method": "GET", "url": "/Observation/9" }, "subject": subject,
        "stored": { "Observation/9": observation("123") },
    })
}

#[test]
fn a_token_without_a_user_is_a_client_where_host_and_issuer_say_so() {
    let key = Key::new("k1");
    let token = key.sign(&alone(("jti", json!("1"))));
    for (host, issuer) in [(false, false), (true, false), (false, true)] {
        let (_world, host) = start(&key, host, issuer);
        assert_eq!(reason(&host, &token), "token-claim-missing");
    }
    let (world, host) = start(&key, true, true);
    let answer = ask(&host, &token);
    assert_eq!(answer.verdict(), ("permit".into(), "system-client".into()));
    let subject = world.record(&answer.decided()["id"])["input"]["subject"].clone();
    assert_eq!((&subject["kind"], &subject["user"]), (&json!("system"), &json!("")));
    // Its scopes are judged like anybody's, and a user's scopes are not its own.
    for scope in ["system/Condition.rs", "user/Observation.rs", "patient/Observation.rs"] {
        assert_eq!(verdict(&host, &key.sign(&alone(("scope", json!(scope))))).0, "deny", "{scope}");
    }
    // Whatever tells of a user or a launch keeps a token from being a client's own.
    for more in [("patient", json!("123")), ("encounter", json!("7")), ("auth_time", json!(1))] {
        assert_eq!(reason(&host, &key.sign(&alone(more.clone()))), "token-claim-missing", "{}", more.0);
    }
    let user = key.sign(&alone(("fhirUser", json!("Practitioner/17"))));
    let answer = ask(&host, &user);
    assert_eq!(answer.verdict().0, "deny", "a user has no use for system scopes");
    assert_eq!(world.record(&answer.decided()["id"])["input"]["subject"]["kind"], "provider");
}

#[test]
fn a_caller_may_vouch_for_a_client_where_the_host_says_so() {
    let key = Key::new("k1");
    let subject = json!({ "kind": "system", "client": "growth-chart", "scope": "system/Observation.rs" });
    let (_world, off) = start(&key, false, true);
    assert_eq!(off.decide(&vouched(subject.clone())).problem(), (400, "subject.kind".into()));
    // Nothing of an issuer is needed for it.
    let (world, on) = start(&key, true, false);
    let answer = on.decide(&vouched(subject.clone()));
    assert_eq!(answer.verdict(), ("permit".into(), "system-client".into()));
    assert_eq!(world.record(&answer.decided()["id"])["input"]["subject"]["user"], "");
    for user in [json!("Practitioner/17"), json!("")] {
        let both = vouched(with(&subject, "/user", user));
        assert_eq!(on.decide(&both).problem(), (400, "subject.user".into()));
    }
    let unsaid = vouched(json!({ "client": "growth-chart", "scope": "system/Observation.rs" }));
    assert_eq!(on.decide(&unsaid).problem(), (400, "subject.kind".into()));
}

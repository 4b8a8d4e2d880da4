//! Tokens as Keycloak, Entra ID and Epic shape them.

use chartgate_tests::host::{BASE, World};
use serde_json::{Value, json};

use super::{Key, ask, key_set, now_s, reason};

const KEYCLOAK: &str = "https://sso.example/realms/hospital";
const AZURE: &str = "https://login.microsoftonline.com/72f988bf/v2.0";
const AZURE_V1: &str = "https://sts.windows.net/72f988bf/";
const EPIC: &str = "https://epic.example/oauth2";

/// A host with the issuers of all of them, each with its own names for claims.
fn world(key: &Key) -> World {
    let mut world = World::with_rules();
    let file = world.path("jwks.json");
    std::fs::write(&file, key_set(&[key])).unwrap();
    let table = |issuer: &str, audience: &str, claims: &str| {
        format!(
            "[[tokens]]\ntenants = [\"default\"]\nissuer = {issuer:?}\naudiences = [{audience:?}]\njwks_file = {file:?}\nclaims = {{ {claims} }}\n"
        )
    };
    let fhir = r#"fhir_user = ["smart", "fhirUser"], patient = ["smart", "launch", "patient"], client = "azp""#;
    world.more = table(KEYCLOAK, BASE, fhir)
        + &table(AZURE, "api://fhir", r#"scope = "scp", client = "azp", fhir_user = "extension_4f2c_fhirUser""#)
        + &table(AZURE_V1, "api://fhir", r#"scope = "scp", client = "appid", fhir_user = "extension_4f2c_fhirUser""#)
        + &table(EPIC, BASE, r#"patient = "https://epic.example/patient""#);
    world
}

fn keycloak() -> Value {
    let now = now_s();
    json!({
        "exp": now + 300, "iat": now, "jti": "7c1f", "iss": KEYCLOAK, "aud": [BASE, "account"], "sub": "f3a1",
        "typ": "Bearer", "azp": "growth-chart", "sid": "0d9e", "acr": "1", "realm_access": { "roles": ["clinician"] },
        "scope": "openid user/Observation.rs", "preferred_username": "doctor",
        "smart": { "fhirUser": "Practitioner/17" },
    })
}

fn azure(issuer: &str) -> Value {
    let now = now_s();
    json!({
        "aud": "api://fhir", "iss": issuer, "iat": now, "nbf": now, "exp": now + 300, "aio": "AXQ", "oid": "b2d9",
        "scp": "user/Observation.rs profile", "sub": "QpX", "tid": "72f988bf", "uti": "x1", "azpacr": "1",
        "extension_4f2c_fhirUser": "Practitioner/17",
    })
}

fn epic() -> Value {
    let now = now_s();
    json!({
        "aud": BASE, "iss": EPIC, "iat": now, "nbf": now, "exp": now + 300, "sub": "eM5CWtq15N0WJeuCet5bJlQ3",
        "client_id": "d45049c3-3441-40ef-ab4d-b9cd86a17225", "scope": "user/Observation.rs launch fhirUser",
        "fhirUser": "https://ehr.example/fhir/Practitioner/17",
    })
}

fn with(mut claims: Value, name: &str, value: Value) -> Value {
    claims[name] = value;
    claims
}

#[test]
fn each_issuer_is_understood_in_its_own_words() {
    let key = Key::new("k1");
    let world = world(&key);
    let host = world.start();
    let v2 = with(azure(AZURE), "azp", json!("growth-chart"));
    let v1 = with(azure(AZURE_V1), "appid", json!("growth-chart"));
    let listed = with(v2.clone(), "scp", json!(["user/Observation.rs", "profile"]));
    for (claims, client, scope) in [
        (keycloak(), "growth-chart", "openid user/Observation.rs"),
        (v2.clone(), "growth-chart", "user/Observation.rs profile"),
        (v1, "growth-chart", "user/Observation.rs profile"),
        (listed, "growth-chart", "user/Observation.rs profile"),
        (epic(), "d45049c3-3441-40ef-ab4d-b9cd86a17225", "user/Observation.rs launch fhirUser"),
    ] {
        let answer = ask(&host, &key.sign(&claims));
        assert_eq!(answer.verdict(), ("permit".into(), "relationship-treatment".into()), "{claims}");
        let subject = world.record(&answer.decided()["id"])["input"]["subject"].clone();
        let expected = json!({ "client": client, "encounter": null, "kind": "provider", "patient": null,
            "scope": scope, "user": "Practitioner/17" });
        assert_eq!(subject, expected, "{claims}");
    }
    // The launch patient, by each issuer's name for it; another's name for it means nothing.
    let launched = |claims: Value| {
        let answer = ask(&host, &key.sign(&claims));
        world.record(&answer.decided()["id"])["input"]["subject"]["patient"].clone()
    };
    let smart = json!({ "fhirUser": "Practitioner/17", "launch": { "patient": "123" } });
    assert_eq!(launched(with(keycloak(), "smart", smart)), "123");
    assert_eq!(launched(with(epic(), "https://epic.example/patient", json!("123"))), "123");
    assert_eq!(launched(with(epic(), "patient", json!("123"))), Value::Null);
    assert_eq!(launched(with(v2, "patient", json!("123"))), "123");
}

#[test]
fn a_claim_that_cannot_be_read_is_never_an_absent_one() {
    let key = Key::new("k1");
    let host = world(&key).start();
    let v2 = with(azure(AZURE), "azp", json!("growth-chart"));
    let table = [
        (with(keycloak(), "smart", json!("Practitioner/17")), "token-malformed"),
        (with(keycloak(), "smart", json!({ "fhirUser": ["Practitioner/17"] })), "token-malformed"),
        (with(keycloak(), "smart", json!({ "fhirUser": "Practitioner/17", "launch": [] })), "token-malformed"),
        (with(keycloak(), "smart", json!({})), "token-claim-missing"),
        (with(keycloak(), "typ", json!("ID")), "token-type"),
        (with(v2.clone(), "scp", json!(["user/Observation.rs profile"])), "token-malformed"),
        (with(v2.clone(), "scp", json!(null)), "token-malformed"),
        (with(v2, "aud", json!(BASE)), "token-audience"),
        (azure(AZURE), "token-claim-missing"),
        (with(azure(AZURE_V1), "appid", json!(7)), "token-malformed"),
        (with(epic(), "fhirUser", json!("https://other.example/fhir/Practitioner/17")), "token-user"),
        (with(epic(), "https://epic.example/patient", json!("Patient/123")), "token-malformed"),
        (with(epic(), "azp", json!("another")), "token-client"),
    ];
    for (claims, code) in table {
        assert_eq!(reason(&host, &key.sign(&claims)), code, "{claims}");
    }
}

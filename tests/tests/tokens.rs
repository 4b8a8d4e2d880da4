//! Bearer tokens end to end: one good one permits, every bad one is a recorded 401 that keeps the token
//! to itself.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::sync::OnceLock;
use std::time::{Duration, UNIX_EPOCH};

use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate_tests::host::requests::{read, with, without};
use chartgate_tests::host::{Answer, BASE, Host, World};
use serde_json::{Value, json};

const ISSUER: &str = "https://login.example";
const HEADER: &str = r#"{"alg":"ES256","typ":"at+jwt","kid":"k1"}"#;

struct Party {
    world: World,
    host: Host,
    issuer: EcdsaKeyPair,
    stranger: EcdsaKeyPair,
}

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn jwk(key: &EcdsaKeyPair) -> Value {
    let (x, y) = key.public_key().as_ref()[1..].split_at(32);
    json!({ "kty": "EC", "crv": "P-256", "kid": "k1", "x": b64(x), "y": b64(y) })
}

/// One host that takes the tokens of one issuer, all keys made for this run.
fn party() -> &'static Party {
    static PARTY: OnceLock<Party> = OnceLock::new();
    PARTY.get_or_init(|| {
        let key = || EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
        let (issuer, stranger) = (key(), key());
        let mut world = World::with_rules();
        let file = world.path("jwks.json");
        std::fs::write(&file, json!({ "keys": [jwk(&issuer)] }).to_string()).unwrap();
        world.more = format!(
            "[[tokens]]\ntenants = [\"default\"]\nissuer = {ISSUER:?}\naudiences = [{BASE:?}, \"chartgate\"]\njwks_file = {file:?}\nleeway_s = 0\n\
             [limits]\nscope_bytes = 200\n"
        );
        let host = world.start();
        Party { world, host, issuer, stranger }
    })
}

/// Seconds since 1970, from a file's own time: a test reads no clock either.
fn now_s() -> u64 {
    let file = party().world.path("clock");
    std::fs::write(&file, "").unwrap();
    std::fs::metadata(file).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    let now = now_s();
    json!({
        "iss": ISSUER, "aud": BASE, "exp": now + 300, "iat": now - 5, "nbf": now - 5, "sub": "u-17", "jti": "t-1",
        "client_id": "growth-chart", "scope": "user/Observation.rs", "fhirUser": "Practitioner/17",
    })
}

fn sign(key: &EcdsaKeyPair, header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", b64(header), b64(payload));
    let signature = key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    format!("{signed}.{}", b64(signature))
}

fn token_of(claims: &Value) -> String {
    sign(&party().issuer, HEADER, &claims.to_string())
}

fn ask(token: &str) -> Answer {
    let body = with(&without(&read(), "/subject"), "/request/headers/Authorization", json!(format!("Bearer {token}")));
    party().host.decide(&body)
}

/// The good claims with one replaced, or removed by null.
fn claiming(name: &str, value: Value) -> String {
    let claims = with(&claims(), &format!("/{name}"), value.clone());
    token_of(&if value.is_null() { without(&claims, &format!("/{name}")) } else { claims })
}

fn signed_with(header: &Value) -> String {
    sign(&party().issuer, &header.to_string(), &claims().to_string())
}

/// No part of a token that tells anything is in the data folder, on standard error or in the answer.
fn is_nowhere(token: &str, answer: &Answer) {
    let errors = party().host.stderr().join("\n");
    for part in token.split('.').filter(|part| part.len() > 12) {
        // The signed header is the same for every token; its encoding would still be a part of it.
        let part = &part[..part.len().min(200)];
        assert!(!party().world.data_holds(part), "the log holds a part of a token");
        assert!(!errors.contains(part), "standard error holds a part of a token");
        assert!(!answer.text.contains(part), "the answer holds a part of a token");
    }
}

fn is_refused(what: &str, token: &str, code: &str) {
    let answer = ask(token);
    assert_eq!(answer.verdict(), ("deny".into(), code.into()), "{what}");
    let json = answer.decided();
    let denial = &json["denial"];
    assert_eq!(
        (denial["status"].as_u64(), &denial["outcome"]["resourceType"]),
        (Some(401), &json!("OperationOutcome"))
    );
    assert_eq!(denial["headers"]["WWW-Authenticate"], "Bearer error=\"invalid_token\"", "{what}");
    assert!(answer.header("chartgate-policy").starts_with("sha256:"), "{what}");
    let record = party().world.record(&json["id"]);
    assert_eq!((&record["outcome"]["decision"], &record["outcome"]["reason"]), (&json!("deny"), &json!(code)));
    assert_eq!((&record["input"], &record["release"], &record["rounds"]), (&Value::Null, &Value::Null, &json!(0)));
    is_nowhere(token, &answer);
}

#[test]
fn a_token_counts_for_the_tenants_of_its_issuer_only() {
    let body = with(
        &without(&read(), "/subject"),
        "/request/headers/authorization",
        json!(format!("Bearer {}", token_of(&claims()))),
    );
    assert_eq!(party().host.decide(&body).verdict().0, "permit");
    let elsewhere = party().host.decide(&with(&body, "/tenant", json!("clinic-2")));
    assert_eq!(elsewhere.verdict(), ("deny".into(), "token-audience".into()));
}

#[test]
fn a_good_token_says_who_asks() {
    let claims = claims();
    let token = token_of(&claims);
    let answer = ask(&token);
    assert_eq!(answer.verdict(), ("permit".into(), "relationship-treatment".into()));
    let subject = party().world.record(&answer.decided()["id"])["input"]["subject"].clone();
    let expected = json!({ "client": "growth-chart", "encounter": null, "kind": "provider", "patient": null,
        "scope": "user/Observation.rs", "user": "Practitioner/17" });
    assert_eq!(subject, expected);
    is_nowhere(&token, &answer);
    // The token needs no right to vouch; what it may not do is decided like any other request.
    let other = ask(&claiming("scope", json!("user/Condition.rs")));
    assert_eq!((other.verdict().1.as_str(), other.denial_status()), ("scope-insufficient", 403));
    for audience in [json!("chartgate"), json!(["https://other.example", BASE])] {
        assert_eq!(ask(&claiming("aud", audience)).verdict().0, "permit");
    }
}

#[test]
fn a_permit_ends_with_its_token() {
    let mut claims = claims();
    let exp = now_s() + 30;
    claims["exp"] = json!(exp);
    let ends = ask(&token_of(&claims)).decided()["expires_at"].as_str().unwrap().to_owned();
    assert_eq!(chartgate_model::Millis::parse(&ends).unwrap().0, Duration::from_secs(exp).as_millis() as u64);
}

#[test]
fn a_callers_own_token_is_compared_with_the_subject_by_neither() {
    let token = token_of(&claims());
    let both = with(&read(), "/request/headers/authorization", json!(format!("Bearer {token}")));
    let answer = party().host.decide(&both);
    assert_eq!(answer.problem(), (400, "subject".into()));
    is_nowhere(&token, &answer);
}

#[test]
fn the_algorithm_and_the_key_are_the_hosts_choice() {
    let payload = claims().to_string();
    let none = format!("{}.{}.", b64(r#"{"alg":"none"}"#), b64(&payload));
    is_refused("no signature at all", &none, "token-algorithm");
    let header = |name: &str, value: Value| with(&serde_json::from_str(HEADER).unwrap(), &format!("/{name}"), value);
    for alg in ["none", "HS256", "ES512", "es256", "RS1"] {
        is_refused(alg, &signed_with(&header("alg", json!(alg))), "token-algorithm");
    }
    // The public key as the secret of a symmetric signature.
    let signed = format!("{}.{}", b64(r#"{"alg":"HS256","kid":"k1"}"#), b64(&payload));
    let secret = hmac::Key::new(hmac::HMAC_SHA256, party().issuer.public_key().as_ref());
    let confused = format!("{signed}.{}", b64(hmac::sign(&secret, signed.as_bytes())));
    is_refused("key confusion", &confused, "token-algorithm");
    is_refused("RS256 with an EC key", &signed_with(&header("alg", json!("RS256"))), "token-key");
    is_refused("another key's name", &signed_with(&header("kid", json!("k2"))), "token-key");
    // A key the token brings along, in each of the ways there are.
    let own = sign(&party().stranger, &header("jwk", jwk(&party().stranger)).to_string(), &payload);
    is_refused("its own key", &own, "token-signature");
    let linked = header("jku", json!("https://stranger.example/jwks.json"));
    is_refused("a link to its key", &sign(&party().stranger, &linked.to_string(), &payload), "token-signature");
    is_refused("a stranger's signature", &sign(&party().stranger, HEADER, &payload), "token-signature");
}

#[test]
fn a_changed_token_is_refused() {
    let token = token_of(&claims());
    let parts: Vec<&str> = token.split('.').collect();
    let other = b64(claims().to_string().replace("Practitioner/17", "Practitioner/18"));
    is_refused("another payload", &format!("{}.{other}.{}", parts[0], parts[2]), "token-signature");
    let other = b64(HEADER.replace("at+jwt", "JWT"));
    is_refused("another header", &format!("{other}.{}.{}", parts[1], parts[2]), "token-signature");
    is_refused("a cut signature", &token[..token.len() - 2], "token-signature");
    is_refused("an empty signature", &format!("{}.{}.", parts[0], parts[1]), "token-signature");
    for (what, text) in [
        ("padding", format!("{token}=")),
        ("two parts", format!("{}.{}", parts[0], parts[1])),
        ("four parts", format!("{token}.{}", parts[2])),
        ("five parts, as encrypted ones have", format!("{token}.{}.{}", parts[1], parts[2])),
        ("spaces", format!(" {token}")),
        ("no token", String::new()),
    ] {
        is_refused(what, &text, "token-malformed");
    }
    is_refused("a long one", &claiming("note", json!("x".repeat(20_000))), "token-too-long");
}

#[test]
fn headers_that_change_the_meaning_are_refused() {
    let header = |name: &str, value: Value| {
        signed_with(&with(&serde_json::from_str(HEADER).unwrap(), &format!("/{name}"), value))
    };
    for (name, value) in
        [("crit", json!(["exp"])), ("b64", json!(false)), ("zip", json!("DEF")), ("enc", json!("A128GCM"))]
    {
        is_refused(name, &header(name, value), "token-unsupported");
    }
    for typ in ["id+jwt", "logout+jwt", "dpop+jwt", "JOSE"] {
        is_refused(typ, &header("typ", json!(typ)), "token-type");
    }
    let payload = claims().to_string();
    let twice = sign(&party().issuer, r#"{"alg":"ES256","alg":"ES256","kid":"k1"}"#, &payload);
    is_refused("a header said twice", &twice, "token-malformed");
}

// T18: no `exp`, `alg: none`, `token_use: id`: refused, never assumed to have been looked at.
#[test]
fn claims_of_another_purpose_are_refused() {
    let now = now_s();
    let table = [
        ("iss", json!("https://login.example/"), "token-issuer"),
        ("iss", json!(null), "token-claim-missing"),
        ("aud", json!("https://other.example"), "token-audience"),
        ("aud", json!([]), "token-audience"),
        ("aud", json!(null), "token-claim-missing"),
        ("aud", json!([BASE, 7]), "token-malformed"),
        ("exp", json!(now - 60), "token-expired"),
        ("exp", json!(null), "token-claim-missing"),
        ("exp", json!((now + 300).to_string()), "token-malformed"),
        ("nbf", json!(now + 3_600), "token-not-yet-valid"),
        ("iat", json!(now + 3_600), "token-not-yet-valid"),
        ("nonce", json!("n"), "token-type"),
        ("at_hash", json!("h"), "token-type"),
        ("token_use", json!("id"), "token-type"),
        ("typ", json!("Refresh"), "token-type"),
        ("cnf", json!({ "jkt": "x" }), "token-unsupported"),
        ("act", json!({ "sub": "x" }), "token-unsupported"),
        ("azp", json!("another-app"), "token-client"),
        ("client_id", json!(null), "token-claim-missing"),
        ("scope", json!(null), "token-claim-missing"),
        ("scope", json!(" "), "token-malformed"),
        ("scope", json!("user/*.rs\nsystem/*.rs"), "token-malformed"),
        ("scope", json!(format!("user/Observation.rs {}", "x".repeat(181))), "token-too-long"),
        ("patient", json!("Patient/123"), "token-malformed"),
        ("patient", json!(["123"]), "token-malformed"),
        ("encounter", json!(""), "token-malformed"),
        ("fhirUser", json!(null), "token-claim-missing"),
        ("fhirUser", json!("https://other.example/fhir/Practitioner/17"), "token-user"),
        ("fhirUser", json!("Person/1"), "token-user"),
        ("fhirUser", json!("Practitioner/17/_history/1"), "token-malformed"),
    ];
    for (claim, value, code) in table {
        let what = format!("{claim} {value}");
        is_refused(&what, &claiming(claim, value), code);
    }
    let inside = format!("user/Observation.rs {}", "x".repeat(180));
    assert_eq!((inside.len(), ask(&claiming("scope", json!(inside))).verdict().0.as_str()), (200, "permit"));
    let twice = claims().to_string().replacen("\"sub\":", "\"iss\":\"x\",\"sub\":", 1);
    is_refused("a claim said twice", &sign(&party().issuer, HEADER, &twice), "token-malformed");
}

#[test]
fn an_authorization_that_is_no_bearer_token_is_malformed() {
    for value in ["Basic dXNlcjpwYXNz", "Bearer", "DPoP abc", ""] {
        let body = with(&without(&read(), "/subject"), "/request/headers/authorization", json!(value));
        let answer = party().host.decide(&body);
        assert_eq!(answer.problem(), (400, "request.headers.authorization".into()), "{value}");
        assert!(!answer.text.contains("dXNlcjpwYXNz"));
    }
}

#[test]
fn a_bad_token_with_a_break_glass_marker_is_on_record_with_it() {
    let headers = json!({ "authorization": "Bearer a.b.c", "x-break-glass": "yes" });
    let answer = party().host.decide(&with(&without(&read(), "/subject"), "/request/headers", headers));
    assert_eq!(answer.verdict(), ("deny".into(), "token-malformed".into()));
    let record = party().world.record(&answer.decided()["id"]);
    assert_eq!(record["break_glass"], json!(["request.headers.x-break-glass"]));
    let scope = ask(&claiming("scope", json!("user/Observation.rs break-glass")));
    assert_eq!(party().world.record(&scope.decided()["id"])["break_glass"], json!(["subject.scope"]));
}

#[test]
fn a_simulation_with_a_bad_token_says_would() {
    let body = with(&without(&read(), "/subject"), "/request/headers/authorization", json!("Bearer a.b.c"));
    let json = party().host.decide(&with(&body, "/simulate", json!(true))).decided();
    assert_eq!((&json["would"], json.get("decision")), (&json!("deny"), None));
    assert_eq!(party().world.record(&json["id"])["simulate"], true);
}

//! Asking the issuer about tokens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chartgate_tests::host::{Host, World};
use serde_json::{Value, json};

use super::issuer::{Issuer, Mood};
use super::{ISSUER, Key, PATIENCE, ask, at_once, claims, is_unknown, key_set, now_s, reason, until, verdict};

const GOOD: &str = "relationship-treatment";
const UNAVAILABLE: &str = "token-introspection-unavailable";
const SECRET: &str = "s3cr3t of the host";

/// A host that asks this issuer, with further members of its tables.
fn start(issuer: &Issuer, asked: &str, more: &str) -> (World, Host) {
    let mut world = World::with_rules();
    std::fs::write(world.path("secret"), format!("{SECRET}\n")).unwrap();
    world.more = format!(
        "[[tokens]]\ntenants = [\"default\"]\nissuer = {ISSUER:?}\naudiences = [\"https://ehr.example/fhir\"]\nallow_private = true\n\
         timeout_ms = 500\nintrospection = {{ url = {:?}, client_id = \"chart:gate\", client_secret_file = {:?}{asked} }}\n{more}",
        issuer.url("/introspect"),
        world.path("secret"),
    );
    let host = world.start();
    (world, host)
}

/// What an issuer says about a good token.
fn active() -> Value {
    let now = now_s();
    json!({
        "active": true, "exp": now + 300, "client_id": "growth-chart", "scope": "user/Observation.rs",
        "fhirUser": "Practitioner/17", "token_type": "Bearer",
    })
}

fn changed(name: &str, value: Value) -> Mood {
    let mut answer = active();
    answer[name] = value;
    Mood::Json(answer.to_string())
}

#[test]
fn the_issuer_says_who_asks() {
    let issuer = Issuer::new(Mood::Json(active().to_string()));
    let (world, host) = start(&issuer, "", "");
    let answer = ask(&host, "opaque-1");
    assert_eq!(answer.verdict(), ("permit".into(), GOOD.into()));
    let subject = world.record(&answer.decided()["id"])["input"]["subject"].clone();
    assert_eq!((&subject["user"], &subject["client"]), (&json!("Practitioner/17"), &json!("growth-chart")));

    let seen = &issuer.seen()[0];
    let basic = seen.headers["authorization"].to_str().unwrap().strip_prefix("Basic ").unwrap();
    assert_eq!(STANDARD.decode(basic).unwrap(), b"chart%3Agate:s3cr3t%20of%20the%20host");
    assert_eq!(seen.body, "token=opaque-1&token_type_hint=access_token");
    assert_eq!(seen.headers["content-type"], "application/x-www-form-urlencoded");
    // The launch patient counts as in a JWT: here it is somebody else's chart.
    issuer.becomes(Mood::Json(
        json!({ "active": true, "exp": now_s() + 300, "client_id": "phr", "scope": "patient/Observation.rs",
            "fhirUser": "Patient/124", "patient": "124" })
        .to_string(),
    ));
    let other = ask(&host, "opaque-2");
    assert_eq!((other.verdict().0.as_str(), other.denial_status()), ("deny", 404));
    assert!(!world.data_holds("opaque-1"), "the log holds a token");
    assert!(!host.stderr().join("\n").contains("opaque-1"));
}

#[test]
fn only_an_active_bearer_token_for_this_host_is_good() {
    let issuer = Issuer::new(Mood::Json(r#"{"active":false}"#.into()));
    let (_world, host) = start(&issuer, "", "");
    let inactive = ask(&host, "opaque-0");
    assert_eq!(inactive.verdict(), ("deny".into(), "token-inactive".into()));
    assert_eq!(inactive.denial_status(), 401);
    let table = [
        ("exp", json!(now_s() - 60), "token-expired"),
        ("exp", json!("2026"), "token-malformed"),
        ("exp", Value::Null, "token-malformed"),
        ("nbf", json!(now_s() + 600), "token-not-yet-valid"),
        ("iss", json!("https://other.example"), "token-issuer"),
        ("aud", json!("https://other.example"), "token-audience"),
        ("token_type", json!("DPoP"), "token-unsupported"),
        ("cnf", json!({ "jkt": "x" }), "token-unsupported"),
        ("token_use", json!("refresh_token"), "token-type"),
        ("scope", json!(""), "token-malformed"),
        ("patient", json!("Patient/123"), "token-malformed"),
        ("fhirUser", json!("https://other.example/Practitioner/17"), "token-user"),
        ("azp", json!("another-app"), "token-client"),
    ];
    for (at, (name, value, code)) in table.into_iter().enumerate() {
        issuer.becomes(changed(name, value.clone()));
        assert_eq!(verdict(&host, &format!("bad-{at}")), ("deny".into(), code.into()), "{name} {value}");
    }
    for (at, (name, value)) in
        [("iss", json!(ISSUER)), ("aud", json!(["x", "https://ehr.example/fhir"])), ("token_type", json!("bearer"))]
            .into_iter()
            .enumerate()
    {
        issuer.becomes(changed(name, value));
        assert_eq!(reason(&host, &format!("good-{at}")), GOOD, "{name}");
    }
    // What is no bearer token at all is not asked about.
    let asked = issuer.asked();
    for odd in ["a b", "a\u{e9}", "="] {
        assert_eq!(reason(&host, odd), "token-malformed", "{odd}");
    }
    assert_eq!(issuer.asked(), asked);
}

#[test]
fn what_is_no_answer_is_no_verdict_and_then_there_is_one() {
    let issuer = Issuer::new(Mood::Status(500));
    let (world, host) = start(&issuer, "", "");
    let long = format!("{}{}", active(), " ".repeat(64 * 1024));
    for mood in [
        Mood::Status(500),
        Mood::Status(401),
        Mood::Json("{".into()),
        Mood::Json("[]".into()),
        Mood::Json("{}".into()),
        changed("active", json!("true")),
        changed("active", json!(1)),
        Mood::Json(active().to_string().replacen('{', r#"{"active":false,"#, 1)),
        Mood::Json(long),
        Mood::Redirect(issuer.url("/elsewhere")),
        Mood::Slow(active().to_string()),
    ] {
        issuer.becomes(mood);
        is_unknown(&world, &ask(&host, "opaque"), UNAVAILABLE);
    }
    assert!(issuer.seen().iter().all(|seen| seen.path == "/introspect"), "a redirect was followed");
    issuer.becomes(Mood::Json(active().to_string()));
    assert_eq!(reason(&host, "opaque"), GOOD);
    let lines = host.stderr().join("\n");
    assert!(lines.contains("token not introspected") && !lines.contains("s3cr3t"), "{lines}");
}

#[test]
fn an_answer_is_kept_for_a_short_time_and_in_a_bounded_number() {
    let issuer = Issuer::new(Mood::Json(active().to_string()));
    let (_world, host) = start(&issuer, ", cache_entries = 2, cache_age_s = 60", "");
    let asked_for = |tokens: &[&str]| {
        let before = issuer.asked();
        tokens.iter().for_each(|token| assert_eq!(reason(&host, token), GOOD));
        issuer.asked() - before
    };
    assert_eq!(asked_for(&["t1", "t1", "t1"]), 1);
    assert_eq!(asked_for(&["t2", "t1", "t2"]), 1);
    // The third makes the first go.
    assert_eq!(asked_for(&["t3", "t2", "t3"]), 1);
    assert_eq!(asked_for(&["t1"]), 1);
    let before = issuer.asked();
    assert_eq!(at_once(&host, 50, &|_| "shared".into()), [GOOD; 50]);
    assert_eq!(issuer.asked() - before, 1, "one question for all who ask at once");
    // What the issuer does not vouch for is asked about each time.
    issuer.becomes(Mood::Json(r#"{"active":false}"#.into()));
    let before = issuer.asked();
    for _ in 0..3 {
        assert_eq!(reason(&host, "revoked"), "token-inactive");
    }
    assert_eq!(issuer.asked() - before, 3);
}

#[test]
fn an_answer_is_not_kept_beyond_its_age_or_the_end_of_the_token() {
    let issuer = Issuer::new(Mood::Json(active().to_string()));
    let (_world, host) = start(&issuer, ", cache_age_s = 1", "");
    assert_eq!(reason(&host, "short"), GOOD);
    issuer.becomes(Mood::Json(r#"{"active":false}"#.into()));
    let since = Instant::now();
    until(&host, "short", "token-inactive");
    assert!(since.elapsed() < Duration::from_secs(20));

    let (_world, host) = start(&issuer, ", cache_age_s = 60", "");
    let end = now_s() + 3;
    issuer.becomes(changed("exp", json!(end)));
    assert_eq!(reason(&host, "ends"), GOOD);
    let (asked, since) = (issuer.asked(), Instant::now());
    // Once the token has ended the issuer is asked again, though the leeway would still let it pass.
    while issuer.asked() == asked {
        assert_eq!(reason(&host, "ends"), GOOD);
        assert!(since.elapsed() < PATIENCE, "the answer outlives its token");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(now_s() >= end);
}

#[test]
fn a_jwt_is_asked_about_only_where_that_is_configured() {
    let key = Key::new("k1");
    let issuer = Issuer::new(Mood::Json(active().to_string()));
    let other = "https://other.example";
    let jwks = |world: &World| {
        std::fs::write(world.path("jwks.json"), key_set(&[&key])).unwrap();
        let file = world.path("jwks.json");
        format!(
            "[[tokens]]\ntenants = [\"default\"]\nissuer = {other:?}\naudiences = [\"https://ehr.example/fhir\"]\njwks_file = {file:?}\n"
        )
    };
    let files = World::new();
    let (_world, host) = start(&issuer, "", &jwks(&files));
    assert_eq!(reason(&host, &key.sign(&claims(ISSUER))), "token-issuer");
    // A JWT of somebody else, whole or broken, does not reach this issuer.
    let theirs = key.sign(&claims(other));
    assert_eq!(reason(&host, &theirs), GOOD);
    assert_eq!(reason(&host, &theirs[..theirs.len() / 2]), "token-malformed");
    assert_eq!(issuer.asked(), 0);
    assert_eq!(reason(&host, "opaque"), GOOD);

    let (_world, host) = start(&issuer, ", opaque = false, jwt = true", &jwks(&files));
    let asked = issuer.asked();
    assert_eq!(reason(&host, &key.sign(&claims(ISSUER))), GOOD);
    assert_eq!(issuer.asked() - asked, 1);
    assert_eq!(reason(&host, "opaque"), "token-malformed");
    assert_eq!(issuer.asked() - asked, 1);
}

#[test]
fn an_answer_has_to_name_issuer_and_audience_where_that_is_required() {
    let issuer = Issuer::new(Mood::Json(active().to_string()));
    let (_world, host) = start(&issuer, ", require_issuer = true, require_audience = true", "");
    assert_eq!(reason(&host, "neither"), "token-claim-missing");
    issuer.becomes(changed("iss", json!(ISSUER)));
    assert_eq!(reason(&host, "no-audience"), "token-claim-missing");
    let whole = |_: &str| {
        let mut answer = active();
        answer["iss"] = json!(ISSUER);
        answer["aud"] = json!("https://ehr.example/fhir");
        answer.to_string()
    };
    issuer.becomes(Mood::Asked(Arc::new(whole)));
    assert_eq!(reason(&host, "both"), GOOD);
}

//! Keys behind a URL: rotation, floods, failures, and no verdict without keys.

use std::time::{Duration, Instant};

use chartgate_tests::host::{Host, World};
use serde_json::json;

use super::issuer::{Issuer, Mood};
use super::{ISSUER, Key, PATIENCE, ask, at_once, claims, is_unknown, key_set, reason, until};

const GOOD: &str = "relationship-treatment";
const UNAVAILABLE: &str = "token-keys-unavailable";

/// The table of an issuer whose keys are fetched.
fn fetched(name: &str, issuer: &Issuer, more: &str) -> String {
    format!(
        "[[tokens]]\ntenants = [\"default\"]\nissuer = {name:?}\naudiences = [\"https://ehr.example/fhir\"]\njwks_url = {:?}\n\
         allow_private = true\n{more}\n",
        issuer.url("/jwks")
    )
}

fn start(tables: &str) -> (World, Host) {
    let world = World::with_rules_and(tables);
    let host = world.start();
    (world, host)
}

#[test]
fn a_new_key_is_fetched_once_however_many_ask_for_it() {
    let (old, new) = (Key::new("k1"), Key::new("k2"));
    let issuer = Issuer::new(Mood::Json(key_set(&[&old])));
    let (_world, host) = start(&fetched(ISSUER, &issuer, ""));
    let claims = claims(ISSUER);
    assert_eq!(issuer.asked(), 0, "nobody has shown a token yet");
    assert_eq!(at_once(&host, 50, &|_| old.sign(&claims)), [GOOD; 50]);
    assert_eq!(issuer.asked(), 1);
    assert_eq!(issuer.seen()[0].headers["accept"], "application/json");

    issuer.becomes(Mood::Json(key_set(&[&old, &new])));
    assert_eq!(at_once(&host, 50, &|_| new.sign(&claims)), [GOOD; 50]);
    assert_eq!(issuer.asked(), 2);
    assert_eq!(reason(&host, &old.sign(&claims)), GOOD);

    // SECURITY: names of keys nobody has cannot make the host knock at the issuer's door.
    let since = Instant::now();
    let stranger = Key::new("k1");
    for round in 0..5 {
        let name = |at: usize| -> &'static str { Box::leak(format!("unheard-of-{round}-{at}").into_boxed_str()) };
        let token = |at: usize| Key { pair: Key::new("x").pair, id: name(at) }.sign(&claims);
        assert_eq!(at_once(&host, 40, &token), ["token-key"; 40]);
    }
    let allowed = 3 + usize::try_from(since.elapsed().as_secs()).unwrap() / 10;
    assert!(issuer.asked() <= allowed, "asked {} times in {:?}", issuer.asked(), since.elapsed());
    assert_eq!(reason(&host, &stranger.sign(&claims)), "token-signature");
}

#[test]
fn a_first_token_with_an_unknown_key_causes_one_fetch() {
    let (key, other) = (Key::new("k1"), Key::new("k2"));
    let issuer = Issuer::new(Mood::Json(key_set(&[&key])));
    let (_world, host) = start(&fetched(ISSUER, &issuer, ""));
    assert_eq!(reason(&host, &other.sign(&claims(ISSUER))), "token-key");
    assert_eq!(issuer.asked(), 1);
}

#[test]
fn old_keys_serve_while_fetching_fails_but_not_for_long() {
    let key = Key::new("k1");
    let mut issuer = Issuer::new(Mood::Json(key_set(&[&key])));
    let (world, host) = start(&fetched(ISSUER, &issuer, "max_age_s = 1\nstale_max_s = 3\ntimeout_ms = 1000"));
    let token = key.sign(&claims(ISSUER));
    let before = Instant::now();
    assert_eq!(reason(&host, &token), GOOD);
    let after = Instant::now();
    issuer.down();
    let (mut stale, mut last) = (0, after);
    let answer = loop {
        let asked = Instant::now();
        let answer = ask(&host, &token);
        if answer.verdict().1 != GOOD {
            break answer;
        }
        last = asked;
        stale += usize::from(asked > after + Duration::from_secs(1));
        assert!(after.elapsed() < PATIENCE, "old keys serve for ever");
        std::thread::sleep(Duration::from_millis(100));
    };
    assert!(stale > 0, "old keys were not used at all");
    assert!(before.elapsed() >= Duration::from_secs(4), "old keys were dropped too early");
    // Between a request's arrival and its look at the keys there is some time.
    assert!(last <= after + Duration::from_millis(4_500), "old keys were used too long");
    is_unknown(&world, &answer, UNAVAILABLE);
    let lines = host.stderr().join("\n");
    assert!(lines.contains("keys not fetched") && !lines.contains(&token), "{lines}");
    issuer.up();
    until(&host, &token, GOOD);
}

#[test]
fn without_a_usable_key_set_there_is_no_verdict_and_then_there_is() {
    let key = Key::new("k1");
    let issuer = Issuer::new(Mood::Status(500));
    let (world, host) = start(&fetched(ISSUER, &issuer, "timeout_ms = 400"));
    let token = key.sign(&claims(ISSUER));
    let good = key_set(&[&key]);
    let padded = format!("{good}{}", " ".repeat(256 * 1024));
    let secret = json!({ "keys": [key.jwk(), { "kty": "oct", "kid": "s", "k": "AAAA" }] }).to_string();
    for mood in [
        Mood::Status(500),
        Mood::Status(404),
        Mood::Status(204),
        Mood::Json("{".into()),
        Mood::Json(r#"{"keys":[]}"#.into()),
        Mood::Json(secret),
        Mood::Json(padded),
        Mood::Redirect(issuer.url("/elsewhere")),
        Mood::Slow(good.clone()),
    ] {
        issuer.becomes(mood);
        let (asked, since) = (issuer.asked(), Instant::now());
        // The host pauses after a failure: ask until it has asked again.
        while issuer.asked() == asked {
            assert_eq!(reason(&host, &token), UNAVAILABLE);
            assert!(since.elapsed() < PATIENCE, "the host does not try again");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
    is_unknown(&world, &ask(&host, &token), UNAVAILABLE);
    assert!(issuer.seen().iter().all(|seen| seen.path == "/jwks"), "a redirect was followed");
    // While it fails, many who ask cause few fetches.
    let (asked, since) = (issuer.asked(), Instant::now());
    assert_eq!(at_once(&host, 40, &|_| token.clone()), [UNAVAILABLE; 40]);
    let allowed = 1 + usize::try_from(since.elapsed().as_secs()).unwrap();
    assert!(issuer.asked() - asked <= allowed, "{} fetches", issuer.asked() - asked);
    issuer.becomes(Mood::Cached(good, "max-age=60"));
    until(&host, &token, GOOD);
}

#[test]
fn an_unknown_key_is_no_verdict_while_the_issuer_cannot_be_asked() {
    let (key, new) = (Key::new("k1"), Key::new("k2"));
    let issuer = Issuer::new(Mood::Json(key_set(&[&key])));
    let (world, host) = start(&fetched(ISSUER, &issuer, ""));
    let claims = claims(ISSUER);
    assert_eq!(reason(&host, &key.sign(&claims)), GOOD);
    issuer.becomes(Mood::Status(503));
    is_unknown(&world, &ask(&host, &new.sign(&claims)), UNAVAILABLE);
    assert_eq!(reason(&host, &key.sign(&claims)), GOOD, "the known key is still fresh");
    issuer.becomes(Mood::Json(key_set(&[&key, &new])));
    until(&host, &new.sign(&claims), GOOD);
}

#[test]
fn two_issuers_are_kept_apart() {
    let (ours, theirs) = (Key::new("k1"), Key::new("k1"));
    let (mut first, second) =
        (Issuer::new(Mood::Json(key_set(&[&ours]))), Issuer::new(Mood::Json(key_set(&[&theirs]))));
    let other = "https://other.example";
    let (_world, host) =
        start(&(fetched(ISSUER, &first, "timeout_ms = 500") + &fetched(other, &second, "leeway_s = 0")));
    assert_eq!(reason(&host, &ours.sign(&claims(ISSUER))), GOOD);
    assert_eq!(reason(&host, &theirs.sign(&claims(other))), GOOD);
    assert_eq!(reason(&host, &theirs.sign(&claims(ISSUER))), "token-signature");
    assert_eq!(reason(&host, &ours.sign(&claims(other))), "token-signature");
    assert_eq!(reason(&host, &ours.sign(&claims("https://third.example"))), "token-issuer");
    // One that is gone does not take the other with it.
    first.down();
    assert_eq!(reason(&host, &Key::new("k7").sign(&claims(ISSUER))), UNAVAILABLE);
    assert_eq!(reason(&host, &theirs.sign(&claims(other))), GOOD);
}

#[test]
fn a_name_that_leads_to_a_private_address_is_not_connected_to() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let table = format!(
        "[[tokens]]\ntenants = [\"default\"]\nissuer = {ISSUER:?}\naudiences = [\"https://ehr.example/fhir\"]\n\
         jwks_url = \"https://localhost:{port}/jwks\"\n"
    );
    let (world, host) = start(&table);
    is_unknown(&world, &ask(&host, &Key::new("k1").sign(&claims(ISSUER))), UNAVAILABLE);
    assert!(host.stderr().iter().any(|line| line.contains("no address of the name is allowed")), "{:?}", host.stderr());
    assert!(listener.accept().is_err(), "the host connected");
}

//! Bearer tokens of any kind.
//!
//! Nothing verifies that the issuer's key did not sign, whatever header it brings; and what the key did
//! sign verifies only with the claims an access token has. The input is three lines of text, header,
//! signature and payload; it is tried as a token as it stands, too.
#![no_main]

use std::future::Future as _;
use std::pin::pin;
use std::sync::LazyLock;
use std::task::{Context, Poll, Waker};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate::config::Config;
use chartgate::tokens::{Issuers, TokenError, VerifiedToken};
use chartgate_fuzz::access::BASE;
use chartgate_fuzz::mutate::{self, Words};
use chartgate_model::{Millis, SubjectKind};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::{Value, json};

const ISSUER: &str = "https://issuer.example";
const NOW_S: u64 = 1_800_000_000;
/// The configured leeway.
const LEEWAY_S: u64 = 30;
/// Public keys whose private halves nobody has.
const KEYS: &str = include_str!("../src/keys.json");

const HEADER_WORDS: Words<'static> = Words {
    names: &["alg", "kid", "typ", "jwk", "jku", "x5c", "crit", "b64", "enc", "zip"],
    values: &[
        "null",
        "1",
        "\"\"",
        "\"none\"",
        "\"EdDSA\"",
        "\"eddsa\"",
        "\"ES256\"",
        "\"RS256\"",
        "\"PS256\"",
        "\"HS256\"",
        "\"at+jwt\"",
        "\"jwt\"",
        "\"dpop+jwt\"",
        "\"ed\"",
        "\"p256\"",
        "\"rsa\"",
        "{}",
        "[]",
        "[\"b64\"]",
    ],
};

const PAYLOAD_WORDS: Words<'static> = Words {
    names: &[
        "iss",
        "aud",
        "exp",
        "nbf",
        "iat",
        "sub",
        "jti",
        "client_id",
        "azp",
        "scope",
        "fhirUser",
        "patient",
        "encounter",
        "nonce",
        "cnf",
        "act",
        "token_use",
        "typ",
        "auth_time",
    ],
    values: &[
        "null",
        "true",
        "0",
        "-1",
        "1.5",
        "1800000300",
        "1799999970",
        "1799999971",
        "1e300",
        "18446744073709551615",
        "\"\"",
        "\"access\"",
        "\"id\"",
        "\"https://issuer.example\"",
        "\"https://ehr.example/fhir\"",
        "\"Patient/1\"",
        "\"Person/1\"",
        "\"https://ehr.example/fhir/Patient/1\"",
        "\"https://evil.example/Patient/1\"",
        "\"system/*.rs\"",
        "\" \"",
        "{}",
        "[]",
        "[null]",
        "[\"user/*.rs\",\"launch\"]",
    ],
};

/// A header and a payload that are as they should be, so that the other of the two alone decides.
const HEADER: &str = r#"{"alg":"EdDSA","typ":"at+jwt","kid":"ed"}"#;
const PAYLOAD: &str = r#"{"iss":"https://issuer.example","aud":"https://ehr.example/fhir","exp":1800000300,
    "client_id":"app","scope":"user/Observation.rs","fhirUser":"Practitioner/17"}"#;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let lines: Vec<usize> =
        data.iter().take(size).enumerate().filter(|(_, b)| **b == b'\n').map(|(at, _)| at).collect();
    let (part, words) = match *lines.as_slice() {
        [header, _, ..] if seed.is_multiple_of(2) => (0..header, HEADER_WORDS),
        [_, signature, ..] => (signature + 1..size, PAYLOAD_WORDS),
        _ => (0..size, HEADER_WORDS),
    };
    mutate::json(data, size, max_size, seed / 2, part, words)
});

/// The issuer's one key that signs, made anew from the same seed each time.
static SIGNER: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a seed"));

/// The issuers of a host that is configured for one.
static ISSUERS: LazyLock<Issuers> = LazyLock::new(|| {
    let mut keys: Value = serde_json::from_str(KEYS).expect("keys");
    let key = json!({ "kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": base64(SIGNER.public_key()) });
    keys.get_mut("keys").and_then(Value::as_array_mut).expect("a list").push(key);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (jwks, toml) = (folder.path().join("jwks.json"), folder.path().join("chartgate.toml"));
    std::fs::write(&jwks, keys.to_string()).expect("written");
    let text = format!(
        "system.enabled = true\n[[tokens]]\nissuer = {ISSUER:?}\naudiences = [{BASE:?}]\njwks_file = {jwks:?}\n\
         leeway_s = {LEEWAY_S}\nsystem_clients = true\n"
    );
    std::fs::write(&toml, text).expect("written");
    let config = Config::load(Some(&toml), std::iter::empty()).expect("a configuration");
    Issuers::open(&config).expect("an issuer").expect("one issuer")
});

/// Verify a token. Keys from a file are there at once, so nothing is ever waited for.
fn verify(token: &str) -> Result<VerifiedToken, TokenError> {
    let verified = pin!(ISSUERS.verify(token, BASE, Millis(NOW_S * 1_000)));
    match verified.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(verified) => verified,
        Poll::Pending => panic!("waits for something"),
    }
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fuzz_target!(|input: &[u8]| {
    let input = String::from_utf8_lossy(input);
    let refused = |token: &str| assert!(verify(token).is_err(), "nobody signed {token}");
    refused(&input);

    let mut lines = input.splitn(3, '\n');
    let (header, signature, payload) = (lines.next(), lines.next(), lines.next());
    let (header, signature) = (header.unwrap_or_default(), signature.unwrap_or_default());
    let payload = payload.unwrap_or_default().trim_end();
    let signed = format!("{}.{}", base64(header), base64(payload));
    refused(&format!("{signed}.{signature}"));
    refused(&format!("{signed}.{}", base64(signature)));
    // A public key is no secret.
    for secret in [SIGNER.public_key().as_ref(), KEYS.as_bytes()] {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), signed.as_bytes());
        refused(&format!("{signed}.{}", base64(tag)));
    }

    for (header, payload) in [(header, payload), (header, PAYLOAD), (HEADER, payload)] {
        let signed = format!("{}.{}", base64(header), base64(payload));
        let signature = SIGNER.sign(signed.as_bytes());
        if let Ok(token) = verify(&format!("{signed}.{}", base64(signature))) {
            is_an_access_token(header, payload, &token);
        }
    }
});

/// What has to stand in a token that was taken.
fn is_an_access_token(header: &str, payload: &str, token: &VerifiedToken) {
    let header: Value = serde_json::from_str(header).expect("a header that is JSON");
    assert_eq!(header.get("alg"), Some(&json!("EdDSA")), "{header}");
    assert!(["crit", "b64", "enc", "zip"].iter().all(|name| header.get(name).is_none()), "{header}");

    let claims: Value = serde_json::from_str(payload).expect("claims that are JSON");
    assert_eq!(claims.get("iss"), Some(&json!(ISSUER)), "{claims}");
    let audience = claims.get("aud").expect("an audience");
    let meant = *audience == json!(BASE) || audience.as_array().is_some_and(|all| all.contains(&json!(BASE)));
    assert!(meant, "{claims}");
    assert!(claims.get("exp").and_then(Value::as_u64).is_some_and(|exp| exp + LEEWAY_S > NOW_S), "{claims}");
    assert!(["nonce", "cnf", "act"].iter().all(|name| claims.get(name).is_none()), "{claims}");

    let subject = &token.subject;
    assert!(!subject.client.is_empty() && !subject.scope.is_empty(), "{claims}");
    let tells_of_a_user =
        ["fhirUser", "patient", "encounter", "auth_time"].iter().any(|name| claims.get(name).is_some());
    assert_eq!(subject.kind == SubjectKind::System, !tells_of_a_user, "{claims}");
    assert_eq!(subject.user.is_empty(), subject.kind == SubjectKind::System, "{claims}");
}

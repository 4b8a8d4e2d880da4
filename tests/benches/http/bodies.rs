//! The bodies that are sent, and the keys behind their tokens. The keys are made here and forgotten.

use std::path::{Path, PathBuf};

use anyhow::anyhow;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair, RsaPublicKeyComponents};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate::edge::Edge;
use serde_json::{Value, json};

use crate::support::{BASE, OBSERVATION, SCOPE};

/// Clinicians who ask in turn, each with a token of their own.
pub(super) const CLINICIANS: u32 = 64;
/// Who signs the tokens.
pub(super) const ISSUER: &str = "https://login.example";
/// The one patient they all treat.
pub(super) const PATIENT: &str = "123";

/// Files of bodies, one a line.
pub(super) struct Bodies {
    pub(super) vouched: PathBuf,
    pub(super) signed: PathBuf,
    pub(super) jwks: PathBuf,
}

impl Bodies {
    /// Write all of them to a folder.
    pub(super) fn write(folder: &Path) -> anyhow::Result<Self> {
        let key = RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| anyhow!("no RSA key could be made"))?;
        let files = Self {
            vouched: folder.join("vouched.jsonl"),
            signed: folder.join("signed.jsonl"),
            jwks: folder.join("jwks.json"),
        };
        let lines = |line: &dyn Fn(u32) -> anyhow::Result<Value>| -> anyhow::Result<String> {
            (1..=CLINICIANS).map(|n| line(n).map(|body| format!("{body}\n"))).collect()
        };
        std::fs::write(&files.vouched, lines(&|n| Ok(vouched(n)))?)?;
        std::fs::write(&files.signed, lines(&|n| signed(n, &key))?)?;
        std::fs::write(&files.jwks, json!({ "keys": [jwk(&key)] }).to_string())?;
        Ok(files)
    }
}

fn vouched(n: u32) -> Value {
    let user = format!("Practitioner/{n}");
    let mut body = body(json!({ "accept": "application/fhir+json" }));
    if let Some(members) = body.as_object_mut() {
        members.insert("subject".into(), json!({ "user": user, "client": "growth-chart", "scope": SCOPE }));
    }
    body
}

fn signed(n: u32, key: &RsaKeyPair) -> anyhow::Result<Value> {
    let token = token(n, key)?;
    Ok(body(json!({ "accept": "application/fhir+json", "authorization": format!("Bearer {token}") })))
}

/// The resource goes as a string, so that its bytes reach the policy untouched.
fn body(headers: Value) -> Value {
    json!({
        "request": { "method": "GET", "url": "/Observation/9", "headers": headers },
        "stored": { "Observation/9": OBSERVATION },
        "obligations": ["search-narrowing", "response-filter", "if-match", "return-minimal"],
    })
}

fn token(n: u32, key: &RsaKeyPair) -> anyhow::Result<String> {
    let now_s = (Edge::system().now)().0 / 1_000;
    let header = json!({ "alg": "RS256", "typ": "at+jwt", "kid": "bench" });
    let claims = json!({
        "iss": ISSUER, "aud": BASE, "sub": format!("user-{n}"), "jti": format!("token-{n}"), "client_id": "growth-chart",
        "scope": SCOPE, "fhirUser": format!("Practitioner/{n}"), "iat": now_s, "nbf": now_s, "exp": now_s + 3_600,
    });
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(header), part(claims));
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature)
        .map_err(|_| anyhow!("a token could not be signed"))?;
    Ok(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

fn jwk(key: &RsaKeyPair) -> Value {
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(key.public_key());
    let text = |bytes: Vec<u8>| URL_SAFE_NO_PAD.encode(bytes);
    json!({ "kty": "RSA", "kid": "bench", "alg": "RS256", "use": "sig", "n": text(public.n), "e": text(public.e) })
}

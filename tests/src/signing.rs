//! An issuer of tokens that is not ours: its keys, and what it signs with them.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test support: a failure is a failed test")]

use std::time::UNIX_EPOCH;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

/// A key on the curve P-256.
pub struct Key {
    /// both halves
    pub pair: EcdsaKeyPair,
    /// `kid`
    pub id: &'static str,
}

impl Key {
    /// A new one.
    pub fn new(id: &'static str) -> Self {
        Self { pair: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(), id }
    }

    /// Its public half (RFC 7517).
    pub fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({ "kty": "EC", "crv": "P-256", "kid": self.id, "x": b64(x), "y": b64(y) })
    }

    /// A token (RFC 9068) that says this.
    pub fn sign(&self, claims: &Value) -> String {
        let header = json!({ "alg": "ES256", "typ": "at+jwt", "kid": self.id });
        let signed = format!("{}.{}", b64(header.to_string()), b64(claims.to_string()));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", b64(signature))
    }
}

/// Base64 as JOSE has it.
pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The public halves of keys (RFC 7517).
pub fn key_set(keys: &[&Key]) -> String {
    json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }).to_string()
}

/// Seconds since 1970, from a file's own time: a test reads no clock either.
pub fn now_s() -> u64 {
    let file = tempfile::NamedTempFile::new().unwrap();
    file.as_file().metadata().unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

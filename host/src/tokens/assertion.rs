//! A client's proof of who it is: a signed assertion (RFC 7523, section 3; SMART App Launch 2.2, "Client
//! Authentication: Asymmetric").

use std::time::Duration;

use chartgate_model::Millis;
use serde_json::{Map, Value};

use super::Algorithm;
use super::error::TokenError;
use super::jwks::KeySet;
use super::jwt::Unverified;
use super::keys::{Ages, JWKS_BYTES, Keys, Remote};
use crate::outbound::Endpoint;

/// The longest assertion read.
const MAX_BYTES: usize = 8 * 1024;
/// The farthest its end may lie ahead, in seconds, and how much clocks may differ.
const LIFE_S: u64 = 300;
const SKEW_S: u64 = 60;
/// How long a key set at a URL is used, at most.
const KEPT: Duration = Duration::from_secs(300);

/// What a client may sign with.
pub(crate) const CLIENT_ALGORITHMS: [(&str, Algorithm); 7] = [
    ("RS384", Algorithm::RS384),
    ("ES384", Algorithm::ES384),
    ("RS256", Algorithm::RS256),
    ("ES256", Algorithm::ES256),
    ("RS512", Algorithm::RS512),
    ("PS384", Algorithm::PS384),
    ("EdDSA", Algorithm::EdDSA),
];

fn allowed() -> Vec<Algorithm> {
    CLIENT_ALGORITHMS.iter().map(|(_, algorithm)| *algorithm).collect()
}

/// The keys of a client.
pub(crate) struct ClientKeys {
    keys: Keys,
    /// the only `jku` an assertion may name
    url: Option<String>,
}

/// Whether a key set can be a client's; the error is in words.
pub(crate) fn check_client_keys(jwks: &Value) -> Result<(), String> {
    KeySet::parse(jwks.to_string().as_bytes(), &allowed()).map(drop).map_err(|error| error.to_string())
}

/// What an assertion has to say.
pub(crate) struct Expected<'a> {
    /// whose it is
    pub(crate) client: &'a str,
    /// whom it may be addressed to: one of these, alone
    pub(crate) audiences: &'a [&'a str],
    /// the time
    pub(crate) now: Millis,
}

/// An assertion that holds. It counts once: `jti` has to be new.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assertion {
    pub(crate) jti: String,
    /// until when its `jti` has to be remembered
    pub(crate) remember_until: Millis,
}

/// Whose assertion it claims to be, to find the registration.
///
/// SECURITY: nothing but whose keys it is held against follows from it; [`ClientKeys::verify`] compares again.
pub(crate) fn claimed_client(assertion: &str) -> Option<String> {
    if assertion.len() > MAX_BYTES {
        return None;
    }
    Unverified::parse(assertion).ok()?.issuer().ok().map(str::to_owned)
}

impl ClientKeys {
    /// Keys that stand in the registration.
    pub(crate) fn inline(jwks: &Value) -> Option<Self> {
        let set = KeySet::parse(jwks.to_string().as_bytes(), &allowed()).ok()?;
        Some(Self { keys: Keys::Fixed(set), url: None })
    }

    /// Keys behind a URL.
    pub(crate) fn at(url: &str, client: &str, allow_private: bool) -> Option<Self> {
        let endpoint = Endpoint::new(url, allow_private, Duration::from_secs(5), JWKS_BYTES).ok()?;
        let ages = Ages { max: KEPT, stale_max: Duration::ZERO };
        let remote = Remote::new(client, endpoint, &allowed(), ages);
        Some(Self { keys: Keys::Fetched(remote), url: Some(url.to_owned()) })
    }

    /// Verify an assertion.
    pub(crate) async fn verify(&self, assertion: &str, expected: &Expected<'_>) -> Result<Assertion, TokenError> {
        if assertion.len() > MAX_BYTES {
            return Err(TokenError::TooLong);
        }
        let unverified = Unverified::parse(assertion)?;
        let (algorithm, key_id) = unverified.assertion_header(&allowed(), self.url.as_deref())?;
        let key = self.keys.find(algorithm, Some(key_id)).await?;
        claims(&unverified.claims(algorithm, &key)?, expected)
    }
}

fn claims(members: &Map<String, Value>, expected: &Expected<'_>) -> Result<Assertion, TokenError> {
    let text = |name: &str| match members.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        None => Err(TokenError::MissingClaim(name.into())),
        Some(_) => Err(TokenError::MalformedClaim(name.into())),
    };
    let seconds = |name: &str| match members.get(name) {
        None => Ok(None),
        Some(value) => value.as_u64().map(Some).ok_or_else(|| TokenError::MalformedClaim(name.into())),
    };
    if text("iss")? != expected.client || text("sub")? != expected.client {
        return Err(TokenError::Issuer);
    }
    audience(members, expected.audiences)?;
    let now_s = expected.now.0 / 1_000;
    let end_s = seconds("exp")?.ok_or_else(|| TokenError::MissingClaim("exp".into()))?;
    // SECURITY: a short life bounds how long a `jti` has to be remembered.
    if end_s <= now_s || end_s > now_s + LIFE_S + SKEW_S {
        return Err(TokenError::Expired);
    }
    for name in ["iat", "nbf"] {
        if seconds(name)?.is_some_and(|from_s| from_s > now_s + SKEW_S) {
            return Err(TokenError::NotYetValid);
        }
    }
    let jti = text("jti")?;
    if !(1..=256).contains(&jti.len()) {
        return Err(TokenError::MalformedClaim("jti".into()));
    }
    Ok(Assertion { jti: jti.to_owned(), remember_until: Millis((end_s + SKEW_S) * 1_000) })
}

/// SECURITY: one addressee alone: an assertion made for another server must not count here.
fn audience(members: &Map<String, Value>, audiences: &[&str]) -> Result<(), TokenError> {
    let named = match members.get("aud") {
        Some(Value::String(text)) => text,
        Some(Value::Array(items)) => match items.as_slice() {
            [Value::String(text)] => text,
            _ => return Err(TokenError::Audience),
        },
        _ => return Err(TokenError::MissingClaim("aud".into())),
    };
    if audiences.contains(&named.as_str()) { Ok(()) } else { Err(TokenError::Audience) }
}

#[cfg(test)]
#[path = "assertion_tests.rs"]
mod tests;

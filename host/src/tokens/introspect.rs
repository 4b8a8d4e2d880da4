//! Asking the issuer about a token (RFC 7662), for tokens only the issuer can read.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chartgate_model::Millis;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OnceCell, Semaphore};

use super::cache::{Cache, Key};
use super::error::TokenError;
use super::jwt;
use crate::causes::chain;
use crate::outbound::{Endpoint, FetchError, HeaderValue};

/// The longest answer read.
pub(super) const ANSWER_BYTES: usize = 64 * 1024;
/// The longest any answer is kept, whatever is configured.
pub(super) const AGE_MAX: Duration = Duration::from_secs(60);
/// Questions under way at once, to one issuer.
const CONCURRENT_MAX: usize = 64;
/// Flights kept before those that ended early are cleared away.
const FLIGHTS_MAX: usize = 1024;
/// What RFC 6749, section 2.3.1 leaves as it is in a client's name and secret.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');

/// The members of an answer about an active token.
pub(super) type Members = Arc<Map<String, Value>>;
type Flight = OnceCell<Result<Members, TokenError>>;

/// Asks one issuer.
pub(super) struct Introspector {
    issuer: String,
    endpoint: Endpoint,
    authorization: HeaderValue,
    cache: Mutex<Cache>,
    /// questions under way: whoever asks the same meanwhile waits for the same answer
    flights: Mutex<HashMap<Key, Weak<Flight>>>,
    places: Semaphore,
    /// how long a question waits for its place
    patience: Duration,
}

impl Introspector {
    pub(super) fn new(
        issuer: &str,
        endpoint: Endpoint,
        authorization: HeaderValue,
        cache: Cache,
        patience: Duration,
    ) -> Self {
        Self {
            issuer: issuer.to_owned(),
            endpoint,
            authorization,
            cache: Mutex::new(cache),
            flights: Mutex::default(),
            places: Semaphore::new(CONCURRENT_MAX),
            patience,
        }
    }

    /// What the issuer says about an active token, now or a short time ago.
    pub(super) async fn members(&self, token: &str, now: Millis) -> Result<Members, TokenError> {
        let key: Key = Sha256::digest(token.as_bytes()).into();
        if let Some(members) = self.cache().get(&key, now) {
            return Ok(members);
        }
        let flight = self.flight(key);
        let answer = flight.get_or_init(|| self.ask(token, key, now)).await.clone();
        let mut flights = self.flights();
        if flights.get(&key).is_some_and(|known| known.as_ptr() == Arc::as_ptr(&flight)) {
            flights.remove(&key);
        }
        answer
    }

    fn flight(&self, key: Key) -> Arc<Flight> {
        let mut flights = self.flights();
        if let Some(flight) = flights.get(&key).and_then(Weak::upgrade) {
            return flight;
        }
        // Those whose callers all went away before the answer came.
        if flights.len() >= FLIGHTS_MAX {
            flights.retain(|_, flight| flight.strong_count() > 0);
        }
        let flight = Arc::new(Flight::new());
        flights.insert(key, Arc::downgrade(&flight));
        flight
    }

    async fn ask(&self, token: &str, key: Key, now: Millis) -> Result<Members, TokenError> {
        // Another flight may have landed since the cache was last looked at.
        if let Some(members) = self.cache().get(&key, now) {
            return Ok(members);
        }
        let answer = self.fetch(token).await;
        let outcome = match &answer {
            Ok(Some(_)) => "active",
            Ok(None) => "inactive",
            Err(_) => "failed",
        };
        metrics::counter!("chartgate_token_introspections_total", "outcome" => outcome).increment(1);
        match answer {
            Ok(Some((members, bytes))) => {
                self.cache().put(key, &members, bytes, now);
                Ok(members)
            }
            // Not kept: a token may become known to the issuer's other nodes a moment later.
            Ok(None) => Err(TokenError::Inactive),
            Err(error) => {
                tracing::warn!(issuer = %self.issuer, error = %chain(&error), "token not introspected");
                Err(TokenError::IntrospectionUnavailable)
            }
        }
    }

    /// The members and the length of the answer; `None` for a token that is not active.
    async fn fetch(&self, token: &str) -> Result<Option<(Members, usize)>, IntrospectError> {
        let place = tokio::time::timeout(self.patience, self.places.acquire()).await;
        let _place = place.map_err(|_| IntrospectError::Busy)?.map_err(|_| IntrospectError::Busy)?;
        let form = [("token", token), ("token_type_hint", "access_token")];
        let body = self.endpoint.post(&form, self.authorization.clone()).await?.body;
        let members = jwt::object(&body, "answer").map_err(|_| IntrospectError::Malformed)?;
        // SECURITY: only `true` is active; what is neither `true` nor `false` is no answer.
        match members.get("active") {
            Some(Value::Bool(true)) => Ok(Some((Arc::new(members), body.len()))),
            Some(Value::Bool(false)) => Ok(None),
            _ => Err(IntrospectError::Malformed),
        }
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flights(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Weak<Flight>>> {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The issuer's answer is none.
#[derive(Debug, thiserror::Error)]
enum IntrospectError {
    #[error("the issuer cannot be asked")]
    Fetch(#[from] FetchError),
    #[error("too many questions are under way")]
    Busy,
    #[error("the answer is not a JSON object with a Boolean `active`, or repeats a member")]
    Malformed,
}

/// SECURITY: only a bearer token may be used by whoever has it.
pub(super) fn check_type(members: &Map<String, Value>) -> Result<(), TokenError> {
    match members.get("token_type") {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(kind)) if kind.eq_ignore_ascii_case("bearer") => Ok(()),
        Some(Value::String(kind)) if kind.to_ascii_lowercase().contains("refresh") => Err(TokenError::NotAnAccessToken),
        Some(Value::String(_)) => Err(TokenError::SenderConstrained),
        Some(_) => Err(TokenError::MalformedClaim("token_type".into())),
    }
}

/// The host's own name and secret at the issuer, as HTTP Basic (RFC 6749, section 2.3.1).
pub(super) fn basic(client: &str, secret: &str) -> Option<HeaderValue> {
    let encode = |text| utf8_percent_encode(text, FORM);
    let pair = STANDARD.encode(format!("{}:{}", encode(client), encode(secret)));
    let mut value = HeaderValue::try_from(format!("Basic {pair}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_secret_is_encoded_as_a_form_before_it_is_basic() {
        let value = basic("chart:gate", "p%ss w+rd").unwrap();
        assert!(value.is_sensitive());
        let pair = value.to_str().unwrap().strip_prefix("Basic ").unwrap();
        assert_eq!(STANDARD.decode(pair).unwrap(), b"chart%3Agate:p%25ss%20w%2Brd");
    }

    #[test]
    fn only_a_bearer_token_may_be_used_by_its_bearer() {
        let outcome = |value: Value| check_type(json!({ "token_type": value }).as_object().unwrap());
        for fine in [json!("Bearer"), json!("bearer"), json!(null)] {
            assert_eq!(outcome(fine), Ok(()));
        }
        assert_eq!(check_type(&Map::new()), Ok(()));
        assert_eq!(outcome(json!("DPoP")), Err(TokenError::SenderConstrained));
        assert_eq!(outcome(json!("refresh_token")), Err(TokenError::NotAnAccessToken));
        assert_eq!(outcome(json!(1)), Err(TokenError::MalformedClaim("token_type".into())));
    }
}

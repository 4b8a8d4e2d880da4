//! The keys of an issuer: from a file for good, or from a URL with a cache.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonwebtoken::DecodingKey;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::Algorithm;
use super::error::{JwksError, TokenError};
use super::jwks::KeySet;
use crate::causes::chain;
use crate::outbound::{Endpoint, FetchError};

/// The longest key set read.
pub(super) const JWKS_BYTES: usize = 256 * 1024;
/// However short an issuer wants its keys kept, they are not fetched more often for their age.
const AGE_MIN: Duration = Duration::from_secs(10);
/// SECURITY: tokens can name keys nobody has. They cause one fetch in this time, however many come.
const UNKNOWN_MIN: Duration = Duration::from_secs(10);
/// After a fetch that failed, nothing is fetched for so long.
const RETRY_MIN: Duration = Duration::from_secs(1);

/// Where an issuer's keys are.
pub(super) enum Keys {
    /// read once
    Fixed(KeySet),
    /// fetched, kept and fetched again
    Fetched(Arc<Remote>),
}

impl Keys {
    /// The one key that fits a token.
    pub(super) async fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Result<Arc<DecodingKey>, TokenError> {
        match self {
            Self::Fixed(set) => set.find(algorithm, id),
            Self::Fetched(remote) => remote.find(algorithm, id).await,
        }
    }
}

/// How long fetched keys are used.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ages {
    /// at most, before they are fetched again
    pub(super) max: Duration,
    /// at most, beyond that, while fetching fails
    pub(super) stale_max: Duration,
}

/// Keys behind a URL.
pub(super) struct Remote {
    issuer: String,
    endpoint: Endpoint,
    algorithms: Vec<Algorithm>,
    ages: Ages,
    held: Mutex<Option<Arc<Held>>>,
    /// one fetch at a time: whoever holds this fetches, the others wait and share what came of it
    flight: Arc<tokio::sync::Mutex<Attempts>>,
}

/// A set as it was fetched.
struct Held {
    set: KeySet,
    fetched: Instant,
    fresh_until: Instant,
    usable_until: Instant,
}

/// What is known of earlier fetches.
#[derive(Default)]
struct Attempts {
    failed: Option<Instant>,
    for_unknown: Option<Instant>,
}

/// Why the keys are fetched.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Why {
    /// there are none, or they are old
    Age,
    /// a token names a key that is not among them
    UnknownKey,
}

/// What became of the wish to have newer keys.
#[derive(Debug, PartialEq, Eq)]
enum Refreshed {
    /// there is a set newer than the one looked at
    Yes,
    /// the last fetch succeeded, and it is too early for another
    NotYet,
    /// the last fetch failed
    Failed,
}

impl Remote {
    pub(super) fn new(issuer: &str, endpoint: Endpoint, algorithms: &[Algorithm], ages: Ages) -> Arc<Self> {
        Arc::new(Self {
            issuer: issuer.to_owned(),
            endpoint,
            algorithms: algorithms.to_vec(),
            ages,
            held: Mutex::new(None),
            flight: Arc::default(),
        })
    }

    async fn find(self: &Arc<Self>, algorithm: Algorithm, id: Option<&str>) -> Result<Arc<DecodingKey>, TokenError> {
        let asked = Instant::now();
        let held = self.current(asked).await.ok_or(TokenError::KeysUnavailable)?;
        match held.set.find(algorithm, id) {
            Err(TokenError::UnknownKey) => {}
            found => return found,
        }
        // A set that was fetched for this very token is the last word; an older one is not.
        match self.refresh(asked, Some(&held), Why::UnknownKey).await {
            Refreshed::Failed => Err(TokenError::KeysUnavailable),
            Refreshed::NotYet => Err(TokenError::UnknownKey),
            Refreshed::Yes => self.held().ok_or(TokenError::KeysUnavailable)?.set.find(algorithm, id),
        }
    }

    /// The set to use now: a fresh one; while fetching fails, an old one that is not too old.
    async fn current(self: &Arc<Self>, asked: Instant) -> Option<Arc<Held>> {
        let seen = self.held();
        if let Some(held) = seen.as_ref().filter(|held| asked < held.fresh_until) {
            return Some(Arc::clone(held));
        }
        let refreshed = self.refresh(asked, seen.as_ref(), Why::Age).await;
        // SECURITY: keys an issuer took back are not used for longer than an operator allows.
        self.held().filter(|held| refreshed == Refreshed::Yes || asked < held.usable_until)
    }

    fn held(&self) -> Option<Arc<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Fetch, unless somebody else has fetched since `asked` or it is too early.
    ///
    /// A set can be fetched before `asked` and put in place after `seen` was looked at: what is not `seen` is newer.
    async fn refresh(self: &Arc<Self>, asked: Instant, seen: Option<&Arc<Held>>, why: Why) -> Refreshed {
        let attempts = Arc::clone(&self.flight).lock_owned().await;
        let is_seen = |held: &Arc<Held>| seen.is_some_and(|seen| Arc::ptr_eq(held, seen));
        if self.held().is_some_and(|held| held.fetched >= asked || !is_seen(&held)) {
            return Refreshed::Yes;
        }
        let now = Instant::now();
        let within = |then: Option<Instant>, least: Duration| then.is_some_and(|then| now < then + least);
        if within(attempts.failed, RETRY_MIN) {
            return Refreshed::Failed;
        }
        if why == Why::UnknownKey && within(attempts.for_unknown, UNKNOWN_MIN) {
            return Refreshed::NotYet;
        }
        // A task of its own: the fetch goes on for the others when the first who asked goes away.
        let this = Arc::clone(self);
        match tokio::spawn(async move { this.fetch(attempts, why).await }).await {
            Ok(true) => Refreshed::Yes,
            Ok(false) | Err(_) => Refreshed::Failed,
        }
    }

    /// Whether there is a new set now.
    async fn fetch(&self, mut attempts: OwnedMutexGuard<Attempts>, why: Why) -> bool {
        let fetched = self.ask().await;
        let outcome = if fetched.is_ok() { "ok" } else { "failed" };
        metrics::counter!("chartgate_token_key_fetches_total", "outcome" => outcome).increment(1);
        let now = Instant::now();
        match fetched {
            Ok(held) => {
                attempts.failed = None;
                if why == Why::UnknownKey {
                    attempts.for_unknown = Some(now);
                }
                *self.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(held));
                true
            }
            Err(error) => {
                attempts.failed = Some(now);
                tracing::warn!(issuer = %self.issuer, error = %chain(&error), "keys not fetched");
                false
            }
        }
    }

    async fn ask(&self) -> Result<Held, KeysError> {
        let answer = self.endpoint.get().await?;
        let set = KeySet::parse(&answer.body, &self.algorithms)?;
        let fetched = Instant::now();
        let fresh_until = fetched + self.age(answer.max_age_s);
        Ok(Held { set, fetched, fresh_until, usable_until: fresh_until + self.ages.stale_max })
    }

    /// As long as the issuer says, within bounds.
    fn age(&self, told_s: Option<u64>) -> Duration {
        let told = told_s.map_or(self.ages.max, Duration::from_secs);
        told.clamp(AGE_MIN.min(self.ages.max), self.ages.max)
    }
}

/// There are no new keys.
#[derive(Debug, thiserror::Error)]
enum KeysError {
    #[error("the key set cannot be fetched")]
    Fetch(#[from] FetchError),
    #[error("the key set cannot be used")]
    Set(#[from] JwksError),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(max_s: u64) -> Arc<Remote> {
        let ages = Ages { max: Duration::from_secs(max_s), stale_max: Duration::ZERO };
        let endpoint = Endpoint::new("http://127.0.0.1:9/", true, Duration::from_secs(1), JWKS_BYTES).unwrap();
        Remote::new("https://issuer.example", endpoint, &[Algorithm::ES256], ages)
    }

    fn age_s(max_s: u64, told_s: Option<u64>) -> u64 {
        remote(max_s).age(told_s).as_secs()
    }

    fn set_of(fetched: Instant) -> Arc<Held> {
        // the key of RFC 7515, appendix A.3
        let (x, y) = ("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0");
        let keys = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}]}}"#);
        let set = KeySet::parse(keys.as_bytes(), &[Algorithm::ES256]).unwrap();
        Arc::new(Held { set, fetched, fresh_until: fetched + RETRY_MIN, usable_until: fetched + RETRY_MIN })
    }

    /// The look at the old set fell between the end of a fetch and the moment its set was in place.
    #[tokio::test]
    async fn a_set_put_in_place_after_the_look_is_newer_whenever_it_was_fetched() {
        let remote = remote(300);
        let fetched = Instant::now();
        let (old, new) = (set_of(fetched - AGE_MIN), set_of(fetched));
        *remote.held.lock().unwrap() = Some(Arc::clone(&new));
        remote.flight.lock().await.for_unknown = Some(fetched);
        let asked = fetched + Duration::from_millis(1);
        for (seen, expected) in [(Some(&old), Refreshed::Yes), (None, Refreshed::Yes), (Some(&new), Refreshed::NotYet)]
        {
            assert_eq!(remote.refresh(asked, seen, Why::UnknownKey).await, expected);
        }
    }

    #[test]
    fn keys_are_kept_as_long_as_the_issuer_says_within_bounds() {
        for (told, kept) in [(None, 300), (Some(0), 10), (Some(9), 10), (Some(11), 11), (Some(300), 300)] {
            assert_eq!(age_s(300, told), kept, "{told:?}");
        }
        assert_eq!(age_s(300, Some(301)), 300);
        assert_eq!(age_s(300, Some(u64::MAX)), 300);
        // Who wants them fetched more often than that gets it.
        assert_eq!((age_s(1, Some(0)), age_s(1, None)), (1, 1));
    }
}

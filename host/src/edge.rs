//! The edge of the process: the one place that reads the clock and draws identifiers.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::UNIX_EPOCH;

use chartgate_model::Millis;

/// Fills a buffer with random bytes, or says that it cannot.
pub type Random = dyn Fn(&mut [u8]) -> bool + Send + Sync;

/// Where time and identifiers come from. Tests give their own.
#[derive(Clone)]
pub struct Edge {
    /// the time now
    pub now: Arc<dyn Fn() -> Millis + Send + Sync>,
    /// a new identifier, sortable by time
    pub new_id: Arc<dyn Fn() -> String + Send + Sync>,
    /// fill with what nobody can guess; false when the system cannot
    pub random: Arc<Random>,
}

impl Edge {
    /// The system's clock and random source.
    pub fn system() -> Self {
        let ids = Mutex::new(ulid::Generator::new());
        Self {
            now: Arc::new(system_time),
            new_id: Arc::new(move || next_id(&ids)),
            random: Arc::new(|bytes| aws_lc_rs::rand::fill(bytes).is_ok()),
        }
    }
}

/// Later identifiers sort behind earlier ones, within a millisecond too.
fn next_id(ids: &Mutex<ulid::Generator>) -> String {
    let mut ids = ids.lock().unwrap_or_else(PoisonError::into_inner);
    // After 2^80 of one millisecond the order ends; a fresh one is still unique.
    ids.generate().unwrap_or_else(|_| ulid::Ulid::generate()).to_string()
}

#[expect(clippy::disallowed_methods, reason = "this is the edge")]
fn system_time() -> Millis {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

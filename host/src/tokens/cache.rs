//! Answers about active tokens, kept for a short time and in a bounded number.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chartgate_model::Millis;
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::introspect::Members;

/// SHA-256 of a token. SECURITY: the token itself is not kept.
pub(super) type Key = [u8; 32];

/// Longer answers are not kept, so that the number of entries bounds the memory.
const ENTRY_BYTES: usize = 16 * 1024;

/// The answers.
pub(super) struct Cache {
    entries: HashMap<Key, Entry>,
    /// oldest first; every entry stands in here once
    order: VecDeque<Key>,
    most: usize,
    age: Duration,
}

struct Entry {
    members: Members,
    until: Instant,
}

impl Cache {
    /// At most so many answers, each for so long.
    pub(super) fn new(most: usize, age: Duration) -> Self {
        Self { entries: HashMap::new(), order: VecDeque::new(), most, age }
    }

    /// An answer that is young enough, about a token that has not ended.
    pub(super) fn get(&self, key: &Key, now: Millis) -> Option<Members> {
        let entry = self.entries.get(key).filter(|entry| Instant::now() < entry.until)?;
        lives(&entry.members, now).then(|| Arc::clone(&entry.members))
    }

    /// Keep an answer of so many bytes. The oldest makes room.
    pub(super) fn put(&mut self, key: Key, members: &Members, bytes: usize, now: Millis) {
        if self.most == 0 || bytes > ENTRY_BYTES || !lives(members, now) {
            return;
        }
        let entry = Entry { members: Arc::clone(members), until: Instant::now() + self.age };
        if self.entries.insert(key, entry).is_some() {
            self.order.retain(|other| *other != key);
        }
        self.order.push_back(key);
        self.clear_away();
    }

    fn clear_away(&mut self) {
        let now = Instant::now();
        while let Some(oldest) = self.order.front() {
            let over = self.order.len() > self.most;
            if !over && self.entries.get(oldest).is_some_and(|entry| now < entry.until) {
                return;
            }
            self.entries.remove(oldest);
            self.order.pop_front();
        }
    }
}

/// SECURITY: an answer is never used beyond the end of its token; one without an end is not kept.
fn lives(members: &Map<String, Value>, now: Millis) -> bool {
    let end_s = members.get("exp").and_then(Value::as_u64);
    end_s.is_some_and(|end| end.saturating_mul(1_000) > now.0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: Millis = Millis(1_000_000);

    fn until(end_s: u64) -> Members {
        Arc::new(json!({ "active": true, "exp": end_s }).as_object().unwrap().clone())
    }

    fn cache(most: usize) -> Cache {
        Cache::new(most, Duration::from_secs(60))
    }

    #[test]
    fn an_answer_is_kept_until_its_token_ends_and_not_a_millisecond_longer() {
        let mut cache = cache(2);
        cache.put([1; 32], &until(1_001), 10, NOW);
        assert!(cache.get(&[1; 32], Millis(1_000_999)).is_some());
        assert!(cache.get(&[1; 32], Millis(1_001_000)).is_none());
        assert!(cache.get(&[2; 32], NOW).is_none());
        let endless = Arc::new(json!({ "active": true }).as_object().unwrap().clone());
        cache.put([3; 32], &endless, 10, NOW);
        assert!(cache.get(&[3; 32], NOW).is_none());
    }

    #[test]
    fn an_answer_is_kept_for_its_age() {
        let mut young = Cache::new(2, Duration::ZERO);
        young.put([1; 32], &until(2_000), 10, NOW);
        assert!(young.get(&[1; 32], NOW).is_none());
        assert!(young.entries.is_empty() && young.order.is_empty());
    }

    #[test]
    fn the_oldest_makes_room_and_long_answers_get_none() {
        let mut cache = cache(2);
        for n in 1..=3 {
            cache.put([n; 32], &until(2_000), ENTRY_BYTES, NOW);
        }
        assert_eq!([1, 2, 3].map(|n| cache.get(&[n; 32], NOW).is_some()), [false, true, true]);
        // Kept again is kept as the youngest, and once.
        cache.put([2; 32], &until(2_000), 10, NOW);
        cache.put([4; 32], &until(2_000), 10, NOW);
        assert_eq!([2, 3, 4].map(|n| cache.get(&[n; 32], NOW).is_some()), [true, false, true]);
        assert_eq!((cache.entries.len(), cache.order.len()), (2, 2));
        cache.put([5; 32], &until(2_000), ENTRY_BYTES + 1, NOW);
        assert!(cache.get(&[5; 32], NOW).is_none());
        let mut none = Cache::new(0, Duration::from_secs(60));
        none.put([1; 32], &until(2_000), 10, NOW);
        assert!(none.get(&[1; 32], NOW).is_none());
    }
}

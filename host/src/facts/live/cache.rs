//! Answers of a server, kept for a while and shared by all who ask at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::{Known, LiveError, Question, Server};
use crate::facts::FactError;

/// Answers kept at the most.
const ANSWERS_MAX: usize = 10_000;

type Answer = OnceCell<Result<Arc<Known>, LiveError>>;

/// Asked since when, and what came of it.
struct Slot {
    asked: Instant,
    answer: Arc<Answer>,
}

pub(super) struct Cache {
    max_age: Duration,
    slots: Mutex<HashMap<(String, Question), Slot>>,
}

impl Cache {
    pub(super) fn new(max_age: Duration) -> Self {
        Self { max_age, slots: Mutex::new(HashMap::new()) }
    }

    /// What the server says: as it was said a moment ago, or is said to somebody just now, or asked anew.
    pub(super) async fn answer(
        &self,
        server: &Arc<Server>,
        tenant: &str,
        question: &Question,
    ) -> Result<Arc<Known>, FactError> {
        let key = (tenant.to_owned(), question.clone());
        let answer = self.slot(&key);
        let known = answer.get_or_init(|| async { server.ask(question).await.map(Arc::new) }).await;
        if known.is_err() {
            self.forget(&key, &answer);
        }
        known.clone().map_err(FactError::Live)
    }

    fn slot(&self, key: &(String, Question)) -> Arc<Answer> {
        let now = Instant::now();
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = slots.get(key).filter(|slot| now < slot.asked + self.max_age) {
            return Arc::clone(&slot.answer);
        }
        if slots.len() >= ANSWERS_MAX {
            slots.retain(|_, slot| now < slot.asked + self.max_age);
        }
        if slots.len() >= ANSWERS_MAX {
            slots.clear();
        }
        let answer = Arc::default();
        slots.insert(key.clone(), Slot { asked: now, answer: Arc::clone(&answer) });
        answer
    }

    /// A failure is for those who wait for it now, and for nobody later.
    fn forget(&self, key: &(String, Question), answer: &Arc<Answer>) {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.get(key).is_some_and(|slot| Arc::ptr_eq(&slot.answer, answer)) {
            slots.remove(key);
        }
    }
}

//! Leaving a server alone that fails again and again.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which a server is left alone.
const FAILURES_MAX: u32 = 5;
/// How long; then one question is let through to see.
const REST: Duration = Duration::from_secs(5);

/// What a server's failures have come to.
#[derive(Debug, Default)]
pub(crate) struct Breaker(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    failures: u32,
    rests_until: Option<Instant>,
}

impl Breaker {
    /// Whether a question may be asked now.
    pub(super) fn lets_through(&self, now: Instant) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match state.rests_until {
            Some(until) if now < until => false,
            Some(_) => {
                // This one shows whether it is well again; the others wait for what it comes to.
                state.rests_until = Some(now + REST);
                true
            }
            None => true,
        }
    }

    /// What a question came to.
    pub(super) fn tell(&self, answered: bool, now: Instant) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if answered {
            *state = State::default();
            return;
        }
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES_MAX {
            state.rests_until = Some(now + REST);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_five_failures_in_a_row_nothing_is_asked_for_a_while() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        for _ in 0..4 {
            breaker.tell(false, start);
        }
        assert!(breaker.lets_through(start));
        breaker.tell(true, start);
        for _ in 0..4 {
            breaker.tell(false, start);
        }
        assert!(breaker.lets_through(start), "a success in between counts");
        breaker.tell(false, start);
        assert!(!breaker.lets_through(start));
        assert!(!breaker.lets_through(start + REST - Duration::from_millis(1)));
    }

    #[test]
    fn then_one_question_shows_whether_it_is_well_again() {
        let (breaker, start) = (Breaker::default(), Instant::now());
        (0..5).for_each(|_| breaker.tell(false, start));
        let later = start + REST;
        assert_eq!([breaker.lets_through(later), breaker.lets_through(later)], [true, false]);
        breaker.tell(false, later);
        assert!(!breaker.lets_through(later + REST - Duration::from_millis(1)));
        assert!(breaker.lets_through(later + REST));
        breaker.tell(true, later + REST);
        assert_eq!([breaker.lets_through(later + REST), breaker.lets_through(later + REST)], [true, true]);
    }
}

//! What every request of this host shares.

use std::num::NonZeroU32;
use std::sync::Arc;

use axum::http::StatusCode;
use chartgate_model::FhirBase;
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::audit::DecisionLog;
use crate::decide::Decider;
use crate::edge::Edge;
use crate::http::binding::Binder;
use crate::http::caller::People;
use crate::http::demo::Demo;
use crate::http::problem::Problem;
use crate::http::proxy::Pages;
use crate::proxy::Proxied;
use crate::smart;
use crate::store::Store;
use crate::tokens::Issuers;

/// Shared by every request.
pub struct State {
    /// decides
    pub decider: Arc<Decider>,
    /// the authorization server
    pub smart: Option<Arc<smart::Server>>,
    /// FHIR bases that this host stands in front of
    pub proxies: Vec<Arc<Proxied>>,
    /// further pages of their answers
    pub pages: Pages,
    /// the sample app of a demo
    pub demo: Option<Demo>,
    /// clock and identifiers
    pub edge: Edge,
    /// who may ask
    pub people: People,
    /// FHIR bases by name
    pub bases: Vec<FhirBase>,
    /// verifies bearer tokens; `None` when none are taken
    pub tokens: Option<Issuers>,
    /// whether there are clients without a user
    pub system: bool,
    /// the directory
    pub store: Arc<Store>,
    /// changes are recorded in a log of their own
    pub changes: DecisionLog,
    /// ties answers and pages to the requests they are for
    pub binder: Option<Binder>,
    /// bounds of the wire
    pub limits: crate::config::Limits,
    /// how much at once, how much a second
    pub gate: Gate,
    /// the same for bases this host stands in front of: who waits for their servers keeps nobody from a decision
    pub proxy_gate: Gate,
    /// renders the metrics
    pub metrics: Option<PrometheusHandle>,
}

/// How much at once, and how much a second from each caller.
pub struct Gate {
    places: Arc<Semaphore>,
    rate: DefaultKeyedRateLimiter<String>,
}

impl Gate {
    /// A gate with so many places and so many requests a second and caller.
    pub fn new(limits: &crate::config::Limits) -> Self {
        let rate = NonZeroU32::new(limits.caller_rate_per_s).unwrap_or(NonZeroU32::MIN);
        Self {
            places: Arc::new(Semaphore::new(limits.concurrent_decisions)),
            rate: RateLimiter::keyed(Quota::per_second(rate)),
        }
    }

    /// One place, held until it is dropped. Nobody waits: a full house says so at once.
    pub fn enter(&self, caller: &str) -> Result<OwnedSemaphorePermit, Problem> {
        self.charge(caller)?;
        Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", "too many decisions are under way")
        })
    }

    /// Count one decision that is asked for.
    pub fn charge(&self, caller: &str) -> Result<(), Problem> {
        self.charge_for(caller, 1)
    }

    /// Count so many decisions that are asked for at once: all of them, or none where they are too many.
    pub fn charge_for(&self, caller: &str, decisions: usize) -> Result<(), Problem> {
        let Some(decisions) = u32::try_from(decisions).ok().and_then(NonZeroU32::new) else { return Ok(()) };
        match self.rate.check_key_n(&caller.to_owned(), decisions) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => {
                let detail = "more decisions a second than this caller may ask for";
                Err(Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate-exceeded", detail))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate(concurrent_decisions: usize, caller_rate_per_s: u32) -> Gate {
        Gate::new(&crate::config::Limits { concurrent_decisions, caller_rate_per_s, ..Default::default() })
    }

    #[test]
    fn the_last_place_is_given_and_one_more_is_refused() {
        let gate = gate(2, 1000);
        let held = [gate.enter("a").unwrap(), gate.enter("b").unwrap()];
        assert_eq!(gate.enter("c").unwrap_err().status, 503);
        drop(held);
        assert!(gate.enter("c").is_ok());
    }

    #[test]
    fn the_rate_counts_for_each_caller_by_itself() {
        let gate = gate(10, 2);
        assert!(gate.enter("a").is_ok() && gate.enter("a").is_ok());
        assert_eq!(gate.enter("a").unwrap_err().status, 429);
        assert!(gate.enter("b").is_ok());
    }
}

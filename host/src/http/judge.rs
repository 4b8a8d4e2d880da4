//! From a parsed request to its answer, the same for every face: decided or refused, recorded, counted.

use std::time::Instant;

use axum::Json;
use axum::http::{HeaderMap, HeaderName, StatusCode};
use axum::response::{IntoResponse as _, Response};
use chartgate_model::{DecisionRequest, Millis};

use crate::batch::{self, BundleAnswer, EntryAnswer};
use crate::decide::{Answer, Asked, Refusal};
use crate::http::State;
use crate::http::binding::Bound;
use crate::http::caller::Caller;
use crate::http::problem::Problem;
use crate::http::wire::{Context, Decidable, token_denial};
use crate::rollout::SelectError;
use crate::tokens::TokenError;

/// Names the release that decided, by digest.
pub(super) const POLICY_HEADER: HeaderName = HeaderName::from_static("chartgate-policy");

/// What came of a request that could be decided.
pub(super) enum Judged {
    /// a policy was asked
    Answered(Box<Answer>, Box<DecisionRequest>),
    /// the token is no good, or nobody can tell: refused, and on record, before any policy was asked
    BadToken {
        /// identifier of the refusal
        id: String,
        /// only a simulation
        simulate: bool,
        /// why
        error: TokenError,
    },
}

/// Decide or refuse one parsed request. What is answered is on record by then.
pub(super) async fn judge(
    state: &State,
    face: &'static str,
    context: &Context<'_>,
    decidable: Decidable,
) -> Result<Judged, Problem> {
    let started = Instant::now();
    let (id, caller) = ((state.edge.new_id)(), context.caller.name.as_str());
    match decidable {
        Decidable::Request(request) => {
            let asked = Asked { id, caller, face, request: &request };
            let answer = state.decider.decide(asked).await.map_err(select_problem)?;
            count(&answer, started);
            Ok(Judged::Answered(Box::new(answer), request))
        }
        Decidable::BadToken { tenant, simulate, break_glass, error } => {
            let refusal = Refusal {
                indeterminate: error.is_indeterminate(),
                id: &id,
                caller,
                face,
                tenant: &tenant,
                reason: error.code(),
                text: &error.to_string(),
                simulate,
                break_glass: &break_glass,
                now: context.now,
            };
            refuse(state, &refusal).await?;
            Ok(Judged::BadToken { id, simulate, error })
        }
    }
}

/// Decide anew what a binding was made for, by the release that permitted it.
pub(super) async fn judge_bound(
    state: &State,
    face: &'static str,
    caller: &Caller,
    request: &DecisionRequest,
    release: &str,
) -> Result<Answer, Problem> {
    let started = Instant::now();
    let release = state.decider.rollout.bound(release).map_err(select_problem)?;
    let asked = Asked { id: (state.edge.new_id)(), caller: &caller.name, face, request };
    let answer = state.decider.decide_by(asked, release).await;
    count(&answer, started);
    Ok(answer)
}

/// What a binding says that a caller brings back.
pub(super) fn bound(state: &State, caller: &Caller, binding: &str, now: Millis) -> Result<Bound, Problem> {
    let none = || Problem::member("binding", "is none: this host makes none");
    state.binder.as_ref().ok_or_else(none)?.read(binding, &caller.name, now)
}

/// Decide a batch or a transaction, entry by entry. What is answered is on record by then.
pub(super) async fn judge_bundle(
    state: &State,
    face: &'static str,
    caller: &Caller,
    request: &DecisionRequest,
) -> Result<BundleAnswer, Problem> {
    let started = Instant::now();
    let asked = Asked { id: (state.edge.new_id)(), caller: &caller.name, face, request };
    let limits = state.limits.bundle();
    // The way in has paid for the first.
    state.gate.charge_for(&caller.name, batch::size(request).min(limits.entries).saturating_sub(1))?;
    let answer = state.decider.decide_bundle(&asked, &limits, &*state.edge.new_id).await.map_err(select_problem)?;
    for entry in &answer.entries {
        if let EntryAnswer::Answered(answer, _) = entry {
            count(answer, started);
        }
    }
    Ok(answer)
}

/// The answer to a token that is no good. No release was asked; the header says which one is active.
pub(super) fn bad_token(state: &State, id: String, simulate: bool, error: &TokenError) -> Response {
    let digest = state.decider.rollout.live().active.digest.clone();
    ([(POLICY_HEADER, digest)], Json(token_denial(id, simulate, error))).into_response()
}

async fn refuse(state: &State, refusal: &Refusal<'_>) -> Result<(), Problem> {
    state.decider.refuse(refusal).await.map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log-failed", "the decision could not be recorded")
    })?;
    let (reason, decision) = (refusal.reason.to_owned(), if refusal.indeterminate { "indeterminate" } else { "deny" });
    metrics::counter!("chartgate_decisions_total", "decision" => decision, "reason" => reason).increment(1);
    Ok(())
}

/// What reading a request of this caller depends on besides its bytes.
pub(super) fn context<'a>(
    state: &'a State,
    caller: &'a crate::http::caller::Caller,
    headers: &'a HeaderMap,
    now: Millis,
) -> Result<Context<'a>, Problem> {
    Ok(Context {
        caller,
        bases: &state.bases,
        tokens: state.tokens.as_ref(),
        smart: state.smart.as_deref(),
        system: state.system,
        limits: &state.limits,
        now,
        policy_header: policy_header(headers)?,
    })
}

fn policy_header(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut values = headers.get_all(POLICY_HEADER).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Problem::member("Chartgate-Policy", "is not text")),
        (Some(_), Some(_)) => Err(Problem::member("Chartgate-Policy", "is there twice")),
    }
}

fn select_problem(error: SelectError) -> Problem {
    let (status, code) = match &error {
        SelectError::Unknown(_) => (StatusCode::NOT_FOUND, "release-unknown"),
        SelectError::NotAllowed(_) => (StatusCode::CONFLICT, "release-not-allowed"),
    };
    Problem { member: Some("policy".into()), ..Problem::new(status, code, error.to_string()) }
}

fn count(answer: &Answer, started: Instant) {
    let decision = answer.verdict.code();
    metrics::counter!("chartgate_decisions_total", "decision" => decision, "reason" => answer.reason.clone())
        .increment(1);
    metrics::histogram!("chartgate_policy_rounds").record(f64::from(answer.rounds));
    metrics::histogram!("chartgate_decision_seconds").record(started.elapsed().as_secs_f64());
    tracing::debug!(decision.id = %answer.id, decision, reason = %answer.reason, release = %answer.release.digest, "decided");
}

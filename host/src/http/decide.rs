//! `POST /v1/decide`.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{HeaderMap, HeaderName, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::decide::{Answer, Asked, Refusal, Verdict};
use crate::http::State;
use crate::http::problem::Problem;
use crate::http::wire::{AnswerBody, Context, Decidable, DecideBody, token_denial};
use crate::rollout::SelectError;

/// Names the release that decided, by digest.
const POLICY_HEADER: HeaderName = HeaderName::from_static("chartgate-policy");

/// May this FHIR interaction happen?
#[utoipa::path(post, path = "/v1/decide", tag = "decisions", request_body = DecideBody,
    params(("Chartgate-Policy" = Option<String>, Header, description = "pins a release, as `policy` does")),
    responses(
        (status = 200, body = AnswerBody, description = "a decision; only `permit` lets anything happen"),
        (status = 400, body = Problem, description = "malformed; names the member"),
        (status = 401, body = Problem, description = "unknown caller"),
        (status = 403, body = Problem, description = "the caller lacks a right"),
        (status = 404, body = Problem, description = "unknown release"),
        (status = 409, body = Problem, description = "the release is not allowed to this caller"),
        (status = 413, body = Problem, description = "the body is too large"),
        (status = 429, body = Problem, description = "more requests a second than the caller may send"),
        (status = 503, body = Problem, description = "too many decisions are under way")))]
pub(super) async fn decide(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let started = Instant::now();
    let caller = state.people.caller(&headers, peer)?;
    let _place = state.gate.enter(&caller.name)?;
    let bytes = read(body, state.limits.body_bytes).await?;
    let context = Context {
        caller: &caller,
        bases: &state.bases,
        tokens: state.tokens.as_ref(),
        system: state.system,
        limits: &state.limits,
        now: (state.edge.now)(),
        policy_header: policy_header(&headers)?,
    };
    let request = match context.read(&bytes).await? {
        Decidable::Request(request) => request,
        Decidable::BadToken { tenant, simulate, break_glass, error } => {
            let (id, text) = ((state.edge.new_id)(), error.to_string());
            let refusal = Refusal {
                indeterminate: error.is_indeterminate(),
                id: &id,
                caller: &caller.name,
                face: "decide",
                tenant: &tenant,
                reason: error.code(),
                text: &text,
                simulate,
                break_glass: &break_glass,
                now: context.now,
            };
            state.decider.refuse(&refusal).await.map_err(|_| {
                Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log-failed", "the decision could not be recorded")
            })?;
            let decision = if error.is_indeterminate() { "indeterminate" } else { "deny" };
            metrics::counter!("chartgate_decisions_total", "decision" => decision, "reason" => error.code())
                .increment(1);
            // No release was asked; the header says which one is active.
            let digest = state.decider.rollout.live().active.digest.clone();
            return Ok(([(POLICY_HEADER, digest)], Json(token_denial(id, simulate, &error))).into_response());
        }
    };
    let asked = Asked { id: (state.edge.new_id)(), caller: &caller.name, face: "decide", request: &request };
    let answer = state.decider.decide(asked).await.map_err(select_problem)?;
    count(&answer, started);
    let digest = answer.release.digest.clone();
    let body = AnswerBody::of(answer, &request);
    Ok(([(POLICY_HEADER, digest)], Json(body)).into_response())
}

pub(super) async fn read(body: Body, limit: usize) -> Result<axum::body::Bytes, Problem> {
    axum::body::to_bytes(body, limit).await.map_err(|_| {
        let detail = format!("the body is larger than {limit} bytes, or ended early");
        Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
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
    let decision = match answer.verdict {
        Verdict::Permit(_) => "permit",
        Verdict::Deny(_) => "deny",
        Verdict::Indeterminate => "indeterminate",
    };
    metrics::counter!("chartgate_decisions_total", "decision" => decision, "reason" => answer.reason.clone())
        .increment(1);
    metrics::histogram!("chartgate_decision_seconds").record(started.elapsed().as_secs_f64());
    tracing::debug!(decision.id = %answer.id, decision, reason = %answer.reason, release = %answer.release.digest, "decided");
}

/// A JSON body of an administration route.
pub(super) async fn read_json(headers: &HeaderMap, body: Body, limit: usize) -> Result<axum::body::Bytes, Problem> {
    let json = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    if !json.starts_with("application/json") && !json.starts_with("application/x-ndjson") {
        return Err(Problem::member("Content-Type", "has to be application/json or application/x-ndjson"));
    }
    read(body, limit).await
}

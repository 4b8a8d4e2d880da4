//! `POST /v1/decide`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use crate::config::Limits;
use crate::http::State;
use crate::http::judge::{self, Judged, POLICY_HEADER, bad_token, judge, judge_bundle};
use crate::http::problem::Problem;
use crate::http::wire::{AnswerBody, DecideBody};

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
        (status = 429, body = Problem, description = "more decisions a second than the caller may ask for"),
        (status = 503, body = Problem, description = "too many decisions are under way")))]
pub(super) async fn decide(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = state.people.caller(&headers, peer)?;
    let _place = state.gate.enter(&caller.name)?;
    let Limits { body_bytes, bundle_bytes, .. } = state.limits;
    let bytes = read(body, body_bytes.max(bundle_bytes)).await?;
    let context = judge::context(&state, &caller, &headers, (state.edge.now)())?;
    let decidable = context.read(&bytes).await?;
    if let Some(bundle) = decidable.bundle() {
        let answer = judge_bundle(&state, "decide", &caller, bundle).await?;
        let digest = answer.release.digest.clone();
        return Ok(([(POLICY_HEADER, digest)], Json(AnswerBody::of_bundle(answer, bundle))).into_response());
    }
    if bytes.len() > body_bytes {
        return Err(too_large(body_bytes));
    }
    match judge(&state, "decide", &context, decidable).await? {
        Judged::Answered(answer, request) => {
            let digest = answer.release.digest.clone();
            Ok(([(POLICY_HEADER, digest)], Json(AnswerBody::of(*answer, &request))).into_response())
        }
        Judged::BadToken { id, simulate, error } => Ok(bad_token(&state, id, simulate, &error)),
    }
}

pub(super) async fn read(body: Body, limit: usize) -> Result<axum::body::Bytes, Problem> {
    axum::body::to_bytes(body, limit).await.map_err(|_| too_large(limit))
}

fn too_large(limit: usize) -> Problem {
    let detail = format!("the body is larger than {limit} bytes, or ended early");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", detail)
}

/// A JSON body of an administration route.
pub(super) async fn read_json(headers: &HeaderMap, body: Body, limit: usize) -> Result<axum::body::Bytes, Problem> {
    let json = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("application/json");
    if !json.starts_with("application/json") && !json.starts_with("application/x-ndjson") {
        return Err(Problem::member("Content-Type", "has to be application/json or application/x-ndjson"));
    }
    read(body, limit).await
}

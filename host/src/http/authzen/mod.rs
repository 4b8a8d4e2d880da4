//! OpenID AuthZEN Authorization API 1.0: the same decisions as `/v1/decide`, asked in its four words.
//!
//! An evaluation is put together into the body `/v1/decide` would have got and goes through the same
//! reading, the same decider and the same record: this face only translates. What differs is what the
//! standard fixes: unknown members are ignored, a deny is `200 {"decision":false}`, errors are a
//! message string, and `X-Request-ID` comes back on every answer.

mod answer;
mod batch;
mod body;
mod error;
mod patient;
mod profile;
mod request_id;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use crate::http::caller::Caller;
use crate::http::decide::read;
use crate::http::judge::{self, Judged, POLICY_HEADER, judge};
use crate::http::problem::Problem;
use crate::http::wire::{AnswerBody, Context, DEPTH_MAX};
use crate::http::{State, json};

pub(super) use answer::{EvaluationAnswer, EvaluationsAnswer};
use body::Asked;
pub(super) use body::{EvaluationBody, EvaluationsBody};
use error::Refused;
pub(super) use error::{no_method, no_route};
pub(super) use request_id::echo;

/// What decisions of this face are recorded under.
const FACE: &str = "authzen";

/// May this subject do this to this resource?
#[utoipa::path(post, path = "/access/v1/evaluation", tag = "AuthZEN", request_body = EvaluationBody,
    params(
        ("X-Request-ID" = Option<String>, Header, description = "comes back unchanged; at most 256 printable ASCII characters"),
        ("Chartgate-Policy" = Option<String>, Header, description = "pins a release, as `context.policy` does")),
    responses(
        (status = 200, body = EvaluationAnswer, description = "a decision; only `true`, with every obligation done, lets anything happen"),
        (status = 400, body = String, description = "malformed, a required member is missing, or members contradict each other; names the member"),
        (status = 401, body = String, description = "unknown caller"),
        (status = 403, body = String, description = "the caller lacks a right"),
        (status = 404, body = String, description = "unknown release"),
        (status = 409, body = String, description = "the release is not allowed to this caller"),
        (status = 413, body = String, description = "the body is too large"),
        (status = 429, body = String, description = "more decisions a second than the caller may ask for"),
        (status = 503, body = String, description = "too many decisions are under way")))]
pub(super) async fn evaluation(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let caller = known(&state, &headers, peer)?;
    let _place = state.gate.enter(&caller.name)?;
    let bytes = take(&state, &headers, body).await?;
    let context = judge::context(&state, &caller, &headers, (state.edge.now)())?;
    let entities: EvaluationBody = json::object(&bytes, DEPTH_MAX)?;
    Ok(single(&state, &context, &entities.asked()).await?)
}

/// May each of these happen?
#[utoipa::path(post, path = "/access/v1/evaluations", tag = "AuthZEN", request_body = EvaluationsBody,
    params(
        ("X-Request-ID" = Option<String>, Header, description = "comes back unchanged; at most 256 printable ASCII characters"),
        ("Chartgate-Policy" = Option<String>, Header, description = "pins a release, as `context.policy` does")),
    responses(
        (status = 200, body = EvaluationsAnswer, description = "one decision for each item, in order; without items one decision alone"),
        (status = 400, body = String, description = "malformed as a whole, too many items, or an unknown semantic"),
        (status = 401, body = String, description = "unknown caller"),
        (status = 403, body = String, description = "the caller lacks a right"),
        (status = 413, body = String, description = "the body is too large"),
        (status = 429, body = String, description = "more decisions a second than the caller may ask for"),
        (status = 503, body = String, description = "too many decisions are under way")))]
pub(super) async fn evaluations(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refused> {
    let caller = known(&state, &headers, peer)?;
    let _place = state.gate.enter(&caller.name)?;
    let bytes = take(&state, &headers, body).await?;
    // One time for all items: what ends in between ends for all of them or for none.
    let context = judge::context(&state, &caller, &headers, (state.edge.now)())?;
    let body: EvaluationsBody = json::object(&bytes, DEPTH_MAX)?;
    let (items, semantic) = batch::items(&body, state.limits.evaluations)?;
    if items.is_empty() {
        return Ok(single(&state, &context, &body.defaults()).await?);
    }
    let evaluations = batch::run(&state, &context, &body.defaults(), &items, semantic).await;
    Ok(Json(EvaluationsAnswer::Many { evaluations }).into_response())
}

/// Who calls, if they may ask here at all: a subject of AuthZEN always stands on the caller's word.
fn known(state: &State, headers: &HeaderMap, peer: SocketAddr) -> Result<Caller, Problem> {
    let caller = state.people.caller(headers, peer)?;
    ["decide", "vouch-subject"].into_iter().try_for_each(|right| caller.must(right))?;
    Ok(caller)
}

async fn take(state: &State, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    match (values.next(), values.next()) {
        (Some(value), None) if is_json(value) => read(body, state.limits.body_bytes).await,
        _ => Err(Problem::member("Content-Type", "has to be application/json")),
    }
}

/// `application/json`, and no charset but UTF-8.
fn is_json(value: &HeaderValue) -> bool {
    let mut parts = value.to_str().unwrap_or_default().split(';').map(|part| part.trim().to_ascii_lowercase());
    let media = parts.next().unwrap_or_default();
    let foreign = |part: &String| {
        part.strip_prefix("charset=").is_some_and(|charset| !matches!(charset.trim_matches('"'), "utf-8" | "us-ascii"))
    };
    media == "application/json" && !parts.any(|part| foreign(&part))
}

async fn single(state: &State, context: &Context<'_>, asked: &Asked<'_>) -> Result<Response, Problem> {
    let (answer, digest) = evaluate(state, context, asked).await?;
    Ok(([(POLICY_HEADER, digest)], Json(answer)).into_response())
}

/// One evaluation, whole and by itself; also names the release that decided.
async fn evaluate(
    state: &State,
    context: &Context<'_>,
    asked: &Asked<'_>,
) -> Result<(EvaluationAnswer, String), Problem> {
    let question = profile::Question::of(asked)?;
    let explain = question.explain;
    let decidable = question.decidable(context).await?;
    let judged = judge(state, FACE, context, decidable).await.map_err(profile::in_words_of_authzen)?;
    Ok(match judged {
        Judged::Answered(answer, request) => {
            let digest = answer.release.digest.clone();
            (EvaluationAnswer::of(AnswerBody::of(*answer, &request), explain), digest)
        }
        Judged::BadToken { id, error, .. } => {
            let active = state.decider.rollout.live().active.digest.clone();
            (EvaluationAnswer::bad_token(id, &error, explain), active)
        }
    })
}

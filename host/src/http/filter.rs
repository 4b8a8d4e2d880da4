//! `POST /v1/filter`: what of an answer may leave.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use chartgate_model::{Basis, DecisionRequest, Item, ItemMode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::decide::{Answer, Asked, Verdict};
use crate::filter::Filtered;
use crate::filter::bundle::Bundle;
use crate::http::State;
use crate::http::caller::Caller;
use crate::http::decide::read;
use crate::http::json;
use crate::http::judge::{self, Judged, POLICY_HEADER, bad_token, judge};
use crate::http::problem::Problem;
use crate::http::wire::{AnswerBody, DEPTH_MAX, DecideBody, Denial, PolicyStamp};

/// An answer of the FHIR server, and the request it is for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterBody {
    /// the request, as `/v1/decide` permitted it: it is decided anew
    #[serde(deserialize_with = "json::an_object")]
    decide: DecideBody,
    /// a bundle of the type `searchset`, `history` or `document`
    #[schema(value_type = Option<Object>)]
    bundle: Option<Box<RawValue>>,
    /// or one resource
    #[schema(value_type = Option<Object>)]
    resource: Option<Box<RawValue>>,
}

/// What may leave.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FilterAnswer {
    /// identifier of the filtering, also in the decision log
    id: String,
    /// the bundle without what is hidden: to be returned in place of the server's
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    bundle: Option<Box<RawValue>>,
    /// the resource, where it may leave
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    resource: Option<Box<RawValue>>,
    /// entries that are gone; for logs, never for the app
    removed: usize,
    /// ready to return to the client where nothing may leave
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<Denial>,
    policy: PolicyStamp,
}

/// What was handed over.
enum Given {
    Bundle(Box<RawValue>),
    Resource(Box<RawValue>),
}

/// The same, taken apart.
enum Taken<'a> {
    Bundle(Bundle<'a>),
    Resource(&'a RawValue),
}

/// Which resources of this answer may leave?
#[utoipa::path(post, path = "/v1/filter", tag = "decisions", request_body = FilterBody,
    params(("Chartgate-Policy" = Option<String>, Header, description = "pins a release, as `policy` does")),
    responses(
        (status = 200, body = FilterAnswer, description = "what may leave; where the request is not permitted, the \
            answer of `/v1/decide` in its place"),
        (status = 400, body = Problem, description = "malformed; names the member"),
        (status = 401, body = Problem, description = "unknown caller"),
        (status = 403, body = Problem, description = "the caller lacks a right"),
        (status = 404, body = Problem, description = "unknown release"),
        (status = 409, body = Problem, description = "the release is not allowed to this caller"),
        (status = 413, body = Problem, description = "the body is too large"),
        (status = 429, body = Problem, description = "more decisions a second than the caller may ask for"),
        (status = 503, body = Problem, description = "too many decisions are under way")))]
pub(super) async fn filter(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let caller = state.people.caller(&headers, peer)?;
    caller.must("filter")?;
    let _place = state.gate.enter(&caller.name)?;
    let bytes = read(body, state.limits.filter_bytes).await?;
    // Two levels stand around the content here that a decision does not have.
    let json::Object(FilterBody { decide, bundle, resource }) = json::read(&bytes, DEPTH_MAX)?;
    let given = match (bundle, resource) {
        (Some(bundle), None) => Given::Bundle(bundle),
        (None, Some(resource)) => Given::Resource(resource),
        _ => return Err(Problem::member("bundle", "exactly one of `bundle` and `resource` has to be there")),
    };
    let context = judge::context(&state, &caller, &headers, (state.edge.now)())?;
    let decidable = context.decidable(decide).await.map_err(below_decide)?;
    let (answer, request) = match judge(&state, "filter", &context, decidable).await? {
        Judged::Answered(answer, request) => (answer, request),
        Judged::BadToken { id, simulate, error } => return Ok(bad_token(&state, id, simulate, &error)),
    };
    let digest = answer.release.digest.clone();
    if request.simulate {
        return Err(Problem::member("decide.simulate", "an answer that leaves is no simulation"));
    }
    if !matches!(answer.verdict, Verdict::Permit(_)) {
        return Ok(([(POLICY_HEADER, digest)], Json(AnswerBody::of(*answer, &request))).into_response());
    }
    let answered = filtered(&state, &caller, &request, &answer, &given).await?;
    Ok(([(POLICY_HEADER, digest)], Json(answered)).into_response())
}

/// Members of a decision lie one level deeper here.
fn below_decide(problem: Problem) -> Problem {
    Problem { member: problem.member.map(|member| format!("decide.{member}")), ..problem }
}

async fn filtered(
    state: &State,
    caller: &Caller,
    request: &DecisionRequest,
    answer: &Answer,
    given: &Given,
) -> Result<FilterAnswer, Problem> {
    let taken = match given {
        Given::Bundle(raw) => Taken::Bundle(Bundle::read(raw).map_err(|error| {
            let member = if error.member.is_empty() { "bundle".into() } else { format!("bundle.{}", error.member) };
            Problem::member(member, error.to_string())
        })?),
        Given::Resource(raw) => Taken::Resource(raw),
    };
    let items = match &taken {
        Taken::Bundle(bundle) => bundle.items(),
        Taken::Resource(raw) => vec![Item { mode: ItemMode::Include, content: raw.get().as_bytes() }],
    };
    let id = (state.edge.new_id)();
    let asked = Asked { id: id.clone(), caller: &caller.name, face: "filter", request };
    let mut answered = FilterAnswer {
        id,
        bundle: None,
        resource: None,
        removed: items.len(),
        denial: None,
        policy: PolicyStamp::of(&answer.release),
    };
    match (state.decider.filter(&asked, answer, &items).await, taken) {
        (Filtered::Verdicts(verdicts), Taken::Bundle(bundle)) => {
            let (bundle, removed) = bundle.without(verdicts.iter().map(Option::is_none)).map_err(|_| {
                Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the bundle could not be written")
            })?;
            (answered.bundle, answered.removed) = (Some(bundle), removed);
        }
        (Filtered::Verdicts(verdicts), Taken::Resource(raw)) if verdicts == [None] => {
            (answered.resource, answered.removed) = (Some(raw.to_owned()), 0);
        }
        (Filtered::Verdicts(_), Taken::Resource(_)) => {
            answered.denial = Some(Denial::of(Basis::Content, "hidden"));
        }
        (Filtered::Denied { basis, reason }, _) => answered.denial = Some(Denial::of(basis, &reason)),
        (Filtered::Indeterminate { .. }, _) => answered.denial = Some(Denial::unavailable()),
    }
    Ok(answered)
}

//! `POST /v1/decide`.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use chartgate_model::Parameter;

use crate::config::Limits;
use crate::decide::Verdict;
use crate::filter::RESPONSE_FILTER;
use crate::http::State;
use crate::http::binding::{Bound, BoundSubject};
use crate::http::json;
use crate::http::judge::{self, Judged, POLICY_HEADER, bad_token, judge, judge_bound, judge_bundle};
use crate::http::problem::Problem;
use crate::http::wire::{AnswerBody, Context, DEPTH_MAX, Decidable, DecideBody, ObligationBody, RequestBody};

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
    let json::Object(mut body): json::Object<DecideBody> = json::read(&bytes, DEPTH_MAX)?;
    if let Some(binding) = body.binding.take() {
        return next_page(&state, &context, body, binding).await;
    }
    let asked = body.request.shown_again(&state.limits);
    let decidable = context.decidable(body).await?;
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
            let is_permit = matches!(answer.verdict, Verdict::Permit(_));
            let mut told = AnswerBody::of(*answer, &request);
            if let (true, Some(asked), Some(binder)) = (is_permit, asked, &state.binder) {
                let filtered = told.obligations.iter().any(|obligation| obligation.is(RESPONSE_FILTER));
                told.binding = binder.bind(&caller.name, &digest, &asked, &request, filtered);
            }
            Ok(([(POLICY_HEADER, digest)], Json(told)).into_response())
        }
        Judged::BadToken { id, simulate, error } => Ok(bad_token(&state, id, simulate, &error)),
    }
}

/// A link of an answer, followed: to a place only the FHIR server knows the meaning of. The request the answer was for is
/// decided anew, for whoever follows the link.
///
/// SECURITY: the link may be another answer's, or no link at all. So nothing is asked for that could do more than read,
/// and nothing of the page leaves that was not judged.
async fn next_page(
    state: &State,
    context: &Context<'_>,
    body: DecideBody,
    binding: String,
) -> Result<Response, Problem> {
    let bound = judge::bound(state, context.caller, &binding, context.now)?;
    let wrong = |message| Problem::member("binding", message);
    let same = |said: &Option<String>, bound: &str| said.as_deref().unwrap_or("default") == bound;
    if !same(&body.tenant, &bound.tenant) || !same(&body.fhir, &bound.fhir) {
        return Err(wrong("was made for another tenant or base"));
    }
    if body.simulate {
        return Err(wrong("is for the pages of an answer, and not for a simulation"));
    }
    context.check_page(&body, bound.request.url())?;
    if !body.obligations.iter().any(|id| id == RESPONSE_FILTER) {
        return Err(Problem::member("obligations", "a page is permitted to a caller only who can filter it"));
    }
    match again(state, "decide", context, body, &bound).await? {
        Judged::Answered(answer, request) => {
            let (digest, is_permit) = (answer.release.digest.clone(), matches!(answer.verdict, Verdict::Permit(_)));
            let mut told = AnswerBody::of(*answer, &request);
            if is_permit {
                told.obligations = vec![ObligationBody::plain(RESPONSE_FILTER)];
                told.binding = Some(binding);
            }
            Ok(([(POLICY_HEADER, digest)], Json(told)).into_response())
        }
        Judged::BadToken { id, simulate, error } => Ok(bad_token(state, id, simulate, &error)),
    }
}

/// What is decided of a request now that was permitted before, for whoever is said to ask by `body`: nobody else's
/// page is turned. A permit is one to have all of the page filtered.
pub(super) async fn again(
    state: &State,
    face: &'static str,
    context: &Context<'_>,
    mut body: DecideBody,
    bound: &Bound,
) -> Result<Judged, Problem> {
    let wrong = |message| Problem::member("binding", message);
    let credentials = body.request.headers.into_iter().filter(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let asked = bound.request.asked();
    body.request = RequestBody { headers: credentials.chain(asked.headers).collect(), ..asked };
    // What the first request was rewritten to, the pages of its answer are of; and all of them is filtered.
    body.obligations = ["search-narrowing", "search-union", RESPONSE_FILTER].map(str::to_owned).to_vec();
    let mut request = match context.decidable(body).await? {
        Decidable::Request(request) => request,
        refused @ Decidable::BadToken { .. } => return judge(state, face, context, refused).await,
    };
    if BoundSubject::of(&request.subject) != bound.subject {
        return Err(wrong("was made for somebody else"));
    }
    let parameters = &mut request.request.parameters;
    // Rows with members left out are not judged, and an empty page would be taken for the end.
    if parameters.iter().any(leaves_out) {
        return Err(wrong(
            "is of an answer with members left out (`_elements`, `_summary`), whose further pages cannot be judged",
        ));
    }
    // Of a page that is filtered no total leaves anyway.
    parameters.retain(|parameter| parameter.name != "_total");
    let answer = judge_bound(state, face, context.caller, &request, &bound.release).await?;
    Ok(Judged::Answered(Box::new(answer), request))
}

/// Whether a parameter asks for resources without some of their members.
fn leaves_out(parameter: &Parameter) -> bool {
    parameter.name == "_elements" || (parameter.name == "_summary" && parameter.value != "false")
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

//! `POST /v1/filter`: what of an answer may leave.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use chartgate_model::{Basis, DecisionRequest, Interaction, Item, ItemMode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::batch::{self, BundleAnswer, EntryAnswer};
use crate::decide::{Answer, Asked, Decider, Verdict};
use crate::filter::bundle::{Bundle, BundleError};
use crate::filter::responses::{Left, Responses};
use crate::filter::{Filtered, RESPONSE_FILTER};
use crate::http::State;
use crate::http::decide::read;
use crate::http::json;
use crate::http::judge::{self, Judged, POLICY_HEADER, bad_token, judge, judge_bound, judge_bundle};
use crate::http::problem::Problem;
use crate::http::wire::{AnswerBody, DEPTH_MAX, DecideBody, Denial, PolicyStamp};

/// An answer of the FHIR server, and the request it is for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FilterBody {
    /// what `/v1/decide` gave with its permit: the request is decided anew, by the same release
    pub(crate) binding: Option<String>,
    /// or the request, as `/v1/decide` permitted it
    #[serde(default, deserialize_with = "json::maybe_an_object")]
    pub(crate) decide: Option<DecideBody>,
    /// a bundle of the type `searchset`, `history`, `document`, `batch-response` or `transaction-response`
    #[schema(value_type = Option<Object>)]
    pub(crate) bundle: Option<Box<RawValue>>,
    /// or one resource
    #[schema(value_type = Option<Object>)]
    pub(crate) resource: Option<Box<RawValue>>,
}

/// What may leave.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FilterAnswer {
    /// identifier of the filtering, also in the decision log
    id: String,
    /// the bundle without what is hidden: to be returned in place of the server's
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(super) bundle: Option<Box<RawValue>>,
    /// the resource, where it may leave
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub(super) resource: Option<Box<RawValue>>,
    /// entries that are gone; for logs, never for the app
    pub(super) removed: usize,
    /// ready to return to the client where nothing may leave
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) denial: Option<Denial>,
    policy: PolicyStamp,
}

/// What was handed over.
pub(crate) enum Given {
    Bundle(Box<RawValue>),
    Resource(Box<RawValue>),
}

impl Given {
    /// One of the two.
    pub(crate) fn of(bundle: Option<Box<RawValue>>, resource: Option<Box<RawValue>>) -> Result<Self, Problem> {
        match (bundle, resource) {
            (Some(bundle), None) => Ok(Self::Bundle(bundle)),
            (None, Some(resource)) => Ok(Self::Resource(resource)),
            _ => Err(Problem::member("bundle", "exactly one of `bundle` and `resource` has to be there")),
        }
    }
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
    let json::Object(FilterBody { binding, decide, bundle, resource }) = json::read(&bytes, DEPTH_MAX)?;
    let given = Given::of(bundle, resource)?;
    let by = Judge { decider: &state.decider, new_id: &*state.edge.new_id, caller: &caller.name, face: "filter" };
    let context = judge::context(&state, &caller, &headers, (state.edge.now)())?;
    let (answer, request) = match (binding, decide) {
        (Some(binding), None) => {
            let bound = judge::bound(&state, &caller, &binding, context.now)?;
            let request = Box::new(context.bound(&bound)?);
            (Box::new(judge_bound(&state, "filter", &caller, &request, &bound.release).await?), request)
        }
        (None, Some(decide)) => {
            let decidable = context.decidable(decide).await.map_err(below_decide)?;
            if let Some(asked) = decidable.bundle() {
                no_simulation(asked)?;
                let decided = judge_bundle(&state, "filter", &caller, asked).await?;
                let digest = decided.release.digest.clone();
                if !decided.whole.is_permit() {
                    return Ok(([(POLICY_HEADER, digest)], Json(AnswerBody::of_bundle(decided, asked))).into_response());
                }
                let answered = responses(&by, asked, decided, &given).await?;
                return Ok(([(POLICY_HEADER, digest)], Json(answered)).into_response());
            }
            match judge(&state, "filter", &context, decidable).await? {
                Judged::Answered(answer, request) => (answer, request),
                Judged::BadToken { id, simulate, error } => return Ok(bad_token(&state, id, simulate, &error)),
            }
        }
        _ => return Err(Problem::member("binding", "exactly one of `binding` and `decide` has to be there")),
    };
    let digest = answer.release.digest.clone();
    no_simulation(&request)?;
    if !matches!(answer.verdict, Verdict::Permit(_)) {
        return Ok(([(POLICY_HEADER, digest)], Json(AnswerBody::of(*answer, &request))).into_response());
    }
    let answered = filtered(&by, &request, &answer, &given).await?;
    Ok(([(POLICY_HEADER, digest)], Json(answered)).into_response())
}

/// Members of a decision lie one level deeper here.
fn below_decide(problem: Problem) -> Problem {
    Problem { member: problem.member.map(|member| format!("decide.{member}")), ..problem }
}

/// With what answers are judged, over HTTP and at the command line.
pub(crate) struct Judge<'a> {
    pub(crate) decider: &'a Decider,
    pub(crate) new_id: &'a (dyn Fn() -> String + Send + Sync),
    /// name of the caller
    pub(crate) caller: &'a str,
    /// where it came in
    pub(crate) face: &'static str,
}

/// The answer to a batch or a transaction that is permitted: each entry's is judged for itself.
pub(crate) async fn responses(
    judge: &Judge<'_>,
    asked: &DecisionRequest,
    decided: BundleAnswer,
    given: &Given,
) -> Result<FilterAnswer, Problem> {
    let answered = match given {
        Given::Bundle(raw) => Responses::read(raw).map_err(below_bundle)?,
        Given::Resource(_) => None,
    };
    let answered = answered
        .ok_or_else(|| Problem::member("bundle.type", "has to be `batch-response` or `transaction-response`"))?;
    let resources = answered.resources();
    if resources.len() != decided.entries.len() {
        return Err(Problem::member("bundle.entry", "has to have one answer for each entry of the request"));
    }
    let mut left = Vec::with_capacity(resources.len());
    let mut removed = 0;
    for (entry, resource) in decided.entries.iter().zip(resources) {
        let (one, gone) = one_response(judge, asked, entry, resource).await?;
        removed += gone;
        left.push(one);
    }
    Ok(FilterAnswer {
        id: decided.id,
        bundle: Some(answered.with(&left).map_err(|_| cannot_be_written())?),
        resource: None,
        removed,
        denial: None,
        policy: PolicyStamp::of(&decided.release),
    })
}

/// What is left of the answer to one entry, and how much of it is gone.
async fn one_response(
    judge: &Judge<'_>,
    asked: &DecisionRequest,
    entry: &EntryAnswer,
    resource: Option<&RawValue>,
) -> Result<(Left, usize), Problem> {
    let denied = |denial: &Denial| {
        let (status, outcome) = denial.parts();
        Left::Denied(status, outcome)
    };
    let (answer, request) = match entry {
        EntryAnswer::Answered(answer, request) if matches!(answer.verdict, Verdict::Permit(_)) => (answer, request),
        _ => {
            let denial = batch::basis(entry).map_or_else(Denial::unavailable, |basis| Denial::of(basis, "hidden"));
            return Ok((denied(&denial), usize::from(resource.is_some())));
        }
    };
    let request = batch::request_of(asked, request);
    let hides = answer.obliges(RESPONSE_FILTER) && !writes(&request);
    let kind = |raw: &RawValue| serde_json::from_str::<Kind>(raw.get()).ok().map(|kind| kind.resource_type);
    let given = match (resource, resource.and_then(kind).as_deref()) {
        // SECURITY: what was to be filtered and holds nothing looks like what is hidden, whatever the server says of it.
        (None, _) | (_, Some("OperationOutcome")) if hides => {
            return Ok((denied(&Denial::of(Basis::Content, "hidden")), 0));
        }
        (None, _) | (_, Some("OperationOutcome")) => return Ok((Left::Done, 0)),
        (Some(raw), Some("Bundle")) => Given::Bundle(raw.to_owned()),
        (Some(raw), _) => Given::Resource(raw.to_owned()),
    };
    let given = match given {
        Given::Resource(raw) if is_plain(&request, answer) => return Ok((Left::Content(raw), 0)),
        given => given,
    };
    let FilterAnswer { bundle, resource, removed, denial, .. } = filtered(judge, &request, answer, &given).await?;
    let left = match (bundle.or(resource), denial) {
        (Some(content), None) => Left::Content(content),
        // What was written was written, whether or not its writer may see it.
        _ if writes(&request) => Left::Done,
        (_, denial) => denied(&denial.unwrap_or_else(Denial::unavailable)),
    };
    Ok((left, removed))
}

/// Whether one resource that is answered may leave as it would alone: terminology, what the server can do. The rows of a
/// bundle are judged whatever gave them.
fn is_plain(request: &DecisionRequest, answer: &Answer) -> bool {
    matches!(request.request.interaction, Interaction::Capabilities | Interaction::Operation)
        && matches!(answer.verdict, Verdict::Permit(_))
        && !answer.obliges(RESPONSE_FILTER)
}

fn writes(request: &DecisionRequest) -> bool {
    use Interaction::{Create, Delete, Patch, Update};
    matches!(request.request.interaction, Create | Update | Patch | Delete)
}

/// Of which type a resource is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Kind {
    resource_type: String,
}

fn below_bundle(error: BundleError) -> Problem {
    let member = if error.member.is_empty() { "bundle".into() } else { format!("bundle.{}", error.member) };
    Problem::member(member, error.to_string())
}

fn cannot_be_written() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the bundle could not be written")
}

pub(crate) fn no_simulation(request: &DecisionRequest) -> Result<(), Problem> {
    match request.simulate {
        true => Err(Problem::member("decide.simulate", "an answer that leaves is no simulation")),
        false => Ok(()),
    }
}

/// Whether a request is for one resource: its history, or an operation on it.
fn is_of_one(request: &DecisionRequest) -> bool {
    let asked = &request.request;
    matches!(asked.interaction, Interaction::HistoryInstance | Interaction::Operation) && asked.id.is_some()
}

/// Whether nothing is left, of something or of nothing: deletions, and histories of a time to come, would tell that it
/// is there.
fn is_empty(verdicts: &[Option<String>]) -> bool {
    verdicts.iter().all(Option::is_some)
}

/// The answer to one request that is permitted.
pub(crate) async fn filtered(
    judge: &Judge<'_>,
    request: &DecisionRequest,
    answer: &Answer,
    given: &Given,
) -> Result<FilterAnswer, Problem> {
    let taken = match given {
        Given::Bundle(raw) => Taken::Bundle(Bundle::read(raw).map_err(below_bundle)?),
        Given::Resource(raw) => Taken::Resource(raw),
    };
    let items = match &taken {
        Taken::Bundle(bundle) => bundle.items(),
        Taken::Resource(raw) => vec![Item { mode: ItemMode::Include, content: raw.get().as_bytes() }],
    };
    let id = (judge.new_id)();
    let asked = Asked { id: id.clone(), caller: judge.caller, face: judge.face, request };
    let mut answered = FilterAnswer {
        id,
        bundle: None,
        resource: None,
        removed: items.len(),
        denial: None,
        policy: PolicyStamp::of(&answer.release),
    };
    match (judge.decider.filter(&asked, answer, &items).await, taken) {
        // SECURITY: of one resource that is hidden there is no answer, as there is none of one that is absent.
        (Filtered::Verdicts(verdicts), Taken::Bundle(_)) if is_of_one(request) && is_empty(&verdicts) => {
            answered.denial = Some(Denial::of(Basis::Content, "hidden"));
        }
        (Filtered::Verdicts(verdicts), Taken::Bundle(bundle)) => {
            let kept = verdicts.iter().map(Option::is_none);
            let (bundle, removed) = bundle.without(kept).map_err(|_| cannot_be_written())?;
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

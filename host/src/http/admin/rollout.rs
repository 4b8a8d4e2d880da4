//! `/admin/v1/rollout`: which release decides. A PUT with `If-Match` swaps it atomically; requests
//! under way finish on the release they began with.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use chartgate_model::{Millis, ReleasePin};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ChangeMade;
use crate::causes::chain;
use crate::http::State;
use crate::http::caller::ROLES;
use crate::http::decide::read_json;
use crate::http::json;
use crate::http::problem::Problem;
use crate::rollout::{Change, ChangeError, Live};
use crate::store::RolloutError;

/// The rollout in force.
#[derive(Debug, Serialize, ToSchema)]
pub struct RolloutBody {
    /// counts the changes; the `ETag`
    revision: u64,
    active: ReleaseName,
    /// the release before, for a rollback
    previous: Option<String>,
    pins: Vec<PinRow>,
    /// absent until the first change
    activated_at: Option<String>,
}

/// A release by every name it has.
#[derive(Debug, Serialize, ToSchema)]
struct ReleaseName {
    name: String,
    version: String,
    digest: String,
}

/// One caller of one tenant stays on a release for a while.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PinRow {
    caller: String,
    tenant: String,
    /// `name@version` or `sha256:…`
    release: String,
    /// RFC 3339
    until: String,
}

/// What to set.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RolloutChange {
    /// `name@version` or `sha256:…`
    active: String,
    #[serde(default, deserialize_with = "json::objects")]
    pins: Vec<PinRow>,
}

impl RolloutBody {
    fn of(live: &Live) -> Self {
        let state = &live.state;
        let pin = |pin: &crate::store::Pin| PinRow {
            caller: pin.caller.clone(),
            tenant: pin.tenant.clone(),
            release: pin.release.clone(),
            until: Millis(pin.until_ms).to_rfc3339(),
        };
        Self {
            revision: live.revision,
            active: ReleaseName {
                name: live.active.name.clone(),
                version: live.active.version.clone(),
                digest: live.active.digest.clone(),
            },
            previous: state.previous.clone(),
            pins: state.pins.iter().map(pin).collect(),
            activated_at: (state.activated_at_ms > 0).then(|| Millis(state.activated_at_ms).to_rfc3339()),
        }
    }

    fn into_response(self) -> Response {
        ([(header::ETAG, format!("\"{}\"", self.revision))], Json(self)).into_response()
    }
}

/// The rollout in force.
#[utoipa::path(get, path = "/admin/v1/rollout", tag = "administration", responses((status = 200, body = RolloutBody)))]
pub(in crate::http) async fn show(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    state.administrator(&headers, peer, &ROLES)?;
    Ok(RolloutBody::of(&state.decider.rollout.live()).into_response())
}

/// Set the rollout. A refused release changes nothing.
#[utoipa::path(put, path = "/admin/v1/rollout", tag = "administration", request_body = RolloutChange,
    params(("If-Match" = String, Header, description = "the ETag of the rollout the change is based on")),
    responses((status = 200, body = RolloutBody), (status = 412, body = Problem, description = "somebody else was faster"),
        (status = 422, body = Problem, description = "the release is unknown or was refused, with the reason"),
        (status = 428, body = Problem, description = "If-Match is missing")))]
pub(in crate::http) async fn change(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let actor = state.administrator(&headers, peer, &["operator"])?;
    let expected = if_match(&headers)?;
    let bytes = read_json(&headers, body, state.limits.body_bytes).await?;
    let change = read(&bytes)?;
    let before = state.decider.rollout.live();
    // Compiling a new release takes tens of milliseconds: never on a thread that decides.
    let (shared, now) = (Arc::clone(&state), (state.edge.now)());
    let changed = tokio::task::spawn_blocking(move || shared.decider.rollout.change(expected, &change, now)).await;
    let failed = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "rollout-failed", "the change could not be made");
    let live = changed.map_err(failed)?.map_err(|error| change_problem(&error))?;
    let (was, is) =
        (serde_json::to_value(RolloutBody::of(&before)).ok(), serde_json::to_value(RolloutBody::of(&live)).ok());
    let made = ChangeMade {
        action: "rollout-change",
        subject: "rollout",
        tenant: None,
        before: was,
        after: is,
        revision: live.revision,
    };
    state.record_change(&actor, made).await?;
    Ok(RolloutBody::of(&live).into_response())
}

fn if_match(headers: &HeaderMap) -> Result<u64, Problem> {
    let Some(value) = headers.get(header::IF_MATCH) else {
        return Err(Problem::new(
            StatusCode::PRECONDITION_REQUIRED,
            "if-match-missing",
            "send If-Match with the ETag of the rollout",
        ));
    };
    let revision = value.to_str().ok().and_then(|text| text.trim_matches('"').parse().ok());
    revision.ok_or_else(|| Problem::member("If-Match", "is not the ETag of a rollout"))
}

fn read(bytes: &[u8]) -> Result<Change, Problem> {
    let json::Object(given): json::Object<RolloutChange> = json::read(bytes, 16)?;
    let pin = |member: String, text: &str| {
        ReleasePin::parse(text).ok_or_else(|| Problem::member(member, "is neither `name@version` nor `sha256:…`"))
    };
    let pins = given.pins.into_iter().enumerate().map(|(at, row)| {
        let release = pin(format!("pins[{at}].release"), &row.release)?;
        let until = Millis::parse(&row.until)
            .map_err(|error| Problem::member(format!("pins[{at}].until"), error.to_string()))?;
        Ok((row.caller, row.tenant, release, until))
    });
    Ok(Change { active: pin("active".into(), &given.active)?, pins: pins.collect::<Result<_, Problem>>()? })
}

fn change_problem(error: &ChangeError) -> Problem {
    match error {
        ChangeError::Release { member, .. } => Problem {
            member: Some(member.clone()),
            ..Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "release-refused", chain(error))
        },
        ChangeError::Save(RolloutError::Conflict { .. }) => {
            Problem::new(StatusCode::PRECONDITION_FAILED, "rollout-changed", error.to_string())
        }
        ChangeError::Save(RolloutError::Store(crate::store::StoreError::Invalid(invalid))) => {
            Problem::member(invalid.member, invalid.message.clone())
        }
        ChangeError::Folder(_) | ChangeError::Save(RolloutError::Store(_)) => {
            tracing::error!(error = %chain(error), "rollout failed");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "rollout-failed", "the rollout could not be changed")
        }
    }
}

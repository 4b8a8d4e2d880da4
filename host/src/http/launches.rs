//! `POST /v1/launches`: a record system opens an app.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::http::State;
use crate::http::caller::lacks;
use crate::http::decide::read_json;
use crate::http::json;
use crate::http::problem::Problem;
use crate::smart::admin::AdminError;
use crate::smart::launch::LaunchContext;

/// What an app is opened on.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LaunchBody {
    /// OAuth client identifier of the app
    client: String,
    /// who sits there, `Practitioner/17`: nobody else can use the launch
    user: String,
    /// whose chart is open, a bare id
    patient: Option<String>,
    /// in which encounter, a bare id
    encounter: Option<String>,
    /// other things that are open, as SMART's `fhirContext` has them
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    fhir_context: Vec<Value>,
    /// what the app is opened for
    intent: Option<String>,
    /// the app has to show whose chart it is
    #[serde(default)]
    need_patient_banner: bool,
    /// URL of the record system's look
    smart_style_url: Option<String>,
}

/// A launch: good once, for minutes.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LaunchCreated {
    /// the value of `launch`
    launch: String,
    /// where to open the app, when its launch URL is registered
    url: Option<String>,
    /// when it ends, RFC 3339
    expires: String,
}

/// Open an app: for callers with the right `launch`.
#[utoipa::path(post, path = "/v1/launches", tag = "authorization server", request_body = LaunchBody,
    responses(
        (status = 201, body = LaunchCreated),
        (status = 400, body = Problem, description = "malformed; names the member"),
        (status = 403, body = Problem, description = "the caller lacks the right `launch`"),
        (status = 404, body = Problem, description = "there is no authorization server here, or no such app")))]
pub(super) async fn create(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<LaunchCreated>), Problem> {
    let caller = state.people.caller(&headers, peer)?;
    let server = state
        .smart
        .as_ref()
        .ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no-route", "this host is no authorization server"))?;
    if !caller.may("launch") || !caller.may_ask_about(&server.settings().tenant) {
        return Err(lacks("launch"));
    }
    let bytes = read_json(&headers, body, state.limits.body_bytes).await?;
    let json::Object(given): json::Object<LaunchBody> = json::read(&bytes, 16)?;
    let context = LaunchContext {
        user: given.user,
        patient: given.patient,
        encounter: given.encounter,
        fhir_context: given.fhir_context,
        intent: given.intent,
        need_patient_banner: given.need_patient_banner,
        smart_style_url: given.smart_style_url,
    };
    let life_ms = server.settings().launch_ms;
    let (launch, expires) =
        server.registrar().launch(&given.client, &context, life_ms).map_err(|error| problem(&error))?;
    let url = server.launch_url(&given.client, launch.text()).map_err(|_| failed())?;
    let created = LaunchCreated { launch: launch.text().to_owned(), url, expires: expires.to_string() };
    Ok((StatusCode::CREATED, Json(created)))
}

fn failed() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the authorization server failed")
}

/// What an administrator is told.
pub(super) fn problem(error: &AdminError) -> Problem {
    match error {
        AdminError::Client(error) => Problem::member(error.member, error.message.clone()),
        AdminError::Account(error) => Problem::member(error.member, error.message.clone()),
        AdminError::Launch(error) => Problem::member(error.member, error.message),
        AdminError::Unknown(what) => Problem::new(StatusCode::NOT_FOUND, "unknown", format!("there is no such {what}")),
        AdminError::Taken(what) => {
            Problem::new(StatusCode::CONFLICT, "taken", format!("there is a {what} of this name already"))
        }
        AdminError::NoSecret => Problem::new(StatusCode::CONFLICT, "no-secret", error.to_string()),
        AdminError::Random(_) | AdminError::Store(_) | AdminError::Unreadable(_) => {
            tracing::error!(error = %crate::causes::chain(error), "the authorization server failed");
            failed()
        }
    }
}

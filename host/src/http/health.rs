//! `/livez`, `/readyz`, `/metrics`.

use std::sync::Arc;

use axum::Json;
use axum::extract::State as Shared;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::State;
use crate::http::problem::Problem;

/// Which release is live.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// `ready`
    pub status: &'static str,
    /// `smart-access@0.1.0`
    pub release: String,
    /// its digest
    pub digest: String,
    /// revision of the rollout
    pub revision: u64,
}

/// The process runs.
#[utoipa::path(get, path = "/livez", tag = "operations", responses((status = 200, description = "the process runs")))]
pub(super) async fn livez() -> &'static str {
    "live\n"
}

/// The host can decide: the directory answers and a release is live.
#[utoipa::path(get, path = "/readyz", tag = "operations",
    responses((status = 200, body = Ready), (status = 503, body = Problem, description = "the directory cannot be read")))]
pub(super) async fn readyz(Shared(state): Shared<Arc<State>>) -> Result<Json<Ready>, Problem> {
    let readable = state.store.revision();
    readable.map_err(|_| {
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "directory-unreadable", "the directory cannot be read")
    })?;
    let live = state.decider.rollout.live();
    let release = format!("{}@{}", live.active.name, live.active.version);
    Ok(Json(Ready { status: "ready", release, digest: live.active.digest.clone(), revision: live.revision }))
}

/// Metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses((status = 200, content_type = "text/plain")))]
pub(super) async fn metrics(Shared(state): Shared<Arc<State>>) -> Response {
    let text = state.metrics.as_ref().map(|handle| handle.render()).unwrap_or_default();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

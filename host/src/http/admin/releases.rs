//! `GET /admin/v1/releases`: what is in the policies folder, the refused ones with their reason.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::HeaderMap;
use serde::Serialize;
use utoipa::ToSchema;

use crate::causes::chain;
use crate::http::State;
use crate::http::caller::ROLES;
use crate::http::problem::Problem;

/// A release, or what was found in its place.
#[derive(Debug, Serialize, ToSchema)]
pub struct ReleaseRow {
    name: String,
    version: String,
    /// absent when the release was refused
    digest: Option<String>,
    component: Option<String>,
    sequence: Option<u64>,
    signed_by: Option<String>,
    active: bool,
    /// why it was refused
    refused: Option<String>,
}

/// Every release of the policies folder.
#[utoipa::path(get, path = "/admin/v1/releases", tag = "administration", responses((status = 200, body = Vec<ReleaseRow>)))]
pub(in crate::http) async fn list(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Json<Vec<ReleaseRow>>, Problem> {
    state.administrator(&headers, peer, &ROLES)?;
    let live = state.decider.rollout.live();
    let registry = state.decider.rollout.registry();
    let verified = registry.releases().into_iter().map(|release| ReleaseRow {
        name: release.name.clone(),
        version: release.version.clone(),
        digest: Some(release.digest.clone()),
        component: Some(release.component_digest.clone()),
        sequence: Some(release.manifest.sequence),
        signed_by: Some(release.signed_by.clone()),
        active: release.digest == live.active.digest,
        refused: None,
    });
    let refused = registry.refused().into_iter().map(|refused| ReleaseRow {
        name: refused.place.0.clone(),
        version: refused.place.1.clone(),
        digest: None,
        component: None,
        sequence: None,
        signed_by: None,
        active: false,
        refused: Some(chain(&*refused.error)),
    });
    Ok(Json(verified.chain(refused).collect()))
}

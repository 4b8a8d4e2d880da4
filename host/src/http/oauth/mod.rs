//! The authorization server over HTTP: pages for people, endpoints for apps.

mod browser;
mod endpoints;
mod enrolment;
mod flow;
mod pages;

pub(super) use browser::{Browser, harden, redirect};

/// What browsers may send along from elsewhere.
const CORS_HEADERS: [HeaderName; 3] = [header::AUTHORIZATION, header::CONTENT_TYPE, header::ACCEPT];

use std::sync::Arc;

use axum::Router;
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware;
use axum::routing::{get, post};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

use crate::http::State;
use crate::smart;

/// All routes of the authorization server.
pub(super) fn router(state: &Arc<State>, server: &Arc<smart::Server>) -> Router<Arc<State>> {
    Router::new().merge(pages_router(state)).merge(apps_router(server)).merge(discovery_router(server))
}

fn pages_router(state: &Arc<State>) -> Router<Arc<State>> {
    Router::new()
        .route("/oauth/authorize", get(flow::authorize).post(flow::authorize_by_form))
        .route("/oauth/continue", get(flow::carry_on))
        .route("/oauth/login", get(flow::login_page).post(flow::login))
        .route("/oauth/choose", get(flow::choose_page).post(flow::choose))
        .route("/oauth/approve", get(flow::approve_page).post(flow::approve))
        .route("/oauth/enrol", get(enrolment::page).post(enrolment::check))
        .route("/oauth/enrol/account", post(enrolment::account))
        .route("/oauth/", get(pages::home))
        .route("/oauth/apps", get(pages::apps))
        .route("/oauth/apps/revoke", post(pages::withdraw))
        .route("/oauth/logout", post(pages::sign_out))
        .route("/oauth/style.css", get(pages::style))
        .layer(middleware::map_response_with_state(Arc::clone(state), browser::harden))
}

/// Apps in browsers call these from where they live (SMART App Launch 2.2, "Considerations for Cross-Origin Resource
/// Sharing").
fn apps_router(server: &Arc<smart::Server>) -> Router<Arc<State>> {
    let server = Arc::clone(server);
    let registered = AllowOrigin::predicate(move |origin: &HeaderValue, _| {
        origin.to_str().is_ok_and(|origin| smart::cors_of(&server, origin))
    });
    let cors = CorsLayer::new().allow_origin(registered).allow_methods([Method::POST]).allow_headers([
        header::AUTHORIZATION,
        header::CONTENT_TYPE,
        header::ACCEPT,
    ]);
    Router::new()
        .route("/oauth/token", post(endpoints::token).options(preflight))
        .route("/oauth/introspect", post(endpoints::introspect).options(preflight))
        .route("/oauth/revoke", post(endpoints::revoke).options(preflight))
        .layer(cors)
}

/// The layer answers before; without a handler of its own the method would be refused outside of the layer.
async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

fn discovery_router(server: &smart::Server) -> Router<Arc<State>> {
    let base = crate::proxy::path_of(&server.settings().base.url);
    let cors = CorsLayer::new().allow_origin(Any).allow_methods([Method::GET]).allow_headers(CORS_HEADERS);
    Router::new()
        .route("/oauth/jwks", get(endpoints::jwks).options(preflight))
        .route("/oauth/smart-style.json", get(endpoints::smart_style))
        .route("/.well-known/openid-configuration", get(endpoints::openid_configuration).options(preflight))
        .route("/.well-known/oauth-authorization-server", get(endpoints::openid_configuration).options(preflight))
        .route(
            &format!("{base}/.well-known/smart-configuration"),
            get(endpoints::smart_configuration).options(preflight),
        )
        .layer(cors)
}

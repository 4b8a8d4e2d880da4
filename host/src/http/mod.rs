//! The faces: what callers and operators see over HTTP. All routes stand on this page.

pub mod admin;
mod authzen;
pub mod binding;
pub mod caller;
mod decide;
pub mod demo;
pub(crate) mod filter;
mod health;
pub(crate) mod json;
mod judge;
mod launches;
mod oauth;
mod openapi;
pub(crate) mod people;
pub mod problem;
mod proxy;
mod serve;
mod state;
pub mod wire;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{any, delete, get, post, put};

pub use proxy::Pages;
pub use serve::{Bound, ServeError, bind, serve};
pub use state::{Gate, State};

/// Decisions, the authorization server where there is one, and the FHIR bases this host stands in front of.
pub fn public(state: Arc<State>) -> Router {
    let oauth = state.smart.as_ref().map(|server| oauth::router(&state, server)).unwrap_or_default();
    let demo = if state.demo.is_some() { demo_routes(&state) } else { Router::new() };
    Router::new()
        .merge(oauth)
        .merge(demo)
        .merge(proxy::router(&state.proxies))
        .route("/v1/decide", post(decide::decide))
        .route("/v1/filter", post(filter::filter))
        .route("/v1/launches", post(launches::create))
        .nest("/access", access())
        // Nesting leaves out the bare prefix with its slash.
        .route("/access/", any(authzen::no_route).layer(middleware::from_fn(authzen::echo)))
        .route("/openapi.json", get(openapi::document))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .with_state(state)
}

/// A sample app to look at made-up records with.
fn demo_routes(state: &Arc<State>) -> Router<Arc<State>> {
    Router::new()
        .route("/", get(demo::home))
        .route("/demo/launch/{id}", get(demo::launch))
        .route(demo::CALLBACK, get(demo::app))
        .layer(middleware::map_response_with_state(Arc::clone(state), oauth::harden))
}

/// OpenID AuthZEN: its answers carry the request's `X-Request-ID`, those of unknown paths included.
fn access() -> Router<Arc<State>> {
    Router::new()
        .route("/v1/evaluation", post(authzen::evaluation))
        .route("/v1/evaluations", post(authzen::evaluations))
        .fallback(authzen::no_route)
        .method_not_allowed_fallback(authzen::no_method)
        .layer(middleware::from_fn(authzen::echo))
}

/// Health, metrics, administration.
pub fn operations(state: Arc<State>) -> Router {
    Router::new()
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics))
        .route("/openapi.json", get(openapi::document))
        .route("/admin/v1/releases", get(admin::releases::list))
        .route("/admin/v1/rollout", get(admin::rollout::show).put(admin::rollout::change))
        .route(
            "/admin/v1/relationships",
            get(admin::relationships::list).put(admin::relationships::put).delete(admin::relationships::delete),
        )
        .route("/admin/v1/relationships/bulk", put(admin::relationships::bulk))
        .route("/admin/v1/smart/clients", get(admin::smart::clients).post(admin::smart::add_client))
        .route("/admin/v1/smart/clients/{id}", delete(admin::smart::remove_client))
        .route("/admin/v1/smart/clients/{id}/secret", post(admin::smart::rotate_client))
        .route("/admin/v1/smart/users", get(admin::smart::users).post(admin::smart::add_user))
        .route("/admin/v1/smart/users/{name}", delete(admin::smart::remove_user))
        .route("/admin/v1/smart/enrolments", post(admin::smart::enrol))
        .route("/admin/v1/smart/keys", post(admin::smart::rotate_key))
        .route("/admin/v1/{class}", get(admin::records::list).put(admin::records::put).delete(admin::records::delete))
        .fallback(problem::no_route)
        .method_not_allowed_fallback(problem::no_method)
        .with_state(state)
}

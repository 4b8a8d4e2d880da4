//! What apps call: tokens, introspection, revocation, discovery.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, State as Shared};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::http::State;
use crate::http::problem::no_route;
use crate::smart::error::{ErrorCode, OAuthError};
use crate::smart::form::Form;
use crate::smart::{self, Credentials, Server, TOKEN_PARAMETERS};

/// The most bytes of a request.
const BYTES: usize = 64 << 10;

/// A request of a client.
struct Asked {
    authorization: Option<String>,
    form: Form,
}

impl Asked {
    async fn read(headers: &HeaderMap, body: Body) -> Result<Self, OAuthError> {
        let invalid = |text: &str| OAuthError::new(ErrorCode::InvalidRequest, text);
        let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        if !kind.to_ascii_lowercase().starts_with("application/x-www-form-urlencoded") {
            return Err(invalid("the body has to be application/x-www-form-urlencoded"));
        }
        let bytes = axum::body::to_bytes(body, BYTES).await.map_err(|_| invalid("the body is longer than 64 KiB"))?;
        let form = Form::parse(&bytes, &TOKEN_PARAMETERS).map_err(|error| invalid(&error.to_string()))?;
        let mut values = headers.get_all(header::AUTHORIZATION).iter();
        let authorization = match (values.next(), values.next()) {
            (None, _) => None,
            (Some(value), None) => {
                let text = value.to_str().map_err(|_| invalid("the `Authorization` header is not text"))?;
                Some(text.to_owned())
            }
            (Some(_), Some(_)) => return Err(invalid("there are two `Authorization` headers")),
        };
        Ok(Self { authorization, form })
    }

    fn credentials(&self) -> Credentials<'_> {
        Credentials { authorization: self.authorization.as_deref(), form: &self.form }
    }
}

/// SECURITY: nothing of it may be kept on the way (RFC 6749, section 5.1).
fn unkept(status: StatusCode, body: impl serde::Serialize) -> Response {
    let headers = [(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")];
    (status, headers, Json(body)).into_response()
}

fn refused(error: &OAuthError) -> Response {
    let status = match error.code {
        ErrorCode::InvalidClient | ErrorCode::InvalidToken => StatusCode::UNAUTHORIZED,
        ErrorCode::ServerError => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorCode::TemporarilyUnavailable => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_REQUEST,
    };
    let body = json!({ "error": error.code.code(), "error_description": error.description });
    let mut response = unkept(status, body);
    let challenge = match error.code {
        ErrorCode::InvalidToken => Some("Bearer error=\"invalid_token\""),
        ErrorCode::InvalidClient if error.basic => Some("Basic realm=\"chartgate\""),
        _ => None,
    };
    if let Some(challenge) = challenge {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static(challenge));
    }
    response
}

fn server(state: &State) -> Result<&Arc<Server>, OAuthError> {
    state.smart.as_ref().ok_or_else(OAuthError::failed)
}

/// `POST /oauth/token`.
pub(super) async fn token(Shared(state): Shared<Arc<State>>, headers: HeaderMap, body: Body) -> Response {
    let run = async {
        let asked = Asked::read(&headers, body).await?;
        server(&state)?.token(&asked.credentials()).await
    };
    match run.await {
        Ok(answer) => unkept(StatusCode::OK, answer),
        Err(error) => refused(&error),
    }
}

/// `POST /oauth/introspect`: for clients that may, and for callers of the decision endpoint.
pub(super) async fn introspect(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let is_caller = headers.contains_key(header::AUTHORIZATION)
        && state.people.caller(&headers, peer).is_ok_and(|caller| {
            let of_tenant = state.smart.as_ref().is_some_and(|server| caller.may_ask_about(&server.settings().tenant));
            caller.may("introspect") && of_tenant
        });
    let run = async {
        let asked = Asked::read(&headers, body).await?;
        server(&state)?.introspect(&asked.credentials(), is_caller).await
    };
    match run.await {
        Ok(answer) => unkept(StatusCode::OK, answer),
        Err(error) => refused(&error),
    }
}

/// `POST /oauth/revoke`.
pub(super) async fn revoke(Shared(state): Shared<Arc<State>>, headers: HeaderMap, body: Body) -> Response {
    let run = async {
        let asked = Asked::read(&headers, body).await?;
        // A hint says where to look first and changes nothing, an unknown one least of all (RFC 7009, section 2.1).
        server(&state)?.revoke(&asked.credentials()).await
    };
    match run.await {
        Ok(()) => ([(header::CACHE_CONTROL, "no-store")], StatusCode::OK).into_response(),
        Err(error) => refused(&error),
    }
}

/// The public keys.
pub(super) async fn jwks(Shared(state): Shared<Arc<State>>) -> Response {
    match server(&state).and_then(|server| server.jwks()) {
        Ok(keys) => ([(header::CACHE_CONTROL, "public, max-age=300")], Json(keys)).into_response(),
        Err(error) => refused(&error),
    }
}

async fn document(state: &State, of: impl Fn(&Server) -> Value) -> Response {
    match &state.smart {
        Some(server) => ([(header::CACHE_CONTROL, "public, max-age=300")], Json(of(server))).into_response(),
        None => no_route().await.into_response(),
    }
}

/// `/.well-known/openid-configuration`, and RFC 8414's.
pub(super) async fn openid_configuration(Shared(state): Shared<Arc<State>>) -> Response {
    document(&state, smart::openid_configuration).await
}

/// `{FHIR base}/.well-known/smart-configuration`.
pub(super) async fn smart_configuration(Shared(state): Shared<Arc<State>>) -> Response {
    document(&state, smart::smart_configuration).await
}

/// The look apps are told about (SMART App Launch 2.2, "Styling").
pub(super) async fn smart_style() -> Response {
    Json(json!({
        "color_background": "#ffffff",
        "color_error": "#9e2d2d",
        "color_highlight": "#1f6f8b",
        "color_modal_backdrop": "#0f1720",
        "color_success": "#2c6e49",
        "color_text": "#1b2733",
        "dim_border_radius": "6px",
        "dim_font_size": "16px",
        "dim_spacing_size": "20px",
        "font_family_body": "system-ui, sans-serif",
        "font_family_heading": "system-ui, sans-serif"
    }))
    .into_response()
}

//! Errors as `application/problem+json` (RFC 9457).

use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

/// What is wrong with a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct Problem {
    /// HTTP status
    pub status: u16,
    /// stable kebab-case code
    pub code: String,
    /// one sentence; names the member, holds no token and no patient data
    pub detail: String,
    /// the member at fault, `request.url`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub member: Option<String>,
}

impl Problem {
    /// A problem of the whole request.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self { status: status.as_u16(), code: code.into(), detail: detail.into(), member: None }
    }

    /// A malformed member: 400.
    pub fn member(member: impl Into<String>, detail: impl Into<String>) -> Self {
        let member = member.into();
        let detail = format!("{member}: {}", detail.into());
        Self { member: Some(member), ..Self::new(StatusCode::BAD_REQUEST, "request-invalid", detail) }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = serde_json::to_vec(&self).unwrap_or_default();
        let mut response = (status, [(header::CONTENT_TYPE, "application/problem+json")], body).into_response();
        let more = match status {
            StatusCode::UNAUTHORIZED => Some((header::WWW_AUTHENTICATE, "Bearer")),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => Some((header::RETRY_AFTER, "1")),
            _ => None,
        };
        if let Some((name, value)) = more {
            response.headers_mut().insert(name, header::HeaderValue::from_static(value));
        }
        response
    }
}

pub(super) async fn no_route() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-route", "there is nothing at this path")
}

pub(super) async fn no_method() -> Problem {
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-method", "this path does not take this method")
}

//! Errors of this face: a status and a message string (Authorization API 1.0, "Error Responses").

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::http::problem::Problem;

/// A problem in the form of the standard. The status and its headers stay.
#[derive(Debug)]
pub(in crate::http) struct Refused(pub(super) Problem);

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let message = serde_json::to_vec(&self.0.detail).unwrap_or_default();
        let mut response = self.0.into_response();
        *response.body_mut() = Body::from(message);
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}

/// Nothing else is served below `/access`.
pub(in crate::http) async fn no_route() -> Refused {
    Refused(Problem::new(StatusCode::NOT_FOUND, "no-route", "there is nothing at this path"))
}

/// Evaluations are posted.
pub(in crate::http) async fn no_method() -> Refused {
    Refused(Problem::new(StatusCode::METHOD_NOT_ALLOWED, "no-method", "this path does not take this method"))
}

//! `X-Request-ID` (Authorization API 1.0, "Request Identification"): what was sent comes back.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::error::Refused;
use crate::http::problem::Problem;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Characters of an identifier at the most: it is echoed, so a caller must not choose its size freely.
const CHARS_MAX: usize = 256;

/// Run the request and put its identifier on the answer, whatever the status. One that cannot be
/// echoed is a 400: answering without it would look like the answer to somebody else's request.
pub(in crate::http) async fn echo(request: Request, next: Next) -> Response {
    match sent(request.headers()) {
        Ok(None) => next.run(request).await,
        Ok(Some(id)) => {
            let mut response = next.run(request).await;
            response.headers_mut().insert(REQUEST_ID, id);
            response
        }
        Err(problem) => Refused(problem).into_response(),
    }
}

fn sent(headers: &HeaderMap) -> Result<Option<HeaderValue>, Problem> {
    let mut values = headers.get_all(REQUEST_ID).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) if is_plain(value.as_bytes()) => Ok(Some(value.clone())),
        (Some(_), None) => {
            Err(Problem::member("X-Request-ID", format!("has to be at most {CHARS_MAX} printable ASCII characters")))
        }
        (Some(_), Some(_)) => Err(Problem::member("X-Request-ID", "is there twice")),
    }
}

fn is_plain(value: &[u8]) -> bool {
    value.len() <= CHARS_MAX && value.iter().all(|b| matches!(b, b' '..=b'~'))
}

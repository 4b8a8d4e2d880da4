//! The route that does nothing: it reads the body and answers so many bytes.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;

/// As the host sends it.
const POLICY_HEADER: HeaderName = HeaderName::from_static("chartgate-policy");

/// Serve until killed.
pub(super) fn serve(port: u16, bytes: usize) -> anyhow::Result<()> {
    let digest = HeaderValue::from_str(&format!("sha256:{}", "0".repeat(64)))?;
    let answer = (digest, Bytes::from("x".repeat(bytes)));
    let router = Router::new().route("/v1/decide", post(nothing)).with_state(answer);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        axum::serve(listener, router.into_make_service_with_connect_info::<SocketAddr>()).await?;
        Ok(())
    })
}

async fn nothing(State((digest, answer)): State<(HeaderValue, Bytes)>, body: Body) -> Response {
    match to_bytes(body, 2 << 20).await {
        Ok(_) => {
            let json = HeaderValue::from_static("application/json");
            ([(POLICY_HEADER, digest), (header::CONTENT_TYPE, json)], answer).into_response()
        }
        Err(_) => StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    }
}

//! The server behind a base.

use serde_json::{Value, json};

pub(crate) use crate::outbound::relay::Outward;
use crate::outbound::relay::{Relay, RelayError};
use crate::sandbox::Sandbox;

/// Media types of answers that can be looked into.
const JSON: [&str; 2] = ["application/fhir+json", "application/json"];

/// A FHIR server, or what stands for one.
pub(crate) enum Upstream {
    /// reached over HTTP
    Server(Relay),
    /// made-up records, of a demo
    Sandbox(Box<Sandbox>),
}

/// What a server answered.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    pub(crate) status: u16,
    pub(crate) etag: Option<String>,
    pub(crate) last_modified: Option<String>,
    pub(crate) location: Option<String>,
    /// empty where there is none
    pub(crate) body: Vec<u8>,
}

/// Nothing that could be passed on came back.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    #[error("the FHIR server failed: {0}")]
    Relay(#[from] RelayError),
    #[error("the FHIR server answered something else than JSON")]
    NotJson,
}

impl UpstreamError {
    /// Whether the server took too long.
    pub(crate) fn is_late(&self) -> bool {
        matches!(self, Self::Relay(RelayError::Late(_)))
    }
}

impl Upstream {
    /// Send a request on, and read the answer to its end.
    pub(crate) async fn send(&self, asked: Outward, most_bytes: usize) -> Result<Answered, UpstreamError> {
        match self {
            Self::Server(relay) => over_http(relay, asked, most_bytes).await,
            Self::Sandbox(sandbox) => Ok(from_sandbox(sandbox, &asked)),
        }
    }
}

async fn over_http(relay: &Relay, asked: Outward, most_bytes: usize) -> Result<Answered, UpstreamError> {
    let relayed = relay.send(asked).await?;
    let text = |name: &str| relayed.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let media = text("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut answered = Answered {
        status: relayed.status(),
        etag: text("etag"),
        last_modified: text("last-modified"),
        location: text("location").or_else(|| text("content-location")),
        body: Vec::new(),
    };
    answered.body = relayed.body(most_bytes).await?;
    // What went wrong is told in any form, and none of it is passed on.
    if (200..300).contains(&answered.status) && !answered.body.is_empty() && !JSON.contains(&media.as_str()) {
        return Err(UpstreamError::NotJson);
    }
    Ok(answered)
}

/// SECURITY: what the sandbox cannot do as it was decided it does not do at all.
fn from_sandbox(sandbox: &Sandbox, asked: &Outward) -> Answered {
    let (path, query) = asked.url.split_once('?').unwrap_or((&asked.url, ""));
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let answer =
        |status: u16, body: &Value| Answered { status, body: body.to_string().into_bytes(), ..Answered::default() };
    match (asked.method.as_str(), parts.as_slice()) {
        ("GET", ["metadata"]) => answer(200, &sandbox.capabilities()),
        ("GET", [kind, id]) => match sandbox.read(kind, id) {
            Some(resource) => answer(200, resource),
            None => answer(404, &Value::Null),
        },
        ("GET", [kind]) => match sandbox.search(kind, &pairs) {
            Ok(bundle) => answer(200, &bundle),
            Err(error) => answer(
                400,
                &json!({ "resourceType": "OperationOutcome", "issue": [{
                "severity": "error", "code": "not-supported", "diagnostics": error.to_string() }] }),
            ),
        },
        _ => answer(501, &Value::Null),
    }
}

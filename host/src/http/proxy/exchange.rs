//! What comes in and what goes out: requests of apps, answers to them, and refusals as OperationOutcomes.

use std::collections::BTreeMap;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::headers_of;
use crate::http::problem::Problem;
use crate::http::wire::Denial;
use crate::proxy::{Answered, Outward, UpstreamError};

/// The form of a search.
pub(super) const FORM: &str = "application/x-www-form-urlencoded";
/// The media type of every answer.
const FHIR_JSON: &str = "application/fhir+json";
/// Headers of a connection, not of a request (RFC 9110, section 7.6.1); the body came whole by now. Cookies are nothing
/// an app is known by.
const OF_CONNECTION: [&str; 13] = [
    "connection",
    "content-length",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Headers that mean something, of which two would be one too many.
pub(super) const COUNTS_ONCE: [&str; 10] = [
    "authorization",
    "content-encoding",
    "content-type",
    "if-match",
    "if-modified-since",
    "if-none-exist",
    "if-none-match",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
];
/// Headers that ask whether an answer has changed: done here, since the answer is looked into in any case.
const REVALIDATION: [&str; 2] = ["if-modified-since", "if-none-match"];

/// A request of an app.
#[derive(Debug)]
pub(in crate::http) struct Incoming {
    pub(super) method: String,
    /// path and query below the base
    pub(super) url: String,
    /// names in lower case
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: Vec<u8>,
    if_match: Option<String>,
    revalidation: BTreeMap<String, String>,
}

impl Incoming {
    /// As it came over HTTP.
    pub(super) fn of(method: &str, url: String, headers: &HeaderMap, body: Vec<u8>) -> Result<Self, Refused> {
        let mut headers = headers_of(headers)?;
        headers.retain(|name, _| !OF_CONNECTION.contains(&name.as_str()));
        let if_match = headers.remove("if-match");
        let taken = REVALIDATION.iter().filter_map(|name| headers.remove_entry(*name));
        let revalidation = taken.collect();
        if let Some(wishes) = headers.remove("prefer") {
            headers.extend(kept_wishes(&wishes).map(|wishes| ("prefer".to_owned(), wishes)));
        }
        let url = whole(&url);
        let essence = |media: &String| media.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case(FORM);
        let is_form = headers.get("content-type").is_some_and(essence);
        let body = match std::str::from_utf8(&body) {
            Ok(form) if is_form => whole(&format!("?{form}")).trim_start_matches('?').as_bytes().to_vec(),
            _ => body,
        };
        if !body.is_empty() && std::str::from_utf8(&body).is_err() {
            return Err(Refused::told(StatusCode::BAD_REQUEST, "invalid", "the body is not UTF-8"));
        }
        Ok(Self { method: method.to_owned(), url, headers, body, if_match, revalidation })
    }

    /// One of this host's own.
    pub(in crate::http) fn own(method: &str, url: &str, bearer: &str) -> Self {
        let headers = BTreeMap::from([("authorization".to_owned(), bearer.to_owned())]);
        let (method, url) = (method.to_owned(), url.to_owned());
        Self { method, url, headers, body: Vec::new(), if_match: None, revalidation: BTreeMap::new() }
    }

    pub(super) fn path(&self) -> &str {
        self.url.split('?').next().unwrap_or_default()
    }

    pub(super) fn authorization(&self) -> Option<&str> {
        self.headers.get("authorization").map(String::as_str)
    }

    pub(super) fn text(&self) -> Option<&str> {
        std::str::from_utf8(&self.body).ok()
    }

    pub(super) fn content_type(&self) -> Option<&str> {
        self.headers.get("content-type").map(String::as_str)
    }

    /// Refuse one that takes no JSON, where nothing else looks.
    pub(super) fn accepts_json(&self) -> Result<(), Refused> {
        let accept = self.headers.get("accept").map(String::as_str).unwrap_or("*/*");
        let format = url::form_urlencoded::parse(self.url.split_once('?').map_or("", |(_, query)| query).as_bytes())
            .find(|(name, _)| name == "_format");
        let by_format = format.is_none_or(|(_, value)| value.contains("json"));
        if by_format && (accept.contains("json") || accept.contains('*')) {
            return Ok(());
        }
        Err(Refused::told(StatusCode::NOT_ACCEPTABLE, "not-supported", "answers are JSON"))
    }

    /// Whether the app has this answer already (RFC 9110, section 13.1).
    pub(super) fn has_already(&self, answered: &Answered) -> bool {
        match (self.revalidation.get("if-none-match"), self.revalidation.get("if-modified-since")) {
            (Some(tags), _) => {
                let own = answered.etag.as_deref().map(opaque);
                tags.split(',').any(|tag| tag.trim() == "*" || own.is_some_and(|own| own == opaque(tag.trim())))
            }
            (None, Some(since)) => answered.last_modified.as_ref() == Some(since),
            (None, None) => false,
        }
    }

    /// Whether the app wants to write another version than this (FHIR R4, RESTful API, "Managing Resource Contention").
    pub(super) fn is_about_another_version(&self, version: Option<&str>) -> bool {
        self.if_match.as_deref().is_some_and(|tags| !version.is_some_and(|version| names_version(tags, version)))
    }

    /// Whether the app wants to write some version that is there.
    pub(super) fn wants_one(&self) -> bool {
        self.if_match.is_some()
    }

    /// What a write has to find nothing of (RFC 9110, section 13.1.2): `*`, and nothing else is taken.
    pub(super) fn if_none_match(&self) -> Result<bool, Refused> {
        match self.revalidation.get("if-none-match").map(|tags| tags.trim()) {
            None => Ok(false),
            Some("*") => Ok(true),
            Some(_) => {
                Err(Refused::told(StatusCode::BAD_REQUEST, "invalid", "`If-None-Match` of a write can only be `*`"))
            }
        }
    }

    /// The headers by which a request is decided again.
    pub(super) fn headers_again(&self) -> BTreeMap<String, String> {
        let kept = |name: &&str| self.headers.get_key_value(*name);
        ["accept", "content-type", "prefer"].iter().filter_map(kept).map(|(k, v)| (k.clone(), v.clone())).collect()
    }
}

/// Whether one of these entity tags names a version; `*` names each.
pub(super) fn names_version(tags: &str, version: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || opaque(tag) == version)
}

pub(super) fn other_version() -> Refused {
    let text = "the resource is not of the version that the request names";
    Refused::told(StatusCode::PRECONDITION_FAILED, "conflict", text)
}

/// The same path and query without wishes to leave members out: no server has to do so, and what is not whole cannot be
/// judged (FHIR R4, Search, `_elements`, `_summary`). A count has no members.
pub(super) fn whole(url: &str) -> String {
    let Some((path, query)) = url.split_once('?') else { return url.to_owned() };
    let stays = |pair: &&str| {
        let read = url::form_urlencoded::parse(pair.as_bytes()).next();
        let Some((name, value)) = read else { return true };
        name != "_elements" && (name != "_summary" || matches!(&*value, "count" | "false"))
    };
    let kept: Vec<&str> = query.split('&').filter(stays).collect();
    if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) }
}

/// The preferences that count here: how a server is to handle a search is said by this host.
fn kept_wishes(wishes: &str) -> Option<String> {
    let dropped = |wish: &str| {
        let name = wish.split(['=', ';']).next().unwrap_or_default().trim();
        name.eq_ignore_ascii_case("handling") || name.eq_ignore_ascii_case("respond-async")
    };
    // Where a comma may stand in quotes, nothing is taken apart.
    if wishes.contains('"') {
        return Some(wishes.to_owned());
    }
    let kept: Vec<&str> = wishes.split(',').map(str::trim).filter(|wish| !dropped(wish)).collect();
    (!kept.is_empty()).then(|| kept.join(", "))
}

/// An entity tag without its quotes and its weakness.
fn opaque(tag: &str) -> &str {
    tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
}

/// An answer to an app.
#[derive(Debug)]
pub(in crate::http) struct Outgoing {
    pub(in crate::http) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(in crate::http) body: Vec<u8>,
    /// why it was refused: shown by a demo to whoever tries it, and by nothing else to anybody
    pub(in crate::http) reason: Option<String>,
}

impl Outgoing {
    pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Self {
        Self { status, headers: Vec::new(), body, reason: None }
    }

    /// What the server said of a resource besides its content.
    pub(super) fn with_headers_of(mut self, answered: &Answered) -> Self {
        for (name, value) in [(header::ETAG, &answered.etag), (header::LAST_MODIFIED, &answered.last_modified)] {
            self.headers.extend(value.clone().map(|value| (name, value)));
        }
        self
    }

    pub(super) fn refused(refused: Refused) -> Self {
        tracing::debug!(?refused, "not passed on");
        match refused {
            Refused::Denied(denial, reason) => {
                let (status, outcome) = denial.parts();
                let mut outgoing = Self::json(status_of(status), outcome.get().as_bytes().to_vec());
                let header = |(name, value): (&str, &str)| Some((name.parse::<HeaderName>().ok()?, value.to_owned()));
                let headers = denial.headers().filter_map(header).filter(|(name, _)| *name != header::CONTENT_TYPE);
                outgoing.headers.extend(headers);
                outgoing.reason = reason;
                outgoing
            }
            Refused::Told { status, code, text } => Self::outcome(status, code, &text),
            Refused::Problem(problem) => of_problem(&problem),
            Refused::Upstream(error) => {
                tracing::warn!(%error, "the FHIR server failed");
                let (status, text) = if error.is_late() {
                    (StatusCode::GATEWAY_TIMEOUT, "the FHIR server did not answer in time")
                } else {
                    (StatusCode::BAD_GATEWAY, "the FHIR server did not give an answer that can be passed on")
                };
                Self::outcome(status, "transient", text)
            }
        }
    }

    fn outcome(status: StatusCode, code: &str, text: &str) -> Self {
        let issue = json!([{ "severity": "error", "code": code, "diagnostics": text }]);
        let mut told =
            Self::json(status, json!({ "resourceType": "OperationOutcome", "issue": issue }).to_string().into_bytes());
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            told.headers.push((header::RETRY_AFTER, "1".into()));
        }
        told
    }

    pub(super) fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        if self.status != StatusCode::NO_CONTENT && self.status != StatusCode::NOT_MODIFIED {
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(FHIR_JSON));
        }
        // SECURITY: what may be seen by one may not be seen by the next, and not by the same one later.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        for (name, value) in self.headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
        response
    }
}

fn status_of(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)
}

/// What is wrong with a request, in FHIR's words.
fn of_problem(problem: &Problem) -> Outgoing {
    if problem.member.as_deref() == Some("request.headers.authorization") {
        return Outgoing::refused(Refused::Denied(Box::new(Denial::without_token()), None));
    }
    let (status, code) = match (problem.member.as_deref(), status_of(problem.status)) {
        (Some("request.headers.accept"), _) => (StatusCode::NOT_ACCEPTABLE, "not-supported"),
        (Some("request.headers.content-type" | "request.headers.content-encoding"), _) => {
            (StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported")
        }
        (_, status @ StatusCode::PAYLOAD_TOO_LARGE) => (status, "too-long"),
        (_, status @ StatusCode::TOO_MANY_REQUESTS) => (status, "throttled"),
        (_, status) if status.is_server_error() => (status, "transient"),
        (_, status) => (status, "invalid"),
    };
    Outgoing::outcome(status, code, &problem.detail)
}

/// Why there is no answer.
#[derive(Debug)]
pub(in crate::http) enum Refused {
    /// it is not permitted; the reason is for a demo
    Denied(Box<Denial>, Option<String>),
    /// it is no request that could be decided
    Problem(Problem),
    /// it is permitted, and cannot be done
    Told { status: StatusCode, code: &'static str, text: String },
    /// the server failed
    Upstream(UpstreamError),
}

impl From<Problem> for Refused {
    fn from(problem: Problem) -> Self {
        Self::Problem(problem)
    }
}

impl Refused {
    pub(super) fn told(status: StatusCode, code: &'static str, text: impl Into<String>) -> Self {
        Self::Told { status, code, text: text.into() }
    }

    pub(super) fn header(name: &HeaderName, what: &str) -> Self {
        Self::told(StatusCode::BAD_REQUEST, "invalid", format!("the header `{name}` {what}"))
    }

    /// What this host could not take in is not passed on.
    pub(super) fn garbled() -> Self {
        let text = "the FHIR server did not give an answer that can be passed on";
        Self::told(StatusCode::BAD_GATEWAY, "transient", text)
    }

    /// What the server answered a permitted request with, other than by doing it.
    ///
    /// SECURITY: its words may name what is hidden, so only what kind of refusal it is leaves.
    pub(super) fn upstream(status: u16) -> Self {
        let by = |status, code| Self::told(status, code, "the FHIR server refused the request");
        match status {
            404 | 410 => Self::Denied(Box::new(Denial::of(chartgate_model::Basis::Content, "absent")), None),
            400 => by(StatusCode::BAD_REQUEST, "invalid"),
            405 | 501 => by(StatusCode::NOT_IMPLEMENTED, "not-supported"),
            409 => by(StatusCode::CONFLICT, "conflict"),
            412 => by(StatusCode::PRECONDITION_FAILED, "conflict"),
            413 => by(StatusCode::PAYLOAD_TOO_LARGE, "too-long"),
            415 => by(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not-supported"),
            422 => by(StatusCode::UNPROCESSABLE_ENTITY, "processing"),
            429 | 503 => Self::Denied(Box::new(Denial::unavailable()), None),
            _ => Self::garbled(),
        }
    }
}

/// A request to the server that takes FHIR JSON.
pub(super) fn outward() -> Outward {
    Outward { headers: vec![(header::ACCEPT, FHIR_JSON.to_owned())], ..Outward::default() }
}

/// A server that does not know a parameter is asked to say so (FHIR R4, Search, section 3.1.1.3.2).
pub(super) fn strictly() -> Outward {
    let mut outward = outward();
    outward.headers.push((HeaderName::from_static("prefer"), "handling=strict".into()));
    outward
}

/// The resources of a type that a search found, as `Type/id`.
pub(super) fn found(answered: &Answered, resource_type: &str) -> Option<Vec<String>> {
    #[derive(Deserialize)]
    struct Bundle {
        #[serde(default)]
        entry: Vec<Value>,
    }
    let bundle: Bundle = serde_json::from_slice(&answered.body).ok().filter(|_| answered.status == 200)?;
    let mut keys = Vec::new();
    for entry in bundle.entry {
        let text = |path: &str| entry.pointer(path).and_then(Value::as_str);
        if text("/resource/resourceType") == Some(resource_type) {
            keys.push(format!("{resource_type}/{}", text("/resource/id")?));
        }
    }
    Some(keys)
}

//! `/fhir`: the sandbox of a demo. Each request is decided as a FHIR server would have it decided, and answered by
//! what the decision allows and nothing else.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, RawQuery, State as Shared};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use crate::http::State;
use crate::http::caller::Caller;
use crate::http::judge::{self, Judged, judge};
use crate::http::problem::Problem;
use crate::http::wire::{AnswerBody, DecideBody, RequestBody, token_denial};

/// What came of a request to the sandbox.
pub(super) struct Answered {
    pub(super) status: StatusCode,
    headers: Vec<(String, String)>,
    pub(super) body: Value,
    /// why it was refused: shown by a demo to whoever tries it, and by nothing else to anybody
    pub(super) reason: Option<String>,
}

impl Answered {
    fn of(status: StatusCode, body: Value) -> Self {
        Self { status, headers: Vec::new(), body, reason: None }
    }

    fn outcome(status: StatusCode, code: &str, text: &str) -> Self {
        let issue = json!([{ "severity": "error", "code": code, "diagnostics": text }]);
        Self::of(status, json!({ "resourceType": "OperationOutcome", "issue": issue }))
    }
}

/// A request to the sandbox.
pub(super) async fn fhir(
    Shared(state): Shared<Arc<State>>,
    method: Method,
    Path(path): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let body = match axum::body::to_bytes(body, state.limits.body_bytes).await {
        Ok(bytes) => String::from_utf8(bytes.to_vec()).unwrap_or_default(),
        Err(_) => return respond(Answered::outcome(StatusCode::PAYLOAD_TOO_LARGE, "too-long", "the body is too long")),
    };
    let url = match query {
        Some(query) => format!("/{path}?{query}"),
        None => format!("/{path}"),
    };
    respond(answer(&state, method.as_str(), &url, bearer, &body).await)
}

fn respond(answered: Answered) -> Response {
    let headers = [(header::CONTENT_TYPE, "application/fhir+json"), (header::CACHE_CONTROL, "no-store")];
    let mut response = (answered.status, headers, answered.body.to_string()).into_response();
    for (name, value) in &answered.headers {
        if let (Ok(name), Ok(value)) = (name.parse::<header::HeaderName>(), HeaderValue::from_str(value)) {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

/// Decide, and answer.
pub(super) async fn answer(state: &State, method: &str, url: &str, bearer: Option<&str>, body: &str) -> Answered {
    let Some(sandbox) = &state.sandbox else {
        return Answered::outcome(StatusCode::NOT_FOUND, "not-found", "there is no sandbox here");
    };
    let path = url.split('?').next().unwrap_or_default().trim_start_matches('/');
    if path == "metadata" && method == "GET" {
        return Answered::of(StatusCode::OK, metadata(state));
    }
    let Some(bearer) = bearer else {
        let mut answered = Answered::outcome(StatusCode::UNAUTHORIZED, "login", "a bearer token is wanted");
        answered.headers.push(("www-authenticate".into(), "Bearer realm=\"chartgate\"".into()));
        return answered;
    };
    let told = match decide(state, method, url, bearer, body).await {
        Ok(told) => told,
        Err(problem) => {
            let status = StatusCode::from_u16(problem.status).unwrap_or(StatusCode::BAD_REQUEST);
            return Answered::outcome(status, "invalid", &problem.detail);
        }
    };
    if told.get("decision") != Some(&json!("permit")) {
        return denied(&told);
    }
    let base = state.bases.first().map(|base| base.url.clone()).unwrap_or_default();
    match carry_out(sandbox, &base, method, url, &told) {
        Some(answered) => answered,
        // SECURITY: what the sandbox cannot do as it was decided it does not do at all.
        None => Answered::outcome(StatusCode::NOT_IMPLEMENTED, "not-supported", "the sandbox only reads and searches"),
    }
}

/// The answer of the decision endpoint, as its callers get it.
async fn decide(state: &State, method: &str, url: &str, bearer: &str, body: &str) -> Result<Value, Problem> {
    let caller = Caller::sandbox();
    let headers = HeaderMap::new();
    let context = judge::context(state, &caller, &headers, (state.edge.now)())?;
    let mut request = RequestBody { method: method.to_owned(), url: url.to_owned(), ..RequestBody::default() };
    request.headers.insert("authorization".into(), bearer.to_owned());
    if !body.is_empty() {
        request.body = serde_json::value::to_raw_value(body).ok();
    }
    let mut asked = DecideBody { request, obligations: vec!["search-narrowing".into()], ..DecideBody::default() };
    let mut parts = url.split('?').next().unwrap_or_default().trim_start_matches('/').split('/');
    if let (Some(kind), Some(id), None, Some(sandbox)) = (parts.next(), parts.next(), parts.next(), &state.sandbox) {
        let found = sandbox.read(kind, id).and_then(|resource| serde_json::value::to_raw_value(resource).ok());
        asked.stored.insert(format!("{kind}/{id}"), found);
    }
    let told = match judge(state, "sandbox", &context, context.decidable(asked).await?).await? {
        Judged::Answered(answer, request) => serde_json::to_value(AnswerBody::of(*answer, &request)),
        Judged::BadToken { id, simulate, error } => serde_json::to_value(token_denial(id, simulate, &error)),
    };
    told.map_err(|_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the sandbox failed"))
}

/// A denial, as the decision has it ready.
fn denied(told: &Value) -> Answered {
    let denial = told.get("denial").cloned().unwrap_or_default();
    let status = denial.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
    let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::FORBIDDEN);
    let headers = denial.get("headers").and_then(Value::as_object).into_iter().flatten();
    let headers = headers.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned()))).collect();
    let reason = told.pointer("/reason/text").and_then(Value::as_str).map(str::to_owned);
    Answered { status, headers, body: denial.get("outcome").cloned().unwrap_or_default(), reason }
}

/// Read, or run the search the decision allows.
fn carry_out(sandbox: &crate::sandbox::Sandbox, base: &str, method: &str, url: &str, told: &Value) -> Option<Answered> {
    let narrowed = told.get("obligations").and_then(Value::as_array)?.first();
    let url = match narrowed {
        Some(obligation) if obligation.get("method") == Some(&json!("GET")) => obligation.get("url")?.as_str()?,
        Some(_) => return None,
        None => url,
    };
    let (path, query) = url.trim_start_matches('/').split_once('?').unwrap_or((url.trim_start_matches('/'), ""));
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let parts: Vec<&str> = path.split('/').collect();
    match (method, parts.as_slice()) {
        ("GET", [kind, id]) => Some(match sandbox.read(kind, id) {
            Some(resource) => Answered::of(StatusCode::OK, resource.clone()),
            None => Answered::outcome(StatusCode::NOT_FOUND, "not-found", "there is no such resource"),
        }),
        ("GET", [kind]) => Some(match sandbox.search(base, kind, &pairs) {
            Ok(bundle) => Answered::of(StatusCode::OK, bundle),
            Err(error) => Answered::outcome(StatusCode::BAD_REQUEST, "not-supported", &error.to_string()),
        }),
        _ => None,
    }
}

/// The capability statement, with the endpoints where older apps look for them.
fn metadata(state: &State) -> Value {
    let url = |path: &str| state.smart.as_ref().map(|server| server.settings().url(path)).unwrap_or_default();
    let places = [
        ("authorize", "/oauth/authorize"),
        ("token", "/oauth/token"),
        ("introspect", "/oauth/introspect"),
        ("revoke", "/oauth/revoke"),
        ("manage", "/oauth/apps"),
    ];
    let extension: Vec<Value> =
        places.iter().map(|(name, path)| json!({ "url": name, "valueUri": url(path) })).collect();
    let types: Vec<Value> = state
        .sandbox
        .iter()
        .flat_map(|sandbox| sandbox.types())
        .map(|kind| json!({ "type": kind, "interaction": [{ "code": "read" }, { "code": "search-type" }] }))
        .collect();
    json!({
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-01-01",
        "kind": "instance",
        "fhirVersion": "4.0.1",
        "format": ["json"],
        "implementation": { "description": "A sandbox of made-up records", "url": state.bases.first().map(|base| &base.url) },
        "rest": [{
            "mode": "server",
            "security": {
                "cors": true,
                "service": [{ "coding": [{
                    "system": "http://terminology.hl7.org/CodeSystem/restful-security-service", "code": "SMART-on-FHIR" }] }],
                "extension": [{
                    "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                    "extension": extension }]
            },
            "resource": types
        }]
    })
}

//! The pages of a demo: who can be tried, and a sample app that shows what it got and what it did not.
//!
//! The app is a public client of this very server. It asks for its tokens and its records by the same calls as any
//! other, only without the way over the network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Query, State as Shared};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::http::State;
use crate::http::oauth::{Browser, redirect};
use crate::http::proxy;
use crate::smart::form::Form;
use crate::smart::launch::LaunchContext;
use crate::smart::secret::Secret;
use crate::smart::{Credentials, Page, TOKEN_PARAMETERS};

/// The sample app.
pub const CLIENT: &str = "sample-app";
/// The sample app for clinicians.
pub const PROVIDER_CLIENT: &str = "sample-provider-app";
/// The password of everybody in a demo.
pub const PASSWORD: &str = "chartgate-demo";
/// Where the sample app has people sent back to.
pub const CALLBACK: &str = "/demo/app";
/// The most launches remembered at once.
const PENDING_MAX: usize = 1_000;

/// Somebody to try.
struct Somebody {
    id: &'static str,
    title: &'static str,
    who: &'static str,
    expect: &'static str,
    scope: &'static str,
}

const PEOPLE: [Somebody; 3] = [
    Somebody {
        id: "patient",
        title: "A patient",
        who: "Patient 123, an adult with a portal account",
        expect: "The app gets this patient’s records and nobody else’s.",
        scope: "openid fhirUser launch/patient offline_access patient/Patient.rs patient/Observation.rs \
                patient/Condition.rs patient/AllergyIntolerance.rs patient/MedicationRequest.rs",
    },
    Somebody {
        id: "mother",
        title: "A mother",
        who: "Patient 126, who is also the guardian of patient 124, a child",
        expect: "She has to say whose records it is about: the app gets one chart, never both.",
        scope: "openid fhirUser launch/patient patient/Patient.rs patient/Observation.rs patient/Condition.rs \
                patient/AllergyIntolerance.rs",
    },
    Somebody {
        id: "physician",
        title: "A physician",
        who: "Practitioner 17, who treats the patients 123 and 124, and no longer 125",
        expect: "The app is opened from the record system on the chart of 123. It reaches both patients in treatment, \
                 and not the one of before.",
        scope: "openid fhirUser launch user/Patient.rs user/Observation.rs user/Condition.rs user/Practitioner.rs",
    },
];

/// What the app asks for once it has a token: what it is, and the path.
const REQUESTS: [(&str, &str, &str); 10] = [
    ("The chart of patient 123", "GET", "/Patient/123"),
    ("The chart of patient 124", "GET", "/Patient/124"),
    ("The chart of patient 125", "GET", "/Patient/125"),
    ("All patients it may see", "GET", "/Patient?family=Example"),
    ("All observations it may see", "GET", "/Observation"),
    ("Laboratory results it may see", "GET", "/Observation?category=laboratory"),
    ("All conditions it may see", "GET", "/Condition"),
    ("Medication of the launch patient", "GET", "/MedicationRequest?patient={patient}"),
    ("A laboratory result of patient 125", "GET", "/Observation/o9"),
    ("To delete an observation of patient 123", "DELETE", "/Observation/o1"),
];

/// Launches of the sample app under way: `state`, and the verifier with the person.
#[derive(Debug, Default)]
pub struct Demo(Mutex<HashMap<String, (String, &'static str)>>);

/// The page that offers somebody to try.
pub(super) async fn home(browser: Browser) -> Response {
    let people: Vec<Value> = PEOPLE
        .iter()
        .map(|somebody| {
            json!({
                "id": somebody.id, "title": somebody.title, "who": somebody.who, "username": somebody.id,
                "password": PASSWORD, "what_to_expect": somebody.expect,
                "launch_url": format!("/demo/launch/{}", somebody.id),
            })
        })
        .collect();
    browser.page(Page::Demo, None, StatusCode::OK, json!({ "people": people, "app": Value::Null }))
}

/// Open the sample app as somebody.
pub(super) async fn launch(Shared(state): Shared<Arc<State>>, Path(id): Path<String>) -> Response {
    let (Some(server), Some(demo)) = (&state.smart, &state.demo) else { return StatusCode::NOT_FOUND.into_response() };
    let Some(somebody) = PEOPLE.iter().find(|somebody| somebody.id == id) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let (Ok(csrf), Ok(verifier)) = (Secret::draw(&state.edge), Secret::draw(&state.edge)) else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let settings = server.settings();
    let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.text().as_bytes()));
    let callback = settings.url(CALLBACK);
    let client = client_of(somebody.id);
    let mut pairs = vec![
        ("response_type", "code".to_owned()),
        ("client_id", client.to_owned()),
        ("redirect_uri", callback),
        ("scope", somebody.scope.to_owned()),
        ("state", csrf.text().to_owned()),
        ("aud", settings.base.url.clone()),
        ("code_challenge", challenge),
        ("code_challenge_method", "S256".to_owned()),
        // Somebody else may have been tried before.
        ("prompt", "login consent".to_owned()),
        ("login_hint", somebody.id.to_owned()),
    ];
    if client == PROVIDER_CLIENT {
        let context = LaunchContext {
            user: "Practitioner/17".into(),
            patient: Some("123".into()),
            encounter: Some("e123".into()),
            ..LaunchContext::default()
        };
        match server.registrar().launch(client, &context, settings.launch_ms) {
            Ok((launch, _)) => pairs.push(("launch", launch.text().to_owned())),
            Err(_) => return StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        }
    }
    demo.remember(csrf.text(), verifier.text(), somebody.id);
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    redirect(&settings.url(&format!("/oauth/authorize?{query}")))
}

fn client_of(person: &str) -> &'static str {
    if person == "physician" { PROVIDER_CLIENT } else { CLIENT }
}

impl Demo {
    fn remember(&self, state: &str, verifier: &str, person: &'static str) {
        let mut pending = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if pending.len() >= PENDING_MAX {
            pending.clear();
        }
        pending.insert(state.to_owned(), (verifier.to_owned(), person));
    }

    fn take(&self, state: &str) -> Option<(String, &'static str)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(state)
    }
}

/// What comes back to the app.
#[derive(Debug, Deserialize)]
pub(super) struct Callback {
    code: Option<String>,
    state: Option<String>,
    error: Option<String>,
    error_description: Option<String>,
}

/// The sample app: exchanges its code, asks for records, shows what came of it.
pub(super) async fn app(
    Shared(state): Shared<Arc<State>>,
    browser: Browser,
    Query(callback): Query<Callback>,
) -> Response {
    let pending = state.demo.as_ref().zip(callback.state.as_deref()).and_then(|(demo, state)| demo.take(state));
    let at = state.proxies.iter().find(|proxied| proxied.base == "default");
    let (Some(server), Some(at), Some((verifier, person))) = (&state.smart, at, pending) else {
        return *browser.message("expired", StatusCode::BAD_REQUEST);
    };
    let Some(code) = callback.code else {
        let text = callback.error_description.or(callback.error).unwrap_or_default();
        let more = json!({
            "title_key": "message.not_possible.title", "body_key": "message.not_possible.body", "detail": text,
            "back": "/", "status": 200,
        });
        return browser.page(Page::Message, None, StatusCode::OK, more);
    };
    let callback = server.settings().url(CALLBACK);
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", &callback),
            ("client_id", client_of(person)),
            ("code_verifier", &verifier),
        ])
        .finish();
    let Ok(form) = Form::parse(body.as_bytes(), &TOKEN_PARAMETERS) else {
        return *browser.message("failed", StatusCode::INTERNAL_SERVER_ERROR);
    };
    let tokens = match server.token(&Credentials { authorization: None, form: &form }).await {
        Ok(tokens) => serde_json::to_value(tokens).unwrap_or_default(),
        Err(_) => return *browser.message("failed", StatusCode::BAD_REQUEST),
    };
    let text = |name: &str| tokens.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let bearer = format!("Bearer {}", text("access_token"));
    let mut rows = Vec::new();
    for (what, method, path) in REQUESTS {
        let path = path.replace("{patient}", &text("patient"));
        let answered = proxy::answer(&state, at, &proxy::Incoming::own(method, &path, &bearer)).await;
        rows.push(json!({
            "what": what,
            "method": method,
            "path": path,
            "status": answered.status.as_u16(),
            "allowed": answered.status.is_success(),
            "reason": answered.reason,
            "summary": serde_json::from_slice(&answered.body).ok().as_ref().and_then(summary),
        }));
    }
    let scope = text("scope");
    let somebody = PEOPLE.iter().find(|somebody| somebody.id == person);
    let more = json!({
        "person": somebody.map(|somebody| somebody.who),
        "patient_label": tokens.get("patient").and_then(Value::as_str).map(|id| format!("Patient {id}")),
        "scopes": scope.split(' ').collect::<Vec<_>>(),
        "rows": rows,
        "back": "/",
    });
    browser.page(Page::DemoApp, None, StatusCode::OK, more)
}

/// A bundle or a resource in a few words.
fn summary(body: &Value) -> Option<String> {
    let text = |value: &Value, path: &str| value.pointer(path).and_then(Value::as_str).map(str::to_owned);
    match text(body, "/resourceType")?.as_str() {
        "OperationOutcome" => None,
        "Bundle" => {
            let entries = body.get("entry").and_then(Value::as_array)?;
            let mut patients: Vec<String> = entries
                .iter()
                .filter_map(|entry| {
                    let reference = text(entry, "/resource/subject/reference");
                    let own = text(entry, "/resource/resourceType").filter(|kind| kind == "Patient");
                    reference.or_else(|| own.and(text(entry, "/resource/id")).map(|id| format!("Patient/{id}")))
                })
                .collect();
            patients.sort();
            patients.dedup();
            Some(format!("{} records of {}", entries.len(), patients.join(", ")))
        }
        kind => Some(format!("{kind}/{}", text(body, "/id").unwrap_or_default())),
    }
}

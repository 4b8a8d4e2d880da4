//! A clinic with an authorization server, and people and apps that use it as browsers and programs do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is a failed test")]
#![allow(clippy::indexing_slicing, reason = "test support: a missing member is a failed test")]

mod app;
mod browser;

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};

pub use app::{App, Tokens, VERIFIER, basic, challenge, form};
pub use browser::{Browser, Fields, Page};

use crate::host::{EHR, Host, World};

/// The password of every account here.
pub const PASSWORD: &str = "correct horse battery";
/// Everything an app may ask for.
pub const SCOPES: &str = "openid fhirUser profile launch launch/patient launch/encounter offline_access online_access \
                          patient/*.cruds user/*.cruds __introspect";

/// An authorization server with people. Practitioner/17 treats 123 and 124; RelatedPerson/9 is the guardian of 124.
pub struct Clinic {
    /// its world
    pub world: World,
    /// the host
    pub host: Host,
    /// the URL of the server
    pub issuer: String,
    people: AtomicU32,
}

impl Clinic {
    /// Start one, with further members of `[smart]`.
    pub fn start(more: &str) -> Self {
        let (world, issuer) = World::smart(more);
        Self::of(world, issuer)
    }

    /// The same with records to read, at the FHIR base `{issuer}/fhir`.
    pub fn with_sandbox() -> Self {
        let (world, issuer) = World::smart_sandbox("");
        Self::of(world, issuer)
    }

    /// One that stands in front of a FHIR server, by rules with these settings and with further tables of configuration.
    pub fn in_front_of(upstream: &str, settings: &str, more: &str) -> Self {
        let (mut world, issuer) = World::smart_by(settings, "");
        world.base = format!("{issuer}/fhir");
        world.more += &format!("[proxy]\nupstream = {upstream:?}\nallow_private = true\n{more}\n");
        Self::of(world, issuer)
    }

    /// One that asks only public addresses for the keys of apps.
    pub fn careful() -> Self {
        let (mut world, issuer) = World::smart("");
        world.more = world.more.replace("allow_private = true\n", "");
        Self::of(world, issuer)
    }

    fn of(world: World, issuer: String) -> Self {
        for (user, patient, kind) in [
            ("Practitioner/17", "123", "treatment"),
            ("Practitioner/17", "124", "treatment"),
            ("RelatedPerson/9", "124", "guardian"),
            ("RelatedPerson/10", "124", "guardian"),
            ("RelatedPerson/10", "125", "guardian"),
        ] {
            let granted = world.directory(&["grant", user, patient, kind]);
            assert_eq!(granted.code, Some(0), "{granted:?}");
        }
        let host = world.start();
        Self { world, host, issuer, people: AtomicU32::new(0) }
    }

    /// Start its host again, which has ended or been killed.
    pub fn restart(&mut self) {
        self.host.wait();
        let mut command = self.world.serve();
        // Compiling the release would take most of the time.
        command.env("CHARTGATE_POLICIES__COMPILED_CACHE", "true");
        self.host = self.world.start_by(command);
    }

    /// Register an app; `change` edits what is sent.
    pub fn register(&self, auth: &str, change: impl FnOnce(&mut Value)) -> App {
        let mut body = json!({
            "name": "Growth Chart", "kind": "patient", "redirect_uris": ["https://app.example/cb"],
            "scope": SCOPES, "auth": auth,
        });
        change(&mut body);
        let answer = self.host.admin("POST", "/admin/v1/smart/clients", &[], &body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.text);
        let json = answer.json();
        App::new(self, &json["client"], json["client_secret"].as_str().map(str::to_owned))
    }

    /// A public app for patients.
    pub fn public_app(&self) -> App {
        self.register("none", |_| {})
    }

    /// An app for clinicians, with a secret.
    pub fn provider_app(&self) -> App {
        self.register("client_secret_basic", |body| {
            body["kind"] = json!("provider");
            body["launch_uri"] = json!("https://app.example/launch");
        })
    }

    /// An account of these identities, `patient=Patient/123`; answers its name.
    pub fn account(&self, identities: &[&str]) -> String {
        let name = format!("person{}", self.people.fetch_add(1, Ordering::Relaxed));
        let identities: Vec<Value> = identities
            .iter()
            .map(|identity| {
                let (kind, user) = identity.split_once('=').unwrap();
                json!({ "kind": kind, "user": user })
            })
            .collect();
        let body = json!({ "name": name, "password": PASSWORD, "label": name, "identities": identities });
        let answer = self.host.admin("POST", "/admin/v1/smart/users", &[], &body.to_string());
        assert_eq!(answer.status, 201, "{}", answer.text);
        name
    }

    /// A browser nobody has used.
    pub fn browser(&self) -> Browser {
        let number = self.people.fetch_add(1, Ordering::Relaxed);
        Browser::new(&self.issuer, &format!("198.51.{}.{}", number / 250, number % 250 + 1))
    }

    /// A launch, by the record system.
    pub fn launch(&self, app: &App, context: Value) -> Value {
        let mut body = context;
        body["client"] = json!(app.id);
        let key = format!("Bearer {EHR}");
        let answer = self.host.client().send(
            "POST",
            self.host.public,
            "/v1/launches",
            &[("authorization", &key)],
            body.to_string(),
        );
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json()
    }

    /// What the decision endpoint says of a token: reading one resource of a patient.
    pub fn read(&self, token: &str, patient: &str) -> (String, String) {
        self.host
            .decide(&json!({
                "request": { "method": "GET", "url": "/Observation/9", "headers": { "authorization": format!("Bearer {token}") } },
                "stored": { "Observation/9": { "resourceType": "Observation", "id": "9",
                    "subject": { "reference": format!("Patient/{patient}") } } },
            }))
            .verdict()
    }

    /// The FHIR base.
    pub fn base(&self) -> &str {
        &self.world.base
    }
}

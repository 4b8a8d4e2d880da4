//! A FHIR server with a clinic's records, the proxy in front of it, and people with tokens.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use chartgate_model::{
    DecisionRequest, FhirBase, FhirRequest, Interaction, Millis, Relationship, Stored, Subject, SubjectKind, Terms,
};
use chartgate_tests::host::{Answer, Client};
use chartgate_tests::oracle::{Opinion, judge};
use chartgate_tests::servers::{FhirServer, Found, Make, link, records};
use chartgate_tests::signing::{Key, key_set, now_s};
use chartgate_tests::smart::Clinic;
use serde_json::{Value, json};

/// Settings of the rules: apps may write.
pub(crate) const SETTINGS: &str = r#"{"writes":true,"system_clients":true}"#;
/// Who speaks for clients without a user.
const ISSUER: &str = "https://login.example";

/// Everything together.
pub(crate) struct Front {
    pub(crate) server: FhirServer,
    pub(crate) clinic: Clinic,
    people: BTreeMap<&'static str, Person>,
    relationships: Vec<Relationship>,
    records: BTreeMap<String, Value>,
    turn: Mutex<()>,
}

/// Somebody with a token.
#[derive(Debug, Clone)]
pub(crate) struct Person {
    pub(crate) kind: SubjectKind,
    pub(crate) user: String,
    pub(crate) scope: String,
    pub(crate) patient: Option<String>,
    pub(crate) bearer: String,
}

/// Who reaches whom.
fn relationships() -> Vec<(String, String, &'static str)> {
    let mut all = vec![("RelatedPerson/rp-p2".to_owned(), "p2".to_owned(), "guardian")];
    all.extend((1..=6).map(|at| ("Practitioner/dr1".to_owned(), format!("p{at}"), "treatment")));
    all.extend((1..=records::PATIENTS).map(|at| ("Practitioner/dr3".to_owned(), format!("p{at}"), "treatment")));
    all
}

impl Front {
    /// A server of this make with all records, those that apps may write written through the proxy.
    pub(crate) fn start(make: Make) -> Self {
        let server = FhirServer::start(make);
        let key = Key::new("k1");
        let jwks = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(jwks.path(), key_set(&[&key])).unwrap();
        let tables = format!(
            "[system]\nenabled = true\n[[tokens]]\ntenants = [\"default\"]\nissuer = {ISSUER:?}\n\
             audiences = [\"urn:example:fhir\"]\njwks_file = {:?}\nsystem_clients = true\n",
            jwks.path()
        );
        let clinic = Clinic::in_front_of(&server.url(), SETTINGS, &tables);
        let mut known = Vec::new();
        for (user, patient, kind) in relationships() {
            let granted = clinic.world.directory(&["grant", &user, &patient, kind]);
            assert_eq!(granted.code, Some(0), "{granted:?}");
            known.push(relationship(user, patient, kind));
        }
        let records = records::all().into_iter().map(|one| (records::key(&one), one)).collect();
        let people = BTreeMap::new();
        let mut front = Self { server, clinic, people, relationships: known, records, turn: Mutex::new(()) };
        front.people = front.sign_in();
        front.people.insert("system", system(&key));
        front.server.load(&records::given());
        for at in 1..=records::PATIENTS {
            let answer =
                front.send("loader", "POST", "/", &[], &records::transaction(&records::written(at)).to_string());
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
        front.server.load(&records::provenances());
        front
    }

    /// Tokens by the real flow.
    fn sign_in(&self) -> BTreeMap<&'static str, Person> {
        let scope = "launch/patient openid fhirUser patient/*.cruds";
        let patient_app = self.clinic.public_app();
        let provider_app = self.clinic.register("client_secret_basic", |body| body["kind"] = json!("provider"));
        let mut people = BTreeMap::new();
        for (name, identity, app, scope) in [
            ("patient", "patient=Patient/p1", &patient_app, scope),
            ("proxy", "proxy=RelatedPerson/rp-p2", &patient_app, scope),
            (
                "narrow",
                "patient=Patient/p1",
                &patient_app,
                "launch/patient patient/Patient.rs patient/Observation.rs?category=laboratory patient/Encounter.r",
            ),
            (
                "either",
                "patient=Patient/p1",
                &patient_app,
                "launch/patient patient/Observation.rs?category=laboratory patient/Observation.rs?code=1001-1",
            ),
            ("provider", "provider=Practitioner/dr1", &provider_app, "openid fhirUser user/*.cruds"),
            ("loader", "provider=Practitioner/dr3", &provider_app, "user/*.cruds"),
        ] {
            let account = self.clinic.account(&[identity]);
            let mut browser = self.clinic.browser();
            let tokens = app.tokens(&app.code(&mut browser, &account, scope));
            let (kind, user) = identity.split_once('=').unwrap();
            let person = Person {
                kind: SubjectKind::from_code(kind).unwrap(),
                user: user.to_owned(),
                scope: tokens.text("scope").to_owned(),
                patient: tokens.0["patient"].as_str().map(str::to_owned),
                bearer: format!("Bearer {}", tokens.access()),
            };
            people.insert(name, person);
        }
        people
    }

    /// Ask through the proxy.
    pub(crate) fn send(&self, who: &str, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let mut all = vec![("authorization", self.people[who].bearer.as_str())];
        if !body.is_empty() && headers.iter().all(|(name, _)| *name != "content-type") {
            all.push(("content-type", "application/fhir+json"));
        }
        all.extend_from_slice(headers);
        Client::new().send(method, self.clinic.host.public, &format!("/fhir{path}"), &all, body)
    }

    pub(crate) fn get(&self, who: &str, path: &str) -> Answer {
        self.send(who, "GET", path, &[], "")
    }

    /// All pages of a search through the proxy; the status where it is refused.
    pub(crate) fn search(&self, who: &str, path: &str) -> Result<Found, u16> {
        let mut found = Found::default();
        let mut next = Some(path.to_owned());
        while let Some(path) = next.take() {
            let answer = self.get(who, &path);
            if answer.status != 200 {
                return Err(answer.status);
            }
            let bundle = answer.json();
            self.is_ours(&answer.text);
            found.add(&bundle);
            next = link(&bundle, "next").map(|url| url.strip_prefix(self.clinic.base()).unwrap().to_owned());
        }
        Ok(found)
    }

    /// Nothing in it tells where the server is.
    pub(crate) fn is_ours(&self, text: &str) {
        assert!(!text.contains(&self.server.url()), "{text}");
    }

    /// One test after another: what there is must not change while two answers are compared.
    pub(crate) fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether somebody may see a resource, by the second opinion.
    pub(crate) fn may_see(&self, who: &str, resource: &Value) -> bool {
        let person = &self.people[who];
        let (kind, id) = (resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        let stored = |resource: &Value| Stored {
            key: records::key(resource),
            content: Some(serde_json::to_vec(resource).unwrap()),
        };
        // A Provenance is judged by what it is about.
        let targets = resource["target"].as_array().filter(|_| kind == "Provenance").into_iter().flatten();
        let about = |target: &Value| self.records.get(target["reference"].as_str()?).map(stored);
        let stored = targets.filter_map(about).chain([stored(resource)]).collect();
        let request = DecisionRequest {
            tenant: "default".into(),
            base: FhirBase { name: "default".into(), url: self.clinic.base().into(), version: "4.0.1".into() },
            request: FhirRequest::new(Interaction::Read, kind, Some(id)),
            subject: Subject {
                kind: person.kind,
                user: person.user.clone(),
                client: "app".into(),
                scope: person.scope.clone(),
                patient: person.patient.clone(),
                encounter: None,
                expires: None,
            },
            stored,
            relationships: Vec::new(),
            records: Vec::new(),
            obligations: Vec::new(),
            pin: None,
            explain: false,
            now: Millis::parse("2026-11-24T10:00:00Z").unwrap(),
            simulate: false,
            break_glass: Vec::new(),
        };
        let settings = json!({ "writes": true, "system_clients": true, "require_patient_records": false, "require_provider_records": false });
        matches!(judge(&request, &settings, &self.relationships, &[]), Opinion::Permit { .. })
    }
}

/// A client without a user.
fn system(key: &Key) -> Person {
    let (scope, now) = ("system/*.cruds", now_s());
    let token = key.sign(&json!({
        "iss": ISSUER, "aud": "urn:example:fhir", "exp": now + 3_600, "iat": now - 5, "sub": "warehouse",
        "client_id": "warehouse", "jti": "1", "scope": scope,
    }));
    Person {
        kind: SubjectKind::System,
        user: String::new(),
        scope: scope.into(),
        patient: None,
        bearer: format!("Bearer {token}"),
    }
}

fn relationship(user: String, patient: String, kind: &str) -> Relationship {
    Relationship {
        user,
        patient,
        kind: kind.into(),
        level: "full".into(),
        status: "active".into(),
        via: "ordinary".into(),
        source: "directory".into(),
        start: None,
        end: None,
        terms: Terms::default(),
    }
}

//! `serve --demo`: a few synthetic people, and what to try.

use std::net::SocketAddr;

use chartgate_model::{Millis, RecordClass, Relationship, Terms};

use crate::config::{Config, FhirBaseConfig, Smart, ThemeConfig};
use crate::edge::Edge;
use crate::http::demo::{CALLBACK, CLIENT, PASSWORD, PROVIDER_CLIENT};
use crate::people;
use crate::smart::account::Account;
use crate::smart::admin::{AdminError, NewClient, Registrar};
use crate::smart::client::ClientKind;
use crate::store::{Store, relationships};

/// user, patient, kind, status
const PEOPLE: [(&str, &str, &str, &str); 6] = [
    ("Practitioner/17", "123", "treatment", "active"),
    ("Practitioner/17", "124", "treatment", "active"),
    ("Practitioner/17", "125", "treatment", "revoked"),
    ("RelatedPerson/9", "124", "guardian", "active"),
    ("RelatedPerson/10", "123", "caregiver", "active"),
    ("Practitioner/18", "125", "treatment", "active"),
];

/// class, id, members
const RECORDS: [(RecordClass, &str, &str); 14] = [
    (RecordClass::Patient, "123", r#"{"birth_date":"1968-04-12","zone":"America/New_York"}"#),
    (RecordClass::Patient, "124", r#"{"birth_date":"2018-06-01","zone":"America/New_York"}"#),
    (RecordClass::Patient, "125", r#"{"birth_date":"1991-09-30","zone":"America/New_York"}"#),
    (RecordClass::Patient, "126", r#"{"birth_date":"1986-01-20","zone":"America/New_York"}"#),
    (RecordClass::User, "Patient/126", r#"{"roles":["patient"]}"#),
    (RecordClass::Client, "sample-app", r#"{"kind":"patient"}"#),
    (RecordClass::Client, "sample-provider-app", r#"{"kind":"provider"}"#),
    (RecordClass::User, "Practitioner/17", r#"{"roles":["provider"]}"#),
    (RecordClass::User, "Practitioner/18", r#"{"roles":["provider"]}"#),
    (RecordClass::User, "RelatedPerson/9", r#"{"roles":["proxy"]}"#),
    (RecordClass::User, "RelatedPerson/10", r#"{"roles":["proxy"]}"#),
    (RecordClass::User, "Patient/123", r#"{"roles":["patient"]}"#),
    (RecordClass::Client, "growth-chart", "{}"),
    (RecordClass::Client, "phr", r#"{"kind":"patient"}"#),
];

/// A demo is an authorization server too: at its own address, for the sandbox beside it.
pub(super) fn configure(config: &mut Config) {
    let origin = format!("http://{}", config.listen.public);
    if config.fhir.is_empty() {
        let base = FhirBaseConfig { url: format!("{origin}/fhir"), version: "4.0.1".into(), facts: None, proxy: None };
        config.fhir.insert("default".into(), base);
    }
    if config.smart.is_none() && config.fhir.contains_key("default") {
        let theme = ThemeConfig { name: "Demo Clinic".into(), ..ThemeConfig::default() };
        config.smart = Some(Smart { issuer: origin, theme, ..Smart::default() });
    }
}

/// What the accounts of a demo sign in with, what they are called, and as whom they act.
const ACCOUNTS: [(&str, &str, &[&str]); 3] = [
    ("patient", "Patient 123", &["patient=Patient/123"]),
    ("mother", "Patient 126", &["patient=Patient/126", "proxy=RelatedPerson/9"]),
    ("physician", "Practitioner 17", &["provider=Practitioner/17"]),
];
/// What the pages call the patients of a demo.
const LABELS: [(&str, &str); 4] = [
    ("123", "Patient 123, an adult"),
    ("124", "Patient 124, a child"),
    ("125", "Patient 125, an adult"),
    ("126", "Patient 126, an adult"),
];
/// The most a sample app may ask for.
const SCOPE: &str = "openid fhirUser profile launch launch/patient offline_access online_access patient/*.rs user/*.rs";

/// Put the sample people, relationships, accounts and apps into the database.
pub(super) fn fill(store: &Store, edge: &Edge, config: &Config) -> anyhow::Result<()> {
    people(store, (edge.now)())?;
    match &config.smart {
        Some(smart) => {
            accounts(&Registrar { store, edge, tenant: &smart.tenant, post: smart.secret_post }, &smart.issuer)
        }
        None => Ok(()),
    }
}

/// What is there from an earlier start stays as it is.
fn accounts(registrar: &Registrar<'_>, issuer: &str) -> anyhow::Result<()> {
    let kept = |result: Result<(), AdminError>| match result {
        Err(AdminError::Taken(_)) => Ok(()),
        other => other,
    };
    for (name, label, identities) in ACCOUNTS {
        let identities = identities.iter().map(|identity| identity.parse()).collect::<Result<_, _>>();
        let identities = identities.map_err(anyhow::Error::msg)?;
        let account = Account { label: label.into(), identities, closed: false };
        kept(registrar.add_account(name, PASSWORD, &account).map(drop))?;
    }
    for (patient, label) in LABELS {
        registrar.store.put_label(registrar.tenant, patient, label)?;
    }
    for (id, name, kind) in [
        (CLIENT, "Sample App", ClientKind::Patient),
        (PROVIDER_CLIENT, "Sample App for Clinicians", ClientKind::Provider),
    ] {
        let app = NewClient {
            id: Some(id.into()),
            name: name.into(),
            kind,
            redirect_uris: vec![format!("{issuer}{CALLBACK}")],
            scope: SCOPE.into(),
            auth: "none".into(),
            jwks: None,
            jwks_uri: None,
            issuer_only: false,
            secret_days: None,
            launch_uri: None,
            origins: Vec::new(),
            introspect: false,
            policy_uri: None,
        };
        kept(registrar.add_client(app).map(drop))?;
    }
    Ok(())
}

fn people(store: &Store, now: Millis) -> anyhow::Result<()> {
    for (class, id, members) in RECORDS {
        let record = people::record(class, id, relationships::SOURCE, serde_json::from_str(members)?)?;
        store.put_record("default", &record, now)?;
    }
    for (user, patient, kind, status) in PEOPLE {
        let relationship = Relationship {
            user: user.into(),
            patient: patient.into(),
            kind: kind.into(),
            level: "full".into(),
            status: status.into(),
            via: "ordinary".into(),
            source: relationships::SOURCE.into(),
            start: None,
            end: None,
            terms: Terms::default(),
        };
        store.put("default", &relationship, now)?;
    }
    Ok(())
}

/// Print three requests to try: a permit, a deny and a narrowed search.
pub(super) fn invite(public: SocketAddr) {
    let curl = |body: &str| format!("curl -s http://{public}/v1/decide -d '{body}'");
    let subject = r#""subject":{"user":"Practitioner/17","client":"growth-chart","scope":"user/Observation.rs"}"#;
    let read = |patient: &str| {
        format!(
            r#"{{"request":{{"method":"GET","url":"/Observation/9"}},{subject},"stored":{{"Observation/9":{{"resourceType":"Observation","id":"9","subject":{{"reference":"Patient/{patient}"}}}}}}}}"#
        )
    };
    let search = format!(
        r#"{{"request":{{"method":"GET","url":"/Observation?category=laboratory"}},{subject},"obligations":["search-narrowing"]}}"#
    );
    println!("\nOpen http://{public}/ in a browser: a sample app, and people to sign in as.\n");
    println!("Practitioner/17 treats the patients 123 and 124, and no longer 125. Try:\n");
    println!("# permit: an observation of a patient they treat\n{}\n", curl(&read("123")));
    println!("# deny: one of a patient they do not treat any more\n{}\n", curl(&read("125")));
    println!("# a search, narrowed to their patients\n{}\n", curl(&search));
}

//! `serve --demo`: a few synthetic people, and what to try.

use std::net::SocketAddr;

use chartgate_model::{Millis, RecordClass, Relationship, Terms};

use crate::config::{Config, FhirBaseConfig, Smart, ThemeConfig};
use crate::people;
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
const RECORDS: [(RecordClass, &str, &str); 10] = [
    (RecordClass::Patient, "123", r#"{"birth_date":"1968-04-12","zone":"America/New_York"}"#),
    (RecordClass::Patient, "124", r#"{"birth_date":"2018-06-01","zone":"America/New_York"}"#),
    (RecordClass::Patient, "125", r#"{"birth_date":"1991-09-30","zone":"America/New_York"}"#),
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
        let base = FhirBaseConfig { url: format!("{origin}/fhir"), version: "4.0.1".into(), facts: None };
        config.fhir.insert("default".into(), base);
    }
    if config.smart.is_none() && config.fhir.contains_key("default") {
        let theme = ThemeConfig { name: "Demo Clinic".into(), ..ThemeConfig::default() };
        config.smart = Some(Smart { issuer: origin, theme, ..Smart::default() });
    }
}

/// Put the sample people and relationships into the directory.
pub(super) fn fill(store: &Store, now: Millis) -> anyhow::Result<()> {
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
    println!("\nPractitioner/17 treats the patients 123 and 124, and no longer 125. Try:\n");
    println!("# permit: an observation of a patient they treat\n{}\n", curl(&read("123")));
    println!("# deny: one of a patient they do not treat any more\n{}\n", curl(&read("125")));
    println!("# a search, narrowed to their patients\n{}\n", curl(&search));
}

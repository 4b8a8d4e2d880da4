//! `serve --demo`: a few synthetic people, and what to try.

use std::net::SocketAddr;

use chartgate_model::{Millis, Relationship};

use crate::store::{Store, StoreError, relationships};

/// user, patient, kind, status
const PEOPLE: [(&str, &str, &str, &str); 6] = [
    ("Practitioner/17", "123", "treatment", "active"),
    ("Practitioner/17", "124", "treatment", "active"),
    ("Practitioner/17", "125", "treatment", "revoked"),
    ("RelatedPerson/9", "124", "guardian", "active"),
    ("RelatedPerson/10", "123", "caregiver", "active"),
    ("Practitioner/18", "125", "treatment", "active"),
];

/// Put the sample relationships into the directory.
pub(super) fn fill(store: &Store, now: Millis) -> Result<(), StoreError> {
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

//! Limits of the rules, just inside and just outside.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failure here is a failed test")]

use chartgate_policy::{Fact, Interaction, Outcome, Parameter, Request, Subject, SubjectKind, decide};

/// Bytes of parameters a narrowed search may carry, each with a `=` and a `&`.
const NARROWING_BYTES_MAX: usize = 8192;

const LIST: &[u8] = br#"{"entries":[{"patient":"1","kind":"treatment","level":"full","status":"active","via":"ordinary","source":"directory"}],"truncated":false}"#;

const CHARTS: &[u8] = br#"{"records":[{"patient":"1","source":"directory"}]}"#;
const USER: &[u8] = br#"{"records":[{"status":"active","source":"directory"}]}"#;
const CLIENT: &[u8] = br#"{"records":[]}"#;

/// The obligation of a clinician's search by `code`, or the reason of the deny.
fn narrowed(code: &str) -> Result<String, &'static str> {
    let decision = decide(&Request {
        fhir_version: "4.0.1",
        base: "https://ehr.example/fhir",
        now_ms: 1_795_514_400_000,
        subject: Subject {
            kind: SubjectKind::Provider,
            user: "Practitioner/17",
            client: "app",
            scope: "user/Observation.rs",
            patient: None,
            encounter: None,
        },
        interaction: Interaction::SearchType,
        resource_type: "Observation",
        id: None,
        version: None,
        operation: None,
        compartment: None,
        parameters: vec![Parameter { name: "code", value: code }],
        conditional: false,
        resolved: false,
        reads_stored: false,
        returns_representation: false,
        body: None,
        stored: Vec::new(),
        facts: vec![
            Fact { key: "relationships/Practitioner/17", value: LIST },
            Fact { key: "patients/Practitioner/17", value: CHARTS },
            Fact { key: "user/Practitioner/17", value: USER },
            Fact { key: "client/app", value: CLIENT },
        ],
        facts_final: true,
        obligations: vec!["search-narrowing"],
        settings: b"{}",
        explain: false,
    });
    match decision.outcome {
        Outcome::Permit { obligations, .. } => Ok(obligations.into_iter().map(|each| each.parameters).collect()),
        Outcome::Deny { reason, .. } => Err(reason.code()),
        Outcome::Needs(keys) => panic!("needs {keys:?}"),
    }
}

#[test]
fn a_narrowed_search_fits_a_url() {
    let added = "code=&patient=1&".len();
    let inside = "c".repeat(NARROWING_BYTES_MAX - added);
    assert!(narrowed(&inside).unwrap().contains("patient"));
    assert_eq!(narrowed(&format!("{inside}c")), Err("too-many-patients"));
}

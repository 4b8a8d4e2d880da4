//! What the benchmarks decide on, and how they sum up.
#![allow(dead_code, reason = "each benchmark uses its own part of it")]

use std::path::PathBuf;

use chartgate_model::{
    DecisionRequest, Fact, FhirBase, FhirRequest, Interaction, Millis, Stored, Subject, SubjectKind,
};

/// A blood pressure reading of Patient/123, 2 KB as a FHIR server stores it.
pub(crate) const OBSERVATION: &str = include_str!("observation.json");

/// Ten clauses: the one that matches in the middle, behind a granular one that looks at the content
/// and does not.
pub(crate) const SCOPE: &str = "user/Patient.rs user/Encounter.rs user/Condition.rs user/AllergyIntolerance.r \
    user/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory \
    user/Observation.rs user/MedicationRequest.rs user/Procedure.rs user/DiagnosticReport.rs user/Immunization.rs";

/// The base all requests are for.
pub(crate) const BASE: &str = "https://fhir.example/r4";

/// The root of the checkout.
pub(crate) fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A clinician reads one observation.
pub(crate) fn decision() -> DecisionRequest {
    DecisionRequest {
        tenant: "default".into(),
        base: FhirBase { name: "default".into(), url: BASE.into(), version: "4.0.1".into() },
        request: FhirRequest::new(Interaction::Read, "Observation", Some("9")),
        subject: Subject {
            kind: SubjectKind::Provider,
            user: "Practitioner/17".into(),
            client: "growth-chart".into(),
            scope: SCOPE.into(),
            patient: None,
            encounter: None,
            expires: None,
        },
        stored: vec![Stored { key: "Observation/9".into(), content: Some(OBSERVATION.into()) }],
        relationships: Vec::new(),
        records: Vec::new(),
        obligations: ["search-narrowing", "response-filter", "if-match", "return-minimal"].map(str::to_owned).into(),
        pin: None,
        explain: false,
        now: Millis(1_795_514_400_000),
        simulate: false,
        break_glass: Vec::new(),
    }
}

/// The clinician treats the patient; both are known, and so is the app.
pub(crate) fn facts() -> Vec<Fact> {
    let value = r#"{"entries":[{"patient":"123","kind":"treatment","level":"full","status":"active","via":"ordinary","source":"directory","start_ms":1767225600000}],"truncated":false}"#;
    let fact = |key: &str, value: &str| Fact { key: key.into(), value: value.into() };
    vec![
        fact("client/growth-chart", r#"{"records":[{"kind":"provider","source":"directory","status":"active"}]}"#),
        fact("user/Practitioner/17", r#"{"records":[{"roles":["provider"],"source":"directory","status":"active"}]}"#),
        fact(
            "patient/123",
            r#"{"records":[{"birth_date":"1968-04-12","offset_until_ms":1805007600000,"patient":"123","source":"directory","utc_offset_s":-18000}]}"#,
        ),
        fact("relationships/Practitioner/17/123", value),
    ]
}

/// The middle one of the values; 0 of none.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// The smallest and the largest of the values.
pub(crate) fn span(values: &[f64]) -> (f64, f64) {
    values.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(*v), high.max(*v)))
}

/// One line of the report: the figure, what it should be, and whether it is.
pub(crate) fn verdict(name: &str, value: f64, target: &str, met: bool) {
    println!("{name:<58} {value:>6.2}   target {target:<12} {}", if met { "met" } else { "MISSED" });
}

//! Requests to the policy, asked natively.

use chartgate_policy::{Decision, Fact, Outcome, Request, Stored, Subject, SubjectKind, decide};

/// The FHIR base of every request.
pub const BASE: &str = "https://ehr.example/fhir";

/// All a caller can declare.
pub const OBLIGATIONS: [&str; 4] = ["search-narrowing", "response-filter", "if-match", "return-minimal"];

/// What is known of the patient `1`, an ordinary adult whose account and app are active.
const KNOWN: [(&str, &[u8]); 3] = [
    ("user/Patient/1", br#"{"records":[{"source":"directory","status":"active"}]}"#),
    ("client/app", br#"{"records":[{"source":"directory","status":"active"}]}"#),
    ("patient/1", br#"{"records":[{"source":"directory","patient":"1","birth_date":"1980-01-01"}]}"#),
];

/// A read of `Type/id` by the patient `1` in an app that was launched for that patient. Nothing is known
/// about anybody else, and the caller carries out no obligation.
pub fn read<'a>(key: &'a str, content: &'a [u8]) -> Request<'a> {
    let (resource_type, id) = key.split_once('/').unwrap_or((key, ""));
    let subject = Subject {
        kind: SubjectKind::Patient,
        user: "Patient/1",
        client: "app",
        scope: "",
        patient: Some("1"),
        encounter: None,
    };
    Request {
        fhir_version: "4.0.1",
        base: BASE,
        now_ms: 1_800_000_000_000,
        stored: vec![Stored { key, content: Some(content) }],
        facts: KNOWN.map(|(key, value)| Fact { key, value }).into(),
        facts_final: true,
        settings: b"{}",
        ..Request::read(subject, resource_type, Some(id))
    }
}

/// Decide twice, the second time with an explanation: equal requests give equal decisions, and
/// explaining one does not change it.
pub fn judge(request: &Request<'_>) -> Decision {
    let decision = decide(request);
    assert_eq!(decision, decide(request), "an equal request was decided otherwise");
    let explained = decide(&Request { explain: true, ..request.clone() });
    assert_eq!(decision.outcome, explained.outcome, "an explanation changed the decision");
    decision
}

/// Whether a request is permitted under a scope string.
pub fn permits(request: &Request<'_>, scope: &str) -> bool {
    let request = Request { subject: Subject { scope, ..request.subject }, ..request.clone() };
    matches!(judge(&request).outcome, Outcome::Permit { .. })
}

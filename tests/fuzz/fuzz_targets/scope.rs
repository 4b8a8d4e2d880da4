//! Scope strings of any kind, against requests that stay the same.
//!
//! No scope opens the record of another patient, and the user's own opens only by a scope that speaks of
//! it. The input is the scope string.
#![no_main]

use std::sync::LazyLock;

use chartgate_fuzz::access::{OBLIGATIONS, permits, read};
use chartgate_policy::{Interaction, Parameter, Request, Stored, Subject, SubjectKind};
use libfuzzer_sys::fuzz_target;

const OWN: &[u8] = br#"{"resourceType":"Observation","id":"9","meta":{"versionId":"3"},"status":"final",
    "category":[{"coding":[{"system":"http://c","code":"laboratory"}]}],"code":{"coding":[{"code":"a"}]},
    "subject":{"reference":"Patient/1"},"effectiveDateTime":"2026-03-01","valueQuantity":{"value":7,"code":"mg"}}"#;
const OTHERS: &[u8] = br#"{"resourceType":"Observation","id":"9","meta":{"versionId":"3"},"status":"final",
    "category":[{"coding":[{"system":"http://c","code":"laboratory"}]}],"code":{"coding":[{"code":"a"}]},
    "subject":{"reference":"Patient/2"},"effectiveDateTime":"2026-03-01","valueQuantity":{"value":7,"code":"mg"}}"#;

/// Reads of one resource: what a scope string grants is what its tokens grant.
fn reads(content: &'static [u8]) -> Vec<Request<'static>> {
    let read = read("Observation/9", content);
    let version = Request {
        interaction: Interaction::Vread,
        version: Some("3"),
        stored: vec![Stored { key: "Observation/9/_history/3", content: Some(content) }],
        ..read.clone()
    };
    let r5 = Request { fhir_version: "5.0.0", ..read.clone() };
    let roles = Request { settings: br#"{"role_membership":true}"#, ..read.clone() };
    let meta = Request { interaction: Interaction::Operation, operation: Some("meta"), ..read.clone() };
    vec![read, version, r5, roles, meta]
}

/// Writes, and a search that names the patient.
fn others(content: &'static [u8], patient: &'static str) -> Vec<Request<'static>> {
    let read = read("Observation/9", content);
    let write = Request { settings: br#"{"writes":true}"#, obligations: OBLIGATIONS.to_vec(), ..read.clone() };
    let update = Request { interaction: Interaction::Update, body: Some(content), ..write.clone() };
    let create = Request { interaction: Interaction::Create, id: None, ..update.clone() };
    let delete = Request { interaction: Interaction::Delete, ..write };
    let search = Request {
        interaction: Interaction::SearchType,
        id: None,
        parameters: vec![Parameter { name: "patient", value: patient }],
        ..read
    };
    vec![update, create, delete, search]
}

fn by(kind: SubjectKind, user: &'static str, patient: Option<&'static str>) -> Request<'static> {
    let read = read("Observation/9", OTHERS);
    Request { subject: Subject { kind, user, patient, ..read.subject }, ..read }
}

/// Never permitted: the content is that of patient 2, and nobody here may reach that patient.
static FOREIGN: LazyLock<Vec<Request<'static>>> = LazyLock::new(|| {
    let mut requests = reads(OTHERS);
    requests.extend(others(OTHERS, "2"));
    // Launched for somebody whom the user may not reach, or for nobody.
    requests.push(by(SubjectKind::Patient, "Patient/1", Some("2")));
    requests.push(by(SubjectKind::Patient, "Patient/1", None));
    requests.push(by(SubjectKind::Proxy, "RelatedPerson/1", Some("2")));
    requests.push(by(SubjectKind::Provider, "Practitioner/1", Some("2")));
    requests.push(by(SubjectKind::Provider, "Practitioner/1", None));
    requests.push(read("Patient/2", br#"{"resourceType":"Patient","id":"2"}"#));
    requests
});

static OWN_READS: LazyLock<Vec<Request<'static>>> = LazyLock::new(|| reads(OWN));
static OWN_OTHERS: LazyLock<Vec<Request<'static>>> = LazyLock::new(|| others(OWN, "1"));

/// A client without a user, which acts by `system/` scopes alone.
static SYSTEM: LazyLock<Request<'static>> =
    LazyLock::new(|| Request { settings: br#"{"system_clients":true}"#, ..by(SubjectKind::System, "", None) });

fuzz_target!(|scope: &str| {
    let has =
        |contexts: &[&str]| scope.split(' ').any(|token| contexts.iter().any(|context| token.starts_with(context)));
    for request in FOREIGN.iter() {
        assert!(!permits(request, scope), "`{scope}` opens another patient's record: {request:?}");
    }
    for request in OWN_READS.iter().chain(OWN_OTHERS.iter()) {
        let granted = permits(request, scope);
        assert!(!granted || has(&["patient/", "user/"]), "`{scope}` opens the own record: {request:?}");
    }
    let tokens: Vec<&str> = scope.split(' ').collect();
    for request in OWN_READS.iter().filter(|_| tokens.len() <= 8) {
        let one = tokens.iter().any(|token| permits(request, token));
        assert_eq!(permits(request, scope), one, "`{scope}` is not what its tokens are");
    }
    assert!(!permits(&SYSTEM, scope) || has(&["system/"]), "`{scope}` serves a client without a user");
});

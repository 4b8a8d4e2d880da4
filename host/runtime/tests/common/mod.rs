//! The fixture component, a runtime and inputs, shared by the tests of this crate.
#![allow(dead_code, reason = "each test binary uses its own part of it")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "test support: a failure here is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use chartgate_model::{
    DecisionRequest, Fact, FhirBase, FhirRequest, Interaction, Millis, PolicyInput, Stored, Subject, SubjectKind,
};
use chartgate_runtime::admission::admit;
use chartgate_runtime::release::componentize;
use chartgate_runtime::{CallError, Called, LoadedPolicy, PolicyLimits, Runtime, RuntimeLimits};

/// The fixture policy as a component; its core module is built once, and again when its sources
/// are newer.
pub(crate) fn fixture_component() -> &'static [u8] {
    static COMPONENT: OnceLock<Vec<u8>> = OnceLock::new();
    COMPONENT.get_or_init(|| componentize(&fixture_module()).unwrap())
}

/// The fixture's core module.
pub(crate) fn fixture_module() -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let module = root.join("target/guest/fixture.wasm");
    fs::create_dir_all(root.join("target/guest")).unwrap();
    // Several test binaries may come here at once: one builds, the others find it built.
    let lock = fs::File::create(root.join("target/guest/fixture.lock")).unwrap();
    lock.lock().unwrap();
    let sources = ["tests/guest", "policy/src/component", "wit", "policy/build"].map(|part| newest(&root.join(part)));
    let built = fs::metadata(&module).and_then(|data| data.modified()).ok();
    if built.is_none_or(|built| sources.into_iter().any(|source| source > built)) {
        let status = Command::new(root.join("policy/build"))
            .arg("--manifest-path")
            .arg(root.join("tests/guest/Cargo.toml"))
            .arg(&module)
            // Cargo's own variables for this test must not reach the guest's build.
            .env_remove("CARGO_TARGET_DIR")
            .env_remove("RUSTFLAGS")
            .status()
            .unwrap();
        assert!(status.success(), "policy/build failed");
    }
    fs::read(&module).unwrap()
}

fn newest(path: &Path) -> SystemTime {
    let own = fs::metadata(path).unwrap();
    // A folder's own time changes with the lock file a build writes; its files' times count.
    if !own.is_dir() {
        return own.modified().unwrap();
    }
    let within = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    within.filter(|path| !path.ends_with("target")).map(|path| newest(&path)).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// Two lanes, whatever the machine has, so that lanes are always tested.
pub(crate) fn limits() -> RuntimeLimits {
    // The deadline is far away: under a loaded machine only the tests of it may meet it.
    RuntimeLimits { lanes: 2, deadline_ms: 20_000, ..RuntimeLimits::default() }
}

/// What the host allows, for a release that asks for all of it.
pub(crate) fn all_of(limits: &RuntimeLimits) -> PolicyLimits {
    PolicyLimits { fuel: limits.fuel, memory_bytes: limits.memory_bytes }
}

/// The fixture under these limits.
pub(crate) fn fixture(limits: RuntimeLimits) -> LoadedPolicy {
    let asked = all_of(&limits);
    admit(&Runtime::new(limits).unwrap(), fixture_component(), asked).unwrap()
}

/// The fixture under the usual limits, loaded once.
pub(crate) fn shared_fixture() -> &'static LoadedPolicy {
    static POLICY: OnceLock<LoadedPolicy> = OnceLock::new();
    POLICY.get_or_init(|| fixture(limits()))
}

/// A runtime under the usual limits, made once.
pub(crate) fn shared_runtime() -> &'static Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    RUNTIME.get_or_init(|| Runtime::new(limits()).unwrap())
}

/// A request for one observation by a clinician.
pub(crate) fn request() -> DecisionRequest {
    DecisionRequest {
        tenant: "default".into(),
        base: FhirBase { name: "default".into(), url: "https://fhir.example/r4".into(), version: "4.0.1".into() },
        request: FhirRequest::new(Interaction::Read, "Observation", Some("9")),
        subject: Subject {
            kind: SubjectKind::Provider,
            user: "Practitioner/17".into(),
            client: "growth-chart".into(),
            scope: "user/Observation.rs".into(),
            patient: None,
            encounter: None,
            expires: None,
        },
        stored: Vec::new(),
        relationships: Vec::new(),
        records: Vec::new(),
        obligations: vec!["response-filter".into()],
        pin: None,
        explain: false,
        now: Millis::parse("2026-11-24T10:00:00Z").unwrap(),
        simulate: false,
        break_glass: Vec::new(),
    }
}

/// A stored resource of about so many bytes.
pub(crate) fn stored(bytes: usize) -> Vec<Stored> {
    let note = "x".repeat(bytes);
    let content = format!(r#"{{"resourceType":"Observation","id":"9","note":[{{"text":"{note}"}}]}}"#);
    vec![Stored { key: "Observation/9".into(), content: Some(content.into_bytes()) }]
}

/// One call of a policy that does what `behave` says.
pub(crate) fn call(policy: &LoadedPolicy, behave: &str) -> Result<Called, CallError> {
    call_with(policy, behave, &stored(2_048), false)
}

/// The same with resources of the test's own choosing.
pub(crate) fn call_with(
    policy: &LoadedPolicy,
    behave: &str,
    stored: &[Stored],
    facts_final: bool,
) -> Result<Called, CallError> {
    let decision = request();
    let settings = format!(r#"{{"behave":"{behave}"}}"#);
    let facts = [Fact {
        key: "relationships/Practitioner/17/123".into(),
        value: br#"{"entries":[],"truncated":false}"#.to_vec(),
    }];
    let input = PolicyInput { decision: &decision, stored, facts: &facts, facts_final, settings: settings.as_bytes() };
    policy.decide(&input)
}

/// The reason of a deny; anything else fails the test.
pub(crate) fn denied(called: Result<Called, CallError>) -> String {
    match called.unwrap().decision.outcome {
        chartgate_model::Outcome::Deny { reason, .. } => reason,
        other => panic!("not a deny: {other:?}"),
    }
}

/// A component's text as bytes.
pub(crate) fn wat(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap()
}

/// A path of this crate's repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

//! Facts about the records.

use chartgate_model::{
    Basis, DecisionRequest, Fact, FhirBase, FhirRequest, Interaction, Method, Millis, Obligation, Parameter,
    PolicyInput, ReturnPreference, Stored, Subject, SubjectKind,
};
use serde_json::{Value, json};

use super::{
    CHANGE_SCHEMA, ChangeRecord, DECISION_SCHEMA, DecisionRecord, InputRecord, OutcomeRecord, RawText, ReleaseRecord,
};
use crate::audit::canonical::Canonical;

fn request() -> DecisionRequest {
    DecisionRequest {
        tenant: "default".into(),
        base: FhirBase { name: "default".into(), url: "https://ehr.example/fhir".into(), version: "4.0.1".into() },
        request: FhirRequest {
            method: Method::Get,
            interaction: Interaction::SearchType,
            resource_type: "Observation".into(),
            id: Some("9".into()),
            version: Some("2".into()),
            operation: Some("lastn".into()),
            compartment: Some(("Patient".into(), "123".into())),
            parameters: ["b", "a", "b"].map(|name| Parameter { name: name.into(), value: "1".into() }).to_vec(),
            conditional: true,
            resolved: true,
            revalidates: false,
            reads_stored: false,
            prefer_return: ReturnPreference::Minimal,
            body: Some(br#"{"value": 1.10, "text": "a\nb"}"#.to_vec()),
            by_form: false,
        },
        subject: Subject {
            kind: SubjectKind::Provider,
            user: "Practitioner/17".into(),
            client: "growth-chart".into(),
            scope: "user/*.rs".into(),
            patient: Some("123".into()),
            encounter: Some("7".into()),
            expires: Some(Millis(9)),
        },
        stored: Vec::new(),
        relationships: Vec::new(),
        records: Vec::new(),
        obligations: vec!["response-filter".into()],
        pin: None,
        explain: true,
        now: Millis(1_000),
        simulate: false,
        break_glass: Vec::new(),
    }
}

/// Hand `check` a record with every member filled in.
fn with_record(change: impl FnOnce(&mut DecisionRequest), check: impl FnOnce(&DecisionRecord<'_>)) {
    let mut decision = request();
    change(&mut decision);
    let stored = [
        Stored { key: "Observation/9".into(), content: Some(b"{}".to_vec()) },
        Stored { key: "Observation/8".into(), content: None },
    ];
    let facts = [Fact { key: "relationships/Practitioner/17".into(), value: b"{}".to_vec() }];
    let input = PolicyInput { decision: &decision, stored: &stored, facts: &facts, facts_final: true, settings: b"{}" };
    let obligations = [Obligation { id: "if-match".into(), parameters: br#"{"version":"3"}"#.to_vec() }];
    let (dropped, sources) = (["X-Break-Glass".to_owned()], ["directory@8".to_owned()]);
    check(&DecisionRecord {
        break_glass: &dropped,
        caller: "gateway",
        deterministic: true,
        engine_version: "48.0.8",
        face: "decide",
        fact_sources: &sources,
        fuel_used: 7,
        host_version: "0.1.0",
        id: "01JD0000000000000000000000",
        input: Some(InputRecord::new(&input)),
        outcome: OutcomeRecord::permit(
            "relationship-treatment",
            "a treatment relationship",
            &obligations,
            Some(Millis(5)),
        ),
        release: Some(ReleaseRecord {
            component: "sha256:b",
            digest: "sha256:a",
            fuel_limit: 10,
            memory_limit_bytes: 65_536,
            name: "n",
            version: "1.0.0",
        }),
        rounds: 2,
        schema: DECISION_SCHEMA,
        simulate: false,
        tenant: "default",
        time_ms: 1_000,
        token_expires_ms: Some(9),
    });
}

fn sorted_again(line: &[u8]) -> Vec<u8> {
    serde_json::to_vec(&Canonical(&serde_json::from_slice::<Value>(line).unwrap())).unwrap()
}

#[test]
fn a_decision_record_is_canonical() {
    with_record(
        |_| (),
        |record| {
            let line = record.to_line().unwrap();
            assert_eq!(String::from_utf8(sorted_again(&line)).unwrap(), String::from_utf8(line.clone()).unwrap());
            assert!(!line.contains(&b'\n'));
        },
    );
}

#[test]
fn a_decision_record_holds_the_exact_input() {
    with_record(
        |_| (),
        |record| {
            let value: Value = serde_json::from_slice(&record.to_line().unwrap()).unwrap();
            let expected = json!({
                "base": "https://ehr.example/fhir", "fhir_version": "4.0.1", "interaction": "search-type",
                "resource_type": "Observation", "id": "9", "version": "2", "operation": "lastn",
                "compartment": {"resource_type": "Patient", "id": "123"},
                "parameters": [["b", "1"], ["a", "1"], ["b", "1"]], "conditional": true,
                "resolved": true, "reads_stored": false, "prefer_return": "minimal", "body": "{\"value\": 1.10, \"text\": \"a\\nb\"}",
                "stored": [{"key": "Observation/9", "content": "{}"}, {"key": "Observation/8", "content": null}],
                "facts": [{"key": "relationships/Practitioner/17", "value": "{}"}], "facts_final": true,
                "obligations": ["response-filter"], "now_ms": 1000, "explain": true,
                "subject": {"kind": "provider", "user": "Practitioner/17", "client": "growth-chart",
                            "scope": "user/*.rs", "patient": "123", "encounter": "7"},
            });
            assert_eq!(value["input"], expected);
            assert_eq!(value["outcome"]["obligations"][0]["parameters"], "{\"version\":\"3\"}");
            assert_eq!(value["outcome"]["decision"], "permit");
            assert_eq!(value["schema"], "chartgate-decision/1");
        },
    );
}

#[test]
fn a_body_that_is_not_utf_8_is_recorded_without_loss() {
    with_record(
        |decision| decision.request.body = Some(vec![0xff, b'a']),
        |record| {
            let line = record.to_line().unwrap();
            let value: Value = serde_json::from_slice(&line).unwrap();
            assert_eq!(value["input"]["body"], json!({"base64": "/2E="}));
            assert_eq!(sorted_again(&line), line);
        },
    );
}

#[test]
fn what_is_absent_is_null_and_not_left_out() {
    let empty = |decision: &mut DecisionRequest| {
        let request = &mut decision.request;
        (request.id, request.version, request.operation, request.compartment) = (None, None, None, None);
        request.body = None;
    };
    with_record(empty, |record| {
        let value: Value = serde_json::from_slice(&record.to_line().unwrap()).unwrap();
        for member in ["id", "version", "operation", "compartment", "body"] {
            assert_eq!(value["input"].get(member), Some(&Value::Null), "{member}");
        }
    });
}

#[test]
fn only_a_permit_is_recorded_as_a_permit() {
    let record = OutcomeRecord::deny("no-scope", Basis::Request, "");
    assert_eq!((record.decision, record.basis, record.reason), ("deny", Some("request"), "no-scope"));
    let record = OutcomeRecord::indeterminate("policy-trapped", "");
    assert_eq!((record.decision, record.basis), ("indeterminate", None));
    assert_eq!(OutcomeRecord::deny("x", Basis::Content, "").basis, Some("content"));
}

#[test]
fn a_change_record_is_canonical() {
    let (before, after) = (json!({"b": {"z": 1, "a": 2}, "a": 1}), json!([{"y": 1, "x": 2}]));
    for (before, after) in [(Some(&before), Some(&after)), (None, None)] {
        let line = ChangeRecord {
            action: "relationship-put",
            actor: "cli",
            after,
            before,
            host_version: "0.1.0",
            id: "01JD0000000000000000000000",
            revision: 3,
            schema: CHANGE_SCHEMA,
            subject: "relationships/Practitioner/17/123/treatment",
            tenant: Some("default"),
            time_ms: 1,
        }
        .to_line()
        .unwrap();
        assert_eq!(sorted_again(&line), line);
    }
}

#[test]
fn raw_text_is_a_string_or_base64() {
    for (bytes, text) in [(b"{\"a\": 1}".as_slice(), r#""{\"a\": 1}""#), (b"\xff", r#"{"base64":"/w=="}"#)] {
        assert_eq!(serde_json::to_string(&RawText(bytes)).unwrap(), text);
    }
}

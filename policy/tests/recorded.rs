//! The calls of the vectors, replayed with nothing but this crate. `tests/mutants` records and runs them;
//! the vectors themselves are run by the tests crate.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failure here is a failed test")]

use chartgate_policy::{
    Decision, Fact, Interaction, Outcome, Parameter, Request, Stored, Subject, SubjectKind, TraceOutcome, decide,
};
use serde_json::{Value, json};

#[test]
#[ignore = "needs the file that tests/mutants records, named by CHARTGATE_RECORDED"]
fn every_recorded_call_is_answered_as_recorded() {
    let file = std::env::var("CHARTGATE_RECORDED").unwrap();
    let mut wrong = Vec::new();
    for line in std::fs::read_to_string(file).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        if answered(&call(&line["request"])) != line["decision"] {
            wrong.push(line["id"].to_string());
        }
    }
    assert!(wrong.is_empty(), "{} wrong: {}", wrong.len(), wrong.join(", "));
}

fn call(asked: &Value) -> Decision {
    let list = |name: &str| asked[name].as_array().unwrap();
    let text = |name: &str| asked[name].as_str().unwrap();
    decide(&Request {
        fhir_version: text("fhir_version"),
        base: text("base"),
        now_ms: asked["now_ms"].as_u64().unwrap(),
        subject: Subject {
            kind: kind(text("kind")),
            user: text("user"),
            client: text("client"),
            scope: text("scope"),
            patient: asked["patient"].as_str(),
            encounter: asked["encounter"].as_str(),
        },
        interaction: interaction(text("interaction")),
        resource_type: text("resource_type"),
        id: asked["id"].as_str(),
        version: asked["version"].as_str(),
        operation: asked["operation"].as_str(),
        compartment: asked["compartment"].as_array().map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap())),
        parameters: list("parameters")
            .iter()
            .map(|pair| Parameter { name: pair[0].as_str().unwrap(), value: pair[1].as_str().unwrap() })
            .collect(),
        conditional: asked["conditional"].as_bool().unwrap(),
        resolved: asked["resolved"].as_bool().unwrap(),
        reads_stored: asked["reads_stored"].as_bool().unwrap(),
        returns_representation: matches!(text("prefer_return"), "representation" | "unspecified"),
        body: asked["body"].as_str().map(str::as_bytes),
        stored: list("stored")
            .iter()
            .map(|pair| Stored { key: pair[0].as_str().unwrap(), content: pair[1].as_str().map(str::as_bytes) })
            .collect(),
        facts: list("facts")
            .iter()
            .map(|pair| Fact { key: pair[0].as_str().unwrap(), value: pair[1].as_str().unwrap().as_bytes() })
            .collect(),
        facts_final: asked["facts_final"].as_bool().unwrap(),
        obligations: list("obligations").iter().map(|id| id.as_str().unwrap()).collect(),
        settings: text("settings").as_bytes(),
        explain: true,
    })
}

fn kind(code: &str) -> SubjectKind {
    match code {
        "patient" => SubjectKind::Patient,
        "proxy" => SubjectKind::Proxy,
        "provider" => SubjectKind::Provider,
        "system" => SubjectKind::System,
        other => panic!("{other}"),
    }
}

fn interaction(code: &str) -> Interaction {
    match code {
        "read" => Interaction::Read,
        "vread" => Interaction::Vread,
        "history-instance" => Interaction::HistoryInstance,
        "history-type" => Interaction::HistoryType,
        "history-system" => Interaction::HistorySystem,
        "search-type" => Interaction::SearchType,
        "search-system" => Interaction::SearchSystem,
        "create" => Interaction::Create,
        "update" => Interaction::Update,
        "patch" => Interaction::Patch,
        "delete" => Interaction::Delete,
        "operation" => Interaction::Operation,
        "batch" => Interaction::Batch,
        "transaction" => Interaction::Transaction,
        "capabilities" => Interaction::Capabilities,
        other => panic!("{other}"),
    }
}

fn answered(decision: &Decision) -> Value {
    let outcome = match &decision.outcome {
        Outcome::Permit { reason, obligations, expires_at_ms } => {
            let obligations: Vec<_> = obligations.iter().map(|o| json!([o.id, o.parameters])).collect();
            json!({ "permit": reason.code(), "obligations": obligations, "expires_at_ms": expires_at_ms })
        }
        Outcome::Deny { reason } => json!({ "deny": reason.code() }),
        Outcome::Needs(keys) => json!({ "needs": keys }),
    };
    let word = |outcome| match outcome {
        TraceOutcome::Pass => "pass",
        TraceOutcome::Fail => "fail",
        TraceOutcome::Need => "need",
    };
    let trace: Vec<_> = decision.trace.iter().map(|step| json!([step.rule, word(step.outcome), step.detail])).collect();
    json!({ "outcome": outcome, "trace": trace })
}

//! Writes every policy call of the vectors with its answer as JSON lines, for the policy's own tests:
//! `cargo run -p chartgate-tests --bin record-vectors -- FILE`.
//!
//! Replaying them needs nothing but the policy crate, so that a thousand mutants of it can be tried in
//! the time one host is built in (`tests/mutants`).

use std::io::Write as _;

use anyhow::Context as _;
use chartgate_model::{Decision, DecisionRequest, Outcome, PolicyInput};
use chartgate_tests::vectors::{load, natively};
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    let file = std::env::args().nth(1).context("usage: record-vectors FILE")?;
    let mut out = std::io::BufWriter::new(std::fs::File::create(&file).with_context(|| format!("writing `{file}`"))?);
    let mut lines = Vec::new();
    for (_, vector) in load(&chartgate_tests::workspace_root().join("tests/vectors")) {
        let Ok(mut request) = vector.request() else { continue };
        request.explain = true;
        vector.run(&request, |input| {
            let decision = natively(input);
            lines.push(json!({ "id": vector.id, "request": asked(input), "decision": answered(&decision) }));
            decision
        });
    }
    for line in &lines {
        writeln!(out, "{line}")?;
    }
    println!("{} calls in {file}", lines.len());
    Ok(())
}

fn text(bytes: &[u8]) -> Value {
    json!(String::from_utf8_lossy(bytes))
}

fn asked(input: &PolicyInput<'_>) -> Value {
    let DecisionRequest { base, request, subject, now, obligations, .. } = input.decision;
    let parameters: Vec<_> = request.parameters.iter().map(|p| [&p.name, &p.value]).collect();
    let stored: Vec<_> = input.stored.iter().map(|s| json!([s.key, s.content.as_deref().map(text)])).collect();
    let facts: Vec<_> = input.facts.iter().map(|f| json!([f.key, text(&f.value)])).collect();
    json!({
        "fhir_version": base.version, "base": base.url, "now_ms": now.0, "kind": subject.kind.code(), "user": subject.user,
        "client": subject.client, "scope": subject.scope, "patient": subject.patient, "encounter": subject.encounter,
        "interaction": request.interaction.code(), "resource_type": request.resource_type, "id": request.id,
        "version": request.version, "operation": request.operation, "compartment": request.compartment,
        "parameters": parameters, "conditional": request.conditional,
        "resolved": request.resolved, "reads_stored": request.reads_stored, "prefer_return": request.prefer_return.code(),
        "body": request.body.as_deref().map(text), "stored": stored, "facts": facts, "facts_final": input.facts_final,
        "obligations": obligations, "settings": text(input.settings),
    })
}

fn answered(decision: &Decision) -> Value {
    let outcome = match &decision.outcome {
        Outcome::Permit { reason, obligations, expires } => {
            let obligations: Vec<_> = obligations.iter().map(|o| json!([o.id, text(&o.parameters)])).collect();
            json!({ "permit": reason, "obligations": obligations, "expires_at_ms": expires.map(|end| end.0) })
        }
        Outcome::Deny { reason, .. } => json!({ "deny": reason }),
        Outcome::Needs(keys) => json!({ "needs": keys }),
    };
    let trace: Vec<_> =
        decision.trace.iter().map(|step| json!([step.rule, step.outcome.code(), step.detail])).collect();
    json!({ "outcome": outcome, "trace": trace })
}

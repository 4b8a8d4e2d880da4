//! The rules called as a library: the same words without the crossing into WebAssembly.

use chartgate_model as model;
use chartgate_policy as policy;

/// Judge one input natively.
pub fn decide(input: &model::PolicyInput<'_>) -> model::Decision {
    let model::DecisionRequest { base, request, subject, now, obligations, explain, .. } = input.decision;
    let own = policy::Request {
        fhir_version: &base.version,
        base: &base.url,
        now_ms: now.0,
        subject: policy::Subject {
            kind: kind(subject.kind),
            user: &subject.user,
            client: &subject.client,
            scope: &subject.scope,
            patient: subject.patient.as_deref(),
            encounter: subject.encounter.as_deref(),
        },
        interaction: interaction(request.interaction),
        resource_type: &request.resource_type,
        id: request.id.as_deref(),
        version: request.version.as_deref(),
        operation: request.operation.as_deref(),
        compartment: request.compartment.as_ref().map(|(name, id)| (name.as_str(), id.as_str())),
        parameters: request
            .parameters
            .iter()
            .map(|parameter| policy::Parameter { name: &parameter.name, value: &parameter.value })
            .collect(),
        conditional: request.conditional,
        resolved: request.resolved,
        reads_stored: request.reads_stored,
        returns_representation: matches!(
            request.prefer_return,
            model::ReturnPreference::Representation | model::ReturnPreference::Unspecified
        ),
        body: request.body.as_deref(),
        stored: input
            .stored
            .iter()
            .map(|stored| policy::Stored { key: &stored.key, content: stored.content.as_deref() })
            .collect(),
        facts: input.facts.iter().map(|fact| policy::Fact { key: &fact.key, value: &fact.value }).collect(),
        facts_final: input.facts_final,
        obligations: obligations.iter().map(String::as_str).collect(),
        settings: input.settings,
        explain: *explain,
    };
    answer(policy::decide(&own))
}

pub(crate) fn kind(kind: model::SubjectKind) -> policy::SubjectKind {
    match kind {
        model::SubjectKind::Patient => policy::SubjectKind::Patient,
        model::SubjectKind::Proxy => policy::SubjectKind::Proxy,
        model::SubjectKind::Provider => policy::SubjectKind::Provider,
        model::SubjectKind::System => policy::SubjectKind::System,
    }
}

fn interaction(interaction: model::Interaction) -> policy::Interaction {
    use model::Interaction as From;
    use policy::Interaction as To;
    match interaction {
        From::Read => To::Read,
        From::Vread => To::Vread,
        From::HistoryInstance => To::HistoryInstance,
        From::HistoryType => To::HistoryType,
        From::HistorySystem => To::HistorySystem,
        From::SearchType => To::SearchType,
        From::SearchSystem => To::SearchSystem,
        From::Create => To::Create,
        From::Update => To::Update,
        From::Patch => To::Patch,
        From::Delete => To::Delete,
        From::Operation => To::Operation,
        From::Batch => To::Batch,
        From::Transaction => To::Transaction,
        From::Capabilities => To::Capabilities,
    }
}

fn answer(decision: policy::Decision) -> model::Decision {
    let (outcome, text) = match decision.outcome {
        policy::Outcome::Permit { reason, obligations, expires_at_ms } => {
            let obligation = |given: policy::Obligation| model::Obligation {
                id: given.id.to_owned(),
                parameters: given.parameters.into_bytes(),
            };
            let outcome = model::Outcome::Permit {
                reason: reason.code().to_owned(),
                obligations: obligations.into_iter().map(obligation).collect(),
                expires: expires_at_ms.map(model::Millis),
            };
            (outcome, reason.text())
        }
        policy::Outcome::Deny { reason } => {
            let basis = match reason.basis() {
                Some(policy::Basis::Content) => model::Basis::Content,
                Some(policy::Basis::Request) | None => model::Basis::Request,
            };
            (model::Outcome::Deny { reason: reason.code().to_owned(), basis }, reason.text())
        }
        policy::Outcome::Needs(keys) => (model::Outcome::Needs(keys), "more facts are needed"),
    };
    model::Decision { outcome, text: text.to_owned(), trace: decision.trace.into_iter().map(step).collect() }
}

pub(crate) fn step(step: policy::TraceStep) -> model::TraceStep {
    model::TraceStep {
        rule: step.rule.to_owned(),
        outcome: match step.outcome {
            policy::TraceOutcome::Pass => model::TraceOutcome::Pass,
            policy::TraceOutcome::Fail => model::TraceOutcome::Fail,
            policy::TraceOutcome::Need => model::TraceOutcome::Need,
        },
        detail: step.detail,
    }
}

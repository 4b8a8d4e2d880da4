//! The component: bindings, exports and the allocator. The only file that sees generated code.
#![allow(unsafe_code, missing_docs, unreachable_pub, reason = "generated bindings and the global allocator")]
#![allow(clippy::allow_attributes_without_reason, clippy::missing_safety_doc, reason = "generated code")]

use alloc::string::ToString as _;
use alloc::vec::Vec;

mod bump;

#[global_allocator]
static ALLOCATOR: bump::Bump = bump::Bump::new();

wit_bindgen::generate!({ path: "../wit", world: "granting-policy" });

/// The policy's own words.
mod own {
    pub(super) use crate::grant::*;
    pub(super) use crate::types::*;
}

use exports::chartgate::policy::{access, describe, grant};

struct Policy;

export!(Policy);

/// Who asks, the patient a token is for, and those the request speaks of.
const PEOPLE: &[&str] = &[
    "client/{client}",
    "user/{user}",
    "patient/{launch-patient}",
    "patient/{named-patient}",
    "relationships/{user}/{launch-patient}",
    "relationships/{user}/{named-patient}",
];

/// What each interaction usually turns on.
const TEMPLATES: &[(&str, &[&str])] = &[
    ("read", PEOPLE),
    ("vread", PEOPLE),
    ("history-instance", PEOPLE),
    ("history-type", PEOPLE),
    ("history-system", PEOPLE),
    ("search-type", PEOPLE),
    ("search-system", PEOPLE),
    ("create", PEOPLE),
    ("update", PEOPLE),
    ("patch", PEOPLE),
    ("delete", PEOPLE),
    ("operation", PEOPLE),
    ("grant", GRANT),
];

/// What a grant turns on.
const GRANT: &[&str] =
    &["client/{client}", "user/{user}", "patient/{launch-patient}", "relationships/{user}/{launch-patient}"];

/// What an answer says that is none yet.
const NEEDS_TEXT: &str = "more facts are needed";

impl describe::Guest for Policy {
    fn describe() -> describe::Description {
        let template = |(interaction, keys): &(&str, &[&str])| describe::FactTemplate {
            interaction: interaction.to_string(),
            keys: keys.iter().map(ToString::to_string).collect(),
        };
        describe::Description {
            name: "smart-access".to_string(),
            version: env!("CARGO_PKG_VERSION").to_string(),
            fhir_versions: crate::tables::VERSIONS.iter().map(|version| version.number.to_string()).collect(),
            settings_schema: crate::SETTINGS_SCHEMA.as_bytes().to_vec(),
            fact_templates: TEMPLATES.iter().map(template).collect(),
        }
    }
}

impl access::Guest for Policy {
    fn decide(request: access::Request) -> access::Decision {
        answer(crate::decide(&borrow(&request)))
    }

    fn filter(request: access::Request, items: Vec<access::Item>) -> access::FilterOutcome {
        let items: Vec<own::Item<'_>> =
            items.iter().map(|item| own::Item { mode: mode(item.mode), content: &item.content }).collect();
        filtered(crate::filter(&borrow(&request), &items))
    }
}

impl grant::Guest for Policy {
    fn decide(request: grant::Request) -> grant::Decision {
        let decision = crate::grant(&own::GrantRequest {
            fhir_version: &request.fhir_version,
            base: &request.base,
            now_ms: request.now_ms,
            kind: kind(request.kind),
            user: &request.user,
            client: &request.client,
            scope: &request.scope,
            patient: request.patient.as_deref(),
            facts: request.facts.iter().map(|f| own::Fact { key: &f.key, value: &f.value }).collect(),
            facts_final: request.facts_final,
            settings: &request.settings,
            explain: request.explain,
        });
        granted(decision)
    }
}

fn granted(decision: own::GrantDecision) -> grant::Decision {
    let reason = decision.outcome.reason();
    let text = reason.map_or(NEEDS_TEXT, crate::Reason::text).to_string();
    let code = || reason.map_or_else(Default::default, |reason| reason.code().to_string());
    let outcome = match decision.outcome {
        own::GrantOutcome::Grant { scope, patient, expires_at_ms } => {
            grant::Outcome::Grant(grant::Granted { reason: code(), scope, patient, expires_at_ms })
        }
        own::GrantOutcome::Choose { patients, more } => grant::Outcome::Choose(grant::Choice { patients, more }),
        own::GrantOutcome::Deny { .. } => grant::Outcome::Deny(code()),
        own::GrantOutcome::Needs(keys) => grant::Outcome::Needs(keys),
    };
    grant::Decision { outcome, text, trace: steps(decision.trace) }
}

fn kind(from: access::SubjectKind) -> own::SubjectKind {
    match from {
        access::SubjectKind::Patient => own::SubjectKind::Patient,
        access::SubjectKind::Proxy => own::SubjectKind::Proxy,
        access::SubjectKind::Provider => own::SubjectKind::Provider,
        access::SubjectKind::System => own::SubjectKind::System,
    }
}

fn borrow(request: &access::Request) -> own::Request<'_> {
    let subject = &request.subject;
    own::Request {
        fhir_version: &request.fhir_version,
        base: &request.base,
        now_ms: request.now_ms,
        subject: own::Subject {
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
        compartment: request.compartment.as_ref().map(|c| (c.resource_type.as_str(), c.id.as_str())),
        parameters: request.parameters.iter().map(|p| own::Parameter { name: &p.name, value: &p.value }).collect(),
        conditional: request.conditional,
        resolved: request.resolved,
        reads_stored: request.reads_stored,
        returns_representation: matches!(
            request.prefer_return,
            access::ReturnPreference::Representation | access::ReturnPreference::Unspecified
        ),
        body: request.body.as_deref(),
        stored: request.stored.iter().map(|s| own::Stored { key: &s.key, content: s.content.as_deref() }).collect(),
        facts: request.facts.iter().map(|f| own::Fact { key: &f.key, value: &f.value }).collect(),
        facts_final: request.facts_final,
        obligations: request.obligations.iter().map(|o| o.as_str()).collect(),
        settings: &request.settings,
        explain: request.explain,
    }
}

fn interaction(from: access::Interaction) -> own::Interaction {
    use access::Interaction as From;
    use own::Interaction as To;
    match from {
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

fn mode(from: access::ItemMode) -> own::ItemMode {
    match from {
        access::ItemMode::Match => own::ItemMode::Match,
        access::ItemMode::Include => own::ItemMode::Include,
        access::ItemMode::History => own::ItemMode::History,
    }
}

fn filtered(outcome: own::FilterOutcome) -> access::FilterOutcome {
    match outcome {
        own::FilterOutcome::Verdicts(verdicts) => {
            let codes = verdicts.into_iter().map(|hidden| hidden.map(|reason| reason.code().to_string()));
            access::FilterOutcome::Verdicts(codes.collect())
        }
        own::FilterOutcome::Deny(reason) => {
            access::FilterOutcome::Deny(access::Denial { reason: reason.code().to_string(), basis: basis(reason) })
        }
        own::FilterOutcome::Needs(keys) => access::FilterOutcome::Needs(keys),
    }
}

fn basis(reason: crate::Reason) -> access::DenialBasis {
    match reason.basis() {
        Some(crate::Basis::Content) => access::DenialBasis::Content,
        Some(crate::Basis::Request) | None => access::DenialBasis::Request,
    }
}

fn answer(decision: own::Decision) -> access::Decision {
    let (outcome, text) = match decision.outcome {
        own::Outcome::Permit { reason, obligations, expires_at_ms } => {
            let obligations = obligations.into_iter().map(|obligation| access::Obligation {
                id: obligation.id.to_string(),
                parameters: obligation.parameters.into_bytes(),
            });
            let permit =
                access::Permit { reason: reason.code().to_string(), obligations: obligations.collect(), expires_at_ms };
            (access::Outcome::Permit(permit), reason.text())
        }
        own::Outcome::Deny { reason } => {
            let denial = access::Denial { reason: reason.code().to_string(), basis: basis(reason) };
            (access::Outcome::Deny(denial), reason.text())
        }
        own::Outcome::Needs(keys) => (access::Outcome::Needs(keys), NEEDS_TEXT),
    };
    access::Decision { outcome, text: text.to_string(), trace: steps(decision.trace) }
}

fn steps(trace: Vec<own::TraceStep>) -> Vec<access::TraceStep> {
    trace
        .into_iter()
        .map(|step| access::TraceStep {
            rule: step.rule.to_string(),
            outcome: match step.outcome {
                own::TraceOutcome::Pass => access::TraceOutcome::Pass,
                own::TraceOutcome::Fail => access::TraceOutcome::Fail,
                own::TraceOutcome::Need => access::TraceOutcome::Need,
            },
            detail: step.detail,
        })
        .collect()
}

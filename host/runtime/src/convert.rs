//! Between the model's types and the contract's.
//!
//! Inwards nothing is copied but a few words per parameter, resource and fact; content stays where
//! it is. Outwards nothing is believed: a policy is signed, but its answer becomes part of records
//! and of HTTP answers, so each text has a shape and a length.

pub(crate) mod grant;

use std::collections::BTreeSet;

use chartgate_model as model;
use chartgate_model::PolicyInput;

use crate::bindings::exports::chartgate::policy::access as wit;
use crate::json;

/// Bytes of a reason code, an obligation id or a rule name.
const CODE_BYTES: usize = 64;
/// Bytes of the text and of the detail of a trace step.
pub(crate) const TEXT_BYTES: usize = 1 << 10;
/// Obligations of one permit.
const OBLIGATIONS: usize = 16;
/// Keys one answer may ask for.
const NEEDS_KEYS: usize = 128;
/// Bytes of one key.
const NEEDS_KEY_BYTES: usize = 512;
/// Steps of one trace.
const TRACE_STEPS: usize = 256;

/// What a policy answered is outside of the contract. The answer itself is not shown: it may hold
/// patient data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OutputError {
    /// The bytes do not decode, or are more than the host takes.
    #[error("the answer cannot be read or is too large")]
    Unreadable,
    /// A reason is not a code.
    #[error("the reason is not a kebab-case code of 1 to 64 characters")]
    Reason,
    /// An obligation id is not a code.
    #[error("an obligation id is not a kebab-case code of 1 to 64 characters")]
    ObligationId,
    /// The parameters of an obligation are not a JSON object.
    #[error("the parameters of an obligation are not one JSON object without repeated names")]
    ObligationParameters,
    /// One id twice, so that it is open which parameters hold.
    #[error("an obligation is named twice")]
    ObligationTwice,
    /// More obligations than any permit has use for.
    #[error("there are more than 16 obligations")]
    Obligations,
    /// Text too long.
    #[error("the text is longer than 1 KiB")]
    Text,
    /// Nothing, or too much, is needed.
    #[error("it needs no key or more than 128")]
    NeedsCount,
    /// A key that cannot be one.
    #[error("a needed key is empty, longer than 512 bytes or holds control characters")]
    NeedsKey,
    /// Not one verdict for each resource.
    #[error("it has not one verdict for each resource")]
    Verdicts,
    /// The host said that no more will come.
    #[error("it needs more although the facts were final")]
    NeedsAfterFinal,
    /// More is granted than was asked, or for somebody else.
    #[error("it grants a scope or a patient that was not asked for, or nothing")]
    Granted,
    /// Somebody was named, or the list is nobody's.
    #[error("it wants a patient chosen where one was named, or lists none, too many, or what is no id")]
    Choice,
    /// Trace too long, or a step that is malformed.
    #[error("the trace has more than 256 steps or a malformed step")]
    Trace,
}

/// Everything that has to be laid out for the crossing; the request borrows from it.
pub(crate) struct Arguments<'a> {
    input: &'a PolicyInput<'a>,
    parameters: Vec<wit::Parameter<'a>>,
    stored: Vec<wit::Stored<'a>>,
    facts: Vec<wit::Fact<'a>>,
    obligations: Vec<&'a str>,
}

impl<'a> Arguments<'a> {
    pub(crate) fn new(input: &'a PolicyInput<'a>) -> Self {
        let decision = input.decision;
        Self {
            input,
            parameters: decision
                .request
                .parameters
                .iter()
                .map(|parameter| wit::Parameter { name: &parameter.name, value: &parameter.value })
                .collect(),
            stored: input
                .stored
                .iter()
                .map(|stored| wit::Stored { key: &stored.key, content: stored.content.as_deref() })
                .collect(),
            facts: input.facts.iter().map(|fact| wit::Fact { key: &fact.key, value: &fact.value }).collect(),
            obligations: decision.obligations.iter().map(String::as_str).collect(),
        }
    }

    pub(crate) fn request(&self) -> wit::Request<'_> {
        let model::DecisionRequest { tenant, base, request, .. } = self.input.decision;
        wit::Request {
            tenant,
            fhir_version: &base.version,
            base: &base.url,
            now_ms: self.input.decision.now.0,
            subject: subject(&self.input.decision.subject),
            interaction: interaction(request.interaction),
            resource_type: &request.resource_type,
            id: request.id.as_deref(),
            version: request.version.as_deref(),
            operation: request.operation.as_deref(),
            compartment: request.compartment.as_ref().map(|(resource_type, id)| wit::Compartment { resource_type, id }),
            parameters: &self.parameters,
            conditional: request.conditional,
            resolved: request.resolved,
            reads_stored: request.reads_stored,
            prefer_return: return_preference(request.prefer_return),
            body: request.body.as_deref(),
            stored: &self.stored,
            facts: &self.facts,
            facts_final: self.input.facts_final,
            obligations: &self.obligations,
            settings: self.input.settings,
            explain: self.input.decision.explain,
        }
    }
}

fn subject(subject: &model::Subject) -> wit::Subject<'_> {
    wit::Subject {
        kind: subject_kind(subject.kind),
        user: &subject.user,
        client: &subject.client,
        scope: &subject.scope,
        patient: subject.patient.as_deref(),
        encounter: subject.encounter.as_deref(),
    }
}

pub(crate) fn subject_kind(kind: model::SubjectKind) -> wit::SubjectKind {
    match kind {
        model::SubjectKind::Patient => wit::SubjectKind::Patient,
        model::SubjectKind::Proxy => wit::SubjectKind::Proxy,
        model::SubjectKind::Provider => wit::SubjectKind::Provider,
        model::SubjectKind::System => wit::SubjectKind::System,
    }
}

fn interaction(interaction: model::Interaction) -> wit::Interaction {
    match interaction {
        model::Interaction::Read => wit::Interaction::Read,
        model::Interaction::Vread => wit::Interaction::Vread,
        model::Interaction::HistoryInstance => wit::Interaction::HistoryInstance,
        model::Interaction::HistoryType => wit::Interaction::HistoryType,
        model::Interaction::HistorySystem => wit::Interaction::HistorySystem,
        model::Interaction::SearchType => wit::Interaction::SearchType,
        model::Interaction::SearchSystem => wit::Interaction::SearchSystem,
        model::Interaction::Create => wit::Interaction::Create,
        model::Interaction::Update => wit::Interaction::Update,
        model::Interaction::Patch => wit::Interaction::Patch,
        model::Interaction::Delete => wit::Interaction::Delete,
        model::Interaction::Operation => wit::Interaction::Operation,
        model::Interaction::Batch => wit::Interaction::Batch,
        model::Interaction::Transaction => wit::Interaction::Transaction,
        model::Interaction::Capabilities => wit::Interaction::Capabilities,
    }
}

fn return_preference(preference: model::ReturnPreference) -> wit::ReturnPreference {
    match preference {
        model::ReturnPreference::Unspecified => wit::ReturnPreference::Unspecified,
        model::ReturnPreference::Minimal => wit::ReturnPreference::Minimal,
        model::ReturnPreference::Representation => wit::ReturnPreference::Representation,
        model::ReturnPreference::OperationOutcome => wit::ReturnPreference::OperationOutcome,
    }
}

/// The answer, if it keeps to the contract. `facts_final` and `explain` are those of the request.
pub(crate) fn decision(
    answer: wit::Decision,
    facts_final: bool,
    explain: bool,
) -> Result<model::Decision, OutputError> {
    require(answer.text.len() <= TEXT_BYTES, OutputError::Text)?;
    let outcome = match answer.outcome {
        wit::Outcome::Permit(permit) => model::Outcome::Permit {
            reason: code(permit.reason, OutputError::Reason)?,
            obligations: obligations(permit.obligations)?,
            expires: permit.expires_at_ms.map(model::Millis),
        },
        wit::Outcome::Deny(denial) => {
            model::Outcome::Deny { reason: code(denial.reason, OutputError::Reason)?, basis: basis(denial.basis) }
        }
        wit::Outcome::Needs(_) if facts_final => return Err(OutputError::NeedsAfterFinal),
        wit::Outcome::Needs(keys) => model::Outcome::Needs(needs(keys)?),
    };
    // A trace nobody asked for is not kept: a record must not depend on the policy's manners.
    let trace = if explain { trace(answer.trace)? } else { Vec::new() };
    Ok(model::Decision { outcome, text: answer.text, trace })
}

/// The resources of an answer, for the crossing.
pub(crate) fn items<'a>(items: &[model::Item<'a>]) -> Vec<wit::Item<'a>> {
    let mode = |mode| match mode {
        model::ItemMode::Match => wit::ItemMode::Match,
        model::ItemMode::Include => wit::ItemMode::Include,
        model::ItemMode::History => wit::ItemMode::History,
    };
    items.iter().map(|item| wit::Item { mode: mode(item.mode), content: item.content }).collect()
}

/// What a policy said about this many resources.
pub(crate) fn filter_outcome(
    outcome: wit::FilterOutcome,
    items: usize,
    facts_final: bool,
) -> Result<model::FilterOutcome, OutputError> {
    match outcome {
        wit::FilterOutcome::Verdicts(verdicts) => {
            require(verdicts.len() == items, OutputError::Verdicts)?;
            let verdict = |hidden: Option<String>| hidden.map(|reason| code(reason, OutputError::Reason)).transpose();
            let verdicts = verdicts.into_iter().map(verdict).collect::<Result<_, _>>()?;
            Ok(model::FilterOutcome::Verdicts(verdicts))
        }
        wit::FilterOutcome::Deny(denial) => Ok(model::FilterOutcome::Deny {
            reason: code(denial.reason, OutputError::Reason)?,
            basis: basis(denial.basis),
        }),
        wit::FilterOutcome::Needs(_) if facts_final => Err(OutputError::NeedsAfterFinal),
        wit::FilterOutcome::Needs(keys) => Ok(model::FilterOutcome::Needs(needs(keys)?)),
    }
}

fn basis(basis: wit::DenialBasis) -> model::Basis {
    match basis {
        wit::DenialBasis::Request => model::Basis::Request,
        wit::DenialBasis::Content => model::Basis::Content,
    }
}

fn obligations(found: Vec<wit::Obligation>) -> Result<Vec<model::Obligation>, OutputError> {
    require(found.len() <= OBLIGATIONS, OutputError::Obligations)?;
    let mut obligations: Vec<model::Obligation> = Vec::with_capacity(found.len());
    for wit::Obligation { id, parameters } in found {
        let id = code(id, OutputError::ObligationId)?;
        require(!obligations.iter().any(|known| known.id == id), OutputError::ObligationTwice)?;
        require(json::is_object(&parameters), OutputError::ObligationParameters)?;
        obligations.push(model::Obligation { id, parameters });
    }
    Ok(obligations)
}

/// The keys are a set: a policy that meets one reference twice may name it twice.
pub(crate) fn needs(keys: Vec<String>) -> Result<Vec<String>, OutputError> {
    require((1..=NEEDS_KEYS).contains(&keys.len()), OutputError::NeedsCount)?;
    let good = |key: &String| (1..=NEEDS_KEY_BYTES).contains(&key.len()) && !key.chars().any(char::is_control);
    require(keys.iter().all(good), OutputError::NeedsKey)?;
    let mut seen = BTreeSet::new();
    Ok(keys.into_iter().filter(|key| seen.insert(key.clone())).collect())
}

pub(crate) fn trace(found: Vec<wit::TraceStep>) -> Result<Vec<model::TraceStep>, OutputError> {
    require(found.len() <= TRACE_STEPS, OutputError::Trace)?;
    let step = |step: wit::TraceStep| {
        require(is_code(&step.rule) && step.detail.len() <= TEXT_BYTES, OutputError::Trace)?;
        let outcome = match step.outcome {
            wit::TraceOutcome::Pass => model::TraceOutcome::Pass,
            wit::TraceOutcome::Fail => model::TraceOutcome::Fail,
            wit::TraceOutcome::Need => model::TraceOutcome::Need,
        };
        Ok(model::TraceStep { rule: step.rule, outcome, detail: step.detail })
    };
    found.into_iter().map(step).collect()
}

pub(crate) fn code(text: String, error: OutputError) -> Result<String, OutputError> {
    if is_code(&text) { Ok(text) } else { Err(error) }
}

/// `[a-z0-9-]{1,64}`: the shape of reasons, obligation ids and names.
pub(crate) fn is_code(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=CODE_BYTES).contains(&text.len()) && text.bytes().all(plain)
}

pub(crate) fn require(holds: bool, error: OutputError) -> Result<(), OutputError> {
    if holds { Ok(()) } else { Err(error) }
}

#[cfg(test)]
#[path = "convert_tests.rs"]
mod tests;

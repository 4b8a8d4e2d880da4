//! What an authorization server asks a policy, and what it answers.

use crate::{Fact, FhirBase, Millis, SubjectKind, TraceStep};

/// A grant that is wanted: which scopes an app may hold for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRequest {
    /// the tenant, part of every key
    pub tenant: String,
    /// the FHIR base the token would be for
    pub base: FhirBase,
    /// the one role the user would act in; never `system`
    pub kind: SubjectKind,
    /// `Practitioner/17`
    pub user: String,
    /// OAuth client identifier
    pub client: String,
    /// the scopes asked for
    pub scope: String,
    /// the patient the token would be for, a bare id
    pub patient: Option<String>,
    /// wants the trace
    pub explain: bool,
    /// the time
    pub now: Millis,
}

/// The whole input of one policy call about a grant.
#[derive(Debug, Clone, Copy)]
pub struct GrantInput<'a> {
    /// the grant wanted
    pub request: &'a GrantRequest,
    /// facts at hand
    pub facts: &'a [Fact],
    /// no more will come
    pub facts_final: bool,
    /// settings of the release, JSON bytes
    pub settings: &'a [u8],
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantOutcome {
    /// This much.
    Grant {
        /// code of the rule that grants
        reason: String,
        /// some of the scopes asked for, spelled as they were
        scope: String,
        /// the patient in context
        patient: Option<String>,
        /// when the first thing it rests on ends
        expires: Option<Millis>,
    },
    /// A patient has to be in context, and none was named.
    Choose {
        /// whom the user may choose from
        patients: Vec<String>,
        /// there are more than can be listed
        more: bool,
    },
    /// Nothing.
    Deny {
        /// code of the rule that refuses
        reason: String,
    },
    /// Ask again with these facts.
    Needs(Vec<String>),
}

/// The answer of one policy call about a grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantDecision {
    /// what is decided
    pub outcome: GrantOutcome,
    /// the reason as one sentence, for logs
    pub text: String,
    /// the rules in the order walked
    pub trace: Vec<TraceStep>,
}

//! What is asked and answered about a grant, as `wit/grant.wit` has it.

use alloc::string::String;
use alloc::vec::Vec;

use crate::reason::Reason;
use crate::types::{Fact, SubjectKind, TraceStep};

/// `grant.request`
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented in wit/grant.wit")]
pub struct GrantRequest<'a> {
    pub fhir_version: &'a str,
    pub base: &'a str,
    pub now_ms: u64,
    pub kind: SubjectKind,
    pub user: &'a str,
    pub client: &'a str,
    pub scope: &'a str,
    pub patient: Option<&'a str>,
    pub facts: Vec<Fact<'a>>,
    pub facts_final: bool,
    pub settings: &'a [u8],
    pub explain: bool,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantOutcome {
    /// this much is granted
    Grant {
        /// some of the scopes asked for
        scope: String,
        /// the patient in context
        patient: Option<String>,
        /// when the first thing it rests on ends
        expires_at_ms: Option<u64>,
    },
    /// a patient has to be named
    Choose {
        /// whom the user may choose from
        patients: Vec<String>,
        /// there are more than can be listed
        more: bool,
    },
    /// nothing
    Deny {
        /// which rule refuses
        reason: Reason,
    },
    /// ask again with these facts
    Needs(Vec<String>),
}

impl GrantOutcome {
    /// The reason as a code; what needs facts has none yet.
    pub fn reason(&self) -> Option<Reason> {
        match self {
            Self::Grant { .. } => Some(Reason::Granted),
            Self::Choose { .. } => Some(Reason::PatientNotChosen),
            Self::Deny { reason } => Some(*reason),
            Self::Needs(_) => None,
        }
    }
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantDecision {
    /// what is decided
    pub outcome: GrantOutcome,
    /// the rules in the order walked; empty unless explained
    pub trace: Vec<TraceStep>,
}

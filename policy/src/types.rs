//! The policy's own words for its input and output. `component.rs` maps them to the WIT types, which
//! document each member (`wit/access.wit`); tests build them directly.

use alloc::string::String;
use alloc::vec::Vec;

use crate::reason::Reason;

/// `access.interaction`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in wit/access.wit")]
pub enum Interaction {
    Read,
    Vread,
    HistoryInstance,
    HistoryType,
    HistorySystem,
    SearchType,
    SearchSystem,
    Create,
    Update,
    Patch,
    Delete,
    Operation,
    Batch,
    Transaction,
    Capabilities,
}

/// `access.subject-kind`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in wit/access.wit")]
pub enum SubjectKind {
    Patient,
    Proxy,
    Provider,
    System,
}

impl SubjectKind {
    /// As a trace says it, and a record of a user the role.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Proxy => "proxy",
            Self::Provider => "provider",
            Self::System => "client without a user",
        }
    }
}

/// `access.subject`
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "documented in wit/access.wit")]
pub struct Subject<'a> {
    pub kind: SubjectKind,
    pub user: &'a str,
    pub client: &'a str,
    pub scope: &'a str,
    pub patient: Option<&'a str>,
    pub encounter: Option<&'a str>,
}

/// `access.parameter`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in wit/access.wit")]
pub struct Parameter<'a> {
    pub name: &'a str,
    pub value: &'a str,
}

/// `access.stored`
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "documented in wit/access.wit")]
pub struct Stored<'a> {
    pub key: &'a str,
    pub content: Option<&'a [u8]>,
}

/// `access.fact`
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "documented in wit/access.wit")]
pub struct Fact<'a> {
    pub key: &'a str,
    pub value: &'a [u8],
}

/// `access.request`. The tenant is not here: facts and content are confined to it before the call,
/// and no rule turns on its name. Neither is the client or the encounter judged yet.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented in wit/access.wit")]
pub struct Request<'a> {
    pub fhir_version: &'a str,
    pub base: &'a str,
    pub now_ms: u64,
    pub subject: Subject<'a>,
    pub interaction: Interaction,
    pub resource_type: &'a str,
    pub id: Option<&'a str>,
    pub version: Option<&'a str>,
    pub operation: Option<&'a str>,
    /// type and id
    pub compartment: Option<(&'a str, &'a str)>,
    pub parameters: Vec<Parameter<'a>>,
    pub conditional: bool,
    pub resolved: bool,
    pub reads_stored: bool,
    /// the answer of a write may carry the resource: `Prefer: return=representation`, or nothing said,
    /// which leaves it to the server
    pub returns_representation: bool,
    pub body: Option<&'a [u8]>,
    pub stored: Vec<Stored<'a>>,
    pub facts: Vec<Fact<'a>>,
    pub facts_final: bool,
    pub obligations: Vec<&'a str>,
    pub settings: &'a [u8],
    pub explain: bool,
}

impl<'a> Request<'a> {
    /// A read of another resource by whoever asks here.
    pub(crate) fn reading(&self, resource_type: &'a str, id: &'a str) -> Self {
        Self {
            fhir_version: self.fhir_version,
            base: self.base,
            now_ms: self.now_ms,
            facts_final: self.facts_final,
            settings: self.settings,
            ..Self::read(self.subject, resource_type, Some(id))
        }
    }

    /// A read of one resource, and nothing more: of no FHIR version yet, by nobody's settings, with nothing known.
    pub fn read(subject: Subject<'a>, resource_type: &'a str, id: Option<&'a str>) -> Self {
        Self {
            fhir_version: "",
            base: "",
            now_ms: 0,
            subject,
            interaction: Interaction::Read,
            resource_type,
            id,
            version: None,
            operation: None,
            compartment: None,
            parameters: Vec::new(),
            conditional: false,
            resolved: false,
            reads_stored: false,
            returns_representation: false,
            body: None,
            stored: Vec::new(),
            facts: Vec::new(),
            facts_final: false,
            obligations: Vec::new(),
            settings: b"",
            explain: false,
        }
    }

    /// Whether the caller can carry out an obligation.
    pub(crate) fn declares(&self, obligation: &str) -> bool {
        self.obligations.contains(&obligation)
    }
}

/// Something the caller must do for a permit to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligation {
    /// `search-narrowing`, `search-union`, `response-filter`, `if-match`, `return-minimal`
    pub id: &'static str,
    /// a JSON object
    pub parameters: String,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// go on, if every obligation is carried out
    Permit {
        /// which rule permits
        reason: Reason,
        /// what the caller has to do
        obligations: Vec<Obligation>,
        /// when the first relationship it rests on ends
        expires_at_ms: Option<u64>,
    },
    /// do not
    Deny {
        /// which rule refuses
        reason: Reason,
    },
    /// ask again with these facts
    Needs(Vec<String>),
}

/// `access.item-mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "documented in wit/access.wit")]
pub enum ItemMode {
    Match,
    Include,
    History,
}

/// `access.item`
#[derive(Debug, Clone, Copy)]
#[allow(missing_docs, reason = "documented in wit/access.wit")]
pub struct Item<'a> {
    pub mode: ItemMode,
    pub content: &'a [u8],
}

/// `access.filter-outcome`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterOutcome {
    /// for each item why it is hidden; nothing for one that is kept
    Verdicts(Vec<Option<Reason>>),
    /// who asks may not ask at all
    Deny(Reason),
    /// ask again with these facts
    Needs(Vec<String>),
}

/// One line of the explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// name of the rule
    pub rule: &'static str,
    /// how it came out
    pub outcome: TraceOutcome,
    /// what decided
    pub detail: String,
}

/// How one rule came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TraceOutcome {
    /// satisfied
    Pass,
    /// refused
    Fail,
    /// wants more facts
    Need,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// what is decided
    pub outcome: Outcome,
    /// the rules in the order walked; empty unless explained
    pub trace: Vec<TraceStep>,
}

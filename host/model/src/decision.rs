//! What a policy answers.

use crate::Millis;

/// On what a denial turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Basis {
    /// only on the request and its scopes: 403
    Request,
    /// on content or people: as if absent, 404
    Content,
}

/// Something the caller must do for a permit to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obligation {
    /// `search-narrowing`, `response-filter`, …
    pub id: String,
    /// a JSON object
    pub parameters: Vec<u8>,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Go on, if every obligation is carried out.
    Permit {
        /// code of the rule that permits
        reason: String,
        /// what the caller has to do
        obligations: Vec<Obligation>,
        /// when the first relationship it rests on ends
        expires: Option<Millis>,
    },
    /// Do not.
    Deny {
        /// code of the rule that refuses
        reason: String,
        /// what it turns on
        basis: Basis,
    },
    /// Ask again with these.
    Needs(Vec<String>),
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

impl TraceOutcome {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Need => "need",
        }
    }
}

/// One line of the explanation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TraceStep {
    /// name of the rule
    pub rule: String,
    /// how it came out
    pub outcome: TraceOutcome,
    /// what decided
    pub detail: String,
}

/// The answer of one policy call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// what is decided
    pub outcome: Outcome,
    /// the reason as one sentence, for logs
    pub text: String,
    /// the rules in the order walked
    pub trace: Vec<TraceStep>,
}

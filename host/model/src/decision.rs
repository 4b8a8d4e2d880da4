//! What a policy answers.

use crate::parse::check_parameters;
use crate::{Millis, Parameter};

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

impl Obligation {
    /// The parameters of a `search-narrowing`, if they are of its shape and read back as they are
    /// written.
    ///
    /// SECURITY: a pair left out would widen the search, so one bad pair spoils them all.
    pub fn search_parameters(&self) -> Option<Vec<Parameter>> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Narrowing {
            parameters: Vec<(String, String)>,
        }
        let narrowing: Narrowing = serde_json::from_slice(&self.parameters).ok()?;
        let parameters: Vec<Parameter> =
            narrowing.parameters.into_iter().map(|(name, value)| Parameter { name, value }).collect();
        (!parameters.is_empty() && check_parameters(&parameters).is_ok()).then_some(parameters)
    }
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

/// How a resource came into an answer (FHIR R4, Bundle, `entry.search.mode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemMode {
    /// what was asked for
    Match,
    /// what came along with it
    Include,
    /// a version in a history
    History,
}

/// One resource of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// how it came into it
    pub mode: ItemMode,
    /// its JSON bytes
    pub content: &'a [u8],
}

/// What comes of the resources of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilterOutcome {
    /// for each, in order, why it is hidden; nothing for one that may leave
    Verdicts(Vec<Option<String>>),
    /// Nothing may leave.
    Deny {
        /// code of the rule that refuses
        reason: String,
        /// what it turns on
        basis: Basis,
    },
    /// Ask again with these.
    Needs(Vec<String>),
}

#[cfg(test)]
mod tests {
    use super::Obligation;

    fn pairs(parameters: &str) -> Option<usize> {
        let obligation = Obligation { id: "search-narrowing".into(), parameters: parameters.as_bytes().to_vec() };
        obligation.search_parameters().map(|parameters| parameters.len())
    }

    #[test]
    fn a_narrowing_is_taken_whole_or_not_at_all() {
        assert_eq!(pairs(r#"{"parameters":[["patient","1"],["code","a|b"]]}"#), Some(2));
        let bad = [
            "{}",
            r#"{"parameters":[]}"#,
            r#"{"parameters":[["patient","1"],["code"]]}"#,
            r#"{"parameters":[["patient","1"],["code",7]]}"#,
            r#"{"parameters":[["patient","1"]],"more":1}"#,
            r#"{"parameters":[["patient",""]]}"#,
            r#"{"parameters":[["pa tient","1"]]}"#,
        ];
        for text in bad {
            assert_eq!(pairs(text), None, "{text}");
        }
    }
}

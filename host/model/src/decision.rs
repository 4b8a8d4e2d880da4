//! What a policy answers.

use crate::parse::{RenderedRequest, check_parameters, render_search};
use crate::{FhirRequest, Interaction, Millis, Parameter};

/// The obligation to run another search instead, or a write by other criteria.
const SEARCH_NARROWING: &str = "search-narrowing";
/// The obligation to run several searches instead, and unite what they find.
const SEARCH_UNION: &str = "search-union";

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

    /// Whether other requests are to be sent in place of the one.
    pub fn rewrites(&self) -> bool {
        matches!(self.id.as_str(), SEARCH_NARROWING | SEARCH_UNION)
    }

    /// The requests to send in place of the one, if they can be written and read back.
    pub fn requests(&self, request: &FhirRequest) -> Option<Vec<RenderedRequest>> {
        match self.id.as_str() {
            SEARCH_NARROWING => Some(vec![render_search(request, &self.search_parameters()?)]),
            SEARCH_UNION => self.searches(request),
            _ => None,
        }
    }

    /// The searches of a `search-union`, each of the type searched or of one that was named.
    fn searches(&self, request: &FhirRequest) -> Option<Vec<RenderedRequest>> {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Union {
            searches: Vec<Search>,
        }
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Search {
            r#type: String,
            parameters: Vec<(String, String)>,
        }
        let union: Union = serde_json::from_slice(&self.parameters).ok()?;
        let named = request.parameters.iter().filter(|parameter| parameter.name == "_type");
        let named = named.flat_map(|parameter| parameter.value.split(','));
        let of_search = |name: &str| match request.interaction {
            Interaction::SearchSystem => named.clone().any(|one| one == name),
            Interaction::SearchType => request.resource_type == name,
            _ => false,
        };
        let mut rendered = Vec::new();
        for search in union.searches {
            let parameters = search.parameters.into_iter().map(|(name, value)| Parameter { name, value });
            let parameters: Vec<Parameter> = parameters.collect();
            if !of_search(&search.r#type) || check_parameters(&parameters).is_err() {
                return None;
            }
            let one =
                FhirRequest { interaction: Interaction::SearchType, resource_type: search.r#type, ..request.clone() };
            rendered.push(render_search(&one, &parameters));
        }
        (!rendered.is_empty()).then_some(rendered)
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

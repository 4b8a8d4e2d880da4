//! Relationships on the caller's word.

use chartgate_model::{Millis, Relationship};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::http::json;
use crate::http::problem::Problem;

/// What the caller vouches for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FactsBody {
    #[serde(default, deserialize_with = "json::objects")]
    relationships: Vec<RelationshipFact>,
}

/// A relationship between a user and a patient.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RelationshipFact {
    user: String,
    patient: String,
    kind: String,
    #[serde(default = "full")]
    level: String,
    #[serde(default = "active")]
    status: String,
    #[serde(default = "ordinary")]
    via: String,
    start: Option<String>,
    end: Option<String>,
}

/// The level where none is said.
pub(in crate::http) fn full() -> String {
    "full".into()
}

/// The status where none is said.
pub(in crate::http) fn active() -> String {
    "active".into()
}

/// The way it came about where none is said.
pub(in crate::http) fn ordinary() -> String {
    "ordinary".into()
}

/// The relationships of a body, checked member by member.
pub(super) fn relationships(given: FactsBody) -> Result<Vec<Relationship>, Problem> {
    let read = |(at, fact): (usize, RelationshipFact)| {
        let member = |name: &str| format!("facts.relationships[{at}].{name}");
        let time = |name: &str, text: Option<String>| {
            text.map(|text| Millis::parse(&text).map_err(|error| Problem::member(member(name), error.to_string())))
                .transpose()
        };
        if fact.kind == "self" {
            return Err(Problem::member(member("kind"), "`self` is never given: it follows from the user"));
        }
        let (start, end) = (time("start", fact.start)?, time("end", fact.end)?);
        let RelationshipFact { user, patient, kind, level, status, via, .. } = fact;
        let source = crate::facts::CALLER.into();
        let relationship = Relationship { user, patient, kind, level, status, via, source, start, end };
        crate::store::validate::relationship(&relationship)
            .map_err(|error| Problem::member(member(error.member), error.message))?;
        Ok(relationship)
    };
    given.relationships.into_iter().enumerate().map(read).collect()
}

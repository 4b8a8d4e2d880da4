//! Relationships and records on the caller's word.

use std::collections::BTreeSet;

use chartgate_model::{Millis, Record, RecordClass, Relationship, Terms};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::http::json;
use crate::http::people::{ClientBody, PatientBody, UserBody};
use crate::http::problem::Problem;
use crate::people;

/// What the caller vouches for.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FactsBody {
    #[serde(default, deserialize_with = "json::objects")]
    pub(super) relationships: Vec<RelationshipFact>,
    /// what is known of patients
    #[serde(default)]
    #[schema(value_type = Vec<PatientBody>)]
    pub(super) patients: Vec<Map<String, Value>>,
    /// what is known of users
    #[serde(default)]
    #[schema(value_type = Vec<UserBody>)]
    pub(super) users: Vec<Map<String, Value>>,
    /// what is known of clients
    #[serde(default)]
    #[schema(value_type = Vec<ClientBody>)]
    pub(super) clients: Vec<Map<String, Value>>,
}

/// A relationship between a user and a patient.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RelationshipFact {
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
    /// what it rests on
    #[serde(default)]
    basis: String,
    #[serde(default)]
    exclude_types: Vec<String>,
    #[serde(default)]
    exclude_labels: Vec<String>,
    condition: Option<String>,
    delegator: Option<String>,
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
pub(super) fn relationships(given: Vec<RelationshipFact>) -> Result<Vec<Relationship>, Problem> {
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
        let RelationshipFact { basis, exclude_types, exclude_labels, condition, delegator, .. } = fact;
        let terms = Terms { basis, exclude_types, exclude_labels, condition, delegator };
        let source = crate::facts::CALLER.into();
        let relationship = Relationship { user, patient, kind, level, status, via, source, start, end, terms };
        crate::store::validate::relationship(&relationship)
            .map_err(|error| Problem::member(member(error.member), error.message))?;
        Ok(relationship)
    };
    given.into_iter().enumerate().map(read).collect()
}

/// The records of a body, checked member by member; two of one patient, user or client are ambiguous.
pub(super) fn records(
    patients: Vec<Map<String, Value>>,
    users: Vec<Map<String, Value>>,
    clients: Vec<Map<String, Value>>,
) -> Result<Vec<Record>, Problem> {
    let mut records = Vec::new();
    for (class, list, given) in [
        (RecordClass::Patient, "patients", patients),
        (RecordClass::User, "users", users),
        (RecordClass::Client, "clients", clients),
    ] {
        let mut seen = BTreeSet::new();
        for (at, object) in given.into_iter().enumerate() {
            let member = |name: &str| format!("facts.{list}[{at}].{name}");
            let record = people::named(class, crate::facts::CALLER, object)
                .map_err(|error| Problem::member(member(&error.member), error.message))?;
            if !seen.insert(record.id.clone()) {
                return Err(Problem::member(member(class.code()), "is there twice"));
            }
            records.push(record);
        }
    }
    Ok(records)
}

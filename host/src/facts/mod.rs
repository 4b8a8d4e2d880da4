//! What the policy may know about people, and who says so.
//!
//! Relationships come from the directory and from callers who may vouch. They are put side by side, each
//! with its source, and never merged here: which of two wins is a rule, and rules live in the policy.

mod directory;
mod key;
mod named;
mod template;

use std::sync::Arc;

use chartgate_model::{Fact, Millis, Relationship};
use serde::Serialize;

use crate::store::{InvalidMember, StoreError, validate};

pub use directory::{DEFAULT_OF_USER_LIMIT, Directory};
pub use template::keys_ahead;

use key::FactKey;

/// The source name of relationships a caller vouches for.
pub const CALLER: &str = "caller";

/// What one source knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceAnswer {
    /// the relationships, each with its `source` filled in
    pub relationships: Vec<Relationship>,
    /// there are more; a patient that is listed is listed with all relationships
    pub truncated: bool,
    /// the source and its state, `directory@8812`
    pub stamp: String,
}

/// Somebody who knows relationships.
pub trait RelationshipSource: Send + Sync {
    /// All relationships between a user (`Practitioner/17`) and a patient (bare id), whatever their status.
    fn between(&self, tenant: &str, user: &str, patient: &str) -> Result<SourceAnswer, FactError>;
    /// Relationships of a user, as many as the source is willing to list.
    fn of_user(&self, tenant: &str, user: &str) -> Result<SourceAnswer, FactError>;
}

/// A fact cannot be supplied: the decision is indeterminate.
#[derive(Debug, thiserror::Error)]
pub enum FactError {
    /// no source serves this key, or it is malformed
    #[error("`{0}` is not a fact this host can supply")]
    Unknown(String),
    /// a source failed
    #[error("the directory cannot be read")]
    Source(#[from] StoreError),
    /// what the caller vouches for is malformed
    #[error("the caller's relationship {index}: {source}")]
    Inline {
        /// position, from 0
        index: usize,
        /// what is wrong with it
        #[source]
        source: InvalidMember,
    },
    /// a value could not be written as JSON
    #[error("a fact cannot be written as JSON")]
    Encode(#[source] serde_json::Error),
}

impl FactError {
    /// The reason code of the indeterminate decision.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unknown(_) => "fact-unknown",
            Self::Source(_) => "fact-source-failed",
            Self::Inline { .. } => "fact-invalid",
            Self::Encode(_) => "fact-encoding-failed",
        }
    }
}

/// Facts for one round, and where they come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// one for each key, in the order asked
    pub facts: Vec<Fact>,
    /// the states of the sources asked, without repeats; with two states of one source both are named
    pub sources: Vec<String>,
    /// when they were read
    pub as_of: Millis,
    /// break-glass relationships that were dropped, for the record: `directory Practitioner/17/123/treatment`
    pub dropped: Vec<String>,
}

/// Answers the fact keys of a policy.
#[derive(Clone)]
pub struct Facts {
    source: Arc<dyn RelationshipSource>,
}

impl Facts {
    /// Facts from this source, joined with what callers vouch for.
    pub fn new(source: Arc<dyn RelationshipSource>) -> Self {
        Self { source }
    }

    /// Supply `keys` for a tenant. `inline` is what the caller vouches for; the right to do so was
    /// checked before. One key that cannot be supplied fails all.
    pub fn resolve(
        &self,
        tenant: &str,
        inline: &[Relationship],
        keys: &[String],
        now: Millis,
    ) -> Result<Resolved, FactError> {
        for (index, given) in inline.iter().enumerate() {
            validate::relationship(given).map_err(|source| FactError::Inline { index, source })?;
        }
        let mut resolved = Resolved { facts: Vec::new(), sources: Vec::new(), as_of: now, dropped: Vec::new() };
        for key in keys {
            let mut answer = self.answer(tenant, inline, key)?;
            answer.relationships.retain(|entry| {
                // SECURITY: whoever broke the glass did so for themselves, never for an app.
                let drop = entry.is_break_glass();
                if drop {
                    push_once(&mut resolved.dropped, marker(entry));
                }
                !drop
            });
            resolved.facts.push(Fact { key: key.clone(), value: encode(&answer)? });
            push_once(&mut resolved.sources, answer.stamp);
        }
        Ok(resolved)
    }

    fn answer(&self, tenant: &str, inline: &[Relationship], key: &str) -> Result<SourceAnswer, FactError> {
        let key = FactKey::parse(key).ok_or_else(|| FactError::Unknown(shorten(key)))?;
        let mut answer = match key {
            FactKey::Between { user, patient } => self.source.between(tenant, user, patient)?,
            FactKey::OfUser { user } => self.source.of_user(tenant, user)?,
        };
        let known: Vec<String> = answer.relationships.iter().map(|entry| entry.patient.clone()).collect();
        // SECURITY: what a cut-off list does not show may hold a revocation. The caller's word on a
        // patient counts only where the source's word on the same patient is at hand.
        let covered = |patient: &str| !answer.truncated || known.iter().any(|known| known == patient);
        let vouched = inline.iter().filter(|entry| key.concerns(entry) && covered(&entry.patient));
        let vouched: Vec<_> = vouched.map(|entry| Relationship { source: CALLER.into(), ..entry.clone() }).collect();
        answer.relationships.extend(vouched);
        Ok(answer)
    }
}

/// One entry of a fact, as `wit/access.wit` fixes it.
#[derive(Serialize)]
struct Entry<'a> {
    patient: &'a str,
    kind: &'a str,
    level: &'a str,
    status: &'a str,
    via: &'a str,
    source: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    start_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_ms: Option<u64>,
}

#[derive(Serialize)]
struct Value<'a> {
    entries: Vec<Entry<'a>>,
    truncated: bool,
}

impl<'a> Entry<'a> {
    fn of(relationship: &'a Relationship) -> Self {
        // The user is not repeated: the key names them.
        let Relationship { user: _, patient, kind, level, status, via, source, start, end } = relationship;
        let (start_ms, end_ms) = (start.map(|start| start.0), end.map(|end| end.0));
        Self { patient, kind, level, status, via, source, start_ms, end_ms }
    }
}

fn encode(answer: &SourceAnswer) -> Result<Vec<u8>, FactError> {
    let entries = answer.relationships.iter().map(Entry::of).collect();
    serde_json::to_vec(&Value { entries, truncated: answer.truncated }).map_err(FactError::Encode)
}

/// Names a dropped relationship in the record.
pub(crate) fn marker(entry: &Relationship) -> String {
    format!("{} {}/{}/{} via {}", entry.source, entry.user, entry.patient, entry.kind, entry.via)
}

fn push_once(list: &mut Vec<String>, text: String) {
    if !list.contains(&text) {
        list.push(text);
    }
}

fn shorten(key: &str) -> String {
    key.chars().take(120).flat_map(char::escape_debug).collect()
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

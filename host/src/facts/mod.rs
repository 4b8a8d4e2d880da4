//! What the policy may know about people, and who says so.
//!
//! Relationships and records come from the directory and from callers who may vouch. They are put side by side,
//! each with its source, and never merged here: which of two wins is a rule, and rules live in the policy.

mod directory;
mod humans;
mod key;
mod live;
mod named;
mod roles;
mod template;

use std::collections::BTreeSet;
use std::sync::Arc;

use chartgate_model::{DecisionRequest, Fact, Millis, Record, RecordClass, Relationship, Terms};
use serde::Serialize;

use crate::people;
use crate::store::{InvalidMember, StoreError, validate};

pub use directory::{DEFAULT_OF_USER_LIMIT, Directory};
pub use template::{grant_keys_ahead, keys_ahead, keys_of_items};

use humans::Held;
use key::{FactKey, concerns};
use live::Question;
pub(crate) use live::{Breaker, Server};
pub use live::{Live, LiveError, LiveFacts};
use roles::Tenure;

/// The source name of what a caller vouches for.
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

/// What one source knows of patients, users or clients.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsAnswer {
    /// the records, each with its `source` filled in
    pub records: Vec<Record>,
    /// the source and its state, `directory@8812`
    pub stamp: String,
}

/// Somebody who knows about people.
pub trait FactSource: Send + Sync {
    /// All relationships between a user (`Practitioner/17`) and a patient (bare id), whatever their status.
    fn between(&self, tenant: &str, user: &str, patient: &str) -> Result<SourceAnswer, FactError>;
    /// Relationships of a user, as many as the source is willing to list.
    fn of_user(&self, tenant: &str, user: &str) -> Result<SourceAnswer, FactError>;
    /// What is known of some patients, users or clients. Nothing is said of those nobody knows.
    fn records(&self, tenant: &str, class: RecordClass, ids: &BTreeSet<String>) -> Result<RecordsAnswer, FactError>;
    /// The records that name a practitioner (`Practitioner/17`) as the one whose role they are.
    fn roles(&self, tenant: &str, practitioner: &str) -> Result<RecordsAnswer, FactError>;
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
    /// a FHIR server failed
    #[error("the FHIR server cannot say what it knows")]
    Live(#[source] LiveError),
    /// what the caller vouches for is malformed
    #[error("the caller's relationship {index}: {source}")]
    Inline {
        /// position, from 0
        index: usize,
        /// what is wrong with it
        #[source]
        source: InvalidMember,
    },
    /// somebody plays more roles than anybody can
    #[error("a practitioner has more than {max} roles")]
    Roles {
        /// as many are followed
        max: usize,
    },
    /// a record holds what no record may
    #[error("a record of a {class} cannot be read")]
    Record {
        /// of whom
        class: &'static str,
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
            Self::Source(_) | Self::Live(_) => "fact-source-failed",
            Self::Inline { .. } | Self::Record { .. } | Self::Roles { .. } => "fact-invalid",
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

/// Charts, as far as they were followed.
#[derive(Default)]
struct Followed {
    ids: BTreeSet<String>,
    records: Vec<Record>,
    stamps: Vec<String>,
}

/// A request, and what servers said about it.
struct Asked<'a> {
    request: &'a DecisionRequest,
    live: &'a Live,
}

/// Answers the fact keys of a policy.
#[derive(Clone)]
pub struct Facts {
    source: Arc<dyn FactSource>,
    live: Arc<LiveFacts>,
}

impl Facts {
    /// Facts from this source, joined with what callers vouch for.
    pub fn new(source: Arc<dyn FactSource>) -> Self {
        Self { source, live: Arc::default() }
    }

    /// The same, joined with what FHIR servers say.
    pub fn with_live(self, live: LiveFacts) -> Self {
        Self { live: Arc::new(live), ..self }
    }

    /// What FHIR servers say about some keys: to be had before they are supplied.
    ///
    /// What one source knows leads to what another is asked: where a chart went, whose role it is, who is on a list. So
    /// it goes on until nobody leads any further.
    pub async fn live(&self, asked: &DecisionRequest, keys: &[String]) -> Result<Live, FactError> {
        let mut live = Live::default();
        if !self.live.answers(asked) {
            return Ok(live);
        }
        let mut put = BTreeSet::new();
        let mut questions: BTreeSet<Question> = keys.iter().filter_map(|key| live::question(key)).collect();
        for _ in 0..STEPS_MAX {
            self.live.ask(asked, &questions, &mut live).await?;
            put.append(&mut questions);
            let further = self.further(&Asked { request: asked, live: &live }, keys, &put)?;
            questions = further.difference(&put).cloned().collect();
            if questions.is_empty() {
                return Ok(live);
            }
        }
        Err(FactError::Live(LiveError::Endless))
    }

    /// Supply `keys` for a decision where no server is asked.
    pub fn resolve(&self, asked: &DecisionRequest, keys: &[String]) -> Result<Resolved, FactError> {
        self.resolve_with(asked, &Live::default(), keys)
    }

    /// Supply `keys` for a decision: what the source knows, what servers said, and what the caller vouches for, whose
    /// right to do so was checked before. One key that cannot be supplied fails all.
    pub fn resolve_with(&self, asked: &DecisionRequest, live: &Live, keys: &[String]) -> Result<Resolved, FactError> {
        for (index, given) in asked.relationships.iter().enumerate() {
            validate::relationship(given).map_err(|source| FactError::Inline { index, source })?;
        }
        let mut resolved = Resolved { facts: Vec::new(), sources: Vec::new(), as_of: asked.now, dropped: Vec::new() };
        resolved.sources.extend(live.stamps.iter().cloned());
        let asked = Asked { request: asked, live };
        for key in keys {
            let (value, stamps) = match FactKey::parse(key).ok_or_else(|| FactError::Unknown(shorten(key)))? {
                FactKey::Between { user, patient } => {
                    self.related(&asked, user, Some(patient), &mut resolved.dropped)?
                }
                FactKey::OfUser { user } => self.related(&asked, user, None, &mut resolved.dropped)?,
                FactKey::PatientsOf { user } => self.patients_of(&asked, user)?,
                FactKey::Of { class: RecordClass::Patient, id } => {
                    self.charts(&asked, BTreeSet::from([id.to_owned()]))?
                }
                FactKey::Of { class, id } => self.known(&asked, class, id)?,
            };
            resolved.facts.push(Fact { key: key.clone(), value });
            stamps.into_iter().for_each(|stamp| push_once(&mut resolved.sources, stamp));
        }
        Ok(resolved)
    }

    /// Relationships of a user, to one patient or to all, and the state they were read at.
    fn related(
        &self,
        asked: &Asked<'_>,
        user: &str,
        patient: Option<&str>,
        dropped: &mut Vec<String>,
    ) -> Result<(Vec<u8>, Vec<String>), FactError> {
        let mut held = self.held(asked, user, patient)?;
        held.relationships.retain(|(entry, _)| {
            // SECURITY: whoever broke the glass did so for themselves, never for an app.
            let drop = entry.is_break_glass();
            if drop {
                push_once(dropped, marker(entry));
            }
            !drop
        });
        Ok((encode(&held)?, held.stamps))
    }

    fn relationships(&self, asked: &Asked<'_>, user: &str, patient: Option<&str>) -> Result<SourceAnswer, FactError> {
        let mut answer = match patient {
            Some(patient) => self.source.between(&asked.request.tenant, user, patient)?,
            None => self.source.of_user(&asked.request.tenant, user)?,
        };
        let known: Vec<String> = answer.relationships.iter().map(|entry| entry.patient.clone()).collect();
        // SECURITY: what a cut-off list does not show may hold a revocation. The caller's word on a
        // patient counts only where the source's word on the same patient is at hand.
        let covered = |patient: &str| !answer.truncated || known.iter().any(|known| known == patient);
        let concerned = asked.request.relationships.iter().filter(|entry| concerns(entry, user, patient));
        let vouched = concerned.filter(|entry| covered(&entry.patient));
        let vouched: Vec<_> = vouched.map(|entry| Relationship { source: CALLER.into(), ..entry.clone() }).collect();
        let said = asked.live.relationships.iter().filter(|entry| concerns(entry, user, patient));
        let said: Vec<_> = said.filter(|entry| covered(&entry.patient)).cloned().collect();
        answer.truncated |= asked.live.truncated && patient.is_none();
        answer.relationships.extend(said.into_iter().chain(vouched));
        Ok(answer)
    }

    /// The charts of everybody on a user's list.
    fn patients_of(&self, asked: &Asked<'_>, user: &str) -> Result<(Vec<u8>, Vec<String>), FactError> {
        let listed = self.held(asked, user, None)?;
        let patients = listed.relationships.into_iter().map(|(entry, _)| entry.patient).collect();
        let (value, stamps) = self.charts(asked, patients)?;
        Ok((value, listed.stamps.into_iter().chain(stamps).collect()))
    }

    /// What is known of some patients, and of every chart theirs were merged into.
    fn charts(&self, asked: &Asked<'_>, wanted: BTreeSet<String>) -> Result<(Vec<u8>, Vec<String>), FactError> {
        let Followed { records, stamps, .. } = self.followed(asked, wanted)?;
        Ok((encode_records(&records, asked.request.now)?, stamps))
    }

    /// Some patients, and every chart theirs were merged into by any source.
    fn followed(&self, asked: &Asked<'_>, mut wanted: BTreeSet<String>) -> Result<Followed, FactError> {
        let mut all = Followed::default();
        for _ in 0..CHARTS_MAX {
            let answer = self.records(asked, RecordClass::Patient, &wanted)?;
            let next = answer.records.iter().filter_map(|record| record.members.get("merged_into")?.as_str());
            let next: BTreeSet<String> = next.map(str::to_owned).collect();
            all.ids.append(&mut wanted);
            wanted = next.difference(&all.ids).cloned().collect();
            all.records.extend(answer.records);
            all.stamps.push(answer.stamp);
            if wanted.is_empty() {
                break;
            }
        }
        Ok(all)
    }

    fn known(&self, asked: &Asked<'_>, class: RecordClass, id: &str) -> Result<(Vec<u8>, Vec<String>), FactError> {
        let mut answer = self.records(asked, class, &BTreeSet::from([id.to_owned()]))?;
        let mut stamps = vec![answer.stamp];
        if class == RecordClass::User {
            for same in self.of_same_human(asked, id, &answer.records)? {
                answer.records.extend(same.records);
                stamps.push(same.stamp);
            }
        }
        Ok((encode_records(&answer.records, asked.request.now)?, stamps))
    }

    fn records(
        &self,
        asked: &Asked<'_>,
        class: RecordClass,
        ids: &BTreeSet<String>,
    ) -> Result<RecordsAnswer, FactError> {
        let mut answer = self.source.records(&asked.request.tenant, class, ids)?;
        let vouched = asked.request.records.iter().filter(|record| record.class == class && ids.contains(&record.id));
        let said = asked.live.records.iter().filter(|record| record.class == class && ids.contains(&record.id));
        answer.records.extend(said.cloned());
        answer.records.extend(vouched.map(|record| Record { source: CALLER.into(), ..record.clone() }));
        Ok(answer)
    }
}

/// How often what is known leads to what a server is asked: charts into others, and a few people.
const STEPS_MAX: usize = CHARTS_MAX + 4;
/// Charts that are followed from one into another: the policy believes no longer chain.
const CHARTS_MAX: usize = 6;

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
    #[serde(skip_serializing_if = "Option::is_none")]
    role_start_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_end_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    role_as_of_ms: Option<u64>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    exclude_types: &'a [String],
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    exclude_labels: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    delegator: Option<&'a str>,
}

#[derive(Serialize)]
struct Value<'a> {
    entries: Vec<Entry<'a>>,
    truncated: bool,
}

#[derive(Serialize)]
struct Records {
    records: Vec<serde_json::Value>,
}

impl<'a> Entry<'a> {
    fn of((relationship, tenure): &'a (Relationship, Tenure)) -> Self {
        // The user is not repeated: the key names them.
        let Relationship { user: _, patient, kind, level, status, via, source, start, end, terms } = relationship;
        // Neither is the basis judged, which is for people.
        let Terms { basis: _, exclude_types, exclude_labels, condition, delegator } = terms;
        let (start_ms, end_ms) = (start.map(|start| start.0), end.map(|end| end.0));
        let in_ms = |at: Option<Millis>| at.map(|at| at.0);
        let (role_start_ms, role_end_ms, role_as_of_ms) = (in_ms(tenure.start), in_ms(tenure.end), in_ms(tenure.as_of));
        let (condition, delegator) = (condition.as_deref(), delegator.as_deref());
        Self {
            patient,
            kind,
            level,
            status,
            via,
            source,
            start_ms,
            end_ms,
            role_start_ms,
            role_end_ms,
            role_as_of_ms,
            exclude_types,
            exclude_labels,
            condition,
            delegator,
        }
    }
}

fn encode(held: &Held) -> Result<Vec<u8>, FactError> {
    let entries = held.relationships.iter().map(Entry::of).collect();
    serde_json::to_vec(&Value { entries, truncated: held.is_truncated }).map_err(FactError::Encode)
}

fn encode_records(records: &[Record], now: Millis) -> Result<Vec<u8>, FactError> {
    let encoded = |record: &Record| people::encode(record, now).ok_or(FactError::Record { class: record.class.code() });
    let records = records.iter().map(encoded).collect::<Result<Vec<_>, _>>()?;
    serde_json::to_vec(&Records { records }).map_err(FactError::Encode)
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

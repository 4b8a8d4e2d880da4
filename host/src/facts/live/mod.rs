//! A FHIR server as a source of facts: what its resources say about people, read when a decision asks.
//!
//! Bounded in time, size and pages; kept for a minute at the most, and each record says when it was read. All who ask
//! the same share one answer. A server that fails again and again is left alone for a while: nothing is known then,
//! and nothing is permitted.

mod breaker;
mod cache;
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chartgate_model::{DecisionRequest, Record, RecordClass, Relationship};

use super::key::FactKey;
use super::{CHARTS_MAX, FactError, roles};
pub(crate) use breaker::Breaker;
use cache::Cache;
pub(crate) use server::Server;

/// What these facts call their source.
pub(super) const SOURCE: &str = "fhir";

/// A FHIR server cannot say what it knows.
#[derive(Debug, thiserror::Error, Clone)]
pub enum LiveError {
    /// it cannot be asked, or its answer is none
    #[error("the FHIR server's `{path}`: {reason}")]
    Asked {
        /// what was asked, without ids
        path: &'static str,
        /// what came of it
        reason: String,
        /// the server is not well, and not only this answer
        unwell: bool,
    },
    /// it failed too often a moment ago
    #[error("the FHIR server failed again and again, and is left alone for a while")]
    Resting,
}

/// What FHIR servers say for one round.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Live {
    /// relationships, with their source
    pub relationships: Vec<Relationship>,
    /// records, with their source and when they were read
    pub records: Vec<Record>,
    /// a list was cut off
    pub truncated: bool,
    /// the states they were read at, `fhir@2026-11-24T10:00:00Z`
    pub stamps: BTreeSet<String>,
}

/// Something a server is asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Question {
    /// all who are related to a patient, by bare id
    Patient(String),
    /// a user, `Practitioner/17`, and whose role they are
    User(String),
    /// the roles of a practitioner
    Roles(String),
    /// the patients of a user
    List(String),
    /// some patients' charts, by bare id
    Charts(Vec<String>),
}

/// An answer, as it is kept.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) relationships: Vec<Relationship>,
    pub(super) records: Vec<Record>,
    pub(super) truncated: bool,
    pub(super) stamp: String,
}

/// Servers by the name of their base.
#[derive(Default)]
pub struct LiveFacts {
    servers: BTreeMap<String, (Arc<Server>, Cache)>,
}

impl LiveFacts {
    /// Facts of these servers, each by the name of its base.
    pub(crate) fn new(servers: impl IntoIterator<Item = (String, Server)>) -> Self {
        let kept = |server: Server| (Cache::new(server.max_age), Arc::new(server));
        let servers = servers.into_iter().map(|(name, server)| {
            let (cache, server) = kept(server);
            (name, (server, cache))
        });
        Self { servers: servers.collect() }
    }

    /// No server is asked at all.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }

    /// What the server of the request's base knows about these keys; nothing where none is asked for the tenant.
    /// `related` are patients that others relate the user to, for keys about all of a user's.
    pub async fn known(
        &self,
        asked: &DecisionRequest,
        keys: &[String],
        related: BTreeSet<String>,
    ) -> Result<Live, FactError> {
        let mut live = Live::default();
        let Some((server, cache)) = self.servers.get(&asked.base.name) else { return Ok(live) };
        if !server.tenants.contains(&asked.tenant) {
            return Ok(live);
        }
        let mut questions: BTreeSet<Question> = keys.iter().flat_map(|key| questions(key)).collect();
        let related: Vec<String> = related.into_iter().collect();
        questions.extend(related.chunks(server::IDS_MAX).map(|ids| Question::Charts(ids.to_vec())));
        let mut put = BTreeSet::new();
        // A chart that was merged leads to the next.
        for _ in 0..CHARTS_MAX {
            let mut next = BTreeSet::new();
            for question in questions {
                let known = cache.answer(server, &asked.tenant, &question).await?;
                let merged = known.records.iter().filter_map(|record| record.members.get("merged_into")?.as_str());
                next.extend(merged.map(|id| Question::Charts(vec![id.to_owned()])));
                live.add(&known);
                put.insert(question);
            }
            questions = next.difference(&put).cloned().collect();
            if questions.is_empty() {
                break;
            }
        }
        Ok(live)
    }
}

impl Live {
    /// What was said already, by another answer, is not said twice.
    fn add(&mut self, known: &Known) {
        for relationship in &known.relationships {
            if !self.relationships.contains(relationship) {
                self.relationships.push(relationship.clone());
            }
        }
        for record in &known.records {
            // Two resources may speak of one user: both count.
            if !self.records.contains(record) {
                self.records.push(record.clone());
            }
        }
        self.truncated |= known.truncated;
        self.stamps.insert(known.stamp.clone());
    }
}

fn questions(key: &str) -> Vec<Question> {
    let with_roles = |question, user: &str| {
        let roles = match user {
            user if roles::is_practitioner(user) => Some(Question::Roles(user.to_owned())),
            user if roles::is_role(user) => Some(Question::User(user.to_owned())),
            _ => None,
        };
        [Some(question), roles].into_iter().flatten().collect()
    };
    match FactKey::parse(key) {
        Some(FactKey::Between { user, patient }) => with_roles(Question::Patient(patient.to_owned()), user),
        Some(FactKey::Of { class: RecordClass::Patient, id }) => vec![Question::Charts(vec![id.to_owned()])],
        Some(FactKey::Of { class: RecordClass::User, id }) => vec![Question::User(id.to_owned())],
        Some(FactKey::OfUser { user } | FactKey::PatientsOf { user }) => {
            with_roles(Question::List(user.to_owned()), user)
        }
        // Who may be an app is no business of a FHIR server.
        Some(FactKey::Of { class: RecordClass::Client, .. }) | None => Vec::new(),
    }
}

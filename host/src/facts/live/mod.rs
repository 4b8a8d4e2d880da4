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
use super::{FactError, roles};
pub(crate) use breaker::Breaker;
use cache::Cache;
pub(super) use server::IDS_MAX;
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
    /// one answer led to the next, and that to another
    #[error("what the FHIR server says leads on and on")]
    Endless,
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

    /// Whether a server is asked for the base and the tenant of a request.
    pub(super) fn answers(&self, asked: &DecisionRequest) -> bool {
        self.servers.get(&asked.base.name).is_some_and(|(server, _)| server.tenants.contains(&asked.tenant))
    }

    /// Ask the server of the request's base some questions, in addition to what it said before.
    pub(super) async fn ask(
        &self,
        asked: &DecisionRequest,
        questions: &BTreeSet<Question>,
        live: &mut Live,
    ) -> Result<(), FactError> {
        let Some((server, cache)) = self.servers.get(&asked.base.name) else { return Ok(()) };
        for question in questions {
            let known = cache.answer(server, &asked.tenant, question).await?;
            live.add(&known);
        }
        Ok(())
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

/// What a server is asked for a key; whoever a user is besides is asked further (`humans`).
pub(super) fn question(key: &str) -> Option<Question> {
    match FactKey::parse(key)? {
        FactKey::Between { patient, .. } => Some(Question::Patient(patient.to_owned())),
        FactKey::Of { class: RecordClass::Patient, id } => Some(Question::Charts(vec![id.to_owned()])),
        FactKey::Of { class: RecordClass::User, id } => Some(Question::User(id.to_owned())),
        FactKey::OfUser { user } | FactKey::PatientsOf { user } => Some(Question::List(user.to_owned())),
        // Who may be an app is no business of a FHIR server.
        FactKey::Of { class: RecordClass::Client, .. } => None,
    }
}

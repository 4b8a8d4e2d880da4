//! A second opinion on decisions, written from the specifications and the house rules alone.
//!
//! It shares no code with the policy: plain loops over `serde_json` values, and the official definitions
//! and rulings read at run time. [`judge`] says what has to come out; [`generate`] makes requests to ask
//! both about.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test support: a failure is a failed test")]

pub mod case;
pub mod content;
pub mod definitions;
pub mod fhirpath;
pub mod filter;
pub mod generate;
mod instance;
pub mod people;
pub mod reference;
pub mod scope;
pub mod search;
pub mod value;
mod write;

use std::collections::BTreeSet;

use chartgate_model::{DecisionRequest, Interaction, Millis, Relationship, SubjectKind};
use serde_json::Value;

use definitions::{Class, Definitions};
use filter::Filter;
use people::Reach;
use scope::{Clause, Context};

/// When a permit's relationships end; several where several clauses permit and each would do.
pub type Ends = BTreeSet<Option<Millis>>;

/// What has to come out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opinion {
    /// yes
    Permit {
        /// ids of the obligations
        obligations: BTreeSet<String>,
        /// what a narrowed search has to be confined to
        narrowed: Option<Narrowed>,
        /// when it ends: one of these
        ends: Ends,
    },
    /// no
    Deny,
    /// not covered, and why
    Unjudged(&'static str),
}

/// A search as it may be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowed {
    /// patients it names; `None` where it names none
    pub patients: Option<BTreeSet<String>>,
    /// other parameters it must have, alternatives in order
    pub parameters: BTreeSet<(String, String)>,
}

/// How far a clause reaches.
enum Bound {
    All,
    Patients(Reach),
}

/// A clause that counts for the type and letter asked about.
struct Live {
    context: Context,
    bound: Bound,
    filters: Vec<Filter>,
    pairs: Vec<(String, String)>,
}

/// Everything a decision depends on.
struct World<'a> {
    request: &'a DecisionRequest,
    definitions: &'static Definitions,
    settings: &'a Value,
    relationships: &'a [Relationship],
    clauses: Vec<Clause>,
}

/// Judge a request under the settings of a release; `relationships` are all there are, with their sources.
pub fn judge(request: &DecisionRequest, settings: &Value, relationships: &[Relationship]) -> Opinion {
    let Some(definitions) = definitions::of_version(&request.base.version) else { return Opinion::Deny };
    if request.request.interaction == Interaction::Capabilities {
        return permit([None].into());
    }
    let clauses = scope::clauses(&request.subject.scope, definitions);
    let world = World { request, definitions, settings, relationships, clauses };
    if !people::fits(&request.subject, world.set("system_clients")) || request.request.conditional {
        return Opinion::Deny;
    }
    match request.request.interaction {
        Interaction::Read | Interaction::Vread => world.read(),
        Interaction::HistoryInstance | Interaction::HistoryType | Interaction::HistorySystem => world.history(),
        Interaction::SearchType => world.search(),
        Interaction::Create | Interaction::Update | Interaction::Delete => world.write(),
        Interaction::Operation => world.operation(),
        _ => Opinion::Deny,
    }
}

fn permit(ends: Ends) -> Opinion {
    Opinion::Permit { obligations: BTreeSet::new(), narrowed: None, ends }
}

impl World<'_> {
    /// Whether a setting is on.
    fn set(&self, name: &str) -> bool {
        self.settings[name].as_bool().unwrap_or(false)
    }

    /// Whether the caller can carry out an obligation.
    fn can(&self, obligation: &str) -> bool {
        self.request.obligations.iter().any(|declared| declared == obligation)
    }

    /// A permit with obligations, if the caller declared them all.
    fn permit_with(&self, obligations: &[&str], ends: Ends) -> Opinion {
        if !obligations.iter().all(|id| self.can(id)) {
            return Opinion::Deny;
        }
        let obligations = obligations.iter().map(|id| (*id).to_owned()).collect();
        Opinion::Permit { obligations, narrowed: None, ends }
    }

    /// The clauses that count for a type and a letter. A clause with a filter that cannot be judged, or
    /// without anybody it could be about, does not.
    fn live(&self, kind: &str, letter: char, writing: bool) -> Vec<Live> {
        let mut live = Vec::new();
        for clause in &self.clauses {
            if (clause.kind != kind && clause.kind != "*") || !clause.letters.contains(letter) {
                continue;
            }
            let Some(bound) = self.bound(clause.context, writing) else { continue };
            let parse = |(name, value): &(String, String)| {
                Filter::parse(self.definitions, kind, name, value, &self.request.base.url)
            };
            let Some(filters) = clause.filters.iter().map(parse).collect::<Option<Vec<_>>>() else { continue };
            live.push(Live { context: clause.context, bound, filters, pairs: clause.filters.clone() });
        }
        live
    }

    fn bound(&self, context: Context, writing: bool) -> Option<Bound> {
        let subject = &self.request.subject;
        if (subject.kind == SubjectKind::System) != (context == Context::System) {
            return None;
        }
        let reach = people::reach(subject, self.relationships, self.request.now, writing);
        match context {
            Context::System => Some(Bound::All),
            Context::User => Some(Bound::Patients(reach)),
            Context::Patient => {
                let launch = subject.patient.as_deref().filter(|id| reference::is_id(id))?;
                let end = *reach.get(launch)?;
                Some(Bound::Patients([(launch.to_owned(), end)].into()))
            }
        }
    }

    /// Whether a resource may be touched with a letter: the ends of what permits it, none for no.
    fn granted(&self, letter: char, writing: bool, resource: &Value) -> Ends {
        let kind = self.request.request.resource_type.as_str();
        let mut ends = Ends::new();
        for live in self.live(kind, letter, writing) {
            if live.filters.iter().all(|filter| filter.matches(resource, &self.request.base.url)) {
                ends.extend(self.belongs(&live, writing, resource));
            }
        }
        ends
    }

    /// Whether a resource is within a clause's reach.
    fn belongs(&self, live: &Live, writing: bool, resource: &Value) -> Ends {
        let kind = self.request.request.resource_type.as_str();
        let class = self.definitions.class(kind);
        if class == Class::Refused || (writing && self.is_unwritable(kind)) {
            return Ends::new();
        }
        if class == Class::Open {
            return open_end(live);
        }
        let reach = match &live.bound {
            Bound::All => return [None].into(),
            Bound::Patients(reach) => reach,
        };
        if class == Class::Patient {
            let id = self.request.request.id.as_deref().or_else(|| resource["id"].as_str());
            return id.and_then(|id| reach.get(id)).copied().into_iter().collect();
        }
        let named = content::named(self.definitions, kind, resource, &self.request.base.url);
        if named.malformed {
            return Ends::new();
        }
        let within = |patients: &[String]| patients.iter().filter_map(|id| reach.get(id)).copied().collect::<Ends>();
        let mut conferring = within(&named.about);
        if self.set("role_membership") && !writing {
            conferring.extend(within(&named.roles));
        }
        if conferring.is_empty() || !self.definitions.listed("exclusive", kind) {
            return conferring;
        }
        let all: Vec<&String> = named.about.iter().chain(&named.roles).collect();
        if named.unclear || all.iter().any(|id| !reach.contains_key(*id)) {
            return Ends::new();
        }
        let first = all.iter().filter_map(|id| reach.get(*id)).copied().fold(None, people::earlier);
        [first].into()
    }

    /// Types no app writes, whatever its scopes.
    fn is_unwritable(&self, kind: &str) -> bool {
        self.definitions.class(kind) == Class::Open || self.definitions.listed("readonly", kind)
    }

    /// Operations are refused; those known to be safe are left to the tests of operations.
    fn operation(&self) -> Opinion {
        let name = self.request.request.operation.as_deref().unwrap_or_default();
        match (self.request.request.resource_type.as_str(), name) {
            ("Patient", "everything") | ("Observation", "lastn") | ("DocumentReference", "docref") | (_, "meta") => {
                Opinion::Unjudged("operation")
            }
            (_, "expand" | "lookup" | "validate-code" | "translate" | "subsumes") => Opinion::Unjudged("operation"),
            _ => Opinion::Deny,
        }
    }
}

/// What a clause gives on a type for which a scope is enough: the launch patient has to be reached still.
fn open_end(live: &Live) -> Ends {
    match (&live.bound, live.context) {
        (Bound::Patients(reach), Context::Patient) => reach.values().copied().collect(),
        _ => [None].into(),
    }
}

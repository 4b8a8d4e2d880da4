//! A second opinion on decisions, written from the specifications and the house rules alone.
//!
//! It shares no code with the policy: plain loops over `serde_json` values, and the official definitions
//! and rulings read at run time. [`judge`] says what has to come out; [`generate`] makes requests to ask
//! both about.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "test support: a failure is a failed test")]

pub mod case;
pub mod clinic;
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
mod targets;
pub mod value;
mod write;

use std::collections::BTreeSet;

use chartgate_model::{DecisionRequest, Interaction, Millis, Record, Relationship, SubjectKind};
use serde_json::Value;

use definitions::{Class, Definitions};
use filter::Filter;
use people::{People, Reach, Standing};
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
    /// whoever the user reaches
    User,
    /// the launch patient, and the chart that is left of theirs
    Launch {
        named: String,
        survivor: String,
    },
}

/// A clause that counts for the type and letter asked about.
struct Live {
    context: Context,
    bound: Bound,
    writing: bool,
    filters: Vec<Filter>,
    pairs: Vec<(String, String)>,
}

/// Everything a decision depends on.
struct World<'a> {
    request: &'a DecisionRequest,
    definitions: &'static Definitions,
    settings: &'a Value,
    people: People<'a>,
    clauses: Vec<Clause>,
}

/// Judge a request under the settings of a release; `relationships` and `records` are all there are, with their
/// sources.
pub fn judge(
    request: &DecisionRequest,
    settings: &Value,
    relationships: &[Relationship],
    records: &[Record],
) -> Opinion {
    let Some(definitions) = definitions::of_version(&request.base.version) else { return Opinion::Deny };
    if request.request.interaction == Interaction::Capabilities {
        return permit([None].into());
    }
    let clauses = scope::clauses(&request.subject.scope, definitions);
    let people = People { subject: &request.subject, now: request.now, settings, relationships, records };
    let world = World { request, definitions, settings, people, clauses };
    if !people::fits(&request.subject, world.set("system_clients")) {
        return Opinion::Deny;
    }
    let Some(cap) = people.gate() else { return Opinion::Deny };
    let opinion = match request.request.interaction {
        Interaction::Read | Interaction::Vread => world.read(),
        Interaction::HistoryInstance | Interaction::HistoryType | Interaction::HistorySystem => world.history(),
        Interaction::SearchType => world.search(),
        Interaction::SearchSystem => world.search_types(),
        Interaction::Create | Interaction::Update | Interaction::Patch | Interaction::Delete => world.write(),
        Interaction::Operation => world.operation(),
        _ => Opinion::Deny,
    };
    capped(opinion, cap)
}

fn permit(ends: Ends) -> Opinion {
    Opinion::Permit { obligations: BTreeSet::new(), narrowed: None, ends }
}

/// No permit outlasts the client and the user.
fn capped(opinion: Opinion, cap: Option<Millis>) -> Opinion {
    match opinion {
        Opinion::Permit { obligations, narrowed, ends } => {
            let ends = ends.into_iter().map(|end| people::earlier(end, cap)).collect();
            Opinion::Permit { obligations, narrowed, ends }
        }
        other => other,
    }
}

impl World<'_> {
    /// What is thought of another request by the same people.
    fn of_another<T>(&self, request: &DecisionRequest, think: impl FnOnce(&World<'_>) -> T) -> T {
        let People { now, settings, relationships, records, .. } = self.people;
        let people = People { subject: &request.subject, now, settings, relationships, records };
        let (definitions, clauses) = (self.definitions, self.clauses.clone());
        think(&World { request, definitions, settings: self.settings, people, clauses })
    }

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
            let Some(bound) = self.bound(clause.context, kind, writing) else { continue };
            let parse = |(name, value): &(String, String)| {
                Filter::parse(self.definitions, kind, name, value, &self.request.base.url)
            };
            let Some(filters) = clause.filters.iter().map(parse).collect::<Option<Vec<_>>>() else { continue };
            live.push(Live { context: clause.context, bound, writing, filters, pairs: clause.filters.clone() });
        }
        live
    }

    fn bound(&self, context: Context, kind: &str, writing: bool) -> Option<Bound> {
        let subject = &self.request.subject;
        if (subject.kind == SubjectKind::System) != (context == Context::System) {
            return None;
        }
        match context {
            Context::System => Some(Bound::All),
            Context::User => Some(Bound::User),
            Context::Patient => {
                let launch = subject.patient.as_deref().filter(|id| reference::is_id(id))?;
                let survivor = self.people.survivor(launch)?;
                let is_reached = !self.standings(kind, launch, writing).is_empty();
                is_reached.then(|| Bound::Launch { named: launch.to_owned(), survivor })
            }
        }
    }

    /// The standings towards a patient that reach a type, however the patient is named.
    fn standings(&self, kind: &str, patient: &str, writing: bool) -> Vec<Standing> {
        let mut standings = self.people.standings(patient, writing);
        let is_asked = self.definitions.class(kind) != Class::Open && kind != "*";
        standings.retain(|standing| !is_asked || standing.reaches(kind, self.settings));
        standings
    }

    /// The same within a clause, which is not one for everybody.
    fn within(&self, live: &Live, kind: &str, patient: &str) -> Vec<Standing> {
        match &live.bound {
            Bound::Launch { survivor, .. } if self.people.survivor(patient).as_ref() != Some(survivor) => Vec::new(),
            // The launch names a patient as well, and lasts no longer than that one is reached.
            Bound::Launch { named, .. } if named != patient => {
                let launch = self.standings(kind, named, live.writing);
                let Some(end) = launch.first().map(|standing| standing.end) else { return Vec::new() };
                let mut standings = self.standings(kind, patient, live.writing);
                standings.iter_mut().for_each(|standing| standing.end = people::earlier(standing.end, end));
                standings
            }
            _ => self.standings(kind, patient, live.writing),
        }
    }

    /// Whom a clause reaches, the named ones where some are named.
    fn reach(&self, live: &Live, kind: &str, named: Option<&BTreeSet<String>>) -> Reach {
        let all = match (named, &live.bound) {
            (Some(named), _) => named.clone(),
            (None, Bound::Launch { named, survivor }) => [named.clone(), survivor.clone()].into(),
            (None, _) => {
                let reached: BTreeSet<String> = self.people.reached(live.writing).into_keys().collect();
                let left: Vec<String> = reached.iter().filter_map(|id| self.people.survivor(id)).collect();
                reached.into_iter().chain(left).collect()
            }
        };
        let reached = all.into_iter().map(|id| (id.clone(), self.within(live, kind, &id)));
        reached.filter(|(_, standings)| !standings.is_empty()).collect()
    }

    /// Whether a resource may be touched with a letter: the ends of what permits it, none for no.
    fn granted(&self, letter: char, writing: bool, resource: &Value) -> Ends {
        let kind = self.request.request.resource_type.as_str();
        let mut ends = Ends::new();
        for live in self.live(kind, letter, writing) {
            if live.filters.iter().all(|filter| filter.matches(resource, &self.request.base.url)) {
                ends.extend(self.belongs(&live, resource));
            }
        }
        ends
    }

    /// Whether a resource is within a clause's reach.
    fn belongs(&self, live: &Live, resource: &Value) -> Ends {
        let kind = self.request.request.resource_type.as_str();
        let class = self.definitions.class(kind);
        if class == Class::Refused || (live.writing && self.is_unwritable(kind)) {
            return Ends::new();
        }
        if class == Class::Open {
            return self.open_end(live);
        }
        // What cannot be read as what it is nobody sees.
        let named = match class {
            Class::Record => content::named(self.definitions, kind, resource, &self.request.base.url),
            _ => content::Named::default(),
        };
        if named.malformed {
            return Ends::new();
        }
        if matches!(live.bound, Bound::All) {
            return [None].into();
        }
        let end_of = |id: &String| {
            let standings = self.within(live, kind, id);
            standings.into_iter().find(|standing| !standing.is_hidden(resource)).map(|standing| standing.end)
        };
        if class == Class::Patient {
            let id = self.request.request.id.as_deref().or_else(|| resource["id"].as_str());
            return id.and_then(|id| end_of(&id.to_owned())).into_iter().collect();
        }
        let Some(within) = self.contained(resource) else { return Ends::new() };
        let within: Option<Vec<_>> = within.iter().map(end_of).collect();
        let Some(within) = within else { return Ends::new() };
        let within = within.into_iter().fold(None, people::earlier);
        let mut conferring: Ends = named.about.iter().filter_map(end_of).collect();
        if self.set("role_membership") && !live.writing {
            conferring.extend(named.roles.iter().filter_map(end_of));
        }
        if kind == "Provenance" && !live.writing {
            let Some(spoken) = self.spoken_of(live, resource) else { return Ends::new() };
            let names_nobody = named.about.is_empty() && named.roles.is_empty() && !named.unclear;
            let own = if names_nobody && spoken.of_somebody { [None].into() } else { conferring };
            conferring = own.iter().flat_map(|own| spoken.ends.iter().map(|end| people::earlier(*own, *end))).collect();
        }
        if conferring.is_empty() || !self.definitions.listed("exclusive", kind) {
            return conferring.into_iter().map(|end| people::earlier(end, within)).collect();
        }
        let all: Option<Vec<_>> = named.about.iter().chain(&named.roles).map(end_of).collect();
        match all.filter(|_| !named.unclear) {
            Some(ends) => {
                let all = ends.into_iter().fold(within, people::earlier);
                conferring.into_iter().map(|end| people::earlier(end, all)).collect()
            }
            None => Ends::new(),
        }
    }

    /// The patients whose records a resource contains; `None` where one of them cannot be told.
    fn contained(&self, resource: &Value) -> Option<Vec<String>> {
        let mut patients = Vec::new();
        let contained = resource.get("contained").map_or(Some(&[][..]), |list| list.as_array().map(Vec::as_slice))?;
        for one in contained {
            let kind = one["resourceType"].as_str().filter(|kind| self.definitions.has_type(kind))?;
            if self.definitions.class(kind) == Class::Record {
                let named = content::named(self.definitions, kind, one, &self.request.base.url);
                if named.malformed {
                    return None;
                }
                patients.extend(named.about);
                if self.set("role_membership") {
                    patients.extend(named.roles);
                }
            }
        }
        Some(patients)
    }

    /// What a clause gives on a type for which a scope is enough: the launch patient has to be reached still.
    fn open_end(&self, live: &Live) -> Ends {
        match &live.bound {
            Bound::Launch { named, .. } => {
                self.people.standings(named, live.writing).iter().take(1).map(|one| one.end).collect()
            }
            _ => [None].into(),
        }
    }

    /// Types no app writes, whatever its scopes.
    fn is_unwritable(&self, kind: &str) -> bool {
        let kept = self.settings["writable_care_types"].as_array();
        let of_care = ["Appointment", "Encounter"].contains(&kind)
            && !kept.is_some_and(|types| types.iter().any(|one| one == kind));
        self.definitions.class(kind) == Class::Open || self.definitions.listed("readonly", kind) || of_care
    }

    /// Operations are refused, but for those that come down to something else.
    fn operation(&self) -> Opinion {
        let request = &self.request.request;
        let name = request.operation.as_deref().unwrap_or_default();
        match (request.resource_type.as_str(), request.id.is_some(), name) {
            ("Patient", true, "everything") => return self.everything(),
            ("Encounter", true, "everything") | ("Composition", true, "document") => return self.document(),
            (_, true, "meta") => return self.read(),
            (_, false, "validate") if request.body.is_some() => return self.write(),
            _ => {}
        }
        match (request.resource_type.as_str(), name) {
            ("Observation", "lastn") | ("DocumentReference", "docref") => Opinion::Unjudged("operation"),
            (_, "expand" | "lookup" | "validate-code" | "translate" | "subsumes") => Opinion::Unjudged("operation"),
            _ => Opinion::Deny,
        }
    }
}

//! Provenances: what one speaks of is what it points at (FHIR R4, Provenance, `target`). One that names no patient itself
//! is judged by its targets: the app has to see each of them, and the patients of each are those of the Provenance.

use alloc::borrow::Cow;
use alloc::format;
use alloc::vec::Vec;

use crate::access::instance::{Labels, Named, labels};
use crate::access::reach::{Failures, Stop};
use crate::access::relationship::Standing;
use crate::compartment::membership;
use crate::decide::Walk;
use crate::interaction::{Action, Form};
use crate::json::{Json, Malformed, Value};
use crate::reason::Reason;
use crate::reference::{Target, split_local, target};
use crate::rule::Rule;
use crate::scope::{Clause, Letters};
use crate::tables::{Class, ResourceType};
use crate::types::Request;

/// The type.
pub(crate) const PROVENANCE: &str = "Provenance";
/// Targets of one Provenance that are followed.
const TARGETS_MAX: usize = 16;

/// A resource that came along with the one asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Beside<'a> {
    pub(crate) resource_type: &'a str,
    pub(crate) id: &'a str,
    /// nothing where the server has none
    pub(crate) content: Option<&'a [u8]>,
}

/// What came along with a request that may need it.
pub(crate) fn stored_beside<'a>(request: &Request<'a>) -> Vec<Beside<'a>> {
    if request.resource_type != PROVENANCE {
        return Vec::new();
    }
    let split = request.stored.iter().filter_map(|stored| Some((split_local(stored.key)?, stored.content)));
    split.map(|((resource_type, id), content)| Beside { resource_type, id, content }).collect()
}

/// The targets of the Provenance that a request is about, where it came along; of anything else there are none.
pub(crate) fn targets_asked<'a>(request: &Request<'a>) -> Option<Vec<Request<'a>>> {
    let Some(id) = request.id.filter(|_| request.resource_type == PROVENANCE) else { return Some(Vec::new()) };
    let key = match request.version {
        Some(version) => format!("{PROVENANCE}/{id}/_history/{version}"),
        None => format!("{PROVENANCE}/{id}"),
    };
    let own = request.stored.iter().find(|stored| stored.key == key)?.content?;
    targets(request, own)
}

/// A read of each target of a Provenance but patients, who are whose record it is; nothing where one of them cannot be
/// told.
///
/// SECURITY: one target that is not judged could be anybody's. A Provenance is none of its own targets.
pub(crate) fn targets<'a>(request: &Request<'a>, content: &'a [u8]) -> Option<Vec<Request<'a>>> {
    let json = Json::parse(content).ok()?;
    let Ok(targets) = json.root().get("target") else { return None };
    let Some(targets) = targets else { return Some(Vec::new()) };
    let mut all = Vec::new();
    for one in targets.elements() {
        all.extend(target_of(request, one)?);
    }
    (targets.is_array() && all.len() <= TARGETS_MAX).then_some(all)
}

/// The read of one target of this base: nothing of a patient, and `None` where it cannot be told or is a version, which
/// may be somebody else's than what there is now.
fn target_of<'a>(request: &Request<'a>, value: Value<'_, 'a>) -> Option<Option<Request<'a>>> {
    let Ok(Some(Cow::Borrowed(reference))) = value.get_string("reference") else { return None };
    match target(reference, request.base) {
        Target::Local { resource_type: "Patient", .. } => Some(None),
        Target::Local { resource_type, id } if resource_type != PROVENANCE && !reference.contains("/_history/") => {
            Some(Some(request.reading(resource_type, id)))
        }
        _ => None,
    }
}

/// What the targets of a Provenance give together.
#[derive(Default)]
pub(super) struct OfTargets {
    /// nothing where there is none but patients and what is nobody's
    pub(super) standing: Option<Standing>,
    /// when the first of them is not seen any more, milliseconds since 1970
    pub(super) end_ms: Option<u64>,
}

impl OfTargets {
    fn add(&mut self, other: Self) {
        self.end_ms = self.end_ms.into_iter().chain(other.end_ms).min();
        self.standing = match (self.standing.take(), other.standing) {
            (Some(one), Some(other)) => Some(one.and(&other)),
            (one, other) => one.or(other),
        };
    }
}

impl<'r, 'a> Walk<'r, 'a> {
    /// Every target is within reach of the app, and of the clause the Provenance is read by.
    pub(super) fn by_targets(&mut self, clause: &Clause<'a>, own: &Labels) -> Result<OfTargets, Stop> {
        let targets = self.targets.ok_or(Reason::NotInCompartment)?;
        let (request, at_hand, parsed, on) = (self.request, self.at_hand, self.parsed, self.people.on);
        let mut failures = Failures::default();
        let mut all = OfTargets::default();
        for target in targets {
            match self.by_target(clause, own, target) {
                Ok(one) => all.add(one),
                Err(stop) => failures.add(stop),
            }
            (self.request, self.at_hand, self.parsed) = (request, at_hand, parsed);
            (self.people.on, self.targets) = (on, Some(targets));
        }
        if failures.is_empty() { Ok(all) } else { Err(failures.into_stop(Reason::NotInCompartment)) }
    }

    fn by_target(&mut self, clause: &Clause<'a>, own: &Labels, target: &'r Request<'a>) -> Result<OfTargets, Stop> {
        let (name, id) = (target.resource_type, target.id.unwrap_or_default());
        let on = match self.version.resource_type(name) {
            Some(on) if on.class == Class::Patient => on,
            Some(on) if on.class != Class::Unruled => return self.sees_anybodys(on),
            _ => return Err(Reason::NotInCompartment.into()),
        };
        let content = self.beside(name, id)?;
        // As a part of the Provenance: whose it is, and its labels with those of the Provenance.
        let malformed = |_: Malformed| Stop::Deny(Reason::ContentMalformed);
        let json = Json::parse(content).map_err(malformed)?;
        let members = membership(json.root(), on, Some(id), self.request.base, self.settings).map_err(malformed)?;
        let all: Labels = own.iter().cloned().chain(labels(json.root()).map_err(malformed)?).collect();
        let conferred = self.conferred(clause, &Named { members: &members, labels: &all }, false);
        self.trace.pass(Rule::Compartment, || format!("the Provenance is about {name}/{id}"));
        let seen = self.sees_beside(target, content);
        match (conferred, seen) {
            (Ok(standing), Ok(end_ms)) => Ok(OfTargets { standing: Some(standing), end_ms }),
            (conferred, seen) => {
                let mut all = Failures::default();
                [conferred.err(), seen.err()].into_iter().flatten().for_each(|stop| all.add(stop));
                Err(all.into_stop(Reason::NotInCompartment))
            }
        }
    }

    /// Whether the app sees everything of a type that is nobody's record: it says nothing of whose the Provenance is.
    fn sees_anybodys(&mut self, on: &'static ResourceType) -> Result<OfTargets, Stop> {
        let action = Action::of(Form::Lookup, Letters::R);
        let clauses = self.covered(Some(on), action)?;
        self.people.on = Some(on);
        let end_ms = self.on_type(on, action, clauses)?.expires_at_ms;
        Ok(OfTargets { standing: None, end_ms })
    }

    /// Whether the app sees a resource that came along, and until when.
    fn sees_beside(&mut self, target: &'r Request<'a>, content: &'a [u8]) -> Result<Option<u64>, Stop> {
        (self.request, self.at_hand, self.parsed) = (target, Some(content), None);
        self.targets = Some(&[]);
        let permit = self.read(Letters::R)?;
        if permit.obligations.is_empty() { Ok(permit.expires_at_ms) } else { Err(Reason::ContentMissing.into()) }
    }

    /// A resource that came along with the one asked about.
    fn beside(&mut self, name: &str, id: &str) -> Result<&'a [u8], Stop> {
        let mut found = self.beside.iter().filter(|beside| beside.resource_type == name && beside.id == id);
        match (found.next(), found.next()) {
            (Some(Beside { content: Some(content), .. }), None) => Ok(content),
            // Several versions of one: each may be somebody else's.
            (Some(_), _) => Err(Reason::NotInCompartment.into()),
            // What an answer does not hold is not fetched to judge it.
            (None, _) if self.at_hand.is_some() || self.request.facts_final => Err(Reason::NotInCompartment.into()),
            (None, _) => {
                self.trace.need(Rule::Content, || format!("{name}/{id}"));
                Err(Stop::Needs(Vec::from([format!("resource/{name}/{id}")])))
            }
        }
    }
}

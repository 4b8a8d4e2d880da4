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
use crate::json::{Json, Malformed, Value};
use crate::reason::Reason;
use crate::reference::{Target, split_local, target};
use crate::rule::Rule;
use crate::scope::{Clause, Letters};
use crate::tables::Class;
use crate::types::{Interaction, Request};

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

/// The targets of the Provenance that a request reads, where it came along.
pub(crate) fn targets_asked<'a>(request: &Request<'a>, beside: &[Beside<'a>]) -> Vec<Request<'a>> {
    let reads = request.interaction == Interaction::Read && request.resource_type == PROVENANCE;
    let own = beside.iter().find(|one| reads && one.resource_type == PROVENANCE && request.id == Some(one.id));
    own.and_then(|own| own.content).map(|content| targets(request, content)).unwrap_or_default()
}

/// A read of each target of a Provenance; nothing where one of them cannot be told.
///
/// SECURITY: one target that is not judged could be anybody's. A Provenance is none of its own targets.
pub(crate) fn targets<'a>(request: &Request<'a>, content: &'a [u8]) -> Vec<Request<'a>> {
    let read = |json: &Json<'a>| -> Result<Option<Vec<Request<'a>>>, Malformed> {
        let root = json.root();
        let Some(targets) = root.get("target")?.filter(|targets| targets.is_array()) else { return Ok(None) };
        targets.elements().map(|one| target_of(request, one)).take(TARGETS_MAX + 1).collect()
    };
    let found = Json::parse(content).and_then(|json| read(&json)).ok().flatten().unwrap_or_default();
    if found.len() > TARGETS_MAX { Vec::new() } else { found }
}

/// The read of one target, of this base and not of a version.
fn target_of<'a>(request: &Request<'a>, value: Value<'_, 'a>) -> Result<Option<Request<'a>>, Malformed> {
    let Some(Cow::Borrowed(reference)) = value.get_string("reference")? else { return Ok(None) };
    Ok(match target(reference, request.base) {
        Target::Local { resource_type, id } if resource_type != PROVENANCE => Some(request.reading(resource_type, id)),
        _ => None,
    })
}

impl<'r, 'a> Walk<'r, 'a> {
    /// Every target is within reach of the app, and of the clause the Provenance is read by.
    pub(super) fn by_targets(&mut self, clause: &Clause<'a>, own: &Labels) -> Result<Standing, Stop> {
        let targets = self.targets;
        if targets.is_empty() {
            return Err(Reason::NotInCompartment.into());
        }
        let (request, at_hand, parsed, on) = (self.request, self.at_hand, self.parsed, self.people.on);
        let mut failures = Failures::default();
        let mut standing = None;
        for target in targets {
            match self.by_target(clause, own, target) {
                Ok(other) => {
                    standing = Some(standing.map_or_else(|| other.clone(), |one: Standing| one.and(&other)));
                }
                Err(stop) => failures.add(stop),
            }
            (self.request, self.at_hand, self.parsed) = (request, at_hand, parsed);
            (self.people.on, self.targets) = (on, targets);
        }
        match (failures.is_empty(), standing) {
            (true, Some(standing)) => Ok(standing),
            _ => Err(failures.into_stop(Reason::NotInCompartment)),
        }
    }

    fn by_target(&mut self, clause: &Clause<'a>, own: &Labels, target: &'r Request<'a>) -> Result<Standing, Stop> {
        let (name, id) = (target.resource_type, target.id.unwrap_or_default());
        let on = self.version.resource_type(name).filter(|on| on.class == Class::Patient);
        let on = on.ok_or(Reason::NotInCompartment)?;
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
            (Ok(standing), Ok(())) => Ok(standing),
            (conferred, seen) => {
                let mut all = Failures::default();
                [conferred.err(), seen.err()].into_iter().flatten().for_each(|stop| all.add(stop));
                Err(all.into_stop(Reason::NotInCompartment))
            }
        }
    }

    /// Whether the app sees a resource that came along.
    fn sees_beside(&mut self, target: &'r Request<'a>, content: &'a [u8]) -> Result<(), Stop> {
        (self.request, self.at_hand, self.parsed, self.targets) = (target, Some(content), None, &[]);
        let permit = self.read(Letters::R)?;
        if permit.obligations.is_empty() { Ok(()) } else { Err(Reason::ContentMissing.into()) }
    }

    /// A resource that came along with the one asked about.
    fn beside(&mut self, name: &str, id: &str) -> Result<&'a [u8], Stop> {
        match self.beside.iter().find(|beside| beside.resource_type == name && beside.id == id) {
            Some(Beside { content: Some(content), .. }) => Ok(content),
            Some(_) => Err(Reason::NotInCompartment.into()),
            // What an answer does not hold is not fetched to judge it.
            None if self.at_hand.is_some() || self.request.facts_final => Err(Reason::NotInCompartment.into()),
            None => {
                self.trace.need(Rule::Content, || format!("{name}/{id}"));
                Err(Stop::Needs(Vec::from([format!("resource/{name}/{id}")])))
            }
        }
    }
}

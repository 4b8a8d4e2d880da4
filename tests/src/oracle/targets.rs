//! What a Provenance speaks of.

use chartgate_model::{FhirRequest, Interaction};
use serde_json::Value;

use super::content::named;
use super::definitions::Class;
use super::people::earlier;
use super::reference::{self, Literal};
use super::{Ends, Live, Opinion, World};

/// Targets that are followed.
const TARGETS_MAX: usize = 16;

/// What all targets together give.
pub(super) struct Spoken {
    /// one of them says whose the Provenance is
    pub(super) of_somebody: bool,
    /// until when all of them are seen: one of these
    pub(super) ends: Ends,
}

impl World<'_> {
    /// Each target but patients has to be seen, those that are somebody's within the clause; `None` where one is not.
    pub(super) fn spoken_of(&self, live: &Live, provenance: &Value) -> Option<Spoken> {
        let mut spoken = Spoken { of_somebody: false, ends: [None].into() };
        let targets = match provenance.get("target") {
            None => return Some(spoken),
            Some(targets) => targets.as_array()?,
        };
        let mut followed = 0;
        for target in targets {
            let text = target["reference"].as_str()?;
            let Literal::Local { kind, id } = reference::read(text, &self.request.base.url) else { return None };
            if kind == "Patient" {
                continue;
            }
            followed += 1;
            let of_one = match self.definitions.class(&kind) {
                _ if kind == "Provenance" || text.contains("/_history/") || followed > TARGETS_MAX => return None,
                Class::Open => self.sees_any(&kind),
                Class::Record => {
                    spoken.of_somebody = true;
                    self.sees_one(live, provenance, &kind, &id)?
                }
                Class::Patient | Class::Refused => return None,
            };
            spoken.ends = spoken.ends.iter().flat_map(|end| of_one.iter().map(|other| earlier(*end, *other))).collect();
        }
        (!spoken.ends.is_empty()).then_some(spoken)
    }

    /// Of what is nobody's: a scope for all of the type.
    fn sees_any(&self, kind: &str) -> Ends {
        let live = self.live(kind, 'r', false);
        live.iter().filter(|live| live.filters.is_empty()).flat_map(|live| self.open_end(live)).collect()
    }

    /// A record: it can be read, and the clause of the Provenance reaches whose it is.
    fn sees_one(&self, live: &Live, provenance: &Value, kind: &str, id: &str) -> Option<Ends> {
        let key = format!("{kind}/{id}");
        let stored = self.request.stored.iter().find(|stored| stored.key == key)?;
        let target: Value = serde_json::from_slice(stored.content.as_deref()?).ok()?;
        if target["resourceType"].as_str() != Some(kind) || target["id"].as_str() != Some(id) {
            return None;
        }
        let people = named(self.definitions, kind, &target, &self.request.base.url);
        if people.malformed {
            return None;
        }
        let roles = people.roles.iter().filter(|_| self.set("role_membership"));
        let end_of = |patient: &String| {
            let standings = self.within(live, "Provenance", patient);
            let shown = standings.into_iter().find(|one| !one.is_hidden(provenance) && !one.is_hidden(&target));
            shown.map(|standing| standing.end)
        };
        let conferring: Ends = people.about.iter().chain(roles).filter_map(end_of).collect();
        let mut read = self.request.clone();
        read.request = FhirRequest::new(Interaction::Read, kind, Some(id));
        match self.of_another(&read, |world| world.read()) {
            Opinion::Permit { obligations, ends, .. } if obligations.is_empty() => {
                Some(conferring.iter().flat_map(|one| ends.iter().map(|other| earlier(*one, *other))).collect())
            }
            _ => None,
        }
    }
}

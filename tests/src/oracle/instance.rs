//! Reads and histories.

use chartgate_model::Interaction;
use serde_json::Value;

use super::definitions::Class;
use super::scope::has;
use super::{Bound, Ends, Live, Opinion, World, permit};

/// What the caller said about a resource.
pub(super) enum Content {
    /// not fetched
    Missing,
    /// fetched and not there
    Absent,
    /// here it is
    Present(Value),
}

impl World<'_> {
    /// The resource asked about, in the version asked about.
    pub(super) fn content(&self) -> Content {
        let request = &self.request.request;
        let mut key = format!("{}/{}", request.resource_type, request.id.as_deref().unwrap_or_default());
        if let Some(version) = &request.version {
            key = format!("{key}/_history/{version}");
        }
        match self.request.stored.iter().find(|stored| stored.key == key).map(|stored| &stored.content) {
            None => Content::Missing,
            Some(None) => Content::Absent,
            Some(Some(bytes)) => serde_json::from_slice(bytes).map_or(Content::Absent, Content::Present),
        }
    }

    pub(super) fn read(&self) -> Opinion {
        if self.is_own_user_record() {
            return permit([None].into());
        }
        let kind = self.request.request.resource_type.as_str();
        let mut ends = self.without_content('r', true);
        let content = self.content();
        if let Content::Present(resource) = &content {
            ends.extend(self.granted('r', false, resource));
        }
        if !ends.is_empty() {
            return permit(ends);
        }
        match content {
            Content::Missing if self.definitions.class(kind) != Class::Refused => self.deferred('r', true),
            _ => Opinion::Deny,
        }
    }

    /// A patient and everything about them: the chart has to be in reach, and each resource is judged.
    pub(super) fn everything(&self) -> Opinion {
        let live = self.live("Patient", 'r', false);
        let ends: Ends = live.iter().flat_map(|live| self.by_id(live, true, true)).collect();
        if ends.is_empty() { Opinion::Deny } else { self.permit_with(&["response-filter"], ends) }
    }

    /// A resource and what it refers to: it has to be one to be read, and each resource is judged.
    pub(super) fn document(&self) -> Opinion {
        match self.content() {
            Content::Present(resource) => match self.granted('r', false, &resource) {
                ends if ends.is_empty() => Opinion::Deny,
                ends => self.permit_with(&["response-filter"], ends),
            },
            Content::Missing => self.deferred('r', true),
            Content::Absent => Opinion::Deny,
        }
    }

    pub(super) fn history(&self) -> Opinion {
        let request = &self.request.request;
        if request.interaction == Interaction::HistorySystem {
            let live = self.live("*", 's', false);
            let ends: Ends = live.iter().flat_map(|live| self.deferred_end(live, "*")).collect();
            return if ends.is_empty() { Opinion::Deny } else { self.permit_with(&["response-filter"], ends) };
        }
        if self.definitions.class(&request.resource_type) == Class::Refused {
            return Opinion::Deny;
        }
        let is_instance = request.interaction == Interaction::HistoryInstance;
        let letter = if is_instance { 'r' } else { 's' };
        let ends = self.without_content(letter, is_instance);
        if ends.is_empty() { self.deferred(letter, is_instance) } else { permit(ends) }
    }

    /// `openid fhirUser` lets an app read the record of its user, if that is no chart that is closed to them.
    fn is_own_user_record(&self) -> bool {
        let request = &self.request.request;
        let scope = &self.request.subject.scope;
        let asked = format!("{}/{}", request.resource_type, request.id.as_deref().unwrap_or_default());
        request.interaction == Interaction::Read
            && has(scope, "openid")
            && has(scope, "fhirUser")
            && asked == self.request.subject.user
            && self.people.is_own_record_open()
    }

    /// What is permitted whatever the content: clauses without filters on types that need no content.
    fn without_content(&self, letter: char, by_id: bool) -> Ends {
        let request = &self.request.request;
        let mut ends = Ends::new();
        for live in self.live(&request.resource_type, letter, false) {
            if live.filters.is_empty() {
                ends.extend(self.by_id(&live, by_id, false));
            }
        }
        ends
    }

    /// What whose chart it is gives; `labels` may hide what is there only where its content is looked at.
    fn by_id(&self, live: &Live, by_id: bool, labels: bool) -> Ends {
        let request = &self.request.request;
        match (self.definitions.class(&request.resource_type), &live.bound) {
            (Class::Refused, _) => Ends::new(),
            (Class::Open, _) => self.open_end(live),
            (_, Bound::All) => [None].into(),
            (Class::Patient, _) if by_id => {
                let id = request.id.as_deref().unwrap_or_default();
                let standings = self.within(live, &request.resource_type, id);
                let sees = standings.into_iter().find(|standing| labels || !standing.hides());
                sees.map(|standing| standing.end).into_iter().collect()
            }
            _ => Ends::new(),
        }
    }

    /// What can only be told row by row, once the content is there.
    fn deferred(&self, letter: char, by_id: bool) -> Opinion {
        let kind = self.request.request.resource_type.as_str();
        let is_patient = self.definitions.class(kind) == Class::Patient && by_id;
        let mut ends = Ends::new();
        for live in self.live(kind, letter, false) {
            // Whose chart it is stands in the URL, whatever the filters will say of its content.
            ends.extend(if is_patient { self.by_id(&live, true, true) } else { self.deferred_end(&live, kind) });
        }
        if ends.is_empty() { Opinion::Deny } else { self.permit_with(&["response-filter"], ends) }
    }

    /// A `user/` clause rests on nobody yet; a `patient/` clause rests on the launch patient.
    fn deferred_end(&self, live: &Live, kind: &str) -> Ends {
        match &live.bound {
            Bound::Launch { named, .. } => self.within(live, kind, named).iter().take(1).map(|one| one.end).collect(),
            _ => [None].into(),
        }
    }
}

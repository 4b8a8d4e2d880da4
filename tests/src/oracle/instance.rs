//! Reads and histories.

use chartgate_model::Interaction;
use serde_json::Value;

use super::definitions::Class;
use super::scope::{Context, has};
use super::{Bound, Ends, Live, Opinion, World, open_end, permit};

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

    pub(super) fn history(&self) -> Opinion {
        let request = &self.request.request;
        if request.interaction == Interaction::HistorySystem {
            let live = self.live("*", 's', false);
            let ends: Ends = live.iter().flat_map(deferred_end).collect();
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

    /// `openid fhirUser` lets an app read the record of its user.
    fn is_own_user_record(&self) -> bool {
        let request = &self.request.request;
        let scope = &self.request.subject.scope;
        let asked = format!("{}/{}", request.resource_type, request.id.as_deref().unwrap_or_default());
        request.interaction == Interaction::Read
            && has(scope, "openid")
            && has(scope, "fhirUser")
            && asked == self.request.subject.user
    }

    /// What is permitted whatever the content: clauses without filters on types that need no content.
    fn without_content(&self, letter: char, by_id: bool) -> Ends {
        let request = &self.request.request;
        let mut ends = Ends::new();
        for live in self.live(&request.resource_type, letter, false) {
            if live.filters.is_empty() {
                ends.extend(self.by_id(&live, by_id));
            }
        }
        ends
    }

    fn by_id(&self, live: &Live, by_id: bool) -> Ends {
        let request = &self.request.request;
        match (self.definitions.class(&request.resource_type), &live.bound) {
            (Class::Refused, _) => Ends::new(),
            (Class::Open, _) => open_end(live),
            (_, Bound::All) => [None].into(),
            (Class::Patient, Bound::Patients(reach)) if by_id => {
                request.id.iter().filter_map(|id| reach.get(id)).copied().collect()
            }
            _ => Ends::new(),
        }
    }

    /// What can only be told row by row, once the content is there.
    fn deferred(&self, letter: char, by_id: bool) -> Opinion {
        let request = &self.request.request;
        let is_patient = self.definitions.class(&request.resource_type) == Class::Patient && by_id;
        let mut ends = Ends::new();
        for live in self.live(&request.resource_type, letter, false) {
            // Whose chart it is stands in the URL, whatever the filters will say of its content.
            ends.extend(if is_patient { self.by_id(&live, true) } else { deferred_end(&live) });
        }
        if ends.is_empty() { Opinion::Deny } else { self.permit_with(&["response-filter"], ends) }
    }
}

/// A `user/` clause rests on nobody yet; a `patient/` clause rests on the launch patient.
fn deferred_end(live: &Live) -> Ends {
    match (&live.bound, live.context) {
        (Bound::Patients(reach), Context::Patient) => reach.values().copied().collect(),
        _ => [None].into(),
    }
}

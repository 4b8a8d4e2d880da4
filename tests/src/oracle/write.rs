//! Creates, updates and deletes.

use chartgate_model::{Interaction, ReturnPreference};
use serde_json::Value;

use super::definitions::Class;
use super::instance::Content;
use super::people::earlier;
use super::{Ends, Opinion, World};

impl World<'_> {
    pub(super) fn write(&self) -> Opinion {
        let request = &self.request.request;
        let kind = request.resource_type.as_str();
        let class = self.definitions.class(kind);
        if !self.set("writes") || class == Class::Refused || self.is_unwritable(kind) {
            return Opinion::Deny;
        }
        match request.interaction {
            Interaction::Create if class != Class::Patient => self.create(),
            Interaction::Update => self.update(),
            Interaction::Delete if class != Class::Patient => self.delete(),
            _ => Opinion::Deny,
        }
    }

    fn create(&self) -> Opinion {
        let Some(body) = self.body() else { return Opinion::Deny };
        self.written(self.granted('c', true, &body), Some(&body), None)
    }

    fn update(&self) -> Opinion {
        let Some(body) = self.body() else { return Opinion::Deny };
        if body["id"].as_str() != self.request.request.id.as_deref() {
            return Opinion::Deny;
        }
        let result = self.granted('u', true, &body);
        match self.content() {
            Content::Missing => Opinion::Deny,
            // It would create the patient.
            Content::Absent if self.request.request.resource_type == "Patient" => Opinion::Deny,
            Content::Absent => self.written(result, Some(&body), None),
            Content::Present(stored) => {
                let before = self.granted('u', true, &stored);
                let pairs = before.iter().flat_map(|one| result.iter().map(move |other| earlier(*one, *other)));
                self.written(pairs.collect(), Some(&body), Some(&stored))
            }
        }
    }

    fn delete(&self) -> Opinion {
        match self.content() {
            Content::Present(stored) => self.written(self.granted('d', true, &stored), None, Some(&stored)),
            _ => Opinion::Deny,
        }
    }

    /// The body, if it is of the type the request names.
    fn body(&self) -> Option<Value> {
        let body: Value = serde_json::from_slice(self.request.request.body.as_deref()?).ok()?;
        (body["resourceType"].as_str() == Some(self.request.request.resource_type.as_str())).then_some(body)
    }

    /// A write that is granted, and what it takes besides.
    fn written(&self, ends: Ends, result: Option<&Value>, stored: Option<&Value>) -> Opinion {
        if ends.is_empty() {
            return Opinion::Deny;
        }
        let mut obligations = Vec::new();
        if stored.is_some_and(|stored| stored["meta"]["versionId"].is_string()) {
            obligations.push("if-match");
        }
        let answers = matches!(
            self.request.request.prefer_return,
            ReturnPreference::Unspecified | ReturnPreference::Representation
        );
        if answers && result.is_some_and(|result| self.granted('r', false, result).is_empty()) {
            obligations.push("return-minimal");
        }
        self.permit_with(&obligations, ends)
    }
}

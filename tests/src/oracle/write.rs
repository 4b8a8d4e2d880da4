//! Creates, updates and deletes.

use chartgate_model::{FhirRequest, Interaction, ReturnPreference};
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
        // By criteria: they are a search that finds nobody out of reach, and it is known what they find.
        let mut by_criteria = None;
        if request.conditional {
            match self.criteria() {
                _ if request.interaction != Interaction::Create && !request.resolved => return Opinion::Deny,
                Opinion::Permit { narrowed, .. } => by_criteria = narrowed,
                other => return other,
            }
        }
        let opinion = match request.interaction {
            Interaction::Create | Interaction::Operation if class != Class::Patient => self.create(),
            Interaction::Update | Interaction::Patch => self.update(),
            Interaction::Delete if class != Class::Patient => self.delete(),
            _ => Opinion::Deny,
        };
        match (opinion, by_criteria) {
            (Opinion::Permit { mut obligations, ends, .. }, Some(narrowed)) => {
                obligations.insert("search-narrowing".into());
                Opinion::Permit { obligations, narrowed: Some(narrowed), ends }
            }
            (opinion, _) => opinion,
        }
    }

    /// The criteria of a write as a search, whose rows nobody looks at.
    fn criteria(&self) -> Opinion {
        let mut asked = self.request.clone();
        asked.request = FhirRequest {
            parameters: self.request.request.parameters.clone(),
            ..FhirRequest::new(Interaction::SearchType, &self.request.request.resource_type, None)
        };
        // What they find was looked up by the criteria as they stand, but for a create, where the server looks.
        let is_create = self.request.request.interaction == Interaction::Create;
        asked.obligations.retain(|id| is_create && id == "search-narrowing");
        self.of_another(&asked, |world| world.search())
    }

    fn create(&self) -> Opinion {
        let Some(body) = self.body() else { return Opinion::Deny };
        // Validated by an operation, it is answered with an outcome.
        let answer = (self.request.request.interaction != Interaction::Operation).then_some(&body);
        self.written(self.granted('c', true, &body), answer, None)
    }

    fn update(&self) -> Opinion {
        let request = &self.request.request;
        let Some(body) = self.body() else { return Opinion::Deny };
        let is_own_id = body["id"].as_str() == request.id.as_deref();
        if !(is_own_id || (request.conditional && body.get("id").is_none())) {
            return Opinion::Deny;
        }
        let is_patch = request.interaction == Interaction::Patch;
        let result = self.granted('u', true, &body);
        let content = match request.id {
            Some(_) => self.content(),
            // The criteria find nothing.
            None => Content::Absent,
        };
        match content {
            Content::Missing => Opinion::Deny,
            // It would create the patient.
            Content::Absent if request.resource_type == "Patient" || is_patch => Opinion::Deny,
            Content::Absent => self.written(result, Some(&body), None),
            Content::Present(stored) if !keeps(&request.resource_type, &stored, &body) => Opinion::Deny,
            Content::Present(stored) => {
                let before = self.granted('u', true, &stored);
                // What tests reads.
                if request.reads_stored && self.granted('r', false, &stored).is_empty() {
                    return Opinion::Deny;
                }
                let pairs = before.iter().flat_map(|one| result.iter().map(move |other| earlier(*one, *other)));
                self.written(pairs.collect(), Some(&body), Some(&stored))
            }
        }
    }

    fn delete(&self) -> Opinion {
        if self.request.request.id.is_none() {
            return Opinion::Deny;
        }
        match self.content() {
            Content::Present(stored) => self.written(self.granted('d', true, &stored), None, Some(&stored)),
            _ => Opinion::Deny,
        }
    }

    /// The body, if it is of the type the request names and leaves nothing to be looked up.
    fn body(&self) -> Option<Value> {
        let body: Value = serde_json::from_slice(self.request.request.body.as_deref()?).ok()?;
        let is_of_type = body["resourceType"].as_str() == Some(self.request.request.resource_type.as_str());
        (is_of_type && !looks_up(&body)).then_some(body)
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
        // A create by criteria may be answered with what these find.
        let found = self.request.request.conditional && self.request.request.interaction == Interaction::Create;
        if answers && result.is_some_and(|result| found || self.granted('r', false, result).is_empty()) {
            obligations.push("return-minimal");
        }
        self.permit_with(&obligations, ends)
    }
}

/// Whether some reference in it is by criteria.
fn looks_up(value: &Value) -> bool {
    match value {
        Value::Object(members) => members.iter().any(|(name, value)| {
            (name == "reference" && value.as_str().is_some_and(|text| text.contains('?'))) || looks_up(value)
        }),
        Value::Array(list) => list.iter().any(looks_up),
        _ => false,
    }
}

/// Whether an update leaves the labels, and what is known of a patient.
fn keeps(kind: &str, before: &Value, after: &Value) -> bool {
    const OF_PATIENTS: [&str; 8] = [
        "active",
        "birthDate",
        "deceasedBoolean",
        "deceasedDateTime",
        "generalPractitioner",
        "implicitRules",
        "link",
        "modifierExtension",
    ];
    let labels = |resource: &Value| {
        let labels = resource["meta"]["security"].clone();
        if labels == Value::Array(Vec::new()) { Value::Null } else { labels }
    };
    let facts = OF_PATIENTS.iter().filter(|_| kind == "Patient");
    let modified = |resource: &Value| resource.to_string().matches("\"modifierExtension\":").count();
    labels(before) == labels(after)
        && facts.into_iter().all(|name| before.get(name) == after.get(name))
        && (kind != "Patient" || modified(after) <= modified(before))
}

//! What this face reads (Authorization API 1.0, "Information Model" and "Access Evaluations API").
//!
//! Unknown members are ignored, as the standard has it; those of the FHIR profile are documented here.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::http::wire::facts::FactsBody;

/// `POST /access/v1/evaluation`
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct EvaluationBody {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = SubjectEntity, required = true)]
    subject: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = ActionEntity, required = true)]
    action: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = ResourceEntity, required = true)]
    resource: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ContextEntity>)]
    context: Option<Box<RawValue>>,
}

/// `POST /access/v1/evaluations`: entities at the top stand for those an item leaves out.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct EvaluationsBody {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<SubjectEntity>)]
    subject: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ActionEntity>)]
    action: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ResourceEntity>)]
    resource: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ContextEntity>)]
    context: Option<Box<RawValue>>,
    /// items, decided in order; none: the entities at the top are the one question
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Vec<EvaluationItem>>)]
    pub(super) evaluations: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<EvaluationsOptions>)]
    pub(super) options: Option<Box<RawValue>>,
}

/// One item: an entity given here replaces that of the top as a whole.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct EvaluationItem {
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<SubjectEntity>)]
    subject: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ActionEntity>)]
    action: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ResourceEntity>)]
    resource: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ContextEntity>)]
    context: Option<Box<RawValue>>,
}

/// How items are run.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(in crate::http) struct EvaluationsOptions {
    /// `execute_all` (default), `deny_on_first_deny`, `permit_on_first_permit`
    pub(super) evaluations_semantic: Option<String>,
}

/// The four entities of one question, not read yet.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Asked<'a> {
    pub(super) subject: Option<&'a RawValue>,
    pub(super) action: Option<&'a RawValue>,
    pub(super) resource: Option<&'a RawValue>,
    pub(super) context: Option<&'a RawValue>,
}

impl EvaluationBody {
    /// Its question.
    pub(super) fn asked(&self) -> Asked<'_> {
        let Self { subject, action, resource, context } = self;
        Asked {
            subject: subject.as_deref(),
            action: action.as_deref(),
            resource: resource.as_deref(),
            context: context.as_deref(),
        }
    }
}

impl EvaluationsBody {
    /// What items inherit.
    pub(super) fn defaults(&self) -> Asked<'_> {
        Asked {
            subject: self.subject.as_deref(),
            action: self.action.as_deref(),
            resource: self.resource.as_deref(),
            context: self.context.as_deref(),
        }
    }
}

impl EvaluationItem {
    /// Its question. Entities are replaced whole, never merged: nothing of a default may stand beside
    /// what the item says of the same entity.
    pub(super) fn over<'a>(&'a self, defaults: &Asked<'a>) -> Asked<'a> {
        Asked {
            subject: self.subject.as_deref().or(defaults.subject),
            action: self.action.as_deref().or(defaults.action),
            resource: self.resource.as_deref().or(defaults.resource),
            context: self.context.as_deref().or(defaults.context),
        }
    }
}

/// Who asks.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct SubjectEntity {
    /// resource type of the user: `Practitioner`, `PractitionerRole`, `Patient`, `RelatedPerson`, `Person`;
    /// `Client` for a client without a user
    #[schema(value_type = String, required = true)]
    pub(super) r#type: Option<String>,
    /// bare id of the user; OAuth client identifier of a `Client`
    #[schema(value_type = String, required = true)]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<SubjectProperties>)]
    pub(super) properties: Option<Box<RawValue>>,
}

/// What the token says, on the caller's word.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(in crate::http) struct SubjectProperties {
    /// `patient`, `proxy`, `provider`, `system`; follows from `type` where that is clear
    pub(super) kind: Option<String>,
    /// granted scopes
    pub(super) scope: Option<String>,
    /// OAuth client identifier
    pub(super) client: Option<String>,
    /// launch patient, a bare id
    pub(super) patient: Option<String>,
    /// launch encounter, a bare id
    pub(super) encounter: Option<String>,
    /// when the token ends, RFC 3339
    pub(super) expires: Option<String>,
}

/// What is asked.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct ActionEntity {
    /// code of the FHIR interaction: `read`, `vread`, `history-instance`, `search-type`, `create`,
    /// `update`, `patch`, `delete`, `operation`, …
    #[schema(value_type = String, required = true)]
    pub(super) name: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ActionProperties>)]
    pub(super) properties: Option<Box<RawValue>>,
}

/// How it is asked.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(in crate::http) struct ActionProperties {
    /// headers of the FHIR request that bear on it: `Prefer`, `If-None-Exist`, `Content-Type`
    pub(super) headers: Option<BTreeMap<String, String>>,
}

/// On what.
#[derive(Debug, Deserialize, ToSchema)]
pub(in crate::http) struct ResourceEntity {
    /// resource type; `*` at system level
    #[schema(value_type = String, required = true)]
    pub(super) r#type: Option<String>,
    /// bare id; `*` where the interaction is about no single resource (searches, create)
    #[schema(value_type = String, required = true)]
    pub(super) id: Option<String>,
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<ResourceProperties>)]
    pub(super) properties: Option<Box<RawValue>>,
}

/// The resource and the rest of the FHIR request.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(in crate::http) struct ResourceProperties {
    /// for `create`, `update`, `patch`, `operation` and bundles the resource sent, otherwise the stored
    /// one (`null`: looked for and not there); JSON or a string holding raw JSON
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub(super) content: Option<Box<RawValue>>,
    /// the stored resource a write is about; `null`: looked for and not there
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = Option<Object>)]
    pub(super) stored: Option<Box<RawValue>>,
    /// bare id of the patient it should be about: compared with the content, never taken for it
    pub(super) patient: Option<String>,
    /// version id of a `vread`
    pub(super) version: Option<String>,
    /// parameters of a search, not percent-encoded: text, or a list of texts for repeats
    #[schema(value_type = Option<Object>)]
    pub(super) parameters: Option<BTreeMap<String, Values>>,
    /// URL of the FHIR request where type and id do not say it all; has to agree with them
    pub(super) url: Option<String>,
}

/// One value, or several of one parameter.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged)]
pub(in crate::http) enum Values {
    /// `laboratory`
    One(String),
    /// repeats
    Many(Vec<String>),
}

impl Values {
    /// All of them, in order.
    pub(super) fn all(&self) -> &[String] {
        match self {
            Self::One(value) => std::slice::from_ref(value),
            Self::Many(values) => values,
        }
    }
}

/// Under which circumstances. Other members, a time among them, are ignored.
#[derive(Debug, Default, Deserialize, ToSchema)]
pub(in crate::http) struct ContextEntity {
    /// tenant, `default` when absent
    pub(super) tenant: Option<String>,
    /// name of a configured base, `default` when absent
    pub(super) fhir: Option<String>,
    /// obligations the caller can carry out
    pub(super) supported_obligations: Option<Vec<String>>,
    /// relationships on the caller's word; needs the right `vouch-facts`
    #[schema(value_type = Option<FactsBody>)]
    pub(super) facts: Option<Box<RawValue>>,
    /// pins a release: `name@version` or `sha256:…`
    pub(super) policy: Option<String>,
    /// wants reason and trace; needs the right `explain`
    pub(super) explain: Option<bool>,
}

/// A member that is there, `null` included: for these `null` means something, or is the wrong type.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Box<RawValue>>, D::Error> {
    Box::<RawValue>::deserialize(deserializer).map(Some)
}

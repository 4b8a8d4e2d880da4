//! An app opened from within a record system (SMART App Launch 2.2, "Launch App: EHR Launch").

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::store::validate;

/// What the record system opens an app on: used once, within minutes, by one app and one user.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LaunchContext {
    /// who sits there, `Practitioner/17`
    pub user: String,
    /// whose chart is open, a bare id
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patient: Option<String>,
    /// in which encounter, a bare id
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encounter: Option<String>,
    /// other things that are open
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fhir_context: Vec<Value>,
    /// what the app is opened for
    #[serde(skip_serializing_if = "Option::is_none")]
    pub intent: Option<String>,
    /// the app has to show whose chart it is
    pub need_patient_banner: bool,
    /// URL of the record system's look
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smart_style_url: Option<String>,
}

/// A launch holds something it may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` {message}")]
pub struct LaunchError {
    /// which member
    pub member: &'static str,
    /// what is wrong with it
    pub message: &'static str,
}

impl LaunchContext {
    /// Refuse what no launch may hold.
    pub fn check(&self) -> Result<(), LaunchError> {
        let wrong = |member, message| Err(LaunchError { member, message });
        if validate::user(&self.user).is_err() {
            return wrong("user", "has to be a reference like `Practitioner/17`");
        }
        for (member, id) in [("patient", &self.patient), ("encounter", &self.encounter)] {
            if id.as_deref().is_some_and(|id| !is_id(id)) {
                return wrong(member, "has to be the id of a resource");
            }
        }
        if self.encounter.is_some() && self.patient.is_none() {
            return wrong("encounter", "needs a `patient`");
        }
        if self.intent.as_deref().is_some_and(|intent| intent.is_empty() || intent.len() > 256) {
            return wrong("intent", "has to be 1 to 256 bytes");
        }
        let https = |url: &str| url.starts_with("https://") || url.starts_with("http://");
        if self.smart_style_url.as_deref().is_some_and(|url| !https(url) || url.len() > 2_048) {
            return wrong("smart_style_url", "has to be an absolute URL");
        }
        if self.fhir_context.len() > 32 || !self.fhir_context.iter().all(is_context) {
            return wrong(
                "fhir_context",
                "has to be at most 32 objects with a `reference`, `canonical` or `identifier`",
            );
        }
        Ok(())
    }
}

/// A logical id (FHIR R4, section 2.24.0.1).
pub fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

/// One thing that is open. Patients and encounters have members of their own, unless a role says what else they are.
fn is_context(value: &Value) -> bool {
    let Some(members) = value.as_object() else { return false };
    let text = |name: &str| members.get(name).and_then(Value::as_str);
    let is_named = text("reference").is_some_and(is_reference)
        || text("canonical").is_some_and(|url| url.starts_with("http"))
        || members.get("identifier").is_some_and(Value::is_object);
    let role = text("role");
    let of_its_own = text("reference").is_some_and(|r| r.starts_with("Patient/") || r.starts_with("Encounter/"));
    is_named && role != Some("") && !(of_its_own && role.is_none_or(|role| role == "launch"))
}

fn is_reference(text: &str) -> bool {
    text.split_once('/').is_some_and(|(kind, id)| kind.starts_with(|c: char| c.is_ascii_uppercase()) && is_id(id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn with(members: Value) -> Result<(), LaunchError> {
        let mut whole = json!({ "user": "Practitioner/17", "patient": "1" });
        whole.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        serde_json::from_value::<LaunchContext>(whole).unwrap().check()
    }

    #[test]
    fn a_launch_names_people_and_places_by_their_ids() {
        assert_eq!(with(json!({ "encounter": "e.1-2" })), Ok(()));
        for bad in [
            json!({ "user": "17" }),
            json!({ "patient": "Patient/1" }),
            json!({ "patient": "" }),
            json!({ "encounter": "a b" }),
            json!({ "patient": null, "encounter": "1" }),
            json!({ "intent": "" }),
            json!({ "smart_style_url": "/style.json" }),
        ] {
            assert!(with(bad.clone()).is_err(), "{bad}");
        }
        assert!(serde_json::from_value::<LaunchContext>(json!({ "user": "Practitioner/1", "btg": true })).is_err());
    }

    #[test]
    fn what_is_open_besides_is_neither_the_patient_nor_the_encounter() {
        for (good, context) in [
            (true, json!({ "reference": "ImagingStudy/1" })),
            (true, json!({ "canonical": "http://example.org/Questionnaire/1" })),
            (true, json!({ "identifier": { "value": "1" } })),
            (true, json!({ "reference": "Patient/2", "role": "https://ehr.example/roles/sibling" })),
            (false, json!({ "reference": "Patient/2" })),
            (false, json!({ "reference": "Encounter/2", "role": "launch" })),
            (false, json!({ "reference": "ImagingStudy/1", "role": "" })),
            (false, json!({ "reference": "https://ehr.example/fhir/ImagingStudy/1" })),
            (false, json!({ "role": "x" })),
            (false, json!("ImagingStudy/1")),
        ] {
            assert_eq!(with(json!({ "fhir_context": [context] })).is_ok(), good, "{context}");
        }
    }
}

//! `properties.patient`: whose record the caller believes the resource to be.
//!
//! SECURITY: it is compared with the content and never taken for it. Which elements make a resource
//! somebody's, and which other people it must not name, are rules, and rules live in the policy: a bare
//! id says too little for them. Without content the answer stays what it is without this member, a deny
//! that names the content it needs.

use chartgate_model::{DecisionRequest, FhirBase, Parameter};
use serde_json::Value;

use crate::http::problem::Problem;

const MEMBER: &str = "resource.properties.patient";
/// Elements that say whom a resource is about, where it has them.
const MAIN: [&str; 2] = ["subject", "patient"];

/// Refuse a patient the rest of the request contradicts.
pub(super) fn agrees(patient: &str, decision: &DecisionRequest) -> Result<(), Problem> {
    crate::store::validate::patient(patient).map_err(|_| Problem::member(MEMBER, "is not a bare id"))?;
    let request = &decision.request;
    let bodies = request.body.as_deref().into_iter();
    let images = || bodies.clone().chain(decision.stored.iter().filter_map(|stored| stored.content.as_deref()));
    for image in images() {
        let value: Value = serde_json::from_slice(image).unwrap_or_default();
        if !is_about(&value, patient, &decision.base) {
            return Err(Problem::member(MEMBER, "is not the patient of the content"));
        }
    }
    let contradicted = match (&request.id, request.resource_type.as_str()) {
        (Some(id), "Patient") => id != patient,
        (Some(_), _) => false,
        (None, _) => images().next().is_none() && !is_searched(patient, decision),
    };
    if contradicted { Err(Problem::member(MEMBER, "is not the patient of the request")) } else { Ok(()) }
}

fn is_about(resource: &Value, patient: &str, base: &FhirBase) -> bool {
    if resource.get("resourceType").is_some_and(|kind| kind == "Patient") {
        return resource.get("id").is_none_or(|id| id == patient);
    }
    let main: Vec<&str> =
        MAIN.iter().filter_map(|name| resource.get(name)).flat_map(|element| patients(element, base)).collect();
    if main.is_empty() { patients(resource, base).contains(&patient) } else { main.iter().all(|id| *id == patient) }
}

/// Ids of the patients a value refers to, at any depth. Content is nested 64 deep at the most.
fn patients<'a>(value: &'a Value, base: &FhirBase) -> Vec<&'a str> {
    match value {
        Value::Array(list) => list.iter().flat_map(|item| patients(item, base)).collect(),
        Value::Object(members) => {
            let own = members.get("reference").and_then(Value::as_str).and_then(|text| patient_of(text, base));
            own.into_iter().chain(members.values().flat_map(|value| patients(value, base))).collect()
        }
        _ => Vec::new(),
    }
}

/// The id in `Patient/123`, relative or below the base, with or without a version.
fn patient_of<'a>(reference: &'a str, base: &FhirBase) -> Option<&'a str> {
    let below = reference.strip_prefix(base.url.as_str()).and_then(|rest| rest.strip_prefix('/'));
    let id = below.unwrap_or(reference).strip_prefix("Patient/")?;
    Some(id.split_once("/_history/").map_or(id, |(id, _)| id))
}

/// A search or history without content is about a patient when its compartment or a parameter says so.
fn is_searched(patient: &str, decision: &DecisionRequest) -> bool {
    let request = &decision.request;
    let compartment = request.compartment.as_ref().is_some_and(|(kind, id)| kind == "Patient" && id == patient);
    let names = |parameter: &Parameter| {
        let name = parameter.name.strip_suffix(":Patient").unwrap_or(&parameter.name);
        let id = patient_of(&parameter.value, &decision.base).unwrap_or(&parameter.value);
        (MAIN.contains(&name) || (name == "_id" && request.resource_type == "Patient")) && id == patient
    };
    compartment || request.parameters.iter().any(names)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn about(resource: Value) -> bool {
        let base = FhirBase { name: "default".into(), url: "https://ehr.example/fhir".into(), version: "4.0.1".into() };
        is_about(&resource, "123", &base)
    }

    #[test]
    fn the_main_element_decides_whom_a_resource_is_about() {
        let to = |reference: &str| json!({ "reference": reference });
        assert!(about(json!({ "subject": to("Patient/123") })));
        assert!(about(json!({ "patient": to("https://ehr.example/fhir/Patient/123/_history/2") })));
        assert!(about(json!({ "subject": to("Patient/123"), "performer": [to("Patient/124")] })));
        assert!(!about(json!({ "subject": to("Patient/124"), "performer": [to("Patient/123")] })));
        assert!(!about(json!({ "subject": to("Patient/123"), "patient": to("Patient/124") })));
        assert!(!about(json!({ "subject": to("https://other.example/fhir/Patient/123") })));
        assert!(!about(json!({ "subject": to("Patient/1234") })));
    }

    #[test]
    fn elsewhere_it_has_to_be_named_at_all() {
        assert!(about(json!({ "participant": [{ "actor": { "reference": "Patient/123" } }] })));
        assert!(about(json!({ "subject": { "reference": "Group/1" }, "focus": [{ "reference": "Patient/123" }] })));
        assert!(!about(json!({ "status": "final" })));
        assert!(about(json!({ "resourceType": "Patient", "id": "123" })));
        assert!(!about(json!({ "resourceType": "Patient", "id": "124" })));
        assert!(about(json!({ "resourceType": "Patient" })));
    }
}

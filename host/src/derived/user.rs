//! People who use the record system: what says that they are still there, and which charts are their own.

use chartgate_model::{Millis, RecordClass};
use serde_json::{Map, Value, json};

use super::read::{Period, Resource, list};
use super::{Patch, Reject};

pub(super) fn practitioner(resource: &Resource<'_>) -> Result<Patch, Reject> {
    account(resource, "provider")
}

pub(super) fn practitioner_role(resource: &Resource<'_>) -> Result<Patch, Reject> {
    account(resource, "provider")
}

/// A RelatedPerson is a user. Being one entitles to nothing.
pub(super) fn related_person(resource: &Resource<'_>) -> Result<Patch, Reject> {
    account(resource, "proxy")
}

/// What the resource speaks of; of a Practitioner that is no period.
fn account(resource: &Resource<'_>, role: &str) -> Result<Patch, Reject> {
    let mut members = Map::from_iter([("roles".into(), json!([role]))]);
    status(resource, &mut members)?;
    if resource.value.get("period").is_some() && resource.kind != "Practitioner" {
        let Period { start, end } = resource.period("period")?;
        let instant = |at: Option<Millis>| json!(at.map(Millis::to_rfc3339));
        // Both ends, so that an end of an earlier version does not stand against the start of this one. What was set by
        // hand is a record of its own.
        [("start", start), ("end", end)].into_iter().for_each(|(name, at)| {
            members.insert(name.into(), instant(at));
        });
    }
    if resource.is_test()? {
        members.insert("test".into(), json!(true));
    }
    Ok(Patch { class: RecordClass::User, id: resource.origin(), members })
}

fn status(resource: &Resource<'_>, members: &mut Map<String, Value>) -> Result<(), Reject> {
    if let Some(active) = resource.flag("active")? {
        members.insert("status".into(), json!(if active { "active" } else { "inactive" }));
    }
    Ok(())
}

/// A Person says that several records are of one human. That a chart is a provider's own is believed, since it only
/// closes it.
///
/// SECURITY: that a second chart is a patient's own is not: an account is linked to charts by who proved whose they
/// are, and a link that is taken back here would be missed.
pub(super) fn person(resource: &Resource<'_>) -> Result<Vec<Patch>, Reject> {
    let links = list(resource.value, "link")?;
    let mut linked = Vec::new();
    for link in links {
        match resource.local(link.get("target")) {
            Some(known) => linked.push(known),
            // SECURITY: a chart that is somebody's own and cannot be told apart would stay open to them.
            None if is_about_a_patient(link) => {
                let expected = "a local reference";
                return Err(Reject::Element { element: "link.target", expected });
            }
            None => {}
        }
    }
    let charts: Vec<&str> = linked.iter().filter(|(kind, _)| *kind == "Patient").map(|(_, id)| *id).collect();
    let mut own = Map::new();
    status(resource, &mut own)?;
    let mut patches = vec![Patch { class: RecordClass::User, id: resource.origin(), members: own }];
    let providers = linked.iter().filter(|(kind, _)| matches!(*kind, "Practitioner" | "PractitionerRole"));
    let providers =
        providers.map(|(kind, id)| Patch { class: RecordClass::User, id: format!("{kind}/{id}"), members: Map::new() });
    patches.extend(providers);
    if !charts.is_empty() {
        patches.iter_mut().for_each(|patch| drop(patch.members.insert("charts".into(), json!(charts))));
    }
    patches.retain(|patch| !patch.members.is_empty());
    Ok(patches)
}

/// Whether a link that cannot be followed may lead to a patient.
fn is_about_a_patient(link: &Value) -> bool {
    let target = link.get("target");
    let text = |name: &str| target.and_then(|target| target.get(name)).and_then(Value::as_str).unwrap_or_default();
    text("reference").contains("Patient/") || text("type") == "Patient"
}

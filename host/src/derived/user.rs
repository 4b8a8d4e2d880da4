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
        // What it does not say stays: an end set by hand is not taken back by a period without one.
        [("start", start), ("end", end)].into_iter().filter(|(_, at)| at.is_some()).for_each(|(name, at)| {
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
    let linked: Vec<_> = links.iter().filter_map(|link| resource.local(link.get("target"))).collect();
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

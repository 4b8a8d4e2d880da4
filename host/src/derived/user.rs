//! People who use the record system: what says that they are still there, and which charts are their own.

use chartgate_model::{Millis, RecordClass};
use serde_json::{Map, Value, json};

use super::read::{Period, Resource, list};
use super::{Patch, Reject};

pub(super) fn practitioner(resource: &Resource<'_>) -> Result<Patch, Reject> {
    account(resource, "provider")
}

pub(super) fn practitioner_role(resource: &Resource<'_>) -> Result<Patch, Reject> {
    let mut patch = account(resource, "provider")?;
    // SECURITY: the role ends with the account of whoever plays it, and their own chart is closed to it. A practitioner
    // who cannot be told would escape both.
    let practitioner = match resource.value.get("practitioner") {
        None => Value::Null,
        reference => match resource.local(reference) {
            Some(("Practitioner", id)) => json!(format!("Practitioner/{id}")),
            _ => {
                let expected = "a local reference to a Practitioner";
                return Err(Reject::Element { element: "practitioner", expected });
            }
        },
    };
    patch.members.insert("practitioner".into(), practitioner);
    Ok(patch)
}

/// A RelatedPerson is a user. Being one entitles to nothing.
pub(super) fn related_person(resource: &Resource<'_>) -> Result<Patch, Reject> {
    account(resource, "proxy")
}

/// What the resource speaks of; of a Practitioner that is no period.
fn account(resource: &Resource<'_>, role: &str) -> Result<Patch, Reject> {
    let mut members = Map::from_iter([("roles".into(), json!([role]))]);
    status(resource, &mut members)?;
    let has_period = resource.kind != "Practitioner";
    let Period { start, end } = if has_period { resource.period("period")? } else { Period::default() };
    let instant = |at: Option<Millis>| json!(at.map(Millis::to_rfc3339));
    // What this version does not say is so no more. What was set by hand is a record of its own.
    members.insert("start".into(), instant(start));
    members.insert("end".into(), instant(end));
    members.insert("test".into(), json!(resource.is_test()?.then_some(true)));
    Ok(Patch { class: RecordClass::User, id: resource.origin(), members })
}

fn status(resource: &Resource<'_>, members: &mut Map<String, Value>) -> Result<(), Reject> {
    let active = resource.flag("active")?;
    members.insert("status".into(), json!(active.map(|active| if active { "active" } else { "inactive" })));
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
    let tells_a_chart = links.iter().any(|link| is_about(link, &["Patient"]));
    for link in links {
        match resource.local(link.get("target")) {
            Some(known) => linked.push(known),
            // SECURITY: a chart that is somebody's own would stay open to them, where either cannot be told apart.
            None if tells_a_chart && is_about(link, &["Patient", "Practitioner", "PractitionerRole"]) => {
                let expected = "a local reference";
                return Err(Reject::Element { element: "link.target", expected });
            }
            None => {}
        }
    }
    let charts: Vec<&str> = linked.iter().filter(|(kind, _)| *kind == "Patient").map(|(_, id)| *id).collect();
    // SECURITY: a Person says who is who, and not who works here: only one that is said to be active makes itself known.
    let mut own = Map::new();
    status(resource, &mut own)?;
    if own.get("status").is_some_and(Value::is_null) {
        own.insert("status".into(), json!("unknown"));
    }
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

/// Whether a link may lead to one of some types, as far as it says.
fn is_about(link: &Value, types: &[&str]) -> bool {
    let target = link.get("target");
    let text = |name: &str| target.and_then(|target| target.get(name)).and_then(Value::as_str).unwrap_or_default();
    types.iter().any(|kind| text("reference").contains(&format!("{kind}/")) || text("type") == *kind)
}

//! People who use the record system: what says that they are still there, and which charts are their own.

use chartgate_model::{Millis, RecordClass};
use serde_json::{Map, json};

use super::read::{Period, Resource, list, text};
use super::{Patch, Reject};

pub(super) fn practitioner(resource: &Resource<'_>) -> Result<Patch, Reject> {
    account(resource, "provider", Period::default())
}

pub(super) fn practitioner_role(resource: &Resource<'_>) -> Result<Patch, Reject> {
    account(resource, "provider", resource.period("period")?)
}

/// A RelatedPerson is a user. Being one entitles to nothing.
pub(super) fn related_person(resource: &Resource<'_>) -> Result<Patch, Reject> {
    account(resource, "proxy", resource.period("period")?)
}

fn account(resource: &Resource<'_>, role: &str, period: Period) -> Result<Patch, Reject> {
    let active = resource.flag("active")?.unwrap_or(true);
    let instant = |at: Option<Millis>| json!(at.map(Millis::to_rfc3339));
    let mut members = Map::new();
    members.insert("status".into(), json!(if active { "active" } else { "inactive" }));
    members.insert("start".into(), instant(period.start));
    members.insert("end".into(), instant(period.end));
    members.insert("roles".into(), json!([role]));
    Ok(Patch { class: RecordClass::User, id: resource.origin(), members })
}

/// A Person says that several records are of one human. That a chart is a provider's own is believed at once, since
/// it only closes it; that two charts are one patient's, where the link is certain enough (FHIR R4, Person,
/// `link.assurance`).
pub(super) fn person(resource: &Resource<'_>) -> Result<Vec<Patch>, Reject> {
    let active = resource.flag("active")?.unwrap_or(true);
    let mut linked = Vec::new();
    for link in list(resource.value, "link")? {
        let certain = matches!(text(link, "assurance")?, Some("level3" | "level4"));
        if let Some((kind, id)) = resource.local(link.get("target")).filter(|_| active) {
            linked.push((kind, id, certain));
        }
    }
    let charts = |only_certain: bool| -> Vec<&str> {
        let of_patients = linked.iter().filter(|(kind, ..)| *kind == "Patient");
        of_patients.filter(|(.., certain)| *certain || !only_certain).map(|(_, id, _)| *id).collect()
    };
    let mut own = charted(resource.origin(), charts(false));
    own.members.insert("status".into(), json!(if active { "active" } else { "inactive" }));
    let mut patches = vec![own];
    for (kind, id, certain) in &linked {
        let own = match *kind {
            "Practitioner" | "PractitionerRole" => charts(false),
            "Patient" if *certain => charts(true).into_iter().filter(|chart| chart != id).collect(),
            _ => continue,
        };
        patches.push(charted(format!("{kind}/{id}"), own));
    }
    Ok(patches)
}

fn charted(id: String, charts: Vec<&str>) -> Patch {
    let members = Map::from_iter([("charts".into(), json!(charts))]);
    Patch { class: RecordClass::User, id, members }
}

//! Patients.

use chartgate_model::{RecordClass, Relationship};
use serde_json::{Map, Value, json};

use super::read::{Resource, list, text};
use super::{Patch, Reject, relationship};

/// The patient's record, as far as the resource speaks of it. A chart that was replaced by two is not followed to either.
pub(super) fn record(patient: &Resource<'_>) -> Result<Patch, Reject> {
    let mut members = Map::new();
    let mut set = |name: &str, value: Value| members.insert(name.into(), value);
    // SECURITY: a chart that is its own again is not left with the one it was taken for.
    set("merged_into", json!(merged_into(patient)?));
    // What this version does not say is so no more. What was set by hand is a record of its own.
    set("active", json!(patient.flag("active")?));
    set("birth_date", json!(patient.text("birthDate")?));
    set("deceased", json!(deceased(patient)?));
    set("test", json!(patient.is_test()?.then_some(true)));
    if let Some(zone) = &patient.reading.zone_name {
        set("zone", json!(zone));
    }
    Ok(Patch { class: RecordClass::Patient, id: patient.id.to_owned(), members })
}

/// Either form of `deceased[x]`: a date says that somebody died.
fn deceased(patient: &Resource<'_>) -> Result<Option<bool>, Reject> {
    let dated = patient.text("deceasedDateTime")?.map(|_| true);
    Ok(dated.or(patient.flag("deceasedBoolean")?))
}

/// The chart that replaced this one. `seealso`, `refer` and `replaces` say nothing about where this one went.
fn merged_into<'a>(patient: &Resource<'a>) -> Result<Option<&'a str>, Reject> {
    let mut into = None;
    for link in list(patient.value, "link")? {
        if text(link, "type")? != Some("replaced-by") {
            continue;
        }
        let Some(("Patient", other)) = patient.local(link.get("other")) else {
            return Err(Reject::Element { element: "link.other", expected: "a local reference to a Patient" });
        };
        if other == patient.id || into.replace(other).is_some_and(|known| known != other) {
            return Err(Reject::Element { element: "link", expected: "replaced by one other chart at the most" });
        }
    }
    Ok(into)
}

/// `generalPractitioner`: people, not organizations.
pub(super) fn primary_care(patient: &Resource<'_>) -> Result<Vec<Relationship>, Reject> {
    let named = list(patient.value, "generalPractitioner")?.iter().filter_map(|one| patient.local(Some(one)));
    let people = named.filter(|(kind, _)| matches!(*kind, "Practitioner" | "PractitionerRole"));
    let origin = patient.origin();
    Ok(people.map(|(kind, id)| relationship(&format!("{kind}/{id}"), patient.id, "primary-care", &origin)).collect())
}

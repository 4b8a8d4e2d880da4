//! What FHIR resources say about people: relationships, and records of patients and users.
//!
//! Pure, and the same wherever the resources come from: a file that is imported, or a live server. What cannot be
//! read without doubt is rejected with its reason, and gives nothing.

mod care;
mod consent;
mod patient;
mod read;
mod user;

use chartgate_model::{RecordClass, Relationship, Terms};
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use read::Resource;

/// Resource types something can be derived from.
pub const TYPES: [&str; 10] = [
    "Appointment",
    "CareTeam",
    "Consent",
    "Encounter",
    "Group",
    "Patient",
    "Person",
    "Practitioner",
    "PractitionerRole",
    "RelatedPerson",
];

/// What one resource says.
#[derive(Debug, Clone, PartialEq)]
pub struct Derived {
    /// the resource, `Encounter/9`: all relationships it gives are its, and what it gave before is gone
    pub origin: String,
    /// the relationships it gives now; none where it is cancelled, ended by mistake or about nobody known
    pub relationships: Vec<Relationship>,
    /// what it says of patients and users
    pub records: Vec<Patch>,
}

impl Derived {
    /// A resource that is gone: it gives nothing, and an account or a chart that is its own is closed.
    ///
    /// SECURITY: what is forgotten would be what nobody ever closed.
    pub fn deleted(origin: String) -> Self {
        Self::rejected(origin)
    }

    fn nothing(origin: String) -> Self {
        let (relationships, records) = (Vec::new(), Vec::new());
        Self { origin, relationships, records }
    }

    /// A resource whose latest version cannot be read.
    ///
    /// SECURITY: what an earlier version gave may be wider than what this one would. Its relationships end, and an
    /// account or a chart that is the resource's own is closed until a version can be read.
    pub fn rejected(origin: String) -> Self {
        let own = own_record(&origin).map(|(class, id)| {
            let closed = match class {
                RecordClass::Patient => ("closed".into(), Value::Bool(true)),
                RecordClass::User | RecordClass::Client => ("status".into(), "closed".into()),
            };
            Patch { class, id, members: Map::from_iter([closed]) }
        });
        Self { records: own.into_iter().collect(), ..Self::nothing(origin) }
    }
}

/// The record that is a resource's own.
fn own_record(origin: &str) -> Option<(RecordClass, String)> {
    match origin.split_once('/') {
        Some(("Patient", id)) => Some((RecordClass::Patient, id.to_owned())),
        Some(("Practitioner" | "PractitionerRole" | "RelatedPerson" | "Person", _)) => {
            Some((RecordClass::User, origin.to_owned()))
        }
        _ => None,
    }
}

/// Members of a record that a resource speaks of; those it is silent about keep what they have.
#[derive(Debug, Clone, PartialEq)]
pub struct Patch {
    /// whose record
    pub class: RecordClass,
    /// `123`, `Practitioner/17`
    pub id: String,
    /// members to set; `null` takes one away
    pub members: Map<String, Value>,
}

impl Patch {
    /// What it sets, without what it takes away.
    pub fn said(&self) -> Map<String, Value> {
        self.members.clone().into_iter().filter(|(_, value)| !value.is_null()).collect()
    }

    /// Whether it is the resource's own word on its own record.
    pub fn is_own(&self, origin: &str) -> bool {
        own_record(origin).is_some_and(|(class, id)| class == self.class && id == self.id)
    }
}

/// How resources are to be read.
#[derive(Debug, Clone)]
pub struct Reading {
    /// absolute URL of the server: references below it are local
    pub base: Option<String>,
    /// zone of dates without one, and of patients
    pub zone: TimeZone,
    /// its name, `America/New_York`
    pub zone_name: Option<String>,
}

impl Reading {
    /// A name that tells one way of reading from another.
    pub fn name(&self) -> String {
        format!("{} {}", self.zone_name.as_deref().unwrap_or("-"), self.base.as_deref().unwrap_or("-"))
    }
}

/// Why a resource gives nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// no JSON object with a type and an id
    #[error("not a FHIR resource with a type and an id")]
    NotAResource,
    /// nothing is derived from this type
    #[error("nothing is known about people from a `{0}`")]
    Type(String),
    /// an element is missing
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// an element cannot be read
    #[error("`{element}` is not {expected}")]
    Element {
        /// the element, `period.start`
        element: &'static str,
        /// what it should be
        expected: &'static str,
    },
    /// it says something that would be lost
    #[error("`{0}` cannot be taken over")]
    Unsupported(&'static str),
}

/// The resource a value is, `Encounter/9`, if it is of a type something can be derived from.
pub fn origin(value: &Value, reading: &Reading) -> Option<String> {
    let resource = Resource::new(value, reading).ok()?;
    TYPES.contains(&resource.kind).then(|| resource.origin())
}

/// Read what a resource says about people.
pub fn derive(value: &Value, reading: &Reading) -> Result<Derived, Reject> {
    let resource = Resource::new(value, reading)?;
    // FHIR R4, Extensibility, section 2.4.1: what is not understood here could turn the meaning round.
    if is_modified(value) {
        return Err(Reject::Unsupported("modifierExtension"));
    }
    // FHIR R4, Resource, section 2.26.3.2: rules that are not known here could do the same.
    if value.get("implicitRules").is_some() {
        return Err(Reject::Unsupported("implicitRules"));
    }
    let origin = resource.origin();
    let (relationships, records) = match resource.kind {
        "Appointment" => (care::appointment(&resource)?, Vec::new()),
        "CareTeam" => (care::care_team(&resource)?, Vec::new()),
        "Encounter" => (care::encounter(&resource)?, Vec::new()),
        "Group" => (care::group(&resource)?, Vec::new()),
        "Consent" => (consent::consent(&resource)?, Vec::new()),
        "Patient" => (patient::primary_care(&resource)?, vec![patient::record(&resource)?]),
        "Person" => (Vec::new(), user::person(&resource)?),
        "Practitioner" => (Vec::new(), vec![user::practitioner(&resource)?]),
        "PractitionerRole" => (Vec::new(), vec![user::practitioner_role(&resource)?]),
        "RelatedPerson" => (Vec::new(), vec![user::related_person(&resource)?]),
        other => return Err(Reject::Type(other.to_owned())),
    };
    Ok(Derived { relationships, records, ..Derived::nothing(origin) })
}

/// Whether a resource, or any element of it, has an extension that may turn its meaning round. What is contained, and
/// the text for people, is not read.
fn is_modified(value: &Value) -> bool {
    match value {
        Value::Object(members) => members
            .iter()
            .filter(|(name, _)| !matches!(name.as_str(), "contained" | "text"))
            .any(|(name, value)| name == "modifierExtension" || is_modified(value)),
        Value::Array(items) => items.iter().any(is_modified),
        _ => false,
    }
}

/// A relationship that a resource gives, in full and without limits.
fn relationship(user: &str, patient: &str, kind: &str, origin: &str) -> Relationship {
    Relationship {
        user: user.to_owned(),
        patient: patient.to_owned(),
        kind: kind.to_owned(),
        level: "full".into(),
        status: "active".into(),
        via: "ordinary".into(),
        source: String::new(),
        start: None,
        end: None,
        terms: Terms { basis: origin.to_owned(), ..Terms::default() },
    }
}

#[cfg(test)]
mod tests;

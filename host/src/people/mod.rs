//! Records of patients, users and clients: what they may hold, and how a policy is told of them.
//!
//! `policy/PEOPLE.md` says what each member means.

mod fact;
mod limits;

use chartgate_model::{Record, RecordClass};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::store::relationships::{IMPORT, SOURCE};

pub use fact::encode;
pub use limits::{CHARTS_MAX, is_client_id, partial_date, zone};

/// A record holds something that is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{member}: {message}")]
pub struct InvalidRecord {
    /// the member, `restriction.allow`
    pub member: String,
    /// what is wrong with it
    pub message: String,
}

impl InvalidRecord {
    fn new(member: &str, message: impl Into<String>) -> Self {
        Self { member: member.to_owned(), message: message.into() }
    }
}

/// What is known of a patient.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PatientRecord {
    /// the chart is in use
    #[serde(skip_serializing_if = "is_true")]
    pub active: bool,
    /// closed by an import, until it can read the resource
    #[serde(skip_serializing_if = "is_false")]
    pub closed: bool,
    /// a FHIR date, perhaps partial
    #[serde(skip_serializing_if = "Option::is_none")]
    pub birth_date: Option<String>,
    /// IANA name of the zone they live in
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// has died; absent: not said
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deceased: Option<bool>,
    /// bare id of the chart that replaced this one
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merged_into: Option<String>,
    /// only some may open the chart
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restriction: Option<Restriction>,
    /// made up for tests
    #[serde(skip_serializing_if = "is_false")]
    pub test: bool,
    /// no app of the patient or a proxy may open it
    #[serde(skip_serializing_if = "is_false")]
    pub app_access_blocked: bool,
    /// an adult before their years; absent: not said
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emancipated: Option<bool>,
    /// documented as unable to decide for themself; absent: not said
    #[serde(skip_serializing_if = "Option::is_none")]
    pub incapacitated: Option<bool>,
    /// when this was so, RFC 3339; now when absent
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
}

impl Default for PatientRecord {
    fn default() -> Self {
        Self {
            active: true,
            closed: false,
            birth_date: None,
            zone: None,
            deceased: None,
            merged_into: None,
            restriction: None,
            test: false,
            app_access_blocked: false,
            emancipated: None,
            incapacitated: None,
            as_of: None,
        }
    }
}

/// Who may open a restricted chart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Restriction {
    /// users
    pub allow: Vec<String>,
    /// restricted until here, exclusive, RFC 3339
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// What is known of a user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UserRecord {
    /// `active`, `suspended`, `inactive`; `unknown` where only `charts` are known; `closed` by an import, until it can
    /// read the resource
    pub status: String,
    /// employed or registered from here, inclusive, RFC 3339
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// until here, exclusive, RFC 3339
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// `patient`, `proxy`, `provider`; absent: not said
    #[serde(skip_serializing_if = "Option::is_none")]
    pub roles: Option<Vec<String>>,
    /// patients that are the user; absent: not said
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charts: Option<Vec<String>>,
    /// of a `PractitionerRole`: whose role it is, `Practitioner/17`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub practitioner: Option<String>,
    /// made up for tests
    #[serde(skip_serializing_if = "is_false")]
    pub test: bool,
    /// when this was so, RFC 3339; now when absent
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
}

impl Default for UserRecord {
    fn default() -> Self {
        let status = "active".to_owned();
        let (start, end, roles, charts, practitioner) = (None, None, None, None, None);
        Self { status, start, end, roles, charts, practitioner, test: false, as_of: None }
    }
}

/// What is known of a client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClientRecord {
    /// `active`, `suspended`, `revoked`
    pub status: String,
    /// `patient`, `provider`, `system`; absent: any
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// licensed from here, inclusive, RFC 3339
    #[serde(skip_serializing_if = "Option::is_none")]
    pub start: Option<String>,
    /// until here, exclusive, RFC 3339
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
    /// made up for tests
    #[serde(skip_serializing_if = "is_false")]
    pub test: bool,
    /// when this was so, RFC 3339; now when absent
    #[serde(skip_serializing_if = "Option::is_none")]
    pub as_of: Option<String>,
}

impl Default for ClientRecord {
    fn default() -> Self {
        Self { status: "active".to_owned(), kind: None, start: None, end: None, test: false, as_of: None }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes members by reference")]
fn is_false(flag: &bool) -> bool {
    !flag
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes members by reference")]
fn is_true(flag: &bool) -> bool {
    *flag
}

/// Take a record in: its members are checked one by one, and written the one way they are kept.
pub fn record(class: RecordClass, id: &str, source: &str, members: Value) -> Result<Record, InvalidRecord> {
    limits::id(class, id)?;
    // The directory answers anew each time: a record that said when it was read would soon be too old for ever.
    if [SOURCE, IMPORT].contains(&source) && members.get("as_of").is_some() {
        return Err(InvalidRecord::new("as_of", "is said by callers, of what they read elsewhere"));
    }
    let members = match class {
        RecordClass::Patient => checked::<PatientRecord>(members, |record| limits::patient(record, id))?,
        RecordClass::User => checked::<UserRecord>(members, |record| limits::user(record, id))?,
        RecordClass::Client => checked::<ClientRecord>(members, limits::client)?,
    };
    Ok(Record { class, id: id.to_owned(), source: source.to_owned(), members })
}

fn checked<T: Serialize + DeserializeOwned>(
    members: Value,
    limits: impl FnOnce(&T) -> Result<(), InvalidRecord>,
) -> Result<Map<String, Value>, InvalidRecord> {
    // SECURITY: a derived struct would also take a list, by position.
    let lists = [("record", Some(&members)), ("restriction", members.get("restriction"))];
    if let Some((name, _)) = lists.into_iter().find(|(_, value)| value.is_some_and(Value::is_array)) {
        return Err(InvalidRecord::new(name, "has to be an object"));
    }
    let record: T = serde_path_to_error::deserialize(members).map_err(|error| {
        InvalidRecord::new(&error.path().to_string(), "is no member of such a record, or has the wrong form")
    })?;
    limits(&record)?;
    match serde_json::to_value(&record) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(InvalidRecord::new("record", "cannot be written as JSON")),
    }
}

/// A record as one JSON object that names whom it is of, by a member called as its class.
pub fn named(class: RecordClass, source: &str, mut object: Map<String, Value>) -> Result<Record, InvalidRecord> {
    match object.remove(class.code()) {
        Some(Value::String(id)) => record(class, &id, source, Value::Object(object)),
        Some(_) => Err(InvalidRecord::new(class.code(), "has to be a string")),
        None => Err(InvalidRecord::new(class.code(), "is missing")),
    }
}

#[cfg(test)]
mod tests;

//! Who asks, and what is known about their relation to patients.

use crate::Millis;

/// The one role of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SubjectKind {
    /// a patient in their own right
    Patient,
    /// somebody who acts for patients
    Proxy,
    /// a clinician or other user of the record system
    Provider,
    /// a client without a user
    System,
}

impl SubjectKind {
    /// The stable code, as in JSON, WIT and logs.
    pub fn code(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::Proxy => "proxy",
            Self::Provider => "provider",
            Self::System => "system",
        }
    }

    /// The kind named by a code.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Patient, Self::Proxy, Self::Provider, Self::System].into_iter().find(|kind| kind.code() == code)
    }

    /// The kind a user's resource type stands for, where it leaves no doubt. A `Person` may be a
    /// patient, a proxy or a clinician, so it has to be said.
    pub fn of_user_type(resource_type: &str) -> Option<Self> {
        match resource_type {
            "Patient" => Some(Self::Patient),
            "RelatedPerson" => Some(Self::Proxy),
            "Practitioner" | "PractitionerRole" => Some(Self::Provider),
            _ => None,
        }
    }
}

/// Who asks, through which app, with which scopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// the role
    pub kind: SubjectKind,
    /// `Practitioner/17`; empty only for `system`
    pub user: String,
    /// OAuth client identifier
    pub client: String,
    /// granted scopes, as the token carries them
    pub scope: String,
    /// launch patient, a bare id
    pub patient: Option<String>,
    /// launch encounter, a bare id
    pub encounter: Option<String>,
    /// when the token ends
    pub expires: Option<Millis>,
}

/// A relationship between a user and a patient, with its validity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relationship {
    /// `Practitioner/17`
    pub user: String,
    /// bare id of the patient
    pub patient: String,
    /// `treatment`, `caregiver`, `guardian`, …
    pub kind: String,
    /// `full`, `limited`, `read-only`
    pub level: String,
    /// `active`, `suspended`, `revoked`
    pub status: String,
    /// `ordinary`, or how else it came about
    pub via: String,
    /// who says so: `directory`, `caller`
    pub source: String,
    /// holds from here, inclusive
    pub start: Option<Millis>,
    /// holds until here, exclusive
    pub end: Option<Millis>,
    /// what else it says
    pub terms: Terms,
}

/// On what a relationship rests and what it leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Terms {
    /// what it rests on: a resource (`Consent/9`), a document. Relationships of one kind on several bases
    /// stand side by side
    pub basis: String,
    /// resource types it does not reach
    pub exclude_types: Vec<String>,
    /// codes of security labels it does not reach
    pub exclude_labels: Vec<String>,
    /// `incapacity` or `minority` of the patient: it holds only then
    pub condition: Option<String>,
    /// of a `delegation`: for whom the user works
    pub delegator: Option<String>,
}

/// Of whom a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecordClass {
    /// a patient
    Patient,
    /// a user
    User,
    /// a client
    Client,
}

impl RecordClass {
    /// The stable code, as in fact keys, JSON and the database.
    pub fn code(self) -> &'static str {
        match self {
            Self::Patient => "patient",
            Self::User => "user",
            Self::Client => "client",
        }
    }

    /// The class named by a code.
    pub fn from_code(code: &str) -> Option<Self> {
        [Self::Patient, Self::User, Self::Client].into_iter().find(|class| class.code() == code)
    }
}

/// What somebody knows of a patient, a user or a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// of whom
    pub class: RecordClass,
    /// bare id of a patient, `Practitioner/17`, or id of a client
    pub id: String,
    /// who says so: `directory`, `caller`
    pub source: String,
    /// the members that are said, a JSON object
    pub members: serde_json::Map<String, serde_json::Value>,
}

impl Relationship {
    /// Break-glass never counts for apps: the host drops such facts before the policy call.
    pub fn is_break_glass(&self) -> bool {
        self.via != "ordinary"
    }
}

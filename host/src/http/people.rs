//! The forms of records, for the documentation. They are read by [`crate::people`], which has the same members.
#![expect(dead_code, reason = "what is documented here is read elsewhere")]

use utoipa::ToSchema;

/// What is known of a patient. What is absent is not said.
#[derive(ToSchema)]
pub(super) struct PatientBody {
    /// bare id
    patient: String,
    /// the chart is in use, `true` when absent
    active: Option<bool>,
    /// a FHIR date, perhaps partial
    birth_date: Option<String>,
    /// IANA name of the zone they live in
    zone: Option<String>,
    /// has died
    deceased: Option<bool>,
    /// bare id of the chart that replaced this one
    merged_into: Option<String>,
    restriction: Option<RestrictionBody>,
    /// made up for tests
    test: Option<bool>,
    /// no app of the patient or a proxy may open it
    app_access_blocked: Option<bool>,
    /// an adult before their years
    emancipated: Option<bool>,
    /// documented as unable to decide for themself
    incapacitated: Option<bool>,
    /// when this was so, RFC 3339; now when absent
    as_of: Option<String>,
}

/// Only some may open the chart.
#[derive(ToSchema)]
pub(super) struct RestrictionBody {
    /// users, `Practitioner/17`
    allow: Vec<String>,
    /// until here, exclusive, RFC 3339
    until: Option<String>,
}

/// What is known of a user. What is absent is not said.
#[derive(ToSchema)]
pub(super) struct UserBody {
    /// `Practitioner/17`
    user: String,
    /// `active` when absent, `suspended`, `inactive`
    status: Option<String>,
    /// employed or registered from here, inclusive, RFC 3339
    start: Option<String>,
    /// until here, exclusive, RFC 3339
    end: Option<String>,
    /// of `patient`, `proxy`, `provider`
    roles: Option<Vec<String>>,
    /// patients that are the user, bare ids
    charts: Option<Vec<String>>,
    /// of a `PractitionerRole`: whose role it is, `Practitioner/17`
    practitioner: Option<String>,
    /// made up for tests
    test: Option<bool>,
    /// when this was so, RFC 3339; now when absent
    as_of: Option<String>,
}

/// What is known of a client. What is absent is not said.
#[derive(ToSchema)]
pub(super) struct ClientBody {
    /// OAuth client identifier
    client: String,
    /// `active` when absent, `suspended`, `revoked`
    status: Option<String>,
    /// `patient`, `provider`, `system`; any when absent
    kind: Option<String>,
    /// licensed from here, inclusive, RFC 3339
    start: Option<String>,
    /// until here, exclusive, RFC 3339
    end: Option<String>,
    /// made up for tests
    test: Option<bool>,
    /// when this was so, RFC 3339; now when absent
    as_of: Option<String>,
}

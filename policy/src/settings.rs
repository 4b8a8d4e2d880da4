//! What a release may switch. Defaults are the strict ones.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::json::{Json, Malformed, Value};

/// JSON Schema of the settings, as `describe` gives it.
pub const SCHEMA: &str = include_str!("settings.schema.json");

/// Types limited access reaches where the release names none.
const LIMITED_TYPES: [&str; 9] = [
    "AllergyIntolerance",
    "Appointment",
    "AppointmentResponse",
    "CareTeam",
    "Coverage",
    "Immunization",
    "ImmunizationRecommendation",
    "Patient",
    "RelatedPerson",
];
/// Labels hidden from limited access where the release names none: sensitivity policies and the two highest
/// degrees of confidentiality (v3-ActCode, v3-Confidentiality).
const LIMITED_HIDDEN_LABELS: [&str; 15] =
    ["BH", "ETH", "ETHUD", "HIV", "MH", "OPIOIDUD", "PREGNANT", "PSY", "PSYTHPN", "R", "SDV", "SEX", "STD", "SUD", "V"];

/// The settings of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) writes: bool,
    pub(crate) role_membership: bool,
    pub(crate) system_clients: bool,
    pub(crate) search_parameters: Vec<String>,
    pub(crate) narrowing_patients_max: usize,
    pub(crate) require_patient_records: bool,
    pub(crate) require_provider_records: bool,
    pub(crate) require_portal_user_records: bool,
    pub(crate) require_client_records: bool,
    pub(crate) fact_age_max_s: u64,
    pub(crate) age_of_majority: u32,
    pub(crate) limited_from_age: u32,
    pub(crate) own_access_from_age: u32,
    pub(crate) encounter_window_days: u64,
    pub(crate) appointment_window_days: u64,
    pub(crate) own_chart_for_providers: bool,
    pub(crate) writable_care_types: Vec<String>,
    limited_types: Option<Vec<String>>,
    limited_hidden_labels: Option<Vec<String>>,
    hidden_labels_from_patients: Vec<String>,
    hidden_labels_from_proxies: Vec<String>,
    hidden_labels_from_providers: Vec<String>,
}

/// Parameters that US Core 6.1 defines beyond those of FHIR and asks servers for (its CapabilityStatement); each is about
/// its own row.
const SEARCH_PARAMETERS: [&str; 4] =
    ["CareTeam.role", "Condition.asserted-date", "Encounter.discharge-disposition", "Goal.description"];

impl Default for Settings {
    fn default() -> Self {
        Self {
            writes: false,
            role_membership: false,
            system_clients: false,
            search_parameters: SEARCH_PARAMETERS.map(String::from).to_vec(),
            narrowing_patients_max: 100,
            require_patient_records: true,
            require_provider_records: true,
            require_portal_user_records: false,
            require_client_records: false,
            fact_age_max_s: 60,
            age_of_majority: 18,
            limited_from_age: 12,
            own_access_from_age: 12,
            encounter_window_days: 30,
            appointment_window_days: 30,
            own_chart_for_providers: false,
            writable_care_types: Vec::new(),
            limited_types: None,
            limited_hidden_labels: None,
            hidden_labels_from_patients: Vec::new(),
            hidden_labels_from_proxies: Vec::new(),
            hidden_labels_from_providers: Vec::new(),
        }
    }
}

/// A list of names, those of the release or the usual ones.
#[derive(Clone, Copy)]
pub(crate) enum Names<'s> {
    Usual(&'static [&'static str]),
    Given(&'s [String]),
}

impl Names<'_> {
    pub(crate) const NONE: Self = Self::Usual(&[]);

    pub(crate) fn is_empty(self) -> bool {
        match self {
            Self::Usual(names) => names.is_empty(),
            Self::Given(names) => names.is_empty(),
        }
    }

    pub(crate) fn contains(self, name: &str) -> bool {
        match self {
            Self::Usual(names) => names.contains(&name),
            Self::Given(names) => names.iter().any(|known| known == name),
        }
    }
}

impl Settings {
    /// Read the settings; an unknown member is an error, so that a misspelt one never goes unnoticed.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut settings = Self::default();
        if bytes == b"{}" {
            return Ok(settings);
        }
        let json = Json::parse(bytes)?;
        let root = json.root();
        if !root.is_object() {
            return Err(Malformed);
        }
        for member in root.members() {
            let (name, value) = member?;
            // Twice the same name is malformed, and `get` says so.
            root.get(&name)?;
            settings.set(&name, value)?;
        }
        Ok(settings)
    }

    fn set(&mut self, name: &str, value: Value<'_, '_>) -> Result<(), Malformed> {
        match name {
            "writes" => self.writes = boolean(value)?,
            "role_membership" => self.role_membership = boolean(value)?,
            "system_clients" => self.system_clients = boolean(value)?,
            "search_parameters" => self.search_parameters = names(value)?,
            "narrowing_patients_max" => self.narrowing_patients_max = number(value, 1, 1_000)?,
            "require_patient_records" => self.require_patient_records = boolean(value)?,
            "require_provider_records" => self.require_provider_records = boolean(value)?,
            "require_portal_user_records" => self.require_portal_user_records = boolean(value)?,
            "require_client_records" => self.require_client_records = boolean(value)?,
            "fact_age_max_s" => self.fact_age_max_s = number(value, 0, 3_600)?,
            "age_of_majority" => self.age_of_majority = number(value, 1, 30)?,
            "limited_from_age" => self.limited_from_age = number(value, 0, 30)?,
            "own_access_from_age" => self.own_access_from_age = number(value, 0, 30)?,
            "encounter_window_days" => self.encounter_window_days = number(value, 0, 3_650)?,
            "appointment_window_days" => self.appointment_window_days = number(value, 0, 3_650)?,
            "own_chart_for_providers" => self.own_chart_for_providers = boolean(value)?,
            "writable_care_types" => self.writable_care_types = names(value)?,
            "limited_types" => self.limited_types = Some(names(value)?),
            "limited_hidden_labels" => self.limited_hidden_labels = Some(names(value)?),
            "hidden_labels_from_patients" => self.hidden_labels_from_patients = names(value)?,
            "hidden_labels_from_proxies" => self.hidden_labels_from_proxies = names(value)?,
            "hidden_labels_from_providers" => self.hidden_labels_from_providers = names(value)?,
            _ => return Err(Malformed),
        }
        Ok(())
    }

    pub(crate) fn is_limited_type(&self, name: &str) -> bool {
        given_or(&self.limited_types, &LIMITED_TYPES).contains(name)
    }

    pub(crate) fn limited_hidden_labels(&self) -> Names<'_> {
        given_or(&self.limited_hidden_labels, &LIMITED_HIDDEN_LABELS)
    }

    pub(crate) fn hidden_labels_from_patients(&self) -> Names<'_> {
        Names::Given(&self.hidden_labels_from_patients)
    }

    pub(crate) fn hidden_labels_from_proxies(&self) -> Names<'_> {
        Names::Given(&self.hidden_labels_from_proxies)
    }

    pub(crate) fn hidden_labels_from_providers(&self) -> Names<'_> {
        Names::Given(&self.hidden_labels_from_providers)
    }
}

fn given_or<'s>(given: &'s Option<Vec<String>>, usual: &'static [&'static str]) -> Names<'s> {
    given.as_deref().map_or(Names::Usual(usual), Names::Given)
}

fn number<T: core::str::FromStr + PartialOrd>(value: Value<'_, '_>, least: T, most: T) -> Result<T, Malformed> {
    let number = value.literal().and_then(|text| text.parse().ok());
    number.filter(|number| least <= *number && *number <= most).ok_or(Malformed)
}

fn names(value: Value<'_, '_>) -> Result<Vec<String>, Malformed> {
    if !value.is_array() {
        return Err(Malformed);
    }
    value.elements().map(|item| Ok(item.string().ok_or(Malformed)??.to_string())).collect()
}

fn boolean(value: Value<'_, '_>) -> Result<bool, Malformed> {
    match value.literal() {
        Some("true") => Ok(true),
        Some("false") => Ok(false),
        _ => Err(Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::Settings;

    #[test]
    fn an_empty_object_gives_the_strict_defaults() {
        let settings = Settings::parse(b" { } ").unwrap();
        assert_eq!(settings, Settings::default());
        assert!(!settings.writes && !settings.role_membership && !settings.system_clients);
    }

    #[test]
    fn unknown_or_mistyped_members_are_errors() {
        let texts = [
            "",
            "[]",
            "{\"write\":true}",
            "{\"writes\":1}",
            "{\"writes\":true,\"writes\":false}",
            "{\"narrowing_patients_max\":0}",
            "{\"narrowing_patients_max\":1001}",
            "{\"search_parameters\":[1]}",
            "{\"limited_types\":\"Patient\"}",
            "{\"age_of_majority\":0}",
            "{\"age_of_majority\":31}",
            "{\"age_of_majority\":-1}",
            "{\"age_of_majority\":18.0}",
            "{\"fact_age_max_s\":3601}",
            "{\"encounter_window_days\":3651}",
        ];
        for text in texts {
            assert!(Settings::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(Settings::parse(b"{\"narrowing_patients_max\":1000}").unwrap().narrowing_patients_max, 1000);
    }
}

//! What a release may switch. Defaults are the strict ones.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::json::{Json, Malformed, Value};

/// JSON Schema of the settings, as `describe` gives it.
pub const SCHEMA: &str = r#"{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","additionalProperties":false,"properties":{"writes":{"type":"boolean","default":false,"description":"apps may write at all"},"role_membership":{"type":"boolean","default":false,"description":"compartment parameters that name a role (performer, author, recipient) confer read too"},"system_clients":{"type":"boolean","default":false,"description":"clients without a user may do what their system scopes say"},"search_parameters":{"type":"array","items":{"type":"string"},"default":[],"description":"search parameters of the server beyond the FHIR definitions, as Type.code; they must not reach beyond the type"},"narrowing_patients_max":{"type":"integer","minimum":1,"maximum":1000,"default":100,"description":"patients a narrowed search may name"}}}"#;

/// The settings of a release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Settings {
    pub(crate) writes: bool,
    pub(crate) role_membership: bool,
    pub(crate) system_clients: bool,
    pub(crate) search_parameters: Vec<String>,
    pub(crate) narrowing_patients_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            writes: false,
            role_membership: false,
            system_clients: false,
            search_parameters: Vec::new(),
            narrowing_patients_max: 100,
        }
    }
}

impl Settings {
    /// Read the settings; an unknown member is an error, so that a misspelt one never goes unnoticed.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        const MEMBERS: [&str; 5] =
            ["writes", "role_membership", "system_clients", "search_parameters", "narrowing_patients_max"];
        if bytes == b"{}" {
            return Ok(Self::default());
        }
        let json = Json::parse(bytes)?;
        let root = json.root();
        if !root.is_object() || !root.member_names_within(&MEMBERS)? {
            return Err(Malformed);
        }
        let mut settings = Self::default();
        if let Some(value) = root.get("writes")? {
            settings.writes = boolean(value)?;
        }
        if let Some(value) = root.get("role_membership")? {
            settings.role_membership = boolean(value)?;
        }
        if let Some(value) = root.get("system_clients")? {
            settings.system_clients = boolean(value)?;
        }
        if let Some(value) = root.get("search_parameters")? {
            if !value.is_array() {
                return Err(Malformed);
            }
            settings.search_parameters = value
                .elements()
                .map(|item| Ok(item.string().ok_or(Malformed)??.to_string()))
                .collect::<Result<_, _>>()?;
        }
        if let Some(value) = root.get("narrowing_patients_max")? {
            let number = value.literal().and_then(|text| text.parse().ok());
            settings.narrowing_patients_max = number.filter(|n| (1..=1000).contains(n)).ok_or(Malformed)?;
        }
        Ok(settings)
    }
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
        ];
        for text in texts {
            assert!(Settings::parse(text.as_bytes()).is_err(), "{text}");
        }
        assert_eq!(Settings::parse(b"{\"narrowing_patients_max\":1000}").unwrap().narrowing_patients_max, 1000);
    }
}

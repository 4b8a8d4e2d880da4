//! Granular scopes: search parameters judged on resource content (FHIR R4, Search, section 3.1.1).
//!
//! Token parameters so far. A filter with any other kind, a modifier or a value that cannot be read
//! does not parse, and its scope grants nothing.

use alloc::borrow::Cow;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::json::{Malformed, Value};
use crate::tables::{Kind, Parameter, ResourceType, Version};

/// `name=value&name=value`: all pairs must match.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) pairs: Vec<Pair<'a>>,
}

/// One `name=value`.
#[derive(Clone)]
pub(crate) struct Pair<'a> {
    pub(crate) name: &'static str,
    /// percent-decoded, search escapes as they are: what a search would carry
    pub(crate) value: Cow<'a, str>,
    parameter: &'static Parameter,
}

impl core::fmt::Debug for Pair<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}={}", self.name, self.value)
    }
}

impl PartialEq for Pair<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.value == other.value
    }
}

impl<'a> Filter<'a> {
    /// Read the part of a scope behind `?`.
    pub(crate) fn parse(text: &'a str, version: &'static Version, on: &ResourceType) -> Option<Self> {
        let pair = |text: &'a str| {
            let (name, value) = text.split_once('=')?;
            let (name, value) = (percent_decode(name)?, percent_decode(value)?);
            let parameter = version.parameter(on, &name)?;
            let judgeable = parameter.kind == Kind::Token && !parameter.paths.is_empty();
            (judgeable && alternatives(&value).is_some()).then_some(Pair { name: parameter.code, value, parameter })
        };
        text.split('&').map(pair).collect::<Option<Vec<_>>>().map(|pairs| Self { pairs })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether a resource matches every pair.
    pub(crate) fn matches(&self, resource: Value<'_, '_>) -> Result<bool, Malformed> {
        for pair in &self.pairs {
            if !pair.matches(resource)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Pair<'_> {
    /// Either of two pairs of one parameter: a comma within one value is OR.
    pub(crate) fn or(&self, other: &Self) -> Self {
        let value = Cow::Owned(alloc::format!("{},{}", self.value, other.value));
        Self { value, ..self.clone() }
    }

    /// Whether any repetition at any of the parameter's paths matches any alternative.
    fn matches(&self, resource: Value<'_, '_>) -> Result<bool, Malformed> {
        let alternatives = alternatives(&self.value).unwrap_or_default();
        let mut matched = false;
        for path in self.parameter.paths {
            resource.walk(path, &mut |value| {
                matched |= matches_any(&alternatives, value)?;
                Ok(())
            })?;
        }
        Ok(matched)
    }
}

/// `system|code`, `|code`, `code` or `system|`.
#[derive(Debug, PartialEq, Eq)]
struct Alternative {
    /// `None`: any system; empty: no system
    system: Option<String>,
    /// `None`: any code
    code: Option<String>,
}

impl Alternative {
    fn accepts(&self, system: Option<&str>, code: Option<&str>) -> bool {
        let system_fits = self.system.as_deref().is_none_or(|wanted| wanted == system.unwrap_or_default());
        let code_fits = self.code.as_deref().is_none_or(|wanted| Some(wanted) == code);
        system_fits && code_fits
    }
}

/// The alternatives of a token value, taken apart at unescaped commas and bars.
fn alternatives(value: &str) -> Option<Vec<Alternative>> {
    let mut alternatives = Vec::new();
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut chars = value.chars();
    loop {
        match chars.next() {
            Some('\\') => part.push(chars.next().filter(|c| matches!(c, ',' | '|' | '$' | '\\'))?),
            Some('|') => parts.push(core::mem::take(&mut part)),
            end @ (Some(',') | None) => {
                parts.push(core::mem::take(&mut part));
                alternatives.push(alternative(core::mem::take(&mut parts))?);
                if end.is_none() {
                    return Some(alternatives);
                }
            }
            Some(c) => part.push(c),
        }
    }
}

fn alternative(parts: Vec<String>) -> Option<Alternative> {
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(code), None, None) => (!code.is_empty()).then_some(Alternative { system: None, code: Some(code) }),
        (Some(system), Some(code), None) => {
            let code = Some(code).filter(|code| !code.is_empty());
            (!system.is_empty() || code.is_some()).then_some(Alternative { system: Some(system), code })
        }
        _ => None,
    }
}

/// A value found at a token parameter's path: CodeableConcept, Coding, Identifier, ContactPoint,
/// code, string or boolean. Anything else matches nothing.
fn matches_any(alternatives: &[Alternative], value: Value<'_, '_>) -> Result<bool, Malformed> {
    let accepts = |system: Option<&str>, code: Option<&str>| alternatives.iter().any(|a| a.accepts(system, code));
    if let Some(text) = value.string() {
        // A code's system is implied by its binding, which is not here: only a bare code can match.
        let text = text?;
        return Ok(alternatives.iter().any(|a| a.system.is_none() && a.code.as_deref() == Some(&*text)));
    }
    if let Some(literal @ ("true" | "false")) = value.literal() {
        return Ok(accepts(None, Some(literal)));
    }
    if let Some(codings) = value.get("coding")? {
        let mut matched = false;
        for coding in codings.elements() {
            matched |= accepts(coding.get_string("system")?.as_deref(), coding.get_string("code")?.as_deref());
        }
        return Ok(matched);
    }
    let system = value.get_string("system")?;
    match (value.get("code")?, value.get("value")?) {
        (Some(_), None) => Ok(accepts(system.as_deref(), value.get_string("code")?.as_deref())),
        (None, Some(_)) => Ok(accepts(system.as_deref(), value.get_string("value")?.as_deref())),
        _ => Ok(false),
    }
}

/// Decode `%XX` once; `+` stays a plus (a scope is no form).
fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if text.is_empty() {
        return None;
    }
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'%' => hex(rest.next()?)? * 16 + hex(rest.next()?)?,
            other => other,
        };
        bytes.push(decoded);
    }
    let text = core::str::from_utf8(&bytes).ok()?;
    (!text.chars().any(char::is_control)).then(|| Cow::Owned(text.to_string()))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::Json;
    use crate::tables::version;

    fn matches(filter: &str, resource_type: &str, resource: &str) -> bool {
        let version = version("4.0.1").unwrap();
        let filter = Filter::parse(filter, version, version.resource_type(resource_type).unwrap()).unwrap();
        filter.matches(Json::parse(resource.as_bytes()).unwrap().root()).unwrap()
    }

    const LAB: &str =
        r#"{"category":[{"coding":[{"system":"http://c","code":"laboratory"},{"code":"bare"}]}],"status":"final"}"#;

    #[test]
    fn a_token_matches_by_system_and_code() {
        for yes in [
            "category=laboratory",
            "category=http://c|laboratory",
            "category=http://c|",
            "category=|bare",
            "category=x,laboratory",
            "category=http%3A%2F%2Fc%7Claboratory",
            "category=laboratory&status=final",
        ] {
            assert!(matches(yes, "Observation", LAB), "{yes}");
        }
        for no in [
            "category=imaging",
            "category=http://d|laboratory",
            "category=|laboratory",
            "category=Laboratory",
            "category=laboratory&status=draft",
            "category=laboratory\\,x",
            "status=http://hl7.org/fhir/observation-status|final",
        ] {
            assert!(!matches(no, "Observation", LAB), "{no}");
        }
    }

    #[test]
    fn identifiers_and_booleans_are_tokens_too() {
        let patient = r#"{"identifier":[{"system":"http://mrn","value":"7"}],"active":true}"#;
        assert!(matches("identifier=http://mrn|7", "Patient", patient));
        assert!(!matches("identifier=http://mrn|8", "Patient", patient));
        assert!(matches("active=true", "Patient", patient));
        assert!(!matches("active=false", "Patient", patient));
    }

    #[test]
    fn a_quantity_is_no_token() {
        assert!(!matches(
            "value-concept=7",
            "Observation",
            r#"{"valueCodeableConcept":{"value":7,"code":"7","system":"s"}}"#
        ));
    }

    #[test]
    fn absent_content_matches_nothing() {
        assert!(!matches("category=laboratory", "Observation", "{}"));
    }
}

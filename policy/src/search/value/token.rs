//! Tokens: `system|code`, `|code`, `code`, `system|` (FHIR R4, Search, section 3.1.1.4.10).

use alloc::string::String;
use alloc::vec::Vec;

use crate::json::{Malformed, Value};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// `None`: any system; empty: no system
    system: Option<String>,
    /// `None`: any code
    code: Option<String>,
}

pub(super) fn parse(parts: Vec<String>) -> Option<Token> {
    let mut parts = parts.into_iter();
    match (parts.next(), parts.next(), parts.next()) {
        (Some(code), None, None) => (!code.is_empty()).then_some(Token { system: None, code: Some(code) }),
        (Some(system), Some(code), None) => {
            let code = Some(code).filter(|code| !code.is_empty());
            (!system.is_empty() || code.is_some()).then_some(Token { system: Some(system), code })
        }
        _ => None,
    }
}

impl Token {
    /// A value without a system of its own: a code's is implied by its binding, which is not here, so
    /// only a bare code can match.
    pub(crate) fn accepts_bare(&self, code: &str) -> bool {
        self.system.is_none() && self.code.as_deref() == Some(code)
    }

    fn accepts(&self, system: Option<&str>, code: Option<&str>) -> bool {
        let system_fits = self.system.as_deref().is_none_or(|wanted| wanted == system.unwrap_or_default());
        let code_fits = self.code.as_deref().is_none_or(|wanted| Some(wanted) == code);
        system_fits && code_fits
    }

    /// CodeableConcept, Coding, Identifier, ContactPoint, code, string or boolean; anything else
    /// matches nothing.
    pub(super) fn accepts_value(&self, value: Value<'_, '_>) -> Result<bool, Malformed> {
        if let Some(text) = value.string() {
            return Ok(self.accepts_bare(&text?));
        }
        if let Some(literal @ ("true" | "false")) = value.literal() {
            return Ok(self.accepts_bare(literal));
        }
        if let Some(codings) = value.get("coding")? {
            for coding in codings.elements() {
                if self.accepts(coding.get_string("system")?.as_deref(), coding.get_string("code")?.as_deref()) {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        // An Identifier or ContactPoint has a `value`, a Coding a `code`; what has both is a Quantity.
        let system = value.get_string("system")?;
        match (value.get("code")?, value.get("value")?) {
            (Some(_), None) => Ok(self.accepts(system.as_deref(), value.get_string("code")?.as_deref())),
            (None, Some(_)) => Ok(self.accepts(system.as_deref(), value.get_string("value")?.as_deref())),
            _ => Ok(false),
        }
    }
}

//! `token`: codes, identifiers, flags.

use serde_json::Value;

/// One alternative.
pub struct Token {
    /// `None`: any system; empty: no system at all
    system: Option<String>,
    /// `None`: any code
    code: Option<String>,
}

impl Token {
    /// `code`, `system|code`, `|code`, `system|`.
    pub fn read(fields: &[String]) -> Option<Self> {
        match fields {
            [code] => Some(Self { system: None, code: Some(code.clone()) }),
            [system, code] => {
                Some(Self { system: Some(system.clone()), code: Some(code.clone()).filter(|code| !code.is_empty()) })
            }
            _ => None,
        }
    }

    /// Whether content is it.
    pub fn matches(&self, content: &Value) -> bool {
        match content {
            Value::String(text) => self.system.is_none() && self.code.as_ref() == Some(text),
            Value::Bool(flag) => self.system.is_none() && self.code.as_deref() == Some(&flag.to_string()),
            Value::Object(members) => match members.get("coding") {
                Some(Value::Array(codings)) => codings.iter().any(|coding| self.is_coded(coding)),
                _ => self.is_coded(content),
            },
            _ => false,
        }
    }

    fn is_coded(&self, content: &Value) -> bool {
        let text = |name: &str| content.get(name).and_then(Value::as_str);
        let system_fits = match self.system.as_deref() {
            None => true,
            Some("") => content.get("system").is_none(),
            Some(system) => text("system") == Some(system),
        };
        let found = text("code").or_else(|| text("value"));
        system_fits && self.code.as_deref().is_none_or(|code| found == Some(code))
    }
}

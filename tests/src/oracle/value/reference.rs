//! `reference`: literal references and canonical URLs.

use serde_json::Value;

use crate::oracle::reference::{Literal, is_id, read};

/// One alternative.
pub enum Target {
    /// a resource of this base
    Local(Literal),
    /// an absolute URL elsewhere
    Elsewhere(String),
}

impl Target {
    /// `Type/id`, an absolute URL, or a bare id where there is one target type.
    pub fn read(text: &str, targets: &[String], base: &str) -> Option<Self> {
        if is_id(text) {
            return match targets {
                [kind] => Some(Self::Local(Literal::Local { kind: kind.clone(), id: text.to_owned() })),
                _ => None,
            };
        }
        if text.contains("/_history/") || text.contains(['?', '#']) {
            return None;
        }
        match read(text, base) {
            Literal::Unclear => None,
            Literal::Foreign(_) => Some(Self::Elsewhere(text.to_owned())),
            local => Some(Self::Local(local)),
        }
    }

    /// Whether content points there.
    pub fn matches(&self, content: &Value, base: &str) -> bool {
        let (text, is_canonical) = match content {
            Value::String(text) => (text.as_str(), true),
            _ => (content.get("reference").and_then(Value::as_str).unwrap_or_default(), false),
        };
        match self {
            Self::Local(wanted) => read(text, base) == *wanted,
            Self::Elsewhere(wanted) => {
                let bare = text.split('|').next();
                text == wanted || (is_canonical && bare == Some(wanted))
            }
        }
    }
}

//! References (FHIR R4, Search, section 3.1.1.4.12): literal ones only. An identifier or a display
//! names nobody for certain.

use alloc::string::String;

use crate::json::{Malformed, Value};
use crate::reference::{Target, is_id, target as read};

/// What a reference parameter asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reference {
    /// `Type/id`, or a bare id where only one type can be meant
    Local { resource_type: String, id: String },
    /// an absolute URL or a canonical reference; under the own base it is the local resource
    Url(String),
}

/// `target` is the one type the parameter can point at; empty where there are several.
pub(super) fn parse(text: String, target: &str) -> Option<Reference> {
    if is_id(&text) {
        let local = || Reference::Local { resource_type: target.into(), id: text.clone() };
        return (!target.is_empty()).then(local);
    }
    if text.contains("://") || text.starts_with("urn:") {
        // A query or a fragment would be part of the name of nothing.
        return (!text.contains(['?', '#'])).then_some(Reference::Url(text));
    }
    match read(&text, "") {
        // A version in the value asks for more than a literal comparison can tell.
        Target::Local { resource_type, id } if text.matches('/').count() == 1 => {
            Some(Reference::Local { resource_type: resource_type.into(), id: id.into() })
        }
        _ => None,
    }
}

impl Reference {
    pub(super) fn accepts(&self, value: Value<'_, '_>, target: &str, base: &str) -> Result<bool, Malformed> {
        let text = match value.string() {
            Some(canonical) => canonical?,
            None => match value.get("reference")?.and_then(Value::string).transpose()? {
                Some(literal) => literal,
                None => return Ok(false),
            },
        };
        let found = read(&text, base);
        // `resolve() is Patient` holds for a resource of this server only.
        if !target.is_empty() && !matches!(found, Target::Local { resource_type, .. } if resource_type == target) {
            return Ok(false);
        }
        let wanted = match self {
            Self::Local { resource_type, id } => Target::Local { resource_type, id },
            Self::Url(url) => match read(url, base) {
                local @ Target::Local { .. } => local,
                // A canonical reference in the content may add a version.
                Target::Elsewhere { .. } => {
                    return Ok(
                        *text == **url || text.strip_prefix(url.as_str()).is_some_and(|rest| rest.starts_with('|'))
                    );
                }
            },
        };
        Ok(found == wanted)
    }
}

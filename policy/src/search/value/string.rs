//! Strings: the beginning of a text or of a part of it, whatever the case (FHIR R4, Search, section
//! 3.1.1.4.8). Accents count: folding them is left to servers, and matching less is safe.

use alloc::string::String;

use crate::json::{Malformed, Value};

/// The parts of a HumanName and an Address that are searched.
const PARTS: [&str; 11] =
    ["family", "given", "prefix", "suffix", "text", "line", "city", "district", "state", "postalCode", "country"];

pub(super) fn folded(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

pub(super) fn accepts(wanted: &str, value: Value<'_, '_>) -> Result<bool, Malformed> {
    if let Some(text) = value.string() {
        return Ok(folded(&text?).starts_with(wanted));
    }
    // A CodeableConcept is no text: what is searched of it, its expression names.
    if !value.is_object() || value.get("coding")?.is_some() {
        return Ok(false);
    }
    for part in PARTS {
        let Some(part) = value.get(part)? else { continue };
        for text in part.string().into_iter().chain(part.elements().filter_map(Value::string)) {
            if folded(&text?).starts_with(wanted) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

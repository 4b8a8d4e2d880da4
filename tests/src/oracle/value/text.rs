//! `string`: starts with, whatever the case.

use serde_json::Value;

use crate::oracle::fhirpath::Node;

/// Parts of names and addresses that count.
const PARTS: [&str; 11] =
    ["family", "given", "prefix", "suffix", "text", "line", "city", "district", "state", "postalCode", "country"];

/// Whether content, or a part of it, starts with the text.
pub fn matches(wanted: &str, node: &Node<'_>) -> bool {
    let starts =
        |value: &Value| value.as_str().is_some_and(|text| text.to_lowercase().starts_with(&wanted.to_lowercase()));
    match node.value {
        Value::Object(members) if !members.contains_key("coding") && node.tag != Some("CodeableConcept") => {
            PARTS.iter().filter_map(|part| members.get(*part)).any(|part| match part {
                Value::Array(items) => items.iter().any(starts),
                other => starts(other),
            })
        }
        other => starts(other),
    }
}

//! Break-glass markers: apps never get break-glass, so they are looked for, dropped and recorded.
//!
//! Dropping is by construction: no header but those of the FHIR request grammar is read, unknown
//! scopes grant nothing, and relationships that did not come about in the ordinary way are removed
//! before the policy call. What is found here only tells the record that somebody tried.

use std::collections::BTreeMap;

use serde_json::Value;

/// Names of the markers in a request, never their values.
pub fn markers(headers: &BTreeMap<String, String>, scope: Option<&str>) -> Vec<String> {
    let mut found: Vec<String> = headers
        .iter()
        .filter(|(name, _)| !name.eq_ignore_ascii_case("authorization"))
        .filter(|(name, value)| speaks_of_it(name) || speaks_of_it(value))
        .map(|(name, _)| format!("request.headers.{}", name.to_ascii_lowercase()))
        .collect();
    if scope.is_some_and(|scope| scope.split(' ').any(speaks_of_it)) {
        found.push("subject.scope".into());
    }
    found
}

/// Markers found in one JSON text at the most.
const FOUND_MAX: usize = 16;

/// Paths of the markers in a JSON value below `place`, in names or in text.
pub fn in_json(place: &str, value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    walk(place, value, &mut found);
    found
}

fn walk(place: &str, value: &Value, found: &mut Vec<String>) {
    if found.len() >= FOUND_MAX {
        return;
    }
    let below = |name: &str| {
        let name: String = name.chars().take(80).flat_map(char::escape_debug).collect();
        format!("{place}.{name}")
    };
    match value {
        Value::String(text) if speaks_of_it(text) => found.push(place.to_owned()),
        Value::Array(list) => list.iter().for_each(|item| walk(place, item, found)),
        Value::Object(members) => {
            for (name, value) in members {
                if speaks_of_it(name) && found.len() < FOUND_MAX {
                    found.push(below(name));
                } else {
                    walk(&below(name), value, found);
                }
            }
        }
        _ => {}
    }
}

/// `BTG` and `ETREAT` are the codes of HL7 v3 ActReason.
fn speaks_of_it(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    let word = |word: &str| text.split(|c: char| !c.is_ascii_alphanumeric()).any(|part| part == word);
    word("btg")
        || word("etreat")
        || text.contains("break-glass")
        || text.contains("breakglass")
        || text.contains("break-the-glass")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{in_json, markers};

    fn found(name: &str, value: &str, scope: &str) -> Vec<String> {
        markers(&[(name.to_owned(), value.to_owned())].into(), Some(scope))
    }

    #[test]
    fn markers_are_found_in_headers_and_scopes() {
        assert_eq!(
            found("X-Purpose-Of-Use", "http://terminology.hl7.org/CodeSystem/v3-ActReason|BTG", ""),
            ["request.headers.x-purpose-of-use"]
        );
        assert_eq!(found("X-Break-Glass", "1", ""), ["request.headers.x-break-glass"]);
        assert_eq!(found("accept", "application/json", "user/*.rs break-glass"), ["subject.scope"]);
    }

    #[test]
    fn ordinary_requests_have_none() {
        assert!(found("accept", "application/fhir+json", "user/*.rs").is_empty());
        assert!(found("authorization", "Bearer xx.BTG.yy", "").is_empty());
    }

    #[test]
    fn markers_are_found_anywhere_in_json() {
        let context =
            json!({ "purpose": { "codes": ["TREAT", "BTG"] }, "break-glass": true, "facts": "TREAT", "at": 1 });
        let mut found = in_json("context", &context);
        found.sort();
        assert_eq!(found, ["context.break-glass", "context.purpose.codes"]);
        let many: Vec<&str> = std::iter::repeat_n("BTG", 1000).collect();
        assert_eq!(in_json("context", &json!(many)).len(), super::FOUND_MAX);
    }
}

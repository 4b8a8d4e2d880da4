//! Strict JSON: what two parsers could read differently is refused.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// The bytes are not JSON that can be taken without doubt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrictError {
    /// no JSON, duplicate names or too deep; the message names the member
    #[error("{0}")]
    Malformed(String),
    /// a resource lacks what identifies it
    #[error("the content is not a FHIR resource: `{0}` is missing or not a string")]
    NotAResource(&'static str),
}

/// Check that the bytes are one JSON text in UTF-8, nested at most `max_depth` deep, in which no object
/// has two members of one name. Names are compared after their escapes are resolved.
///
/// SECURITY: of two members with one name, parsers take the first, the last or both. A decision made
/// on one of them says nothing about what the FHIR server will do with the other.
pub fn check(text: &[u8], max_depth: usize) -> Result<(), StrictError> {
    let malformed = |error: serde_json::Error| StrictError::Malformed(error.to_string());
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    // The depth is counted here, so that the limit is ours to choose.
    let mut path = Vec::new();
    Walk { path: &mut path, depth_left: max_depth }.deserialize(&mut deserializer).map_err(malformed)?;
    deserializer.end().map_err(malformed)
}

struct Walk<'p> {
    path: &'p mut Vec<String>,
    depth_left: usize,
}

impl Walk<'_> {
    fn at(&self) -> String {
        let path = self.path.join(".");
        if path.is_empty() { "the text".into() } else { format!("`{path}`") }
    }

    fn deeper<E: serde::de::Error>(&self) -> Result<usize, E> {
        self.depth_left.checked_sub(1).ok_or_else(|| E::custom(format!("{} is nested too deep", self.at())))
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let depth_left = self.deeper()?;
        while list.next_element_seed(Walk { path: self.path, depth_left })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let depth_left = self.deeper()?;
        let mut names = HashSet::new();
        while let Some(name) = map.next_key::<String>()? {
            self.path.push(name.clone());
            if !names.insert(name) {
                return Err(A::Error::custom(format!("duplicate member {}", self.at())));
            }
            map.next_value_seed(Walk { path: self.path, depth_left })?;
            self.path.pop();
        }
        Ok(())
    }
}

/// What a resource says of its own identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceKey {
    /// `resourceType`
    pub resource_type: String,
    /// `id`
    pub id: Option<String>,
    /// `meta.versionId`
    pub version_id: Option<String>,
}

/// Read the identity of a resource.
pub fn reference_key(content: &[u8]) -> Result<ResourceKey, StrictError> {
    let malformed = |error: serde_json::Error| StrictError::Malformed(error.to_string());
    let value: Identity = serde_json::from_slice(content).map_err(malformed)?;
    let resource_type = value.resource_type.ok_or(StrictError::NotAResource("resourceType"))?;
    Ok(ResourceKey { resource_type, id: value.id, version_id: value.meta.and_then(|meta| meta.version_id) })
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Identity {
    resource_type: Option<String>,
    id: Option<String>,
    meta: Option<Meta>,
}

#[derive(serde::Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta {
    version_id: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        check(text.as_bytes(), 8).unwrap_err().to_string()
    }

    #[test]
    fn ordinary_json_passes() {
        for text in ["{}", "[1,2.5e300,-0,123456789012345678901234567890]", r#"{"a":{"b":[null,true,"\u00e9"]}}"#] {
            check(text.as_bytes(), 8).unwrap();
        }
    }

    #[test]
    fn a_duplicate_is_named_with_its_path_however_it_is_spelled() {
        assert!(message(r#"{"a":{"b":1,"b":2}}"#).contains("duplicate member `a.b`"));
        assert!(message(r#"{"a":[{"b":1,"\u0062":2}]}"#).contains("duplicate member `a.b`"));
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for text in ["", "{", "{} x", "{'a':1}", "[1,]", r#""\ud800""#, "nul"] {
            assert!(check(text.as_bytes(), 8).is_err(), "{text}");
        }
        assert!(check(b"\"\xff\"", 8).is_err());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(check(nested(8).as_bytes(), 8).is_ok());
        assert!(message(&nested(9)).contains("too deep"));
    }

    #[test]
    fn a_resource_says_who_it_is() {
        let key = reference_key(br#"{"resourceType":"Patient","id":"1","meta":{"versionId":"3"}}"#).unwrap();
        assert_eq!(
            (key.resource_type.as_str(), key.id.as_deref(), key.version_id.as_deref()),
            ("Patient", Some("1"), Some("3"))
        );
        assert!(reference_key(b"{}").is_err());
        assert!(reference_key(br#"{"resourceType":1}"#).is_err());
    }
}

//! Strict JSON: what two parsers could read differently is refused.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Characters of a member path in an error: a name may be as long as the text it stands in.
const PATH_CHARS_MAX: usize = 200;

/// The bytes are not JSON that can be taken without doubt.
///
/// SECURITY: the messages name members and places, never a value: values are patient data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StrictError {
    /// not one JSON text (RFC 8259) in UTF-8, or a number no double can hold
    #[error("{place}: {problem}", place = place(member))]
    Malformed {
        /// path of the innermost member that was being read, `entry[2].resource`; empty at the top
        member: String,
        /// what the parser met, with line and column
        problem: String,
    },
    /// an object has two members of one name
    #[error("duplicate member `{member}`")]
    Duplicate {
        /// path of the second of them
        member: String,
    },
    /// objects and lists stand in one another deeper than allowed
    #[error("{place} is nested too deep", place = place(member))]
    TooDeep {
        /// path of the first value beyond the limit
        member: String,
    },
    /// a resource lacks what identifies it, or has it in another form
    #[error("the content is not a FHIR resource: `{0}` is missing or has the wrong form")]
    NotAResource(&'static str),
}

fn place(member: &str) -> String {
    if member.is_empty() { "the text".into() } else { format!("`{member}`") }
}

/// Check that the bytes are one JSON text in UTF-8, nested at most `max_depth` deep, in which no object
/// has two members of one name. Names are compared after their escapes are resolved. Numbers may have any
/// precision; one beyond the range of a double is refused, because parsers differ in what they make of it.
/// The parser underneath ends at a depth of 127, whatever `max_depth` says.
///
/// SECURITY: of two members with one name, parsers take the first, the last or both. A decision made
/// on one of them says nothing about what the FHIR server will do with the other.
pub fn check(text: &[u8], max_depth: usize) -> Result<(), StrictError> {
    let mut trail = Trail::default();
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    Walk { trail: &mut trail, depth_left: max_depth }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end())
        .map_err(|error| trail.into_error(&error))
}

/// Where a walk failed and why. Written only on the way out of a failure, so that a good text costs
/// nothing for it.
#[derive(Debug, Default)]
struct Trail {
    fault: Option<Fault>,
    /// steps from the innermost outwards
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy)]
enum Fault {
    Duplicate,
    TooDeep,
}

#[derive(Debug)]
enum Step {
    Member(String),
    Element(usize),
}

impl Trail {
    fn fail<E: serde::de::Error>(&mut self, fault: Fault) -> E {
        self.fault = Some(fault);
        E::custom("refused")
    }

    fn into_error(self, error: &serde_json::Error) -> StrictError {
        let member = self.member();
        match self.fault {
            Some(Fault::Duplicate) => StrictError::Duplicate { member },
            Some(Fault::TooDeep) => StrictError::TooDeep { member },
            None => StrictError::Malformed { member, problem: error.to_string() },
        }
    }

    fn member(&self) -> String {
        let mut path = String::new();
        for step in self.steps.iter().rev() {
            match step {
                Step::Element(at) => path.push_str(&format!("[{at}]")),
                Step::Member(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.extend(name.chars().take(PATH_CHARS_MAX).flat_map(char::escape_debug));
                }
            }
        }
        path.chars().take(PATH_CHARS_MAX).collect()
    }
}

struct Walk<'t> {
    trail: &'t mut Trail,
    depth_left: usize,
}

impl Walk<'_> {
    fn deeper<E: serde::de::Error>(&mut self) -> Result<usize, E> {
        self.depth_left.checked_sub(1).ok_or_else(|| self.trail.fail(Fault::TooDeep))
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

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut list: A) -> Result<(), A::Error> {
        let depth_left = self.deeper()?;
        for at in 0.. {
            match list.next_element_seed(Walk { trail: self.trail, depth_left }) {
                Ok(Some(())) => {}
                Ok(None) => break,
                Err(error) => {
                    self.trail.steps.push(Step::Element(at));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let depth_left = self.deeper()?;
        let mut names = BTreeSet::new();
        while let Some(Name(name)) = map.next_key()? {
            let outcome = if names.contains(&name) {
                Err(self.trail.fail(Fault::Duplicate))
            } else {
                map.next_value_seed(Walk { trail: self.trail, depth_left })
            };
            if let Err(error) = outcome {
                self.trail.steps.push(Step::Member(name.into_owned()));
                return Err(error);
            }
            names.insert(name);
        }
        Ok(())
    }
}

/// A member's name, its escapes resolved; most have none and are not copied.
struct Name<'de>(Cow<'de, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }

        deserializer.deserialize_str(Text)
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

/// Read the identity of a resource. A member of it that is there has to be a string: `null` is no
/// absence in FHIR JSON. The text is [`check`]ed elsewhere; duplicates of these members are refused here
/// all the same.
pub fn reference_key(content: &[u8]) -> Result<ResourceKey, StrictError> {
    let resource = members(content).ok_or(StrictError::NotAResource("resourceType"))?;
    let meta = match one(&resource, "meta")? {
        Some(meta) => members(meta.get().as_bytes()).ok_or(StrictError::NotAResource("meta"))?,
        None => Vec::new(),
    };
    Ok(ResourceKey {
        resource_type: string(&resource, "resourceType")?.ok_or(StrictError::NotAResource("resourceType"))?,
        id: string(&resource, "id")?,
        version_id: string(&meta, "versionId")?,
    })
}

type Members<'a> = Vec<(String, &'a RawValue)>;

/// The members of one object, in order; `None` for everything else.
///
/// SECURITY: a derived struct would also take a list for an object, by position.
fn members(text: &[u8]) -> Option<Members<'_>> {
    struct Object;

    impl<'de> Visitor<'de> for Object {
        type Value = Members<'de>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }

    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let members = deserializer.deserialize_map(Object).ok()?;
    deserializer.end().ok().map(|()| members)
}

fn one<'a>(members: &Members<'a>, name: &'static str) -> Result<Option<&'a RawValue>, StrictError> {
    let mut found = members.iter().filter(|(known, _)| known == name).map(|(_, value)| *value);
    match (found.next(), found.next()) {
        (value, None) => Ok(value),
        _ => Err(StrictError::Duplicate { member: name.into() }),
    }
}

fn string(members: &Members<'_>, name: &'static str) -> Result<Option<String>, StrictError> {
    let read = |value: &RawValue| serde_json::from_str(value.get()).map_err(|_| StrictError::NotAResource(name));
    one(members, name)?.map(read).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &str) -> StrictError {
        check(text.as_bytes(), 8).unwrap_err()
    }

    #[test]
    fn ordinary_json_passes() {
        for text in [
            "{}",
            " [1,2.5e300,-0,123456789012345678901234567890,0.10000000000000000000000000000001] ",
            r#"{"a":{"b":[null,true,"\u00e9\ud83d\ude00"]},"b":{"b":1}}"#,
            r#"[{"a":1},{"a":2}]"#,
            "\"\"",
        ] {
            check(text.as_bytes(), 8).unwrap();
        }
    }

    #[test]
    fn a_duplicate_is_named_with_its_path_however_it_is_spelled() {
        for (text, path) in [
            (r#"{"a":1,"a":1}"#, "a"),
            (r#"{"a":{"b":1,"b":2}}"#, "a.b"),
            (r#"{"a":[0,{"b":1,"\u0062":2}]}"#, "a[1].b"),
            (r#"{"stored":{"Observation/9":{"id":"9","id":"8"}}}"#, "stored.Observation/9.id"),
            (r#"{"":1,"":2}"#, ""),
            (r#"{"a\n":1,"a\n":2}"#, "a\\n"),
        ] {
            assert_eq!(refused(text), StrictError::Duplicate { member: path.into() }, "{text}");
        }
        assert_eq!(refused(r#"{"a":{"b":1,"b":2}}"#).to_string(), "duplicate member `a.b`");
    }

    #[test]
    fn a_path_in_an_error_is_bounded() {
        let name = "n".repeat(PATH_CHARS_MAX + 1);
        let StrictError::Duplicate { member } = refused(&format!(r#"{{"{name}":1,"{name}":2}}"#)) else { panic!() };
        assert_eq!(member.len(), PATH_CHARS_MAX);
    }

    #[test]
    fn what_is_no_json_is_refused() {
        let texts = [
            "",
            "{",
            "{} x",
            "{} {}",
            "{'a':1}",
            "[1,]",
            r#""\ud800""#,
            r#""\udc00\ud800""#,
            "nul",
            "01",
            "\u{feff}{}",
        ];
        for text in texts {
            assert!(matches!(refused(text), StrictError::Malformed { .. }), "{text}");
        }
        assert!(check(b"\"\xff\"", 8).is_err());
        assert!(check(b"{\"\xc0\xaf\":1}", 8).is_err());
    }

    #[test]
    fn malformed_text_is_told_by_its_member_and_without_its_values() {
        let message = refused(r#"{"a":{"b":["Smith",tru]}}"#).to_string();
        assert!(message.starts_with("`a.b[1]`: ") && !message.contains("Smith"), "{message}");
    }

    #[test]
    fn a_number_has_to_fit_a_double() {
        assert!(check(b"1.7976931348623157e308", 1).is_ok());
        assert!(check(b"1.8e308", 1).is_err());
        assert!(check(b"1e-999", 1).is_ok());
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let objects = |depth: usize| format!("{}1{}", r#"{"a":"#.repeat(depth), "}".repeat(depth));
        for text in [nested(8), objects(8)] {
            assert_eq!(check(text.as_bytes(), 8), Ok(()));
        }
        for text in [nested(9), objects(9)] {
            assert!(matches!(refused(&text), StrictError::TooDeep { .. }));
        }
        assert_eq!(check(b"1", 0), Ok(()));
        assert!(check(b"[]", 0).is_err());
        assert!(check(nested(127).as_bytes(), 500).is_ok());
        assert!(check(nested(100_000).as_bytes(), usize::MAX).is_err());
    }

    #[test]
    fn a_resource_says_who_it_is() {
        let key = reference_key(br#"{"resourceType":"Patient","id":"1","meta":{"versionId":"3"}}"#).unwrap();
        assert_eq!(
            (key.resource_type.as_str(), key.id.as_deref(), key.version_id.as_deref()),
            ("Patient", Some("1"), Some("3"))
        );
        let key = reference_key(br#"{"resourceType":"Patient","contained":[{"id":"x"}]}"#).unwrap();
        assert_eq!((key.id, key.version_id), (None, None));
    }

    #[test]
    fn an_identity_in_another_form_is_refused_and_not_quoted() {
        for text in [
            "{}",
            "",
            "null",
            r#"{"resourceType":1}"#,
            r#"{"resourceType":null}"#,
            r#"{"resourceType":"Patient","id":null}"#,
            r#"{"resourceType":"Patient","id":5}"#,
            r#"{"resourceType":"Patient","meta":"Smith"}"#,
            r#"{"resourceType":"Patient","meta":["3"]}"#,
            r#"{"resourceType":"Patient","meta":{"versionId":3}}"#,
            r#"["Patient","1",{"versionId":"3"}]"#,
            r#"{"resourceType":"Patient"} x"#,
            r#"{"resourceType":"Patient","id":"1","\u0069d":"2"}"#,
            r#"{"resourceType":"Patient","meta":{"versionId":"1","versionId":"2"}}"#,
        ] {
            let error = reference_key(text.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("Smith"), "{error}");
        }
    }
}

//! Strict JSON bodies: what cannot be taken without doubt is a 400 that names the member.

use std::marker::PhantomData;

use chartgate_model::strict::{self, StrictError};
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::http::problem::Problem;

/// Characters of a member path in an answer: a name may be as long as the body.
const PATH_CHARS_MAX: usize = 120;

/// Read one JSON text, nested at most `depth_max` deep, that has the members of `T` and no others.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8], depth_max: usize) -> Result<T, Problem> {
    strict::check(bytes, depth_max).map_err(|error| Problem::member(place(member(&error)), error.to_string()))?;
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let (path, cause) = (error.path().to_string(), error.inner());
        let said = cause.to_string();
        // SECURITY: words about a wrong type or value quote the value, which may be a token or patient
        // data. Those about a member that is missing hold nothing but its name in our own code.
        let detail = match said.strip_prefix("missing field ") {
            Some(_) => said,
            None => {
                format!("is no member here or has the wrong form, at line {} column {}", cause.line(), cause.column())
            }
        };
        Problem::member(place(&path), detail)
    })
}

/// The same for a text that is an object and may have members beyond those of `T`.
pub(crate) fn object<T: DeserializeOwned>(bytes: &[u8], depth_max: usize) -> Result<T, Problem> {
    let raw: Box<RawValue> = read(bytes, depth_max)?;
    part(&raw, "body")
}

/// A value that is written as an object.
///
/// SECURITY: a derived struct would also take a list, by position: what it means would hang on the
/// order in which this host happens to declare its members.
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(members)).map(Object)
            }
        }
        deserializer.deserialize_map(Members(PhantomData))
    }
}

/// For a member that is an object.
pub(crate) fn an_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// For a member that is an object, `null` or not there.
pub(crate) fn maybe_an_object<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    Option::<Object<T>>::deserialize(deserializer).map(|found| found.map(|Object(value)| value))
}

/// For a member that is a list of objects.
pub(crate) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Vec::<Object<T>>::deserialize(deserializer).map(|found| found.into_iter().map(|Object(value)| value).collect())
}

/// Read an object out of a text that was [`read`].
///
/// SECURITY: no list may stand for it, see [`Object`].
pub(crate) fn part<T: DeserializeOwned>(raw: &RawValue, name: &str) -> Result<T, Problem> {
    if !raw.get().starts_with('{') {
        return Err(Problem::member(name, "has to be an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(raw.get());
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        // SECURITY: the parser's own words would quote the value.
        let path = place(&error.path().to_string());
        let member = match (name, path.as_str()) {
            ("body", _) => path,
            (_, "body") => name.to_owned(),
            _ => format!("{name}.{path}"),
        };
        Problem::member(member, "has the wrong form")
    })
}

fn member(error: &StrictError) -> &str {
    match error {
        StrictError::Malformed { member, .. } | StrictError::Duplicate { member } | StrictError::TooDeep { member } => {
            member
        }
        StrictError::NotAResource(member) => member,
    }
}

/// `body` stands for the whole text.
fn place(path: &str) -> String {
    match path {
        "" | "." | "?" => "body".into(),
        path => path.chars().flat_map(char::escape_debug).take(PATH_CHARS_MAX).collect(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only reading matters here")]
    struct Body {
        request: Request,
        #[serde(default)]
        raw: Option<Box<RawValue>>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only reading matters here")]
    struct Request {
        url: String,
        #[serde(default)]
        headers: BTreeMap<String, String>,
    }

    fn refused(text: &str) -> Problem {
        read::<Body>(text.as_bytes(), 8).unwrap_err()
    }

    #[test]
    fn a_good_body_is_read_with_its_raw_parts() {
        let body: Body = read(br#"{"request":{"url":"/x"},"raw":{"a":1.10}}"#, 8).unwrap();
        assert_eq!(body.raw.unwrap().get(), r#"{"a":1.10}"#);
    }

    #[test]
    fn the_member_at_fault_is_named() {
        let table = [
            ("[]", "body"),
            ("{", "body"),
            (r#"{"request":{}}"#, "request"),
            (r#"{"request":{"url":"/"},"more":1}"#, "more"),
            (r#"{"request":{"url":"/","ulr":1}}"#, "request.ulr"),
            (r#"{"request":{"url":1}}"#, "request.url"),
            (r#"{"request":{"url":"/","headers":{"a":1}}}"#, "request.headers.a"),
            (r#"{"request":{"url":"/","url":"/"}}"#, "request.url"),
        ];
        for (text, member) in table {
            assert_eq!(refused(text).member.as_deref(), Some(member), "{text}");
        }
        assert!(refused(r#"{"request":{}}"#).detail.contains("`url`"));
    }

    #[test]
    fn a_list_never_stands_for_an_object() {
        #[derive(Debug, Deserialize)]
        struct Open {
            name: String,
        }
        let refused = |text: &str| object::<Open>(text.as_bytes(), 8).unwrap_err().member;
        assert_eq!(object::<Open>(br#" {"name":"x","more":1}"#, 8).unwrap().name, "x");
        assert_eq!(refused(r#"["x"]"#).as_deref(), Some("body"));
        assert_eq!(refused(r#"{"name":1}"#).as_deref(), Some("name"));
        assert_eq!(refused(r#"{"name":"x","more":{"a":1,"a":1}}"#).as_deref(), Some("more.a"));
        let part = |text: &str| {
            let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
            super::part::<Open>(&raw, "subject").unwrap_err().member
        };
        assert_eq!(part(r#"["x"]"#).as_deref(), Some("subject"));
        assert_eq!(part(r#"{"name":1}"#).as_deref(), Some("subject.name"));
        assert_eq!(part(r#"{}"#).as_deref(), Some("subject"));
    }

    #[test]
    fn no_value_is_quoted_and_no_name_at_length() {
        for text in [r#"{"request":"secret"}"#, r#"{"request":{"url":["secret"]}}"#, r#""secret""#] {
            assert!(!refused(text).detail.contains("secret"), "{text}");
        }
        let long = format!(r#"{{"request":{{"url":"/","{}":1}}}}"#, "x".repeat(10_000));
        assert!(refused(&long).detail.len() < 500);
    }
}

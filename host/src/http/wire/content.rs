//! FHIR content in a request: a JSON value, or a string that holds raw JSON so that the bytes reach
//! the policy untouched.

use chartgate_model::{Stored, strict};
use serde_json::value::RawValue;

use crate::http::problem::Problem;

/// Nesting of FHIR content, as the policy bounds it.
const DEPTH_MAX: usize = 64;

/// The bytes of a content member; `None` for `null`.
pub(super) fn bytes(raw: &RawValue, member: &str) -> Result<Option<Vec<u8>>, Problem> {
    let text = raw.get();
    match text.as_bytes().first() {
        Some(b'"') => {
            let inner: String =
                serde_json::from_str(text).map_err(|error| Problem::member(member, error.to_string()))?;
            Ok(Some(inner.into_bytes()))
        }
        Some(b'n') => Ok(None),
        _ => Ok(Some(text.as_bytes().to_vec())),
    }
}

/// One stored resource whose key and content agree.
///
/// SECURITY: the policy finds content by its key. Content of another resource under that key would be
/// judged in its place.
pub(super) fn checked(key: &str, content: Option<Vec<u8>>, member: &str) -> Result<Stored, Problem> {
    let (resource_type, id, version) =
        split(key).ok_or_else(|| Problem::member(member, "is neither `Type/id` nor `Type/id/_history/version`"))?;
    if let Some(content) = &content {
        strict::check(content, DEPTH_MAX).map_err(|error| Problem::member(member, error.to_string()))?;
        let found = strict::reference_key(content).map_err(|error| Problem::member(member, error.to_string()))?;
        // Content under a version's key has to say that it is this version.
        let same_version = version.is_none() || version == found.version_id.as_deref();
        if found.resource_type != resource_type || found.id.as_deref() != Some(id) || !same_version {
            return Err(Problem::member(member, "the content is not the resource its key names"));
        }
    }
    Ok(Stored { key: key.to_owned(), content })
}

fn split(key: &str) -> Option<(&str, &str, Option<&str>)> {
    let mut steps = key.split('/');
    let (resource_type, id) = (steps.next()?, steps.next()?);
    let version = match (steps.next(), steps.next(), steps.next()) {
        (None, None, None) => None,
        (Some("_history"), Some(version), None) if crate::store::validate::is_id(version) => Some(version),
        _ => return None,
    };
    let typed = resource_type.bytes().next().is_some_and(|b| b.is_ascii_uppercase())
        && resource_type.bytes().all(|b| b.is_ascii_alphabetic());
    (typed && crate::store::validate::is_id(id)).then_some((resource_type, id, version))
}

//! The path: from a URL to its segments, and what they name.
//!
//! SECURITY: a path that a server could normalise into another one is refused, not normalised: the
//! server decides what it reads, and a decision on our reading would be about something else.

use super::error::ParseError;
use crate::FhirBase;

const URL: &str = "request.url";

/// Path segments and query of a URL below the base.
pub(super) struct Split<'a> {
    pub(super) segments: Vec<&'a str>,
    pub(super) query: Option<&'a str>,
}

/// Take a URL apart. It is relative to the base, or absolute under it.
pub(super) fn split<'a>(url: &'a str, base: &FhirBase) -> Result<Split<'a>, ParseError> {
    if let Some(bad) =
        url.chars().find(|c| c.is_control() || !c.is_ascii() || matches!(c, ' ' | '\\' | '"' | '<' | '>' | '`'))
    {
        return Err(ParseError::malformed(URL, format!("`{}` has to be percent-encoded", bad.escape_default())));
    }
    if url.contains('#') {
        return Err(ParseError::malformed(URL, "a fragment is never sent to a server"));
    }
    let relative = match url.strip_prefix(base.url.as_str()) {
        Some(rest) if rest.is_empty() || rest.starts_with(['/', '?']) => rest,
        _ if is_absolute(url) => return Err(ParseError::malformed(URL, "is not below the base")),
        _ => url,
    };
    let (path, query) = match relative.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (relative, None),
    };
    let path = path.strip_prefix('/').unwrap_or(path);
    let segments = if path.is_empty() { Vec::new() } else { path.split('/').map(segment).collect::<Result<_, _>>()? };
    Ok(Split { segments, query })
}

fn is_absolute(url: &str) -> bool {
    url.split(['/', '?']).next().is_some_and(|first| first.contains(':')) || url.starts_with("//")
}

/// Every character a FHIR path needs is unreserved, so a percent-escape in it only hides something.
///
/// SECURITY: errors do not quote the segment: it may be the id of a patient.
fn segment(text: &str) -> Result<&str, ParseError> {
    if let Some((_, escape)) = text.split_once('%') {
        return Err(ParseError::ambiguous(URL, format!("a path segment has {}", escape_kind(escape))));
    }
    match text {
        "" => Err(ParseError::ambiguous(URL, "an empty path segment")),
        "." | ".." => Err(ParseError::ambiguous(URL, "a dot segment")),
        _ => Ok(text),
    }
}

/// What a percent-escape would stand for, by what follows its `%`.
fn escape_kind(escape: &str) -> &'static str {
    let digits = escape.get(..2).unwrap_or_default().to_ascii_lowercase();
    match digits.as_str() {
        "00" => "an encoded NUL (`%00`)",
        "25" => "a percent-escape that is encoded twice (`%25`)",
        "2e" => "an encoded dot (`%2E`)",
        "2f" => "an encoded slash (`%2F`)",
        "5c" => "an encoded backslash (`%5C`)",
        digits if digits.len() == 2 && digits.bytes().all(|b| b.is_ascii_hexdigit()) => {
            "a percent-escape: it must not be percent-encoded"
        }
        _ => "a broken percent-escape",
    }
}

/// A resource type by its form: `[A-Z][A-Za-z]{1,63}`.
pub(super) fn is_type(text: &str) -> bool {
    (2..=64).contains(&text.len())
        && text.bytes().next().is_some_and(|b| b.is_ascii_uppercase())
        && text.bytes().all(|b| b.is_ascii_alphabetic())
}

/// A logical or version id (FHIR R4, `id`).
pub(super) fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

/// `$name` without its `$`.
pub(super) fn operation(text: &str) -> Option<&str> {
    let name = text.strip_prefix('$')?;
    let fits = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic())
        && name.len() <= 64
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    fits.then_some(name)
}

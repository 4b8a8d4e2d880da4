//! The headers of a FHIR request that change what it means; every other one is ignored.

use super::error::ParseError;
use super::media::{accepts_json, unquoted};
use crate::ReturnPreference;

/// Bytes of a header name.
const NAME_BYTES_MAX: usize = 128;

/// What the headers say.
#[derive(Debug, Default)]
pub(super) struct Headers<'a> {
    pub(super) content_type: Option<&'a str>,
    pub(super) if_none_exist: Option<&'a str>,
    pub(super) revalidates: bool,
    pub(super) prefer_return: ReturnPreference,
}

/// Read the headers. A name that is there twice is one too many.
///
/// SECURITY: names are compared without case, and with `_` as `-`: gateways of the CGI family cannot
/// tell the two apart, so `X_HTTP_Method_Override` may arrive as the header we refuse.
pub(super) fn read(headers: &[(String, String)]) -> Result<Headers<'_>, ParseError> {
    let mut seen: Vec<String> = Vec::with_capacity(headers.len());
    let mut read = Headers::default();
    for (name, value) in headers {
        if !is_token(name) {
            return Err(ParseError::malformed("request.headers", "a header name is not a token (RFC 9110)"));
        }
        let lower = name.to_ascii_lowercase();
        let member = format!("request.headers.{lower}");
        let canonical = lower.replace('_', "-");
        if seen.contains(&canonical) {
            return Err(ParseError::ambiguous(member, "the header is there twice"));
        }
        if value.chars().any(char::is_control) {
            return Err(ParseError::malformed(member, "holds a control character"));
        }
        one(&canonical, value, member, &mut read)?;
        seen.push(canonical);
    }
    Ok(read)
}

/// A token of RFC 9110, section 5.6.2: without this, `If-None-Exist ` would be another header than
/// `If-None-Exist` here and the same one elsewhere.
fn is_token(name: &str) -> bool {
    (1..=NAME_BYTES_MAX).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn one<'a>(name: &str, value: &'a str, member: String, read: &mut Headers<'a>) -> Result<(), ParseError> {
    match name {
        "x-http-method-override" | "x-http-method" | "x-method-override" => {
            return Err(ParseError::unsupported(member, "it would change the method"));
        }
        "x-original-url" | "x-rewrite-url" => {
            return Err(ParseError::unsupported(member, "it would change the URL"));
        }
        // FHIR R4, Provenance: the server creates the resource in the header beside the one sent.
        "x-provenance" => return Err(ParseError::unsupported(member, "it would create what nobody judged")),
        "x-cascade" => return Err(ParseError::unsupported(member, "it would delete what nobody judged")),
        "content-encoding" | "transfer-encoding" if !value.trim().eq_ignore_ascii_case("identity") => {
            return Err(ParseError::unsupported(member, "send the decoded body"));
        }
        "accept" if !accepts_json(value) => {
            return Err(ParseError::unsupported(member, "only JSON answers can be judged"));
        }
        "prefer" => read.prefer_return = prefer(value, member)?,
        "content-type" => read.content_type = Some(value),
        "if-none-exist" => read.if_none_exist = Some(value),
        "if-none-match" | "if-modified-since" => read.revalidates = true,
        _ => {}
    }
    Ok(())
}

/// The `return` preference (RFC 7240). Two different ones are refused, and so is `respond-async`.
///
/// SECURITY: only a preference counts, never a parameter of one nor a part of a quoted string:
/// `x="a, return=minimal"` asks for nothing, and a server would answer with the resource.
fn prefer(value: &str, member: String) -> Result<ReturnPreference, ParseError> {
    let malformed = || ParseError::malformed(member.clone(), "a quoted string does not end, or has an escape");
    let mut found = ReturnPreference::Unspecified;
    for preference in split_unquoted(value, ',').ok_or_else(malformed)? {
        let wish = split_unquoted(preference, ';').and_then(|parts| parts.into_iter().next()).unwrap_or_default();
        let (name, wanted) = wish.split_once('=').map_or((wish, ""), |(name, wanted)| (name.trim(), wanted.trim()));
        if name.eq_ignore_ascii_case("respond-async") {
            return Err(ParseError::unsupported(member, "the answer would come later, to whoever asks for it"));
        }
        // SECURITY: a lenient server drops parameters it does not know, those that narrow among them.
        if name.eq_ignore_ascii_case("handling") && !unquoted(wanted).eq_ignore_ascii_case("strict") {
            return Err(ParseError::unsupported(member, "only strict handling keeps a search to what was judged"));
        }
        if !name.eq_ignore_ascii_case("return") {
            continue;
        }
        let preference = match unquoted(wanted) {
            "minimal" => ReturnPreference::Minimal,
            "representation" => ReturnPreference::Representation,
            "OperationOutcome" => ReturnPreference::OperationOutcome,
            _ => {
                let message = "`return` is none of minimal, representation, OperationOutcome";
                return Err(ParseError::malformed(member, message));
            }
        };
        if found != ReturnPreference::Unspecified && found != preference {
            return Err(ParseError::ambiguous(member, "two different `return` wishes"));
        }
        found = preference;
    }
    Ok(found)
}

/// The trimmed parts between separators that stand outside quotes; `None` when a quote stays open or
/// a backslash makes it doubtful where it ends.
fn split_unquoted(text: &str, separator: char) -> Option<Vec<&str>> {
    let mut quoted = false;
    let parts = text.split(|c| {
        quoted ^= c == '"';
        c == separator && !quoted
    });
    let parts: Vec<&str> = parts.map(str::trim).collect();
    (!quoted && !text.contains('\\')).then_some(parts)
}

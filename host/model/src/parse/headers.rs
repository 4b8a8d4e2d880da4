//! The headers of a FHIR request that change what it means; every other one is ignored.

use super::error::ParseError;
use crate::ReturnPreference;

/// What the headers say.
#[derive(Debug, Default)]
pub(super) struct Headers<'a> {
    pub(super) content_type: Option<&'a str>,
    pub(super) if_none_exist: Option<&'a str>,
    pub(super) prefer_return: ReturnPreference,
}

/// Media types of FHIR JSON.
const JSON: [&str; 3] = ["application/fhir+json", "application/json", "text/json"];

/// Read the headers. Names are compared without case; a name that is there twice is one too many.
pub(super) fn read(headers: &[(String, String)]) -> Result<Headers<'_>, ParseError> {
    let mut seen: Vec<String> = Vec::new();
    let mut read = Headers::default();
    for (name, value) in headers {
        let lower = name.to_ascii_lowercase();
        let member = format!("request.headers.{lower}");
        if seen.contains(&lower) {
            return Err(ParseError::ambiguous(member, "the header is there twice"));
        }
        if value.chars().any(char::is_control) {
            return Err(ParseError::malformed(member, "holds a control character"));
        }
        one(&lower, value, member, &mut read)?;
        seen.push(lower);
    }
    Ok(read)
}

fn one<'a>(name: &str, value: &'a str, member: String, read: &mut Headers<'a>) -> Result<(), ParseError> {
    match name {
        "x-http-method-override" | "x-http-method" | "x-method-override" => {
            Err(ParseError::unsupported(member, "it would change the method"))
        }
        "content-encoding" | "transfer-encoding" if !value.eq_ignore_ascii_case("identity") => {
            Err(ParseError::unsupported(member, "send the decoded body"))
        }
        "accept" if !accepts_json(value) => Err(ParseError::unsupported(member, "only JSON answers can be judged")),
        "prefer" => prefer(value, member).map(|preference| read.prefer_return = preference),
        "content-type" => {
            read.content_type = Some(value);
            Ok(())
        }
        "if-none-exist" => {
            read.if_none_exist = Some(value);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn accepts_json(value: &str) -> bool {
    let mut types = value.split(',').map(|part| part.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    types.any(|name| JSON.contains(&name.as_str()) || matches!(name.as_str(), "*/*" | "application/*"))
}

/// RFC 7240. Two different wishes for `return` are refused.
fn prefer(value: &str, member: String) -> Result<ReturnPreference, ParseError> {
    let mut found = ReturnPreference::Unspecified;
    for wish in value.split([',', ';']).map(str::trim) {
        if wish.eq_ignore_ascii_case("respond-async") {
            return Err(ParseError::unsupported(member, "the answer would come later, to whoever asks for it"));
        }
        let Some((name, wanted)) = wish.split_once('=') else { continue };
        if !name.trim().eq_ignore_ascii_case("return") {
            continue;
        }
        let preference = match wanted.trim().trim_matches('"') {
            "minimal" => ReturnPreference::Minimal,
            "representation" => ReturnPreference::Representation,
            "OperationOutcome" => ReturnPreference::OperationOutcome,
            _ => {
                return Err(ParseError::malformed(
                    member,
                    "`return` is none of minimal, representation, OperationOutcome",
                ));
            }
        };
        if found != ReturnPreference::Unspecified && found != preference {
            return Err(ParseError::ambiguous(member, "two different `return` wishes"));
        }
        found = preference;
    }
    Ok(found)
}

/// The media type without its parameters, lower case.
pub(super) fn media_type(content_type: Option<&str>) -> Option<String> {
    content_type.map(|value| value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase())
}

/// Whether a media type is FHIR JSON; callers may leave it out.
pub(super) fn is_json(media_type: Option<&str>) -> bool {
    media_type.is_none_or(|name| JSON.contains(&name))
}

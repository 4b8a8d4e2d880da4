//! Parameters: from a query, a form body or `If-None-Exist`, decoded once.
//!
//! SECURITY: errors tell a parameter by its name or its place. A value may be patient data.

use percent_encoding::percent_decode_str;

use super::error::ParseError;
use super::media::is_json_format;
use crate::Parameter;

/// Bytes of a parameter name.
const NAME_BYTES_MAX: usize = 256;
/// The parameters with a leading underscore that say which resources are meant (FHIR R4, Search,
/// "Parameters for all resources"). Only these can be criteria of a write; the others shape an answer.
const CRITERIA: [&str; 12] = [
    "_content",
    "_filter",
    "_has",
    "_id",
    "_lastUpdated",
    "_list",
    "_profile",
    "_query",
    "_security",
    "_source",
    "_tag",
    "_text",
];

/// Read `name=value&name=value`.
pub(super) fn parameters(text: &str, member: &str, limit: usize) -> Result<Vec<Parameter>, ParseError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    // SECURITY: `;` separates parameters for some servers and is part of the value for others.
    if let Some(bad) = text.chars().find(|c| !c.is_ascii_graphic() || matches!(c, ';' | '#')) {
        let message = format!("`{}` among the parameters has to be percent-encoded", bad.escape_default());
        return Err(ParseError::ambiguous(member, message));
    }
    if text.split('&').count() > limit {
        return Err(ParseError::too_large(member, limit, "parameters"));
    }
    let parameters = text.split('&').zip(1..).map(|(pair, at)| parameter(pair, at, member));
    let parameters = parameters.collect::<Result<Vec<_>, _>>()?;
    unambiguous(&parameters, member)?;
    Ok(parameters)
}

/// Check parameters that were not parsed, such as those of a rewritten search: would each be read back
/// as it stands? The error's member is `parameters`.
pub fn check_parameters(parameters: &[Parameter]) -> Result<(), ParseError> {
    for (parameter, at) in parameters.iter().zip(1..) {
        judged(parameter, at, "parameters")?;
    }
    unambiguous(parameters, "parameters")
}

fn parameter(pair: &str, at: usize, member: &str) -> Result<Parameter, ParseError> {
    let Some((name, value)) = pair.split_once('=') else {
        let what = if pair.is_empty() { "is empty" } else { "has no `=`" };
        return Err(ParseError::malformed(member, format!("parameter {at} {what}")));
    };
    let decoded = |text| decode(text).map_err(|what| ParseError::malformed(member, format!("parameter {at} {what}")));
    let parameter = Parameter { name: decoded(name)?, value: decoded(value)? };
    judged(&parameter, at, member)?;
    Ok(parameter)
}

/// Whether a decoded parameter is one this host takes.
fn judged(parameter: &Parameter, at: usize, member: &str) -> Result<(), ParseError> {
    let Parameter { name, value } = parameter;
    if name.contains('%') {
        return Err(ParseError::ambiguous(member, format!("the name of parameter {at} is percent-encoded twice")));
    }
    if !is_name(name) {
        return Err(ParseError::malformed(member, format!("parameter {at} has no parameter name")));
    }
    if value.is_empty() {
        return Err(ParseError::malformed(member, format!("parameter `{name}` has no value")));
    }
    if value.chars().any(char::is_control) {
        return Err(ParseError::malformed(member, format!("parameter `{name}` holds a control character")));
    }
    match base_name(name).to_ascii_lowercase().as_str() {
        "_method" => Err(ParseError::unsupported(member, "`_method` would change the method")),
        "access_token" => {
            Err(ParseError::unsupported(member, "a token never belongs into a URL (RFC 6750, section 2.3)"))
        }
        // SECURITY: it outranks the `Accept` header, and nobody can filter the rows of another format.
        "_format" if !is_json_format(value) => {
            Err(ParseError::unsupported(member, "`_format` asks for an answer that is not JSON"))
        }
        _ => Ok(()),
    }
}

/// Servers differ in whether names are compared by case: two that differ only so are one too many.
/// Modifiers and chains do not make it another parameter: `Subject:Patient` stands beside `subject`.
pub(super) fn unambiguous(parameters: &[Parameter], member: &str) -> Result<(), ParseError> {
    let differ_in_case = |one: &str, other: &str| one != other && one.eq_ignore_ascii_case(other);
    for (at, one) in parameters.iter().enumerate() {
        let twin = |other: &&Parameter| {
            differ_in_case(&one.name, &other.name) || differ_in_case(base_name(&one.name), base_name(&other.name))
        };
        if let Some(other) = parameters.iter().skip(at + 1).find(twin) {
            let message = format!("`{}` and `{}` differ only in case", one.name, other.name);
            return Err(ParseError::ambiguous(member, message));
        }
    }
    Ok(())
}

/// Whether two names mean one parameter, modifiers and chains left aside.
pub(super) fn same_parameter(one: &str, other: &str) -> bool {
    base_name(one).eq_ignore_ascii_case(base_name(other))
}

/// Check the criteria by which a write finds its target: there is at least one, and apart from the
/// names in `besides` there is nothing else.
///
/// SECURITY: `DELETE Observation?_count=1` has no criterion at all and means every Observation.
pub(super) fn criteria(parameters: &[Parameter], besides: &[&str], member: &str) -> Result<(), ParseError> {
    let is_besides = |parameter: &&Parameter| besides.contains(&parameter.name.as_str());
    if parameters.iter().all(|parameter| is_besides(&parameter)) {
        return Err(ParseError::malformed(member, "neither an id nor criteria say which resource is meant"));
    }
    let no_criterion = |parameter: &&Parameter| {
        let base = base_name(&parameter.name);
        base.starts_with('_') && !CRITERIA.contains(&base) && !is_besides(parameter)
    };
    match parameters.iter().find(no_criterion) {
        Some(parameter) => {
            Err(ParseError::unsupported(member, format!("`{}` is no criterion of a write", parameter.name)))
        }
        None => Ok(()),
    }
}

/// The name without modifiers and chains: `subject` of `subject:Patient.name`.
fn base_name(name: &str) -> &str {
    name.split([':', '.']).next().unwrap_or_default()
}

/// `[A-Za-z_]…`, then pieces behind `:` (modifier) or `.` (chain), none of them empty.
fn is_name(name: &str) -> bool {
    let piece = |piece: &str| {
        !piece.is_empty() && piece.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-' || b == b'$')
    };
    name.len() <= NAME_BYTES_MAX
        && name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.split([':', '.']).all(piece)
}

/// Decode `application/x-www-form-urlencoded` once.
fn decode(text: &str) -> Result<String, &'static str> {
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let whole = byte != b'%'
            || (rest.next().is_some_and(|b| b.is_ascii_hexdigit())
                && rest.next().is_some_and(|b| b.is_ascii_hexdigit()));
        if !whole {
            return Err("has a broken percent-escape");
        }
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8().map_err(|_| "is not UTF-8 once decoded")?;
    Ok(decoded.into_owned())
}

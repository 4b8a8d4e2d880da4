//! Parameters: from a query, a form body or `If-None-Exist`, decoded once.

use percent_encoding::percent_decode_str;

use super::error::ParseError;
use crate::Parameter;

/// Read `name=value&name=value`.
pub(super) fn parameters(text: &str, member: &str, limit: usize) -> Result<Vec<Parameter>, ParseError> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let pairs: Vec<&str> = text.split('&').collect();
    if pairs.len() > limit {
        return Err(ParseError::too_large(member, limit, "parameters"));
    }
    let parameters = pairs.into_iter().map(|pair| parameter(pair, member)).collect::<Result<Vec<_>, _>>()?;
    unambiguous(&parameters, member)?;
    Ok(parameters)
}

fn parameter(pair: &str, member: &str) -> Result<Parameter, ParseError> {
    let Some((name, value)) = pair.split_once('=') else {
        return Err(ParseError::malformed(
            member,
            if pair.is_empty() { "an empty parameter" } else { "a parameter without `=`" },
        ));
    };
    let (name, value) = (decode(name, member)?, decode(value, member)?);
    if !is_name(&name) {
        return Err(ParseError::malformed(member, format!("`{}` is not a parameter name", shorten(&name))));
    }
    if value.is_empty() {
        return Err(ParseError::malformed(member, format!("parameter `{name}` has no value")));
    }
    match name.as_str() {
        "_method" => Err(ParseError::unsupported(member, "`_method` would change the method")),
        "access_token" => {
            Err(ParseError::unsupported(member, "a token never belongs into a URL (RFC 6750, section 2.3)"))
        }
        _ => Ok(Parameter { name, value }),
    }
}

/// Servers differ in whether names are compared by case: two that differ only so are one too many.
pub(super) fn unambiguous(parameters: &[Parameter], member: &str) -> Result<(), ParseError> {
    for (at, one) in parameters.iter().enumerate() {
        let twin = |other: &&Parameter| one.name != other.name && one.name.eq_ignore_ascii_case(&other.name);
        if let Some(other) = parameters.iter().skip(at + 1).find(twin) {
            return Err(ParseError::ambiguous(
                member,
                format!("`{}` and `{}` differ only in case", one.name, other.name),
            ));
        }
    }
    Ok(())
}

fn is_name(name: &str) -> bool {
    name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && name.len() <= 256
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-:.$".contains(&b))
}

/// Decode `application/x-www-form-urlencoded` once.
fn decode(text: &str, member: &str) -> Result<String, ParseError> {
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let whole = byte != b'%'
            || (rest.next().is_some_and(|b| b.is_ascii_hexdigit())
                && rest.next().is_some_and(|b| b.is_ascii_hexdigit()));
        if !whole {
            return Err(ParseError::malformed(member, format!("`{}` has a broken percent-escape", shorten(text))));
        }
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced)
        .decode_utf8()
        .map_err(|_| ParseError::malformed(member, "is not UTF-8 once decoded"))?;
    if decoded.chars().any(char::is_control) {
        return Err(ParseError::malformed(member, "holds a control character"));
    }
    Ok(decoded.into_owned())
}

fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

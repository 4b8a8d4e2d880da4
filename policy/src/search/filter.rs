//! Granular scopes: `name=value` pairs judged on resource content (FHIR R4, Search, section 3.1.1).
//!
//! A comma within a value is OR, pairs are AND. A filter with anything that cannot be judged here (a
//! modifier, a chain, a result parameter, a composite, a value that cannot be read) does not parse, and
//! its scope grants nothing. How values of each kind match is in `search/value`.

use alloc::borrow::Cow;
use alloc::string::ToString as _;
use alloc::vec::Vec;

use crate::json::{Malformed, Value};
use crate::search::path;
use crate::search::value::{Wanted, alternatives};
use crate::tables::{Parameter, ResourceType, Version};

/// `name=value&name=value`: all pairs must match.
#[derive(Debug, Clone, Default)]
pub(crate) struct Filter<'a> {
    pub(crate) pairs: Vec<Pair<'a>>,
}

/// One `name=value`.
#[derive(Debug, Clone)]
pub(crate) struct Pair<'a> {
    /// percent-decoded, search escapes as they are: what a search would carry
    pub(crate) value: Cow<'a, str>,
    pub(crate) parameter: Parameter,
    alternatives: Vec<Wanted>,
}

impl<'a> Filter<'a> {
    /// Read the part of a scope behind `?`.
    pub(crate) fn parse(text: &'a str, version: &'static Version, on: &ResourceType) -> Option<Self> {
        let pair = |text: &'a str| {
            let (name, value) = text.split_once('=')?;
            let (name, value) = (percent_decode(name)?, percent_decode(value)?);
            let parameter = version.parameter(on, &name)?;
            let alternatives = alternatives(&value, parameter)?;
            Some(Pair { value, parameter, alternatives })
        };
        text.split('&').map(pair).collect::<Option<Vec<_>>>().map(|pairs| Self { pairs })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether a resource of the server at `base` matches every pair.
    pub(crate) fn matches(&self, resource: Value<'_, '_>, base: &str) -> Result<bool, Malformed> {
        for pair in &self.pairs {
            if !pair.matches(resource, base)? {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Pair<'_> {
    /// Whether any repetition at any of the parameter's paths matches any alternative.
    fn matches(&self, resource: Value<'_, '_>, base: &str) -> Result<bool, Malformed> {
        let mut matched = false;
        for found in self.parameter.paths() {
            let (found, target) = found.split_once('>').unwrap_or((found, ""));
            if let Some(element) = found.strip_suffix('?') {
                let exists = exists_and_is_not_false(resource, element)?;
                matched |= self.alternatives.iter().any(|wanted| wanted.accepts_boolean(exists));
                continue;
            }
            path::visit(resource, found, self.parameter.kind.choices(), &mut |value| {
                for wanted in &self.alternatives {
                    matched |= wanted.accepts(value, target, base)?;
                }
                Ok(())
            })?;
        }
        Ok(matched)
    }
}

/// `deceased.exists() and deceased != false`, over a boolean or a date.
fn exists_and_is_not_false(resource: Value<'_, '_>, element: &str) -> Result<bool, Malformed> {
    let mut found = false;
    path::visit(resource, element, &["Boolean", "DateTime"], &mut |value| {
        found |= value.literal().is_none_or(|literal| literal == "true");
        Ok(())
    })?;
    Ok(found)
}

impl Wanted {
    fn accepts_boolean(&self, value: bool) -> bool {
        matches!(self, Self::Token(token) if token.accepts_bare(if value { "true" } else { "false" }))
    }
}

/// Decode `%XX` once; `+` stays a plus (a scope is no form).
fn percent_decode(text: &str) -> Option<Cow<'_, str>> {
    if text.is_empty() {
        return None;
    }
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let decoded = match byte {
            b'%' => hex(rest.next()?)? * 16 + hex(rest.next()?)?,
            other => other,
        };
        bytes.push(decoded);
    }
    let text = core::str::from_utf8(&bytes).ok()?;
    (!text.chars().any(char::is_control)).then(|| Cow::Owned(text.to_string()))
}

fn hex(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
#[path = "filter_tests.rs"]
mod tests;

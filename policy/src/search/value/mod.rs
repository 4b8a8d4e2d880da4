//! What a search value asks for, and whether content fulfils it (FHIR R4, Search, sections 3.1.1.4.1
//! to 3.1.1.4.12), one file per kind.
//!
//! SECURITY: matching opens a record, so whatever is in doubt does not match: content of a type that
//! cannot be judged (`Timing`, `Range`, `SampledData`, `Money`, a quantity with a comparator) or that
//! cannot be read, and an arithmetic overflow.

mod date;
mod decimal;
mod reference;
mod string;
mod token;

use alloc::string::String;
use alloc::vec::Vec;

use crate::json::{Malformed, Value};
use crate::tables::{Kind, Parameter};

use date::Period;
use decimal::{Comparison, Quantity};
use reference::Reference;
use token::Token;

/// One alternative of a search value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Wanted {
    Token(Token),
    Reference(Reference),
    String(String),
    Uri(String),
    Date(Prefix, Period),
    Number(Comparison),
    Quantity(Quantity),
}

/// How an ordered value is compared (FHIR R4, Search, section 3.1.1.4.5.1). `ap` is not among them: how
/// near is near, each server decides for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Prefix {
    Equal,
    NotEqual,
    Greater,
    Less,
    GreaterOrEqual,
    LessOrEqual,
    StartsAfter,
    EndsBefore,
}

impl Prefix {
    /// Take the prefix off a value; two letters that are none make the value unreadable later on.
    fn split(text: &str) -> (Self, &str) {
        let prefixes = [
            ("eq", Self::Equal),
            ("ne", Self::NotEqual),
            ("gt", Self::Greater),
            ("lt", Self::Less),
            ("ge", Self::GreaterOrEqual),
            ("le", Self::LessOrEqual),
            ("sa", Self::StartsAfter),
            ("eb", Self::EndsBefore),
        ];
        let found = prefixes.into_iter().find_map(|(name, prefix)| Some((prefix, text.strip_prefix(name)?)));
        found.unwrap_or((Self::Equal, text))
    }
}

impl Kind {
    /// The types of a choice element (`value[x]`) this kind can judge, as their names are spelt in JSON.
    pub(crate) fn choices(self) -> &'static [&'static str] {
        match self {
            Self::Token => &["CodeableConcept", "Coding", "Code", "Identifier", "Boolean", "String", "Uri"],
            Self::Reference => &["Reference", "Canonical", "Uri"],
            Self::String => &["String", "Markdown"],
            Self::Date => &["DateTime", "Date", "Period", "Instant"],
            Self::Number => &["Decimal", "Integer", "PositiveInt", "UnsignedInt"],
            Self::Quantity => &["Quantity", "Age", "Duration"],
            Self::Uri => &["Uri", "Url", "Canonical", "Oid"],
            Self::Composite | Self::Special => &[],
        }
    }
}

/// The alternatives of a value; `None` where one cannot be read, or the parameter cannot be judged.
pub(crate) fn alternatives(value: &str, parameter: Parameter) -> Option<Vec<Wanted>> {
    parameter.paths().next()?;
    split(value)?.into_iter().map(|parts| wanted(parts, parameter)).collect()
}

fn wanted(parts: Vec<String>, parameter: Parameter) -> Option<Wanted> {
    if parameter.kind == Kind::Token {
        return token::parse(parts).map(Wanted::Token);
    }
    if parameter.kind == Kind::Quantity {
        return decimal::quantity(parts).map(Wanted::Quantity);
    }
    // A bar has no meaning for the other kinds, but for the version of a canonical reference.
    let text = match parameter.kind {
        Kind::Reference | Kind::Uri => parts.join("|"),
        _ => <[String; 1]>::try_from(parts).ok().map(|[only]| only)?,
    };
    let (prefix, rest) = Prefix::split(&text);
    match parameter.kind {
        _ if text.is_empty() => None,
        Kind::Reference => reference::parse(text, parameter.target()).map(Wanted::Reference),
        Kind::String => Some(Wanted::String(string::folded(&text))),
        Kind::Uri => Some(Wanted::Uri(text)),
        Kind::Date => date::parse(rest).map(|period| Wanted::Date(prefix, period)),
        Kind::Number => decimal::comparison(&text).map(Wanted::Number),
        Kind::Token | Kind::Quantity | Kind::Composite | Kind::Special => None,
    }
}

/// Take a value apart: alternatives at unescaped commas, their parts at unescaped bars.
fn split(value: &str) -> Option<Vec<Vec<String>>> {
    let mut alternatives = Vec::new();
    let mut parts = Vec::new();
    let mut part = String::new();
    let mut rest = value;
    loop {
        let (plain, special) = rest.split_at(rest.find(['\\', '|', ',']).unwrap_or(rest.len()));
        part.push_str(plain);
        let mut chars = special.chars();
        match chars.next() {
            Some('\\') => part.push(chars.next().filter(|c| matches!(c, ',' | '|' | '$' | '\\'))?),
            Some('|') => parts.push(core::mem::take(&mut part)),
            end => {
                parts.push(core::mem::take(&mut part));
                alternatives.push(core::mem::take(&mut parts));
                if end.is_none() {
                    return Some(alternatives);
                }
            }
        }
        rest = chars.as_str();
    }
}

impl Wanted {
    /// Whether one value of a resource fulfils this. `target` is the type a reference has to point at,
    /// if the expression asks for one; `base` is the server's own URL.
    pub(crate) fn accepts(&self, value: Value<'_, '_>, target: &str, base: &str) -> Result<bool, Malformed> {
        match self {
            Self::Token(wanted) => wanted.accepts_value(value),
            Self::Reference(wanted) => wanted.accepts(value, target, base),
            Self::String(wanted) => string::accepts(wanted, value),
            Self::Uri(wanted) => Ok(value.string().transpose()?.is_some_and(|text| text == *wanted)),
            Self::Date(prefix, wanted) => Ok(date::of(value)?.is_some_and(|found| wanted.compare(*prefix, &found))),
            Self::Number(wanted) => Ok(value.literal().is_some_and(|text| wanted.accepts(text))),
            Self::Quantity(wanted) => wanted.accepts(value),
        }
    }
}

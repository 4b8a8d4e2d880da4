//! Which search parameters may be used at all.
//!
//! SECURITY: a parameter that reaches beyond the searched type (chains, `_has`, `_filter`, `_list`,
//! named queries, full text) answers questions about resources nobody judged: whether a row comes
//! back is the leak. Chains and `_has` within one patient's data are judged (`search/join`); the others, and
//! parameters nobody knows, are refused.

use alloc::string::String;
use alloc::vec::Vec;

use crate::search::join::looked_at;

use crate::settings::Settings;
use crate::tables::{Kind, ResourceType, Version};
use crate::types::{Interaction, Parameter, Request};

/// What the parameters ask beyond rows of the type.
#[derive(Default)]
pub(crate) struct Vetted {
    /// types that are looked at besides the searched one
    pub(crate) joins: Vec<&'static ResourceType>,
    /// a count of the rows
    pub(crate) counts: bool,
    /// resources with members left out
    pub(crate) masks: bool,
}

/// Modifiers that stay on the searched type (FHIR R4, Search, section 3.1.1.5.4). `[type]` on a
/// reference is one as well.
const MODIFIERS: [&str; 12] =
    ["missing", "exact", "contains", "not", "text", "in", "not-in", "below", "above", "identifier", "of-type", "type"];

/// Judge every parameter; the error is the name of the first that is refused.
pub(crate) fn vet(
    request: &Request<'_>,
    version: &'static Version,
    on: &'static ResourceType,
    settings: &Settings,
) -> Result<Vetted, String> {
    let mut vetted = Vetted::default();
    for parameter in &request.parameters {
        let (name, modifier) = match parameter.name.split_once(':') {
            Some((name, modifier)) => (name, Some(modifier)),
            None => (parameter.name, None),
        };
        let known = match (name, modifier) {
            // Judged by what they lead to (`search/include`).
            ("_include" | "_revinclude", None | Some("iterate" | "recurse")) => true,
            ("_summary" | "_total" | "_count" | "_elements", None) => {
                vetted.counts |= counts(parameter);
                vetted.masks |= masks(parameter);
                true
            }
            _ if request.interaction == Interaction::Operation => modifier.is_none() && is_of_operation(request, name),
            ("_format" | "_pretty" | "_since" | "_offset", None) => true,
            ("_sort", None) => parameter.value.split(',').all(|key| sorts(key, version, on)),
            _ if is_own(name, modifier, version, on, settings) => true,
            _ => match looked_at(parameter.name, version, on, settings) {
                Some(join) => {
                    vetted.joins.push(join);
                    true
                }
                None => false,
            },
        };
        if !known {
            return Err(String::from(parameter.name));
        }
    }
    Ok(vetted)
}

/// Whether a parameter asks for a count: it would tell of rows that are taken out of the answer.
pub(crate) fn counts(parameter: &Parameter<'_>) -> bool {
    match parameter.name {
        "_summary" => parameter.value.eq_ignore_ascii_case("count"),
        "_total" => parameter.value != "none",
        "_count" => !parameter.value.bytes().any(|b| (b'1'..=b'9').contains(&b)),
        _ => false,
    }
}

/// Whether a parameter leaves members out of the answer: what is judged by them cannot be judged there.
pub(crate) fn masks(parameter: &Parameter<'_>) -> bool {
    parameter.name == "_elements" || (parameter.name == "_summary" && !matches!(parameter.value, "false" | "count"))
}

/// Whether a search of patients says whom it looks for: a name, an identifier, a date of birth, a way to reach
/// them. A range of dates or the system of an identifier fits anybody.
pub(crate) fn identifies(parameters: &[Parameter<'_>]) -> bool {
    let whole = |value: &str| !value.is_empty() && !value.ends_with('|');
    parameters.iter().any(|parameter| {
        let name = parameter.name.strip_suffix(":exact").unwrap_or(parameter.name);
        let mut values = parameter.value.split(',');
        match name {
            "name" | "family" | "given" | "phonetic" | "identifier" | "telecom" | "phone" | "email" => {
                values.all(whole)
            }
            "birthdate" => values.all(|value| value.starts_with(|c: char| c.is_ascii_digit())),
            _ => false,
        }
    })
}

/// A parameter of the searched type, with a modifier that stays on it.
pub(super) fn is_own(
    name: &str,
    modifier: Option<&str>,
    version: &'static Version,
    on: &'static ResourceType,
    settings: &Settings,
) -> bool {
    let modifier_stays = modifier.is_none_or(|m| MODIFIERS.contains(&m) || version.resource_type(m).is_some());
    let of_server = || {
        let mut own = settings.search_parameters.iter().filter_map(|entry| entry.split_once('.'));
        own.any(|(resource_type, code)| resource_type == on.name && code == name)
    };
    let judged =
        version.parameter(on, name).is_some_and(|row| !row.code.starts_with('_') || has_meaning_per_row(row.code));
    modifier_stays && (judged || of_server())
}

fn has_meaning_per_row(code: &str) -> bool {
    matches!(code, "_id" | "_lastUpdated" | "_profile" | "_security" | "_source" | "_tag")
}

fn sorts(key: &str, version: &'static Version, on: &'static ResourceType) -> bool {
    let code = key.strip_prefix('-').unwrap_or(key);
    version.parameter(on, code).is_some_and(|row| row.kind != Kind::Special)
}

/// Parameters of the search-like operations (FHIR R4 `$lastn`; US Core `$docref`). An operation ignores
/// what it does not know, so nothing else may stand there, least of all to narrow it.
fn is_of_operation(request: &Request<'_>, name: &str) -> bool {
    match request.operation {
        Some("lastn") => matches!(name, "max" | "patient" | "subject" | "category" | "code" | "_format" | "_pretty"),
        Some("docref") => {
            matches!(name, "patient" | "start" | "end" | "type" | "on-demand" | "profile" | "_format" | "_pretty")
        }
        _ => false,
    }
}

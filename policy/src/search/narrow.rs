//! How a search is brought down to the rows within reach: as it stands, as another one, as several, or not at all.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::reach::Stop;
use crate::decide::{Permit, Walk};
use crate::json::push_quoted;
use crate::reason::Reason;
use crate::rule::Rule;
use crate::search::include::Includes;
use crate::search::pins::Pins;
use crate::search::rows::{Patients, Rows};
use crate::tables::ResourceType;
use crate::types::{Interaction, Parameter};

/// Bytes of parameters a narrowed search may carry; a URL much longer is refused by servers.
const NARROWING_BYTES_MAX: usize = 8 * 1024;
/// Searches that one may be taken apart into.
const SEARCHES_MAX: usize = 32;

/// What the caller can do with a search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Can {
    /// run another one instead
    pub(crate) narrow: bool,
    /// run several and unite their answers
    pub(crate) unite: bool,
    /// have each row judged
    pub(crate) filter: bool,
}

/// What is permitted of one search.
#[derive(Debug)]
pub(crate) struct Searched<'a> {
    pub(crate) reason: Reason,
    pub(crate) end_ms: Option<u64>,
    /// to be run instead; none where it may run as it stands
    pub(crate) searches: Vec<Search<'a>>,
    /// each row has to be judged
    pub(crate) filtered: bool,
}

/// Parameters of a rewritten search, in order.
type Parameters<'a> = Vec<(&'a str, String)>;

/// A search to run instead.
#[derive(Debug, Clone)]
pub(crate) struct Search<'a> {
    pub(crate) on: &'static str,
    pub(crate) parameters: Parameters<'a>,
}

pub(super) enum Narrowing<'a> {
    /// every row it can return is within reach
    AsItStands,
    /// the searches to run instead
    Rewritten(Vec<Search<'a>>),
    /// it would have to name too many patients
    TooMany,
    /// what is within reach cannot be said in requests
    NoRequest,
}

impl<'a> Walk<'_, 'a> {
    /// How the search is brought down to the rows within reach.
    pub(super) fn narrowing(
        &self,
        on: &'static ResourceType,
        pins: &Pins<'a>,
        rows: &[Rows<'a>],
        includes: &Includes,
    ) -> Narrowing<'a> {
        let mut searches = Vec::new();
        for rows in rows {
            match self.narrowed(on, pins, rows, includes) {
                // Rows it cannot return need no search of their own.
                Narrowing::AsItStands => return Narrowing::AsItStands,
                Narrowing::Rewritten(more) => searches.extend(more),
                cannot => return cannot,
            }
        }
        // An operation gives an answer of its own making, and two are not one.
        let many = searches.len() > 1;
        if searches.len() > SEARCHES_MAX || (many && self.request.interaction == Interaction::Operation) {
            return Narrowing::NoRequest;
        }
        Narrowing::Rewritten(searches)
    }

    /// The same for one set of rows.
    fn narrowed(
        &self,
        on: &'static ResourceType,
        pins: &Pins<'a>,
        rows: &Rows<'a>,
        includes: &Includes,
    ) -> Narrowing<'a> {
        let pairs: Vec<_> =
            rows.filter.iter().filter(|pair| Rule::Granular.enforced() && !self.says(pair.name, &pair.value)).collect();
        let patients = match &rows.patients {
            Patients::Unbounded => return Narrowing::TooMany,
            Patients::NotSpecific(_) => None,
            Patients::These(patients) if pins.exactly(patients) => None,
            Patients::These(_) if !Rule::Narrowing.enforced() => None,
            Patients::These(patients) => Some(patients),
        };
        if patients.is_none() && pairs.is_empty() && includes.trimmed.is_empty() {
            return Narrowing::AsItStands;
        }
        if patients.is_some() && on.narrow_by.is_empty() {
            return Narrowing::NoRequest;
        }
        // An operation takes one patient and none of the type's own parameters.
        let of_many = patients.is_some_and(|patients| patients.len() > 1);
        if self.request.interaction == Interaction::Operation && (of_many || !pairs.is_empty()) {
            return Narrowing::NoRequest;
        }
        let mut list: Parameters<'a> = Vec::new();
        for (at, Parameter { name, value }) in self.request.parameters.iter().enumerate() {
            match includes.trimmed.iter().find(|(trimmed, _)| *trimmed == at) {
                Some((_, instead)) => list.extend(instead.iter().map(|value| (*name, value.clone()))),
                None if patients.is_some() && pins.replaced.contains(&at) => {}
                None => list.push((*name, String::from(*value))),
            }
        }
        if let Some(patients) = patients {
            let prefix = if on.narrow_by_bare_id { "" } else { "Patient/" };
            let ids: Vec<String> = patients.iter().map(|(id, _)| format!("{prefix}{id}")).collect();
            list.push((on.narrow_by, ids.join(",")));
        }
        list.extend(pairs.iter().map(|pair| (pair.name, String::from(&*pair.value))));
        let size: usize = list.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        if size > NARROWING_BYTES_MAX {
            return Narrowing::TooMany;
        }
        // Nothing is left to say: in an obligation that would look like everything.
        if list.is_empty() {
            return Narrowing::NoRequest;
        }
        Narrowing::Rewritten(Vec::from([Search { on: on.name, parameters: list }]))
    }

    /// The search carries this very parameter already.
    fn says(&self, name: &str, value: &str) -> bool {
        self.request.parameters.iter().any(|parameter| parameter.name == name && parameter.value == value)
    }

    /// Have the caller run one search instead.
    pub(crate) fn narrow(&mut self, permit: &mut Permit, search: &Search<'_>) -> Result<(), Stop> {
        let mut parameters = String::from("{");
        push_parameters(&mut parameters, &search.parameters);
        parameters.push('}');
        self.trace.pass(Rule::Narrowing, || parameters.clone());
        self.oblige(permit, "search-narrowing", parameters)
    }

    /// Have the caller run several and unite their answers.
    pub(super) fn unite(&mut self, permit: &mut Permit, searches: &[Search<'_>]) -> Result<(), Stop> {
        let mut parameters = String::from("{\"searches\":[");
        for (at, search) in searches.iter().enumerate() {
            parameters.push_str(if at == 0 { "{\"type\":" } else { ",{\"type\":" });
            push_quoted(&mut parameters, search.on);
            parameters.push(',');
            push_parameters(&mut parameters, &search.parameters);
            parameters.push('}');
        }
        parameters.push_str("]}");
        self.trace.pass(Rule::Narrowing, || parameters.clone());
        self.oblige(permit, "search-union", parameters)
    }
}

fn push_parameters(out: &mut String, list: &[(&str, String)]) {
    out.push_str("\"parameters\":[");
    for (at, (name, value)) in list.iter().enumerate() {
        out.push_str(if at == 0 { "[" } else { ",[" });
        push_quoted(out, name);
        out.push(',');
        push_quoted(out, value);
        out.push(']');
    }
    out.push(']');
}

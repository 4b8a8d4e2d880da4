//! Searches: a permit as it stands, a permit narrowed to the permitted patients, a permit whose
//! answer the caller filters, or a deny.
//!
//! INVARIANT: a narrowed search never returns more than the original, and only rows that a read of
//! each would permit, filtering included where that is demanded.

pub(crate) mod filter;
pub(crate) mod parameters;
pub(crate) mod path;
mod pins;
mod rows;
mod value;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::instance::{NAMED_MAX, type_reason};
use crate::access::reach::{Circle, Failures, Reach, Stop};
use crate::access::relationship::Standing;
use crate::decide::{Permit, Walk};
use crate::json::push_quoted;
use crate::reason::Reason;
use crate::rule::Rule;
use crate::scope::Clause;
use crate::search::parameters::{Vetted, identifies, vet};
use crate::search::pins::Pins;
use crate::search::rows::{Patients, Rows, Said, unite};
use crate::tables::{Class, ResourceType};
use crate::types::{Interaction, Parameter, SubjectKind};

/// Bytes of parameters a narrowed search may carry; a URL much longer is refused by servers.
const NARROWING_BYTES_MAX: usize = 8 * 1024;

impl<'a> Walk<'_, 'a> {
    /// Judge a search of one type.
    pub(crate) fn search(&mut self, on: &'static ResourceType, clauses: &[Clause<'a>]) -> Result<Permit, Stop> {
        let vetted = self.vetted(on)?;
        let pins = Pins::read(self.request, on)?;
        let rows = self.rows(on, clauses, &pins)?;
        let (reason, expires) = if self.is_system() { (Reason::SystemClient, None) } else { reason_for(on, &rows) };
        let mut permit = Permit::by(reason, expires);
        match self.narrowing(on, &pins, &rows) {
            Narrowing::AsItStands => {}
            Narrowing::Rewritten(parameters)
                if self.request.declares("search-narrowing") || !self.can_filter(&vetted) =>
            {
                self.trace.pass(Rule::Narrowing, || parameters.clone());
                self.oblige(&mut permit, "search-narrowing", parameters)?;
            }
            Narrowing::Rewritten(_) => self.filter_answer(&mut permit, &vetted, Reason::ObligationNotSupported)?,
            Narrowing::TooMany => self.filter_answer(&mut permit, &vetted, Reason::TooManyPatients)?,
            Narrowing::NoOneRequest => self.filter_answer(&mut permit, &vetted, Reason::SearchNotNarrowable)?,
        }
        // Rows of exclusive types may name others too, labels may hide some, and included resources are not narrowed.
        let labelled = rows.iter().flat_map(|rows| rows.patients.listed()).any(|(_, to)| self.people.may_hide(to));
        let beyond = vetted.includes || labelled || (on.exclusive && !self.is_system() && Rule::Exclusive.enforced());
        if beyond && permit.obligations.iter().all(|obligation| obligation.id != "response-filter") {
            self.filter_answer(&mut permit, &vetted, Reason::ObligationNotSupported)?;
        }
        Ok(permit)
    }

    fn vetted(&mut self, on: &'static ResourceType) -> Result<Vetted, Reason> {
        match vet(self.request, self.version, on, self.settings) {
            Ok(vetted) => {
                self.trace.pass(Rule::SearchParameters, || format!("{} judged", self.request.parameters.len()));
                Ok(vetted)
            }
            Err(name) => {
                self.trace.fail(Rule::SearchParameters, || format!("`{name}`"));
                Rule::SearchParameters.refuse(Reason::SearchParameterRefused)?;
                Ok(Vetted::default())
            }
        }
    }

    fn can_filter(&self, vetted: &Vetted) -> bool {
        self.request.declares("response-filter") && !vetted.counts && !vetted.masks
    }

    /// Leave the judging of each row to the caller, where no count is asked for that would tell of the
    /// rows it removes.
    fn filter_answer(&mut self, permit: &mut Permit, vetted: &Vetted, otherwise: Reason) -> Result<(), Stop> {
        if !self.request.declares("response-filter") {
            return Err(otherwise.into());
        }
        // SECURITY: a row with members left out names fewer people than the resource it stands for.
        if vetted.counts || vetted.masks {
            self.trace.fail(Rule::Narrowing, || {
                String::from("a count would tell of rows out of reach, and rows with members left out cannot be judged")
            });
            Rule::Narrowing.refuse(Reason::SearchNotNarrowable)?;
        }
        self.oblige(permit, "response-filter", String::from("{}"))
    }

    /// The rows each clause reaches, united.
    fn rows(
        &mut self,
        on: &'static ResourceType,
        clauses: &[Clause<'a>],
        pins: &Pins<'a>,
    ) -> Result<Vec<Rows<'a>>, Stop> {
        let mut failures = Failures::default();
        let mut rows = Vec::new();
        for clause in clauses {
            match self.patients(on, clause, pins) {
                Ok(patients) => rows.push(Rows { patients, filter: Said::all_of(&clause.filter) }),
                Err(stop) => failures.add(stop),
            }
        }
        match failures.into_stop(Reason::NoRelationship) {
            // A clause that lacks facts could widen the search: ask before answering without it.
            needs @ Stop::Needs(_) => Err(needs),
            deny if rows.is_empty() => Err(deny),
            Stop::Deny(_) => Ok(unite(rows)),
        }
    }

    /// The patients whose rows one clause reaches.
    fn patients(&mut self, on: &'static ResourceType, clause: &Clause<'a>, pins: &Pins<'a>) -> Result<Patients, Stop> {
        let launch = match self.people.reach(clause, &mut self.trace)? {
            Reach::Anybody => return Ok(Patients::NotSpecific(None)),
            Reach::OfUser => None,
            Reach::Launch(launch) => Some(launch),
        };
        if on.class != Class::Patient {
            let mut end_ms = None;
            if let Some(launch) = launch {
                end_ms = self.people.standing(launch, false, &mut self.trace)?.end_ms;
            }
            // Rows of a patient's compartment tell of that patient, whatever their type.
            if let Some((_, patient)) = self.request.compartment {
                let standing = self.people.reaches(clause, patient, false, &mut self.trace)?;
                end_ms = end_ms.into_iter().chain(standing.end_ms).min();
            }
            return Ok(Patients::NotSpecific(end_ms));
        }
        let wanted: Option<Vec<&str>> = match (&pins.patients, launch) {
            (Some(pinned), _) => Some(pinned.clone()),
            (None, Some(launch)) => Some(Vec::from([launch])),
            (None, None) => None,
        };
        let Some(wanted) = wanted else {
            self.criteria(on)?;
            let limit = self.settings.narrowing_patients_max;
            return match self.people.circle(limit, &mut self.trace)? {
                Circle::Unbounded => Ok(Patients::Unbounded),
                Circle::Patients(patients) if patients.is_empty() => Err(Reason::NoRelationship.into()),
                Circle::Patients(patients) => Ok(Patients::These(patients)),
            };
        };
        if wanted.len() > self.settings.narrowing_patients_max {
            return Err(Reason::TooManyPatients.into());
        }
        self.within_reach(clause, &wanted)
    }

    /// A provider looks for somebody, and does not leaf through everybody.
    fn criteria(&mut self, on: &ResourceType) -> Result<(), Stop> {
        let leafs_through = on.name == "Patient" && self.request.subject.kind == SubjectKind::Provider;
        if leafs_through && !identifies(&self.request.parameters) {
            self.trace.fail(Rule::Criteria, || String::from("no parameter says whom to look for"));
            Rule::Criteria.refuse(Reason::CriteriaMissing)?;
        }
        Ok(())
    }

    fn within_reach(&mut self, clause: &Clause<'a>, wanted: &[&str]) -> Result<Patients, Stop> {
        if wanted.len() > NAMED_MAX {
            self.people.whole_list()?;
        }
        let mut failures = Failures::default();
        let mut patients = Vec::new();
        for patient in wanted {
            match self.people.reaches(clause, patient, false, &mut self.trace) {
                Ok(standing) => patients.push((String::from(*patient), standing)),
                Err(stop) => failures.add(stop),
            }
        }
        match failures.into_stop(Reason::NoRelationship) {
            needs @ Stop::Needs(_) => Err(needs),
            deny if patients.is_empty() => Err(deny),
            Stop::Deny(_) => Ok(Patients::These(patients)),
        }
    }

    /// How the search is brought down to the rows within reach.
    fn narrowing(&self, on: &'static ResourceType, pins: &Pins<'a>, rows: &[Rows<'a>]) -> Narrowing {
        let [rows] = rows else { return Narrowing::NoOneRequest };
        let pairs: Vec<_> =
            rows.filter.iter().filter(|pair| Rule::Granular.enforced() && !self.says(pair.name, &pair.value)).collect();
        let patients = match &rows.patients {
            Patients::Unbounded => return Narrowing::TooMany,
            Patients::NotSpecific(_) => None,
            Patients::These(patients) if pins.exactly(patients) => None,
            Patients::These(_) if !Rule::Narrowing.enforced() => None,
            Patients::These(patients) => Some(patients),
        };
        if patients.is_none() && pairs.is_empty() {
            return Narrowing::AsItStands;
        }
        if patients.is_some() && on.narrow_by.is_empty() {
            return Narrowing::NoOneRequest;
        }
        // An operation takes one patient and none of the type's own parameters.
        let of_many = patients.is_some_and(|patients| patients.len() > 1);
        if self.request.interaction == Interaction::Operation && (of_many || !pairs.is_empty()) {
            return Narrowing::NoOneRequest;
        }
        let kept = self
            .request
            .parameters
            .iter()
            .enumerate()
            .filter(|(at, _)| patients.is_none() || !pins.replaced.contains(at));
        let mut list: Vec<(&str, String)> =
            kept.map(|(_, Parameter { name, value })| (*name, String::from(*value))).collect();
        if let Some(patients) = patients {
            let prefix = if on.narrow_by_bare_id { "" } else { "Patient/" };
            let ids: Vec<String> = patients.iter().map(|(id, _)| format!("{prefix}{id}")).collect();
            list.push((on.narrow_by, ids.join(",")));
        }
        list.extend(pairs.iter().map(|pair| (pair.name, String::from(&*pair.value))));
        let size: usize = list.iter().map(|(name, value)| name.len() + value.len() + 2).sum();
        if size > NARROWING_BYTES_MAX { Narrowing::TooMany } else { Narrowing::Rewritten(to_json(&list)) }
    }

    /// The search carries this very parameter already.
    fn says(&self, name: &str, value: &str) -> bool {
        self.request.parameters.iter().any(|parameter| parameter.name == name && parameter.value == value)
    }
}

enum Narrowing {
    /// every row it can return is within reach
    AsItStands,
    /// the parameters to use instead, as the obligation carries them
    Rewritten(String),
    /// it would have to name too many patients
    TooMany,
    /// what is within reach cannot be said in one request
    NoOneRequest,
}

fn reason_for(on: &ResourceType, rows: &[Rows<'_>]) -> (Reason, Option<u64>) {
    if let Some(reason) = type_reason(on) {
        let end = |rows: &Rows<'_>| if let Patients::NotSpecific(end_ms) = rows.patients { end_ms } else { None };
        return (reason, rows.iter().filter_map(end).min());
    }
    let standings: Vec<&Standing> =
        rows.iter().flat_map(|rows| rows.patients.listed()).map(|(_, standing)| standing).collect();
    let expires = standings.iter().filter_map(|standing| standing.end_ms).min();
    match standings.as_slice() {
        [only] => (only.reason, expires),
        _ => (Reason::PermittedPatients, expires),
    }
}

fn to_json(list: &[(&str, String)]) -> String {
    let mut out = String::from("{\"parameters\":[");
    for (at, (name, value)) in list.iter().enumerate() {
        out.push_str(if at == 0 { "[" } else { ",[" });
        push_quoted(&mut out, name);
        out.push(',');
        push_quoted(&mut out, value);
        out.push(']');
    }
    out.push_str("]}");
    out
}

//! Searches: a permit as it stands, a permit narrowed to the permitted patients, a permit whose
//! answer the caller filters, or a deny.
//!
//! INVARIANT: a narrowed search never returns more than the original, and only rows that a read of
//! each would permit, filtering included where that is demanded.

pub(crate) mod filter;
mod include;
mod join;
pub(crate) mod narrow;
pub(crate) mod parameters;
pub(crate) mod path;
mod pins;
mod rows;
pub(crate) mod system;
mod value;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::instance::{NAMED_MAX, type_reason};
use crate::access::reach::{Circle, Failures, Reach, Stop};
use crate::access::relationship::Standing;
use crate::decide::{Permit, Walk};
use crate::reason::Reason;
use crate::rule::Rule;
use crate::scope::Clause;
use crate::search::narrow::{Can, Narrowing, Searched};
use crate::search::parameters::{Vetted, identifies, vet};
use crate::search::pins::Pins;
use crate::search::rows::{Patients, Rows, Said, unite};
use crate::tables::{Class, ResourceType};
use crate::types::SubjectKind;

impl<'a> Walk<'_, 'a> {
    /// Judge a search of one type.
    pub(crate) fn search(&mut self, on: &'static ResourceType, clauses: &[Clause<'a>]) -> Result<Permit, Stop> {
        let can = Can {
            narrow: self.request.declares("search-narrowing"),
            unite: self.request.declares("search-union"),
            filter: self.request.declares("response-filter"),
        };
        let Searched { reason, end_ms, searches, filtered } = self.searched(on, clauses, can)?;
        let mut permit = Permit::by(reason, end_ms);
        match searches.as_slice() {
            [] => {}
            [one] => self.narrow(&mut permit, one)?,
            many => self.unite(&mut permit, many)?,
        }
        if filtered {
            self.oblige(&mut permit, "response-filter", String::from("{}"))?;
        }
        Ok(permit)
    }

    /// What is permitted of a search of one type, for a caller who can do so much.
    pub(crate) fn searched(
        &mut self,
        on: &'static ResourceType,
        clauses: &[Clause<'a>],
        can: Can,
    ) -> Result<Searched<'a>, Stop> {
        let vetted = self.vetted(on)?;
        let includes = self.includes(on)?;
        let pins = Pins::read(self.request, on)?;
        let rows = self.rows(on, clauses, &pins)?;
        self.joins(&vetted.joins, &rows)?;
        let (reason, end_ms) = if self.is_system() { (Reason::SystemClient, None) } else { reason_for(on, &rows) };
        let mut searched = Searched { reason, end_ms, searches: Vec::new(), filtered: false };
        match self.narrowing(on, &pins, &rows, &includes) {
            Narrowing::AsItStands => {}
            Narrowing::Rewritten(searches) if searches.len() == 1 && can.narrow => searched.searches = searches,
            // Counts of several searches are none of their union.
            Narrowing::Rewritten(searches) if searches.len() > 1 && can.unite && !vetted.counts => {
                searched.searches = searches;
            }
            Narrowing::Rewritten(one) if one.len() == 1 && (!can.filter || vetted.counts || vetted.masks) => {
                return Err(Reason::ObligationNotSupported.into());
            }
            Narrowing::Rewritten(one) if one.len() == 1 => searched.filtered = true,
            Narrowing::Rewritten(_) | Narrowing::NoRequest => {
                searched.filtered = self.can_filter(&vetted, can, Reason::SearchNotNarrowable)?;
            }
            Narrowing::TooMany => searched.filtered = self.can_filter(&vetted, can, Reason::TooManyPatients)?,
        }
        // Rows of exclusive types may name others too, labels may hide some, and included resources are not narrowed.
        let labelled = rows.iter().flat_map(|rows| rows.patients.listed()).any(|(_, to)| self.people.may_hide(to));
        let is_trimmed = !searched.searches.is_empty() || includes.trimmed.is_empty();
        if includes.must_trim && !is_trimmed {
            return Err(Reason::ObligationNotSupported.into());
        }
        let beyond = includes.remain
            || !is_trimmed
            || labelled
            || (on.exclusive && !self.is_system() && Rule::Exclusive.enforced());
        if beyond && !searched.filtered {
            // Where only what is included can be taken out, a total of the rows stays what it is.
            let rows_stay = !labelled && (!on.exclusive || self.is_system());
            let told = Vetted { counts: vetted.counts && !rows_stay, ..vetted };
            searched.filtered = self.can_filter(&told, can, Reason::ObligationNotSupported)?;
        }
        Ok(searched)
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

    /// Leave the judging of each row to the caller, where no count is asked for that would tell of the
    /// rows it removes.
    fn can_filter(&mut self, vetted: &Vetted, can: Can, otherwise: Reason) -> Result<bool, Stop> {
        if !can.filter {
            return Err(otherwise.into());
        }
        // SECURITY: a row with members left out names fewer people than the resource it stands for.
        if vetted.counts || vetted.masks {
            self.trace.fail(Rule::Narrowing, || {
                String::from("a count would tell of rows out of reach, and rows with members left out cannot be judged")
            });
            Rule::Narrowing.refuse(Reason::SearchNotNarrowable)?;
        }
        Ok(true)
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
        if let Some(pinned) = &pins.patients {
            if pinned.len() > self.settings.narrowing_patients_max {
                return Err(Reason::TooManyPatients.into());
            }
            return Ok(Patients::These(self.within_reach(clause, pinned)?));
        }
        if let Some(launch) = launch {
            let own = self.within_reach(clause, &[launch])?;
            return self.with_charts_left(clause, own);
        }
        self.criteria(on)?;
        match self.people.circle(self.settings.narrowing_patients_max, &mut self.trace)? {
            Circle::Unbounded => Ok(Patients::Unbounded),
            Circle::Patients(patients) if patients.is_empty() => Err(Reason::NoRelationship.into()),
            Circle::Patients(patients) => {
                self.people.use_whole_list();
                self.with_charts_left(clause, patients)
            }
        }
    }

    /// Patients whose charts were merged into others are looked for there, too.
    fn with_charts_left(
        &mut self,
        clause: &Clause<'a>,
        mut patients: Vec<(String, Standing)>,
    ) -> Result<Patients, Stop> {
        let mut needs = Failures::default();
        for at in 0..patients.len() {
            let Some((patient, _)) = patients.get(at) else { break };
            let left = match self.people.merged_into(patient) {
                Ok(Some(left)) if patients.iter().all(|(known, _)| *known != left) => left,
                Ok(_) | Err(Stop::Deny(_)) => continue,
                Err(needed) => {
                    needs.add(needed);
                    continue;
                }
            };
            match self.people.reaches(clause, &left, false, &mut self.trace) {
                Ok(standing) => patients.push((left, standing)),
                Err(Stop::Deny(_)) => {}
                Err(needed) => needs.add(needed),
            }
        }
        match needs.into_stop(Reason::NoRelationship) {
            needs @ Stop::Needs(_) => Err(needs),
            Stop::Deny(_) if patients.len() > self.settings.narrowing_patients_max => Ok(Patients::Unbounded),
            Stop::Deny(_) => Ok(Patients::These(patients)),
        }
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

    fn within_reach(&mut self, clause: &Clause<'a>, wanted: &[&str]) -> Result<Vec<(String, Standing)>, Stop> {
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
            Stop::Deny(_) => Ok(patients),
        }
    }
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

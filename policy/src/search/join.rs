//! Parameters that look at another resource of the patient whose row it is: `patient.name`,
//! `subject:Patient.birthdate`, and on Patient `_has:Observation:patient:code`.
//!
//! SECURITY: whether a row comes back answers a question about that resource. So the user must be allowed to search
//! for it, of every patient the rows can be about, and nothing of it may be hidden.

use alloc::format;

use crate::access::reach::{Failures, Stop};
use crate::decide::Walk;
use crate::reason::Reason;
use crate::rule::Rule;
use crate::scope::{Clause, Letters};
use crate::search::parameters::is_own;
use crate::search::pins::pins_patients;
use crate::search::rows::{Patients, Rows};
use crate::settings::Settings;
use crate::tables::{Class, ResourceType, Version};

/// The type a parameter looks at besides the searched one; `None` where it leads anywhere else.
pub(crate) fn looked_at(
    name: &str,
    version: &'static Version,
    on: &'static ResourceType,
    settings: &Settings,
) -> Option<&'static ResourceType> {
    let (of, reference, code, looked_at) = match name.strip_prefix("_has:") {
        Some(rest) => {
            let (source, rest) = rest.split_once(':')?;
            let (reference, code) = rest.split_once(':')?;
            let source = version.resource_type(source)?;
            (source, reference, code, source)
        }
        None => {
            let (head, code) = name.split_once('.')?;
            let (reference, target) = head.split_once(':').unwrap_or((head, ""));
            let only = version.parameter(on, reference)?.target();
            if target != "Patient" && !(target.is_empty() && only == "Patient") {
                return None;
            }
            (on, reference, code, version.resource_type("Patient")?)
        }
    };
    let (code, modifier) = code.split_once(':').map_or((code, None), |(code, modifier)| (code, Some(modifier)));
    // The reference says whose record the resource is, and the resource is nobody else's.
    let of_patient =
        of.class == Class::Patient && !of.exclusive && of.name != "Patient" && pins_patients(of, reference);
    let from_patient = looked_at.name == "Patient" || on.name == "Patient";
    (of_patient && from_patient && is_own(code, modifier, version, looked_at, settings)).then_some(looked_at)
}

impl<'a> Walk<'_, 'a> {
    /// What the parameters look at may be searched for, of everybody the rows can be about.
    pub(crate) fn joins(&mut self, joins: &[&'static ResourceType], rows: &[Rows<'a>]) -> Result<(), Stop> {
        for join in joins {
            let mut clauses = self.clauses(Some(join), Letters::S)?;
            clauses.retain(|clause| clause.filter.is_empty());
            if clauses.is_empty() {
                self.trace.fail(Rule::Join, || format!("no unfiltered scope covers a search of {}", join.name));
                Rule::Join.refuse(Reason::ScopeInsufficient)?;
                continue;
            }
            if self.is_system() {
                continue;
            }
            let searched = self.people.on.replace(join);
            let verdict = self.join(&clauses, rows);
            self.people.on = searched;
            match &verdict {
                Ok(()) => self.trace.pass(Rule::Join, || format!("{} may be searched for as well", join.name)),
                Err(Stop::Deny(_)) => self.trace.fail(Rule::Join, || format!("not every {} is in reach", join.name)),
                Err(Stop::Needs(_)) => {}
            }
            match verdict {
                Err(Stop::Deny(reason)) => Rule::Join.refuse(reason)?,
                verdict => verdict?,
            }
        }
        Ok(())
    }

    fn join(&mut self, clauses: &[Clause<'a>], rows: &[Rows<'a>]) -> Result<(), Stop> {
        let mut failures = Failures::default();
        for rows in rows {
            let Patients::These(patients) = &rows.patients else {
                return Err(Reason::TooManyPatients.into());
            };
            for (patient, _) in patients {
                if let Err(stop) = self.whole(clauses, patient) {
                    failures.add(stop);
                }
            }
        }
        if failures.is_empty() { Ok(()) } else { Err(failures.into_stop(Reason::NoRelationship)) }
    }

    /// Some clause reaches the patient, and no label can hide anything from it.
    fn whole(&mut self, clauses: &[Clause<'a>], patient: &str) -> Result<(), Stop> {
        let mut failures = Failures::default();
        for clause in clauses {
            match self.people.reaches(clause, patient, false, &mut self.trace) {
                Ok(standing) if self.people.may_hide(&standing) => failures.add(Reason::LabelHidden.into()),
                Ok(_) => return Ok(()),
                Err(stop) => failures.add(stop),
            }
        }
        Err(failures.into_stop(Reason::NoRelationship))
    }
}

//! Whom a scope clause reaches.
//!
//! `patient/` reaches the launch patient alone, and only while the user may reach that patient;
//! `user/` reaches the user's own chart and those of live relationships. Scopes say what, never who.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::people::People;
use crate::access::relationship::Standing;
use crate::reason::Reason;
use crate::reference::is_id;
use crate::rule::{Rule, Trace};
use crate::scope::{Clause, Context};

/// Why a walk ends without a permit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stop {
    Deny(Reason),
    Needs(Vec<String>),
}

impl From<Reason> for Stop {
    fn from(reason: Reason) -> Self {
        Self::Deny(reason)
    }
}

/// What several alternatives failed for, taken together: more facts if any of them may still permit,
/// else the deepest reason.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    reason: Option<Reason>,
    needs: Vec<String>,
}

impl Failures {
    pub(crate) fn add(&mut self, stop: Stop) {
        match stop {
            Stop::Deny(reason) => self.reason = self.reason.max(Some(reason)),
            Stop::Needs(keys) => keys.into_iter().for_each(|key| {
                if !self.needs.contains(&key) {
                    self.needs.push(key);
                }
            }),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.reason.is_none() && self.needs.is_empty()
    }

    pub(crate) fn into_stop(self, otherwise: Reason) -> Stop {
        if self.needs.is_empty() { Stop::Deny(self.reason.unwrap_or(otherwise)) } else { Stop::Needs(self.needs) }
    }
}

/// The patients a user may reach.
pub(crate) enum Circle {
    /// all of them
    Patients(Vec<(String, Standing)>),
    /// more than can be listed
    Unbounded,
}

/// Whom a clause speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach<'a> {
    /// the launch patient alone
    Launch(&'a str),
    /// everybody the user may reach
    OfUser,
    /// anybody: a client without a user, by its own scopes
    Anybody,
}

impl<'a> People<'_, 'a> {
    /// Whom a clause speaks of.
    ///
    /// SECURITY: a missing launch patient never degrades `patient/` to a check by type alone.
    pub(crate) fn reach(&self, clause: &Clause<'_>, trace: &mut Trace) -> Result<Reach<'a>, Reason> {
        match clause.context {
            Context::System => return Ok(Reach::Anybody),
            Context::User => return Ok(Reach::OfUser),
            Context::Patient => {}
        }
        let patient = self.request.subject.patient.ok_or(Reason::LaunchPatientMissing);
        let patient = patient.and_then(|id| if is_id(id) { Ok(id) } else { Err(Reason::LaunchPatientInvalid) });
        match &patient {
            Ok(id) => trace.pass(Rule::LaunchPatient, || format!("{} is bound to Patient/{id}", clause.text)),
            Err(reason) => trace.fail(Rule::LaunchPatient, || format!("{}: {}", clause.text, reason.code())),
        }
        patient.map(Reach::Launch)
    }

    /// The chart that is left of a patient's, where it was merged into another.
    pub(crate) fn merged_into(&self, patient: &str) -> Result<Option<String>, Stop> {
        let charts = self.charts(patient, self.width)?;
        let survivor = charts.survivor(patient)?.patient;
        Ok((survivor != patient).then_some(survivor))
    }

    /// Whether a clause reaches a patient, and by what right.
    pub(crate) fn reaches(
        &self,
        clause: &Clause<'_>,
        patient: &str,
        writing: bool,
        trace: &mut Trace,
    ) -> Result<Standing, Stop> {
        let launch = match self.reach(clause, trace)? {
            Reach::Anybody => return Ok(Standing::SYSTEM),
            Reach::OfUser => None,
            Reach::Launch(launch) => {
                if !self.are_one(launch, patient)? {
                    trace.fail(Rule::LaunchPatient, || format!("{} does not reach Patient/{patient}", clause.text));
                    Rule::LaunchPatient.refuse(Reason::NotLaunchPatient)?;
                }
                Some(launch).filter(|launch| *launch != patient && Rule::LaunchPatient.enforced())
            }
        };
        let standing = self.standing(patient, writing, trace)?;
        // The launch names a patient too: what holds for a chart by that name holds for it by any other.
        match launch {
            Some(launch) => Ok(standing.and(&self.standing(launch, writing, trace)?)),
            None => Ok(standing),
        }
    }
}

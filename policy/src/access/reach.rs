//! Whom a scope clause reaches.
//!
//! `patient/` reaches the launch patient alone, and only while the user may reach that patient;
//! `user/` reaches the user's own chart and those of live relationships. Scopes say what, never who.

use alloc::format;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::cell::OnceCell;

use crate::access::relationship::{Entries, Standing, parse, standing};
use crate::reason::Reason;
use crate::reference::is_id;
use crate::rule::{Rule, Trace};
use crate::scope::{Clause, Context};
use crate::types::{Request, SubjectKind};

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

/// What is known about the people of one request.
pub(crate) struct People<'r, 'a> {
    request: &'r Request<'a>,
    /// the user's whole list, read when it is first looked at
    list: OnceCell<Result<Option<Entries<'a>>, Stop>>,
}

impl<'r, 'a> People<'r, 'a> {
    pub(crate) fn new(request: &'r Request<'a>) -> Self {
        Self { request, list: OnceCell::new() }
    }

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

    /// Whether a clause reaches a patient, and by what right.
    pub(crate) fn reaches(
        &self,
        clause: &Clause<'_>,
        patient: &str,
        writing: bool,
        trace: &mut Trace,
    ) -> Result<Standing, Stop> {
        match self.reach(clause, trace)? {
            Reach::Anybody => return Ok(Standing::SYSTEM),
            Reach::Launch(launch) if launch != patient => {
                trace.fail(Rule::LaunchPatient, || format!("{} does not reach Patient/{patient}", clause.text));
                Rule::LaunchPatient.refuse(Reason::NotLaunchPatient)?;
            }
            Reach::Launch(_) | Reach::OfUser => {}
        }
        self.standing(patient, writing, trace)
    }

    /// By what right the user reaches a patient: themselves, or a live relationship.
    pub(crate) fn standing(&self, patient: &str, writing: bool, trace: &mut Trace) -> Result<Standing, Stop> {
        if self.is_self(patient) {
            trace.pass(Rule::Relationship, || format!("Patient/{patient} is the user"));
            return Ok(Standing { reason: Reason::SelfAccess, end_ms: None });
        }
        let verdict = self.by_relationship(patient, writing);
        let user = self.request.subject.user;
        match &verdict {
            Ok(standing) => {
                trace.pass(Rule::Relationship, || format!("{user} to Patient/{patient}: {}", standing.reason.code()))
            }
            Err(Stop::Deny(reason)) => {
                trace.fail(Rule::Relationship, || format!("{user} to Patient/{patient}: {}", reason.code()))
            }
            Err(Stop::Needs(_)) => trace.need(Rule::Relationship, || format!("{user} to Patient/{patient}")),
        }
        match verdict {
            Err(Stop::Deny(_)) if !Rule::Relationship.enforced() => {
                Ok(Standing { reason: Reason::Treatment, end_ms: None })
            }
            verdict => verdict,
        }
    }

    fn is_self(&self, patient: &str) -> bool {
        let subject = &self.request.subject;
        subject.kind == SubjectKind::Patient && subject.user.strip_prefix("Patient/") == Some(patient)
    }

    fn by_relationship(&self, patient: &str, writing: bool) -> Result<Standing, Stop> {
        let request = self.request;
        let own = self.fact(&format!("relationships/{}/{patient}", request.subject.user))?;
        let entries = match &own {
            Some(entries) => entries,
            // Not asked for this patient alone; the whole list serves, if it is whole.
            None => match self.all()? {
                Some(entries) if !entries.truncated => entries,
                _ => return self.need(format!("relationships/{}/{patient}", request.subject.user)),
            },
        };
        let about = entries.list.iter().filter(|entry| entry.patient == patient);
        standing(about, request.subject.kind, request.now_ms, writing).map_err(Stop::Deny)
    }

    /// Everybody a `user/` clause reaches.
    pub(crate) fn circle(&self, limit: usize, trace: &mut Trace) -> Result<Circle, Stop> {
        let request = self.request;
        let Some(entries) = self.all()? else { return self.need(format!("relationships/{}", request.subject.user)) };
        let mut ids: Vec<&str> = entries.list.iter().map(|entry| &*entry.patient).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut patients = Vec::new();
        if let (SubjectKind::Patient, Some(id)) = (request.subject.kind, request.subject.user.strip_prefix("Patient/"))
        {
            patients.push((id.to_string(), Standing { reason: Reason::SelfAccess, end_ms: None }));
        }
        for id in ids.into_iter().filter(|id| !self.is_self(id)) {
            let about = entries.list.iter().filter(|entry| entry.patient == id);
            if let Ok(standing) = standing(about, request.subject.kind, request.now_ms, false) {
                patients.push((id.to_string(), standing));
            }
        }
        if entries.truncated || patients.len() > limit {
            trace.pass(Rule::Relationship, || format!("{} reaches more than {limit} patients", request.subject.user));
            return Ok(Circle::Unbounded);
        }
        trace.pass(Rule::Relationship, || format!("{} reaches {} patients", request.subject.user, patients.len()));
        Ok(Circle::Patients(patients))
    }

    /// The user's whole list of relationships is at hand.
    pub(crate) fn whole_list(&self) -> Result<(), Stop> {
        match self.all()? {
            Some(entries) if !entries.truncated => Ok(()),
            // Of a list cut off nobody can tell who is not on it.
            Some(_) => Err(Reason::FactMissing.into()),
            None => self.need(format!("relationships/{}", self.request.subject.user)),
        }
    }

    fn all(&self) -> Result<Option<&Entries<'a>>, Stop> {
        let read = || self.fact(&format!("relationships/{}", self.request.subject.user));
        self.list.get_or_init(read).as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    fn fact(&self, key: &str) -> Result<Option<Entries<'a>>, Stop> {
        let Some(fact) = self.request.facts.iter().find(|fact| fact.key == key) else { return Ok(None) };
        parse(fact.value).map(Some).map_err(|_| Stop::Deny(Reason::FactsInvalid))
    }

    fn need<T>(&self, key: String) -> Result<T, Stop> {
        Err(if self.request.facts_final { Stop::Deny(Reason::FactMissing) } else { Stop::Needs(Vec::from([key])) })
    }
}

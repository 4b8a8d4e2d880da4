//! The facts at hand, and what is asked for where they lack.
//!
//! Facts are asked for together: what lacks one goes on to say what else it will need.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::ops::Deref;

use crate::access::actor::Actor;
use crate::access::chart::Charts;
use crate::access::people::People;
use crate::access::reach::Stop;
use crate::access::relationship::{Entries, parse};
use crate::json::Malformed;
use crate::reason::Reason;

/// Read for this question, or for all.
pub(super) enum Read<'x, T> {
    Now(T),
    Before(&'x T),
    Shared(Rc<T>),
}

impl<T> Deref for Read<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Now(read) => read,
            Self::Before(read) => read,
            Self::Shared(read) => read,
        }
    }
}

/// How many patients a question is about: facts are asked for one by one, or as whole lists.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Width {
    One,
    All,
}

impl<'a> People<'_, 'a> {
    /// The user's whole list of relationships is at hand, and serves from here on.
    pub(crate) fn whole_list(&mut self) -> Result<(), Stop> {
        self.width = Width::All;
        // Of a list cut off nobody can tell who is not on it.
        if self.listed()?.truncated { Err(Reason::FactMissing.into()) } else { Ok(()) }
    }

    /// Where the user's whole list is at hand and not cut off, it serves from here on.
    pub(crate) fn use_whole_list(&mut self) {
        let whole = matches!(self.all(), Ok(Some(list)) if !list.truncated) && matches!(self.all_charts(), Ok(Some(_)));
        if whole {
            self.width = Width::All;
        }
    }

    /// The user's whole list, and with it the charts of all on it.
    pub(super) fn listed(&self) -> Result<&Entries<'a>, Stop> {
        let user = self.request.subject.user;
        let mut keys = Vec::new();
        let entries = self.all()?;
        if entries.is_none() {
            keys.push(format!("relationships/{user}"));
        }
        if self.all_charts()?.is_none() {
            keys.push(format!("patients/{user}"));
        }
        match entries {
            Some(entries) if keys.is_empty() => Ok(entries),
            _ => self.need(keys),
        }
    }

    pub(super) fn all(&self) -> Result<Option<&Entries<'a>>, Stop> {
        let read = || self.fact(&format!("relationships/{}", self.request.subject.user), parse);
        self.list.get_or_init(read).as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    pub(super) fn all_charts(&self) -> Result<Option<&Charts<'a>>, Stop> {
        let read = || self.fact(&format!("patients/{}", self.request.subject.user), Charts::parse);
        self.listed_charts.get_or_init(read).as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// The records of a patient and of those it was merged into.
    pub(super) fn charts(&self, patient: &str, width: Width) -> Result<Read<'_, Charts<'a>>, Stop> {
        let key = format!("patient/{patient}");
        if let Some(charts) = self.fact(&key, Charts::parse)? {
            return Ok(Read::Now(charts));
        }
        match self.all_charts()? {
            Some(charts) if charts.knows(patient) => Ok(Read::Before(charts)),
            // Everybody on the user's list is among these who is known at all. The user need not be.
            Some(_) if width == Width::All && !self.user_is(patient) => Ok(Read::Now(Charts::EMPTY)),
            _ => self.need(Vec::from([key])),
        }
    }

    pub(super) fn user_is(&self, patient: &str) -> bool {
        self.request.subject.user.strip_prefix("Patient/") == Some(patient) || self.user.may_be(patient)
    }

    /// Relationships between a user and a patient.
    pub(super) fn entries(&self, user: &str, patient: &str, width: Width) -> Result<Read<'_, Entries<'a>>, Stop> {
        let key = format!("relationships/{user}/{patient}");
        if let Some(entries) = self.fact(&key, parse)? {
            return Ok(Read::Now(entries));
        }
        // Not asked for this patient alone; the whole list serves, if it is whole.
        let list = match user == self.request.subject.user {
            true => self.all()?.map(Read::Before),
            false => self.all_of(user)?.map(Read::Shared),
        };
        match list {
            Some(entries) if !entries.truncated || width == Width::All => Ok(entries),
            _ if width == Width::All => self.need(Vec::from([format!("relationships/{user}")])),
            _ => self.need(Vec::from([key])),
        }
    }

    /// The whole list of somebody the user works for, read once for all patients.
    pub(super) fn all_of(&self, delegator: &str) -> Result<Option<Rc<Entries<'a>>>, Stop> {
        if let Some((_, read)) = self.delegators.borrow().iter().find(|(user, _)| user == delegator) {
            return Ok(Some(Rc::clone(read)));
        }
        let read = self.fact(&format!("relationships/{delegator}"), parse)?.map(Rc::new);
        if let Some(read) = &read {
            self.delegators.borrow_mut().push((delegator.to_string(), Rc::clone(read)));
        }
        Ok(read)
    }

    pub(super) fn actor(&self, key: &str) -> Result<Actor<'a>, Stop> {
        match self.fact(key, Actor::parse)? {
            Some(actor) => Ok(actor),
            None => self.need(Vec::from([key.to_string()])),
        }
    }

    pub(super) fn fact<T>(
        &self,
        key: &str,
        read: impl Fn(&'a [u8]) -> Result<T, Malformed>,
    ) -> Result<Option<T>, Stop> {
        let Some(fact) = self.request.facts.iter().find(|fact| fact.key == key) else { return Ok(None) };
        read(fact.value).map(Some).map_err(|_| Stop::Deny(Reason::FactsInvalid))
    }

    pub(super) fn need<T>(&self, keys: Vec<String>) -> Result<T, Stop> {
        Err(if self.request.facts_final { Stop::Deny(Reason::FactMissing) } else { Stop::Needs(keys) })
    }
}

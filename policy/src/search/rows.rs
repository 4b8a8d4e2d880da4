//! Sets of rows: some patients, some granular constraint; united across scope clauses.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::relationship::Standing;
use crate::search::filter::Filter;

/// Whose rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Patients {
    /// nobody's: shared and definitional types; until when the clause is alive, milliseconds since 1970
    NotSpecific(Option<u64>),
    /// these patients'
    These(Vec<(String, Standing)>),
    /// more patients than can be listed
    Unbounded,
}

impl Patients {
    pub(crate) fn listed(&self) -> &[(String, Standing)] {
        match self {
            Self::These(patients) => patients,
            Self::NotSpecific(_) | Self::Unbounded => &[],
        }
    }

    fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Unbounded, _) | (Self::NotSpecific(_), Self::NotSpecific(_)) => true,
            (Self::These(all), Self::These(some)) => {
                some.iter().all(|(id, _)| all.iter().any(|(known, _)| known == id))
            }
            _ => false,
        }
    }
}

/// The rows one scope clause reaches.
#[derive(Debug, Clone)]
pub(crate) struct Rows<'a> {
    pub(crate) patients: Patients,
    /// all of these must match; empty means every row
    pub(crate) filter: Vec<Said<'a>>,
}

/// A constraint as a search says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Said<'a> {
    pub(crate) name: &'static str,
    pub(crate) value: Cow<'a, str>,
}

impl<'a> Said<'a> {
    /// What a filter says, without what it takes to judge content by it: clauses are many and memory is not.
    pub(crate) fn all_of(filter: &Filter<'a>) -> Vec<Self> {
        filter.pairs.iter().map(|pair| Self { name: pair.parameter.code, value: pair.value.clone() }).collect()
    }

    /// Either of two values of one parameter: a comma within a value is OR.
    fn or(&self, other: &Self) -> Self {
        Self { name: self.name, value: Cow::Owned(format!("{},{}", self.value, other.value)) }
    }
}

impl<'a> Rows<'a> {
    /// Every row of `other` is one of these.
    fn includes(&self, other: &Self) -> bool {
        self.filter.iter().all(|pair| other.filter.contains(pair)) && self.patients.includes(&other.patients)
    }

    /// Both as one, where one set of parameters can say so. Where the same is asked of both, the patients of one
    /// include those of the other, unless the directory changed between two rounds: then nothing says both.
    fn joined(&self, other: &Self) -> Option<Self> {
        if self.includes(other) {
            return Some(self.clone());
        }
        if other.includes(self) {
            return Some(other.clone());
        }
        let ([mine], [theirs]) = (self.filter.as_slice(), other.filter.as_slice()) else { return None };
        let same_patients = self.patients.includes(&other.patients) && other.patients.includes(&self.patients);
        (same_patients && mine.name == theirs.name)
            .then(|| Self { patients: self.patients.clone(), filter: Vec::from([mine.or(theirs)]) })
    }
}

/// Unite sets until no two can be said as one. One set left means one request can say it.
pub(crate) fn unite(rows: Vec<Rows<'_>>) -> Vec<Rows<'_>> {
    let mut united: Vec<Rows<'_>> = Vec::new();
    for mut next in rows {
        // A joined set may join with another in turn; each join makes the list shorter, so this ends.
        while let Some((at, joined)) =
            united.iter().enumerate().find_map(|(at, known)| Some((at, known.joined(&next)?)))
        {
            united.remove(at);
            next = joined;
        }
        united.push(next);
    }
    united
}

//! What is known of a patient: which chart is theirs now, whether it is open to apps at all, and how old they are.

use alloc::borrow::Cow;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::access::age::{Age, BirthDate, Offset};
use crate::access::record::{Readings, flag, instant, number, records, required, texts};
use crate::json::{Json, Malformed, Value};
use crate::reason::Reason;
use crate::settings::Settings;

/// Charts merged into one another that are followed.
const MERGES_MAX: usize = 5;
/// How far summer time moves the clocks at the most.
const SUMMER_TIME_MS: u64 = 2 * 3_600_000;

/// What one source knows of a patient.
#[derive(Debug, Clone)]
struct Record<'a> {
    patient: Cow<'a, str>,
    active: bool,
    born: Option<BirthDate>,
    offset: Option<Offset>,
    deceased: Option<bool>,
    merged_into: Option<Cow<'a, str>>,
    restriction: Option<Restriction<'a>>,
    test: bool,
    app_access_blocked: bool,
    emancipated: Option<bool>,
    incapacitated: Option<bool>,
    as_of_ms: Option<u64>,
}

/// Only some may open the chart.
#[derive(Debug, Clone)]
struct Restriction<'a> {
    allow: Vec<Cow<'a, str>>,
    until_ms: Option<u64>,
}

/// Records of patients and of those they were merged into, as one fact gives them.
#[derive(Debug, Clone)]
pub(crate) struct Charts<'a> {
    records: Vec<Record<'a>>,
}

/// One patient's chart, by all sources.
#[derive(Debug)]
pub(crate) struct Chart<'c> {
    pub(crate) patient: String,
    records: &'c [Record<'c>],
    /// those of the charts that led here
    former: Vec<&'c Record<'c>>,
    /// ids that led here, this one among them
    names: Vec<&'c str>,
    /// when the records that led here were read
    read: Readings,
}

impl<'a> Charts<'a> {
    /// Read a fact about patients.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let json = Json::parse(bytes)?;
        let mut records = records(json.root())?.map(record).collect::<Result<Vec<_>, _>>()?;
        // By patient, so that one is found without looking at all.
        records.sort_by(|one, other| one.patient.cmp(&other.patient));
        Ok(Self { records })
    }

    /// Nothing is known of anybody.
    pub(crate) const EMPTY: Self = Self { records: Vec::new() };

    pub(crate) fn knows(&self, patient: &str) -> bool {
        !self.of(patient).is_empty()
    }

    fn of(&self, patient: &str) -> &[Record<'a>] {
        let start = self.records.partition_point(|record| *record.patient < *patient);
        let found = self.records.get(start..).unwrap_or_default();
        found.get(..found.partition_point(|record| record.patient == patient)).unwrap_or_default()
    }

    /// Whether a patient may have gone into one of some charts, by any record.
    pub(crate) fn may_lead(&self, patient: &str, to: &[&str]) -> bool {
        let (mut at, mut seen) = (Vec::from([patient]), Vec::new());
        while let Some(chart) = at.pop() {
            if to.contains(&chart) {
                return true;
            }
            if !seen.contains(&chart) {
                seen.push(chart);
                at.extend(self.of(chart).iter().filter_map(|record| record.merged_into.as_deref()));
            }
        }
        false
    }

    /// The chart a patient's data belong to now: their own, or the one it was merged into.
    ///
    /// SECURITY: who says that two charts are one is believed only where it leads somewhere for certain. A wrong
    /// step would open another human's chart.
    pub(crate) fn survivor<'c>(&'c self, patient: &'c str) -> Result<Chart<'c>, Reason> {
        let mut at = patient;
        let (mut names, mut former, mut read) = (Vec::new(), Vec::new(), Readings::default());
        for step in 0..=MERGES_MAX {
            let records = self.of(at);
            let mut next = records.iter().filter_map(|record| record.merged_into.as_deref());
            let first = next.next();
            if next.any(|other| Some(other) != first) || (step > 0 && records.is_empty()) {
                return Err(Reason::MergeUnresolved);
            }
            names.push(at);
            read.extend(records.iter().filter_map(|record| record.as_of_ms));
            match first {
                None => return Ok(Chart { patient: at.to_string(), records, former, names, read }),
                Some(into) => {
                    former.extend(records);
                    at = into;
                }
            }
        }
        // Too long, or a circle.
        Err(Reason::MergeUnresolved)
    }
}

impl<'c> Chart<'c> {
    /// A patient nothing is known of.
    pub(crate) fn unknown(patient: &'c str) -> Self {
        let names = Vec::from([patient]);
        Self { patient: patient.to_string(), records: &[], former: Vec::new(), names, read: Readings::default() }
    }

    /// The ids that led here, that of the chart among them.
    pub(crate) fn names(&self) -> &[&'c str] {
        &self.names
    }

    pub(crate) fn is_unknown(&self) -> bool {
        self.records.is_empty()
    }

    pub(crate) fn read(&self) -> Readings {
        self.read
    }

    pub(crate) fn is_test(&self) -> bool {
        self.any(|record| record.test)
    }

    fn any(&self, says: fn(&Record<'_>) -> bool) -> bool {
        self.records.iter().any(says)
    }

    /// The records of the chart and of those that led here.
    ///
    /// SECURITY: what was closed before it was merged is not open since.
    fn on_the_way(&self) -> impl Iterator<Item = &Record<'_>> {
        self.former.iter().copied().chain(self.records)
    }

    /// Dead by any record.
    pub(crate) fn is_deceased(&self) -> bool {
        self.any(|record| record.deceased == Some(true))
    }

    /// Whether apps of patients and proxies may open it at all.
    pub(crate) fn open_to_portal(&self) -> Result<(), Reason> {
        if self.any(|record| !record.active) {
            return Err(Reason::PatientInactive);
        }
        if self.on_the_way().any(|record| record.app_access_blocked) {
            return Err(Reason::AppAccessBlocked);
        }
        Ok(())
    }

    /// Whether no restriction in force keeps a user out.
    pub(crate) fn admits(&self, user: &str, now_ms: u64) -> bool {
        let restrictions = self.on_the_way().filter_map(|record| record.restriction.as_ref());
        let mut in_force = restrictions.filter(|restriction| restriction.until_ms.is_none_or(|until| now_ms < until));
        in_force.all(|restriction| restriction.allow.iter().any(|allowed| allowed == user))
    }

    /// Dead by every record that speaks of it.
    pub(crate) fn is_surely_deceased(&self) -> bool {
        self.all(|record| record.deceased)
    }

    /// Incapacitated by every record that speaks of it.
    pub(crate) fn is_surely_incapacitated(&self) -> bool {
        self.all(|record| record.incapacitated)
    }

    fn is_surely_emancipated(&self) -> bool {
        self.all(|record| record.emancipated)
    }

    /// SECURITY: what opens a chart has to be said by somebody, and by nobody otherwise. A record that is silent does
    /// not speak.
    fn all(&self, says: fn(&Record<'_>) -> Option<bool>) -> bool {
        let mut said = self.records.iter().filter_map(says).peekable();
        said.peek().is_some() && said.all(|said| said)
    }

    /// Of each birth date that is known, wherever the patient may live: who knows the one need not know the other.
    fn ages(&self, now_ms: u64) -> impl Iterator<Item = Age> {
        let mut offsets: Vec<Option<Offset>> =
            self.records.iter().filter(|record| record.offset.is_some()).map(|record| record.offset).collect();
        if offsets.is_empty() {
            offsets.push(None);
        }
        let born = self.records.iter().filter_map(|record| record.born);
        born.flat_map(move |born| offsets.clone().into_iter().map(move |offset| Age { born, offset, now_ms }))
    }

    /// Whether the patient is old enough for access of their own, as far as their age is known.
    pub(crate) fn is_old_enough(&self, settings: &Settings, now_ms: u64) -> bool {
        self.ages(now_ms).all(|age| age.is_surely(settings.own_access_from_age))
    }

    /// Whether the patient may have been a minor at a time, by their years.
    pub(crate) fn was_minor(&self, settings: &Settings, at_ms: u64) -> bool {
        // The offset known is that of now, which summer time may have moved since.
        let at_ms = at_ms.saturating_add(SUMMER_TIME_MS);
        self.ages(at_ms).any(|age| !age.is_surely(settings.age_of_majority))
    }

    /// What a patient's age makes of the authority of others over them.
    pub(crate) fn minority(&self, settings: &Settings, now_ms: u64) -> Result<Minority, Reason> {
        if self.is_unknown() {
            return Ok(Minority { over: Some(Reason::PatientOfAge), limited: false, end_ms: None, change_ms: None });
        }
        let ages: Vec<Age> = self.ages(now_ms).collect();
        if ages.is_empty() {
            return Err(Reason::BirthDateUnknown);
        }
        let (majority, adolescence) = (settings.age_of_majority, settings.limited_from_age);
        let any = |years| ages.iter().any(|age| age.may_be(years));
        let emancipated = self.is_surely_emancipated();
        let over = match (any(majority), emancipated) {
            (true, _) => Some(Reason::PatientOfAge),
            (false, true) => Some(Reason::PatientEmancipated),
            (false, false) => None,
        };
        // Rights that end with age end when it may be reached; those that begin, when it surely is.
        let surely_of_age = emancipated || ages.iter().all(|age| age.is_surely(majority));
        let limited = any(adolescence) && !surely_of_age;
        let end = |years| ages.iter().map(|age| age.end_ms(years)).min();
        let end_ms = over.is_none().then(|| end(majority)).flatten();
        let change_ms = (!limited && !surely_of_age).then(|| end(adolescence)).flatten();
        Ok(Minority { over, limited, end_ms, change_ms })
    }
}

/// Whether a patient is a minor, as far as that can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Minority {
    /// why they may be an adult; a minor for certain where there is nothing
    pub(crate) over: Option<Reason>,
    /// they may be old enough for some privacy of their own, and may not be adults
    pub(crate) limited: bool,
    /// when a minor may come of age
    pub(crate) end_ms: Option<u64>,
    /// when access on behalf of them may become limited
    pub(crate) change_ms: Option<u64>,
}

fn record<'a>(value: Value<'_, 'a>) -> Result<Record<'a>, Malformed> {
    let says = |name| Ok(flag(value, name)?.unwrap_or(false));
    let utc_offset_s = number(value, "utc_offset_s")?;
    let until_ms = instant(value, "offset_until_ms")?;
    Ok(Record {
        patient: required(value, "patient")?,
        active: flag(value, "active")?.unwrap_or(true),
        born: value.get_string("birth_date")?.map(|text| BirthDate::parse(&text)).transpose()?,
        offset: utc_offset_s.map(|utc_offset_s| Offset { utc_offset_s, until_ms }),
        deceased: flag(value, "deceased")?,
        merged_into: value.get_string("merged_into")?,
        restriction: value.get("restriction")?.map(restriction).transpose()?,
        test: says("test")?,
        app_access_blocked: says("app_access_blocked")?,
        emancipated: flag(value, "emancipated")?,
        incapacitated: flag(value, "incapacitated")?,
        as_of_ms: instant(value, "as_of_ms")?,
    })
}

fn restriction<'a>(value: Value<'_, 'a>) -> Result<Restriction<'a>, Malformed> {
    Ok(Restriction { allow: texts(value, "allow")?.ok_or(Malformed)?, until_ms: instant(value, "until_ms")? })
}

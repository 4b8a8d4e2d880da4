//! How old a patient is, or may be.

use chartgate_model::{Millis, Record};
use jiff::tz::TimeZone;
use serde_json::Value;

use super::kinds::is_said;
use super::{People, earlier};
use crate::oracle::value::date;

const HOUR_MS: i128 = 3_600_000;
/// Clocks of the earth are this far ahead of UTC at the most, and this far behind.
const AHEAD_MS: i128 = 14 * HOUR_MS;
const BEHIND_MS: i128 = -12 * HOUR_MS;

/// What one record says of an age: when it is reached at the earliest and at the latest, milliseconds since 1970,
/// and when the clocks change.
struct Reached {
    earliest: i128,
    latest: i128,
    clocks_change: Option<Millis>,
}

/// How a patient stands to an age, by all records that tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standpoint {
    /// it may be reached
    pub(super) perhaps: bool,
    /// it is reached for sure
    pub(super) surely: bool,
    /// when it may be reached, or nobody knows any more
    pub(super) turns: Option<Millis>,
}

impl People<'_> {
    /// How a patient stands to an age; `None` where no record has a birth date.
    pub(super) fn age(&self, records: &[&Record], years: u64) -> Option<Standpoint> {
        self.age_at(records, years, self.now)
    }

    /// The same at another time, by the clocks of today.
    fn age_at(&self, records: &[&Record], years: u64, at: Millis) -> Option<Standpoint> {
        let now = i128::from(at.0);
        // A birth date is one in every place somebody says that they live; in none, it is anywhere.
        let mut zones: Vec<Option<&str>> =
            records.iter().filter_map(|record| record.members.get("zone").and_then(Value::as_str)).map(Some).collect();
        if zones.is_empty() {
            zones.push(None);
        }
        let pairs = records.iter().flat_map(|record| zones.iter().map(move |zone| (record, *zone)));
        let told: Vec<Reached> = pairs.filter_map(|(record, zone)| self.reached_age(record, zone, years)).collect();
        let turns = told.iter().map(|one| {
            let at = u64::try_from(one.earliest).ok().map(Millis);
            earlier(at, one.clocks_change)
        });
        (!told.is_empty()).then(|| Standpoint {
            perhaps: told.iter().any(|one| one.earliest <= now),
            surely: told.iter().all(|one| one.latest <= now),
            turns: turns.fold(None, earlier),
        })
    }

    fn reached_age(&self, record: &Record, zone: Option<&str>, years: u64) -> Option<Reached> {
        let born = record.members.get("birth_date").and_then(Value::as_str)?;
        let (first, last) = days(born);
        let (ahead, behind, clocks_change) = match zone {
            None => (AHEAD_MS, BEHIND_MS, None),
            Some(zone) => {
                let zone = TimeZone::get(zone).unwrap();
                let now = jiff::Timestamp::from_millisecond(i64::try_from(self.now.0).unwrap()).unwrap();
                let offset = i128::from(zone.to_offset(now).seconds()) * 1000;
                let next = zone.following(now).next().map(|next| next.timestamp().as_millisecond());
                (offset, offset, next.map(|next| Millis(u64::try_from(next).unwrap())))
            }
        };
        let (earliest, latest) = (birthday(first, years) - ahead, birthday(last, years) - behind);
        Some(Reached { earliest, latest, clocks_change })
    }

    /// Whether the patient is an adult before their years.
    pub(super) fn is_emancipated(&self, records: &[&Record]) -> bool {
        is_said(records, "emancipated").is_some()
    }

    /// When somebody stops being a minor; `None` for whom may be none already.
    pub(super) fn minor_until(&self, records: &[&Record]) -> Option<Option<Millis>> {
        let majority = self.age(records, self.number("age_of_majority", 18))?;
        (!majority.perhaps && !self.is_emancipated(records)).then_some(majority.turns)
    }

    /// Whether somebody may have been a minor by years, give or take what summer time moves the clocks.
    pub(super) fn was_minor(&self, records: &[&Record], at: Millis) -> bool {
        let at = Millis(at.0 + 2 * 3_600_000);
        self.age_at(records, self.number("age_of_majority", 18), at).is_some_and(|age| !age.surely)
    }

    /// Whether somebody is old enough for access of their own, or nobody knows.
    pub(super) fn is_old_enough(&self, records: &[&Record]) -> bool {
        let age = self.age(records, self.number("own_access_from_age", 12));
        age.is_none_or(|age| age.surely)
    }

    /// Whether somebody is in the band of limited access: it may have begun by any record and has not ended for
    /// certain by every record. Where it has not begun, until when.
    pub(super) fn band(&self, records: &[&Record]) -> (bool, Option<Millis>) {
        let from = self.age(records, self.number("limited_from_age", 12));
        let majority = self.age(records, self.number("age_of_majority", 18));
        match (from, majority) {
            (Some(from), Some(majority)) if !majority.surely && !self.is_emancipated(records) => {
                (from.perhaps, from.turns.filter(|_| !from.perhaps))
            }
            _ => (false, None),
        }
    }
}

type Day = (i64, i64, i64);

/// The first and the last day a birth date may mean.
fn days(born: &str) -> (Day, Day) {
    let parts: Vec<i64> = born.split('-').map(|part| part.parse().unwrap()).collect();
    match parts.as_slice() {
        [year] => ((*year, 1, 1), (*year, 12, 31)),
        [year, month] => {
            let last = (29..=31).rev().find(|day| exists((*year, *month, *day))).unwrap_or(28);
            ((*year, *month, 1), (*year, *month, last))
        }
        parts => ((parts[0], parts[1], parts[2]), (parts[0], parts[1], parts[2])),
    }
}

fn exists(day: Day) -> bool {
    date::range(&written(day)).is_some()
}

fn written((year, month, day): Day) -> String {
    format!("{year:04}-{month:02}-{day:02}")
}

/// The start of the day on which somebody comes of an age, in UTC: 1 March where the year has no 29 February.
fn birthday((year, month, day): Day, years: u64) -> i128 {
    let year = year + i64::try_from(years).unwrap();
    let same = (year, month, day);
    let day = if exists(same) { same } else { (year, 3, 1) };
    date::range(&written(day)).unwrap().0 / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::{birthday, days};

    #[test]
    fn a_leap_day_comes_a_day_later_in_other_years() {
        assert_eq!(birthday((2008, 2, 29), 18), birthday((2008, 3, 1), 18));
        assert_eq!(birthday((2008, 2, 29), 20), birthday((2008, 3, 1), 20) - 86_400_000);
    }

    #[test]
    fn a_partial_date_may_be_any_day() {
        assert_eq!(days("2008"), ((2008, 1, 1), (2008, 12, 31)));
        assert_eq!(days("2008-02"), ((2008, 2, 1), (2008, 2, 29)));
        assert_eq!(days("2009-02"), ((2009, 2, 1), (2009, 2, 28)));
        assert_eq!(days("2009-04-05"), ((2009, 4, 5), (2009, 4, 5)));
    }
}

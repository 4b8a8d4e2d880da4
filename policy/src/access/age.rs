//! How old somebody is today, where they live.
//!
//! Somebody born on 29 February comes of an age on 1 March of a year without that day.

use crate::json::Malformed;

const DAY_MS: i64 = 86_400_000;
/// The zones on earth that are furthest ahead of and behind UTC.
const AHEAD_MS: i64 = 14 * 3_600_000;
const BEHIND_MS: i64 = -12 * 3_600_000;

/// A FHIR date: a year, perhaps a month, perhaps a day (FHIR R4, data type `date`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BirthDate {
    year: i64,
    month: Option<i64>,
    day: Option<i64>,
}

impl BirthDate {
    pub(crate) fn parse(text: &str) -> Result<Self, Malformed> {
        let mut parts = text.split('-');
        let mut number = |length: usize, range: core::ops::RangeInclusive<i64>| match parts.next() {
            None => Ok(None),
            Some(part) if part.len() == length && part.bytes().all(|b| b.is_ascii_digit()) => {
                part.parse().ok().filter(|number| range.contains(number)).map(Some).ok_or(Malformed)
            }
            Some(_) => Err(Malformed),
        };
        let (year, month, day) = (number(4, 1..=9999)?, number(2, 1..=12)?, number(2, 1..=31)?);
        match parts.next() {
            None => Ok(Self { year: year.ok_or(Malformed)?, month, day }),
            Some(_) => Err(Malformed),
        }
    }

    /// The first day on which somebody born then may be of an age.
    fn earliest(self, years: u32) -> i64 {
        days(self.year + i64::from(years), self.month.unwrap_or(1), self.day.unwrap_or(1))
    }

    /// The day from which somebody born then is of an age for certain.
    fn latest(self, years: u32) -> i64 {
        let year = self.year + i64::from(years);
        match (self.month, self.day) {
            (Some(month), Some(day)) => days(year, month, day),
            (Some(12) | None, _) => days(year, 12, 31),
            (Some(month), None) => days(year, month + 1, 1) - 1,
        }
    }
}

/// How far a place is ahead of UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offset {
    pub(crate) utc_offset_s: i64,
    /// when that changes next, milliseconds since 1970
    pub(crate) until_ms: Option<u64>,
}

/// What is known of somebody's age at a time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Age {
    pub(crate) born: BirthDate,
    pub(crate) offset: Option<Offset>,
    pub(crate) now_ms: u64,
}

impl Age {
    /// Whether they may have reached an age: the oldest they can be, wherever they are.
    pub(crate) fn may_be(self, years: u32) -> bool {
        self.now_ms >= self.may_be_from_ms(years)
    }

    /// Whether they have reached an age for certain.
    pub(crate) fn is_surely(self, years: u32) -> bool {
        let behind = self.offset.map_or(BEHIND_MS, |offset| offset.utc_offset_s * 1_000);
        self.now_ms >= instant(self.born.latest(years), behind)
    }

    /// When something ends that ends with an age: when they reach it, or before, when their zone's offset changes
    /// and the time of it with that.
    pub(crate) fn end_ms(self, years: u32) -> u64 {
        let change = self.offset.and_then(|offset| offset.until_ms).filter(|until| *until > self.now_ms);
        change.into_iter().fold(self.may_be_from_ms(years), u64::min)
    }

    fn may_be_from_ms(self, years: u32) -> u64 {
        let ahead = self.offset.map_or(AHEAD_MS, |offset| offset.utc_offset_s * 1_000);
        instant(self.born.earliest(years), ahead)
    }
}

/// Midnight of a day, where the clocks are ahead of UTC by so much; no earlier than 1970.
fn instant(day: i64, ahead_ms: i64) -> u64 {
    u64::try_from(day * DAY_MS - ahead_ms).unwrap_or(0)
}

/// Days since 1970-01-01 of a date in the Gregorian calendar; a day past the end of its month is counted on.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years begin in March, so that the leap day is the last.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (153 * month + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::{Age, BirthDate, Offset, days};

    const HOUR_MS: u64 = 3_600_000;

    /// Midnight UTC.
    fn at(year: i64, month: i64, day: i64) -> u64 {
        u64::try_from(days(year, month, day)).unwrap() * 24 * HOUR_MS
    }

    fn age(born: &str, offset_h: Option<i64>, now_ms: u64) -> Age {
        let offset = offset_h.map(|hours| Offset { utc_offset_s: hours * 3_600, until_ms: None });
        Age { born: BirthDate::parse(born).unwrap(), offset, now_ms }
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(days(1970, 1, 1), 0);
        assert_eq!(days(1969, 12, 31), -1);
        assert_eq!(days(2000, 2, 29) + 1, days(2000, 3, 1));
        assert_eq!(days(1900, 2, 29), days(1900, 3, 1));
        assert_eq!(days(2026, 11, 24), 20_781);
    }

    #[test]
    fn a_birthday_begins_at_midnight_of_the_zone() {
        for (offset, midnight) in [(0, 0), (-5, 5 * HOUR_MS), (-12, 12 * HOUR_MS)] {
            let from = at(2026, 11, 24) + midnight;
            for (now, of_age) in [(from - 1, false), (from, true)] {
                let age = age("2008-11-24", Some(offset), now);
                assert_eq!((age.may_be(18), age.is_surely(18)), (of_age, of_age), "{offset} {now}");
            }
        }
        let tokyo = age("2008-11-24", Some(9), at(2026, 11, 24) - 9 * HOUR_MS);
        assert!(tokyo.may_be(18));
    }

    #[test]
    fn without_a_zone_every_zone_counts() {
        let first = at(2026, 11, 24) - 14 * HOUR_MS;
        let last = at(2026, 11, 24) + 12 * HOUR_MS;
        let known = |now| {
            let age = age("2008-11-24", None, now);
            (age.may_be(18), age.is_surely(18))
        };
        assert_eq!(
            [first - 1, first, last - 1, last].map(known),
            [(false, false), (true, false), (true, false), (true, true)]
        );
    }

    #[test]
    fn a_partial_date_is_taken_both_ways() {
        for (born, first, last) in [
            ("2008", (2026, 1, 1), (2026, 12, 31)),
            ("2008-12", (2026, 12, 1), (2026, 12, 31)),
            ("2008-02", (2026, 2, 1), (2026, 2, 28)),
            ("2006-02", (2024, 2, 1), (2024, 2, 29)),
        ] {
            let (first, last) = (at(first.0, first.1, first.2), at(last.0, last.1, last.2));
            assert!(!age(born, Some(0), first - 1).may_be(18) && age(born, Some(0), first).may_be(18), "{born}");
            assert!(!age(born, Some(0), last - 1).is_surely(18) && age(born, Some(0), last).is_surely(18), "{born}");
        }
    }

    #[test]
    fn born_on_a_leap_day_is_of_age_on_the_first_of_march_or_on_the_next_leap_day() {
        for (years, from) in [(18, at(2026, 3, 1)), (20, at(2028, 2, 29))] {
            assert!(!age("2008-02-29", Some(0), from - 1).may_be(years));
            assert!(age("2008-02-29", Some(0), from).is_surely(years));
        }
    }

    #[test]
    fn what_ends_with_an_age_ends_no_later_than_the_offset_holds() {
        let now = at(2026, 10, 30);
        let birthday = at(2026, 11, 24) + 4 * HOUR_MS;
        let ends = |until_ms| {
            let offset = Some(Offset { utc_offset_s: -4 * 3_600, until_ms });
            Age { born: BirthDate::parse("2008-11-24").unwrap(), offset, now_ms: now }.end_ms(18)
        };
        assert_eq!(ends(None), birthday);
        assert_eq!(ends(Some(birthday + 1)), birthday);
        assert_eq!(ends(Some(birthday - 1)), birthday - 1);
        assert_eq!(ends(Some(now)), birthday, "an offset that has changed already says nothing of what comes");
    }

    #[test]
    fn what_is_no_date_is_malformed() {
        for text in
            ["", "08", "20081", "2008-", "2008-1", "2008-13", "2008-00", "2008-11-32", "2008-11-24T00", "2008-11-24-1"]
        {
            assert!(BirthDate::parse(text).is_err(), "{text}");
        }
    }
}

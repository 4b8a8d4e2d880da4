//! Dates: what is said to a precision is a period, and periods are compared (FHIR R4, Search, section
//! 3.1.1.4.7). A time without a zone is UTC.

use crate::json::{Malformed, Value};
use crate::search::value::Prefix;

const DAY_US: i64 = 86_400_000_000;
const MINUTE_US: i64 = 60_000_000;

/// From `start` until just before `end`, microseconds since 1970. An open side is the extreme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Period {
    start: i64,
    end: i64,
}

impl Period {
    /// Whether what is `found` in content stands to this as the prefix asks.
    pub(super) fn compare(&self, prefix: Prefix, found: &Self) -> bool {
        let equal = self.start <= found.start && found.end <= self.end;
        match prefix {
            Prefix::Equal => equal,
            Prefix::NotEqual => !equal,
            Prefix::Greater => found.end > self.end,
            Prefix::Less => found.start < self.start,
            Prefix::GreaterOrEqual => equal || found.end > self.end,
            Prefix::LessOrEqual => equal || found.start < self.start,
            Prefix::StartsAfter => found.start >= self.end,
            Prefix::EndsBefore => found.end <= self.start,
        }
    }
}

/// The period of a `date`, `dateTime`, `instant` or `Period`; `None` for anything else.
pub(super) fn of(value: Value<'_, '_>) -> Result<Option<Period>, Malformed> {
    if let Some(text) = value.string() {
        return Ok(parse(&text?));
    }
    if !value.is_object() {
        return Ok(None);
    }
    let (start, end) = (value.get_string("start")?, value.get_string("end")?);
    if start.is_none() && end.is_none() {
        return Ok(None);
    }
    let side = |text: Option<alloc::borrow::Cow<'_, str>>| text.map(|text| parse(&text).ok_or(())).transpose();
    let (Ok(start), Ok(end)) = (side(start), side(end)) else { return Ok(None) };
    let period = Period { start: start.map_or(i64::MIN, |p| p.start), end: end.map_or(i64::MAX, |p| p.end) };
    Ok((period.start < period.end).then_some(period))
}

/// `2020`, `2020-05`, `2020-05-17`, `2020-05-17T10:30`, with seconds, fractions, zone.
pub(super) fn parse(text: &str) -> Option<Period> {
    let (date, time) = text.split_once('T').map_or((text, None), |(date, time)| (date, Some(time)));
    let mut parts = date.split('-');
    let year = number(parts.next()?, 4).filter(|year| *year > 0)?;
    let month = parts.next().map(|part| number(part, 2).filter(|m| (1..=12).contains(m)).ok_or(())).transpose().ok()?;
    let day = parts.next().map(|part| number(part, 2).ok_or(())).transpose().ok()?;
    if parts.next().is_some() {
        return None;
    }
    match (month, day, time) {
        (None, None, None) => Some(Period { start: days(year, 1, 1) * DAY_US, end: days(year + 1, 1, 1) * DAY_US }),
        (Some(month), None, None) => {
            let (next_year, next_month) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            Some(Period { start: days(year, month, 1) * DAY_US, end: days(next_year, next_month, 1) * DAY_US })
        }
        (Some(month), Some(day), time) if (1..=days_of(year, month)).contains(&day) => {
            let start = days(year, month, day) * DAY_US;
            match time {
                None => Some(Period { start, end: start + DAY_US }),
                Some(time) => time_of_day(time).map(|(at, unit)| Period { start: start + at, end: start + at + unit }),
            }
        }
        _ => None,
    }
}

/// Microseconds since midnight UTC, and how many the precision spans.
fn time_of_day(text: &str) -> Option<(i64, i64)> {
    let (clock, offset) = match text.find(['Z', '+', '-']) {
        Some(at) => (text.get(..at)?, zone(text.get(at..)?)?),
        None => (text, 0),
    };
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, f)| (clock, Some(f)));
    let mut parts = clock.split(':');
    let hour = number(parts.next()?, 2).filter(|hour| *hour < 24)?;
    let minute = number(parts.next()?, 2).filter(|minute| *minute < 60)?;
    let second = parts.next().map(|part| number(part, 2).filter(|s| *s < 60).ok_or(())).transpose().ok()?;
    if parts.next().is_some() || (fraction.is_some() && second.is_none()) {
        return None;
    }
    let whole = (hour * 60 + minute) * MINUTE_US + second.unwrap_or(0) * 1_000_000 - offset;
    match (second, fraction) {
        (None, _) => Some((whole, MINUTE_US)),
        (Some(_), None) => Some((whole, 1_000_000)),
        (Some(_), Some(fraction)) => {
            let places = u32::try_from(fraction.len()).ok().filter(|places| (1..=6).contains(places))?;
            let unit = 10i64.pow(6 - places);
            Some((whole + number(fraction, fraction.len())? * unit, unit))
        }
    }
}

/// The offset of a zone, in microseconds.
fn zone(text: &str) -> Option<i64> {
    if text == "Z" {
        return Some(0);
    }
    let (sign, rest) =
        text.strip_prefix('+').map(|rest| (1, rest)).or(text.strip_prefix('-').map(|rest| (-1, rest)))?;
    let (hours, minutes) = rest.split_once(':')?;
    let (hours, minutes) = (number(hours, 2).filter(|h| *h <= 14)?, number(minutes, 2).filter(|m| *m < 60)?);
    Some(sign * (hours * 60 + minutes) * MINUTE_US)
}

/// Exactly so many digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

fn days_of(year: i64, month: i64) -> i64 {
    match month {
        2 if is_leap(year) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar: whole years, leap days among them, then
/// months and days.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let before = year - 1;
    let leap_days = before / 4 - before / 100 + before / 400;
    let of_year: i64 = (1..month).map(|month| days_of(year, month)).sum();
    // 719,162 days lie between 0001-01-01 and 1970-01-01.
    before * 365 + leap_days - 719_162 + of_year + day - 1
}

#[cfg(test)]
mod tests {
    use super::{Period, parse};
    use crate::search::value::Prefix;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn a_date_is_the_period_of_its_precision() {
        let day = 86_400 * SECOND;
        let rows = [
            ("1970", 0, 365 * day),
            ("1971", 365 * day, 730 * day),
            ("1970-02", 31 * day, 59 * day),
            ("1970-12", 334 * day, 365 * day),
            ("2000-02-29", 11_016 * day, 11_017 * day),
            ("1970-01-01T00:01", 60 * SECOND, 120 * SECOND),
            ("1970-01-01T00:00:01Z", SECOND, 2 * SECOND),
            ("1970-01-01T01:00:00.5+01:00", 500_000, 600_000),
            ("1969-12-31T23:59:59.999999Z", -1, 0),
            ("1969-12-31T19:00:00-05:00", 0, SECOND),
            ("1969-12-31T18:30:00-05:30", 0, SECOND),
            ("1970-01-01T14:59:00+14:59", 0, SECOND),
        ];
        for (text, start, end) in rows {
            assert_eq!(parse(text), Some(Period { start, end }), "{text}");
        }
        assert_eq!(parse("9999-12-31").unwrap().start, 253_402_214_400 * SECOND);
        assert_eq!(parse("0001-01-01").unwrap().start, -62_135_596_800 * SECOND);
    }

    #[test]
    fn what_is_no_date_is_none() {
        let texts = [
            "",
            "20",
            "0000",
            "2020-1",
            "2020-13",
            "2020-00",
            "2020-02-30",
            "2021-02-29",
            "1900-02-29",
            "2020-05-17T",
            "2020-05-17T10",
            "2020-05-17T24:00",
            "2020-05-17T10:60",
            "2020-05-17T10:30:60Z",
            "2020-05-17T10:30:00.Z",
            "2020-05-17T10:30:00.1234567Z",
            "2020-05-17T10:30+1:00",
            "2020-05-17T10:30:00+15:00",
            "2020-05-17T10:30:00+05:60",
            "2020-05T10:30",
            "2020-05-17 10:30",
            "2020-05-17T10:30:00z",
            "ap2020",
            "2020-05-17-01",
            "+020-01-01",
            "2020-05-17T10:30.5Z",
        ];
        for text in texts {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn periods_are_compared_as_the_prefixes_say() {
        use Prefix as P;
        let wanted = parse("2020-05").unwrap();
        let all = [
            P::Equal,
            P::NotEqual,
            P::Greater,
            P::Less,
            P::GreaterOrEqual,
            P::LessOrEqual,
            P::StartsAfter,
            P::EndsBefore,
        ];
        let rows = [
            ("2020-05-17", [true, false, false, false, true, true, false, false]),
            ("2020-05", [true, false, false, false, true, true, false, false]),
            ("2020", [false, true, true, true, true, true, false, false]),
            ("2020-04-30", [false, true, false, true, false, true, false, true]),
            ("2020-06-01", [false, true, true, false, true, false, true, false]),
        ];
        for (found, expected) in rows {
            let found_period = parse(found).unwrap();
            assert_eq!(all.map(|prefix| wanted.compare(prefix, &found_period)), expected, "{found}");
        }
    }
}

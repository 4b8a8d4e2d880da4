//! `date`: every date is the range its precision leaves (FHIR R4, Search, section 3.1.1.4.5).

use serde_json::Value;

use super::Prefix;

const SECOND: i128 = 1_000_000_000;
const DAY: i128 = 86_400 * SECOND;

/// Nanoseconds since 1970: the first that belongs to it and the first that does not; `None` is open.
type Range = (Option<i128>, Option<i128>);

/// One alternative.
pub struct Date {
    prefix: Prefix,
    start: i128,
    end: i128,
}

impl Date {
    /// `2024`, `ge2024-05-05T10:00Z`.
    pub fn read(text: &str) -> Option<Self> {
        let (prefix, date) = Prefix::take(text)?;
        let (start, end) = range(date)?;
        Some(Self { prefix, start, end })
    }

    /// Whether content is it.
    pub fn matches(&self, content: &Value) -> bool {
        let Some((start, end)) = content_range(content) else { return false };
        let contained = start.is_some_and(|start| self.start <= start) && end.is_some_and(|end| end <= self.end);
        let reaches_above = end.is_none_or(|end| end > self.end);
        let reaches_below = start.is_none_or(|start| start < self.start);
        match self.prefix {
            Prefix::Eq => contained,
            Prefix::Ne => !contained,
            Prefix::Gt => reaches_above,
            Prefix::Lt => reaches_below,
            Prefix::Ge => reaches_above || contained,
            Prefix::Le => reaches_below || contained,
            Prefix::Sa => start.is_some_and(|start| start >= self.end),
            Prefix::Eb => end.is_some_and(|end| end <= self.start),
        }
    }
}

/// A date, an instant or a period; a timing is none, nor is a period without ends or one that runs backwards.
fn content_range(content: &Value) -> Option<Range> {
    match content {
        Value::String(text) => range(text).map(|(start, end)| (Some(start), Some(end))),
        Value::Object(members) => {
            let end_of = |name: &str| match members.get(name) {
                Some(text) => text.as_str().and_then(range).map(Some),
                None => Some(None),
            };
            let (start, end) = (end_of("start")?, end_of("end")?);
            let (start, end) = (start.map(|range| range.0), end.map(|range| range.1));
            let is_backwards = matches!((start, end), (Some(start), Some(end)) if end <= start);
            ((start.is_some() || end.is_some()) && !is_backwards).then_some((start, end))
        }
        _ => None,
    }
}

/// The range of a date or time of any precision.
pub fn range(text: &str) -> Option<(i128, i128)> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    match (parts.as_slice(), time) {
        ([year], None) => {
            let year = digits(year, 4)?;
            Some((day(year, 1, 1)?, day(year + 1, 1, 1)?))
        }
        ([year, month], None) => {
            let (year, month) = (digits(year, 4)?, digits(month, 2)?);
            let next = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
            Some((day(year, month, 1)?, day(next.0, next.1, 1)?))
        }
        ([year, month, of_month], time) => {
            let start = day(digits(year, 4)?, digits(month, 2)?, digits(of_month, 2)?)?;
            let Some(time) = time else { return Some((start, start + DAY)) };
            let (from, to) = time_range(time)?;
            Some((start + from, start + to))
        }
        _ => None,
    }
}

/// `hh:mm`, seconds, their fraction and a zone if there is one; UTC if there is none.
fn time_range(text: &str) -> Option<(i128, i128)> {
    let (clock, offset) = zone(text)?;
    let (clock, fraction) = match clock.split_once('.') {
        Some((clock, fraction)) => (clock, Some(fraction)),
        None => (clock, None),
    };
    let parts: Vec<&str> = clock.split(':').collect();
    let (hour, minute, second) = match parts.as_slice() {
        [hour, minute] if fraction.is_none() => (digits(hour, 2)?, digits(minute, 2)?, None),
        [hour, minute, second] => (digits(hour, 2)?, digits(minute, 2)?, Some(digits(second, 2)?)),
        _ => return None,
    };
    if hour > 23 || minute > 59 || second.is_some_and(|second| second > 59) {
        return None;
    }
    let start = (hour * 3600 + minute * 60 + second.unwrap_or(0) - offset * 60) * SECOND;
    match fraction {
        Some(fraction) => {
            let places = u32::try_from(fraction.len()).ok().filter(|places| (1..=9).contains(places))?;
            let step = 10_i128.pow(9 - places);
            let start = start + digits(fraction, fraction.len())? * step;
            Some((start, start + step))
        }
        None if second.is_some() => Some((start, start + SECOND)),
        None => Some((start, start + 60 * SECOND)),
    }
}

/// The clock and the minutes it is ahead of UTC.
fn zone(text: &str) -> Option<(&str, i128)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, 0));
    }
    let Some(at) = text.rfind(['+', '-']) else { return Some((text, 0)) };
    let (clock, offset) = text.split_at(at);
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let (hours, minutes) = (digits(hours, 2)?, digits(minutes, 2)?);
    let ahead = hours * 60 + minutes;
    (hours <= 14 && minutes <= 59).then_some((clock, if offset.starts_with('-') { -ahead } else { ahead }))
}

fn digits(text: &str, length: usize) -> Option<i128> {
    (text.len() == length && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

/// The start of a day of the Gregorian calendar, counted year by year from 1 and month by month.
fn day(year: i128, month: i128, of_month: i128) -> Option<i128> {
    let is_leap = |year: i128| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let lengths = [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month - 1).ok()?;
    let length = *lengths.get(before)?;
    if year < 1 || !(1..=length).contains(&of_month) {
        return None;
    }
    let years = year - 1;
    let days = years * 365 + years / 4 - years / 100 + years / 400;
    let in_year: i128 = lengths.iter().take(before).sum();
    Some((days + in_year + of_month - 1 - 719_162) * DAY)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Date, range};

    fn matches(wanted: &str, content: &Value) -> bool {
        Date::read(wanted).unwrap().matches(content)
    }

    #[test]
    fn days_are_counted_from_1970() {
        assert_eq!(range("1970-01-01").unwrap().0, 0);
        let millis = chartgate_model::Millis::parse("2026-11-24T10:00:00Z").unwrap().0;
        assert_eq!(range("2026-11-24T12:00:00+02:00").unwrap().0, i128::from(millis) * 1_000_000);
        for bad in ["2024-02-30", "2023-02-29", "2024-13", "24", "2024-05-05T10", "2024-05-05T24:00", "2024-5-5", ""] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }

    /// The examples of FHIR R4, Search, section 3.1.1.4.5.
    #[test]
    fn the_examples_of_the_specification_hold() {
        assert!(matches("eq2013-01-14", &json!("2013-01-14T00:00")));
        assert!(matches("eq2013-01-14", &json!("2013-01-14T10:00")));
        assert!(!matches("eq2013-01-14", &json!("2013-01-15T00:00")));
        assert!(matches("ne2013-01-14", &json!("2013-01-15T00:00")));
        assert!(!matches("ne2013-01-14", &json!("2013-01-14T00:00")));
        assert!(matches("lt2013-01-14T10:00", &json!("2013-01-14")));
        assert!(matches("gt2013-01-14T10:00", &json!("2013-01-14")));
        assert!(matches("ge2013-03-14", &json!({ "start": "2013-03-21" })));
        assert!(matches("le2013-03-14", &json!({ "end": "2013-01-21" })));
        assert!(matches("sa2013-03-14", &json!({ "start": "2013-03-15" })));
        assert!(!matches("sa2013-03-14", &json!({ "start": "2013-03-14" })));
        assert!(matches("eb2013-03-14", &json!({ "end": "2013-03-13" })));
        assert!(!matches("eb2013-03-14", &json!({ "end": "2013-03-14" })));
    }
}

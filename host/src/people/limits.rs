//! What a member of a record may be.

use chartgate_model::{Millis, RecordClass};
use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{ClientRecord, InvalidRecord, PatientRecord, UserRecord};
use crate::store::validate::{is_id, user as is_user};

/// Users a restriction may name.
const ALLOW_MAX: usize = 100;
/// Charts of one user.
pub const CHARTS_MAX: usize = 100;
/// Bytes of a client's id.
const CLIENT_ID_MAX: usize = 256;
const ROLES: [&str; 3] = ["patient", "proxy", "provider"];
const USER_STATUSES: [&str; 5] = ["active", "suspended", "inactive", "unknown", "closed"];
const CLIENT_STATUSES: [&str; 3] = ["active", "suspended", "revoked"];
const CLIENT_KINDS: [&str; 3] = ["patient", "provider", "system"];

/// A zone by its IANA name. The database is part of the host, so that it says the same everywhere.
pub fn zone(name: &str) -> Option<TimeZone> {
    // What a POSIX rule or an offset would say is not a place.
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_+-".contains(&b));
    // Names for a zone that nobody knows.
    let known = !matches!(name, "Etc/Unknown" | "Factory");
    if plain && known { TimeZone::get(name).ok() } else { None }
}

/// The id of a client: visible ASCII (RFC 6749, appendix A.1, without spaces).
pub fn is_client_id(text: &str) -> bool {
    (1..=CLIENT_ID_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

pub(super) fn id(class: RecordClass, id: &str) -> Result<(), InvalidRecord> {
    let (good, expected) = match class {
        RecordClass::Patient => (is_id(id), "a bare resource id"),
        RecordClass::User => (is_user(id).is_ok(), "a reference like `Practitioner/17` to a person or their role"),
        RecordClass::Client => (is_client_id(id), "1 to 256 visible ASCII characters"),
    };
    need(good, class.code(), id, expected)
}

pub(super) fn patient(record: &PatientRecord, id: &str) -> Result<(), InvalidRecord> {
    if let Some(date) = &record.birth_date {
        need(is_date(date), "birth_date", date, "a date of the years 1850 to 2200, as YYYY, YYYY-MM or YYYY-MM-DD")?;
    }
    if let Some(name) = &record.zone {
        need(zone(name).is_some(), "zone", name, "the IANA name of a time zone")?;
    }
    if let Some(into) = &record.merged_into {
        need(is_id(into) && into != id, "merged_into", into, "the id of another patient")?;
    }
    if let Some(restriction) = &record.restriction {
        few("restriction.allow", restriction.allow.len(), ALLOW_MAX)?;
        for user in &restriction.allow {
            need(is_user(user).is_ok(), "restriction.allow", user, "a reference like `Practitioner/17`")?;
        }
        time("restriction.until", restriction.until.as_ref())?;
    }
    time("as_of", record.as_of.as_ref()).map(drop)
}

pub(super) fn user(record: &UserRecord, id: &str) -> Result<(), InvalidRecord> {
    one_of("status", &record.status, &USER_STATUSES)?;
    for role in record.roles.iter().flatten() {
        one_of("roles", role, &ROLES)?;
    }
    few("roles", record.roles.as_ref().map_or(0, Vec::len), ROLES.len())?;
    few("charts", record.charts.as_ref().map_or(0, Vec::len), CHARTS_MAX)?;
    for chart in record.charts.iter().flatten() {
        need(is_id(chart), "charts", chart, "a bare resource id")?;
    }
    if let Some(practitioner) = &record.practitioner {
        let plays = id.starts_with("PractitionerRole/");
        let is_one = practitioner.starts_with("Practitioner/") && is_user(practitioner).is_ok();
        need(plays && is_one, "practitioner", practitioner, "the `Practitioner/17` whose `PractitionerRole` it is")?;
    }
    period(record.start.as_ref(), record.end.as_ref())?;
    time("as_of", record.as_of.as_ref()).map(drop)
}

pub(super) fn client(record: &ClientRecord) -> Result<(), InvalidRecord> {
    one_of("status", &record.status, &CLIENT_STATUSES)?;
    if let Some(kind) = &record.kind {
        one_of("kind", kind, &CLIENT_KINDS)?;
    }
    period(record.start.as_ref(), record.end.as_ref())?;
    time("as_of", record.as_of.as_ref()).map(drop)
}

fn period(start: Option<&String>, end: Option<&String>) -> Result<(), InvalidRecord> {
    match (time("start", start)?, time("end", end)?) {
        (Some(start), Some(end)) if start >= end => Err(InvalidRecord::new("end", "has to be later than the start")),
        _ => Ok(()),
    }
}

fn time(member: &str, text: Option<&String>) -> Result<Option<Millis>, InvalidRecord> {
    let read = |text: &String| Millis::parse(text).map_err(|error| InvalidRecord::new(member, error.to_string()));
    text.map(read).transpose()
}

fn few(member: &str, count: usize, most: usize) -> Result<(), InvalidRecord> {
    if count <= most { Ok(()) } else { Err(InvalidRecord::new(member, format!("has more than {most} entries"))) }
}

fn one_of(member: &str, text: &str, known: &[&str]) -> Result<(), InvalidRecord> {
    need(known.contains(&text), member, text, &format!("one of {}", known.join(", ")))
}

fn need(good: bool, member: &str, input: &str, expected: &str) -> Result<(), InvalidRecord> {
    if good {
        return Ok(());
    }
    let shown: String = input.chars().take(80).flat_map(char::escape_debug).collect();
    Err(InvalidRecord::new(member, format!("`{shown}` is not {expected}")))
}

/// A FHIR date of somebody who may be alive (FHIR R4, data type `date`).
fn is_date(text: &str) -> bool {
    partial_date(text).is_some_and(|(first, _)| (1850..=2200).contains(&first.year()))
}

/// A date as FHIR has it, `YYYY`, `YYYY-MM` or `YYYY-MM-DD`: its first day, and the first after it.
pub fn partial_date(text: &str) -> Option<(Date, Date)> {
    let mut parts = text.split('-');
    let mut number = |length: usize| match parts.next() {
        None => Some(None),
        Some(part) if part.len() == length && part.bytes().all(|b| b.is_ascii_digit()) => {
            part.parse::<i16>().ok().map(Some)
        }
        Some(_) => None,
    };
    let (year, month, day) = (number(4)??, number(2)?, number(2)?);
    let small = |part: Option<i16>| i8::try_from(part.unwrap_or(1)).ok();
    let first = Date::new(year, small(month)?, small(day)?).ok()?;
    let length = match (month, day) {
        (None, _) => Span::new().years(1),
        (_, None) => Span::new().months(1),
        _ => Span::new().days(1),
    };
    let next = first.checked_add(length).ok()?;
    parts.next().is_none().then_some((first, next))
}

//! Which relationships are live.
//!
//! A relationship confers access only when its kind fits the user's role, it is active, the time of
//! the decision lies in `[start, end)`, its level is understood, and nobody who speaks of it says
//! otherwise: revoked or suspended anywhere beats a grant anywhere.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::json::{Json, Malformed, Value};
use crate::reason::Reason;
use crate::types::SubjectKind;

/// One relationship fact.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) patient: Cow<'a, str>,
    kind: Cow<'a, str>,
    level: Cow<'a, str>,
    status: Status,
    source: Cow<'a, str>,
    start_ms: Option<u64>,
    end_ms: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Active,
    Suspended,
    Revoked,
}

/// The relationships of a user, as one fact gives them.
#[derive(Debug, Clone)]
pub(crate) struct Entries<'a> {
    pub(crate) list: Vec<Entry<'a>>,
    /// the source knows more than it says
    pub(crate) truncated: bool,
}

/// What a live relationship gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) reason: Reason,
    /// when it ends, milliseconds since 1970
    pub(crate) end_ms: Option<u64>,
}

impl Standing {
    /// A client without a user: its scopes are all it needs.
    pub(crate) const SYSTEM: Self = Self { reason: Reason::SystemClient, end_ms: None };
}

/// Read a relationship fact.
pub(crate) fn parse(bytes: &[u8]) -> Result<Entries<'_>, Malformed> {
    let json = Json::parse(bytes)?;
    let root = json.root();
    let truncated = match root.get("truncated")?.map(Value::literal) {
        Some(Some("true")) => true,
        Some(Some("false")) | None => false,
        Some(_) => return Err(Malformed),
    };
    let entries = root.get("entries")?.filter(|entries| entries.is_array()).ok_or(Malformed)?;
    let mut list = Vec::new();
    for value in entries.elements() {
        // SECURITY: whatever did not come about in the ordinary way (break-glass) does not count for
        // apps. The host drops such facts too.
        if required(value, "via")? == "ordinary" {
            list.push(entry(value)?);
        }
    }
    Ok(Entries { list, truncated })
}

fn entry<'a>(value: Value<'_, 'a>) -> Result<Entry<'a>, Malformed> {
    let status = match &*required(value, "status")? {
        "active" => Status::Active,
        "suspended" => Status::Suspended,
        "revoked" => Status::Revoked,
        _ => return Err(Malformed),
    };
    Ok(Entry {
        patient: required(value, "patient")?,
        kind: required(value, "kind")?,
        level: required(value, "level")?,
        status,
        source: required(value, "source")?,
        start_ms: instant(value, "start_ms")?,
        end_ms: instant(value, "end_ms")?,
    })
}

fn required<'a>(value: Value<'_, 'a>, name: &str) -> Result<Cow<'a, str>, Malformed> {
    value.get_string(name)?.ok_or(Malformed)
}

fn instant(value: Value<'_, '_>, name: &str) -> Result<Option<u64>, Malformed> {
    match value.get(name)?.map(|value| value.literal().ok_or(Malformed)).transpose()? {
        None | Some("null") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| Malformed),
    }
}

/// The kinds that give a role access, and the reason each permits for. Of several live ones the first is told.
///
/// Kinds that turn on what is known of the patient (a parent's on age, an agent's on incapacity, an executor's on
/// death) are not among them: without those facts they would outlive what they rest on.
fn kinds(role: SubjectKind) -> &'static [(&'static str, Reason)] {
    match role {
        SubjectKind::Patient | SubjectKind::Proxy => {
            &[("guardian", Reason::Guardian), ("caregiver", Reason::Caregiver), ("agency", Reason::Agency)]
        }
        SubjectKind::Provider => &[
            ("treatment", Reason::Treatment),
            ("care-team", Reason::CareTeam),
            ("primary-care", Reason::PrimaryCare),
            ("appointment", Reason::Appointment),
            ("department", Reason::Department),
            ("coverage", Reason::Coverage),
        ],
        SubjectKind::System => &[],
    }
}

/// What the entries about one patient give a user in a role, at a time.
pub(crate) fn standing<'e>(
    entries: impl Iterator<Item = &'e Entry<'e>> + Clone,
    role: SubjectKind,
    now_ms: u64,
    writing: bool,
) -> Result<Standing, Reason> {
    let mut entries = entries.peekable();
    if entries.peek().is_none() {
        return Err(Reason::NoRelationship);
    }
    if entries.clone().any(|entry| entry.status == Status::Suspended) {
        return Err(Reason::RelationshipSuspended);
    }
    let mut failure = Reason::RelationshipKindMismatch;
    for (kind, reason) in kinds(role) {
        let of_kind = entries.clone().filter(|entry| entry.kind == *kind);
        match live(of_kind, now_ms, writing) {
            Ok(Some(end_ms)) => return Ok(Standing { reason: *reason, end_ms: end_ms.0 }),
            Ok(None) => {}
            Err(reason) => failure = failure.max(reason),
        }
    }
    Err(failure)
}

/// The end of one kind's validity.
struct End(Option<u64>);

/// `None` when there is no entry. Every source that speaks of the relationship has to hold it live;
/// the earliest of the ends they give is its end.
fn live<'e>(
    entries: impl Iterator<Item = &'e Entry<'e>> + Clone,
    now_ms: u64,
    writing: bool,
) -> Result<Option<End>, Reason> {
    if entries.clone().any(|entry| entry.status == Status::Revoked) {
        return Err(Reason::RelationshipRevoked);
    }
    let mut end: Option<End> = None;
    for entry in entries.clone() {
        let of_source = entries.clone().filter(|other| other.source == entry.source);
        let mut failure = Reason::NoRelationship;
        let mut source_end: Option<Option<u64>> = None;
        for one in of_source {
            match holds(one, now_ms, writing) {
                // The latest end of one source: it may record several periods.
                Ok(()) => {
                    source_end =
                        Some(source_end.map_or(one.end_ms, |known| known.zip(one.end_ms).map(|(a, b)| a.max(b))))
                }
                // One restriction in force beats every other period of the source.
                Err(reason @ (Reason::RelationshipLevelUnsupported | Reason::RelationshipReadOnly)) => {
                    return Err(reason);
                }
                Err(reason) => failure = failure.max(reason),
            }
        }
        let source_end = source_end.ok_or(failure)?;
        let known = end.and_then(|End(known)| known);
        end = Some(End(known.into_iter().chain(source_end).min()));
    }
    Ok(end)
}

/// Whether one active entry holds now.
fn holds(entry: &Entry<'_>, now_ms: u64, writing: bool) -> Result<(), Reason> {
    if entry.start_ms.is_some_and(|start| now_ms < start) {
        return Err(Reason::RelationshipNotStarted);
    }
    if entry.end_ms.is_some_and(|end| end <= now_ms) {
        return Err(Reason::RelationshipEnded);
    }
    match &*entry.level {
        "full" => Ok(()),
        "read-only" if writing => Err(Reason::RelationshipReadOnly),
        "read-only" => Ok(()),
        _ => Err(Reason::RelationshipLevelUnsupported),
    }
}

//! Which patients the subject reaches, and until when.

use std::collections::BTreeMap;

use chartgate_model::{Millis, Relationship, Subject, SubjectKind};

use super::reference::is_id;

/// A patient and when reaching them ends; `None` when it does not.
pub type Reach = BTreeMap<String, Option<Millis>>;

/// Whether the kind of a subject fits who the user is.
pub fn fits(subject: &Subject, system_clients: bool) -> bool {
    let types: &[&str] = match subject.kind {
        SubjectKind::Patient => &["Patient"],
        SubjectKind::Proxy => &["RelatedPerson", "Person", "Patient"],
        SubjectKind::Provider => &["Practitioner", "PractitionerRole", "Person"],
        SubjectKind::System => return subject.user.is_empty() && subject.patient.is_none() && system_clients,
    };
    match subject.user.split_once('/') {
        Some((kind, id)) => types.contains(&kind) && is_id(id),
        None => false,
    }
}

/// Every patient the user reaches.
pub fn reach(subject: &Subject, relationships: &[Relationship], now: Millis, writing: bool) -> Reach {
    let mut reach = Reach::new();
    for entry in relationships {
        if entry.user == subject.user
            && let Some(end) = live(subject, &entry.patient, relationships, now, writing)
        {
            reach.insert(entry.patient.clone(), end);
        }
    }
    if let (SubjectKind::Patient, Some(own)) = (subject.kind, subject.user.strip_prefix("Patient/")) {
        reach.insert(own.to_owned(), None);
    }
    reach
}

/// Whether a relationship to a patient is live; with its end.
fn live(
    subject: &Subject,
    patient: &str,
    relationships: &[Relationship],
    now: Millis,
    writing: bool,
) -> Option<Option<Millis>> {
    let kinds: &[&str] = match subject.kind {
        SubjectKind::Patient | SubjectKind::Proxy => &["guardian", "caregiver", "agency"],
        SubjectKind::Provider => &["treatment", "care-team", "primary-care", "appointment", "department", "coverage"],
        SubjectKind::System => return None,
    };
    let mut entries: Vec<&Relationship> = Vec::new();
    for entry in relationships {
        if entry.user == subject.user && entry.patient == patient && entry.via == "ordinary" {
            entries.push(entry);
        }
    }
    if entries.iter().any(|entry| entry.status == "suspended") {
        return None;
    }
    for kind in kinds {
        let of_kind: Vec<&Relationship> = entries.iter().filter(|entry| entry.kind == *kind).copied().collect();
        if let Some(end) = kind_is_live(&of_kind, now, writing) {
            return Some(end);
        }
    }
    None
}

fn kind_is_live(entries: &[&Relationship], now: Millis, writing: bool) -> Option<Option<Millis>> {
    if entries.is_empty() || entries.iter().any(|entry| entry.status == "revoked") {
        return None;
    }
    let mut first: Option<Millis> = None;
    for source in entries.iter().map(|entry| &entry.source) {
        // A restriction in force beats every other period of the same source.
        if entries.iter().any(|entry| entry.source == *source && restricted(entry, now, writing)) {
            return None;
        }
        let mut last: Option<Option<Millis>> = None;
        for entry in entries {
            if entry.source == *source && holds(entry, now, writing) {
                last = Some(match last {
                    Some(known) => later(known, entry.end),
                    None => entry.end,
                });
            }
        }
        first = earlier(first, last?);
    }
    Some(first)
}

fn holds(entry: &Relationship, now: Millis, writing: bool) -> bool {
    entry.status == "active" && in_force(entry, now) && !restricted(entry, now, writing)
}

fn in_force(entry: &Relationship, now: Millis) -> bool {
    entry.start.is_none_or(|start| start <= now) && entry.end.is_none_or(|end| now < end)
}

fn restricted(entry: &Relationship, now: Millis, writing: bool) -> bool {
    let level = entry.level == "full" || (entry.level == "read-only" && !writing);
    in_force(entry, now) && !level
}

/// The earlier of two ends, where none is never.
pub fn earlier(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn later(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        _ => None,
    }
}

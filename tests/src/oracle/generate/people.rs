//! Subjects, and relationships that reach a patient.

use super::dice::Dice;
use super::{NOW, PATIENTS};
use crate::oracle::case::Known;

/// Sources of relationships besides the caller.
const SOURCES: [&str; 3] = ["directory", "registry", "caller"];
/// Kinds that give a provider access, one much more often than the others.
const PROVIDER_KINDS: [&str; 8] =
    ["treatment", "treatment", "treatment", "care-team", "primary-care", "appointment", "department", "coverage"];
/// Kinds that give a patient or a proxy access.
const PROXY_KINDS: [&str; 5] = ["guardian", "guardian", "caregiver", "caregiver", "agency"];
/// Times around the decision.
const TIMES: [&str; 9] = [
    "2020-01-01T00:00:00Z",
    "2026-11-23T10:00:00Z",
    "2026-11-24T09:59:59.999Z",
    NOW,
    "2026-11-24T10:00:00.001Z",
    "2026-11-24T11:00:00+01:00",
    "2026-11-25T00:00:00Z",
    "2027-01-01T00:00:00Z",
    "2030-06-01T00:00:00Z",
];

/// A kind of subject and a user who may be one.
pub(super) fn subject(dice: &mut Dice) -> (&'static str, String) {
    let kind = dice.weighted(&[(35, "patient"), (32, "provider"), (20, "proxy"), (13, "system")]);
    (kind, user(dice, kind))
}

/// A user for a kind of subject.
pub(super) fn user(dice: &mut Dice, kind: &str) -> String {
    match kind {
        "patient" => format!("Patient/{}", dice.pick(&PATIENTS)),
        "provider" => dice.text(&["Practitioner/17", "Practitioner/17", "PractitionerRole/4", "Person/9"]),
        "proxy" => dice.text(&["RelatedPerson/5", "RelatedPerson/5", "Person/9", "Patient/124"]),
        _ => String::new(),
    }
}

/// A relationship that is live.
pub(super) fn live(dice: &mut Dice, kind: &str, user: &str, patient: &str) -> Known {
    let kind = if kind == "provider" { dice.pick(&PROVIDER_KINDS) } else { dice.pick(&PROXY_KINDS) };
    Known {
        user: user.to_owned(),
        patient: patient.to_owned(),
        kind: (*kind).to_owned(),
        level: "full".into(),
        status: "active".into(),
        via: "ordinary".into(),
        source: dice.text(&SOURCES),
        start: dice.percent(40).then(|| dice.text(&[TIMES[0], TIMES[1], TIMES[2], NOW])),
        end: dice.percent(50).then(|| dice.text(&[TIMES[4], TIMES[6], TIMES[7], TIMES[8]])),
    }
}

/// Any relationship at all.
pub(super) fn any(dice: &mut Dice, kind: &str, user: &str) -> Known {
    let patient = dice.text(&PATIENTS);
    let mut known = live(dice, kind, user, &patient);
    for _ in 0..dice.below(3) {
        spoil(dice, &mut known);
    }
    known
}

/// Change one thing about a relationship.
pub(super) fn spoil(dice: &mut Dice, known: &mut Known) {
    match dice.below(10) {
        0 => known.kind = dice.text(&["treatment", "care-team", "guardian", "agency", "parent", "friend", "payer"]),
        1 | 2 => known.level = dice.text(&["full", "read-only", "read-only", "limited"]),
        3 | 4 => known.status = dice.text(&["active", "suspended", "revoked"]),
        5 => known.via = dice.text(&["ordinary", "break-glass", "emergency"]),
        6 => known.source = dice.text(&SOURCES),
        7 => known.start = Some(dice.text(&TIMES)),
        8 => known.end = Some(dice.text(&TIMES)),
        _ => known.patient = dice.text(&PATIENTS),
    }
    if let (Some(start), Some(end)) = (&known.start, &known.end)
        && chartgate_model::Millis::parse(start).unwrap() >= chartgate_model::Millis::parse(end).unwrap()
    {
        known.start = None;
    }
}

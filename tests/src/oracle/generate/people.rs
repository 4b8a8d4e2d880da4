//! Subjects, and relationships that reach a patient.

use super::dice::Dice;
use super::{NOW, PATIENTS};
use crate::oracle::case::Known;

/// Sources of relationships besides the caller.
const SOURCES: [&str; 3] = ["directory", "registry", "caller"];
/// Kinds that give a provider access, one much more often than the others.
const PROVIDER_KINDS: [&str; 12] = [
    "treatment",
    "treatment",
    "treatment",
    "care-team",
    "primary-care",
    "appointment",
    "encounter",
    "encounter",
    "department",
    "coverage",
    "delegation",
    "delegation",
];
/// Kinds that give a patient or a proxy access.
const PROXY_KINDS: [&str; 9] = [
    "guardian",
    "guardian",
    "caregiver",
    "agency",
    "parent",
    "parent",
    "health-care-agent",
    "health-care-agent",
    "executor",
];
/// Types relationships leave out.
const EXCLUDED: [&str; 5] = ["Observation", "Observation", "Condition", "Patient", "Organization"];
/// Times around the decision, and windows away from it.
pub(super) const TIMES: [&str; 15] = [
    "2020-01-01T00:00:00Z",
    "2026-11-23T10:00:00Z",
    "2026-11-24T09:59:59.999Z",
    NOW,
    "2026-11-24T10:00:00.001Z",
    "2026-11-24T11:00:00+01:00",
    "2026-11-25T00:00:00Z",
    "2027-01-01T00:00:00Z",
    "2030-06-01T00:00:00Z",
    "2026-10-25T10:00:00Z",
    "2026-10-25T10:00:00.001Z",
    "2026-12-24T10:00:00Z",
    "2026-12-24T10:00:00.001Z",
    "2026-11-23T09:59:59.999Z",
    "2026-11-25T10:00:00Z",
];

/// About when somebody came of age who was born in 2005, the clocks of New York moved or not.
const AT_AGE: [&str; 2] = ["2023-11-24T04:00:00Z", "2023-11-24T02:59:59.999Z"];

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
    let kind = if kind == "provider" { dice.text(&PROVIDER_KINDS) } else { dice.text(&PROXY_KINDS) };
    let is_delegation = kind == "delegation";
    Known {
        user: user.to_owned(),
        patient: patient.to_owned(),
        kind,
        level: "full".into(),
        status: "active".into(),
        via: "ordinary".into(),
        source: dice.text(&SOURCES),
        start: dice.percent(40).then(|| dice.text(&[TIMES[0], TIMES[1], TIMES[2], NOW, AT_AGE[0], AT_AGE[1]])),
        end: dice.percent(50).then(|| dice.text(&[TIMES[4], TIMES[6], TIMES[7], TIMES[8]])),
        exclude_types: Vec::new(),
        exclude_labels: Vec::new(),
        condition: dice.percent(6).then(|| dice.text(&["incapacity", "minority"])),
        delegator: is_delegation.then(|| delegator(dice)),
    }
}

pub(super) fn delegator(dice: &mut Dice) -> String {
    dice.text(&["Practitioner/12", "Practitioner/12", "PractitionerRole/3", "Person/8"])
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
    match dice.below(16) {
        0 => known.kind = dice.text(&["treatment", "encounter", "guardian", "agency", "parent", "executor", "friend"]),
        1 | 2 => known.level = dice.text(&["full", "read-only", "read-only", "limited"]),
        3 | 4 => known.status = dice.text(&["suspended", "revoked", "revoked"]),
        5 => known.via = dice.text(&["ordinary", "break-glass", "emergency"]),
        6 => known.source = dice.text(&SOURCES),
        7 => known.start = Some(dice.text(&TIMES)),
        8 => known.end = Some(dice.text(&TIMES)),
        9 => known.patient = dice.text(&PATIENTS),
        10 | 11 => known.exclude_types = vec![dice.text(&EXCLUDED)],
        12 | 13 => known.exclude_labels = vec![dice.text(&["HIV", "PSY"])],
        14 => known.condition = Some(dice.text(&["incapacity", "minority"])),
        _ if known.kind == "delegation" => {
            let others = ["Practitioner/17", "Practitioner/18", "RelatedPerson/5", "Person/9", "Patient/124"];
            known.delegator = Some(dice.text(&others));
        }
        _ => known.kind = dice.text(&["encounter", "appointment"]),
    }
    if known.kind != "delegation" {
        known.delegator = None;
    }
    if let (Some(start), Some(end)) = (&known.start, &known.end)
        && chartgate_model::Millis::parse(start).unwrap() >= chartgate_model::Millis::parse(end).unwrap()
    {
        known.start = None;
    }
}

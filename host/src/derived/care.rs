//! Care: teams, encounters, appointments, and panels of patients.
//!
//! What is cancelled or was entered in error gives nothing. A team or an organization as a member of a team stands
//! for people who are not named, and gives nothing either.

use chartgate_model::Relationship;
use serde_json::Value;

use super::read::{Period, Resource, list, period, text};
use super::{Reject, relationship};

/// A user who works with patients, by what an element refers to.
fn provider<'a>(resource: &Resource<'a>, reference: Option<&'a Value>) -> Option<String> {
    let (kind, id) = resource.local(reference)?;
    matches!(kind, "Practitioner" | "PractitionerRole").then(|| format!("{kind}/{id}"))
}

fn given(user: &str, patient: &str, kind: &str, resource: &Resource<'_>, when: Period) -> Relationship {
    let Period { start, end } = when;
    Relationship { start, end, ..relationship(user, patient, kind, &resource.origin()) }
}

/// The later start and the earlier end.
fn within(one: Period, other: Period) -> Option<Period> {
    let start = one.start.into_iter().chain(other.start).max();
    let end = one.end.into_iter().chain(other.end).min();
    let empty = start.zip(end).is_some_and(|(start, end)| start >= end);
    (!empty).then_some(Period { start, end })
}

pub(super) fn care_team(team: &Resource<'_>) -> Result<Vec<Relationship>, Reject> {
    // A status is not required; a team without one is not known to be at work.
    if team.text("status")? != Some("active") {
        return Ok(Vec::new());
    }
    let patient = team.patient("subject")?;
    let of_team = team.period("period")?;
    let mut all = Vec::new();
    for participant in list(team.value, "participant")? {
        // R5 says it by `coverage[x]`, of which a timing is no period.
        if participant.get("coverageTiming").is_some() {
            return Err(Reject::Unsupported("participant.coverageTiming"));
        }
        let coverage = period(participant.get("coveragePeriod"), team.reading)?;
        let own = within(period(participant.get("period"), team.reading)?, coverage);
        let when = own.and_then(|own| within(of_team, own));
        if let (Some(user), Some(when)) = (provider(team, participant.get("member")), when) {
            all.push(given(&user, patient, "care-team", team, when));
        }
    }
    Ok(merged(all))
}

pub(super) fn encounter(encounter: &Resource<'_>) -> Result<Vec<Relationship>, Reject> {
    const COUNT: [&str; 10] = [
        "planned",
        "arrived",
        "triaged",
        "in-progress",
        "onleave",
        "finished",
        "on-hold",
        "discharged",
        "completed",
        "discontinued",
    ];
    if !COUNT.contains(&encounter.status()?) {
        return Ok(Vec::new());
    }
    let patient = encounter.patient("subject")?;
    // R5 calls it `actualPeriod`.
    let element = if encounter.value.get("actualPeriod").is_some() { "actualPeriod" } else { "period" };
    let mut when = encounter.period(element)?;
    if encounter.status()? == "planned" && when.end.is_none() {
        // Planned for a moment; for how long before and after is the rules' business.
        when.end = when.start.map(|start| start.plus_ms(1));
    }
    // Without a start it would hold since ever; without an end, where it is not under way, for ever.
    let under_way = ["arrived", "triaged", "in-progress", "onleave", "on-hold"].contains(&encounter.status()?);
    match when {
        Period { start: None, .. } => return Err(Reject::Missing("period.start")),
        Period { end: None, .. } if !under_way => return Err(Reject::Missing("period.end")),
        _ => {}
    }
    let mut all = Vec::new();
    for participant in list(encounter.value, "participant")? {
        let own = period(participant.get("period"), encounter.reading)?;
        let person = participant.get("individual").or_else(|| participant.get("actor"));
        if let (Some(user), Some(when)) = (provider(encounter, person), within(when, own)) {
            all.push(given(&user, patient, "encounter", encounter, when));
        }
    }
    Ok(merged(all))
}

pub(super) fn appointment(appointment: &Resource<'_>) -> Result<Vec<Relationship>, Reject> {
    const COUNT: [&str; 4] = ["booked", "arrived", "fulfilled", "checked-in"];
    if !COUNT.contains(&appointment.status()?) {
        return Ok(Vec::new());
    }
    let at = |element, late| {
        let text = appointment.text(element)?.ok_or(Reject::Missing(element))?;
        let instant = super::read::instant(text, late, appointment.reading);
        instant.ok_or(Reject::Element { element, expected: "an instant" })
    };
    let when = Period { start: Some(at("start", false)?), end: Some(at("end", true)?) };
    if when.start >= when.end {
        return Err(Reject::Element { element: "end", expected: "later than the start" });
    }
    let (mut patients, mut users) = (Vec::new(), Vec::new());
    for participant in list(appointment.value, "participant")? {
        if text(participant, "status")? == Some("declined") {
            continue;
        }
        let own = period(participant.get("period"), appointment.reading)?;
        let Some(when) = within(when, own) else { continue };
        match appointment.local(participant.get("actor")) {
            Some(("Patient", id)) => patients.push((id, when)),
            _ => users.extend(provider(appointment, participant.get("actor")).map(|user| (user, when))),
        }
    }
    let mut all = Vec::new();
    for (patient, theirs) in &patients {
        for (user, own) in &users {
            all.extend(within(*theirs, *own).map(|when| given(user, patient, "appointment", appointment, when)));
        }
    }
    Ok(merged(all))
}

/// A panel: a group of actual people that a provider manages.
pub(super) fn group(group: &Resource<'_>) -> Result<Vec<Relationship>, Reject> {
    // R5 says it by `membership`.
    let actual = group.flag("actual")?.unwrap_or(false) || group.text("membership")? == Some("enumerated");
    if group.text("type")? != Some("person") || !actual || group.flag("active")? == Some(false) {
        return Ok(Vec::new());
    }
    let Some(user) = provider(group, group.value.get("managingEntity")) else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for member in list(group.value, "member")? {
        let inactive = match member.get("inactive") {
            None => false,
            Some(Value::Bool(inactive)) => *inactive,
            Some(_) => return Err(Reject::Element { element: "member.inactive", expected: "true or false" }),
        };
        let when = period(member.get("period"), group.reading)?;
        if let (Some(("Patient", patient)), false) = (group.local(member.get("entity")), inactive) {
            all.push(given(&user, patient, "department", group, when));
        }
    }
    Ok(merged(all))
}

/// One relationship for each user, patient and time: periods that meet or overlap become one, of which the first start
/// and the last end count.
///
/// SECURITY: what lies between two periods belongs to neither, so these stay two, told apart by their basis:
/// `CareTeam/5`, `CareTeam/5#2`.
fn merged(mut all: Vec<Relationship>) -> Vec<Relationship> {
    let key = |one: &Relationship| (one.user.clone(), one.patient.clone());
    all.sort_by(|one, other| key(one).cmp(&key(other)).then(one.start.cmp(&other.start)));
    let mut merged: Vec<Relationship> = Vec::new();
    let mut pieces = 1;
    for mut next in all {
        match merged.last_mut().filter(|known| key(known) == key(&next)) {
            Some(known) if !ends_before(known, &next) => {
                known.end = known.end.zip(next.end).map(|(one, other)| one.max(other));
            }
            Some(_) => {
                pieces += 1;
                next.terms.basis = format!("{}#{pieces}", next.terms.basis);
                merged.push(next);
            }
            None => {
                pieces = 1;
                merged.push(next);
            }
        }
    }
    merged
}

/// Whether one is over when the other begins.
fn ends_before(one: &Relationship, other: &Relationship) -> bool {
    one.end.zip(other.start).is_some_and(|(end, start)| end < start)
}

//! A clinic of 200 users and 5,000 patients: who may read what of whom, by the component and by the second opinion.
//!
//! `CHARTGATE_CLINIC_PAIRS=all` asks about every user and every chart.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failure here is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chartgate::facts::Facts;
use chartgate_model::{DecisionRequest, Millis, RecordClass};
use chartgate_tests::host::Guest;
use chartgate_tests::oracle::case::{Case, decide};
use chartgate_tests::oracle::clinic::{CLIENT, Clinic, PATIENTS, USERS};
use chartgate_tests::oracle::generate::Dice;
use chartgate_tests::oracle::{Opinion, judge};
use serde_json::{Value, json};

const SEED: u64 = 20_261_124;
const NOW: &str = "2026-11-24T10:00:00Z";
/// Pairs of a usual run: those with a relationship, and any.
const RELATED: usize = 12_000;
const ANY: usize = 8_000;
/// Disagreements that are told in full.
const TOLD_MAX: usize = 20;
/// Denials that have to come up at least once: what the clinic is made to turn on.
const REASONS: [&str; 12] = [
    "chart-restricted",
    "test-mismatch",
    "patient-deceased",
    "patient-of-age",
    "patient-too-young",
    "app-access-blocked",
    "type-not-in-level",
    "type-excluded",
    "own-chart",
    "user-not-active",
    "delegator-without-access",
    "condition-not-met",
];

/// A read of an observation, as the host reads it; whose it is and who asks is put in later.
fn read() -> DecisionRequest {
    let case: Case = serde_json::from_value(json!({
        "settings": {}, "fhir_version": "4.0.1", "now": NOW, "directory": [],
        "ask": {
            "request": { "method": "GET", "url": "/Observation/o1" },
            "subject": { "user": "Practitioner/d1", "client": CLIENT, "scope": "user/*.rs" },
            "stored": { "Observation/o1": { "resourceType": "Observation", "id": "o1" } },
        },
    }))
    .unwrap();
    case.read().unwrap().request
}

fn observation(patient: &str, labelled: bool) -> Value {
    let mut observation = json!({
        "resourceType": "Observation", "id": "o1", "status": "final",
        "subject": { "reference": format!("Patient/{patient}") },
    });
    if labelled {
        observation["meta"] = json!({ "security": [{ "code": "PSY" }] });
    }
    observation
}

/// The pairs of a run, those of one chart together.
fn pairs(clinic: &Clinic) -> BTreeSet<(usize, usize)> {
    if std::env::var("CHARTGATE_CLINIC_PAIRS").is_ok_and(|pairs| pairs == "all") {
        return (0..PATIENTS).flat_map(|patient| (0..USERS).map(move |user| (patient, user))).collect();
    }
    let (mut dice, related) = (Dice::new(SEED), clinic.related());
    let portal = |user: &usize| !clinic.users[*user].id.starts_with("Practitioner/");
    let mut pairs: BTreeSet<(usize, usize)> =
        related.iter().filter(|(user, _)| portal(user)).map(|(user, patient)| (*patient, *user)).collect();
    while pairs.len() < RELATED {
        let (user, patient) = *dice.pick(&related);
        pairs.insert((patient, user));
    }
    while pairs.len() < RELATED + ANY {
        pairs.insert((dice.below(PATIENTS), dice.below(USERS)));
    }
    pairs
}

#[test]
fn every_user_and_chart_of_a_clinic_is_decided_as_the_second_opinion_does() {
    let (policy, now, settings) = (Guest::Rules.policy(), Millis::parse(NOW).unwrap(), json!({}));
    let clinic = Arc::new(Clinic::new(SEED, now));
    let source = Facts::new(Arc::clone(&clinic) as _);
    let mut request = read();
    let (mut permits, mut denies, mut wrong) = (0_u64, 0_u64, Vec::new());
    let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
    let (mut at, mut chart) = (usize::MAX, clinic.chart(""));
    for (patient, user) in pairs(&clinic) {
        if at != patient {
            (at, chart) = (patient, clinic.chart(&clinic.patients[patient]));
            let content = observation(&clinic.patients[patient], patient % 10 == 0);
            request.stored[0].content = Some(content.to_string().into_bytes());
        }
        let user = &clinic.users[user];
        (request.subject.kind, request.subject.user) = (user.kind, user.id.clone());
        let mut records = chart.records.clone();
        records.retain(|record| record.id != user.id);
        records.extend(clinic.of(RecordClass::User, &user.id));
        let opinion = judge(&request, &settings, &chart.relationships, &records);
        let found = decide(policy, &source, &request, &settings).unwrap();
        match opinion {
            Opinion::Permit { .. } => permits += 1,
            _ => denies += 1,
        }
        *reasons.entry(found.reason.clone()).or_default() += 1;
        if let Some(what) = found.differs(&opinion) {
            let known: Vec<_> = chart.relationships.iter().filter(|entry| entry.user == user.id).collect();
            wrong.push(format!(
                "{what}: {} and {}\n  wanted {opinion:?}\n  found  {found:?}\n  {known:?}\n  {records:?}",
                user.id, clinic.patients[patient]
            ));
        }
    }
    println!("{permits} permits, {denies} denies: {reasons:#?}");
    let told = wrong.iter().take(TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join("\n\n");
    assert!(wrong.is_empty(), "{} pairs are decided otherwise:\n\n{told}", wrong.len());
    assert!(permits >= 2_000 && denies >= 8_000, "{permits} permits, {denies} denies");
    let missing: Vec<&&str> = REASONS.iter().filter(|reason| !reasons.contains_key(**reason)).collect();
    assert!(missing.is_empty(), "nothing was denied with {missing:?}");
}

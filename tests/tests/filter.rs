//! What may leave: `access.filter` keeps exactly what `access.decide` would let be read.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::sync::Arc;

use chartgate::facts::Facts;
use chartgate_model::{DecisionRequest, FilterOutcome, Interaction, Item, ItemMode};
use chartgate_tests::host::Guest;
use chartgate_tests::oracle::case::{self, Case};
use chartgate_tests::oracle::generate::{Dice, case as next_case};
use chartgate_tests::vectors::{Ordinary, load};
use chartgate_tests::workspace_root;
use serde_json::{Value, json};

const SEED: u64 = 20_261_127;
/// Generated reads that are asked twice.
const READS: usize = 4_000;

/// The content a read is about, where it is at hand.
fn content(request: &DecisionRequest) -> Option<&[u8]> {
    let asked = &request.request;
    let key = format!("{}/{}", asked.resource_type, asked.id.as_deref()?);
    let stored = request.stored.iter().find(|stored| stored.key == key)?;
    stored.content.as_deref().filter(|_| asked.interaction == Interaction::Read)
}

fn kept(outcome: &FilterOutcome) -> bool {
    match outcome {
        FilterOutcome::Verdicts(verdicts) => verdicts[0].is_none(),
        FilterOutcome::Deny { .. } => false,
        FilterOutcome::Needs(_) => panic!("the loop ends with an answer"),
    }
}

/// The resource, and what else was at hand when it was decided about.
fn with_what_came_along<'r>(request: &'r DecisionRequest, content: &'r [u8]) -> Vec<Item<'r>> {
    let others = request.stored.iter().filter_map(|stored| stored.content.as_deref());
    let others = others.filter(|other| *other != content);
    [content].into_iter().chain(others).map(|content| Item { mode: ItemMode::Include, content }).collect()
}

/// Every vector that reads what is at hand, as one resource of an answer.
#[test]
fn what_a_vector_lets_be_read_is_kept_and_nothing_else() {
    let (policy, mut reads, mut keeps, mut wrong) = (Guest::Rules.policy(), 0, 0, Vec::new());
    for (_, vector) in load(&workspace_root().join("tests/vectors")) {
        // Facts that are given as they are leave no room for asking.
        let Some(request) = vector.request().ok().filter(|_| vector.facts.is_none() && vector.omit.is_empty()) else {
            continue;
        };
        let Some(content) = content(&request) else { continue };
        let settings: Value = serde_json::from_slice(vector.settings()).unwrap_or_default();
        if !settings.is_object() {
            continue;
        }
        let source = Facts::new(Arc::new(Ordinary::beside(&request, vector.strangers)));
        let items = with_what_came_along(&request, content);
        let found = case::filter(policy, &source, &request, &settings, &items).unwrap();
        (reads, keeps) = (reads + 1, keeps + usize::from(kept(&found)));
        if kept(&found) != vector.expect.permit.is_some() {
            wrong.push(format!("{}: wanted {:?}, found {found:?}", vector.id, vector.expect.code()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(reads > 300 && keeps > 100, "{reads} reads, {keeps} kept: too few to show anything");
}

/// Generated reads: decided, and judged as one resource of an answer.
#[test]
fn a_generated_read_is_kept_exactly_when_it_is_permitted() {
    let (policy, mut dice, mut reads, mut keeps) = (Guest::Rules.policy(), Dice::new(SEED), 0, 0);
    while reads < READS {
        let case: Case = next_case(&mut dice);
        let Ok(read) = case.read() else { continue };
        let Some(content) = content(&read.request) else { continue };
        let decided = case.through(policy, &read).unwrap();
        let items = with_what_came_along(&read.request, content);
        let found = case.filtered(policy, &read, &items).unwrap();
        assert_eq!(kept(&found), decided.permitted, "{found:?} {}", serde_json::to_string(&case).unwrap());
        (reads, keeps) = (reads + 1, keeps + usize::from(kept(&found)));
    }
    assert!(keeps > READS / 20, "{keeps} of {reads} kept");
}

/// A clinician who treats these patients, by what a directory knows, and has searched.
fn clinician(scope: &str, patients: std::ops::Range<u32>) -> Case {
    let treats = |patient: u32| {
        json!({
            "user": "Practitioner/17", "patient": patient.to_string(), "kind": "treatment", "level": "full",
            "status": "active", "via": "ordinary", "source": "directory", "start": null, "end": null,
        })
    };
    serde_json::from_value(json!({
        "settings": { "require_patient_records": false, "require_provider_records": false },
        "fhir_version": "4.0.1", "now": "2026-11-24T10:00:00Z", "records": [],
        "directory": patients.map(treats).collect::<Vec<_>>(),
        "ask": {
            "request": { "method": "GET", "url": "/Observation?category=laboratory" },
            "subject": { "user": "Practitioner/17", "client": "app", "scope": scope },
        },
    }))
    .unwrap()
}

fn verdicts(case: &Case, items: &[(ItemMode, String)]) -> Vec<Option<String>> {
    let items: Vec<Item<'_>> =
        items.iter().map(|(mode, content)| Item { mode: *mode, content: content.as_bytes() }).collect();
    match case.filtered(Guest::Rules.policy(), &case.read().unwrap(), &items).unwrap() {
        FilterOutcome::Verdicts(verdicts) => verdicts,
        other => panic!("{other:?}"),
    }
}

fn of(kind: &str, id: u32, patient: u32) -> String {
    let reference = format!("Patient/{patient}");
    json!({ "resourceType": kind, "id": id.to_string(), "subject": { "reference": reference } }).to_string()
}

/// More patients than anybody asks about one by one: the user's whole list is asked for.
#[test]
fn rows_of_very_many_patients_are_judged_each_for_itself() {
    for treated in [1..2, 1..40, 1..200] {
        let case = clinician("user/Observation.rs", treated.clone());
        let rows: Vec<_> = (0..256).map(|at| (ItemMode::Match, of("Observation", at, at))).collect();
        for (at, hidden) in verdicts(&case, &rows).into_iter().enumerate() {
            let reached = treated.contains(&u32::try_from(at).unwrap());
            assert_eq!(hidden.is_none(), reached, "{treated:?} {at}: {hidden:?}");
        }
    }
}

/// SMART App Launch 2.2: what a search finds takes `s`, what comes along is read, by a scope of its own type.
#[test]
fn rows_are_searched_for_and_what_comes_along_is_read() {
    let items = [
        (ItemMode::Match, of("Observation", 1, 1)),
        (ItemMode::Include, of("Observation", 2, 1)),
        (ItemMode::Include, json!({ "resourceType": "Patient", "id": "1" }).to_string()),
        (ItemMode::Include, json!({ "resourceType": "Practitioner", "id": "1" }).to_string()),
        (ItemMode::Match, json!({ "resourceType": "AuditEvent", "id": "1" }).to_string()),
    ];
    for (scope, kept) in [
        ("user/Observation.s", [true, false, false, false, false]),
        ("user/Observation.r", [false, true, false, false, false]),
        ("user/Observation.rs user/Patient.r", [true, true, true, false, false]),
        ("user/Observation.s user/Practitioner.rs", [true, false, false, true, false]),
        ("user/*.rs", [true, true, true, true, false]),
        ("user/Observation.rs?category=laboratory", [false; 5]),
        ("openid fhirUser", [false; 5]),
    ] {
        let found = verdicts(&clinician(scope, 1..2), &items);
        assert_eq!(found.iter().map(Option::is_none).collect::<Vec<_>>(), kept, "{scope}: {found:?}");
    }
}

/// What nobody can be sure of is hidden, and nothing else with it.
#[test]
fn what_cannot_be_read_without_doubt_is_hidden() {
    let good = of("Observation", 1, 1);
    for bad in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"resourceType":"Observation"}"#,
        r#"{"resourceType":"Observation","id":"a b","subject":{"reference":"Patient/1"}}"#,
        r#"{"resourceType":"Observation","id":1,"subject":{"reference":"Patient/1"}}"#,
        r#"{"resourceType":"Observation","resourceType":"Patient","id":"1","subject":{"reference":"Patient/1"}}"#,
        r#"{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/1"},"subject":{"reference":"Patient/2"}}"#,
        r#"{"resourceType":"Nonsense","id":"1","subject":{"reference":"Patient/1"}}"#,
        r#"{"resourceType":"Observation","id":"1","meta":{"tag":[{"code":"SUBSETTED"}]},"subject":{"reference":"Patient/1"}}"#,
        r#"{"resourceType":"Observation","id":"1","subject":{"reference":"Patient/1"}"#,
    ] {
        let items = [(ItemMode::Match, bad.to_owned()), (ItemMode::Match, good.clone())];
        let found = verdicts(&clinician("user/*.rs", 1..2), &items);
        assert!(found[0].is_some() && found[1].is_none(), "{bad}: {found:?}");
    }
}

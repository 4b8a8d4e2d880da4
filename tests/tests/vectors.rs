//! Every vector natively, through the component of this checkout, and through each release the copies
//! frozen with it; and that the vectors together leave no rule and no reason untested.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use chartgate_policy::{Reason, Rule};
use chartgate_runtime::release::{COMPONENT_FILE, KEYS_FOLDER, Registry, TrustedKeys};
use chartgate_runtime::{Runtime, RuntimeLimits};
use chartgate_tests::host::Guest;
use chartgate_tests::vectors::{Expect, Vector, load, natively};
use chartgate_tests::workspace_root;
use serde_json::Value;

/// Vectors there have to be at the least.
const FLOOR: usize = 600;
/// Reasons that only grants end in, which `grants.rs` looks after.
const OF_GRANTS: [Reason; 4] =
    [Reason::Granted, Reason::PatientNotChosen, Reason::NothingGranted, Reason::NoPatientInReach];
/// Values in which twins may differ at the most.
const TWIN_CHANGES_MAX: usize = 3;

fn vectors() -> Vec<Vector> {
    load(&workspace_root().join("tests/vectors")).into_iter().map(|(_, vector)| vector).collect()
}

/// Expectations as they are compared: `status` is only looked at where the vector gives it.
fn wrong(vector: &Vector, found: &Expect) -> Option<String> {
    (*found != vector.expect).then(|| format!("{}\n   wanted {:?}\n   found  {found:?}", vector.id, vector.expect))
}

fn bad(member: String) -> Expect {
    Expect { bad: Some(member), ..Expect::default() }
}

fn native_outcome(vector: &Vector) -> Expect {
    match vector.request() {
        Err(member) => bad(member),
        Ok(request) => vector.outcome(&request, vector.run(&request, natively)),
    }
}

fn none(found: Vec<String>) {
    assert!(found.is_empty(), "{} wrong:\n{}", found.len(), found.join("\n"));
}

#[test]
fn every_vector_comes_out_as_it_says_natively() {
    let all = vectors();
    assert!(all.len() >= FLOOR, "{} vectors, {FLOOR} wanted", all.len());
    none(all.iter().filter_map(|vector| wrong(vector, &native_outcome(vector))).collect());
}

#[test]
fn the_component_answers_every_vector_as_the_native_rules_do_to_the_last_step_of_the_trace() {
    let policy = Guest::Rules.policy();
    let mut found = Vec::new();
    for vector in vectors() {
        let Ok(mut request) = vector.request() else { continue };
        found.extend(wrong(&vector, &vector.outcome(&request, vector.through(policy, &request))));
        request.explain = true;
        let (native, component) = (vector.run(&request, natively), vector.through(policy, &request));
        if native != component {
            found.push(format!("{}\n   native    {native:?}\n   component {component:?}", vector.id));
        }
    }
    none(found);
}

#[test]
fn each_release_answers_the_vectors_frozen_with_it() {
    let folder = workspace_root().join("policies").canonicalize().unwrap();
    let keys = TrustedKeys::from_dir(&folder.join(KEYS_FOLDER)).unwrap();
    let runtime = Runtime::new(RuntimeLimits { lanes: 1, deadline_ms: 60_000, ..RuntimeLimits::default() }).unwrap();
    let registry = Registry::open(runtime, &folder, keys).unwrap();
    assert!(registry.refused().is_empty(), "{:?}", registry.refused());
    let releases = registry.releases();
    assert!(!releases.is_empty());
    for release in releases {
        assert!(release.folder.join(COMPONENT_FILE).is_file());
        let frozen = load(&release.folder.join("vectors"));
        assert!(frozen.len() >= FLOOR, "{}: {} vectors", release.version, frozen.len());
        let mut found = Vec::new();
        for (_, vector) in &frozen {
            let outcome = match vector.request() {
                Err(member) => bad(member),
                Ok(request) => vector.outcome(&request, vector.through(&release.policy, &request)),
            };
            found.extend(wrong(vector, &outcome));
        }
        none(found);
    }
}

/// Sections of the attack catalogue, and how many lines each has.
const TAGS: [(&str, usize); 7] = [("T", 18), ("R", 20), ("S", 26), ("W", 25), ("O", 10), ("C", 12), ("D", 8)];
/// Lines that no request can tell, with the test that does.
const ELSEWHERE: [(&str, &str, &str); 3] = [
    ("D03", "http_filter.rs", include_str!("http_filter.rs")),
    ("D04", "hostile.rs", include_str!("hostile.rs")),
    ("T18", "tokens.rs", include_str!("tokens.rs")),
];

#[test]
fn every_line_of_the_attack_catalogue_has_its_rows() {
    let all = vectors();
    let tagged: BTreeSet<&str> = all.iter().filter_map(|vector| vector.tag.as_deref()).collect();
    let lines: BTreeSet<String> =
        TAGS.iter().flat_map(|(section, lines)| (1..=*lines).map(move |line| format!("{section}{line:02}"))).collect();
    let told =
        |tag: &str| ELSEWHERE.iter().any(|(known, _, text)| *known == tag && text.contains(&format!("// {tag}: ")));
    none(lines.iter().filter(|tag| !tagged.contains(tag.as_str()) && !told(tag)).cloned().collect());
    none(tagged.into_iter().filter(|tag| !lines.contains(*tag)).map(str::to_owned).collect());
}

#[test]
fn vectors_are_named_once_and_name_a_rule_and_a_source() {
    let mut names = BTreeSet::new();
    for vector in vectors() {
        assert!(vector.rule == "parser" || Rule::ALL.iter().any(|rule| rule.name() == vector.rule), "{}", vector.id);
        assert!(!vector.source.trim().is_empty(), "{} names no source", vector.id);
        assert!(!vector.id.is_empty() && names.insert(vector.id.clone()), "{} is there twice", vector.id);
    }
}

#[test]
fn without_any_one_rule_some_vector_fails() {
    let all = vectors();
    let right = |vector: &&Vector| wrong(vector, &native_outcome(vector)).is_none();
    // Only vectors that come out right with the rule can tell that it is missing.
    let sound: Vec<&Vector> = all.iter().filter(right).collect();
    let survives = |rule: &Rule| chartgate_policy::without(*rule, || sound.iter().all(right));
    let idle: Vec<String> = Rule::ALL.iter().filter(|rule| survives(rule)).map(|rule| rule.name().to_owned()).collect();
    none(idle);
}

/// Everything a vector is decided on, by path.
fn leaves(vector: &Vector) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let parsed = |raw: &str| serde_json::from_str::<Value>(raw).unwrap_or(Value::String(raw.into()));
    walk("ask", &parsed(vector.ask.get()), &mut found);
    walk("settings", &parsed(vector.settings.as_deref().map_or("{}", |raw| raw.get())), &mut found);
    found.insert("fhir_version".into(), vector.fhir_version.clone().unwrap_or_default());
    found.insert("now".into(), vector.now.clone().unwrap_or_default());
    found.insert("omit".into(), vector.omit.join(" "));
    for fact in vector.facts.iter().flatten() {
        found.insert(format!("facts {}", fact.key), fact.value.clone());
    }
    found
}

fn walk(path: &str, value: &Value, found: &mut BTreeMap<String, String>) {
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| walk(&format!("{path}.{name}"), value, found))
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| walk(&format!("{path}.{at}"), value, found))
        }
        leaf => drop(found.insert(path.into(), leaf.to_string())),
    }
}

#[test]
fn twins_differ_in_next_to_nothing_and_come_out_otherwise() {
    let all = vectors();
    let mut found = Vec::new();
    for vector in &all {
        let Some(twin) = &vector.twin else { continue };
        let Some(twin) = all.iter().find(|other| other.id == *twin) else {
            found.push(format!("{}: no vector `{twin}`", vector.id));
            continue;
        };
        let (one, other) = (leaves(vector), leaves(twin));
        let paths: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
        let changes = paths.into_iter().filter(|path| one.get(*path) != other.get(*path)).count();
        if changes > TWIN_CHANGES_MAX || changes == 0 {
            found.push(format!("{} and {} differ in {changes} values", vector.id, twin.id));
        }
        if vector.expect == twin.expect {
            found.push(format!("{} and {} come out alike", vector.id, twin.id));
        }
    }
    none(found);
}

#[test]
fn every_reason_has_a_vector_that_ends_in_it_and_a_twin_that_does_not() {
    let all = vectors();
    let mut found = Vec::new();
    for reason in Reason::ALL.iter().filter(|reason| !OF_GRANTS.contains(reason)) {
        let kind = if reason.basis().is_none() { "permit" } else { "deny" };
        let ends_so = |vector: &Vector| vector.expect.code() == (kind, reason.code());
        let beside = |one: &Vector, other: &Vector| {
            one.twin.as_deref() == Some(&*other.id) || other.twin.as_deref() == Some(&*one.id)
        };
        let both = all
            .iter()
            .filter(|vector| ends_so(vector))
            .any(|vector| all.iter().any(|other| !ends_so(other) && beside(vector, other)));
        if !both {
            let there = all.iter().any(ends_so);
            found.push(format!("{}: {}", reason.code(), if there { "no twin" } else { "no vector" }));
        }
    }
    none(found);
}

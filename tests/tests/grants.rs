//! Every vector about a grant natively, through the component of this checkout, and through each release the copies
//! frozen with it; and what holds for every grant, tried on their worlds and on those of the decisions.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::collections::BTreeSet;
use std::sync::OnceLock;

use chartgate_model::{
    DecisionRequest, Fact, FhirRequest, GrantDecision, GrantInput, GrantOutcome, GrantRequest, Interaction, Outcome,
    Relationship, Stored, SubjectKind, Terms,
};
use chartgate_policy::{Reason, Rule};
use chartgate_runtime::admission::GRANT_INTERFACE;
use chartgate_runtime::release::{KEYS_FOLDER, Registry, TrustedKeys};
use chartgate_runtime::{Runtime, RuntimeLimits};
use chartgate_tests::grants::{GrantVector, World, load, natively, template, through};
use chartgate_tests::host::Guest;
use chartgate_tests::vectors::{self, Vector};
use chartgate_tests::workspace_root;
use proptest::prelude::*;
use proptest::sample::Index;

/// Vectors there have to be at the least.
const FLOOR: usize = 150;
/// Reasons that only grants end in.
const REASONS: [Reason; 4] =
    [Reason::Granted, Reason::PatientNotChosen, Reason::NothingGranted, Reason::NoPatientInReach];

fn all() -> Vec<GrantVector> {
    load(&workspace_root().join("tests/vectors"))
}

fn none(found: Vec<String>) {
    assert!(found.is_empty(), "{} wrong:\n{}", found.len(), found.join("\n"));
}

fn wrong(vector: &GrantVector, decision: GrantDecision) -> Option<String> {
    let found = GrantVector::outcome(decision);
    (found != vector.expect).then(|| format!("{}\n   wanted {:?}\n   found  {found:?}", vector.id, vector.expect))
}

fn is_grant(decision: &GrantDecision) -> bool {
    matches!(decision.outcome, GrantOutcome::Grant { .. })
}

#[test]
fn every_grant_comes_out_as_it_says_natively() {
    let all = all();
    assert!(all.len() >= FLOOR, "{} vectors, {FLOOR} wanted", all.len());
    none(all.iter().filter_map(|vector| wrong(vector, vector.world().run(&vector.request(), natively))).collect());
}

#[test]
fn the_component_grants_as_the_native_rules_do_to_the_last_step_of_the_trace() {
    let policy = Guest::Rules.policy();
    assert!(policy.grants() && policy.interfaces.iter().any(|interface| interface == GRANT_INTERFACE));
    assert!(policy.description.fact_templates.contains(&template()));
    let mut found = Vec::new();
    for vector in all() {
        let (mut request, world) = (vector.request(), vector.world());
        found.extend(wrong(&vector, world.run(&request, through(policy))));
        request.explain = true;
        let (native, component) = (world.run(&request, natively), world.run(&request, through(policy)));
        if native != component {
            found.push(format!("{}\n   native    {native:?}\n   component {component:?}", vector.id));
        }
    }
    none(found);
}

/// What a release usually gives a call, `chartgate policy build --fuel`.
const FUEL: u64 = 50_000_000;

#[test]
fn every_grant_costs_a_part_of_what_a_release_may_use() {
    let policy = Guest::Rules.policy();
    let longest: Vec<String> = (0..900).map(|at| format!("patient/Observation.rs?category={at}")).collect();
    for vector in all() {
        let (request, world) = (vector.request(), vector.world());
        let mut fuel = 0;
        let mut judge = |input: &GrantInput<'_>| {
            let called = policy.grant(input).unwrap();
            fuel = fuel.max(called.fuel_used);
            called.decision
        };
        world.run(&request, &mut judge);
        if vector.id == "grant-v2" {
            world.run(&GrantRequest { scope: longest.join(" "), ..request }, &mut judge);
        }
        assert!(fuel * 2 < FUEL, "{}: {fuel}", vector.id);
    }
}

#[test]
fn each_release_answers_the_grants_frozen_with_it() {
    let folder = workspace_root().join("policies").canonicalize().unwrap();
    let keys = TrustedKeys::from_dir(&folder.join(KEYS_FOLDER)).unwrap();
    let runtime = Runtime::new(RuntimeLimits { lanes: 1, deadline_ms: 60_000, ..RuntimeLimits::default() }).unwrap();
    let registry = Registry::open(runtime, &folder, keys).unwrap();
    assert!(registry.refused().is_empty(), "{:?}", registry.refused());
    for release in registry.releases() {
        let frozen = load(&release.folder.join("vectors"));
        let run = |vector: &GrantVector| vector.world().run(&vector.request(), through(&release.policy));
        none(frozen.iter().filter_map(|vector| wrong(vector, run(vector))).collect());
    }
}

#[test]
fn grants_are_named_once_and_name_a_rule_a_source_and_a_twin_that_comes_out_otherwise() {
    let all = all();
    let mut names = BTreeSet::new();
    for vector in &all {
        assert!(Rule::ALL.iter().any(|rule| rule.name() == vector.rule), "{}", vector.id);
        assert!(!vector.source.trim().is_empty(), "{} names no source", vector.id);
        assert!(!vector.id.is_empty() && names.insert(&vector.id), "{} is there twice", vector.id);
        let Some(twin) = &vector.twin else { continue };
        let twin = all.iter().find(|other| other.id == *twin).unwrap();
        assert_ne!(vector.expect, twin.expect, "{} and {} come out alike", vector.id, twin.id);
    }
}

#[test]
fn each_reason_of_grants_has_a_vector_that_ends_in_it_and_a_twin_that_does_not() {
    let all = all();
    let ends_so = |vector: &&GrantVector, reason: Reason| vector.expect.reason() == Some(reason.code());
    let are_twins = |one: &GrantVector, other: &GrantVector| {
        one.twin.as_deref() == Some(&*other.id) || other.twin.as_deref() == Some(&*one.id)
    };
    for reason in REASONS {
        let mut ending = all.iter().filter(|vector| ends_so(vector, reason));
        let both = ending.any(|one| all.iter().any(|other| !ends_so(&other, reason) && are_twins(one, other)));
        assert!(both, "{}", reason.code());
    }
}

/// A world, and who may ask in it.
struct Seed {
    name: String,
    world: World,
    request: GrantRequest,
}

/// The worlds of the vectors about grants.
fn granted_worlds() -> Vec<Seed> {
    let seed = |vector: GrantVector| Seed { world: vector.world(), request: vector.request(), name: vector.id };
    all().into_iter().map(seed).collect()
}

/// The worlds of the vectors about decisions, with a user and a client.
fn decided_worlds() -> Vec<Seed> {
    let all = vectors::load(&workspace_root().join("tests/vectors")).into_iter();
    all.filter_map(|(_, vector)| decided_world(&vector)).collect()
}

fn decided_world(vector: &Vector) -> Option<Seed> {
    let known = vector.request().ok()?;
    let subject = &known.subject;
    let named = !subject.client.is_empty() && subject.kind != SubjectKind::System;
    let request = GrantRequest {
        tenant: known.tenant.clone(),
        base: known.base.clone(),
        kind: subject.kind,
        user: subject.user.clone(),
        client: if named { subject.client.clone() } else { "app".into() },
        scope: "patient/*.rs".into(),
        patient: None,
        explain: false,
        now: known.now,
    };
    let fact = |raw: &vectors::RawFact| Fact { key: raw.key.clone(), value: raw.value.clone().into_bytes() };
    let given = vector.facts.as_ref().map(|facts| (facts.iter().map(fact).collect(), true));
    let (settings, strangers) = (vector.settings().to_vec(), vector.strangers);
    (subject.kind != SubjectKind::System).then(|| Seed {
        name: vector.id.clone(),
        world: World { known, strangers, given, settings },
        request,
    })
}

/// Patients a world speaks of.
fn patients(seed: &Seed) -> BTreeSet<String> {
    let known = &seed.world.known;
    let of_user = seed.request.user.strip_prefix("Patient/").map(str::to_owned);
    let related = known.relationships.iter().map(|entry| entry.patient.clone());
    let recorded = known.records.iter().filter(|record| record.class == chartgate_model::RecordClass::Patient);
    let launch = known.subject.patient.clone().into_iter().chain(seed.request.patient.clone());
    related.chain(recorded.map(|record| record.id.clone())).chain(launch).chain(of_user).chain(["1".into()]).collect()
}

/// Whether the same user may read a patient's own record by the launch context.
fn reads(seed: &Seed, patient: &str) -> Outcome {
    let mut request: DecisionRequest = seed.world.known.clone();
    request.request = FhirRequest::new(Interaction::Read, "Patient", Some(patient));
    request.subject.kind = seed.request.kind;
    request.subject.user.clone_from(&seed.request.user);
    request.subject.client.clone_from(&seed.request.client);
    request.subject.scope = "patient/Patient.r".into();
    request.subject.patient = Some(patient.to_owned());
    request.obligations =
        ["search-narrowing", "response-filter", "if-match", "return-minimal"].map(str::to_owned).into();
    let content = format!(r#"{{"resourceType":"Patient","id":"{patient}"}}"#).into_bytes();
    request.stored = vec![Stored { key: format!("Patient/{patient}"), content: Some(content) }];
    let vector = Vector {
        id: seed.name.clone(),
        tag: None,
        rule: String::new(),
        source: String::new(),
        why: None,
        twin: None,
        settings: Some(
            serde_json::value::RawValue::from_string(String::from_utf8(seed.world.settings.clone()).unwrap()).unwrap(),
        ),
        fhir_version: None,
        now: None,
        strangers: seed.world.strangers,
        facts: seed.world.given.as_ref().map(|(facts, _)| facts.iter().map(raw).collect()),
        ask: serde_json::value::RawValue::from_string("{}".into()).unwrap(),
        omit: Vec::new(),
        expect: vectors::Expect::default(),
    };
    vector.run(&request, vectors::natively).decision.outcome
}

fn raw(fact: &Fact) -> vectors::RawFact {
    vectors::RawFact { key: fact.key.clone(), value: String::from_utf8(fact.value.clone()).unwrap() }
}

#[test]
fn a_patient_is_in_context_exactly_where_the_user_could_read_their_record() {
    let (mut found, mut granted, mut denied) = (Vec::new(), 0, 0);
    // A client without a user or an id may ask, and is granted nothing.
    let may_be_granted = |seed: &Seed| {
        let GrantRequest { kind, client, .. } = &seed.request;
        *kind != SubjectKind::System && !client.is_empty() && !client.contains(' ')
    };
    for seed in decided_worlds().into_iter().chain(granted_worlds()).filter(may_be_granted) {
        for patient in patients(&seed) {
            let mut request = seed.request.clone();
            request.scope = "patient/*.rs launch/patient".into();
            request.patient = Some(patient.clone());
            let grant = seed.world.run(&request, natively).outcome;
            let sound = match (&grant, reads(&seed, &patient)) {
                (GrantOutcome::Grant { patient: in_context, expires, .. }, Outcome::Permit { expires: end, .. }) => {
                    granted += 1;
                    in_context.as_ref() == Some(&patient) && *expires == end
                }
                (GrantOutcome::Deny { reason }, Outcome::Deny { reason: of_read, .. }) => {
                    denied += 1;
                    *reason == of_read
                }
                // Only a request whose facts are still open asks for more.
                (GrantOutcome::Needs(_), _) => seed.world.given.as_ref().is_some_and(|(_, facts_final)| !facts_final),
                _ => false,
            };
            if !sound {
                found.push(format!("{} Patient/{patient}: {grant:?}, {:?}", seed.name, reads(&seed, &patient)));
            }
        }
    }
    assert!(granted > 300 && denied > 100, "{granted} granted, {denied} denied");
    none(found);
}

#[test]
fn whoever_may_be_chosen_is_granted_and_whoever_would_be_granted_may_be_chosen() {
    let (mut found, mut chosen) = (Vec::new(), 0);
    for seed in decided_worlds() {
        // With facts handed over as they are, those of a choice are not among them.
        if seed.world.given.is_some() {
            continue;
        }
        let named = |patient: &str| {
            let request = GrantRequest { patient: Some(patient.to_owned()), ..seed.request.clone() };
            is_grant(&seed.world.run(&request, natively))
        };
        match seed.world.run(&seed.request, natively).outcome {
            GrantOutcome::Choose { patients, more: false } => {
                chosen += 1;
                let sorted = patients.windows(2).all(|pair| pair[0] < pair[1]);
                if !sorted || !patients.iter().all(|patient| named(patient)) {
                    found.push(format!("{}: {patients:?}", seed.name));
                }
            }
            GrantOutcome::Choose { more: true, .. } => {}
            GrantOutcome::Deny { reason } => {
                let somebody = patients(&seed).into_iter().find(|patient| named(patient));
                found.extend(somebody.map(|patient| format!("{}: {reason}, and yet {patient}", seed.name)));
            }
            other => found.push(format!("{}: {other:?}", seed.name)),
        }
    }
    assert!(chosen > 100, "{chosen} choices");
    none(found);
}

#[test]
fn break_glass_never_helps() {
    let mut found = Vec::new();
    for seed in granted_worlds() {
        let before = seed.world.run(&seed.request, natively).outcome;
        for (word, via) in [("break-glass", "break-glass"), ("BTG", "btg"), ("__btg", "emergency")] {
            let mut world = seed.own_world();
            let entries = ["1", "2"].into_iter().flat_map(|patient| {
                ["guardian", "treatment", "emergency"].map(|kind| glass(&seed.request.user, patient, kind, via))
            });
            world.known.relationships.extend(entries.filter(|entry| !entry.user.is_empty()));
            let scope = format!("{} {word} user/*.{word} launch/{word}", seed.request.scope);
            let after = world.run(&GrantRequest { scope, ..seed.request.clone() }, natively).outcome;
            let helped = match (&before, &after) {
                (GrantOutcome::Choose { patients: before, .. }, GrantOutcome::Choose { patients: after, .. }) => {
                    before != after
                }
                (GrantOutcome::Grant { patient: before, .. }, GrantOutcome::Grant { patient: after, .. }) => {
                    before != after
                }
                (_, GrantOutcome::Grant { .. } | GrantOutcome::Choose { .. }) => true,
                _ => false,
            };
            if helped {
                found.push(format!("{} by {word}: {before:?}, {after:?}", seed.name));
            }
        }
    }
    none(found);
}

impl Seed {
    fn own_world(&self) -> World {
        let World { known, strangers, given, settings } = &self.world;
        World { known: known.clone(), strangers: *strangers, given: given.clone(), settings: settings.clone() }
    }
}

fn glass(user: &str, patient: &str, kind: &str, via: &str) -> Relationship {
    Relationship {
        user: user.to_owned(),
        patient: patient.to_owned(),
        kind: kind.to_owned(),
        level: "full".into(),
        status: "active".into(),
        via: via.to_owned(),
        source: "caller".into(),
        start: None,
        end: None,
        terms: Terms::default(),
    }
}

#[test]
fn nobody_and_nothing_are_never_granted() {
    for seed in granted_worlds() {
        for request in [
            GrantRequest { user: String::new(), ..seed.request.clone() },
            GrantRequest { client: String::new(), ..seed.request.clone() },
            GrantRequest { scope: String::new(), ..seed.request.clone() },
            GrantRequest { scope: "system/*.cruds offline_access __x fhirUser".into(), ..seed.request.clone() },
            GrantRequest { kind: SubjectKind::System, ..seed.request.clone() },
            GrantRequest { kind: SubjectKind::System, user: String::new(), ..seed.request.clone() },
        ] {
            let outcome = seed.world.run(&request, natively).outcome;
            assert!(matches!(outcome, GrantOutcome::Deny { .. }), "{}: {outcome:?}", seed.name);
        }
    }
}

#[test]
fn a_system_scope_changes_nothing() {
    for seed in granted_worlds() {
        let before = seed.world.run(&seed.request, natively).outcome;
        for scope in
            [format!("system/*.cruds {}", seed.request.scope), format!("{} system/Patient.read", seed.request.scope)]
        {
            let after = seed.world.run(&GrantRequest { scope, ..seed.request.clone() }, natively).outcome;
            assert_eq!(before, after, "{}", seed.name);
        }
    }
}

/// Tokens, good and bad.
fn token() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "openid",
        "fhirUser",
        "profile",
        "launch",
        "launch/patient",
        "launch/encounter",
        "offline_access",
        "__x",
        "patient/*.rs",
        "patient/Observation.rs?category=a|b",
        "user/Patient.read",
        "system/*.*",
        "patient/Patient.sr",
        "",
    ]);
    let made = (
        "(patient|user|system|xyz)",
        "(\\*|Patient|Observation|Organization|Nonsense)",
        "(read|write|\\*|[cruds]{0,5})",
        "(\\?[a-z]{1,8}=[a-z|,:]{0,8})?",
    )
        .prop_map(|(context, kind, letters, filter)| format!("{context}/{kind}.{letters}{filter}"));
    prop_oneof![3 => known.prop_map(str::to_owned), 2 => made, 1 => "[ -~]{0,20}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// What is granted is asked for, word by word and in its order, and asking for just that is granted alike.
    #[test]
    fn what_is_granted_was_asked_for(pick in any::<Index>(), tokens in prop::collection::vec(token(), 0..10)) {
        static SEEDS: OnceLock<Vec<(GrantRequest, World)>> = OnceLock::new();
        let seeds = SEEDS.get_or_init(|| all().iter().map(|vector| (vector.request(), vector.world())).collect());
        let (seed, world) = pick.get(seeds);
        let request = GrantRequest { scope: tokens.join(" "), ..seed.clone() };
        let decision = world.run(&request, natively);
        if let GrantOutcome::Grant { scope, patient, .. } = &decision.outcome {
            let mut asked = request.scope.split(' ');
            prop_assert!(scope.split(' ').all(|token| !token.is_empty() && asked.any(|known| known == token)));
            let once: BTreeSet<&str> = scope.split(' ').collect();
            prop_assert_eq!(once.len(), scope.split(' ').count());
            prop_assert!(patient.is_none() || *patient == request.patient);
            let of_patient = |token: &str| token.starts_with("patient/") || token.starts_with("launch/");
            prop_assert!(patient.is_some() || !scope.split(' ').any(of_patient));
            let again = GrantRequest { scope: scope.clone(), ..request.clone() };
            prop_assert_eq!(&world.run(&again, natively).outcome, &decision.outcome);
        }
    }
}

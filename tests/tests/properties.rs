//! What holds for every request, tried on the vectors and on random changes of them, through the
//! component.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::sync::OnceLock;

use chartgate_model::{Decision, DecisionRequest, Outcome, PolicyInput, Relationship, Terms};
use chartgate_tests::host::Guest;
use chartgate_tests::vectors::{Vector, load};
use chartgate_tests::workspace_root;
use proptest::prelude::*;
use proptest::sample::Index;

/// A vector whose request can be read.
struct Seed {
    vector: Vector,
    request: DecisionRequest,
}

fn seeds() -> &'static [Seed] {
    static SEEDS: OnceLock<Vec<Seed>> = OnceLock::new();
    SEEDS.get_or_init(|| {
        let all = load(&workspace_root().join("tests/vectors")).into_iter();
        all.filter_map(|(_, vector)| Some(Seed { request: vector.request().ok()?, vector })).collect()
    })
}

fn decide(seed: &Seed, request: &DecisionRequest) -> Decision {
    seed.vector.through(Guest::Rules.policy(), request).decision
}

fn permits(decision: &Decision) -> bool {
    matches!(decision.outcome, Outcome::Permit { .. })
}

/// Denied for a reason that less access could not cure.
///
/// What cannot be said in one request (two unlike filters, too many patients) is denied although it
/// would be allowed, and with fewer rights there is less to say.
fn truly_denied(decision: &Decision) -> bool {
    const INEXPRESSIBLE: [&str; 3] = ["obligation-not-supported", "search-not-narrowable", "too-many-patients"];
    matches!(&decision.outcome, Outcome::Deny { reason, .. } if !INEXPRESSIBLE.contains(&reason.as_str()))
}

/// A vector and its decision, for what may not become a permit.
fn denied() -> Vec<&'static Seed> {
    let denied: Vec<&Seed> = seeds().iter().filter(|seed| truly_denied(&decide(seed, &seed.request))).collect();
    assert!(denied.len() > 200, "{} denied vectors", denied.len());
    denied
}

fn without<T: Clone>(list: &[T], at: usize) -> Vec<T> {
    list.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, item)| item.clone()).collect()
}

fn none(found: Vec<String>) {
    assert!(found.is_empty(), "{} wrong:\n{}", found.len(), found.join("\n"));
}

#[test]
fn a_scope_less_never_turns_a_deny_into_a_permit() {
    let mut found = Vec::new();
    for seed in denied() {
        let tokens: Vec<&str> = seed.request.subject.scope.split(' ').collect();
        for at in 0..tokens.len() {
            let mut request = seed.request.clone();
            request.subject.scope = without(&tokens, at).join(" ");
            if permits(&decide(seed, &request)) {
                found.push(format!("{} without `{}`", seed.vector.id, tokens[at]));
            }
        }
    }
    none(found);
}

#[test]
fn a_relationship_less_never_turns_a_deny_into_a_permit() {
    let mut found = Vec::new();
    for seed in denied() {
        // A level below `full`, or terms, restrict what another relationship confers.
        let confers = |entry: &Relationship| {
            let whole = entry.level == "full" && entry.terms == Terms::default();
            entry.status == "active" && whole && !entry.is_break_glass()
        };
        for (at, entry) in seed.request.relationships.iter().enumerate().filter(|(_, entry)| confers(entry)) {
            let mut request = seed.request.clone();
            request.relationships = without(&request.relationships, at);
            if permits(&decide(seed, &request)) {
                found.push(format!("{} without {} of {}", seed.vector.id, entry.kind, entry.patient));
            }
        }
    }
    none(found);
}

#[test]
fn a_break_glass_marker_never_turns_a_deny_into_a_permit() {
    let mut found = Vec::new();
    let patients = ["1", "2", "7"];
    for seed in denied() {
        for (word, via) in [("break-glass", "break-glass"), ("BTG", "btg"), ("ETREAT", "emergency")] {
            let mut request = seed.request.clone();
            request.subject.scope += &format!(" {word} user/{word}.rs");
            request.break_glass.push("request.headers.x-break-glass".into());
            let user = request.subject.user.clone();
            // A client without a user has no relationships to add.
            let patients = if user.is_empty() { &[][..] } else { &patients };
            request.relationships.extend(patients.iter().flat_map(|patient| {
                let kinds = ["treatment", "guardian", "caregiver"];
                kinds.map(|kind| entry(&user, patient, kind, via))
            }));
            if permits(&decide(seed, &request)) {
                found.push(format!("{} with {word}", seed.vector.id));
            }
        }
    }
    none(found);
}

fn entry(user: &str, patient: &str, kind: &str, via: &str) -> Relationship {
    let text = |text: &str| text.to_owned();
    Relationship {
        user: text(user),
        patient: text(patient),
        kind: text(kind),
        level: text("full"),
        status: text("active"),
        via: text(via),
        source: text("caller"),
        start: None,
        end: None,
        terms: Terms::default(),
    }
}

#[test]
fn an_equal_input_gives_equal_bytes_and_uses_equal_fuel() {
    for seed in seeds() {
        let settings = seed.vector.settings();
        let mut request = seed.request.clone();
        request.explain = true;
        let input =
            PolicyInput { decision: &request, stored: &request.stored, facts: &[], facts_final: true, settings };
        let (one, other) =
            (Guest::Rules.policy().decide(&input).unwrap(), Guest::Rules.policy().decide(&input).unwrap());
        assert_eq!(one, other, "{}", seed.vector.id);
    }
}

/// `.read` as `.rs` and so on; a token that is not of the first version stays as it is.
fn respelt(scope: &str, spellings: &[(&str, &str)]) -> String {
    let respell = |token: &str| {
        let found = spellings.iter().find_map(|(from, to)| Some(format!("{}{to}", token.strip_suffix(from)?)));
        found.unwrap_or_else(|| token.to_owned())
    };
    scope.split(' ').map(respell).collect::<Vec<_>>().join(" ")
}

#[test]
fn both_spellings_of_a_scope_decide_alike() {
    let to_second = [(".read", ".rs"), (".write", ".cud"), (".*", ".cruds")];
    let to_first = to_second.map(|(first, second)| (second, first));
    let mut changed = 0;
    for seed in seeds() {
        let before = decide(seed, &seed.request);
        for spellings in [&to_second, &to_first] {
            let mut request = seed.request.clone();
            request.explain = false;
            request.subject.scope = respelt(&request.subject.scope, spellings);
            changed += usize::from(request.subject.scope != seed.request.subject.scope);
            let after = decide(seed, &request);
            assert_eq!((&after.outcome, &after.text), (&before.outcome, &before.text), "{}", seed.vector.id);
        }
    }
    assert!(changed > 300, "{changed} scopes could be spelt otherwise");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// A patient without relationships reads a resource only if its main reference is a literal one to
    /// their own record.
    #[test]
    fn a_patient_reaches_only_what_names_them(pick in any::<Index>(), reference in reference()) {
        let compartments: Vec<&Seed> =
            seeds().iter().filter(|seed| seed.vector.id.starts_with("compartment-") && seed.vector.id.ends_with("-own")).collect();
        let seed = pick.get(&compartments);
        let mut request = seed.request.clone();
        request.relationships.clear();
        let content = String::from_utf8(request.stored[0].content.clone().unwrap()).unwrap();
        let quoted = serde_json::to_string(&reference).unwrap();
        prop_assert!(content.contains("\"Patient/1\""));
        request.stored[0].content = Some(content.replace("\"Patient/1\"", &quoted).into_bytes());
        let local = reference.strip_prefix("https://ehr.example/fhir/").unwrap_or(&reference);
        let rest = local.strip_prefix("Patient/1");
        let names_them = rest.is_some_and(|rest| rest.is_empty() || is_version(rest));
        prop_assert_eq!(permits(&decide(seed, &request)), names_them, "{}: {}", seed.vector.id, reference);
    }

    /// Whatever bytes stand where the resource should, nothing crashes and nobody else's record opens.
    #[test]
    fn any_content_is_judged_or_refused(pick in any::<Index>(), bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let seed = pick.get(seeds());
        let mut request = seed.request.clone();
        for stored in &mut request.stored {
            stored.content = Some(bytes.clone());
        }
        if !request.stored.is_empty() {
            decide(seed, &request);
        }
    }

    /// A scope string of any text never permits more than the empty one unless it holds a scope.
    #[test]
    fn noise_grants_nothing(noise in "[ -~]{0,80}") {
        let seed = &seeds().iter().find(|seed| seed.vector.id == "scope-good-00").unwrap();
        let mut request = seed.request.clone();
        request.subject.scope = noise.clone();
        let holds_one = ["patient/", "user/"].iter().any(|context| noise.contains(context));
        prop_assert!(holds_one || !permits(&decide(seed, &request)), "{}", noise);
    }
}

fn is_version(rest: &str) -> bool {
    let id = |text: &str| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
    };
    rest.strip_prefix("/_history/").is_some_and(id)
}

/// References near to the one that counts.
fn reference() -> impl Strategy<Value = String> {
    let base = prop_oneof![
        Just(String::new()),
        Just("https://ehr.example/fhir/".to_owned()),
        "https?://[a-z.]{1,12}/(fhir/)?",
        Just("#".to_owned()),
        Just("urn:uuid:".to_owned()),
        Just("/".to_owned()),
    ];
    let kind = prop_oneof![4 => Just("Patient".to_owned()), 1 => Just("Group".to_owned()), 1 => "[A-Za-z]{0,8}"];
    let id = prop_oneof![4 => Just("1".to_owned()), 1 => "[0-9A-Za-z.-]{0,4}", 1 => "[ -~]{0,6}"];
    let tail = prop_oneof![4 => Just(String::new()), 1 => "/_history/[0-9]{0,2}", 1 => "[/#?| ][a-z1]{0,3}"];
    (base, kind, id, tail).prop_map(|(base, kind, id, tail)| format!("{base}{kind}/{id}{tail}"))
}

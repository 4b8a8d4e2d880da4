use super::{OutputError, decision, wit};
use chartgate_model::Outcome;

fn answer(outcome: wit::Outcome) -> wit::Decision {
    wit::Decision { outcome, text: String::new(), trace: Vec::new() }
}

fn deny(reason: &str) -> wit::Decision {
    answer(wit::Outcome::Deny(wit::Denial { reason: reason.into(), basis: wit::DenialBasis::Content }))
}

fn permit(obligations: &[(&str, &str)]) -> wit::Decision {
    let obligation = |(id, parameters): &(&str, &str)| wit::Obligation {
        id: (*id).to_owned(),
        parameters: parameters.as_bytes().to_vec(),
    };
    let obligations = obligations.iter().map(obligation).collect();
    answer(wit::Outcome::Permit(wit::Permit { reason: "permit".into(), obligations, expires_at_ms: Some(7) }))
}

fn needs(keys: impl IntoIterator<Item = String>) -> wit::Decision {
    answer(wit::Outcome::Needs(keys.into_iter().collect()))
}

fn step(rule: &str, detail: String) -> wit::TraceStep {
    wit::TraceStep { rule: rule.into(), outcome: wit::TraceOutcome::Pass, detail }
}

fn fault(answer: wit::Decision) -> Option<OutputError> {
    decision(answer, false, true).err()
}

#[test]
fn a_reason_is_a_short_kebab_case_code() {
    for good in ["a", "relationship-treatment", "r4", &"a".repeat(64)] {
        assert_eq!(fault(deny(good)), None, "{good}");
    }
    for bad in ["", "A", "a b", "a_b", "a\n", "ä", &"a".repeat(65)] {
        assert_eq!(fault(deny(bad)), Some(OutputError::Reason), "{bad}");
    }
}

#[test]
fn obligations_have_an_id_once_and_an_object() {
    assert_eq!(fault(permit(&[("if-match", r#"{"version":"3"}"#), ("response-filter", "{}")])), None);
    assert_eq!(fault(permit(&[("If-Match", "{}")])), Some(OutputError::ObligationId));
    assert_eq!(fault(permit(&[("if-match", "{}"), ("if-match", "{}")])), Some(OutputError::ObligationTwice));
    for bad in ["", "[]", "null", "{", r#"{"a":1,"a":2}"#] {
        assert_eq!(fault(permit(&[("if-match", bad)])), Some(OutputError::ObligationParameters), "{bad}");
    }
    let ids: Vec<String> = (0..17).map(|n| format!("o{n}")).collect();
    let many: Vec<(&str, &str)> = ids.iter().map(|id| (id.as_str(), "{}")).collect();
    assert_eq!(fault(permit(&many[..16])), None);
    assert_eq!(fault(permit(&many)), Some(OutputError::Obligations));
}

#[test]
fn needs_are_bounded_and_never_come_after_the_facts_are_final() {
    let keys = |n: usize| needs((0..n).map(|n| format!("resource/Patient/{n}")));
    assert_eq!(fault(keys(0)), Some(OutputError::NeedsCount));
    assert_eq!(fault(keys(128)), None);
    assert_eq!(fault(keys(129)), Some(OutputError::NeedsCount));
    assert_eq!(fault(needs([String::new()])), Some(OutputError::NeedsKey));
    assert_eq!(fault(needs(["k".repeat(512)])), None);
    assert_eq!(fault(needs(["k".repeat(513)])), Some(OutputError::NeedsKey));
    assert_eq!(fault(needs(["a\nb".into()])), Some(OutputError::NeedsKey));
    assert_eq!(decision(keys(1), true, false), Err(OutputError::NeedsAfterFinal));
}

#[test]
fn a_key_needed_twice_is_asked_for_once() {
    let twice = decision(needs(["a".into(), "b".into(), "a".into()]), false, false).unwrap();
    assert_eq!(twice.outcome, Outcome::Needs(vec!["a".into(), "b".into()]));
}

#[test]
fn text_and_trace_are_bounded() {
    let text = |n: usize| wit::Decision { text: "x".repeat(n), ..deny("no") };
    assert_eq!(fault(text(1024)), None);
    assert_eq!(fault(text(1025)), Some(OutputError::Text));
    let steps = |n: usize| wit::Decision { trace: vec![step("scope", String::new()); n], ..deny("no") };
    assert_eq!(fault(steps(256)), None);
    assert_eq!(fault(steps(257)), Some(OutputError::Trace));
    let detail = |n: usize| wit::Decision { trace: vec![step("scope", "x".repeat(n))], ..deny("no") };
    assert_eq!(fault(detail(1024)), None);
    assert_eq!(fault(detail(1025)), Some(OutputError::Trace));
    let rule = wit::Decision { trace: vec![step("Scope!", String::new())], ..deny("no") };
    assert_eq!(fault(rule), Some(OutputError::Trace));
}

#[test]
fn a_trace_nobody_asked_for_is_dropped() {
    let with = || wit::Decision { trace: vec![step("scope", String::new())], ..deny("no") };
    assert_eq!(decision(with(), false, true).unwrap().trace.len(), 1);
    assert!(decision(with(), false, false).unwrap().trace.is_empty());
}

#[test]
fn a_permit_keeps_its_end_and_a_denial_its_basis() {
    let Outcome::Permit { expires, .. } = decision(permit(&[]), true, false).unwrap().outcome else { panic!() };
    assert_eq!(expires, Some(chartgate_model::Millis(7)));
    let Outcome::Deny { basis, .. } = decision(deny("no"), true, false).unwrap().outcome else { panic!() };
    assert_eq!(basis, chartgate_model::Basis::Content);
}

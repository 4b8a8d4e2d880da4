//! One call of a policy: what it may use, what it may answer, and that nothing stays behind.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use chartgate_model::{
    FilterOutcome, GrantInput, GrantRequest, Item, ItemMode, Outcome, PolicyInput, Stored, SubjectKind,
};
use chartgate_runtime::{CallError, OutputError, RuntimeLimits};
use common::{call, call_with, denied, fixture, limits, request, shared_fixture, stored};

#[test]
fn a_deny_and_a_permit_come_through() {
    assert_eq!(denied(call(shared_fixture(), "deny")), "fixture-deny");
    assert_eq!(denied(call(shared_fixture(), "")), "fixture-deny");
    let permit = call(shared_fixture(), "permit").unwrap().decision.outcome;
    let expected = Outcome::Permit { reason: "fixture-permit".into(), obligations: Vec::new(), expires: None };
    assert_eq!(permit, expected);
}

#[test]
fn every_misbehaviour_has_its_error_and_the_next_call_works() {
    let cases = [
        ("trap", CallError::Trap, "policy-trapped"),
        ("loop", CallError::FuelExhausted, "policy-fuel-exhausted"),
        ("hog", CallError::MemoryExceeded, "policy-memory-exceeded"),
        ("garbage", CallError::Output(OutputError::Reason), "policy-output-invalid"),
        ("garbage-obligation", CallError::Output(OutputError::ObligationParameters), "policy-output-invalid"),
        ("needs-many", CallError::Output(OutputError::Unreadable), "policy-output-invalid"),
        ("huge", CallError::Output(OutputError::Unreadable), "policy-output-invalid"),
    ];
    for (behave, expected, reason) in cases {
        let found = call(shared_fixture(), behave).unwrap_err();
        assert_eq!(found, expected, "{behave}");
        assert_eq!(found.reason(), reason, "{behave}");
        assert_eq!(denied(call(shared_fixture(), "deny")), "fixture-deny", "after {behave}");
    }
}

/// What leaves is bounded and checked as decisions are.
#[test]
fn the_verdicts_on_an_answer_are_one_for_each_resource() {
    let items = [ItemMode::Match, ItemMode::Include].map(|mode| Item { mode, content: b"{}" });
    let filtered = |behave: &str, facts_final: bool| {
        let settings = format!(r#"{{"behave":"{behave}"}}"#);
        let (decision, settings) = (&request(), settings.as_bytes());
        let input = PolicyInput { decision, stored: &[], facts: &[], facts_final, settings };
        shared_fixture().filter(&input, &items).map(|(outcome, _)| outcome)
    };
    assert_eq!(filtered("permit", true), Ok(FilterOutcome::Verdicts(vec![None, None])));
    assert!(matches!(filtered("deny", true), Ok(FilterOutcome::Deny { .. })));
    assert!(matches!(filtered("needs", false), Ok(FilterOutcome::Needs(_))));
    for (behave, error) in [
        ("garbage", CallError::Output(OutputError::Verdicts)),
        ("garbage-obligation", CallError::Output(OutputError::Reason)),
        ("needs", CallError::Output(OutputError::NeedsAfterFinal)),
        ("trap", CallError::Trap),
    ] {
        assert_eq!(filtered(behave, true), Err(error), "{behave}");
    }
}

#[test]
fn a_policy_without_the_interface_grants_nothing() {
    let known = request();
    let request = GrantRequest {
        tenant: known.tenant,
        base: known.base,
        kind: SubjectKind::Patient,
        user: "Patient/1".into(),
        client: "app".into(),
        scope: "openid".into(),
        patient: None,
        explain: false,
        now: known.now,
    };
    let input = GrantInput { request: &request, facts: &[], facts_final: true, settings: b"{}" };
    assert!(!shared_fixture().grants());
    let found = shared_fixture().grant(&input).unwrap_err();
    assert_eq!((found, found.reason(), found.is_replayable()), (CallError::NoGrants, "policy-grants-nothing", true));
}

#[test]
fn needs_are_an_answer_until_the_facts_are_final() {
    let asked = call_with(shared_fixture(), "needs", &[], false).unwrap().decision.outcome;
    assert_eq!(asked, Outcome::Needs(vec!["relationships/Practitioner/17".into()]));
    let insisted = call_with(shared_fixture(), "needs", &[], true);
    assert_eq!(insisted, Err(CallError::Output(OutputError::NeedsAfterFinal)));
}

#[test]
fn equal_calls_use_exactly_equal_fuel() {
    let first = call(shared_fixture(), "deny").unwrap().fuel_used;
    assert!(first > 0);
    for _ in 0..100 {
        assert_eq!(call(shared_fixture(), "deny").unwrap().fuel_used, first);
    }
    // Another runtime and other lanes count the same.
    let other = fixture(limits());
    let elsewhere = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| call(&other, "deny").unwrap().fuel_used)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(elsewhere, vec![first; 4]);
}

#[test]
fn the_fuel_a_call_uses_is_enough_and_one_unit_less_is_not() {
    let used = call(shared_fixture(), "deny").unwrap().fuel_used;
    // `describe`, which loading calls, uses less than a decision does.
    let exact = fixture(RuntimeLimits { fuel: used, ..limits() });
    assert_eq!(call(&exact, "deny").unwrap().fuel_used, used);
    let short = fixture(RuntimeLimits { fuel: used - 1, ..limits() });
    assert_eq!(call(&short, "deny"), Err(CallError::FuelExhausted));
}

#[test]
fn a_loop_with_fuel_to_spare_meets_the_deadline() {
    let policy = fixture(RuntimeLimits { fuel: u64::MAX / 4, deadline_ms: 20, ..limits() });
    assert_eq!(call(&policy, "loop"), Err(CallError::DeadlineExceeded));
    assert_eq!(denied(call(&policy, "deny")), "fixture-deny");
}

#[test]
fn a_resource_that_fits_the_memory_is_judged_and_a_larger_one_is_refused() {
    assert_eq!(denied(call_with(shared_fixture(), "deny", &stored(7 << 20), false)), "fixture-deny");
    let over = call_with(shared_fixture(), "deny", &stored(9 << 20), false);
    assert_eq!(over, Err(CallError::MemoryExceeded));
    assert_eq!(denied(call(shared_fixture(), "deny")), "fixture-deny");
}

#[test]
fn the_memory_of_one_call_is_clean_whatever_the_last_one_did() {
    for behave in ["peek", "peek-trap", "hog", "peek", "trap", "peek"] {
        let answer = call(shared_fixture(), behave);
        if behave == "peek" {
            assert_eq!(denied(answer), "fixture-clean");
        } else {
            assert!(answer.is_err(), "{behave}");
        }
    }
}

#[test]
fn memory_is_clean_under_several_threads_too() {
    let policy = fixture(limits());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..50 {
                    assert_eq!(call(&policy, "peek-trap"), Err(CallError::Trap));
                    assert_eq!(denied(call(&policy, "peek")), "fixture-clean");
                }
            });
        }
    });
}

#[test]
fn a_full_lane_is_busy_and_recovers() {
    let policy = fixture(RuntimeLimits { lanes: 1, fuel: u64::MAX / 4, deadline_ms: 500, ..limits() });
    // Every call spins to its deadline; more of them than the lane has slots cannot run at once.
    let start = std::sync::Barrier::new(24);
    let answers = std::thread::scope(|scope| {
        let one = || {
            start.wait();
            call(&policy, "loop").unwrap_err()
        };
        let threads: Vec<_> = (0..24).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert!(answers.contains(&CallError::Busy), "{answers:?}");
    assert!(answers.contains(&CallError::DeadlineExceeded), "{answers:?}");
    assert_eq!(denied(call(&policy, "deny")), "fixture-deny");
}

#[test]
fn an_absent_resource_and_an_empty_one_both_cross() {
    let stored = [
        Stored { key: "Observation/9".into(), content: None },
        Stored { key: "Observation/10".into(), content: Some(Vec::new()) },
    ];
    assert_eq!(denied(call_with(shared_fixture(), "deny", &stored, true)), "fixture-deny");
}

#[test]
fn a_policy_outlives_the_callers_hold_on_the_runtime() {
    let policy = fixture(RuntimeLimits { fuel: u64::MAX / 4, deadline_ms: 20, ..limits() });
    // The only other owner of the runtime is gone by now; deadlines still fire.
    assert_eq!(call(&policy, "loop"), Err(CallError::DeadlineExceeded));
}

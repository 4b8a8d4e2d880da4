//! A release that misbehaves: whatever it does is a recorded not-permit with a reason of its own, and
//! nobody else notices.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::sync::atomic::{AtomicBool, Ordering};

use chartgate_runtime::admission::admit;
use chartgate_runtime::release::invariants;
use chartgate_runtime::{PolicyLimits, Runtime, RuntimeLimits};
use chartgate_tests::host::requests::{observation, read, with};
use chartgate_tests::host::{Answer, Client, EHR, Guest, Host, World, chartgate, run};
use serde_json::{Value, json};

/// What a release does, the reason it is answered with, and how often it was called for one decision.
const MISBEHAVIOURS: [(&str, &str, u64); 8] = [
    ("trap", "policy-trapped", 1),
    ("loop", "policy-fuel-exhausted", 1),
    ("hog", "policy-memory-exceeded", 1),
    ("garbage", "policy-output-invalid", 1),
    ("garbage-obligation", "policy-output-invalid", 1),
    ("needs", "policy-output-invalid", 5),
    ("needs-many", "policy-output-invalid", 1),
    ("huge", "policy-output-invalid", 1),
];
/// Fuel ends a loop, and no deadline of a busy machine ends anything sooner.
const LIMITS: &str = "[limits]\nfuel = 50000000\ndeadline_ms = 60000\n";
const FAR: &str = "2999-01-01T00:00:00Z";

/// A world where the rules decide, with one more release for each of these behaviours.
fn world(behaviours: &[&str]) -> (World, Vec<String>) {
    let mut world = World::new();
    world.more = LIMITS.into();
    let release = |(n, behaviour): (usize, &&str)| {
        world.add(Guest::Fixture, &format!("0.1.{n}"), &json!({ "behave": behaviour }).to_string())
    };
    let digests = behaviours.iter().enumerate().map(release).collect();
    // Added last, so that it decides unless the rollout says otherwise.
    world.add(Guest::Rules, "0.1.0", "{}");
    (world, digests)
}

/// From now on this release decides about `clinic-2`, and the rules about everybody else.
fn let_loose(host: &Host, digest: &str) {
    let pins = json!([{ "caller": "ehr", "tenant": "clinic-2", "release": digest, "until": FAR }]);
    let answer = host.roll_out(&json!({ "active": "smart-access@0.1.0", "pins": pins }));
    assert_eq!(answer.status, 200, "{}", answer.text);
}

/// A question that goes to the release let loose.
fn provoking() -> Value {
    with(&read(), "/tenant", json!("clinic-2"))
}

fn is_undecided(answer: &Answer, reason: &str) {
    assert_eq!(answer.verdict(), ("indeterminate".into(), reason.into()));
    let json = answer.decided();
    assert_eq!((&json["obligations"], &json["needs"], json.get("expires_at")), (&json!([]), &json!([]), None));
    let denial = &json["denial"];
    assert_eq!((&denial["status"], &denial["headers"]["Retry-After"]), (&json!(503), &json!("1")));
    assert_eq!(denial["outcome"]["issue"][0]["code"], "transient");
}

/// The host lives, and a release that behaves decides as ever.
fn is_well(host: &Host) {
    assert_eq!(host.client().send("GET", host.operations, "/livez", &[], "").status, 200);
    assert_eq!(host.decide(&read()).verdict(), ("permit".into(), "relationship-treatment".into()));
    let other = with(&read(), "/stored/Observation~19", observation("124"));
    assert_eq!(host.decide(&other).verdict(), ("deny".into(), "no-relationship".into()));
}

// D04: a trap, no fuel, a malformed verdict: not-permit with a reason, and the host stays up.
#[test]
fn every_misbehaviour_is_a_recorded_not_permit_with_its_own_reason() {
    let (world, digests) = world(&MISBEHAVIOURS.map(|(behaviour, ..)| behaviour));
    let host = world.start();
    for ((behaviour, reason, rounds), digest) in MISBEHAVIOURS.into_iter().zip(digests) {
        let_loose(&host, &digest);
        let answer = host.decide(&provoking());
        is_undecided(&answer, reason);
        assert_eq!(answer.header("chartgate-policy"), digest, "{behaviour}");
        let record = world.record(&answer.decided()["id"]);
        let outcome = &record["outcome"];
        assert_eq!((&outcome["decision"], &outcome["reason"]), (&json!("indeterminate"), &json!(reason)));
        assert_eq!((&outcome["obligations"], &outcome["needs"]), (&json!([]), &json!([])), "{behaviour}");
        assert_eq!((&record["rounds"], &record["deterministic"]), (&json!(rounds), &json!(true)), "{behaviour}");
        assert_eq!((&record["release"]["digest"], &record["tenant"]), (&json!(digest), &json!("clinic-2")));
        is_well(&host);
    }
    assert!(host.stderr().iter().all(|line| !line.contains("panicked")), "{:?}", host.stderr());
}

#[test]
fn what_a_release_says_out_of_order_is_not_passed_on() {
    let (world, digests) = world(&["garbage", "garbage-obligation", "huge"]);
    let host = world.start();
    for (digest, said) in digests.iter().zip(["Not A", "{not json", "xxxxxxxx"]) {
        let_loose(&host, digest);
        let answer = host.decide(&provoking());
        is_undecided(&answer, "policy-output-invalid");
        assert!(!answer.text.contains(said), "{}", answer.text);
        assert!(!world.log_lines().concat().contains(said));
        assert!(!host.stderr().concat().contains(said));
    }
}

#[test]
fn a_permit_that_breaks_the_contract_is_none_in_a_simulation_either() {
    let (world, digests) = world(&["garbage-obligation"]);
    let host = world.start();
    let body = with(&with(&read(), "/simulate", json!(true)), "/policy", json!(digests[0]));
    let json = host.decide(&body).decided();
    assert_eq!((&json["would"], &json["reason"]["code"]), (&json!("indeterminate"), &json!("policy-output-invalid")));
    assert_eq!(world.record(&json["id"])["simulate"], true);
}

#[test]
fn a_release_that_misbehaves_can_be_active_and_be_rolled_back() {
    let (world, digests) = world(&["trap"]);
    let host = world.start();
    assert_eq!(host.roll_out(&json!({ "active": digests[0] })).status, 200);
    for _ in 0..20 {
        is_undecided(&host.decide(&read()), "policy-trapped");
    }
    assert_eq!(host.client().send("GET", host.operations, "/readyz", &[], "").status, 200);
    assert_eq!(host.roll_out(&json!({ "active": "smart-access@0.1.0" })).status, 200);
    is_well(&host);
    assert_eq!(world.log_lines().len(), 20 + 2 + 2, "20 failures, 2 decisions of the rules, 2 changes");
}

#[test]
fn good_decisions_go_on_beside_bad_ones() {
    let (world, digests) = world(&["trap", "hog", "loop", "huge"]);
    let host = world.start();
    for digest in digests {
        let_loose(&host, &digest);
        let stop = AtomicBool::new(false);
        let provoke = || {
            let (client, body, mut asked) = (Client::new(), provoking(), 0);
            // Once at the least, however late this thread gets to run.
            loop {
                assert_eq!(client.decide(host.public, EHR, &body).verdict().0, "indeterminate");
                asked += 1;
                if stop.load(Ordering::Relaxed) {
                    return asked;
                }
            }
        };
        let provoked: u64 = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(provoke)).collect();
            for _ in 0..10 {
                assert_eq!(host.decide(&read()).verdict().0, "permit");
            }
            stop.store(true, Ordering::Relaxed);
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert!(provoked > 0);
    }
    is_well(&host);
}

/// Memory slots are used again by the next instance, whichever release that is.
#[test]
fn no_byte_of_one_instance_reaches_the_next() {
    let (world, digests) = world(&["peek", "peek-trap", "hog", "huge", "trap"]);
    let host = world.start();
    let (peek, others) = digests.split_first().unwrap();
    let looks_clean = || {
        let_loose(&host, peek);
        // More often than there are slots in all lanes.
        for _ in 0..20 {
            assert_eq!(host.decide(&provoking()).verdict(), ("deny".into(), "fixture-clean".into()));
        }
    };
    looks_clean();
    for other in others {
        let_loose(&host, other);
        for _ in 0..20 {
            assert_eq!(host.decide(&provoking()).verdict().0, "indeterminate");
        }
        looks_clean();
    }
    // After the rules had a chart in their hands, and beside them.
    let chart = with(&read(), "/stored/Observation~19/note", json!([{ "text": "s3cret ".repeat(20_000) }]));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = Client::new();
            for _ in 0..20 {
                assert_eq!(client.decide(host.public, EHR, &chart).verdict().0, "permit");
            }
        });
        looks_clean();
    });
    looks_clean();
}

#[test]
fn the_rules_pass_the_trials_of_a_release_and_the_trials_mean_something() {
    let runtime = Runtime::new(RuntimeLimits { lanes: 1, deadline_ms: 60_000, ..RuntimeLimits::default() }).unwrap();
    let limits = PolicyLimits { fuel: runtime.limits().fuel, memory_bytes: runtime.limits().memory_bytes };
    let policy = admit(&runtime, Guest::Rules.component(), limits).unwrap();
    for settings in [
        "{}",
        r#"{"writes":true,"role_membership":true}"#,
        r#"{"system_clients":true}"#,
        r#"{"writes":true,"role_membership":true,"system_clients":true,"narrowing_patients_max":1}"#,
    ] {
        assert_eq!(invariants::check(&policy, settings.as_bytes()), Ok(()), "{settings}");
    }
    // Rules that deny everything would pass as well: these do not.
    let (permitted, all) = invariants::permitted(&policy, br#"{"writes":true}"#).unwrap();
    assert!(permitted * 10 >= all * 8, "{permitted} of {all}");
}

#[test]
fn verify_tells_how_much_a_release_permits() {
    let world = World::new();
    let verified = |version: &str, settings: &str| {
        world.add(Guest::Rules, version, settings);
        let release = world.policies().join("smart-access").join(version);
        let mut command = chartgate();
        command.args(["policy", "verify", "--json"]).arg(&release);
        for key in std::fs::read_dir(world.path("keys")).unwrap() {
            command.arg("--key").arg(key.unwrap().path());
        }
        let ended = run(&mut command, "");
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let json: Value = serde_json::from_str(&ended.stdout).unwrap();
        (json["samples"]["permitted"].as_u64().unwrap(), json["samples"]["of"].as_u64().unwrap())
    };
    let (reading, all) = verified("0.1.0", "{}");
    let (writing, _) = verified("0.2.0", r#"{"writes":true}"#);
    assert!(0 < reading && reading < writing && writing <= all, "{reading}, {writing}, {all}");
    // Misspelt: signed all the same, and good for nothing.
    assert_eq!(verified("0.3.0", r#"{"write":true}"#), (0, all));
}

//! `POST /v1/decide`, its way out: what an answer says, and what it must not say.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::sync::OnceLock;

use chartgate_model::Millis;
use chartgate_tests::host::requests::{
    observation, read, read_by_directory, read_own, relationship, search, with, without,
};
use chartgate_tests::host::{Answer, Guest, Host, World};
use serde_json::{Value, json};

const NOW: &str = "2026-11-24T10:00:00Z";
const PAST: &str = "2001-01-01T00:00:00Z";
const FAR: &str = "2999-01-01T00:00:00Z";

/// One host for all tests that leave the rollout alone. It may write, so that writes can be asked about.
fn host() -> &'static (World, Host) {
    static HOST: OnceLock<(World, Host)> = OnceLock::new();
    HOST.get_or_init(|| {
        let world = World::new();
        world.add(Guest::Rules, "0.1.0", r#"{"writes":true}"#);
        let host = world.start();
        (world, host)
    })
}

fn ask(body: &Value) -> Answer {
    host().1.decide(body)
}

fn denied(reason: &str) -> (String, String) {
    ("deny".into(), reason.into())
}

/// A what-if at [`NOW`].
fn simulated(body: &Value) -> Value {
    with(&with(body, "/simulate", json!(true)), "/at", json!(NOW))
}

fn relationship_with(member: &str, value: &str) -> Value {
    with(&read(), &format!("/facts/relationships/0/{member}"), json!(value))
}

/// Requests denied for what is in the content or for whom it is about.
fn hidden() -> Vec<Value> {
    vec![
        with(&read(), "/stored/Observation~19", json!(null)),
        with(&read(), "/stored/Observation~19", observation("124")),
        with(&read(), "/stored/Observation~19", json!({ "resourceType": "Observation", "id": "9" })),
        without(&read(), "/stored"),
        without(&read(), "/facts"),
        relationship_with("status", "revoked"),
        relationship_with("status", "suspended"),
        relationship_with("end", PAST),
        relationship_with("start", FAR),
        relationship_with("kind", "guardian"),
        relationship_with("level", "limited"),
        with(&read_own(), "/stored/Observation~19", observation("124")),
        with(&read_own(), "/stored/Observation~19", json!(null)),
    ]
}

#[test]
fn a_permit_says_by_which_release_and_until_when() {
    let answer = ask(&read());
    let json = answer.decided();
    assert_eq!(json["decision"], "permit");
    assert_eq!(json["denial"], Value::Null);
    assert_eq!((&json["needs"], &json["obligations"]), (&json!([]), &json!([])));
    assert_eq!(
        (json["policy"]["name"].as_str(), json["policy"]["version"].as_str()),
        (Some("smart-access"), Some("0.1.0"))
    );
    assert_eq!(json["facts"]["sources"], json!(["directory@0"]));
    assert!(json.get("would").is_none() && json.get("trace").is_none());
    let ends = Millis::parse(json["expires_at"].as_str().unwrap()).unwrap();
    let began = Millis::parse(json["facts"]["as_of"].as_str().unwrap()).unwrap();
    assert_eq!(ends.0 - began.0, 60_000);
}

#[test]
fn every_decision_names_its_release_in_the_header() {
    let release = ask(&read()).decided()["policy"]["digest"].as_str().unwrap().to_owned();
    let all = hidden().into_iter().chain([read(), search(), without(&search(), "/obligations"), simulated(&read())]);
    for body in all {
        let answer = ask(&body);
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("chartgate-policy"), release, "{body}");
    }
}

#[test]
fn what_is_hidden_and_what_is_absent_get_the_same_bytes() {
    let absent = ask(&with(&read(), "/stored/Observation~19", json!(null)));
    assert_eq!((absent.verdict(), absent.denial_status()), (denied("content-absent"), 404));
    let mut reasons = std::collections::BTreeSet::new();
    for body in hidden() {
        let answer = ask(&body);
        assert_eq!(answer.denial_bytes(), absent.denial_bytes(), "{body}");
        reasons.insert(answer.verdict().1);
    }
    assert!(reasons.len() > 8, "the table is about different reasons: {reasons:?}");
}

#[test]
fn a_denial_says_nothing_of_people_or_rules() {
    for body in hidden() {
        let answer = ask(&body);
        let (denial, (_, reason)) = (answer.denial_bytes(), answer.verdict());
        for secret in ["123", "124", "Practitioner", "Observation/", &reason] {
            assert!(!denial.contains(secret), "{secret} in {denial}");
        }
    }
}

#[test]
fn a_scope_that_refuses_is_told_before_content_is_looked_at() {
    let scoped = with(&read(), "/subject/scope", json!("user/Condition.rs"));
    let stored = [None, Some(json!(null)), Some(observation("123")), Some(observation("124"))];
    for content in stored {
        let body = match content {
            Some(content) => with(&scoped, "/stored/Observation~19", content),
            None => without(&scoped, "/stored"),
        };
        let answer = ask(&body);
        assert_eq!((answer.verdict(), answer.denial_status()), (denied("scope-insufficient"), 403));
        let json = answer.decided();
        assert_eq!(json["needs"], json!([]));
        assert_eq!(json["denial"]["headers"]["WWW-Authenticate"], "Bearer error=\"insufficient_scope\"");
    }
}

#[test]
fn a_caller_that_fetches_what_is_needed_and_asks_again_is_answered() {
    let bare = without(&read(), "/stored");
    let answer = ask(&bare);
    assert_eq!((answer.verdict(), answer.denial_status()), (denied("content-missing"), 404));
    let needs = answer.decided()["needs"].clone();
    assert_eq!(needs, json!(["Observation/9"]));
    let key = needs[0].as_str().unwrap();
    let again = with(&bare, "/stored", json!({ key: observation("123") }));
    assert_eq!(ask(&again).verdict().0, "permit");
    let version = with(&bare, "/request/url", json!("/Observation/9/_history/2"));
    assert_eq!(ask(&version).decided()["needs"], json!(["Observation/9/_history/2"]));
}

#[test]
fn a_permit_is_cached_until_the_first_of_three_ends() {
    let at = |pointers: &[(&str, &str)]| {
        let body = pointers.iter().fold(simulated(&read()), |body, (pointer, time)| with(&body, pointer, json!(time)));
        ask(&body).decided()
    };
    let ends = |pointers: &[(&str, &str)]| at(pointers)["expires_at"].as_str().unwrap().to_owned();
    let (token, relationship) = ("/subject/expires", "/facts/relationships/0/end");
    let table: [(&[(&str, &str)], &str); 6] = [
        (&[], "2026-11-24T10:01:00Z"),
        (&[(token, "2026-11-24T10:00:30Z")], "2026-11-24T10:00:30Z"),
        (&[(relationship, "2026-11-24T10:00:20Z")], "2026-11-24T10:00:20Z"),
        (&[(token, "2026-11-24T10:00:30Z"), (relationship, "2026-11-24T10:00:20Z")], "2026-11-24T10:00:20Z"),
        (&[(token, "2026-11-24T10:00:10Z"), (relationship, "2026-11-24T10:00:20Z")], "2026-11-24T10:00:10Z"),
        (&[(token, "2026-11-24T10:01:01Z"), (relationship, "2026-11-24T10:01:01Z")], "2026-11-24T10:01:00Z"),
    ];
    for (pointers, expected) in table {
        let (ends, expected) = (Millis::parse(&ends(pointers)).unwrap(), Millis::parse(expected).unwrap());
        assert_eq!(ends, expected, "{pointers:?}");
    }
    assert!(at(&[(relationship, NOW)]).get("expires_at").is_none(), "a deny is never cached");
}

#[test]
fn a_vouched_token_counts_until_just_before_its_end() {
    let at = |end: &str| ask(&with(&simulated(&read()), "/subject/expires", json!(end)));
    assert_eq!(at("2026-11-24T10:00:00.001Z").decided()["would"], "permit");
    let ended = at(NOW).decided();
    assert_eq!((ended["would"].as_str(), ended["reason"]["code"].as_str()), (Some("deny"), Some("token-expired")));
    assert_eq!(ended["denial"]["status"], 401);
    let (world, _) = host();
    assert_eq!(world.record(&ended["id"])["simulate"], true);
    let live = ask(&with(&read(), "/subject/expires", json!(PAST)));
    assert_eq!((live.verdict(), live.denial_status()), (denied("token-expired"), 401));
    assert_eq!(live.header("chartgate-policy"), ask(&read()).header("chartgate-policy"));
}

#[test]
fn a_get_search_is_narrowed() {
    let obligations = ask(&search()).decided()["obligations"].clone();
    let url = "/Observation?category=laboratory&patient=123";
    assert_eq!(obligations, json!([{ "id": "search-narrowing", "method": "GET", "url": url, "body": null }]));
    let two = json!([relationship("Practitioner/17", "123"), relationship("Practitioner/17", "124")]);
    let url = ask(&with(&search(), "/facts/relationships", two)).decided()["obligations"][0]["url"].clone();
    assert_eq!(url, "/Observation?category=laboratory&patient=123,124");
}

#[test]
fn a_search_by_form_is_narrowed_in_its_form() {
    let form = json!({
        "method": "POST", "url": "/Observation/_search", "body": "category=laboratory&code=a%7Cb",
        "headers": { "content-type": "application/x-www-form-urlencoded" },
    });
    let obligation = ask(&with(&search(), "/request", form)).decided()["obligations"][0].clone();
    assert_eq!(
        (obligation["method"].as_str(), obligation["url"].as_str()),
        (Some("POST"), Some("/Observation/_search"))
    );
    let body = obligation["body"].as_str().unwrap();
    assert!(body.split('&').any(|pair| pair == "patient=123"), "{body}");
    assert!(body.split('&').any(|pair| pair == "category=laboratory"), "{body}");
    assert!(body.split('&').any(|pair| pair == "code=a%7Cb" || pair == "code=a|b"), "{body}");
}

#[test]
fn a_narrowed_search_asked_again_needs_no_more_narrowing() {
    let url = ask(&search()).decided()["obligations"][0]["url"].clone();
    let again = without(&with(&search(), "/request/url", url), "/obligations");
    assert_eq!(ask(&again).verdict().0, "permit");
}

#[test]
fn an_obligation_the_caller_did_not_declare_is_a_deny() {
    for declared in [json!([]), json!(["response-filter-x"]), json!(["search-union", "if-match"])] {
        let answer = ask(&with(&search(), "/obligations", declared));
        assert_eq!((answer.verdict(), answer.denial_status()), (denied("obligation-not-supported"), 403));
        assert_eq!(answer.decided()["obligations"], json!([]));
    }
}

/// Update observation 9, stored in version 3, with the given body.
fn update(body: Value) -> Value {
    let request = json!({
        "method": "PUT", "url": "/Observation/9", "body": body,
        "headers": { "Content-Type": "application/fhir+json", "Prefer": "return=minimal" },
    });
    let stored = with(&with(&read(), "/request", request), "/subject/scope", json!("user/Observation.cruds"));
    let stored = with(&stored, "/stored/Observation~19/meta/versionId", json!("3"));
    with(&stored, "/obligations", json!(["if-match"]))
}

#[test]
fn content_as_a_value_and_as_text_is_decided_alike() {
    let strip = |answer: Answer| without(&without(&without(&answer.decided(), "/id"), "/facts"), "/expires_at");
    let value = ask(&update(observation("123")));
    assert_eq!(value.decided()["obligations"], json!([{ "id": "if-match", "version": "3" }]));
    let text = ask(&update(json!(observation("123").to_string())));
    assert_eq!(strip(value), strip(text));
    let stored = with(&read(), "/stored/Observation~19", json!(observation("123").to_string()));
    assert_eq!(strip(ask(&stored)), strip(ask(&read())));
    for body in [observation("124"), json!(observation("124").to_string())] {
        assert_eq!(ask(&update(body)).verdict().0, "deny");
    }
}

#[test]
fn a_write_that_was_judged_on_one_version_is_tied_to_it() {
    let undeclared = without(&update(observation("123")), "/obligations");
    assert_eq!(ask(&undeclared).verdict(), denied("obligation-not-supported"));
}

#[test]
fn break_glass_never_turns_a_deny_into_a_permit_and_is_on_record() {
    let (world, _) = host();
    let marked = "request.headers.x-purpose-of-use";
    let header = json!({ "X-Purpose-Of-Use": "http://terminology.hl7.org/CodeSystem/v3-ActReason|BTG" });
    let fact = json!([{ "user": "Practitioner/17", "patient": "123", "kind": "treatment", "via": "break-glass" }]);
    let fact_mark = "caller Practitioner/17/123/treatment via break-glass";
    let bare = read_by_directory();
    let table = [
        (with(&bare, "/request/headers", header.clone()), marked),
        (with(&bare, "/subject/scope", json!("user/Observation.rs break-glass")), "subject.scope"),
        (with(&bare, "/subject/scope", json!("user/*.cruds user/*.BTG")), "subject.scope"),
        (with(&bare, "/facts/relationships", fact.clone()), fact_mark),
        // Recorded also where the rules never ask for relationships.
        (with(&with(&bare, "/facts/relationships", fact), "/subject/scope", json!("openid")), fact_mark),
    ];
    for (body, mark) in table {
        let answer = ask(&body);
        assert_eq!(answer.verdict().0, "deny", "{body}");
        assert_eq!(world.record(&answer.decided()["id"])["break_glass"], json!([mark]));
    }
    assert_eq!(world.record(&ask(&bare).decided()["id"])["break_glass"], json!([]));
    // A marker takes nothing away either.
    assert_eq!(ask(&with(&read(), "/request/headers", header)).verdict().0, "permit");
}

#[test]
fn a_trace_comes_when_it_is_asked_for() {
    let trace = ask(&with(&read(), "/explain", json!(true))).decided()["trace"].clone();
    let rules: Vec<&str> = trace.as_array().unwrap().iter().map(|step| step["rule"].as_str().unwrap()).collect();
    for rule in ["scope", "compartment", "relationship"] {
        assert!(rules.contains(&rule), "{rules:?}");
    }
    let scope = trace.as_array().unwrap().iter().find(|step| step["rule"] == "scope").unwrap();
    assert_eq!((scope["outcome"].as_str(), scope["detail"].as_str()), (Some("pass"), Some("user/Observation.rs")));
    let denied = ask(&with(&with(&read(), "/explain", json!(true)), "/stored/Observation~19", observation("124")));
    let trace = denied.decided()["trace"].clone();
    assert!(trace.as_array().unwrap().iter().any(|step| step["outcome"] == "fail"), "{trace}");
    assert!(!denied.denial_bytes().contains("124"));
}

#[test]
fn a_simulation_says_would_and_decides_at_its_own_time() {
    let bounded = with(&relationship_with("start", NOW), "/facts/relationships/0/end", json!("2026-11-24T11:00:00Z"));
    let at = |time: &str| ask(&with(&simulated(&bounded), "/at", json!(time))).decided();
    let table = [
        ("2026-11-24T09:59:59.999Z", "deny", "relationship-not-started"),
        (NOW, "permit", "relationship-treatment"),
        ("2026-11-24T10:59:59.999Z", "permit", "relationship-treatment"),
        ("2026-11-24T11:00:00Z", "deny", "relationship-ended"),
    ];
    for (time, would, reason) in table {
        let json = at(time);
        assert_eq!((json["would"].as_str(), json["reason"]["code"].as_str()), (Some(would), Some(reason)), "{time}");
        assert!(json.get("decision").is_none(), "a simulation authorises nothing");
        assert_eq!(host().0.record(&json["id"])["simulate"], true);
    }
}

#[test]
fn a_release_is_used_by_whom_the_rollout_lets() {
    let world = World::new();
    let old = world.add(Guest::Rules, "0.1.0", "{}");
    let new = world.add(Guest::Rules, "0.2.0", r#"{"role_membership":true}"#);
    let host = world.start();
    let by = |answer: Answer| answer.decided()["policy"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(by(host.decide(&read())), new, "the highest sequence is active at the first start");
    let (pinned_old, unknown) =
        (with(&read(), "/policy", json!(old)), with(&read(), "/policy", json!("smart-access@9.9.9")));
    assert_eq!(host.decide(&unknown).problem(), (404, "policy".into()));
    let refused = host.decide(&pinned_old);
    assert_eq!(
        (refused.problem(), refused.json()["code"].as_str()),
        ((409, "policy".into()), Some("release-not-allowed"))
    );
    assert_eq!(by(host.decide(&with(&simulated(&read()), "/policy", json!("smart-access@0.1.0")))), old);

    let pin = |caller: &str, tenant: &str, until: &str| json!({ "active": new, "pins": [{ "caller": caller, "tenant": tenant, "release": old, "until": until }] });
    assert_eq!(host.roll_out(&pin("ehr", "default", FAR)).status, 200);
    assert_eq!(by(host.decide(&pinned_old)), old);
    assert_eq!(by(host.decide(&read())), old, "a pinned caller stays on its release without saying so");
    assert_eq!(by(host.decide(&with(&read(), "/policy", json!(new)))), new);
    assert_eq!(by(host.decide(&with(&read(), "/tenant", json!("clinic-2")))), new);
    for (caller, tenant, until) in [("plain", "default", FAR), ("ehr", "clinic-2", FAR), ("ehr", "default", PAST)] {
        assert_eq!(host.roll_out(&pin(caller, tenant, until)).status, 200);
        assert_eq!(host.decide(&pinned_old).problem().0, 409, "{caller} {tenant} {until}");
        assert_eq!(by(host.decide(&read())), new, "{caller} {tenant} {until}");
    }
}

#[test]
fn a_pin_holds_until_just_before_its_end() {
    let world = World::new();
    let old = world.add(Guest::Rules, "0.1.0", "{}");
    let new = world.add(Guest::Rules, "0.2.0", r#"{"role_membership":true}"#);
    let host = world.start();
    let pins = json!([{ "caller": "ehr", "tenant": "default", "release": old, "until": NOW }]);
    assert_eq!(host.roll_out(&json!({ "active": new, "pins": pins })).status, 200);
    let at =
        |time: &str| host.decide(&with(&simulated(&read()), "/at", json!(time))).decided()["policy"]["digest"].clone();
    assert_eq!(at("2026-11-24T09:59:59.999Z"), json!(old));
    assert_eq!(at(NOW), json!(new));
}

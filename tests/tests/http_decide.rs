//! `POST /v1/decide`, its way in: what is refused before any policy is asked, and who may ask what.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::sync::OnceLock;

use chartgate_tests::host::requests::{observation, read, read_by_directory, relationship, search, with, without};
use chartgate_tests::host::{EHR, Host, PLAIN, World};
use serde_json::{Value, json};

/// Rights of the callers of this file: each lacks another one.
const RIGHTS: [&str; 5] = ["decide", "vouch-subject", "vouch-facts", "explain", "simulate"];

/// One host for all tests here; none of them changes what it decides.
fn host() -> &'static Host {
    static HOST: OnceLock<(World, Host)> = OnceLock::new();
    let (_, host) = HOST.get_or_init(|| {
        let mut world = World::with_rules();
        for lacking in RIGHTS {
            let may: Vec<&str> = RIGHTS.into_iter().filter(|right| *right != lacking).collect();
            world.more += &World::caller(&format!("without-{lacking}"), &format!("{lacking}-key"), &["default"], &may);
        }
        let host = world.start();
        (world, host)
    });
    host
}

fn problem_of(body: &Value) -> (u16, String) {
    host().decide(body).problem()
}

fn bad(member: &str) -> (u16, String) {
    (400, member.to_owned())
}

/// `/facts/relationships/0/kind` as answers write it.
fn named(pointer: &str) -> String {
    pointer.trim_start_matches('/').replace("/0/", "[0].").replace('/', ".")
}

#[test]
fn the_request_all_others_here_change_is_permitted() {
    let answer = host().decide(&read());
    assert_eq!(answer.verdict(), ("permit".into(), "relationship-treatment".into()));
    assert_eq!(host().decide(&search()).verdict().0, "permit");
}

#[test]
fn unknown_members_are_named_wherever_they_are() {
    for pointer in ["/fhri", "/request/ulr", "/subject/scopes", "/facts/consents", "/facts/relationships/0/form"] {
        assert_eq!(problem_of(&with(&read(), pointer, json!(1))), bad(&named(pointer)));
    }
}

#[test]
fn a_member_of_the_wrong_type_is_named_and_its_value_is_not_quoted() {
    let table = [
        ("/request/url", json!(["hidden-value"])),
        ("/request/headers", json!("hidden-value")),
        ("/subject/user", json!({ "hidden-value": 1 })),
        ("/explain", json!("hidden-value")),
        ("/obligations", json!("hidden-value")),
    ];
    for (pointer, value) in table {
        let answer = host().decide(&with(&read(), pointer, value));
        assert_eq!(answer.problem(), bad(&named(pointer)));
        assert!(!answer.text.contains("hidden-value"), "{}", answer.text);
    }
}

#[test]
fn a_list_never_stands_for_an_object_by_position() {
    let lists = [
        ("/request", json!(["GET", "/Observation/9", {}, null]), "request"),
        (
            "/subject",
            json!(["provider", "Practitioner/17", "growth-chart", "user/Observation.rs", null, null, null]),
            "subject",
        ),
        ("/facts", json!([[]]), "facts"),
        (
            "/facts/relationships/0",
            json!(["Practitioner/17", "123", "treatment", "full", "active", "ordinary", null, null]),
            "facts.relationships[0]",
        ),
    ];
    for (pointer, list, member) in lists {
        assert_eq!(problem_of(&with(&read(), pointer, list)), bad(member), "{pointer}");
    }
    let whole = json!([
        null,
        null,
        read()["request"],
        read()["subject"],
        read()["stored"],
        null,
        null,
        [],
        null,
        false,
        false,
        null
    ]);
    assert_eq!(problem_of(&whole), bad("body"));
}

#[test]
fn a_missing_member_is_named() {
    let answer = host().decide(&without(&read(), "/request/url"));
    assert_eq!(answer.problem(), bad("request"));
    assert!(answer.text.contains("`url`"), "{}", answer.text);
    assert_eq!(problem_of(&without(&read(), "/request")).0, 400);
    assert_eq!(problem_of(&without(&read(), "/subject")), bad("subject"));
    assert_eq!(problem_of(&without(&read(), "/subject/user")), bad("subject.kind"));
    assert_eq!(problem_of(&with(&read(), "/subject", json!({ "kind": "provider" }))), bad("subject.user"));
}

#[test]
fn duplicate_members_are_refused_at_any_depth() {
    let text = read().to_string();
    let table = [
        (r#""client":"#, r#""client":"x","client":"#, "subject.client"),
        (r#""kind":"treatment""#, r#""kind":"treatment","kind":"treatment""#, "facts.relationships[0].kind"),
        (r#""method":"#, r#""meth\u006fd":"GET","method":"#, "request.method"),
    ];
    for (part, twice, member) in table {
        let text = text.replacen(part, twice, 1);
        assert_eq!(host().decide_text(&[], &text).problem(), bad(member));
    }
    let raw = [
        r#"{"resourceType":"Observation","id":"9","id":"9","subject":{"reference":"Patient/123"}}"#,
        r#"{"resourceType":"Observation","id":"9","subject":{"reference":"Patient/1","reference":"Patient/123"}}"#,
    ];
    for content in raw {
        assert_eq!(problem_of(&with(&read(), "/stored/Observation~19", json!(content))), bad("stored.Observation/9"));
    }
}

#[test]
fn what_is_not_one_json_object_is_refused() {
    let text = read().to_string();
    for text in ["", "null", "[]", "{", &format!("{text}{text}"), &text[..text.len() - 1], "\u{feff}{}"] {
        assert_eq!(host().decide_text(&[], text).problem().0, 400, "{text}");
    }
}

#[test]
fn headers_that_differ_only_in_case_are_refused() {
    let twice = json!({ "Accept": "application/json", "accept": "application/json" });
    assert_eq!(problem_of(&with(&read(), "/request/headers", twice)), bad("request.headers.accept"));
    let tokens = json!({ "Authorization": "Bearer a.b.c", "authorization": "Bearer a.b.c" });
    let answer = host().decide(&with(&without(&read(), "/subject"), "/request/headers", tokens));
    assert_eq!(answer.problem(), bad("request.headers"));
    assert!(!answer.text.contains("a.b.c"));
}

#[test]
fn a_subject_beside_a_token_is_refused() {
    let both = with(&read(), "/request/headers/authorization", json!("Bearer a.b.c"));
    assert_eq!(problem_of(&both), bad("subject"));
}

#[test]
fn a_token_is_refused_where_no_issuer_is_configured() {
    let token = with(&without(&read(), "/subject"), "/request/headers/authorization", json!("Bearer a.b.c"));
    assert_eq!(problem_of(&token), bad("request.headers.authorization"));
}

#[test]
fn the_kind_of_a_subject_leaves_no_doubt() {
    let subject = |changes: &[(&str, &str)]| {
        changes.iter().fold(read(), |body, (member, value)| with(&body, &format!("/subject/{member}"), json!(value)))
    };
    assert_eq!(problem_of(&subject(&[("kind", "system")])), bad("subject.kind"));
    assert_eq!(problem_of(&subject(&[("kind", "system"), ("user", "")])), bad("subject.kind"));
    assert_eq!(problem_of(&subject(&[("kind", "Provider")])), bad("subject.kind"));
    assert_eq!(problem_of(&subject(&[("user", "Person/1")])), bad("subject.kind"));
    assert_eq!(problem_of(&subject(&[("user", "Device/1"), ("kind", "provider")])), bad("subject.user"));
    assert_eq!(problem_of(&subject(&[("user", "Practitioner/../1")])), bad("subject.user"));
    let said = host().decide(&subject(&[("user", "Person/1"), ("kind", "provider")]));
    assert_eq!(said.status, 200);
    // A role that does not fit the user's type is a decision, not a malformed request.
    let misfit = host().decide(&subject(&[("kind", "patient")]));
    assert_eq!(misfit.verdict(), ("deny".into(), "subject-invalid".into()));
}

#[test]
fn a_key_and_its_content_have_to_agree() {
    let table = [
        ("Observation/9", json!({ "resourceType": "Observation", "id": "10" })),
        ("Observation/9", json!({ "resourceType": "Condition", "id": "9" })),
        ("Observation/9", json!({ "resourceType": "Observation" })),
        ("Observation/9", json!("")),
        ("Observation/9", json!("null")),
        ("Observation/9", json!(7)),
        ("Observation/9/_history/2", with(&observation("123"), "/meta/versionId", json!("3"))),
        ("Observation/9/_history/2", observation("123")),
        ("Observation", observation("123")),
        ("Observation/9/", observation("123")),
        ("observation/9", observation("123")),
        ("https://ehr.example/fhir/Observation/9", observation("123")),
        ("Observation/..", observation("123")),
    ];
    for (key, content) in table {
        let body = with(&read(), "/stored", json!({ key: content }));
        assert_eq!(problem_of(&body), bad(&format!("stored.{key}")), "{content}");
    }
}

#[test]
fn the_shorthand_is_one_entry_of_stored() {
    let shorthand = with(&without(&read(), "/stored"), "/resource", observation("123"));
    assert_eq!(host().decide(&shorthand).verdict().0, "permit");
    assert_eq!(problem_of(&with(&shorthand, "/resource/id", json!("10"))), bad("resource"));
    assert_eq!(problem_of(&with(&read(), "/resource", observation("123"))), bad("resource"));
    assert_eq!(problem_of(&with(&search(), "/resource", observation("123"))), bad("resource"));
}

#[test]
fn only_a_simulation_names_its_time() {
    let at = with(&read(), "/at", json!("2026-01-01T00:00:00Z"));
    assert_eq!(problem_of(&at), bad("at"));
    assert_eq!(host().decide(&with(&at, "/simulate", json!(true))).status, 200);
    let simulated = with(&read(), "/simulate", json!(true));
    for text in ["yesterday", "2026-01-01", "", "2026-13-01T00:00:00Z"] {
        assert_eq!(problem_of(&with(&simulated, "/at", json!(text))), bad("at"), "{text}");
    }
}

#[test]
fn a_pin_is_said_once_or_twice_the_same() {
    let pinned = with(&read(), "/policy", json!("smart-access@0.1.0"));
    let ask = |headers: &[(&str, &str)], body: &Value| host().decide_text(headers, &body.to_string());
    assert_eq!(ask(&[("chartgate-policy", "smart-access@0.1.0")], &pinned).status, 200);
    assert_eq!(ask(&[("chartgate-policy", "smart-access@0.1.0")], &read()).status, 200);
    assert_eq!(ask(&[("chartgate-policy", "smart-access@0.2.0")], &pinned).problem(), bad("policy"));
    let twice = [("chartgate-policy", "smart-access@0.1.0"), ("chartgate-policy", "smart-access@0.1.0")];
    assert_eq!(ask(&twice, &read()).problem(), bad("Chartgate-Policy"));
    for text in ["", "smart-access", "latest", "sha256:", "smart-access@", &format!("sha256:{}", "A".repeat(64))] {
        assert_eq!(problem_of(&with(&read(), "/policy", json!(text))), bad("policy"), "{text}");
    }
}

#[test]
fn facts_are_checked_member_by_member() {
    let fact = |member: &str, value: &str| with(&read(), &format!("/facts/relationships/0/{member}"), json!(value));
    let table = [
        ("kind", "self"),
        ("kind", "Treatment"),
        ("level", "all"),
        ("status", "live"),
        ("user", "17"),
        ("patient", "Patient/123"),
        ("via", "Break Glass"),
        ("start", "soon"),
        ("end", "2026-02-30T00:00:00Z"),
    ];
    for (member, value) in table {
        assert_eq!(problem_of(&fact(member, value)), bad(&format!("facts.relationships[0].{member}")));
    }
    let late = fact("start", "2026-02-01T00:00:00Z");
    let reversed = with(&late, "/facts/relationships/0/end", json!("2026-01-01T00:00:00Z"));
    assert_eq!(problem_of(&reversed), bad("facts.relationships[0].end"));
}

#[test]
fn the_fhir_request_is_read_strictly() {
    let request = |member: &str, value: Value| with(&read(), &format!("/request/{member}"), value);
    let table = [
        ("method", json!("get"), "request.method"),
        ("method", json!("OPTIONS"), "request.method"),
        ("url", json!("/Observation/9/../8"), "request.url"),
        ("url", json!("https://other.example/fhir/Observation/9"), "request.url"),
        ("url", json!("/Observation/9?access_token=x"), "request.url"),
        ("url", json!("/Observation//9"), "request.url"),
        ("headers", json!({ "X-HTTP-Method-Override": "DELETE" }), "request.headers.x-http-method-override"),
        ("body", json!({ "resourceType": "Observation" }), "request.body"),
    ];
    for (member, value, named) in table {
        assert_eq!(problem_of(&request(member, value)), bad(named));
    }
    let absolute = request("url", json!("https://ehr.example/fhir/Observation/9"));
    assert_eq!(host().decide(&absolute).verdict().0, "permit");
    assert_eq!(problem_of(&with(&read(), "/fhir", json!("other"))), bad("fhir"));
}

#[test]
fn each_right_is_needed_for_its_member() {
    let told = read_by_directory();
    let table = [
        ("decide", told.clone(), "body"),
        ("vouch-subject", read(), "subject"),
        ("vouch-facts", read(), "facts"),
        ("explain", with(&told, "/explain", json!(true)), "explain"),
        ("simulate", with(&told, "/simulate", json!(true)), "simulate"),
    ];
    for (right, body, member) in table {
        let answer = host().decide_as(&format!("{right}-key"), &body);
        assert_eq!(answer.problem(), (403, member.into()), "{right}");
        assert_eq!(host().decide_as(EHR, &body).status, 200, "{right}");
    }
    // Empty facts are facts: the right is for the member.
    let empty = with(&told, "/facts", json!({}));
    assert_eq!(host().decide_as("vouch-facts-key", &empty).problem(), (403, "facts".into()));
    assert_eq!(host().decide_as(PLAIN, &told).problem(), (403, "subject".into()));
}

#[test]
fn a_caller_asks_about_its_own_tenants_only() {
    let other = with(&read(), "/tenant", json!("clinic-2"));
    assert_eq!(host().decide(&other).status, 200);
    assert_eq!(host().decide_as("explain-key", &other).problem(), (403, "tenant".into()));
    assert_eq!(problem_of(&with(&read(), "/tenant", json!("clinic-3"))), (403, "tenant".into()));
    assert_eq!(problem_of(&with(&read(), "/tenant", json!("Clinic 2"))), bad("tenant"));
    assert_eq!(problem_of(&with(&read(), "/tenant", json!(""))), bad("tenant"));
}

#[test]
fn an_unknown_caller_learns_nothing() {
    let body = read().to_string();
    let strangers: [&[(&str, &str)]; 5] = [
        &[],
        &[("authorization", "Bearer nobody")],
        &[("authorization", "Basic ehr-key")],
        &[("authorization", "Bearer ehr-key"), ("authorization", "Bearer ehr-key")],
        // An administrator is not a caller.
        &[("authorization", "Bearer operator-key")],
    ];
    for headers in strangers {
        let answer = host().client().send("POST", host().public, "/v1/decide", headers, body.clone());
        assert_eq!(answer.problem(), (401, String::new()), "{headers:?}");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        let malformed = host().client().send("POST", host().public, "/v1/decide", headers, "{");
        assert_eq!(malformed.text, answer.text);
    }
}

#[test]
fn only_known_paths_and_methods_are_served() {
    let send = |method: &str, path: &str| host().client().send(method, host().public, path, &[], "").status;
    assert_eq!(send("GET", "/v1/decide"), 405);
    assert_eq!(send("POST", "/v1/decide/"), 404);
    assert_eq!(send("GET", "/admin/v1/rollout"), 404);
    assert_eq!(send("GET", "/metrics"), 404);
    assert_eq!(send("GET", "/openapi.json"), 200);
    let on_operations = host().client().send("POST", host().operations, "/v1/decide", &[], read().to_string());
    assert_eq!(on_operations.status, 404);
}

#[test]
fn a_demo_serves_this_machine_and_nobody_it_speaks_for() {
    let world = World::demo();
    let host = world.start();
    let send =
        |headers: &[(&str, &str)]| host.client().send("POST", host.public, "/v1/decide", headers, read().to_string());
    assert_eq!(send(&[]).verdict().0, "permit");
    assert_eq!(send(&[("host", &format!("localhost:{}", host.public.port()))]).status, 200);
    let refused = [
        ("host", "evil.example"),
        ("host", "127.0.0.1.evil.example:80"),
        ("host", "localhost.evil.example"),
        ("origin", "http://localhost"),
        ("origin", "null"),
        ("forwarded", "for=192.0.2.1"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "localhost"),
        ("x-forwarded-proto", "http"),
        ("authorization", "Bearer nobody"),
    ];
    for header in refused {
        assert_eq!(send(&[header]).problem().0, 401, "{header:?}");
        let admin = host.client().send("GET", host.operations, "/admin/v1/rollout", &[header], "");
        assert_eq!(admin.problem().0, 401, "{header:?}");
    }
}

#[test]
fn a_demo_has_sample_people() {
    let world = World::demo();
    let host = world.start();
    let send = |body: &Value| host.client().send("POST", host.public, "/v1/decide", &[], body.to_string()).verdict();
    let about = |patient: &str| with(&read_by_directory(), "/stored/Observation~19", observation(patient));
    assert_eq!(send(&about("123")), ("permit".into(), "relationship-treatment".into()));
    assert_eq!(send(&about("125")), ("deny".into(), "relationship-revoked".into()));
    assert_eq!(send(&about("126")), ("deny".into(), "no-relationship".into()));
    // Revoked in the directory beats the caller's word.
    let vouched = json!([relationship("Practitioner/17", "125")]);
    let vouched = with(&about("125"), "/facts/relationships", vouched);
    assert_eq!(send(&vouched), ("deny".into(), "relationship-revoked".into()));
}

//! The cases of the certification scenario for evaluation and evaluations (OpenID AuthZEN, sections 2.2
//! to 2.6 and 3.2 to 3.4), told in FHIR.
//!
//! `alice` and `bob` are practitioners, `record-1` (active) an observation of patient 123, `record-2`
//! (archived) one of patient 124, whom only Bob treats. `write` is `update`; the role `admin` is the
//! scope that allows it. What `soft` does to a delete, `If-None-Exist` does to a create here: a property
//! of the action alone turns the answer.

use chartgate_tests::host::requests::{with, without};
use serde_json::{Value, json};

use crate::{
    EVALUATION, EVALUATIONS, action, alice, bob, bob_as_admin, evaluation, message, observation, post, read, send,
    updated,
};

fn ask(subject: Value, name: &str, resource: Value) -> Value {
    json!({ "subject": subject, "action": action(name), "resource": resource })
}

fn created(headers: Value) -> Value {
    let resource = without(&observation("*", "123"), "/properties/content/id");
    with(&ask(alice(), "create", resource), "/action/properties", json!({ "headers": headers }))
}

fn surroundings() -> Value {
    json!({ "time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1" })
}

#[test]
fn c_2_2_an_evaluation_is_exactly_its_decision() {
    let more = with(&with(&read(), "/subject/properties/department", json!("Sales")), "/foo", json!("bar"));
    let more = with(&more, "/action/properties", json!({ "method": "GET" }));
    let more = with(&more, "/resource/properties/owner", json!("bob"));
    let table = [
        ("C.2.2.1", read(), true),
        ("C.2.2.2", ask(bob(), "update", updated("record-1", "123")), false),
        ("C.2.2.3", with(&read(), "/context", surroundings()), true),
        ("C.2.2.4", ask(alice(), "update", updated("record-2", "124")), false),
        ("C.2.2.5", ask(bob_as_admin(), "update", updated("record-2", "124")), true),
        ("C.2.2.6", created(json!({ "Prefer": "return=minimal" })), true),
        ("C.2.2.7", created(json!({ "If-None-Exist": "identifier=7" })), false),
        ("C.2.2.8", more.clone(), true),
        ("C.2.2.9", with(&more, "/futureField", json!({ "nested": true })), true),
    ];
    for (case, body, decision) in table {
        let answer = evaluation(&body);
        assert_eq!(answer.decided(), json!({ "decision": decision }), "{case}");
        assert_eq!(answer.header("content-type"), "application/json", "{case}");
    }
}

#[test]
fn c_2_4_what_is_malformed_is_a_400() {
    let table = [
        ("C.2.4.1", without(&read(), "/subject"), "subject: "),
        ("C.2.4.1", without(&read(), "/action"), "action: "),
        ("C.2.4.1", without(&read(), "/resource"), "resource: "),
        ("C.2.4.2", without(&read(), "/subject/type"), "subject.type: "),
        ("C.2.4.2", without(&read(), "/subject/id"), "subject.id: "),
        ("C.2.4.2", without(&read(), "/action/name"), "action.name: "),
        ("C.2.4.2", without(&read(), "/resource/type"), "resource.type: "),
        ("C.2.4.2", without(&read(), "/resource/id"), "resource.id: "),
        ("C.2.4.6", with(&read(), "/subject", json!("alice")), "subject: "),
        ("C.2.4.6", with(&read(), "/action/name", json!(123)), "action.name: "),
    ];
    for (case, body, named) in table {
        let (status, text) = message(&evaluation(&body));
        assert_eq!(status, 400, "{case}");
        assert!(text.starts_with(named), "{case}: {text}");
    }
    for (case, text) in [("C.2.4.4", r#"{"subject":"#), ("C.2.4.5", "")] {
        assert_eq!(message(&send("ehr-key", EVALUATION, &[], text)).0, 400, "{case}");
    }
}

#[test]
fn c_2_5_the_request_id_comes_back() {
    let id = "bfe9eb29-ab87-4ca3-be83-a1d5d8305716";
    let answer = send("ehr-key", EVALUATION, &[("X-Request-ID", id)], &read().to_string());
    assert_eq!((answer.decided(), answer.header("x-request-id")), (json!({ "decision": true }), id));
    let answer = evaluation(&read());
    assert_eq!((answer.decided(), answer.header("x-request-id")), (json!({ "decision": true }), ""));
}

#[test]
fn c_2_6_the_same_question_gets_the_same_answer() {
    for _ in 0..5 {
        assert_eq!(evaluation(&read()).text, r#"{"decision":true}"#);
    }
}

#[test]
fn c_3_2_items_are_answered_in_order() {
    let (first, second) = (observation("record-1", "123"), observation("record-2", "124"));
    let written = [updated("record-1", "123"), updated("record-2", "124")];
    let table = [
        (
            "C.3.2.1",
            json!({ "subject": alice(), "action": action("read"), "evaluations": [{ "resource": first }, { "resource": second }] }),
            [true, false],
        ),
        (
            "C.3.2.2",
            json!({ "subject": bob(), "resource": observation("record-1", "123"),
                "evaluations": [{ "action": action("read") }, { "action": action("update") }] }),
            [true, false],
        ),
        (
            "C.3.2.3",
            json!({ "subject": alice(), "action": action("update"),
                "evaluations": [{ "resource": written[0] }, { "resource": written[1] }] }),
            [true, false],
        ),
        (
            "C.3.2.4",
            json!({ "action": action("update"), "resource": written[1],
                "evaluations": [{ "subject": alice() }, { "subject": bob_as_admin() }] }),
            [false, true],
        ),
        (
            "C.3.2.5",
            json!({ "evaluations": [read(), ask(bob(), "update", updated("record-1", "123"))] }),
            [true, false],
        ),
        (
            "C.3.2.6",
            json!({ "subject": alice(), "action": action("read"), "context": surroundings(), "evaluations": [
                { "resource": first }, { "resource": second, "context": { "source": "batch-override" } }] }),
            [true, false],
        ),
        (
            "C.3.2.7",
            json!({ "subject": alice(), "action": action("update"), "resource": written[0],
                "evaluations": [{}, { "resource": written[1] }] }),
            [true, false],
        ),
    ];
    for (case, body, [one, two]) in table {
        let expected = json!({ "evaluations": [{ "decision": one }, { "decision": two }] });
        assert_eq!(post(EVALUATIONS, &body).decided(), expected, "{case}");
    }
}

#[test]
fn c_3_4_1_a_bad_item_is_denied_among_good_ones() {
    let body = json!({
        "subject": alice(), "action": action("read"), "options": { "evaluations_semantic": "execute_all" },
        "evaluations": [{ "resource": observation("record-1", "123") }, {}],
    });
    let json = post(EVALUATIONS, &body).decided();
    assert_eq!(json["evaluations"][0], json!({ "decision": true }));
    let error = json!({ "status": 400, "message": "resource: is missing" });
    assert_eq!(json["evaluations"][1], json!({ "decision": false, "context": { "error": error } }));
}

#[test]
fn c_3_4_2_and_3_without_items_there_is_one_answer() {
    for body in [read(), with(&read(), "/evaluations", json!([]))] {
        assert_eq!(post(EVALUATIONS, &body).decided(), json!({ "decision": true }));
        let incomplete = without(&body, "/resource");
        assert_eq!(message(&post(EVALUATIONS, &incomplete)), (400, "resource: is missing".into()));
    }
}

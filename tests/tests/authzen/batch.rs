//! `/access/v1/evaluations`: semantics, isolation, limits.

use chartgate_tests::host::requests::{relationship, with, without};
use serde_json::{Value, json};

use crate::{
    EVALUATIONS, ITEMS_MAX, action, alice, bob, evaluation, message, observation, post, read, records, updated,
};

/// A batch of reads by a client of its own; patients 123 are permitted to Alice, others are not.
fn batch(client: &str, semantic: Option<&str>, items: Vec<Value>) -> Value {
    let subject = with(&alice(), "/properties/client", json!(client));
    let body = json!({ "subject": subject, "action": action("read"), "evaluations": items });
    match semantic {
        Some(semantic) => with(&body, "/options/evaluations_semantic", json!(semantic)),
        None => body,
    }
}

fn item(patient: &str) -> Value {
    json!({ "resource": observation("record-1", patient) })
}

fn decisions(body: &Value) -> Vec<bool> {
    let json = post(EVALUATIONS, body).decided();
    assert!(json.get("decision").is_none(), "{json}");
    json["evaluations"].as_array().unwrap().iter().map(|one| one["decision"].as_bool().unwrap()).collect()
}

#[test]
fn the_array_ends_with_the_deciding_item_and_nothing_behind_it_is_evaluated() {
    /// Semantic, items, answers, records: a bad item is answered and not decided.
    type Row = (Option<&'static str>, Vec<Value>, &'static [bool], usize);
    let (yes, no, bad) = (|| item("123"), || item("124"), || json!({ "resource": {} }));
    let table: [Row; 9] = [
        (None, vec![no(), yes(), no()], &[false, true, false], 3),
        (Some("execute_all"), vec![no(), yes(), bad()], &[false, true, false], 2),
        (Some("deny_on_first_deny"), vec![yes(), no(), yes(), yes()], &[true, false], 2),
        (Some("deny_on_first_deny"), vec![yes(), bad(), yes()], &[true, false], 1),
        (Some("deny_on_first_deny"), vec![yes(), yes()], &[true, true], 2),
        (Some("permit_on_first_permit"), vec![no(), yes(), no()], &[false, true], 2),
        (Some("permit_on_first_permit"), vec![bad(), yes(), yes()], &[false, true], 1),
        (Some("permit_on_first_permit"), vec![no(), no()], &[false, false], 2),
        (Some("permit_on_first_permit"), vec![yes(), no(), no()], &[true], 1),
    ];
    for (at, (semantic, items, expected, recorded)) in table.into_iter().enumerate() {
        let client = format!("semantic-{at}");
        assert_eq!(decisions(&batch(&client, semantic, items)), expected, "{at}");
        assert_eq!(records(&client).len(), recorded, "{at}");
    }
}

#[test]
fn an_unknown_semantic_is_refused_before_anything_is_decided() {
    for semantic in ["", "Execute_All", "deny_on_first_permit", "all"] {
        let answer = post(EVALUATIONS, &batch("semantic-unknown", Some(semantic), vec![item("123")]));
        let (status, text) = message(&answer);
        assert_eq!(status, 400, "{semantic}");
        assert!(text.starts_with("options.evaluations_semantic: "), "{text}");
    }
    let without_items = with(&read(), "/options/evaluations_semantic", json!("all"));
    assert_eq!(message(&post(EVALUATIONS, &without_items)).0, 400);
    let table = [("/options", json!([])), ("/options/evaluations_semantic", json!(1)), ("/options", json!(null))];
    for (pointer, value) in table {
        let body = with(&batch("semantic-unknown", None, vec![item("123")]), pointer, value);
        assert_eq!(message(&post(EVALUATIONS, &body)).0, 400, "{body}");
    }
    assert!(records("semantic-unknown").is_empty());
    let more = with(&batch("semantic-more", None, vec![item("123")]), "/options/another", json!(1));
    assert_eq!(decisions(&more), [true]);
}

#[test]
fn items_with_the_same_ids_are_decided_each_by_itself() {
    // The ids are equal; content, scope, type of subject and type of resource make the difference.
    let read_only = with(&alice(), "/properties/scope", json!("user/Condition.rs"));
    let patient = with(&alice(), "/type", json!("Patient"));
    let condition = with(&observation("record-1", "123"), "/type", json!("Condition"));
    let condition = with(&condition, "/properties/content/resourceType", json!("Condition"));
    let table = [
        [item("123"), item("124")],
        [item("123"), with(&item("123"), "/subject", read_only)],
        [item("123"), with(&item("123"), "/subject", patient)],
        [item("123"), json!({ "resource": condition })],
        [item("123"), with(&item("123"), "/action", json!({ "name": "delete", "properties": {} }))],
    ];
    for (at, [one, two]) in table.into_iter().enumerate() {
        let two = if at == 4 { with(&two, "/subject", bob()) } else { two };
        let body = |items| batch(&format!("isolation-{at}"), None, items);
        assert_eq!(decisions(&body(vec![one.clone(), two.clone()])), [true, false], "{at}");
        assert_eq!(decisions(&body(vec![two, one])), [false, true], "{at}");
    }
}

#[test]
fn nothing_of_one_item_serves_another() {
    // What an item vouches for, declares or fetched is its own.
    let vouched = json!({ "facts": { "relationships": [relationship("Practitioner/alice", "125")] } });
    let vouched = json!({ "resource": observation("record-1", "125"), "context": vouched });
    let bare = without(&item("123"), "/resource/properties");
    let items = vec![vouched, item("125"), item("123"), bare];
    let json = post(EVALUATIONS, &batch("leftovers", None, items)).decided();
    let answers = json["evaluations"].as_array().unwrap();
    assert_eq!(answers[..3], [json!({ "decision": true }), json!({ "decision": false }), json!({ "decision": true })]);
    assert_eq!(answers[3], json!({ "decision": false, "context": { "needs": ["Observation/record-1"] } }));
}

#[test]
fn an_entity_replaces_its_default_whole() {
    let top = with(&read(), "/context/facts/relationships", json!([relationship("Practitioner/alice", "125")]));
    let top = with(&top, "/resource", observation("record-1", "125"));
    let asked = |item: Value| decisions(&with(&top, "/evaluations", json!([item])))[0];
    assert!(asked(json!({})));
    assert!(!asked(json!({ "context": {} })), "an empty context is a context");
    let nobody = json!({ "type": "Practitioner", "id": "alice" });
    assert!(!asked(json!({ "subject": nobody })), "the scope of the default does not stay");
    let bare = json!({ "type": "Observation", "id": "record-1" });
    assert!(!asked(json!({ "resource": bare })), "nor does the content");
    let failed = post(EVALUATIONS, &with(&top, "/evaluations", json!([{ "action": {} }]))).decided();
    assert_eq!(failed["evaluations"][0]["context"]["error"]["message"], "action.name: is missing");
}

#[test]
fn bad_items_are_told_by_their_fault() {
    let table = [
        (json!("x"), "evaluations[0]: has to be an object"),
        (json!(null), "evaluations[0]: has to be an object"),
        (json!({ "subject": null }), "subject: has to be an object"),
        (json!({ "action": { "name": "fly" } }), "action.name: is the code of no FHIR interaction"),
        (json!({ "resource": { "type": "Observation" } }), "resource.id: is missing"),
    ];
    for (item, message) in table {
        let json = post(EVALUATIONS, &with(&read(), "/evaluations", json!([item]))).decided();
        let error = json!({ "status": 400, "message": message });
        assert_eq!(json, json!({ "evaluations": [{ "decision": false, "context": { "error": error } }] }));
    }
}

#[test]
fn a_default_of_the_wrong_form_spoils_only_items_that_use_it() {
    let body = with(&read(), "/evaluations", json!([{}, { "action": { "name": "read" } }]));
    assert_eq!(decisions(&with(&body, "/action", json!({ "name": 1 }))), [false, true]);
}

#[test]
fn a_batch_holds_as_many_items_as_the_limit_and_no_more() {
    let items = |count: usize| batch("limit", None, vec![item("123"); count]);
    assert_eq!(decisions(&items(ITEMS_MAX)).len(), ITEMS_MAX);
    let (status, text) = message(&post(EVALUATIONS, &items(ITEMS_MAX + 1)));
    assert_eq!((status, text), (400, format!("evaluations: has more than {ITEMS_MAX} items")));
    assert_eq!(records("limit").len(), ITEMS_MAX, "nothing of the longer one was evaluated");
    for list in [json!({}), json!("x"), json!(null), json!(1)] {
        let (status, text) = message(&post(EVALUATIONS, &with(&read(), "/evaluations", list)));
        assert_eq!((status, text.as_str()), (400, "evaluations: has to be a list"));
    }
}

#[test]
fn all_items_have_one_time_and_each_its_own_record() {
    let written = json!({ "action": action("update"), "resource": updated("record-1", "123") });
    assert_eq!(decisions(&batch("one-time", None, vec![item("123"), item("124"), written])), [true, false, true]);
    let records = records("one-time");
    let told = |record: &Value| (record["outcome"]["decision"].clone(), record["input"]["interaction"].clone());
    let told: Vec<(Value, Value)> = records.iter().map(told).collect();
    let expected = [("permit", "read"), ("deny", "read"), ("permit", "update")];
    assert_eq!(told, expected.map(|(decision, interaction)| (json!(decision), json!(interaction))));
    let times: Vec<&Value> = records.iter().map(|record| &record["time_ms"]).collect();
    assert!(times.iter().all(|time| *time == times[0]), "{times:?}");
    assert_eq!(records.iter().filter(|record| record["caller"] == "ehr").count(), 3);
}

#[test]
fn evaluation_knows_no_batch() {
    let body = with(&read(), "/evaluations", json!([{ "resource": observation("record-2", "124") }]));
    assert_eq!(evaluation(&body).decided(), json!({ "decision": true }), "an unknown member there");
}

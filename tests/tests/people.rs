//! What is known of patients, users and clients: set through the API and the command line, vouched for by callers, and
//! obeyed by the very next decision.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use chartgate_tests::host::requests::{read, read_own, with, without};
use chartgate_tests::host::{AUDITOR, Answer, Guest, Host, OPERATOR, PLAIN, PUBLISHER, World};
use serde_json::{Value, json};

/// The rules with all that has to be known by default.
fn strict() -> (World, Host) {
    let world = World::new();
    world.add(Guest::Rules, "0.1.0", r#"{"require_patient_records":true,"require_provider_records":true}"#);
    let host = world.start();
    (world, host)
}

fn put(host: &Host, class: &str, record: &Value) -> Answer {
    host.admin("PUT", &format!("/admin/v1/{class}"), &[], &record.to_string())
}

fn set(host: &Host, class: &str, record: &Value) {
    let answer = put(host, class, record);
    assert_eq!(answer.status, 200, "{}", answer.text);
}

fn list(host: &Host, query: &str) -> Value {
    let page = host.admin("GET", &format!("/admin/v1/{query}"), &[], "");
    assert_eq!(page.status, 200, "{}", page.text);
    page.json()["records"].clone()
}

fn reason(host: &Host, body: &Value) -> String {
    host.decide(body).verdict().1
}

#[test]
fn each_change_holds_from_the_next_decision_on() {
    let (_world, host) = strict();
    let own = read_own();
    assert_eq!(reason(&host, &own), "patient-unknown");
    let steps = [
        ("patients", json!({ "patient": "123", "birth_date": "1980-01-01" }), "self"),
        ("patients", json!({ "patient": "123", "birth_date": "1980-01-01", "deceased": true }), "patient-deceased"),
        ("patients", json!({ "patient": "123", "app_access_blocked": true }), "app-access-blocked"),
        ("patients", json!({ "patient": "123", "merged_into": "9" }), "merge-unresolved"),
        ("patients", json!({ "patient": "9" }), "chart-merged"),
        ("users", json!({ "user": "Patient/123", "charts": ["9"] }), "self"),
        ("users", json!({ "user": "Patient/123", "status": "suspended" }), "user-not-active"),
        ("users", json!({ "user": "Patient/123", "roles": ["proxy"] }), "user-role-mismatch"),
        ("users", json!({ "user": "Patient/123", "charts": ["9"], "test": true }), "test-mismatch"),
        ("users", json!({ "user": "Patient/123", "charts": ["9"] }), "self"),
        ("clients", json!({ "client": "phr", "kind": "provider" }), "client-kind-mismatch"),
        ("clients", json!({ "client": "phr", "end": "2001-01-01T00:00:00Z" }), "client-not-licensed"),
        ("clients", json!({ "client": "phr", "status": "revoked" }), "client-not-active"),
        ("clients", json!({ "client": "phr", "kind": "patient" }), "self"),
    ];
    for (revision, (class, record, expected)) in (1..).zip(steps) {
        set(&host, class, &record);
        // A token for the merged chart is for the one it was merged into.
        let answer = host.decide(&own);
        assert_eq!(answer.verdict().1, expected, "{class} {record}");
        let sources = answer.decided()["facts"]["sources"].clone();
        assert_eq!(sources, json!([format!("directory@{revision}")]), "{class} {record}");
    }
    assert_eq!(host.admin("DELETE", "/admin/v1/patients?id=9", &[], "").status, 200);
    assert_eq!(reason(&host, &own), "merge-unresolved");
}

#[test]
fn records_are_listed_as_they_were_put_and_every_change_is_on_record() {
    let (world, host) = strict();
    let mut restricted = json!({
        "patient": "124", "tenant": "default", "restriction": { "allow": ["Practitioner/1"], "until": "2030-01-01T00:00:00Z" },
    });
    set(&host, "patients", &restricted);
    restricted["source"] = json!("directory");
    set(&host, "patients", &json!({ "patient": "123", "zone": "Europe/Berlin", "test": false }));
    assert_eq!(
        list(&host, "patients"),
        json!([{ "patient": "123", "source": "directory", "tenant": "default", "zone": "Europe/Berlin" }, restricted])
    );
    assert_eq!(list(&host, "patients?id=124"), json!([restricted]));
    assert_eq!(list(&host, "patients?id=125"), json!([]));
    assert_eq!(list(&host, "users"), json!([]));
    let page = host.admin("GET", "/admin/v1/patients?limit=1", &[], "").json();
    assert_eq!((page["records"].as_array().unwrap().len(), page["next"].as_str()), (1, Some("directory/123")));
    assert_eq!(list(&host, "patients?limit=1&after=directory/123"), json!([restricted]));
    let unchanged = put(&host, "patients", &restricted).json();
    assert_eq!((unchanged["unchanged"].as_u64(), unchanged["revision"].as_u64()), (Some(1), Some(2)));
    assert_eq!(host.admin("DELETE", "/admin/v1/patients?id=124", &[], "").json()["updated"], 1);
    let changes = world.changes();
    let told: Vec<_> = changes.iter().map(|change| (change["action"].as_str().unwrap(), &change["subject"])).collect();
    let expected = [("record-put", "124"), ("record-put", "123"), ("record-put", "124"), ("record-delete", "124")];
    assert_eq!(
        told,
        expected
            .map(|(action, id)| (action, json!(format!("patient/{id}"))))
            .iter()
            .map(|(a, s)| (*a, s))
            .collect::<Vec<_>>()
    );
    assert_eq!((&changes[3]["before"], &changes[3]["after"]), (&restricted, &Value::Null));
}

#[test]
fn a_record_that_cannot_be_taken_is_refused_naming_the_member() {
    let (_world, host) = strict();
    for (class, record, member) in [
        ("patients", json!({}), "patient"),
        ("patients", json!({ "patient": "Patient/1" }), "patient"),
        ("patients", json!({ "patient": "1", "birthdate": "1980" }), "birthdate"),
        ("patients", json!({ "patient": "1", "birth_date": "1980-02-30" }), "birth_date"),
        ("patients", json!({ "patient": "1", "zone": "Middle/Earth" }), "zone"),
        ("patients", json!({ "patient": "1", "restriction": { "allow": ["1"] } }), "restriction.allow"),
        ("patients", json!({ "patient": "1", "as_of": "2026-01-01T00:00:00Z" }), "as_of"),
        ("patients", json!({ "patient": "1", "tenant": 1 }), "tenant"),
        ("patients", json!({ "patient": "1", "tenant": "A B" }), "tenant"),
        ("users", json!({ "user": "Practitioner/1", "status": "revoked" }), "status"),
        ("users", json!({ "patient": "1" }), "user"),
        ("clients", json!({ "client": "two words" }), "client"),
        ("clients", json!({ "client": "a", "kind": "any" }), "kind"),
    ] {
        assert_eq!(put(&host, class, &record).problem(), (400, member.into()), "{record}");
    }
    assert_eq!(put(&host, "patients", &json!([])).problem().0, 400);
    assert_eq!(host.admin("PUT", "/admin/v1/patients", &[], r#"{"patient":"1","patient":"2"}"#).problem().0, 400);
    for path in ["patient", "records", "patientss"] {
        assert_eq!(put(&host, path, &json!({ "patient": "1" })).status, 404, "{path}");
    }
    for key in [AUDITOR, PUBLISHER] {
        assert_eq!(host.admin_as(key, "PUT", "/admin/v1/patients", &[], r#"{"patient":"1"}"#).status, 403);
        assert_eq!(host.admin_as(key, "DELETE", "/admin/v1/patients?id=1", &[], "").status, 403);
        assert_eq!(host.admin_as(key, "GET", "/admin/v1/patients", &[], "").status, 200);
    }
    assert_eq!(host.admin_as("nobody", "GET", "/admin/v1/patients", &[], "").status, 401);
    assert_eq!(host.admin_as(OPERATOR, "GET", "/admin/v1/patients", &[], "").json()["records"], json!([]));
}

#[test]
fn what_a_caller_vouches_for_stands_beside_the_directory_and_the_stricter_wins() {
    let (_world, host) = strict();
    let vouched = |patient: Value| {
        let body = with(&read(), "/facts/patients", json!([patient]));
        with(&body, "/facts/users", json!([{ "user": "Practitioner/17" }]))
    };
    let plain = vouched(json!({ "patient": "123" }));
    assert_eq!(reason(&host, &plain), "relationship-treatment");
    assert_eq!(
        reason(&host, &vouched(json!({ "patient": "123", "restriction": { "allow": [] } }))),
        "chart-restricted"
    );
    set(&host, "patients", &json!({ "patient": "123", "restriction": { "allow": ["Practitioner/18"] } }));
    assert_eq!(reason(&host, &plain), "chart-restricted");
    set(&host, "patients", &json!({ "patient": "123" }));
    assert_eq!(reason(&host, &plain), "relationship-treatment");
    set(&host, "users", &json!({ "user": "Practitioner/17", "status": "suspended" }));
    assert_eq!(reason(&host, &plain), "user-not-active");
}

#[test]
fn what_a_caller_vouches_for_is_held_to_the_same_limits() {
    let (_world, host) = strict();
    for (pointer, value, member) in [
        ("/facts/patients", json!([{ "patient": "1", "birth_date": "x" }]), "facts.patients[0].birth_date"),
        ("/facts/patients", json!([{ "patient": "1" }, { "patient": "1" }]), "facts.patients[1].patient"),
        ("/facts/patients", json!([{ "birth_date": "1980" }]), "facts.patients[0].patient"),
        ("/facts/users", json!([{ "user": "17" }]), "facts.users[0].user"),
        ("/facts/clients", json!([{ "client": "" }]), "facts.clients[0].client"),
        ("/facts/relationships/0/exclude_types", json!(["lower"]), "facts.relationships[0].exclude_types"),
        ("/facts/relationships/0/condition", json!("rain"), "facts.relationships[0].condition"),
        ("/facts/relationships/0/kind", json!("delegation"), "facts.relationships[0].delegator"),
    ] {
        assert_eq!(host.decide(&with(&read(), pointer, value)).problem(), (400, member.into()), "{pointer}");
    }
    assert_eq!(host.decide(&with(&read(), "/facts/patients", json!({}))).problem().0, 400);
    assert_eq!(host.decide(&with(&read(), "/facts/patients", json!([["1"]]))).problem().0, 400);
    let without_right =
        host.decide_as(PLAIN, &with(&without(&read(), "/subject"), "/facts", json!({ "patients": [] })));
    assert_eq!(without_right.status, 403);
}

#[test]
fn equal_ids_of_two_tenants_are_different_people() {
    let (_world, host) = strict();
    for tenant in ["default", "clinic-2"] {
        set(&host, "patients", &json!({ "tenant": tenant, "patient": "123", "birth_date": "1980-01-01" }));
    }
    set(&host, "patients", &json!({ "tenant": "clinic-2", "patient": "123", "deceased": true }));
    set(&host, "clients", &json!({ "tenant": "clinic-2", "client": "phr", "status": "revoked" }));
    let other = with(&read_own(), "/tenant", json!("clinic-2"));
    assert_eq!((reason(&host, &read_own()), reason(&host, &other)), ("self".into(), "client-not-active".into()));
    assert_eq!(host.admin("DELETE", "/admin/v1/clients?tenant=clinic-2&id=phr", &[], "").status, 200);
    assert_eq!((reason(&host, &read_own()), reason(&host, &other)), ("self".into(), "patient-deceased".into()));
    let treats = json!({ "tenant": "clinic-2", "user": "Practitioner/17", "patient": "123", "kind": "treatment" });
    assert_eq!(host.admin("PUT", "/admin/v1/relationships", &[], &treats.to_string()).status, 200);
    for tenant in ["default", "clinic-2"] {
        set(&host, "users", &json!({ "tenant": tenant, "user": "Practitioner/17" }));
    }
    let body = without(&read(), "/facts");
    let other = with(&body, "/tenant", json!("clinic-2"));
    let reasons = (reason(&host, &body), reason(&host, &other));
    assert_eq!(reasons, ("no-relationship".into(), "relationship-treatment".into()));
}

#[test]
fn the_command_line_sets_shows_and_forgets() {
    let (world, host) = strict();
    let ended = world.directory(&["set", "patient", "123", r#"{"birth_date":"1980-01-01"}"#]);
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(0), "created: what is known of patient 123 (revision 1)\n"));
    assert_eq!(reason(&host, &read_own()), "self");
    let shown = world.directory(&["show", "patient", "123"]);
    let expected = json!({ "tenant": "default", "patient": "123", "source": "directory", "birth_date": "1980-01-01" });
    assert_eq!(serde_json::from_str::<Value>(&shown.stdout).unwrap(), expected);
    for (arguments, said) in [
        (vec!["set", "patient", "123", "{"], "EOF"),
        (vec!["set", "patient", "123", r#"{"active":true,"active":false}"#], "active"),
        (vec!["set", "patient", "123", r#"{"zone":"x"}"#], "zone: `x`"),
        (vec!["set", "person", "123", "{}"], "`person` is none of"),
    ] {
        let ended = world.directory(&arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {}", ended.stderr);
        assert!(ended.stderr.contains(said), "{arguments:?}: {}", ended.stderr);
    }
    assert_eq!(world.directory(&["forget", "patient", "123"]).code, Some(0));
    assert_eq!(reason(&host, &read_own()), "patient-unknown");
    for verb in ["show", "forget"] {
        let ended = world.directory(&[verb, "patient", "123"]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(1), "chartgate: nothing is known of patient 123\n"));
    }
    assert_eq!(world.changes().len(), 2);
}

#[test]
fn the_command_line_grants_with_terms() {
    let (world, _host) = strict();
    let granted = world.directory(&[
        "grant",
        "RelatedPerson/5",
        "123",
        "guardian",
        "--json",
        "--level",
        "limited",
        "--exclude-type",
        "Condition",
        "--exclude-type",
        "Observation",
        "--exclude-label",
        "SEX",
        "--condition",
        "minority",
        "--basis",
        "court order 5",
    ]);
    assert_eq!(granted.code, Some(0), "{}", granted.stderr);
    let row = &serde_json::from_str::<Value>(&granted.stdout).unwrap()["relationship"];
    assert_eq!(row["exclude_types"], json!(["Condition", "Observation"]));
    assert_eq!((&row["condition"], &row["basis"]), (&json!("minority"), &json!("court order 5")));
    let delegated = world.directory(&["grant", "Practitioner/16", "123", "delegation"]);
    assert_eq!(delegated.code, Some(2));
    assert!(delegated.stderr.contains("delegator: is missing"), "{}", delegated.stderr);
    assert_eq!(
        world.directory(&["grant", "Practitioner/16", "123", "delegation", "--delegator", "Practitioner/12"]).code,
        Some(0)
    );
    let revoked = world.directory(&["revoke", "RelatedPerson/5", "123", "guardian"]);
    assert_eq!(revoked.code, Some(0), "{}", revoked.stderr);
    let listed = world.directory(&["list", "--json", "--patient", "123", "--user", "RelatedPerson/5"]);
    let rows: Vec<Value> = listed.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told: Vec<_> =
        rows.iter().map(|row| (row["basis"].as_str().unwrap_or(""), row["status"].as_str().unwrap())).collect();
    assert_eq!(told, [("", "revoked"), ("court order 5", "active")], "the revocation stands beside it");
}

//! Facts about facts.

use std::collections::BTreeSet;
use std::sync::Arc;

use chartgate_model::{
    DecisionRequest, FhirBase, FhirRequest, Interaction, Millis, Record, RecordClass, Relationship, Subject,
    SubjectKind, Terms,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Directory, FactError, FactSource, Facts, RecordsAnswer, Resolved, SourceAnswer};
use crate::store::{FILE_NAME, Store, StoreError};

const NOW: Millis = Millis(1_000);
const USER: &str = "Practitioner/17";

fn related(patient: &str, kind: &str) -> Relationship {
    Relationship {
        user: USER.into(),
        patient: patient.into(),
        kind: kind.into(),
        level: "full".into(),
        status: "active".into(),
        via: "ordinary".into(),
        source: String::new(),
        start: Some(Millis(5)),
        end: None,
        terms: Terms::default(),
    }
}

fn with(change: impl FnOnce(&mut Relationship), mut of: Relationship) -> Relationship {
    change(&mut of);
    of
}

fn of(user: &str, patient: &str, status: &str) -> Relationship {
    let change = |r: &mut Relationship| (r.user, r.status) = (user.into(), status.into());
    with(change, related(patient, "treatment"))
}

fn record(class: RecordClass, id: &str, members: Value) -> Record {
    crate::people::record(class, id, "directory", members).unwrap()
}

/// A request by a caller who vouches for something; what it asks does not matter here.
fn asked(relationships: &[Relationship], records: &[Record]) -> DecisionRequest {
    DecisionRequest {
        tenant: "default".into(),
        base: FhirBase { name: "default".into(), url: "https://ehr.example/fhir".into(), version: "4.0.1".into() },
        request: FhirRequest::new(Interaction::Read, "Observation", Some("9")),
        subject: Subject {
            kind: SubjectKind::Provider,
            user: USER.into(),
            client: "app".into(),
            scope: String::new(),
            patient: None,
            encounter: None,
            expires: None,
        },
        stored: Vec::new(),
        relationships: relationships.to_vec(),
        records: records.to_vec(),
        obligations: Vec::new(),
        pin: None,
        explain: false,
        now: NOW,
        simulate: false,
        break_glass: Vec::new(),
    }
}

struct Bench {
    _dir: TempDir,
    store: Arc<Store>,
    facts: Facts,
}

fn bench(rows: &[Relationship], of_user_limit: usize) -> Bench {
    let dir = tempfile::tempdir().unwrap();
    let store = Arc::new(Store::open(dir.path()).unwrap());
    store.put_many("default", rows, NOW).unwrap();
    let facts = Facts::new(Arc::new(Directory::new(Arc::clone(&store), of_user_limit)));
    Bench { _dir: dir, store, facts }
}

impl Bench {
    fn ask(&self, inline: &[Relationship], keys: &[&str]) -> Result<Resolved, FactError> {
        let keys: Vec<_> = keys.iter().map(|&key| key.to_owned()).collect();
        self.facts.resolve(&asked(inline, &[]), &keys)
    }

    /// Put a record into the directory.
    fn know(&self, tenant: &str, class: RecordClass, id: &str, members: Value) {
        self.store.put_record(tenant, &record(class, id, members), NOW).unwrap();
    }

    /// The records of a fact, beside what the caller vouches for.
    fn records(&self, vouched: &[Record], key: &str) -> Value {
        let resolved = self.facts.resolve(&asked(&[], vouched), &[key.to_owned()]).unwrap();
        let fact: Value = serde_json::from_slice(&resolved.facts.first().unwrap().value).unwrap();
        fact["records"].clone()
    }

    fn value(&self, inline: &[Relationship], key: &str) -> Value {
        serde_json::from_slice(&self.ask(inline, &[key]).unwrap().facts.first().unwrap().value).unwrap()
    }

    /// `source:patient:status` of each entry.
    fn entries(&self, inline: &[Relationship], key: &str) -> Vec<String> {
        let value = self.value(inline, key);
        let text = |entry: &Value, member: &str| entry[member].as_str().unwrap().to_owned();
        let line = |e: &Value| format!("{}:{}:{}", text(e, "source"), text(e, "patient"), text(e, "status"));
        value["entries"].as_array().unwrap().iter().map(line).collect()
    }
}

#[test]
fn a_fact_has_the_shape_the_contract_fixes() {
    let bench = bench(&[with(|r| (r.start, r.end) = (None, Some(Millis(9))), related("123", "treatment"))], 10);
    let resolved = bench.ask(&[], &["relationships/Practitioner/17/123"]).unwrap();
    let expected = concat!(
        r#"{"entries":[{"patient":"123","kind":"treatment","level":"full","status":"active","via":"ordinary","#,
        r#""source":"directory","end_ms":9}],"truncated":false}"#
    );
    let fact = resolved.facts.first().unwrap();
    assert_eq!(std::str::from_utf8(&fact.value).unwrap(), expected);
    assert_eq!(fact.key, "relationships/Practitioner/17/123");
    assert_eq!((resolved.sources, resolved.as_of, resolved.dropped), (vec!["directory@1".into()], NOW, vec![]));
}

/// A practitioner's account and chart are those of the role, and what is told of the role counts for both.
#[test]
fn a_role_is_somebody_at_work() {
    let role = "PractitionerRole/9";
    let bench = bench(&[of(role, "1", "active"), of(role, "2", "revoked"), of(USER, "3", "active")], 10);
    let key = "relationships/Practitioner/17/1";
    assert_eq!(bench.entries(&[], key), [""; 0], "nobody says whose role it is");
    let end = "1970-01-01T00:00:02Z";
    bench.know("default", RecordClass::User, role, json!({ "practitioner": USER, "end": end }));
    bench.know("default", RecordClass::User, USER, json!({ "charts": ["7"] }));
    bench.know("other", RecordClass::User, "PractitionerRole/8", json!({ "practitioner": USER }));
    let value = bench.value(&[], key);
    assert_eq!((&value["entries"][0]["patient"], &value["entries"][0]["role_end_ms"]), (&json!("1"), &json!(2000)));
    let all = ["directory:3:active", "directory:1:active", "directory:2:revoked"];
    assert_eq!(bench.entries(&[], "relationships/Practitioner/17"), all);
    let vouched = of(role, "4", "active");
    assert_eq!(bench.entries(&[vouched], "relationships/Practitioner/17/4"), ["caller:4:active"]);
    // The other way, only what takes away.
    assert_eq!(bench.entries(&[], "relationships/PractitionerRole/9/3"), [""; 0]);
    bench.store.revoke("default", USER, "3", "treatment", NOW).unwrap();
    assert_eq!(bench.entries(&[], "relationships/PractitionerRole/9/3"), ["directory:3:revoked"]);
    let records = bench.records(&[], "user/PractitionerRole/9");
    let expected = json!([
        { "status": "active", "end_ms": 2000, "source": "directory" },
        { "status": "active", "charts": ["7"], "source": "directory" },
    ]);
    assert_eq!(records, expected);
    // A caller knows of another role.
    let by_caller = record(RecordClass::User, "PractitionerRole/5", json!({ "practitioner": USER }));
    let asked = asked(&[of("PractitionerRole/5", "6", "active")], &[by_caller]);
    let resolved = bench.facts.resolve(&asked, &["relationships/Practitioner/17/6".into()]).unwrap();
    let value: Value = serde_json::from_slice(&resolved.facts[0].value).unwrap();
    assert_eq!(value["entries"][0]["patient"], "6");
}

#[test]
fn of_lists_that_are_cut_off_only_what_all_of_them_show_is_told() {
    let role = "PractitionerRole/9";
    let rows = [
        of(USER, "1", "active"),
        of(USER, "5", "active"),
        of(role, "2", "active"),
        of(role, "3", "active"),
        of(role, "5", "revoked"),
    ];
    let bench = bench(&rows, 2);
    bench.know("default", RecordClass::User, role, json!({ "practitioner": USER }));
    let value = bench.value(&[], "relationships/Practitioner/17");
    assert_eq!(value["truncated"], true);
    let patients: Vec<_> = value["entries"].as_array().unwrap().iter().map(|one| one["patient"].clone()).collect();
    assert_eq!(patients, ["1", "2", "3"], "of 5 the list that is cut off may hold a revocation");
}

#[test]
fn more_roles_than_anybody_plays_decide_nothing() {
    let bench = bench(&[], 10);
    let role = |n: usize| {
        bench.know("default", RecordClass::User, &format!("PractitionerRole/{n}"), json!({ "practitioner": USER }));
    };
    (0..100).for_each(role);
    assert!(bench.ask(&[], &["relationships/Practitioner/17/1"]).is_ok());
    role(100);
    let error = bench.ask(&[], &["relationships/Practitioner/17/1"]).unwrap_err();
    assert_eq!((error.reason(), error.to_string()), ("fact-invalid", "a practitioner has more than 100 roles".into()));
}

#[test]
fn terms_are_told_where_there_are_any_and_the_basis_is_not() {
    let terms = Terms {
        basis: "deed 9".into(),
        exclude_types: vec!["Observation".into(), "Condition".into()],
        exclude_labels: vec!["SEX".into()],
        condition: Some("minority".into()),
        delegator: Some("Practitioner/12".into()),
    };
    let given = with(|r| (r.start, r.terms) = (None, terms), related("123", "delegation"));
    let bench = bench(&[given], 10);
    let expected = json!({
        "patient": "123", "kind": "delegation", "level": "full", "status": "active", "via": "ordinary",
        "source": "directory", "exclude_types": ["Observation", "Condition"], "exclude_labels": ["SEX"],
        "condition": "minority", "delegator": "Practitioner/12",
    });
    assert_eq!(bench.value(&[], "relationships/Practitioner/17/123")["entries"], json!([expected]));
}

#[test]
fn a_record_is_told_with_its_times_and_the_offset_of_its_zone() {
    let bench = bench(&[], 10);
    assert_eq!(bench.records(&[], "patient/123"), json!([]));
    bench.know(
        "default",
        RecordClass::Patient,
        "123",
        json!({
            "birth_date": "2008-11-25", "zone": "Asia/Tokyo", "active": false, "deceased": true, "test": true,
            "app_access_blocked": true, "emancipated": true, "incapacitated": true,
            "restriction": { "allow": ["Practitioner/1"], "until": "1970-01-01T00:00:02Z" },
        }),
    );
    let expected = json!({
        "patient": "123", "source": "directory", "birth_date": "2008-11-25", "utc_offset_s": 32_400, "active": false,
        "deceased": true, "test": true, "app_access_blocked": true, "emancipated": true, "incapacitated": true,
        "restriction": { "allow": ["Practitioner/1"], "until_ms": 2_000 },
    });
    assert_eq!(bench.records(&[], "patient/123"), json!([expected]));
    bench.know(
        "default",
        RecordClass::User,
        USER,
        json!({
            "status": "suspended", "start": "1970-01-01T00:00:01Z", "end": "1970-01-01T00:00:02Z", "roles": [],
            "charts": ["9"], "test": true,
        }),
    );
    let expected = json!({
        "source": "directory", "status": "suspended", "start_ms": 1_000, "end_ms": 2_000, "roles": [], "charts": ["9"],
        "test": true,
    });
    assert_eq!(bench.records(&[], "user/Practitioner/17"), json!([expected]));
    bench.know("default", RecordClass::Client, "https://app.example/x", json!({ "kind": "provider" }));
    let expected = json!({ "source": "directory", "status": "active", "kind": "provider" });
    assert_eq!(bench.records(&[], "client/https://app.example/x"), json!([expected]));
}

#[test]
fn equal_ids_of_another_tenant_are_other_people() {
    let bench = bench(&[related("123", "treatment")], 10);
    bench.know("clinic-2", RecordClass::Patient, "123", json!({ "test": true }));
    bench.know("clinic-2", RecordClass::User, USER, json!({ "status": "suspended" }));
    bench.know("clinic-2", RecordClass::Client, "app", json!({ "status": "revoked" }));
    for key in ["patient/123", "patients/Practitioner/17", "user/Practitioner/17", "client/app"] {
        assert_eq!(bench.records(&[], key), json!([]), "{key}");
    }
}

/// `patient:source` of each record, in order.
fn told(records: &Value) -> Vec<String> {
    let text = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
    records
        .as_array()
        .unwrap()
        .iter()
        .map(|record| format!("{}:{}", text(record, "patient"), text(record, "source")))
        .collect()
}

#[test]
fn a_chart_is_followed_into_what_it_was_merged_into_by_whoever_says_so() {
    let bench = bench(&[], 10);
    bench.know("default", RecordClass::Patient, "A", json!({ "merged_into": "B" }));
    bench.know("default", RecordClass::Patient, "C", json!({}));
    let vouched = [
        record(RecordClass::Patient, "B", json!({ "merged_into": "C" })),
        record(RecordClass::Patient, "Z", json!({})),
    ];
    assert_eq!(told(&bench.records(&vouched, "patient/A")), ["A:directory", "B:caller", "C:directory"]);
    assert_eq!(told(&bench.records(&[], "patient/A")), ["A:directory"]);
    // In a circle nobody is told twice, and a chain is followed no further than a policy believes it.
    bench.know("default", RecordClass::Patient, "C", json!({ "merged_into": "A" }));
    assert_eq!(told(&bench.records(&vouched, "patient/B")), ["B:caller", "C:directory", "A:directory"]);
    for step in 0..8 {
        let into = format!("m{}", step + 1);
        bench.know("default", RecordClass::Patient, &format!("m{step}"), json!({ "merged_into": into }));
    }
    assert_eq!(told(&bench.records(&[], "patient/m0")).len(), 6);
}

#[test]
fn the_charts_of_a_list_are_those_of_everybody_on_it() {
    let bench = bench(&[related("1", "treatment"), related("2", "treatment")], 10);
    for id in ["1", "2", "3", "4", "5"] {
        let members = if id == "2" { json!({ "merged_into": "3" }) } else { json!({}) };
        bench.know("default", RecordClass::Patient, id, members);
    }
    let keys = ["patients/Practitioner/17".to_owned()];
    let resolved = bench.facts.resolve(&asked(&[related("4", "treatment")], &[]), &keys).unwrap();
    let fact: Value = serde_json::from_slice(&resolved.facts.first().unwrap().value).unwrap();
    assert_eq!(told(&fact["records"]), ["1:directory", "2:directory", "4:directory", "3:directory"]);
}

#[test]
fn nothing_known_is_an_empty_list_and_not_an_error() {
    let bench = bench(&[], 10);
    let value = bench.value(&[], "relationships/Practitioner/17/123");
    assert_eq!(value, json!({"entries": [], "truncated": false}));
}

#[test]
fn directory_and_caller_stand_side_by_side() {
    let bench = bench(&[with(|r| r.status = "revoked".into(), related("123", "treatment"))], 10);
    // A caller cannot pass for the directory.
    let inline = [with(|r| r.source = "directory".into(), related("123", "treatment")), related("9", "treatment")];
    let between = bench.entries(&inline, "relationships/Practitioner/17/123");
    assert_eq!(between, ["directory:123:revoked", "caller:123:active"]);
    let all = bench.entries(&inline, "relationships/Practitioner/17");
    assert_eq!(all, ["directory:123:revoked", "caller:123:active", "caller:9:active"]);
}

#[test]
fn another_users_relationships_are_not_taken_for_the_users() {
    let bench = bench(&[with(|r| r.user = "Practitioner/1".into(), related("123", "treatment"))], 10);
    let inline = [with(|r| r.user = "Practitioner/170".into(), related("123", "treatment"))];
    for key in ["relationships/Practitioner/17", "relationships/Practitioner/17/123"] {
        assert_eq!(bench.entries(&inline, key), [""; 0], "{key}");
    }
}

#[test]
fn break_glass_is_dropped_from_both_sources_and_reported_once() {
    let glass = |kind: &str| with(|r| r.via = "break-glass".into(), related("123", kind));
    let bench = bench(&[glass("treatment"), related("123", "care")], 10);
    let keys = ["relationships/Practitioner/17", "relationships/Practitioner/17/123"];
    let resolved = bench.ask(&[glass("emergency")], &keys).unwrap();
    for fact in &resolved.facts {
        let value: Value = serde_json::from_slice(&fact.value).unwrap();
        assert_eq!(value["entries"].as_array().unwrap().len(), 1);
        assert_eq!(value["entries"][0]["kind"], "care");
    }
    let expected = [
        "directory Practitioner/17/123/treatment via break-glass",
        "caller Practitioner/17/123/emergency via break-glass",
    ];
    assert_eq!(resolved.dropped, expected);
}

#[test]
fn a_via_that_is_merely_unknown_is_treated_as_break_glass() {
    let bench = bench(&[], 10);
    let inline = [with(|r| r.via = "unheard-of".into(), related("123", "treatment"))];
    assert_eq!(bench.entries(&inline, "relationships/Practitioner/17/123"), [""; 0]);
}

#[test]
fn beyond_a_cut_list_the_callers_word_does_not_count() {
    let rows = [related("a", "treatment"), with(|r| r.status = "revoked".into(), related("z", "treatment"))];
    let inline = ["a", "m", "z"].map(|patient| related(patient, "treatment"));
    let key = "relationships/Practitioner/17";
    let (whole, cut) = (bench(&rows, 2), bench(&rows, 1));
    assert_eq!(whole.value(&inline, key)["truncated"], false);
    assert_eq!(whole.entries(&inline, key).len(), 5);
    assert_eq!(cut.value(&inline, key)["truncated"], true);
    assert_eq!(cut.entries(&inline, key), ["directory:a:active", "caller:a:active"]);
}

#[test]
fn an_unknown_key_fails_all() {
    let bench = bench(&[], 10);
    for key in ["resource/Patient/1", "consent/1", "relationships/17", ""] {
        let error = bench.ask(&[], &["relationships/Practitioner/17", key]).unwrap_err();
        assert!(matches!(error, FactError::Unknown(_)), "{key}");
        assert_eq!(error.reason(), "fact-unknown");
    }
}

#[test]
fn a_malformed_inline_relationship_fails_even_where_it_is_not_asked_for() {
    let bench = bench(&[], 10);
    let inline = [related("1", "treatment"), with(|r| r.status = "maybe".into(), related("2", "treatment"))];
    let error = bench.ask(&inline, &["relationships/Practitioner/17/1"]).unwrap_err();
    assert!(matches!(error, FactError::Inline { index: 1, .. }), "{error}");
    assert_eq!(error.reason(), "fact-invalid");
}

#[test]
fn a_source_that_fails_is_an_error_and_never_an_empty_answer() {
    struct Broken;
    impl FactSource for Broken {
        fn between(&self, _: &str, _: &str, _: &str) -> Result<SourceAnswer, FactError> {
            Err(StoreError::Unreadable { column: "start_ms" }.into())
        }
        fn of_user(&self, _: &str, _: &str) -> Result<SourceAnswer, FactError> {
            self.between("", "", "")
        }
        fn roles(&self, _: &str, _: &str) -> Result<RecordsAnswer, FactError> {
            Err(StoreError::Unreadable { column: "body" }.into())
        }
        fn records(&self, _: &str, _: RecordClass, _: &BTreeSet<String>) -> Result<RecordsAnswer, FactError> {
            Err(StoreError::Unreadable { column: "body" }.into())
        }
    }
    let of_people = ["patient/1", "patients/Practitioner/17", "user/Practitioner/17", "client/app"];
    for key in ["relationships/Practitioner/17", "relationships/Practitioner/17/1"].into_iter().chain(of_people) {
        let error = Facts::new(Arc::new(Broken)).resolve(&asked(&[], &[]), &[key.to_owned()]).unwrap_err();
        assert_eq!(error.reason(), "fact-source-failed");
    }
}

#[test]
fn a_revocation_shows_in_the_next_fact_and_its_stamp() {
    let bench = bench(&[related("123", "treatment")], 10);
    let key = "relationships/Practitioner/17/123";
    assert_eq!(bench.entries(&[], key), ["directory:123:active"]);
    let cli = Store::open(bench.store.path().parent().unwrap()).unwrap();
    cli.revoke("default", USER, "123", "treatment", NOW).unwrap();
    assert_eq!(bench.entries(&[], key), ["directory:123:revoked"]);
    assert_eq!(bench.ask(&[], &[key]).unwrap().sources, ["directory@2"]);
    assert!(bench.store.path().ends_with(FILE_NAME));
}

//! Facts about facts.

use std::sync::Arc;

use chartgate_model::{Millis, Relationship};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Directory, FactError, Facts, RelationshipSource, Resolved, SourceAnswer};
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
    }
}

fn with(change: impl FnOnce(&mut Relationship), mut of: Relationship) -> Relationship {
    change(&mut of);
    of
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
        self.facts.resolve("default", inline, &keys, NOW)
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
    impl RelationshipSource for Broken {
        fn between(&self, _: &str, _: &str, _: &str) -> Result<SourceAnswer, FactError> {
            Err(StoreError::Unreadable { column: "start_ms" }.into())
        }
        fn of_user(&self, _: &str, _: &str) -> Result<SourceAnswer, FactError> {
            self.between("", "", "")
        }
    }
    for key in ["relationships/Practitioner/17", "relationships/Practitioner/17/1"] {
        let error = Facts::new(Arc::new(Broken)).resolve("default", &[], &[key.to_owned()], NOW).unwrap_err();
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

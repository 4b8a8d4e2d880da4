//! Facts about records.

use chartgate_model::{Millis, Record, RecordClass};
use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::store::{Effect, FILE_NAME, Store};

const NOW: Millis = Millis(1_000);

fn open() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn of(class: RecordClass, id: &str, members: Value) -> Record {
    crate::people::record(class, id, "directory", members).unwrap()
}

#[test]
fn what_is_put_comes_back_and_each_change_raises_the_revision() {
    let (_dir, store) = open();
    let (plain, dead) = (json!({ "zone": "UTC" }), json!({ "zone": "UTC", "deceased": true }));
    let steps = [
        (&plain, 1, Effect::Created),
        (&plain, 1, Effect::Unchanged),
        (&dead, 2, Effect::Updated),
        (&dead, 2, Effect::Unchanged),
    ];
    for (members, revision, effect) in steps {
        let given = of(RecordClass::Patient, "123", members.clone());
        let change = store.put_record("default", &given, NOW).unwrap();
        assert_eq!((change.revision, change.effect), (revision, effect));
        assert_eq!(store.records_of("default", RecordClass::Patient, ["123"]).unwrap(), (vec![given], revision));
    }
    for (revision, effect) in [(3, Effect::Deleted), (3, Effect::Unchanged)] {
        let change = store.delete_record("default", RecordClass::Patient, "123", "directory").unwrap();
        assert_eq!((change.revision, change.effect), (revision, effect));
    }
    assert_eq!(store.records_of("default", RecordClass::Patient, ["123"]).unwrap(), (vec![], 3));
}

#[test]
fn tenants_and_classes_are_apart() {
    let (_dir, store) = open();
    store.put_record("one", &of(RecordClass::Client, "a", json!({})), NOW).unwrap();
    store.put_record("one", &of(RecordClass::Patient, "a", json!({ "test": true })), NOW).unwrap();
    for (tenant, class, known) in [
        ("one", RecordClass::Client, 1),
        ("one", RecordClass::Patient, 1),
        ("two", RecordClass::Client, 0),
        ("two", RecordClass::Patient, 0),
    ] {
        assert_eq!(store.records_of(tenant, class, ["a"]).unwrap().0.len(), known, "{tenant}");
        assert_eq!(store.records(tenant, class, None, 10).unwrap().records.len(), known, "{tenant}");
    }
    assert_eq!(store.delete_record("two", RecordClass::Client, "a", "directory").unwrap().effect, Effect::Unchanged);
    assert!(store.put_record("No Tenant", &of(RecordClass::Client, "a", json!({})), NOW).is_err());
}

#[test]
fn pages_follow_each_other_without_gap_or_repeat() {
    let (_dir, store) = open();
    let ids: Vec<String> = (0..7).map(|n| format!("p{n}")).collect();
    for id in &ids {
        store.put_record("default", &of(RecordClass::Patient, id, json!({})), NOW).unwrap();
    }
    for limit in 1..9 {
        let (mut found, mut after) = (Vec::new(), None);
        loop {
            let page = store.records("default", RecordClass::Patient, after.as_deref(), limit).unwrap();
            assert!(page.records.len() <= limit);
            found.extend(page.records.into_iter().map(|record| record.id));
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        assert_eq!(found, ids, "{limit}");
    }
}

#[test]
fn what_the_first_schema_held_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let old = Connection::open(dir.path().join(FILE_NAME)).unwrap();
    old.execute_batch(crate::store::schema::FIRST).unwrap();
    old.execute_batch(
        "INSERT INTO relationships VALUES
            ('default', 'Practitioner/17', '123', 'treatment', 'read-only', 'revoked', 'ordinary', 5, 9, 7);
         UPDATE directory SET revision = 41;
         PRAGMA application_id = 0x43484754; PRAGMA user_version = 1;",
    )
    .unwrap();
    drop(old);
    let store = Store::open(dir.path()).unwrap();
    let (found, revision) = store.between("default", "Practitioner/17", "123").unwrap();
    let [row] = found.as_slice() else { panic!("{found:?}") };
    assert_eq!((row.level.as_str(), row.status.as_str(), revision), ("read-only", "revoked", 41));
    assert_eq!((row.start, row.end, row.terms.basis.as_str()), (Some(Millis(5)), Some(Millis(9)), ""));
    let page = store.list("default", &crate::store::Filter::default(), None, 10).unwrap();
    assert_eq!(page.relationships.len(), 1);
}

/// A practitioner's roles are looked for at every decision about them.
#[test]
fn the_roles_of_a_practitioner_are_found_by_an_index() {
    let data = tempfile::tempdir().unwrap();
    let store = Store::open(data.path()).unwrap();
    let plan = store.read(|transaction| {
        let mut statement = transaction.prepare(&format!("EXPLAIN QUERY PLAN {}", super::ROLES))?;
        let steps = statement.query_map(["default", "Practitioner/17"], |row| row.get::<_, String>(3))?;
        Ok(steps.collect::<Result<Vec<_>, _>>()?)
    });
    let plan = plan.unwrap();
    assert_eq!(plan.len(), 1, "{plan:?}");
    assert!(plan[0].contains("records_of_practitioner"), "{plan:?}");
}

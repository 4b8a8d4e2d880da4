//! Facts about the directory.

use chartgate_model::{Millis, Relationship, Terms};
use tempfile::TempDir;

use super::{Cursor, Effect, Filter, MAX_PAGE};
use crate::store::{FILE_NAME, Store, StoreError};

const NOW: Millis = Millis(1_000);
const USER: &str = "Practitioner/17";

fn open() -> (TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    (dir, store)
}

fn related(user: &str, patient: &str, kind: &str) -> Relationship {
    Relationship {
        user: user.into(),
        patient: patient.into(),
        kind: kind.into(),
        level: "full".into(),
        status: "active".into(),
        via: "ordinary".into(),
        source: "directory".into(),
        start: Some(Millis(5)),
        end: None,
        terms: Terms::default(),
    }
}

#[test]
fn what_is_put_comes_back_with_its_revision() {
    let (_dir, store) = open();
    let given = Relationship { end: Some(Millis(99)), ..related(USER, "123", "treatment") };
    let change = store.put("default", &Relationship { source: "caller".into(), ..given.clone() }, NOW).unwrap();
    assert_eq!((change.revision, change.effect), (1, Effect::Created));
    assert_eq!(store.between("default", USER, "123").unwrap(), (vec![given.clone()], 1));
    assert_eq!(store.get("default", USER, "123", "treatment", "").unwrap(), Some(given));
}

#[test]
fn each_change_raises_the_revision_by_one_and_no_change_leaves_it() {
    let (_dir, store) = open();
    let first = related(USER, "123", "treatment");
    let limited = Relationship { level: "limited".into(), ..first.clone() };
    let steps = [(&first, 1, Effect::Created), (&first, 1, Effect::Unchanged), (&limited, 2, Effect::Updated)];
    for (given, revision, effect) in steps {
        let change = store.put("default", given, NOW).unwrap();
        assert_eq!((change.revision, change.effect), (revision, effect));
    }
    let change = store.revoke("default", USER, "123", "treatment", NOW).unwrap();
    assert_eq!((change.revision, change.effect), (3, Effect::Updated));
    let change = store.revoke("default", USER, "123", "treatment", NOW).unwrap();
    assert_eq!((change.revision, change.effect), (3, Effect::Unchanged));
    let change = store.delete("default", USER, "123", "treatment", "").unwrap();
    assert_eq!((change.revision, change.effect), (4, Effect::Deleted));
    let change = store.delete("default", USER, "123", "treatment", "").unwrap();
    assert_eq!((change.revision, change.effect), (4, Effect::Unchanged));
    assert_eq!(store.revision().unwrap(), 4);
}

#[test]
fn a_revoked_relationship_stays_in_the_answer_as_revoked() {
    let (_dir, store) = open();
    store.put("default", &related(USER, "123", "treatment"), NOW).unwrap();
    store.revoke("default", USER, "123", "treatment", NOW).unwrap();
    let (found, _) = store.between("default", USER, "123").unwrap();
    assert_eq!(found.iter().map(|r| r.status.as_str()).collect::<Vec<_>>(), ["revoked"]);
}

#[test]
fn a_revocation_by_another_process_is_seen_by_the_next_read() {
    let (dir, host) = open();
    let cli = Store::open(dir.path()).unwrap();
    host.put("default", &related(USER, "123", "treatment"), NOW).unwrap();
    assert_eq!(host.between("default", USER, "123").unwrap().1, 1);
    cli.revoke("default", USER, "123", "treatment", NOW).unwrap();
    let (found, revision) = host.between("default", USER, "123").unwrap();
    assert_eq!((found.first().unwrap().status.as_str(), revision), ("revoked", 2));
}

#[test]
fn tenants_never_see_each_other() {
    let (_dir, store) = open();
    store.put("one", &related(USER, "123", "treatment"), NOW).unwrap();
    assert!(store.between("two", USER, "123").unwrap().0.is_empty());
    assert!(store.of_user("two", USER, 10).unwrap().0.is_empty());
    assert!(store.list("two", &Filter::default(), None, 10).unwrap().relationships.is_empty());
    assert_eq!(store.revoke("two", USER, "123", "treatment", NOW).unwrap().effect, Effect::Created);
    assert_eq!(store.delete("two", USER, "123", "treatment", "").unwrap().effect, Effect::Deleted);
    assert_eq!(store.between("one", USER, "123").unwrap().0[0].status, "active");
}

#[test]
fn nothing_invalid_is_stored() {
    let (_dir, store) = open();
    let bad = Relationship { level: "all".into(), ..related(USER, "123", "treatment") };
    assert!(matches!(store.put("default", &bad, NOW).unwrap_err(), StoreError::Invalid(e) if e.member == "level"));
    let good = related(USER, "123", "treatment");
    assert!(matches!(store.put("No", &good, NOW).unwrap_err(), StoreError::Invalid(e) if e.member == "tenant"));
    assert_eq!(store.revision().unwrap(), 0);
}

#[test]
fn break_glass_may_not_hide_an_ordinary_relationship() {
    let (_dir, store) = open();
    let ordinary = related(USER, "123", "treatment");
    let glass = Relationship { via: "break-glass".into(), ..ordinary.clone() };
    store.put("default", &glass, NOW).unwrap();
    store.put("default", &ordinary, NOW).unwrap();
    store.revoke("default", USER, "123", "treatment", NOW).unwrap();
    assert!(matches!(store.put("default", &glass, NOW).unwrap_err(), StoreError::Invalid(e) if e.member == "via"));
    assert!(matches!(
        store.put_many("default", &[glass], NOW).unwrap_err(),
        StoreError::Entry { index: 0, source } if source.member == "via"
    ));
    assert_eq!(store.get("default", USER, "123", "treatment", "").unwrap().unwrap().status, "revoked");
}

#[test]
fn a_bulk_change_is_all_or_nothing() {
    let (_dir, store) = open();
    let good = related(USER, "1", "treatment");
    let bad = Relationship { patient: "Patient/2".into(), ..good.clone() };
    let error = store.put_many("default", &[good.clone(), bad], NOW).unwrap_err();
    assert!(matches!(error, StoreError::Entry { index: 1, source } if source.member == "patient"));
    let error = store.put_many("default", &[good.clone(), good.clone()], NOW).unwrap_err();
    assert!(matches!(error, StoreError::Entry { index: 1, .. }), "{error}");
    assert_eq!(store.revision().unwrap(), 0);

    store.put("default", &good, NOW).unwrap();
    let limited = Relationship { level: "limited".into(), ..related(USER, "2", "treatment") };
    store.put("default", &related(USER, "2", "treatment"), NOW).unwrap();
    let bulk = store.put_many("default", &[good, limited, related(USER, "3", "treatment")], NOW).unwrap();
    assert_eq!((bulk.created, bulk.updated, bulk.unchanged, bulk.revision), (1, 1, 1, 4));
}

#[test]
fn a_bulk_change_that_breaks_halfway_leaves_nothing_behind() {
    let (_dir, store) = open();
    store.put("default", &related(USER, "2", "treatment"), NOW).unwrap();
    let glass = Relationship { via: "break-glass".into(), ..related(USER, "2", "treatment") };
    store.put_many("default", &[related(USER, "1", "treatment"), glass], NOW).unwrap_err();
    assert!(store.between("default", USER, "1").unwrap().0.is_empty());
    assert_eq!(store.revision().unwrap(), 1);
}

#[test]
fn pages_join_to_the_whole_list_under_every_filter() {
    let (_dir, store) = open();
    let mut all = Vec::new();
    for user in ["Patient/1", USER, "Practitioner/2"] {
        for patient in ["a", "b", "c"] {
            all.extend(["care", "treatment"].map(|kind| related(user, patient, kind)));
        }
    }
    store.put_many("default", &all, NOW).unwrap();
    let key = |r: &Relationship| (r.user.clone(), r.patient.clone(), r.kind.clone());
    all.sort_by_key(key);
    let users = [None, Some(USER.to_owned()), Some("Practitioner/9".to_owned())];
    let patients = [None, Some("b".to_owned())];
    for (user, patient) in users.iter().flat_map(|u| patients.iter().map(move |p| (u, p))) {
        let wanted = |r: &&Relationship| {
            user.as_ref().is_none_or(|u| *u == r.user) && patient.as_ref().is_none_or(|p| *p == r.patient)
        };
        let expected: Vec<_> = all.iter().filter(wanted).cloned().collect();
        let filter = Filter { user: user.clone(), patient: patient.clone() };
        for limit in [1, 2, 5, 100] {
            let (mut found, mut after) = (Vec::new(), None::<Cursor>);
            loop {
                let page = store.list("default", &filter, after.as_ref(), limit).unwrap();
                assert!(page.relationships.len() <= limit);
                assert_eq!(page.revision, 18);
                found.extend(page.relationships);
                let Some(next) = page.next else { break };
                after = Some(Cursor::parse(&next.to_string()).unwrap());
            }
            assert_eq!(found, expected, "{filter:?} by {limit}");
        }
    }
}

#[test]
fn a_page_is_bounded_whatever_is_asked() {
    let (_dir, store) = open();
    let many: Vec<_> = (0..=MAX_PAGE).map(|n| related(USER, &n.to_string(), "treatment")).collect();
    store.put_many("default", &many, NOW).unwrap();
    for (limit, length) in [(0, 1), (1, 1), (MAX_PAGE, MAX_PAGE), (usize::MAX, MAX_PAGE)] {
        let page = store.list("default", &Filter::default(), None, limit).unwrap();
        assert_eq!((page.relationships.len(), page.next.is_some()), (length, true));
    }
}

#[test]
fn a_cursor_that_is_not_ours_is_refused() {
    for text in ["", "a", "Practitioner/17/1", "Device/17/1/treatment", "Practitioner/17/1/-/treatment", "x/y/z/w"] {
        assert!(Cursor::parse(text).is_err(), "{text}");
    }
}

#[test]
fn the_relationships_of_a_user_are_cut_between_patients_only() {
    let (_dir, store) = open();
    let rows = ["a", "b"].iter().flat_map(|p| ["care", "treatment"].map(|kind| related(USER, p, kind)));
    store.put_many("default", &rows.collect::<Vec<_>>(), NOW).unwrap();
    for (limit, kept, truncated) in [(5, 4, false), (4, 4, false), (3, 2, true), (2, 2, true), (1, 0, true)] {
        let (found, cut, revision) = store.of_user("default", USER, limit).unwrap();
        assert_eq!((found.len(), cut, revision), (kept, truncated, 4), "limit {limit}");
    }
}

#[test]
fn a_row_edited_by_hand_into_nonsense_is_refused_by_the_database() {
    let (dir, store) = open();
    store.put("default", &related(USER, "123", "treatment"), NOW).unwrap();
    let other = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
    for change in ["level = 'all'", "status = ''", "via = ''", "end_ms = start_ms", "start_ms = -1", "kind = NULL"] {
        assert!(other.execute(&format!("UPDATE relationships SET {change}"), []).is_err(), "{change}");
    }
}

#[test]
fn threads_read_while_one_writes_and_never_see_rows_of_another_revision() {
    let (_dir, store) = open();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..50 {
                store.put("default", &related(USER, &format!("p{n:03}"), "treatment"), NOW).unwrap();
            }
        });
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..100 {
                    let (rows, _, revision) = store.of_user("default", USER, 1_000).unwrap();
                    assert_eq!(rows.len() as u64, revision);
                }
            });
        }
    });
}

fn on(basis: &str) -> Relationship {
    let terms = Terms { basis: basis.into(), ..Terms::default() };
    Relationship { terms, ..related(USER, "123", "treatment") }
}

fn statuses(store: &Store) -> Vec<String> {
    let (found, _) = store.between("default", USER, "123").unwrap();
    found.iter().map(|row| format!("{}:{}", row.terms.basis, row.status)).collect()
}

#[test]
fn relationships_on_several_bases_stand_side_by_side() {
    let (_dir, store) = open();
    for basis in ["visit 1", "", "visit 2"] {
        assert_eq!(store.put("default", &on(basis), NOW).unwrap().effect, Effect::Created);
    }
    assert_eq!(statuses(&store), [":active", "visit 1:active", "visit 2:active"]);
    assert_eq!(store.get("default", USER, "123", "treatment", "visit 2").unwrap(), Some(on("visit 2")));
    assert_eq!(store.delete("default", USER, "123", "treatment", "visit 1").unwrap().effect, Effect::Deleted);
    assert_eq!(statuses(&store), [":active", "visit 2:active"]);
    assert_eq!(store.put_many("default", &[on("a"), on("b")], NOW).unwrap().created, 2);
    assert!(store.put_many("default", &[on("a"), on("a")], NOW).is_err());
}

#[test]
fn a_revocation_stands_beside_grants_on_other_bases_and_outlives_them() {
    let (_dir, store) = open();
    store.put("default", &on("visit 1"), NOW).unwrap();
    assert_eq!(store.revoke("default", USER, "123", "treatment", NOW).unwrap().effect, Effect::Updated);
    assert_eq!(statuses(&store), [":revoked", "visit 1:active"]);
    assert_eq!(store.revoke("default", USER, "123", "treatment", NOW).unwrap().effect, Effect::Unchanged);
    store.put("default", &on("visit 1"), NOW).unwrap();
    assert_eq!(statuses(&store), [":revoked", "visit 1:active"]);
    // What is held elsewhere only, by a role or by the word of a FHIR server.
    assert_eq!(store.revoke("default", USER, "9", "treatment", NOW).unwrap().effect, Effect::Created);
    assert_eq!(store.revoke("default", USER, "9", "treatment", NOW).unwrap().effect, Effect::Unchanged);
    assert_eq!(store.get("default", USER, "9", "treatment", "").unwrap().unwrap().status, "revoked");
    assert_eq!(store.revoke("default", USER, "9", "delegation", NOW).unwrap().effect, Effect::Unchanged);
    assert!(store.revoke("default", USER, "9/..", "treatment", NOW).is_err());
}

#[test]
fn a_revocation_is_ordinary_whatever_it_revokes() {
    let (_dir, store) = open();
    store.put("default", &Relationship { via: "break-glass".into(), ..on("") }, NOW).unwrap();
    store.put("default", &on("visit 1"), NOW).unwrap();
    assert_eq!(store.revoke("default", USER, "123", "treatment", NOW).unwrap().effect, Effect::Updated);
    let (found, _) = store.between("default", USER, "123").unwrap();
    assert!(found.iter().any(|row| row.status == "revoked" && row.via == "ordinary"), "{found:?}");
}

#[test]
fn terms_come_back_as_they_were_put() {
    let (_dir, store) = open();
    let terms = Terms {
        basis: "court order 5/2026".into(),
        exclude_types: vec!["Observation".into(), "Condition".into()],
        exclude_labels: vec!["SEX".into()],
        condition: Some("incapacity".into()),
        delegator: Some("Practitioner/12".into()),
    };
    let given = Relationship { terms, ..related(USER, "123", "delegation") };
    store.put("default", &given, NOW).unwrap();
    assert_eq!(store.get("default", USER, "123", "delegation", "court order 5/2026").unwrap(), Some(given.clone()));
    assert_eq!(store.put("default", &given, NOW).unwrap().effect, Effect::Unchanged);
    let page = store.list("default", &Filter::default(), None, 1).unwrap();
    assert_eq!(page.relationships, [given]);
}

/// The next import of the resource would take the grant away.
#[test]
fn nothing_is_granted_by_hand_on_what_resources_give() {
    let (_dir, store) = open();
    let on = |basis: &str, status: &str| {
        let terms = Terms { basis: basis.into(), ..Terms::default() };
        Relationship { terms, status: status.into(), ..related(USER, "123", "treatment") }
    };
    for basis in ["Consent/77", "Encounter/9#2", "CareTeam/a.b-c"] {
        assert!(store.put("default", &on(basis, "active"), NOW).is_err(), "{basis}");
        assert!(store.put_many("default", &[on(basis, "active")], NOW).is_err(), "{basis}");
        assert!(store.put("default", &on(basis, "revoked"), NOW).is_ok(), "{basis}");
    }
    for basis in ["", "consent 77", "Observation/1", "Consent/", "court order of 2026"] {
        assert!(store.put("default", &on(basis, "active"), NOW).is_ok(), "{basis}");
    }
}

#[test]
fn authority_granted_by_hand_begins_when_it_is_granted() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let put = |kind: &str, start: Option<Millis>, end: Option<Millis>, at: u64| {
        let given = Relationship { start, end, ..related("RelatedPerson/5", "1", kind) };
        store.put("default", &given, Millis(at)).unwrap();
        store.get("default", "RelatedPerson/5", "1", kind, "").unwrap().unwrap().start
    };
    for kind in ["guardian", "caregiver", "agency"] {
        assert_eq!(put(kind, None, None, 7), Some(Millis(7)), "{kind}");
        assert_eq!(put(kind, None, Some(Millis(90)), 8), Some(Millis(7)), "the same grant, until then");
        assert_eq!(put(kind, Some(Millis(3)), None, 9), Some(Millis(3)), "it says when");
        store.revoke("default", "RelatedPerson/5", "1", kind, Millis(10)).unwrap();
        assert_eq!(put(kind, None, Some(Millis(20)), 11), Some(Millis(11)), "granted anew");
        assert_eq!(put(kind, None, None, 19), Some(Millis(11)), "it goes on");
        assert_eq!(put(kind, None, Some(Millis(20)), 19), Some(Millis(11)));
        assert_eq!(put(kind, None, None, 20), Some(Millis(20)), "it had ended");
    }
    assert_eq!(put("parent", None, None, 12), None, "a parent is one since birth");
    assert_eq!(put("treatment", None, None, 12), None);
}

//! The directory: changed through the API and the command line, obeyed by the very next decision.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use chartgate_tests::host::requests::{read, read_by_directory, relationship, with};
use chartgate_tests::host::{AUDITOR, Answer, Client, EHR, Host, PUBLISHER, World};
use serde_json::{Value, json};

const PATH: &str = "/admin/v1/relationships";
const KEY: &str = "/admin/v1/relationships?user=Practitioner/17&patient=123&kind=treatment";
/// One row as the command line names it.
const ROW: [&str; 3] = ["Practitioner/17", "123", "treatment"];

fn put(host: &Host, row: &Value) -> Answer {
    host.admin("PUT", PATH, &[], &row.to_string())
}

fn treats() -> Value {
    relationship("Practitioner/17", "123")
}

fn reason(host: &Host) -> String {
    host.decide(&read_by_directory()).verdict().1
}

/// `created`, `updated`, `unchanged`, `revision` of a change.
fn counts(answer: &Answer) -> [u64; 4] {
    assert_eq!(answer.status, 200, "{}", answer.text);
    ["created", "updated", "unchanged", "revision"].map(|member| answer.json()[member].as_u64().unwrap())
}

fn rows(host: &Host, query: &str) -> Vec<Value> {
    let page = host.admin("GET", &format!("{PATH}?{query}"), &[], "");
    assert_eq!(page.status, 200, "{}", page.text);
    page.json()["relationships"].as_array().unwrap().clone()
}

#[test]
fn only_a_decision_that_needs_the_directory_fails_with_it() {
    let world = World::with_rules();
    let host = world.start();
    let database = rusqlite::Connection::open(world.data().join("chartgate.db")).unwrap();
    database.execute_batch("DROP TABLE relationships").unwrap();
    // The patient of the launch is looked up ahead, for nothing.
    let subject = json!({ "user": "Practitioner/17", "client": "app", "scope": "user/*.rs", "patient": "123" });
    let search = json!({ "request": { "method": "GET", "url": "/Practitioner?name=x" }, "subject": subject });
    assert_eq!(host.decide(&search).verdict(), ("permit".into(), "shared-directory".into()));
    assert_eq!(host.decide(&read_by_directory()).verdict(), ("indeterminate".into(), "fact-source-failed".into()));
}

#[test]
fn each_change_holds_from_the_next_decision_on() {
    let world = World::with_rules();
    let host = world.start();
    assert_eq!(reason(&host), "no-relationship");
    assert_eq!(counts(&put(&host, &treats())), [1, 0, 0, 1]);
    assert_eq!(reason(&host), "relationship-treatment");
    assert_eq!(counts(&put(&host, &treats())), [0, 0, 1, 1]);
    let table = [
        ("status", "suspended", "relationship-suspended"),
        ("status", "revoked", "relationship-revoked"),
        ("level", "read-only", "relationship-treatment"),
        ("level", "limited", "type-not-in-level"),
        ("end", "2001-01-01T00:00:00Z", "relationship-ended"),
        ("start", "2999-01-01T00:00:00Z", "relationship-not-started"),
    ];
    for (revision, (member, value, expected)) in (2..).zip(table) {
        let changed = put(&host, &with(&treats(), &format!("/{member}"), json!(value)));
        assert_eq!(counts(&changed), [0, 1, 0, revision], "{member} {value}");
        assert_eq!(reason(&host), expected, "{member} {value}");
        let stamp = host.decide(&read_by_directory()).decided()["facts"]["sources"].clone();
        assert_eq!(stamp, json!([format!("directory@{revision}")]));
    }
    assert_eq!(host.admin("DELETE", KEY, &[], "").status, 200);
    assert_eq!(reason(&host), "no-relationship");
    assert!(rows(&host, "").is_empty());
}

#[test]
fn revoked_in_the_directory_beats_the_callers_word() {
    let world = World::with_rules();
    let host = world.start();
    assert_eq!(host.decide(&read()).verdict().0, "permit");
    for status in ["revoked", "suspended"] {
        assert_eq!(put(&host, &with(&treats(), "/status", json!(status))).status, 200);
        assert_eq!(host.decide(&read()).verdict(), ("deny".into(), format!("relationship-{status}")));
    }
}

#[test]
fn a_row_counts_in_its_own_tenant_only() {
    let world = World::with_rules();
    let host = world.start();
    assert_eq!(put(&host, &with(&treats(), "/tenant", json!("clinic-2"))).status, 200);
    assert_eq!(reason(&host), "no-relationship");
    let there = with(&read_by_directory(), "/tenant", json!("clinic-2"));
    assert_eq!(host.decide(&there).verdict().0, "permit");
    assert_eq!((rows(&host, "").len(), rows(&host, "tenant=clinic-2").len()), (0, 1));
    assert_eq!(host.admin("DELETE", KEY, &[], "").status, 200);
    assert_eq!(host.decide(&there).verdict().0, "permit", "a deletion elsewhere is no deletion here");
}

#[test]
fn a_break_glass_row_counts_for_no_app_and_is_on_record() {
    let world = World::with_rules();
    let host = world.start();
    assert_eq!(put(&host, &with(&treats(), "/via", json!("break-glass"))).status, 200);
    let answer = host.decide(&read_by_directory());
    assert_eq!(answer.verdict(), ("deny".into(), "no-relationship".into()));
    let dropped = json!(["directory Practitioner/17/123/treatment via break-glass"]);
    assert_eq!(world.record(&answer.decided()["id"])["break_glass"], dropped);
}

#[test]
fn a_list_is_filtered_and_paged_without_gaps_or_repeats() {
    let world = World::with_rules();
    let host = world.start();
    let all: Vec<Value> = (0..25).map(|n| relationship(&format!("Practitioner/{}", n % 3), &format!("p{n}"))).collect();
    let lines: Vec<String> = all.iter().map(Value::to_string).collect();
    let bulk = host.admin("PUT", "/admin/v1/relationships/bulk", &[], &lines.join("\n"));
    assert_eq!(counts(&bulk), [25, 0, 0, 25]);
    assert_eq!(rows(&host, "user=Practitioner/1").len(), 8);
    assert_eq!(rows(&host, "patient=p7").len(), 1);
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let page = host.admin("GET", &format!("{PATH}?limit=10{after}"), &[], "").json();
        seen.extend(page["relationships"].as_array().unwrap().iter().map(|row| row["patient"].to_string()));
        let Some(next) = page["next"].as_str() else { break };
        let next: String = next.bytes().map(|byte| format!("%{byte:02X}")).collect();
        after = format!("&after={next}");
    }
    let listed = seen.len();
    seen.sort();
    seen.dedup();
    assert_eq!((listed, seen.len()), (25, 25));
    for (limit, status) in [(0, 400), (1, 200), (1_000, 200), (1_001, 400)] {
        assert_eq!(host.admin("GET", &format!("{PATH}?limit={limit}"), &[], "").status, status, "{limit}");
    }
    for query in ["usr=x", "after=nonsense", "limit=many"] {
        assert_eq!(host.admin("GET", &format!("{PATH}?{query}"), &[], "").problem().0, 400, "{query}");
    }
}

#[test]
fn a_bulk_change_is_made_whole_or_not_at_all() {
    let world = World::with_rules();
    let host = world.start();
    let bulk = |lines: &[Value]| {
        let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
        host.admin("PUT", "/admin/v1/relationships/bulk", &[], &lines.join("\n"))
    };
    let other = relationship("Practitioner/18", "124");
    let refused = [
        vec![],
        vec![treats(), with(&other, "/level", json!("all"))],
        vec![treats(), with(&other, "/tenant", json!("clinic-2"))],
        vec![treats(), with(&other, "/more", json!(1))],
        vec![treats(), json!("text")],
        vec![treats(), with(&other, "/kind", json!("self"))],
    ];
    for lines in refused {
        let answer = bulk(&lines);
        assert_eq!(answer.problem().0, 400, "{lines:?}");
        assert!(rows(&host, "").is_empty(), "{lines:?}");
        assert!(
            lines.is_empty() || answer.text.contains("line 2") || answer.text.contains("one tenant"),
            "{}",
            answer.text
        );
    }
    assert!(world.changes().is_empty());
    assert_eq!(counts(&bulk(&[treats(), other.clone()])), [2, 0, 0, 2]);
    assert_eq!(counts(&bulk(&[treats(), with(&other, "/status", json!("revoked"))])), [0, 1, 1, 3]);
    assert_eq!(world.changes().len(), 2);
}

#[test]
fn only_an_operator_changes_the_directory() {
    let world = World::with_rules();
    let host = world.start();
    for key in [AUDITOR, PUBLISHER] {
        assert_eq!(host.admin_as(key, "PUT", PATH, &[], &treats().to_string()).problem().0, 403);
        assert_eq!(host.admin_as(key, "DELETE", KEY, &[], "").problem().0, 403);
        assert_eq!(host.admin_as(key, "PUT", &format!("{PATH}/bulk"), &[], &treats().to_string()).problem().0, 403);
        assert_eq!(host.admin_as(key, "GET", PATH, &[], "").status, 200);
    }
    for key in [EHR, "nobody"] {
        assert_eq!(host.admin_as(key, "PUT", PATH, &[], &treats().to_string()).problem().0, 401);
        assert_eq!(host.admin_as(key, "GET", PATH, &[], "").problem().0, 401);
    }
    assert!(rows(&host, "").is_empty());
    assert!(world.changes().is_empty());
}

#[test]
fn a_malformed_row_is_refused_by_member() {
    let world = World::with_rules();
    let host = world.start();
    let table = [
        ("user", json!("17")),
        ("patient", json!("Patient/123")),
        ("kind", json!("self")),
        ("level", json!("all")),
        ("status", json!("live")),
        ("start", json!("soon")),
        ("tenant", json!("A B")),
        ("note", json!("x")),
        ("user", json!(["hidden-value"])),
    ];
    for (member, value) in table {
        let answer = put(&host, &with(&treats(), &format!("/{member}"), value.clone()));
        assert_eq!(answer.problem(), (400, member.into()), "{value}");
        assert!(!answer.text.contains("hidden-value"));
    }
    assert!(rows(&host, "").is_empty());
}

#[test]
fn each_change_is_on_record_whoever_made_it() {
    let world = World::with_rules();
    let host = world.start();
    put(&host, &treats());
    put(&host, &with(&treats(), "/status", json!("suspended")));
    assert_eq!(world.directory(&[&["revoke"], ROW.as_slice()].concat()).code, Some(0));
    assert_eq!(world.directory(&[&["grant"], ROW.as_slice(), &["--level", "read-only"]].concat()).code, Some(0));
    host.admin("DELETE", KEY, &[], "");
    let told: Vec<_> = world
        .changes()
        .iter()
        .map(|record| {
            assert_eq!(record["subject"], "relationships/Practitioner/17/123/treatment");
            assert_eq!(record["tenant"], "default");
            let text = |value: &Value| value.as_str().unwrap_or("none").to_owned();
            let status = |value: &Value| text(&value["status"]);
            let (before, after) = (status(&record["before"]), status(&record["after"]));
            (text(&record["actor"]), text(&record["action"]), before, after, record["revision"].as_u64().unwrap())
        })
        .collect();
    let line = |actor: &str, action: &str, before: &str, after: &str, revision: u64| {
        (actor.to_owned(), format!("relationship-{action}"), before.to_owned(), after.to_owned(), revision)
    };
    let expected = [
        line("olga", "put", "none", "active", 1),
        line("olga", "put", "active", "suspended", 2),
        line("cli", "revoke", "suspended", "revoked", 3),
        line("cli", "put", "revoked", "active", 4),
        line("olga", "delete", "active", "none", 5),
    ];
    assert_eq!(told, expected);
}

#[test]
fn the_command_line_lists_what_it_granted() {
    let world = World::with_rules();
    let grant = |more: &[&str]| world.directory(&[&["grant"], ROW.as_slice(), more].concat());
    let granted = grant(&["--end", "2999-01-01T00:00:00Z", "--json"]);
    assert_eq!(granted.code, Some(0), "{}", granted.stderr);
    let said: Value = serde_json::from_str(&granted.stdout).unwrap();
    assert_eq!((&said["effect"], &said["revision"]), (&json!("created"), &json!(1)));
    let list = |more: &[&str]| world.directory(&[&["list", "--json"], more].concat()).stdout;
    let row: Value = serde_json::from_str(&list(&[])).unwrap();
    assert_eq!((&row["user"], &row["patient"], &row["status"]), (&json!(ROW[0]), &json!(ROW[1]), &json!("active")));
    assert_eq!(list(&["--user", "Practitioner/18"]), "");
    assert_eq!(list(&["--tenant", "clinic-2"]), "");
    for bad in [["--end", "soon"], ["--level", "all"], ["--tenant", "A B"]] {
        let ended = grant(&bad);
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(2), 1), "{bad:?}: {}", ended.stderr);
    }
    let absent = world.directory(&["revoke", "Practitioner/18", "123", "treatment"]);
    assert_eq!(absent.code, Some(0), "{}", absent.stderr);
    assert!(absent.stderr.contains("revoked all the same"), "{}", absent.stderr);
    assert_eq!(list(&["--user", "Practitioner/18"]).matches("revoked").count(), 1);
    let nobodys = world.directory(&["revoke", "Practitioner/18", "123", "delegation"]);
    assert_eq!((nobodys.code, nobodys.stderr.lines().count()), (Some(1), 1), "{}", nobodys.stderr);
}

/// Ask until told to stop; answers when each request began and whether it was permitted.
fn load(host: &Host, stop: &AtomicBool, asked: &AtomicUsize) -> Vec<(Instant, Instant, bool)> {
    let (client, body) = (Client::new(), read_by_directory());
    let mut seen = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let (decision, _) = client.decide(host.public, EHR, &body).verdict();
        seen.push((began, Instant::now(), decision == "permit"));
        asked.fetch_add(1, Ordering::Relaxed);
    }
    seen
}

#[test]
fn a_revocation_at_the_command_line_binds_every_request_after_it() {
    let world = World::with_rules();
    let host = world.start();
    let (stop, asked) = (AtomicBool::new(false), AtomicUsize::new(0));
    // Waits until the load has seen the state for a while, however slow the machine is.
    let settle = || {
        let until = asked.load(Ordering::Relaxed) + 40;
        while asked.load(Ordering::Relaxed) < until {
            std::thread::yield_now();
        }
    };
    let change = |verb: &str| {
        let began = Instant::now();
        let ended = world.directory(&[&[verb], ROW.as_slice()].concat());
        assert_eq!(ended.code, Some(0), "{}", ended.stderr);
        let changed = (began, Instant::now(), verb == "grant");
        settle();
        changed
    };
    let (seen, changes) = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| load(&host, &stop, &asked))).collect();
        let changes: Vec<_> = (0..10).flat_map(|_| [change("grant"), change("revoke")]).collect();
        stop.store(true, Ordering::Relaxed);
        let seen: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        (seen, changes)
    });
    for ((_, from, granted), (until, _, _)) in changes.iter().zip(changes.iter().skip(1)) {
        let between = seen.iter().filter(|(began, ended, _)| began > from && ended < until);
        let outcomes: Vec<bool> = between.map(|(_, _, permitted)| *permitted).collect();
        assert!(!outcomes.is_empty() && outcomes.iter().all(|permitted| permitted == granted), "{outcomes:?}");
    }
}

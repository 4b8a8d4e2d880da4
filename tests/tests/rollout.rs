//! The rollout: swaps under load, and what never becomes active.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use chartgate_runtime::release::{COMPONENT_FILE, MANIFEST_FILE, SIGNATURE_FILE};
use chartgate_tests::host::requests::{read, with};
use chartgate_tests::host::{AUDITOR, Client, EHR, Guest, Host, PUBLISHER, Shelved, World};
use serde_json::{Value, json};

const SWAPS: usize = 100;
const CONNECTIONS: usize = 8;

/// The digest of the release that decides now.
fn deciding(host: &Host) -> String {
    host.decide(&read()).decided()["policy"]["digest"].as_str().unwrap().to_owned()
}

/// The row of a release in `/admin/v1/releases`.
fn row(host: &Host, shelved: &Shelved) -> Value {
    let rows = host.admin("GET", "/admin/v1/releases", &[], "").json();
    let same = |row: &&Value| row["name"] == shelved.name.as_str() && row["version"] == shelved.version.as_str();
    rows.as_array().unwrap().iter().find(same).cloned().unwrap_or_default()
}

/// One request of the load: when it began and ended, and which release decided it.
struct Decided {
    began: Instant,
    ended: Instant,
    digest: String,
}

/// Ask on a connection of its own until told to stop. Every answer has to be a permit.
fn load(host: &Host, stop: &AtomicBool) -> Vec<Decided> {
    let (client, body) = (Client::new(), read());
    let mut decided = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let began = Instant::now();
        let answer = client.decide(host.public, EHR, &body);
        let ended = Instant::now();
        assert_eq!(answer.verdict().0, "permit");
        let digest = answer.header("chartgate-policy").to_owned();
        assert_eq!(answer.json()["policy"]["digest"], digest.as_str());
        decided.push(Decided { began, ended, digest });
    }
    decided
}

#[test]
fn a_hundred_swaps_under_load_fail_no_request_and_mix_no_release() {
    let world = World::new();
    let digests = [world.add(Guest::Rules, "0.1.0", "{}"), world.add(Guest::Rules, "0.2.0", r#"{"writes":true}"#)];
    let host = world.start();
    let stop = AtomicBool::new(false);
    // When each release may have been active at the earliest, and at the latest.
    let mut active: Vec<(Instant, Option<Instant>, &str)> = vec![(Instant::now(), None, &digests[1])];
    let decided: Vec<Decided> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CONNECTIONS).map(|_| scope.spawn(|| load(&host, &stop))).collect();
        for swap in 0..SWAPS {
            let next = digests[swap % 2].as_str();
            let began = Instant::now();
            let answer = host.roll_out(&json!({ "active": next }));
            assert_eq!(answer.status, 200, "{}", answer.text);
            active.last_mut().unwrap().1 = Some(Instant::now());
            active.push((began, None, next));
        }
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    for request in &decided {
        let could = |(from, until, digest): &(Instant, Option<Instant>, &str)| {
            *digest == request.digest && *from <= request.ended && until.is_none_or(|until| request.began <= until)
        };
        assert!(active.iter().any(could), "{} was not active during its request", request.digest);
    }
    for digest in &digests {
        assert!(decided.iter().any(|request| request.digest == *digest), "the load never met {digest}");
    }
    let rollout = host.admin("GET", "/admin/v1/rollout", &[], "");
    assert_eq!((rollout.json()["revision"].as_u64(), rollout.header("etag")), (Some(SWAPS as u64), "\"100\""));
    assert_eq!(world.changes().len(), SWAPS, "each swap is on record");
}

#[test]
fn a_change_says_what_it_is_based_on() {
    let world = World::with_rules();
    let host = world.start();
    let body = json!({ "active": "smart-access@0.1.0" }).to_string();
    let put = |headers: &[(&str, &str)]| host.admin("PUT", "/admin/v1/rollout", headers, &body);
    assert_eq!(put(&[]).problem().0, 428);
    assert_eq!(put(&[("if-match", "\"1\"")]).problem().0, 412);
    assert_eq!(put(&[("if-match", "*")]).problem(), (400, "If-Match".into()));
    assert_eq!(put(&[("if-match", "W/\"0\"")]).problem().0, 400);
    let first = put(&[("if-match", "\"0\"")]);
    assert_eq!((first.status, first.header("etag")), (200, "\"1\""));
    assert_eq!(put(&[("if-match", "\"0\"")]).problem().0, 412, "somebody else was faster");
    assert_eq!(put(&[("if-match", "\"1\"")]).header("etag"), "\"2\"");
}

#[test]
fn two_changes_at_once_are_one_change_and_one_conflict() {
    let world = World::with_rules();
    let host = world.start();
    let body = json!({ "active": "smart-access@0.1.0" }).to_string();
    let put = || host.admin("PUT", "/admin/v1/rollout", &[("if-match", "\"0\"")], &body).status;
    let mut statuses: Vec<u16> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(put)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412]);
}

#[test]
fn a_malformed_change_is_refused_by_member() {
    let world = World::with_rules();
    let host = world.start();
    let good = json!({ "active": "smart-access@0.1.0",
        "pins": [{ "caller": "ehr", "tenant": "default", "release": "smart-access@0.1.0", "until": "2999-01-01T00:00:00Z" }] });
    let pin = good["pins"][0].clone();
    let table = [
        (with(&good, "/canary", json!({})), 400, "canary"),
        (with(&good, "/active", json!("latest")), 400, "active"),
        (with(&good, "/active", json!("smart-access@7.0.0")), 422, "active"),
        (with(&good, "/pins/0/release", json!("other@1.0.0")), 422, "pins[0].release"),
        (with(&good, "/pins/0/until", json!("soon")), 400, "pins[0].until"),
        (with(&good, "/pins/0/tenant", json!("A B")), 400, "tenant"),
        (with(&good, "/pins", json!([pin, pin])), 400, "pins"),
    ];
    for (body, status, member) in table {
        assert_eq!(host.roll_out(&body).problem(), (status, member.into()), "{body}");
    }
    assert_eq!(host.roll_out(&good).json()["revision"], 1);
}

#[test]
fn only_an_operator_changes_the_rollout_and_every_role_sees_it() {
    let world = World::with_rules();
    let host = world.start();
    for key in [AUDITOR, PUBLISHER] {
        let put =
            |path| host.admin_as(key, "PUT", path, &[("if-match", "\"0\"")], r#"{"active":"smart-access@0.1.0"}"#);
        assert_eq!(put("/admin/v1/rollout").problem().0, 403);
        assert_eq!(host.admin_as(key, "GET", "/admin/v1/rollout", &[], "").status, 200);
        assert_eq!(host.admin_as(key, "GET", "/admin/v1/releases", &[], "").status, 200);
    }
    for key in [EHR, "nobody"] {
        assert_eq!(
            host.admin_as(key, "GET", "/admin/v1/rollout", &[], "").problem().0,
            401,
            "a caller is no administrator"
        );
    }
    assert_eq!(host.admin("GET", "/admin/v1/rollout", &[], "").json()["revision"], 0);
}

/// What is put into the folder: its release, what is done to it there, and a part of the reason.
type Spoilt = (Shelved, fn(&Path), &'static str);

fn flip_a_byte(file: &Path) {
    let mut bytes = fs::read(file).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    fs::write(file, bytes).unwrap();
}

/// The same component with the interfaces of a later contract.
fn later_interface(component: &[u8]) -> Vec<u8> {
    let (now, later) = (b"chartgate:policy/access@0.1.0", b"chartgate:policy/access@0.9.0");
    let mut bytes = component.to_vec();
    let places: Vec<usize> = bytes.windows(now.len()).enumerate().filter(|(_, w)| w == now).map(|(at, _)| at).collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..at + later.len()].copy_from_slice(later);
    }
    bytes
}

fn spoilt(world: &World) -> Vec<Spoilt> {
    let rules = Guest::Rules.component();
    let mut version = 0;
    let mut shelve = || {
        version += 1;
        world.shelve(Guest::Rules, &format!("1.0.{version}"), "{}")
    };
    let nothing: fn(&Path) = |_| ();
    let no_module = world.remake(&shelve(), b"\0asm and then nothing", |_| ());
    let later = world.remake(&shelve(), &later_interface(rules), |manifest| {
        let text = manifest["interfaces"].to_string().replace("access@0.1.0", "access@0.9.0");
        manifest["interfaces"] = serde_json::from_str(&text).unwrap();
    });
    let promised = world.remake(&shelve(), rules, |manifest| {
        manifest["interfaces"] = json!(["chartgate:policy/access@0.9.0", "chartgate:policy/describe@0.1.0"]);
    });
    let schema = world.remake(&shelve(), rules, |manifest| manifest["schema"] = json!("chartgate-release/2"));
    vec![
        (no_module, nothing, "not a WebAssembly component"),
        (later, nothing, "unknown interface version `chartgate:policy/access@0.9.0`"),
        (promised, nothing, "interfaces"),
        (schema, nothing, "chartgate-release/2"),
        (shelve(), |folder| flip_a_byte(&folder.join(MANIFEST_FILE)), "does not match what was signed"),
        (shelve(), |folder| flip_a_byte(&folder.join(COMPONENT_FILE)), "its component has"),
        (shelve(), |folder| fs::remove_file(folder.join(SIGNATURE_FILE)).unwrap(), "not signed"),
        (shelve(), |folder| fs::write(folder.join(SIGNATURE_FILE), "trust me\n").unwrap(), "not a minisign signature"),
        (shelve(), |folder| fs::write(folder.join("more.txt"), "x").unwrap(), "belongs to no release"),
        (shelve(), |folder| fs::remove_file(folder.join(COMPONENT_FILE)).unwrap(), "cannot read"),
    ]
}

#[test]
fn a_bad_release_is_refused_with_its_reason_and_the_good_one_goes_on() {
    let world = World::with_rules();
    let table = spoilt(&world);
    let host = world.start();
    let good = deciding(&host);
    for (shelved, spoil, reason) in table {
        spoil(&world.put(&shelved));
        let answer = host.roll_out(&json!({ "active": shelved.pin() }));
        assert_eq!(answer.problem(), (422, "active".into()));
        assert!(answer.json()["detail"].as_str().unwrap().contains(reason), "{reason}: {}", answer.text);
        let row = row(&host, &shelved);
        assert!(row["refused"].as_str().unwrap().contains(reason), "{row}");
        assert_eq!((&row["digest"], &row["active"]), (&Value::Null, &json!(false)));
        assert_eq!(deciding(&host), good);
        let simulated = with(&with(&read(), "/simulate", json!(true)), "/policy", json!(shelved.pin()));
        assert_eq!(host.decide(&simulated).problem().0, 404, "it is not even simulated with");
    }
    assert_eq!(host.admin("GET", "/admin/v1/rollout", &[], "").json()["revision"], 0);
    assert!(world.changes().is_empty());
}

#[test]
fn a_release_signed_by_a_key_nobody_configured_is_refused() {
    let world = World::with_rules();
    let host = world.start();
    // Its key is made after the host has read whom to trust.
    let shelved = world.shelve(Guest::Rules, "0.2.0", "{}");
    world.put(&shelved);
    let answer = host.roll_out(&json!({ "active": shelved.digest }));
    assert_eq!(answer.problem(), (422, "active".into()));
    assert!(row(&host, &shelved)["refused"].as_str().unwrap().contains("none of the 1 trusted keys"));
}

#[test]
fn a_good_release_put_there_later_is_found_when_it_is_wanted() {
    let world = World::with_rules();
    let shelved = world.shelve(Guest::Rules, "0.2.0", r#"{"writes":true}"#);
    let host = world.start();
    assert_eq!(host.roll_out(&json!({ "active": shelved.digest })).problem().0, 422);
    world.put(&shelved);
    let answer = host.roll_out(&json!({ "active": shelved.digest }));
    assert_eq!((answer.status, &answer.json()["active"]["version"]), (200, &json!("0.2.0")));
    assert_eq!(deciding(&host), shelved.digest);
    assert_eq!((&row(&host, &shelved)["active"], &row(&host, &shelved)["refused"]), (&json!(true), &Value::Null));
}

#[test]
fn the_same_version_with_another_digest_is_refused() {
    let world = World::with_rules();
    let other = world.shelve(Guest::Rules, "0.1.0", r#"{"writes":true}"#);
    let host = world.start();
    let good = deciding(&host);
    fs::remove_dir_all(world.policies().join("smart-access/0.1.0")).unwrap();
    world.put(&other);
    assert_eq!(host.roll_out(&json!({ "active": other.digest })).problem().0, 422);
    let rows = host.admin("GET", "/admin/v1/releases", &[], "").json();
    let refused: Vec<&str> = rows.as_array().unwrap().iter().filter_map(|row| row["refused"].as_str()).collect();
    assert_eq!(refused.len(), 1, "{rows}");
    assert!(refused[0].contains(&good) && refused[0].contains(&other.digest), "{refused:?}");
    assert_eq!(deciding(&host), good);
    // After a restart the release that was active is gone, and nothing takes its place.
    assert_eq!(host.roll_out(&json!({ "active": good })).status, 200);
    assert_eq!(host.stop(), Some(0));
    let ended = chartgate_tests::host::run(&mut world.serve(), "");
    assert_eq!(ended.code, Some(2), "{}", ended.stderr);
    assert!(ended.stderr.contains(&good), "{}", ended.stderr);
}

#[test]
fn a_restart_keeps_the_rollout() {
    let world = World::new();
    let old = world.add(Guest::Rules, "0.1.0", "{}");
    let new = world.add(Guest::Rules, "0.2.0", r#"{"writes":true}"#);
    let host = world.start();
    assert_eq!(deciding(&host), new);
    let pins = json!([{ "caller": "plain", "tenant": "default", "release": new, "until": "2999-01-01T00:00:00Z" }]);
    assert_eq!(host.roll_out(&json!({ "active": old, "pins": pins })).status, 200);
    let before = host.admin("GET", "/admin/v1/rollout", &[], "").json();
    assert_eq!(host.stop(), Some(0));
    let host = world.start();
    assert_eq!(deciding(&host), old);
    assert_eq!(host.admin("GET", "/admin/v1/rollout", &[], "").json(), before);
    let back = host.roll_out(&json!({ "active": before["previous"] }));
    assert_eq!((back.status, deciding(&host)), (200, new));
}

#[test]
fn a_change_is_on_record_with_how_it_was_and_how_it_is() {
    let world = World::new();
    let old = world.add(Guest::Rules, "0.1.0", "{}");
    let new = world.add(Guest::Rules, "0.2.0", r#"{"writes":true}"#);
    let host = world.start();
    assert_eq!(host.roll_out(&json!({ "active": old })).status, 200);
    let record = world.changes().remove(0);
    let of = |member: &str| record[member].as_str().unwrap_or_default().to_owned();
    assert_eq!((of("action"), of("actor"), of("subject")), ("rollout-change".into(), "olga".into(), "rollout".into()));
    assert_eq!(
        (&record["before"]["active"]["digest"], &record["after"]["active"]["digest"]),
        (&json!(new), &json!(old))
    );
    assert_eq!(record["revision"], 1);
}

//! `directory import` as an operator runs it: beside a host, again, and killed half-way.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use chartgate_tests::clinic_files;
use chartgate_tests::host::requests::{observation, with, without};
use chartgate_tests::host::{Guest, World, chartgate, requests};
use serde_json::{Value, json};

const RESOURCES: usize = 20_000;

fn strict() -> World {
    let world = World::new();
    world.add(Guest::Rules, "0.1.0", r#"{"require_patient_records":true,"require_provider_records":true}"#);
    world
}

fn clinic(world: &World) -> String {
    let file = world.path("clinic.ndjson");
    clinic_files::write(&mut std::io::BufWriter::new(std::fs::File::create(&file).unwrap()), RESOURCES);
    file.to_str().unwrap().to_owned()
}

/// Everything the directory holds, and the rejects.
fn state(world: &World) -> (String, String) {
    let listed = world.directory(&["list", "--json"]);
    assert_eq!(listed.code, Some(0), "{}", listed.stderr);
    let database = rusqlite::Connection::open(world.data().join("chartgate.db")).unwrap();
    let mut rows = database.prepare("SELECT tenant, class, id, body FROM records ORDER BY 1, 2, 3").unwrap();
    let records = rows.query_map([], |row| {
        let text = |at| row.get::<_, String>(at);
        Ok(format!("{} {} {} {}\n", text(0)?, text(1)?, text(2)?, text(3)?))
    });
    let records: String = records.unwrap().map(Result::unwrap).collect();
    (listed.stdout + &records, rejects(&world.data().join("rejects")))
}

fn rejects(folder: &Path) -> String {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn an_import_that_is_killed_ends_in_the_same_state_when_it_is_run_again() {
    let whole = strict();
    let file = clinic(&whole);
    let imported = whole.directory(&["import", "--json", "--zone", "America/New_York", &file]);
    assert_eq!(imported.code, Some(1), "some are rejected: {}", imported.stderr);
    let told: Value = serde_json::from_str(&imported.stdout).unwrap();
    assert_eq!((told["came_to"]["lines"].as_u64(), told["came_to"]["resumed_at"].as_u64()), (Some(20_000), Some(0)));
    assert!(told["came_to"]["rejected"].as_u64().unwrap() > 100, "{told}");

    let killed = strict();
    let file = clinic(&killed);
    let arguments = ["directory", "import", "--zone", "America/New_York", &file, "--data"];
    let mut child = chartgate().args(arguments).arg(killed.data()).stdout(Stdio::null()).spawn().unwrap();
    let since = Instant::now();
    let database = killed.data().join("chartgate.db");
    // Some chunks are in and some are not.
    let line = || {
        let open = rusqlite::Connection::open_with_flags(&database, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).ok()?;
        open.query_row("SELECT line FROM imports", [], |row| row.get::<_, i64>(0)).ok()
    };
    while line().is_none_or(|line| line < 3_000) {
        assert!(since.elapsed() < Duration::from_secs(60), "the import does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let at = line().expect("it ended before it was killed");
    assert!(at < 20_000);
    let resumed = killed.directory(&["import", "--json", "--zone", "America/New_York", &file]);
    let told: Value = serde_json::from_str(&resumed.stdout).unwrap();
    assert_eq!(told["came_to"]["resumed_at"], at);
    assert_eq!(state(&killed), state(&whole));

    let again = killed.directory(&["import", "--json", "--zone", "America/New_York", &file]);
    let told: Value = serde_json::from_str(&again.stdout).unwrap();
    let counts = ["resumed_at", "created", "updated"].map(|name| told["came_to"][name].as_u64().unwrap());
    assert_eq!(counts, [0, 0, 0], "the same file again changes nothing");
    assert_eq!(state(&killed), state(&whole));
}

#[test]
fn what_is_imported_holds_from_the_next_decision_of_a_running_host() {
    let world = strict();
    let host = world.start();
    let body = |user: &str, patient: &str| {
        let body = without(&requests::read(), "/facts");
        let body = with(&body, "/subject/user", json!(user));
        with(&body, "/stored/Observation~19", observation(patient))
    };
    let reason = |user: &str, patient: &str| host.decide(&body(user, patient)).verdict().1;
    assert_eq!(reason("Practitioner/12", "1"), "user-unknown");
    let file = world.path("one.ndjson");
    let encounter = json!({
        "resourceType": "Encounter", "id": "9", "status": "in-progress", "subject": { "reference": "Patient/1" },
        "period": { "start": "2026-01-01T00:00:00Z" }, "participant": [{ "individual": { "reference": "Practitioner/12" } }],
    });
    let resources = [
        json!({ "resourceType": "Practitioner", "id": "12" }),
        json!({ "resourceType": "Patient", "id": "1", "birthDate": "1980-01-01" }),
        encounter.clone(),
    ];
    let write = |resources: &[Value]| {
        let text: String = resources.iter().map(|resource| format!("{resource}\n")).collect();
        std::fs::write(&file, text).unwrap();
        let ended = world.directory(&["import", file.to_str().unwrap()]);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{}", ended.stdout);
        ended.stdout
    };
    let told = write(&resources);
    assert!(told.contains("3 lines; 3 resources taken over, 0 of other types, 0 rejected; 3 rows created"), "{told}");
    assert_eq!(reason("Practitioner/12", "1"), "relationship-encounter");
    write(&[with(&encounter, "/status", json!("entered-in-error"))]);
    assert_eq!(reason("Practitioner/12", "1"), "no-relationship");
}

#[test]
fn what_cannot_be_imported_is_said() {
    let world = strict();
    let missing = world.directory(&["import", "/nowhere.ndjson"]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("/nowhere.ndjson"), "{}", missing.stderr);
    let file = clinic(&world);
    let zone = world.directory(&["import", "--zone", "Middle/Earth", &file]);
    assert_eq!(zone.code, Some(2));
    assert!(zone.stderr.contains("Middle/Earth"), "{}", zone.stderr);
}

//! What an import does to the directory, and what it says.

use std::path::PathBuf;

use chartgate_model::{Millis, RecordClass};
use jiff::tz::TimeZone;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Import, Imported, Progress};
use crate::derived::Reading;
use crate::edge::Edge;
use crate::store::imports::Position;
use crate::store::{Filter, Store};

struct Bench {
    dir: TempDir,
    store: Store,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("data")).unwrap();
        Self { dir, store }
    }

    fn import(&self, name: &str, text: &str) -> Imported {
        let path = self.write(name, text);
        let reading = Reading { base: None, zone: TimeZone::UTC, zone_name: None };
        let rejects = self.dir.path().join("rejects");
        let edge = Edge::system();
        let import =
            Import { store: &self.store, tenant: "default", reading: &reading, rejects: &rejects, edge: &edge };
        import.file(&path, &mut |_| ()).unwrap()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `user patient kind basis status` of every row.
    fn rows(&self) -> Vec<String> {
        let page = self.store.list("default", &Filter::default(), None, 1_000).unwrap();
        let line = |row: &chartgate_model::Relationship| {
            format!("{} {} {} {} {}", row.user, row.patient, row.kind, row.terms.basis, row.status)
        };
        page.relationships.iter().map(line).collect()
    }

    fn user(&self, id: &str) -> Value {
        let (records, _) = self.store.records_of("default", RecordClass::User, [id]).unwrap();
        records.first().map_or(Value::Null, |record| Value::Object(record.members.clone()))
    }

    fn patient(&self, id: &str) -> Value {
        let (records, _) = self.store.records_of("default", RecordClass::Patient, [id]).unwrap();
        records.first().map_or(Value::Null, |record| Value::Object(record.members.clone()))
    }
}

fn encounter(id: &str, users: &[&str]) -> Value {
    let participant: Vec<_> = users.iter().map(|user| json!({ "individual": { "reference": user } })).collect();
    json!({
        "resourceType": "Encounter", "id": id, "status": "finished", "subject": { "reference": "Patient/1" },
        "period": { "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z" }, "participant": participant,
    })
}

fn lines(resources: &[Value]) -> String {
    resources.iter().map(|resource| format!("{resource}\n")).collect()
}

fn rejects(imported: &Imported) -> Vec<Value> {
    let text = std::fs::read_to_string(imported.rejects.as_ref().unwrap()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn reading_a_file_again_changes_nothing() {
    let bench = Bench::new();
    let text = lines(&[
        json!({ "resourceType": "Patient", "id": "1", "birthDate": "1980-01-01" }),
        encounter("9", &["Practitioner/12", "Practitioner/13"]),
        json!({ "resourceType": "Observation", "id": "5" }),
    ]);
    let first = bench.import("a.ndjson", &text).progress;
    let expected = Progress {
        bytes: text.len() as u64,
        read: text.len() as u64,
        lines: 3,
        resources: 2,
        skipped: 1,
        created: 3,
        revision: 3,
        ..Progress::default()
    };
    assert_eq!(first, expected);
    assert_eq!(bench.rows().len(), 2);
    let again = bench.import("a.ndjson", &text).progress;
    assert_eq!(again, Progress { created: 0, unchanged: 3, ..expected });
}

#[test]
fn what_a_resource_gives_no_more_is_gone_and_all_else_stays() {
    let bench = Bench::new();
    bench.import(
        "a.ndjson",
        &lines(&[encounter("9", &["Practitioner/12", "Practitioner/13"]), encounter("8", &["Practitioner/12"])]),
    );
    let changed = bench.import("b.ndjson", &lines(&[encounter("9", &["Practitioner/13", "Practitioner/14"])]));
    assert_eq!((changed.progress.created, changed.progress.updated, changed.progress.unchanged), (1, 1, 1));
    let expected = [
        "Practitioner/12 1 encounter Encounter/8 active",
        "Practitioner/13 1 encounter Encounter/9 active",
        "Practitioner/14 1 encounter Encounter/9 active",
    ];
    assert_eq!(bench.rows(), expected);
}

#[test]
fn a_revocation_outlives_the_next_import() {
    let bench = Bench::new();
    let text = lines(&[encounter("9", &["Practitioner/12"])]);
    bench.import("a.ndjson", &text);
    bench.store.revoke("default", "Practitioner/12", "1", "encounter", Millis(1)).unwrap();
    bench.import("a.ndjson", &text);
    let expected = ["Practitioner/12 1 encounter  revoked", "Practitioner/12 1 encounter Encounter/9 active"];
    assert_eq!(bench.rows(), expected);
}

#[test]
fn what_somebody_revoked_or_suspended_by_hand_stays_so() {
    let bench = Bench::new();
    let text = lines(&[encounter("9", &["Practitioner/12", "Practitioner/13"])]);
    bench.import("a.ndjson", &text);
    let row = bench.store.get("default", "Practitioner/12", "1", "encounter", "Encounter/9").unwrap().unwrap();
    let revoked = chartgate_model::Relationship { status: "revoked".into(), ..row };
    bench.store.put("default", &revoked, Millis(1)).unwrap();
    let suspended = json!({ "status": "suspended", "end": "2027-01-01T00:00:00Z" });
    let record = crate::people::record(RecordClass::User, "Practitioner/12", "directory", suspended.clone()).unwrap();
    bench.store.put_record("default", &record, Millis(1)).unwrap();
    bench.import("a.ndjson", &text);
    bench.import("b.ndjson", &lines(&[encounter("9", &["Practitioner/13"])]));
    bench.import("c.ndjson", &lines(&[json!({ "resourceType": "Practitioner", "id": "12", "active": true })]));
    let expected =
        ["Practitioner/12 1 encounter Encounter/9 revoked", "Practitioner/13 1 encounter Encounter/9 active"];
    assert_eq!(bench.rows(), expected);
    let (records, _) = bench.store.records_of("default", RecordClass::User, ["Practitioner/12"]).unwrap();
    let told: Vec<_> = records.iter().map(|one| (one.source.as_str(), Value::Object(one.members.clone()))).collect();
    let imported = json!({ "status": "active", "roles": ["provider"] });
    assert_eq!(told, [("directory", suspended), ("import", imported)]);
}

/// An account that was closed by hand, and a chart that was merged by hand.
#[test]
fn what_was_set_by_hand_is_a_record_of_its_own() {
    let bench = Bench::new();
    let closed = json!({ "status": "inactive" });
    let merged = json!({ "merged_into": "2" });
    for (class, id, members) in [(RecordClass::User, "Practitioner/12", &closed), (RecordClass::Patient, "1", &merged)]
    {
        let record = crate::people::record(class, id, "directory", members.clone()).unwrap();
        bench.store.put_record("default", &record, Millis(1)).unwrap();
    }
    let practitioner = json!({ "resourceType": "Practitioner", "id": "12", "active": true });
    bench.import("a.ndjson", &lines(&[practitioner, json!({ "resourceType": "Patient", "id": "1" })]));
    for (class, id, members) in [(RecordClass::User, "Practitioner/12", closed), (RecordClass::Patient, "1", merged)] {
        let (records, _) = bench.store.records_of("default", class, [id]).unwrap();
        assert_eq!(records.len(), 2, "{id}");
        assert_eq!((records[0].source.as_str(), Value::Object(records[0].members.clone())), ("directory", members));
    }
}

#[test]
fn a_resource_that_is_deleted_gives_nothing_and_closes_what_was_its_own() {
    let bench = Bench::new();
    let practitioner = json!({ "resourceType": "Practitioner", "id": "12", "active": true });
    bench.import("a.ndjson", &lines(&[encounter("9", &["Practitioner/12"]), practitioner]));
    let gone = |url: &str| json!({ "request": { "method": "DELETE", "url": url } });
    let history = json!({ "resourceType": "Bundle", "type": "history", "entry": [
        gone("Encounter/9"), gone("https://ehr.example/fhir/Practitioner/12"), gone("Observation/1"),
        { "request": { "method": "GET", "url": "Encounter/8" } },
    ] });
    let imported = bench.import("b.ndjson", &lines(&[history]));
    assert_eq!((imported.progress.resources, imported.progress.rejected), (2, 2));
    assert!(bench.rows().is_empty());
    assert_eq!(bench.user("Practitioner/12")["status"], "closed");
    // Whoever was known without it is closed by it too, and it opens again when it is there again.
    bench.import(
        "c.ndjson",
        &lines(&[json!({ "resourceType": "Bundle", "type": "transaction", "entry": [gone("RelatedPerson/5")] })]),
    );
    assert_eq!(bench.user("RelatedPerson/5"), json!({ "status": "closed" }));
    bench.import("d.ndjson", &lines(&[json!({ "resourceType": "RelatedPerson", "id": "5" })]));
    assert_eq!(bench.user("RelatedPerson/5"), json!({ "status": "active", "roles": ["proxy"] }));
}

/// FHIR R4, RESTful API, "history": the newest version stands first.
#[test]
fn of_a_history_the_newest_version_counts() {
    let bench = Bench::new();
    let put = |resource: Value| json!({ "resource": resource, "request": { "method": "PUT", "url": "x" } });
    let practitioner = |active: bool| json!({ "resourceType": "Practitioner", "id": "12", "active": active });
    let history = json!({ "resourceType": "Bundle", "type": "history", "entry": [
        { "request": { "method": "DELETE", "url": "Encounter/9" } }, put(practitioner(false)),
        put(encounter("9", &["Practitioner/12"])), put(practitioner(true)),
    ] });
    let imported = bench.import("a.ndjson", &lines(&[history]));
    assert_eq!((imported.progress.resources, imported.progress.skipped), (2, 2));
    assert!(bench.rows().is_empty());
    assert_eq!(bench.user("Practitioner/12")["status"], "inactive");
}

/// Whose charts are whose is not who is there.
#[test]
fn what_a_person_links_does_not_become_known_by_it() {
    let bench = Bench::new();
    let person = json!({ "resourceType": "Person", "id": "1", "link": [
        { "target": { "reference": "Practitioner/12" } }, { "target": { "reference": "Patient/5" } },
    ] });
    bench.import("a.ndjson", &lines(std::slice::from_ref(&person)));
    assert_eq!(bench.user("Practitioner/12"), json!({ "status": "unknown", "charts": ["5"] }));
    let practitioner = json!({ "resourceType": "Practitioner", "id": "12" });
    bench.import("b.ndjson", &lines(&[practitioner]));
    assert_eq!(bench.user("Practitioner/12"), json!({ "status": "active", "roles": ["provider"], "charts": ["5"] }));
    let gone = json!({ "request": { "method": "DELETE", "url": "Practitioner/12" } });
    bench.import("c.ndjson", &lines(&[json!({ "resourceType": "Bundle", "type": "batch", "entry": [gone] })]));
    bench.import("d.ndjson", &lines(&[person]));
    assert_eq!(bench.user("Practitioner/12")["status"], "closed");
}

#[test]
fn a_line_that_cannot_be_trusted_withdraws_what_it_is_about() {
    let bench = Bench::new();
    bench.import("a.ndjson", &lines(&[encounter("9", &["Practitioner/12"]), encounter("8", &["Practitioner/12"])]));
    let twice = encounter("9", &["Practitioner/12"]).to_string().replacen('{', r#"{"status":"cancelled","#, 1);
    let bundle = r#"{"resourceType":"Bundle","type":"batch","type":"batch","entry":[{"request":{"method":"DELETE","url":"Encounter/8"}}]}"#;
    let imported = bench.import("b.ndjson", &format!("{twice}\n{bundle}\n"));
    assert_eq!(imported.progress.rejected, 2);
    assert!(bench.rows().is_empty(), "{:?}", bench.rows());
    let odd = json!({ "resourceType": "Bundle", "type": "batch", "entry": { "resource": encounter("9", &["Practitioner/12"]) } });
    assert_eq!(bench.import("c.ndjson", &lines(&[odd])).progress.rejected, 1);
}

/// Of a version that cannot be read nobody knows that it does not close what the one before opened.
#[test]
fn a_version_that_is_rejected_closes_whom_it_is_about_until_one_can_be_read() {
    let bench = Bench::new();
    let patient = |id: &str, born: &str| json!({ "resourceType": "Patient", "id": id, "birthDate": born });
    bench.import("a.ndjson", &lines(&[patient("1", "1980")]));
    bench.import("b.ndjson", &lines(&[patient("1", "1700"), patient("2", "1700")]));
    assert_eq!(bench.patient("1"), json!({ "closed": true, "birth_date": "1980" }));
    assert_eq!(bench.patient("2"), json!({ "closed": true }));
    bench.import("c.ndjson", &lines(&[json!({ "resourceType": "Patient", "id": "1" })]));
    assert_eq!(bench.patient("1"), json!({}));
}

/// A mistake that is corrected in the record system is corrected here.
#[test]
fn what_a_version_does_not_say_any_more_is_taken_back() {
    let bench = Bench::new();
    let test = json!({ "security": [{ "code": "HTEST" }] });
    let patient = json!({ "resourceType": "Patient", "id": "1" });
    let said = json!({ "deceasedBoolean": true, "active": false, "birthDate": "1980", "meta": test });
    let merge = |one: &Value, more: &Value| {
        let mut one = one.clone();
        one.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        one
    };
    bench.import("a.ndjson", &lines(&[merge(&patient, &said)]));
    let before = json!({ "deceased": true, "active": false, "birth_date": "1980", "test": true });
    assert_eq!(bench.patient("1"), before);
    bench.import("b.ndjson", &lines(&[patient]));
    assert_eq!(bench.patient("1"), json!({}));

    let role = json!({ "resourceType": "PractitionerRole", "id": "4" });
    let said = json!({ "active": false, "period": { "start": "2026", "end": "2026" }, "meta": test,
        "practitioner": { "reference": "Practitioner/12" } });
    bench.import("c.ndjson", &lines(&[merge(&role, &said)]));
    assert_eq!(bench.user("PractitionerRole/4")["practitioner"], "Practitioner/12");
    bench.import("d.ndjson", &lines(&[role]));
    assert_eq!(bench.user("PractitionerRole/4"), json!({ "status": "active", "roles": ["provider"] }));
}

#[test]
fn two_times_on_a_team_are_two_and_an_import_replaces_both() {
    let bench = Bench::new();
    let team = |periods: &[(&str, &str)]| {
        let participants: Vec<_> = periods
            .iter()
            .map(|(start, end)| {
                json!({ "member": { "reference": "Practitioner/12" }, "period": { "start": start, "end": end } })
            })
            .collect();
        json!({ "resourceType": "CareTeam", "id": "5", "status": "active", "subject": { "reference": "Patient/1" },
            "participant": participants })
    };
    bench.import("a.ndjson", &lines(&[team(&[("2031", "2032"), ("2028", "2029-06"), ("2029-06", "2029")])]));
    let expected = ["Practitioner/12 1 care-team CareTeam/5 active", "Practitioner/12 1 care-team CareTeam/5#2 active"];
    assert_eq!(bench.rows(), expected);
    bench.import("b.ndjson", &lines(&[team(&[("2031", "2032")])]));
    assert_eq!(bench.rows(), expected[..1]);
}

#[test]
fn what_ended_long_ago_is_not_taken_over() {
    let bench = Bench::new();
    let ended = |id: &str, end: &str| {
        json!({ "resourceType": "Encounter", "id": id, "status": "finished", "subject": { "reference": "Patient/1" },
            "period": { "start": "2001-01-01", "end": end },
            "participant": [{ "individual": { "reference": "Practitioner/12" } }] })
    };
    bench.import("a.ndjson", &lines(&[ended("1", "2001-02-01"), ended("2", "2100-01-01")]));
    // A grant of a Consent that has ended is a statement, and stays one.
    let grant = json!({ "resourceType": "Consent", "id": "7", "status": "active", "patient": { "reference": "Patient/1" },
        "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
        "provision": { "type": "permit", "period": { "start": "2001-01-01", "end": "2001-02-01" }, "actor": [{
            "role": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "GUARD" }] },
            "reference": { "reference": "RelatedPerson/5" } }] } });
    bench.import("b.ndjson", &lines(&[grant]));
    let expected = ["Practitioner/12 1 encounter Encounter/2 active", "RelatedPerson/5 1 guardian Consent/7 active"];
    assert_eq!(bench.rows(), expected);
}

#[test]
fn a_first_line_that_is_cut_off_is_one_reject_of_many_lines() {
    let bench = Bench::new();
    let text = format!("{{\"resourceType\":\"Patient\",\n{}", lines(&[encounter("9", &["Practitioner/12"])]));
    let imported = bench.import("a.ndjson", &text);
    assert_eq!((imported.progress.resources, imported.progress.rejected), (1, 1));
}

/// More charts than a record can hold: none of them may be forgotten while the account is open.
#[test]
fn an_account_with_too_many_charts_is_closed_and_the_import_goes_on() {
    let bench = Bench::new();
    let person = |id: &str, first: usize, count: usize| {
        let targets = (first..first + count).map(|n| format!("Patient/{n}")).chain(["Practitioner/17".to_owned()]);
        let links: Vec<_> = targets.map(|target| json!({ "target": { "reference": target } })).collect();
        json!({ "resourceType": "Person", "id": id, "link": links })
    };
    let status = || {
        let (records, _) = bench.store.records_of("default", RecordClass::User, ["Practitioner/17"]).unwrap();
        records[0].members["status"].as_str().unwrap().to_owned()
    };
    bench.import("a.ndjson", &lines(&[person("p", 0, 100)]));
    bench.import("p.ndjson", &lines(&[json!({ "resourceType": "Practitioner", "id": "17" })]));
    assert_eq!(status(), "active");
    let imported = bench.import("b.ndjson", &lines(&[person("q", 100, 1), encounter("9", &["Practitioner/12"])]));
    assert_eq!((imported.progress.resources, status().as_str()), (2, "suspended"));
    // No version opens it: nobody knows which chart was left out.
    for active in [json!({}), json!({ "active": true })] {
        let mut practitioner = json!({ "resourceType": "Practitioner", "id": "17" });
        practitioner.as_object_mut().unwrap().extend(active.as_object().unwrap().clone());
        bench.import("c.ndjson", &lines(&[practitioner]));
        assert_eq!(status(), "suspended");
    }
    assert_eq!(bench.rows(), ["Practitioner/12 1 encounter Encounter/9 active"]);
}

/// Of a version that cannot be taken over nobody knows that it is not narrower.
#[test]
fn what_a_resource_gave_ends_with_a_version_that_is_rejected() {
    let bench = Bench::new();
    bench.import("a.ndjson", &lines(&[encounter("9", &["Practitioner/12"]), encounter("8", &["Practitioner/12"])]));
    let unreadable = json!({ "resourceType": "Encounter", "id": "9", "status": "finished" });
    let imported = bench.import("b.ndjson", &lines(&[unreadable]));
    assert_eq!((imported.progress.rejected, imported.progress.updated), (1, 1));
    assert_eq!(bench.rows(), ["Practitioner/12 1 encounter Encounter/8 active"]);
}

#[test]
fn a_file_that_is_read_otherwise_is_another_file() {
    let bench = Bench::new();
    let resource = encounter("9", &["https://ehr.example/fhir/Practitioner/12"]);
    let path = bench.write("a.ndjson", &lines(&[resource.clone(), resource]));
    let (edge, rejects) = (Edge::system(), bench.dir.path().join("rejects"));
    let import = |base: Option<&str>| {
        let reading = Reading { base: base.map(str::to_owned), zone: TimeZone::UTC, zone_name: None };
        let import =
            Import { store: &bench.store, tenant: "default", reading: &reading, rejects: &rejects, edge: &edge };
        let digest = import.file(&path, &mut |_| ()).unwrap().digest;
        let key = format!("{digest} {}", reading.name());
        let position = Position { line: 1, offset: 1, ..Position::default() };
        bench.store.import_chunk("default", &key, &[], Some(position), Millis(1)).unwrap();
    };
    import(None);
    assert!(bench.rows().is_empty());
    // The one that was cut off was read without a base.
    import(Some("https://ehr.example/fhir"));
    assert_eq!(bench.rows(), ["Practitioner/12 1 encounter Encounter/9 active"]);
}

#[test]
fn what_an_administrator_knows_of_a_patient_stays() {
    let bench = Bench::new();
    let known = json!({ "restriction": { "allow": ["Practitioner/1"] }, "app_access_blocked": true, "deceased": true });
    let record = crate::people::record(RecordClass::Patient, "1", "directory", known.clone()).unwrap();
    bench.store.put_record("default", &record, Millis(1)).unwrap();
    bench.import("a.ndjson", &lines(&[json!({ "resourceType": "Patient", "id": "1", "birthDate": "1980" })]));
    assert_eq!(bench.patient("1"), known);
    let (records, _) = bench.store.records_of("default", RecordClass::Patient, ["1"]).unwrap();
    assert_eq!(Value::Object(records[1].members.clone()), json!({ "birth_date": "1980" }));
}

#[test]
fn what_is_rejected_is_told_with_its_line_and_reason() {
    let bench = Bench::new();
    let good = json!({ "resourceType": "Patient", "id": "1" });
    let bundle = json!({ "resourceType": "Bundle", "entry": [
        { "resource": good }, { "resource": { "resourceType": "Encounter", "id": "7" } }, { "fullUrl": "x" },
    ] });
    let text = format!(
        "{good}\n\nnonsense\n{{\"resourceType\":\"Patient\",\"id\":\"1\",\"id\":\"2\"}}\n{bundle}\n{}\n[1]\n",
        json!({ "resourceType": "Patient", "id": "2", "birthDate": "1700" })
    );
    let imported = bench.import("a.ndjson", &text);
    assert_eq!((imported.progress.resources, imported.progress.rejected), (2, 6));
    let told = rejects(&imported);
    let places: Vec<_> =
        told.iter().map(|reject| (reject["line"].as_u64().unwrap(), reject["entry"].as_u64())).collect();
    assert_eq!(places, [(3, None), (4, None), (5, Some(1)), (5, Some(2)), (6, None), (7, None)]);
    for (reject, reason) in
        told.iter().zip(["", "duplicate", "status", "type and an id", "birth_date", "type and an id"])
    {
        assert!(reject["reason"].as_str().unwrap().contains(reason), "{reject}");
    }
    assert_eq!(told[2]["resource"], "Encounter/7");
    let clean = bench.import("a.ndjson", &lines(&[good]));
    assert_eq!(clean.rejects, None);
}

#[test]
fn one_document_may_be_spread_over_many_lines() {
    let bench = Bench::new();
    let bundle = json!({ "resourceType": "Bundle", "type": "collection", "entry": [
        { "resource": { "resourceType": "Patient", "id": "1" } }, { "resource": encounter("9", &["Practitioner/12"]) },
    ] });
    let imported = bench.import("bundle.json", &serde_json::to_string_pretty(&bundle).unwrap());
    assert_eq!((imported.progress.resources, imported.progress.rejected), (2, 0));
    assert_eq!(bench.rows(), ["Practitioner/12 1 encounter Encounter/9 active"]);
    let torn = bench.import("torn.json", "{\n\"resourceType\": \"Patient\",\n");
    assert_eq!((torn.progress.resources, torn.progress.rejected), (0, 1));
    assert_eq!(bench.import("empty.ndjson", "").progress, Progress { revision: 2, ..Progress::default() });
}

/// As if the process had been killed after its first chunk: the position is there, what follows it is not.
#[test]
fn an_import_that_was_cut_off_goes_on_where_it_was() {
    let bench = Bench::new();
    let bad = json!({ "resourceType": "Encounter", "id": "7" });
    let text = lines(&[bad.clone(), encounter("8", &["Practitioner/12"]), bad, encounter("9", &["Practitioner/13"])]);
    let whole = bench.import("a.ndjson", &text);
    let (rows, told) = (bench.rows(), std::fs::read(whole.rejects.as_ref().unwrap()).unwrap());

    let cut = Bench::new();
    let half = text.lines().take(2).map(|line| line.len() as u64 + 1).sum();
    let first = told.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let position = Position { line: 2, offset: half, rejects: first as u64, rejected: 1 };
    let reading = Reading { base: None, zone: TimeZone::UTC, zone_name: None };
    let before = crate::derived::derive(&encounter("8", &["Practitioner/12"]), &reading).unwrap();
    let key = format!("{} {}", whole.digest, reading.name());
    cut.store.import_chunk("default", &key, &[before], Some(position), Millis(1)).unwrap();
    let name = whole.rejects.as_ref().unwrap().file_name().unwrap();
    std::fs::create_dir_all(cut.dir.path().join("rejects")).unwrap();
    // More was written than the position says.
    std::fs::write(cut.dir.path().join("rejects").join(name), [&told[..first], b"torn"].concat()).unwrap();
    let resumed = cut.import("a.ndjson", &text);
    let progress = &resumed.progress;
    assert_eq!((progress.resumed_at, progress.lines, progress.resources, progress.rejected), (2, 4, 1, 2));
    assert_eq!(cut.rows(), rows);
    assert_eq!(std::fs::read(resumed.rejects.unwrap()).unwrap(), told);
    assert_eq!(cut.store.import_position("default", &key).unwrap(), None);
}

#[test]
fn a_line_that_is_too_long_is_rejected_and_the_next_is_read() {
    let bench = Bench::new();
    let padded = |bytes: usize| {
        let text = json!({ "resourceType": "Patient", "id": "1" }).to_string();
        format!("{text}{}\n", " ".repeat(bytes - text.len() - 1))
    };
    let most = 16 * 1024 * 1024;
    let inside = bench.import("a.ndjson", &format!("{}{}", padded(most), padded(100)));
    assert_eq!((inside.progress.resources, inside.progress.rejected), (2, 0));
    let outside = bench.import("b.ndjson", &format!("{}{}", padded(most + 2), padded(100)));
    assert_eq!((outside.progress.resources, outside.progress.rejected), (1, 1));
    assert_eq!(outside.progress.read, outside.progress.bytes);
}

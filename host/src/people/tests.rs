//! What a record may hold, at each limit.

use chartgate_model::{Millis, RecordClass};
use serde_json::{Value, json};

use super::{encode, named, record, zone};

fn patient(members: Value) -> Result<Value, String> {
    taken(RecordClass::Patient, "123", members)
}

fn user(members: Value) -> Result<Value, String> {
    taken(RecordClass::User, "Practitioner/17", members)
}

fn client(members: Value) -> Result<Value, String> {
    taken(RecordClass::Client, "app", members)
}

/// The members as they are kept, or the member at fault.
fn taken(class: RecordClass, id: &str, members: Value) -> Result<Value, String> {
    record(class, id, "directory", members).map(|record| Value::Object(record.members)).map_err(|error| error.member)
}

#[test]
fn what_is_as_usual_is_not_kept() {
    assert_eq!(patient(json!({ "active": true, "test": false, "zone": null })), Ok(json!({})));
    assert_eq!(patient(json!({ "active": false })), Ok(json!({ "active": false })));
    assert_eq!(user(json!({})), Ok(json!({ "status": "active" })));
    assert_eq!(user(json!({ "roles": [] })), Ok(json!({ "status": "active", "roles": [] })));
    assert_eq!(client(json!({ "test": true })), Ok(json!({ "status": "active", "test": true })));
}

#[test]
fn a_member_that_is_not_known_or_of_another_form_is_named() {
    assert_eq!(patient(json!({ "birthdate": "1980" })), Err("birthdate".into()));
    assert_eq!(patient(json!({ "active": "yes" })), Err("active".into()));
    assert_eq!(
        patient(json!({ "restriction": { "allow": ["Practitioner/1"], "by": "x" } })),
        Err("restriction.by".into())
    );
    assert_eq!(patient(json!({ "restriction": {} })), Err("restriction".into()));
    assert_eq!(patient(json!({ "restriction": [["Practitioner/1"], null] })), Err("restriction".into()));
    assert_eq!(user(json!({ "roles": "provider" })), Err("roles".into()));
    assert_eq!(client(json!({ "kind": 1 })), Err("kind".into()));
    assert_eq!(patient(json!([])), Err("record".into()));
}

#[test]
fn a_birth_date_is_a_day_of_the_calendar() {
    for date in ["1850", "2200", "2008-02", "2008-02-29", "2026-12-31"] {
        assert!(patient(json!({ "birth_date": date })).is_ok(), "{date}");
    }
    for date in
        ["1849", "2201", "2008-13", "2009-02-29", "2008-2", "2008-02-30", "", "2008-", "2008-01-01-01", "20080101"]
    {
        assert_eq!(patient(json!({ "birth_date": date })), Err("birth_date".into()), "{date}");
    }
}

#[test]
fn a_zone_is_a_place() {
    for name in ["America/New_York", "Europe/Berlin", "UTC", "Etc/GMT+5"] {
        assert!(zone(name).is_some(), "{name}");
    }
    for name in [
        "",
        "America/Nowhere",
        "EST5EDT,M3.2.0,M11.1.0",
        "+05:00",
        "/etc/localtime",
        "../UTC",
        "Etc/Unknown",
        "Factory",
    ] {
        assert!(zone(name).is_none(), "{name}");
        assert_eq!(patient(json!({ "zone": name })), Err("zone".into()), "{name}");
    }
}

#[test]
fn ids_are_of_their_class() {
    for (class, good, bad) in [
        (RecordClass::Patient, "a".repeat(64), "a".repeat(65)),
        (RecordClass::Patient, "1".into(), "Patient/1".into()),
        (RecordClass::User, "PractitionerRole/1".into(), "Device/1".into()),
        (RecordClass::Client, "c".repeat(256), "c".repeat(257)),
        (RecordClass::Client, "https://app.example/?a=b".into(), "two words".into()),
        (RecordClass::Client, "~".into(), String::new()),
    ] {
        assert!(taken(class, &good, json!({})).is_ok(), "{good}");
        assert_eq!(taken(class, &bad, json!({})), Err(class.code().into()), "{bad}");
    }
    assert_eq!(patient(json!({ "merged_into": "124" })), Ok(json!({ "merged_into": "124" })));
    for into in ["123", "Patient/124", ""] {
        assert_eq!(patient(json!({ "merged_into": into })), Err("merged_into".into()), "{into}");
    }
}

#[test]
fn what_is_kept_does_not_age() {
    let as_of = || json!({ "as_of": "2026-11-24T10:00:00Z" });
    assert!(record(RecordClass::Patient, "123", "caller", as_of()).is_ok());
    assert_eq!(patient(as_of()), Err("as_of".into()));
}

#[test]
fn lists_are_bounded() {
    let users = |count: usize| (0..count).map(|n| format!("Practitioner/{n}")).collect::<Vec<_>>();
    assert!(patient(json!({ "restriction": { "allow": users(100) } })).is_ok());
    assert_eq!(patient(json!({ "restriction": { "allow": users(101) } })), Err("restriction.allow".into()));
    assert_eq!(patient(json!({ "restriction": { "allow": ["17"] } })), Err("restriction.allow".into()));
    let charts = |count: usize| (0..count).map(|n| n.to_string()).collect::<Vec<_>>();
    assert!(user(json!({ "charts": charts(100) })).is_ok());
    assert_eq!(user(json!({ "charts": charts(101) })), Err("charts".into()));
    assert_eq!(user(json!({ "charts": ["Patient/1"] })), Err("charts".into()));
    assert!(user(json!({ "roles": ["patient", "proxy", "provider"] })).is_ok());
    assert_eq!(user(json!({ "roles": ["admin"] })), Err("roles".into()));
}

#[test]
fn words_and_times_are_known_ones() {
    for status in ["active", "suspended", "inactive"] {
        assert!(user(json!({ "status": status })).is_ok());
    }
    assert_eq!(user(json!({ "status": "revoked" })), Err("status".into()));
    assert_eq!(client(json!({ "status": "inactive" })), Err("status".into()));
    assert_eq!(client(json!({ "kind": "proxy" })), Err("kind".into()));
    let (one, two) = ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.001Z");
    assert!(client(json!({ "start": one, "end": two })).is_ok());
    assert_eq!(client(json!({ "start": one, "end": one })), Err("end".into()));
    assert_eq!(user(json!({ "start": "2026-01-01" })), Err("start".into()));
    assert!(record(RecordClass::Patient, "123", "caller", json!({ "as_of": "now" })).is_err());
    assert_eq!(patient(json!({ "restriction": { "allow": [], "until": "x" } })), Err("restriction.until".into()));
}

#[test]
fn a_record_names_whom_it_is_of() {
    let object = |value: Value| value.as_object().unwrap().clone();
    let read = named(RecordClass::User, "caller", object(json!({ "user": "Practitioner/1" }))).unwrap();
    assert_eq!((read.id.as_str(), read.source.as_str()), ("Practitioner/1", "caller"));
    for bad in [json!({}), json!({ "user": 1 }), json!({ "patient": "1" })] {
        assert_eq!(named(RecordClass::User, "caller", object(bad)).unwrap_err().member, "user");
    }
}

/// The offset of a zone at a time and until when it holds.
fn offset(name: &str, now: &str) -> (i64, Option<String>) {
    let record = record(RecordClass::Patient, "123", "directory", json!({ "zone": name })).unwrap();
    let fact = encode(&record, Millis::parse(now).unwrap()).unwrap();
    let until = fact.get("offset_until_ms").map(|until| Millis(until.as_u64().unwrap()).to_rfc3339());
    (fact["utc_offset_s"].as_i64().unwrap(), until)
}

#[test]
fn an_offset_is_that_of_the_day() {
    let until = |text: &str| Some(text.to_owned());
    assert_eq!(offset("America/New_York", "2026-07-01T00:00:00Z"), (-14_400, until("2026-11-01T06:00:00Z")));
    assert_eq!(offset("America/New_York", "2026-11-01T05:59:59.999Z"), (-14_400, until("2026-11-01T06:00:00Z")));
    assert_eq!(offset("America/New_York", "2026-11-01T06:00:00Z"), (-18_000, until("2027-03-14T07:00:00Z")));
    assert_eq!(offset("Asia/Kathmandu", "2026-11-01T06:00:00Z"), (20_700, None));
    assert_eq!(offset("UTC", "2026-11-01T06:00:00Z"), (0, None));
}

//! The attack catalogue at the HTTP face: each vector with a line of it, posted to a host as its caller would.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use chartgate_tests::host::{EHR, Guest, World};
use chartgate_tests::vectors::{BASE, Expect, Vector, load};
use chartgate_tests::workspace_root;
use serde_json::{Value, json};

/// Vectors there have to be at the least.
const FLOOR: usize = 300;
/// Patients and users everybody knows.
const PATIENTS: [&str; 6] = ["1", "2", "3", "123", "124", "456"];
const USERS: [&str; 6] =
    ["Patient/1", "Patient/2", "Patient/123", "Practitioner/17", "RelatedPerson/10", "RelatedPerson/5"];

/// A vector that a host can be asked about: nothing is known but by the directory and by what it brings along.
fn can_be_posted(vector: &Vector) -> bool {
    // A token that ended is a denial of the host's own, and a bundle is judged by its entries.
    let is_of_host = ["subject", "interaction-unsupported"].contains(&vector.expect.code().1);
    let speaks_of_people =
        ["patients", "users", "clients"].iter().any(|list| vector.ask.get().contains(&format!("\"{list}\"")));
    !is_of_host
        && vector.tag.is_some()
        && vector.facts.is_none()
        && vector.omit.is_empty()
        && !vector.strangers
        && !speaks_of_people
}

fn settings(vector: &Vector) -> String {
    String::from_utf8(vector.settings().to_vec()).unwrap()
}

fn base(version: Option<&str>) -> Option<&'static str> {
    match version {
        None | Some("4.0.1") => Some("default"),
        Some("4.3.0") => Some("r4b"),
        Some("5.0.0") => Some("r5"),
        Some(_) => None,
    }
}

/// What an answer says, in the words of a vector.
fn found(vector: &Vector, answer: &chartgate_tests::host::Answer) -> Expect {
    let told = answer.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if answer.status == 400 {
        return Expect { bad: Some(text(&told["member"])), ..Expect::default() };
    }
    let (would, reason) = (text(&told["would"]), text(&told["reason"]["code"]));
    let list = |name: &str| told[name].as_array().cloned().unwrap_or_default();
    if would == "permit" {
        let obligations = list("obligations").into_iter().map(plain).collect();
        return Expect {
            permit: Some(reason),
            obligations,
            expires: vector.expect.expires.clone(),
            ..Expect::default()
        };
    }
    let status = told["denial"]["status"].as_u64().and_then(|status| u16::try_from(status).ok());
    let needs = list("needs").iter().map(text).collect();
    Expect { deny: Some(reason), status: status.filter(|_| vector.expect.status.is_some()), needs, ..Expect::default() }
}

/// An obligation without its method, and without a body it has not.
fn plain(mut obligation: Value) -> Value {
    if let Some(requests) = obligation.get_mut("requests").and_then(Value::as_array_mut) {
        *requests = requests.drain(..).map(plain).collect();
    }
    let members = obligation.as_object_mut().unwrap();
    members.remove("method");
    if members.get("body") == Some(&Value::Null) {
        members.remove("body");
    }
    obligation
}

#[test]
fn every_attack_comes_out_over_http_as_its_vector_says() {
    let vectors: Vec<Vector> =
        load(&workspace_root().join("tests/vectors")).into_iter().map(|(_, vector)| vector).collect();
    let vectors: Vec<&Vector> = vectors
        .iter()
        .filter(|vector| can_be_posted(vector) && base(vector.fhir_version.as_deref()).is_some())
        .collect();
    assert!(vectors.len() >= FLOOR, "{} vectors, {FLOOR} wanted", vectors.len());
    let mut world = World::new();
    let all: BTreeSet<String> = vectors.iter().map(|vector| settings(vector)).collect();
    // Releases of one component under the settings there are; settings that no release could have are not posted.
    let mut pins = BTreeMap::new();
    for (at, settings) in all.into_iter().enumerate().filter(|(_, settings)| settings.starts_with('{')) {
        pins.insert(settings.clone(), world.add(Guest::Rules, &format!("0.1.{at}"), &settings));
    }
    for (name, version) in [("r4b", "4.3.0"), ("r5", "5.0.0")] {
        world.more += &format!("[fhir.{name}]\nurl = \"{BASE}\"\nversion = \"{version}\"\n");
    }
    world.base = BASE.into();
    for patient in PATIENTS {
        let record = r#"{"birth_date":"1980-01-01","zone":"UTC"}"#;
        assert_eq!(world.directory(&["set", "patient", patient, record]).code, Some(0));
    }
    for user in USERS {
        assert_eq!(world.directory(&["set", "user", user, r#"{"status":"active"}"#]).code, Some(0));
    }
    let host = world.start();
    let (mut wrong, mut tags) = (Vec::new(), BTreeSet::new());
    for vector in vectors {
        let mut body: Value = serde_json::from_str(vector.ask.get()).unwrap();
        let Some(pin) = pins.get(&settings(vector)) else { continue };
        body["policy"] = json!(pin);
        body["simulate"] = json!(true);
        body["at"] = json!(vector.now.as_deref().unwrap_or("2026-11-24T10:00:00Z"));
        body["fhir"] = json!(base(vector.fhir_version.as_deref()));
        let answer = host.decide_as(EHR, &body);
        let found = found(vector, &answer);
        let expected = Expect { trace: None, ..vector.expect.clone() };
        if found != expected {
            wrong.push(format!("{}\n   wanted {expected:?}\n   found  {found:?}", vector.id));
        }
        tags.extend(vector.tag.clone());
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tags.len() > 90, "{} lines of the catalogue only", tags.len());
}

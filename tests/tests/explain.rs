//! `chartgate decide --explain`: decisions in words.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use chartgate_tests::host::requests::{observation, read, read_own, search, with, without};
use chartgate_tests::host::{Ended, Guest, World, chartgate, run};
use serde_json::{Value, json};

const NOW: &str = "2026-11-24T10:00:00Z";

/// `chartgate decide` with the rules of this checkout, and the digest of their release.
fn decide(arguments: &[&str], input: &str) -> (Ended, String) {
    let world = World::new();
    let digest = world.add(Guest::Rules, "0.1.0", "{}");
    let mut command = chartgate();
    command.arg("decide").arg("--config").arg(world.config()).args(arguments);
    (run(&mut command, input), digest)
}

/// A what-if, so that its time is known.
fn at_now(body: &Value) -> String {
    with(&with(body, "/simulate", json!(true)), "/at", json!(NOW)).to_string()
}

/// The words for these lines; the digest of the release is written `DIGEST`.
fn explained(input: &str) -> (Option<i32>, String) {
    let (ended, digest) = decide(&["--explain"], input);
    assert_eq!(ended.stderr, "");
    (ended.code, ended.stdout.replace(&digest, "DIGEST"))
}

#[test]
fn a_permit_is_explained_rule_by_rule() {
    let expected = "\
PERMIT (what-if): Practitioner/17 asks to read Observation/9
  who          Practitioner/17, a provider
  app          growth-chart
  granted      user/Observation.rs
  decision     permit, good until 2026-11-24T10:01:00Z
  because      the user holds a live treatment relationship (relationship-treatment)
  rules        pass  fhir-version  is the FHIR version known? 4.0.1
               pass  interaction   is this interaction ruled? needs r on Observation
               pass  scope         does a granted scope cover it? user/Observation.rs
               pass  class         what kind of data is it? Observation is patient data
               pass  client        may the app act for this role? growth-chart
               pass  user          may the user act in this role? Practitioner/17
               pass  compartment   whose record is it? subject names Patient/123
               pass  relationship  may the user reach the patient? Practitioner/17 to Patient/123: relationship-treatment
  obligations  none
  facts from   directory@0
  release      smart-access@0.1.0, DIGEST

";
    assert_eq!(explained(&at_now(&read())), (Some(0), expected.into()));
}

#[test]
fn a_deny_names_the_rule_that_failed() {
    let expected = "\
DENY (what-if): Patient/123 asks to read Observation/9
  who          Patient/123, a patient in their own right
  app          phr
  granted      patient/Observation.rs
  launched in  Patient/123
  decision     deny, on the record or whom it is about: answer 404, as if it were not there
  because      a patient scope reaches the launch patient only (not-launch-patient)
  rules        pass  fhir-version    is the FHIR version known? 4.0.1
               pass  interaction     is this interaction ruled? needs r on Observation
               pass  scope           does a granted scope cover it? patient/Observation.rs
               pass  class           what kind of data is it? Observation is patient data
               pass  client          may the app act for this role? phr
               pass  user            may the user act in this role? Patient/123
               pass  compartment     whose record is it? subject names Patient/124
               pass  launch-patient  does the launch patient allow it? patient/Observation.rs is bound to Patient/123
               fail  launch-patient  does the launch patient allow it? patient/Observation.rs does not reach Patient/124
  facts from   directory@0
  release      smart-access@0.1.0, DIGEST

";
    let body = with(&read_own(), "/stored/Observation~19", observation("124"));
    assert_eq!(explained(&at_now(&body)), (Some(0), expected.into()), "a deny is an answer");
}

#[test]
fn what_is_to_be_done_and_what_is_missing_is_said() {
    let (_, text) = explained(&at_now(&search()));
    let narrowed = "obligations  search-narrowing: run GET /Observation?category=laboratory&patient=123 instead\n";
    assert!(text.contains("asks to search Observation by category=laboratory\n") && text.contains(narrowed), "{text}");
    let (_, text) = explained(&at_now(&without(&read(), "/stored")));
    assert!(text.contains("(content-missing)\n") && text.contains("  missing      Observation/9\n"), "{text}");
}

#[test]
fn what_no_rule_was_asked_about_is_told_in_its_place() {
    let ended = with(&read(), "/subject/expires", json!("2001-01-01T00:00:00Z"));
    let (code, text) = explained(&format!("\n{{\n{ended}\n"));
    assert_eq!(code, Some(1));
    let (error, token) = text.split_once("\n\n").unwrap();
    assert!(error.starts_with("ERROR: line 2 cannot be decided: body: "), "{error}");
    let expected = "\
DENY: the token is not valid
  because      the token has expired (token-expired)
  rules        none was walked

";
    assert_eq!(token, expected);
}

#[test]
fn a_request_cannot_write_to_the_terminal() {
    let body = with(&read(), "/subject/client", json!("\u{1b}[2Jgrowth\r\nPERMIT: chart"));
    let (_, text) = explained(&at_now(&body));
    assert!(text.contains(r"app          \u{1b}[2Jgrowth\r\nPERMIT: chart"), "{text}");
    assert!(!text.contains('\u{1b}'));
}

#[test]
fn as_json_an_explained_answer_has_its_trace() {
    let line = read().to_string();
    let (ended, _) = decide(&["--explain", "--json"], &format!("{line}\n{line}\n"));
    let answers: Vec<Value> = ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 2);
    for answer in answers {
        assert!(answer["trace"].as_array().unwrap().iter().any(|step| step["rule"] == "scope"), "{answer}");
    }
    for arguments in [&[][..], &["--json"]] {
        let (ended, _) = decide(arguments, &line);
        let answer: Value = serde_json::from_str(&ended.stdout).unwrap();
        assert_eq!((&answer["decision"], answer.get("trace")), (&json!("permit"), None));
    }
}

//! Filters on content, kind by kind.

use alloc::format;

use super::*;
use crate::json::Json;
use crate::tables::version;

const BASE: &str = "https://ehr.example/fhir";

fn matches(filter: &str, resource_type: &str, resource: &str) -> bool {
    let version = version("4.0.1").unwrap();
    let filter = Filter::parse(filter, version, version.resource_type(resource_type).unwrap()).unwrap();
    filter.matches(Json::parse(resource.as_bytes()).unwrap().root(), BASE).unwrap()
}

const LAB: &str =
    r#"{"category":[{"coding":[{"system":"http://c","code":"laboratory"},{"code":"bare"}]}],"status":"final"}"#;

#[test]
fn a_token_matches_by_system_and_code() {
    for yes in [
        "category=laboratory",
        "category=http://c|laboratory",
        "category=http://c|",
        "category=|bare",
        "category=x,laboratory",
        "category=http%3A%2F%2Fc%7Claboratory",
        "category=laboratory&status=final",
    ] {
        assert!(matches(yes, "Observation", LAB), "{yes}");
    }
    for no in [
        "category=imaging",
        "category=http://d|laboratory",
        "category=|laboratory",
        "category=Laboratory",
        "category=laboratory&status=draft",
        "category=laboratory\\,x",
        "status=http://hl7.org/fhir/observation-status|final",
    ] {
        assert!(!matches(no, "Observation", LAB), "{no}");
    }
}

#[test]
fn identifiers_and_booleans_are_tokens_too() {
    let patient = r#"{"identifier":[{"system":"http://mrn","value":"7"}],"active":true}"#;
    assert!(matches("identifier=http://mrn|7", "Patient", patient));
    assert!(!matches("identifier=http://mrn|8", "Patient", patient));
    assert!(matches("active=true", "Patient", patient));
    assert!(!matches("active=false", "Patient", patient));
}

#[test]
fn a_quantity_is_no_token() {
    assert!(!matches(
        "value-concept=7",
        "Observation",
        r#"{"valueCodeableConcept":{"value":7,"code":"7","system":"s"}}"#
    ));
}

#[test]
fn absent_content_matches_nothing() {
    assert!(!matches("category=laboratory", "Observation", "{}"));
}

fn parses(version_number: &str, resource_type: &str, filter: &str) -> bool {
    let version = version(version_number).unwrap();
    Filter::parse(filter, version, version.resource_type(resource_type).unwrap()).is_some()
}

const RICH: &str = r#"{"resourceType":"Observation","id":"9","meta":{"lastUpdated":"2026-03-01T10:00:00Z","profile":["http://p|1.0"]},
    "subject":{"reference":"https://ehr.example/fhir/Patient/1/_history/2"},"encounter":{"reference":"Encounter/e"},
    "performer":[{"reference":"Practitioner/7"},{"reference":"https://other.example/Practitioner/7"},{"identifier":{"value":"8"}}],
    "effectivePeriod":{"start":"2026-03-01","end":"2026-03-05"},"valueQuantity":{"value":7.25,"unit":"mmol/L","system":"http://u","code":"mmol"},
    "derivedFrom":[{"reference":"Observation/o"}]}"#;

#[test]
fn dates_numbers_quantities_uris_and_references_are_judged_too() {
    for (yes, no) in [
        ("date=ge2026-03-01", "date=gt2026-03-05"),
        ("date=2026-03", "date=2026-03-02"),
        ("_lastUpdated=lt2026-03-02", "_lastUpdated=lt2026-03-01T10:00:00Z"),
        ("value-quantity=7.3", "value-quantity=7.4"),
        ("value-quantity=gt7|http://u|mmol", "value-quantity=gt7|http://u|mol"),
        ("value-quantity=7.25||mmol/L", "value-quantity=7.25||mol"),
        ("_profile=http://p|1.0", "_profile=http://q"),
        ("subject=Patient/1", "subject=Patient/2"),
        ("patient=1", "patient=2"),
        ("patient=https://ehr.example/fhir/Patient/1", "patient=https://other.example/Patient/1"),
        ("performer=https://other.example/Practitioner/7", "performer=https://third.example/Practitioner/7"),
        ("performer=Practitioner/7", "performer=Practitioner/8"),
        ("encounter=Encounter/e", "encounter=Encounter/f"),
        ("subject=Patient/2,Patient/1", "subject=Patient/2,Patient/3"),
    ] {
        assert!(matches(yes, "Observation", RICH), "{yes}");
        assert!(!matches(no, "Observation", RICH), "{no}");
    }
}

#[test]
fn what_a_server_would_have_to_guess_cannot_be_granted() {
    for (on, filter) in [
        ("Observation", "date=ap2026"),
        ("Observation", "date=2026-02-30"),
        ("Observation", "date=2026|x"),
        ("Observation", "value-quantity=1e2"),
        ("Observation", "value-quantity=ap7"),
        ("Observation", "value-quantity=7|mmol"),
        ("Observation", "value-quantity=7|http://u|"),
        ("Observation", "subject=1"),
        ("Observation", "subject=Patient/1/_history/2"),
        ("Observation", "subject=Patient/"),
        ("Observation", "subject=#p"),
        ("Observation", "subject=https://ehr.example/fhir/Patient/1?category=a"),
        ("Observation", "subject:Patient=1"),
        ("Observation", "subject:identifier=x"),
        ("Observation", "patient.name=x"),
        ("Observation", "code-value-quantity=x$7"),
        ("Observation", "category%20t=x"),
        ("Observation", "_text=x"),
        ("Observation", "_content=x"),
        ("Observation", "_count=1"),
        ("Observation", "_has:Group:member:_id=1"),
        ("Patient", "name="),
        ("Patient", "name:exact=x"),
        ("Patient", "name=a|b"),
        ("Location", "near=1"),
        ("Bundle", "composition=Composition/1"),
    ] {
        assert!(!parses("4.0.1", on, filter), "{on}?{filter}");
    }
}

#[test]
fn content_that_cannot_be_judged_matches_nothing() {
    for (filter, on, content) in [
        ("date=gt1900", "Observation", r#"{"effectiveTiming":{"event":["2026-01-01"]}}"#),
        ("date=gt1900", "Observation", r#"{"effectivePeriod":{}}"#),
        ("date=gt1900", "Observation", r#"{"effectivePeriod":{"start":"soon"}}"#),
        ("date=gt1900", "Observation", r#"{"effectiveDateTime":"2026-13-01"}"#),
        ("date=ne1900", "Observation", "{}"),
        ("value-quantity=ge0", "Observation", r#"{"valueQuantity":{"value":5,"comparator":"<"}}"#),
        ("value-quantity=ge0", "Observation", r#"{"valueQuantity":{"value":"5"}}"#),
        ("value-quantity=ge0", "Observation", r#"{"valueSampledData":{"origin":{"value":5}}}"#),
        ("value-quantity=ne0", "Observation", r#"{"valueQuantity":{}}"#),
        ("performer=Practitioner/8", "Observation", r#"{"performer":[{"identifier":{"value":"Practitioner/8"}}]}"#),
        ("performer=Practitioner/8", "Observation", r##"{"performer":[{"reference":"#Practitioner/8"}]}"##),
        ("patient=1", "Observation", r#"{"subject":{"reference":"Group/1"}}"#),
        ("patient=1", "Observation", r#"{"subject":{"reference":"https://other.example/fhir/Patient/1"}}"#),
        ("name=an", "Patient", r#"{"name":[{"family":"Dean","given":["Jo"],"use":"an"}]}"#),
        ("address=x", "Patient", r#"{"address":[{"use":"x","type":"x","period":{"start":"x"}}]}"#),
    ] {
        assert!(parses("4.0.1", on, filter), "{filter}");
        assert!(!matches(filter, on, content), "{filter} on {content}");
    }
}

#[test]
fn strings_match_from_the_beginning_whatever_the_case() {
    let patient = r#"{"name":[{"family":"MÜLLER","given":["Ada","Lee"],"text":"Ada Lee Müller"}],
        "address":[{"line":["7 High St"],"city":"York"}],"telecom":[{"system":"email","value":"a@b"},{"system":"phone","value":"1"}],
        "deceasedDateTime":"2020","birthDate":"2000-02-29"}"#;
    for yes in [
        "name=mül",
        "name=lee",
        "family=M",
        "given=ADA",
        "address=york",
        "address=7 high",
        "address-city=yo",
        "email=a@b",
        "telecom=phone|1",
        "deceased=true",
        "birthdate=2000-02",
        "name=x,lee",
    ] {
        assert!(matches(yes, "Patient", patient), "{yes}");
    }
    for no in ["name=uller", "name=mul", "family=Ada", "email=1", "phone=a@b", "deceased=false", "birthdate=2000-03"] {
        assert!(!matches(no, "Patient", patient), "{no}");
    }
    assert!(matches("deceased=true", "Patient", r#"{"deceasedBoolean":true}"#));
    assert!(matches("deceased=false", "Patient", r#"{"deceasedBoolean":false}"#));
    assert!(matches("deceased=false", "Patient", "{}"));
}

#[test]
fn each_version_has_its_own_parameters() {
    assert!(parses("4.0.1", "Media", "type=x") && parses("4.3.0", "Media", "type=x"));
    assert!(parses("5.0.0", "Consent", "subject=Patient/1") && !parses("4.0.1", "Consent", "subject=Patient/1"));
    assert!(parses("5.0.0", "Observation", "value-markdown=x") && !parses("4.0.1", "Observation", "value-markdown=x"));
}

#[test]
fn nothing_between_commas_asks_for_nothing() {
    for (on, filter) in [
        ("Patient", "family=,a"),
        ("Patient", "family=a,"),
        ("Patient", "general-practitioner=,Practitioner/7"),
        ("Patient", "birthdate=2020,"),
        ("Observation", "_profile=,http://p"),
        ("RiskAssessment", "probability=,1"),
        ("Observation", "value-quantity=,1"),
    ] {
        assert!(!parses("4.0.1", on, filter), "{filter}");
    }
}

#[test]
fn an_open_period_reaches_as_far_as_it_can_and_a_turned_one_nowhere() {
    let with = |period: &str| format!(r#"{{"effectivePeriod":{period}}}"#);
    for (period, from, until) in [
        (r#"{"start":"2026-03-01"}"#, true, false),
        (r#"{"end":"2026-03-01"}"#, false, true),
        (r#"{"start":"2026-03-01","end":"2026-03-01"}"#, true, true),
        (r#"{"start":"2026-03-02","end":"2026-03-01"}"#, false, false),
        ("{}", false, false),
    ] {
        assert_eq!(matches("date=ge2026-03-01", "Observation", &with(period)), from, "{period}");
        assert_eq!(matches("date=le2026-03-01", "Observation", &with(period)), until, "{period}");
    }
}

#[test]
fn a_concept_is_no_text() {
    assert!(matches("name=ann", "Patient", r#"{"name":[{"text":"Anna"}]}"#));
    assert!(!matches("name=ann", "Patient", r#"{"name":[{"text":"Anna","coding":[]}]}"#));
}

#[test]
fn numbers_are_judged_too() {
    let risk = r#"{"prediction":[{"probabilityDecimal":0.25}]}"#;
    assert!(matches("probability=gt0.2", "RiskAssessment", risk));
    assert!(!matches("probability=gt0.25", "RiskAssessment", risk));
}

//! Each limit of the request parser, just inside and just outside, wherever the bytes come in.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may fail loudly")]

use chartgate_model::FhirBase;
use chartgate_model::parse::{ParseErrorKind, ParseLimits, RawRequest, parse};

const LIMITS: ParseLimits = ParseLimits { url_bytes: 48, parameters: 3, body_bytes: 96, bundle_bytes: 96 };
const RESOURCE: &str = r#"{"resourceType":"Observation"}"#;

struct Request<'a> {
    method: &'a str,
    url: &'a str,
    header: (&'a str, &'a str),
    body: Option<&'a str>,
}

/// The limit that was hit and its unit, by member; `None` when the request is taken.
fn over(request: &Request<'_>) -> Option<(String, usize, &'static str)> {
    let base = FhirBase { name: "default".into(), url: "https://ehr.example/fhir".into(), version: "4.0.1".into() };
    let headers = [(request.header.0.to_owned(), request.header.1.to_owned())];
    let body = request.body.map(str::as_bytes);
    let raw = RawRequest { method: request.method, url: request.url, headers: &headers, body };
    let error = parse(&raw, &base, &LIMITS).err()?;
    match error.kind() {
        ParseErrorKind::TooLarge { limit, unit } => Some((error.member().to_owned(), *limit, *unit)),
        other => panic!("{} {}: {other}", request.method, request.url),
    }
}

fn get(url: &str) -> Option<(String, usize, &'static str)> {
    over(&Request { method: "GET", url, header: ("accept", "*/*"), body: None })
}

fn form(url: &str, body: &str) -> Option<(String, usize, &'static str)> {
    let header = ("content-type", "application/x-www-form-urlencoded");
    over(&Request { method: "POST", url, header, body: Some(body) })
}

fn create(criteria: &str, body: &str) -> Option<(String, usize, &'static str)> {
    let header = ("if-none-exist", criteria);
    over(&Request { method: "POST", url: "/Observation?_format=json", header, body: Some(body) })
}

#[test]
fn a_url_is_bounded_before_it_is_read() {
    let padded = |bytes: usize| format!("/Observation?code={}", "x".repeat(bytes - 18));
    assert_eq!(get(&padded(48)), None);
    assert_eq!(get(&padded(49)), Some(("request.url".into(), 48, "bytes")));
    assert_eq!(get(&"%".repeat(49)), Some(("request.url".into(), 48, "bytes")));
}

#[test]
fn parameters_are_counted_over_url_and_form_together() {
    assert_eq!(get("/Observation?a=1&a=2&a=3"), None);
    assert!(get("/Observation?a=1&a=2&a=3&a=4").is_some());
    assert_eq!(form("/Observation/_search?a=1&b=2", "c=3"), None);
    let (member, ..) = form("/Observation/_search?a=1&b=2", "c=3&c=4").unwrap();
    assert_eq!(member, "request.body");
    assert!(form("/Observation/_search?a=1&b=2&c=3", "d=4").is_some());
}

#[test]
fn a_form_is_bounded_as_the_url_it_stands_for() {
    let padded = |bytes: usize| format!("code={}", "x".repeat(bytes - 5));
    assert_eq!(form("/Observation/_search", &padded(48)), None);
    assert_eq!(form("/Observation/_search", &padded(49)), Some(("request.body".into(), 48, "bytes")));
}

#[test]
fn criteria_of_a_create_are_bounded_as_the_url_they_stand_for() {
    let member = "request.headers.if-none-exist";
    let padded = |bytes: usize| format!("code={}", "x".repeat(bytes - 5));
    assert_eq!(create(&padded(48), RESOURCE), None);
    assert_eq!(create(&padded(49), RESOURCE), Some((member.into(), 48, "bytes")));
    assert_eq!(create("a=1&b=2", RESOURCE), None);
    assert_eq!(create("a=1&b=2&c=3", RESOURCE).unwrap().0, member);
}

#[test]
fn a_body_is_bounded_before_it_is_read() {
    let padded = |bytes: usize| format!("{RESOURCE}{}", " ".repeat(bytes - RESOURCE.len()));
    assert_eq!(create("a=1", &padded(96)), None);
    assert_eq!(create("a=1", &padded(97)), Some(("request.body".into(), 96, "bytes")));
    assert_eq!(create("a=1", &"{".repeat(97)), Some(("request.body".into(), 96, "bytes")));
}

#[test]
fn an_operation_name_ends_at_64_characters() {
    let base = FhirBase { name: "default".into(), url: "https://ehr.example/fhir".into(), version: "4.0.1".into() };
    for (length, taken) in [(64, true), (65, false)] {
        let url = format!("/Patient/1/${}", "a".repeat(length));
        let raw = RawRequest { method: "GET", url: &url, headers: &[], body: None };
        assert_eq!(parse(&raw, &base, &ParseLimits::default()).is_ok(), taken, "{length}");
    }
}

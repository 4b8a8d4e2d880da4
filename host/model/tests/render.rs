//! A rewritten search is read back as what it was written from, whatever its parameters hold.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use chartgate_model::parse::{ParseLimits, RawRequest, RenderedRequest, check_parameters, parse, render_search};
use chartgate_model::{FhirBase, FhirRequest, Parameter};
use proptest::prelude::*;

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

fn read(method: &str, url: &str, body: Option<&str>) -> FhirRequest {
    let base = FhirBase { name: "default".into(), url: "https://ehr.example/fhir".into(), version: "4.0.1".into() };
    let headers = [(FORM.0.to_owned(), FORM.1.to_owned())];
    let raw = RawRequest { method, url, headers: &headers, body: body.map(str::as_bytes) };
    let limits = ParseLimits { url_bytes: 1 << 20, ..ParseLimits::default() };
    parse(&raw, &base, &limits).unwrap()
}

fn read_back(rendered: &RenderedRequest) -> FhirRequest {
    read(rendered.method, &rendered.url, rendered.body.as_deref())
}

fn parameter(name: &str, value: &str) -> Parameter {
    Parameter { name: name.into(), value: value.into() }
}

/// Every form a search may have, and the operations that search.
const FORMS: [(&str, &str); 11] = [
    ("GET", "/Observation"),
    ("HEAD", "/Observation?code=x"),
    ("GET", "/?_type=Patient"),
    ("GET", "/Patient/1/Observation?code=x"),
    ("GET", "/Patient/1/*"),
    ("POST", "/Observation/_search"),
    ("POST", "/_search"),
    ("POST", "/Patient/1/Observation/_search?code=x"),
    ("GET", "/_history"),
    ("GET", "/Observation/$lastn?max=1"),
    ("GET", "/Patient/1/$everything"),
];

#[test]
fn each_form_keeps_its_path() {
    for (method, url) in FORMS {
        let request = read(method, url, None);
        let rendered = render_search(&request, &request.parameters);
        assert_eq!(read_back(&rendered), request, "{method} {url} as {rendered:?}");
        assert_eq!(rendered.url.split('?').next(), url.split('?').next(), "{method} {url}");
    }
}

#[test]
fn a_form_carries_everything_in_its_body() {
    let request = read("POST", "/Observation/_search?code=x", Some("patient=1"));
    let rendered = render_search(&request, &[parameter("patient", "1,2"), parameter("code", "a&b")]);
    assert_eq!((rendered.method, rendered.url.as_str()), ("POST", "/Observation/_search"));
    assert_eq!(rendered.body.as_deref(), Some("patient=1,2&code=a%26b"));
}

#[test]
fn a_system_search_without_parameters_stays_one() {
    let request = read("GET", "/?_type=Patient", None);
    let rendered = render_search(&request, &[]);
    assert_eq!(rendered.url, "/?");
    assert_eq!(read_back(&rendered).interaction, request.interaction);
}

#[test]
fn parameters_that_would_not_be_read_back_are_told() {
    for good in [vec![], vec![parameter("patient", "1"), parameter("patient", "2")], vec![parameter("a:b.c", " ")]] {
        assert!(check_parameters(&good).is_ok(), "{good:?}");
    }
    for bad in [
        vec![parameter("", "1")],
        vec![parameter("patient", "")],
        vec![parameter("patient", "1\n")],
        vec![parameter("a b", "1")],
        vec![parameter("a&b", "1")],
        vec![parameter("%61", "1")],
        vec![parameter("_method", "GET")],
        vec![parameter("patient", "1"), parameter("Patient", "2")],
    ] {
        assert!(check_parameters(&bad).is_err(), "{bad:?}");
    }
}

fn parameters() -> impl Strategy<Value = Vec<Parameter>> {
    let name = "[a-z_][a-z0-9_-]{0,8}(:[a-z]{1,5})?(\\.[a-z]{1,5}){0,2}";
    let one = (name, "\\PC{1,12}").prop_map(|(name, value)| Parameter { name, value });
    proptest::collection::vec(one, 0..8).prop_filter("taken", |parameters| check_parameters(parameters).is_ok())
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back(parameters in parameters(), form in 0..8_usize) {
        let (method, url) = FORMS.get(form).copied().unwrap();
        let request = read(method, url, None);
        let back = read_back(&render_search(&request, &parameters));
        prop_assert_eq!(back, FhirRequest { parameters, ..request });
    }

    #[test]
    fn no_url_and_no_form_makes_the_parser_fail_otherwise_than_by_an_error(url in "\\PC{0,40}", body in ".{0,40}") {
        let base = FhirBase { name: "default".into(), url: "https://ehr.example/fhir".into(), version: "4.0.1".into() };
        let headers = [(FORM.0.to_owned(), FORM.1.to_owned())];
        for (method, url) in [("GET", url.as_str()), ("POST", "/Observation/_search")] {
            let raw = RawRequest { method, url, headers: &headers, body: Some(body.as_bytes()) };
            let _ = parse(&raw, &base, &ParseLimits::default());
        }
    }
}

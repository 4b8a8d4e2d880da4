//! Answers nobody could filter are refused: the format a request asks for is JSON.
#![allow(clippy::unwrap_used, reason = "a test may fail loudly")]

use chartgate_model::parse::{ParseError, ParseErrorKind, ParseLimits, RawRequest, parse};
use chartgate_model::{FhirBase, FhirRequest};

const RESOURCE: &str = r#"{"resourceType":"Observation","id":"9"}"#;
const FORM: &str = "application/x-www-form-urlencoded";

fn read(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&str>) -> Result<FhirRequest, ParseError> {
    let base = FhirBase { name: "default".into(), url: "https://ehr.example/fhir".into(), version: "4.0.1".into() };
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let raw = RawRequest { method, url, headers: &headers, body: body.map(str::as_bytes) };
    parse(&raw, &base, &ParseLimits::default())
}

fn search(query: &str) -> Result<FhirRequest, ParseError> {
    read("GET", &format!("/Observation?{query}"), &[], None)
}

#[test]
fn a_format_parameter_asks_for_json_in_every_place_it_may_stand() {
    for value in ["json", "application/json", "application/fhir%2Bjson", "application/fhir+json", "Text/JSON"] {
        assert!(read("GET", &format!("/Patient/1?_format={value}"), &[], None).is_ok(), "{value}");
        assert!(search(&format!("code=x&_format={value}")).is_ok(), "{value}");
    }
    for value in
        ["xml", "application/fhir%2Bxml", "ttl", "html", "*/*", "application/*", "json,xml", "json%20", "+json"]
    {
        let query = format!("_format={value}");
        let form = [("Content-Type", FORM)];
        for outcome in [
            read("GET", &format!("/Patient/1?{query}"), &[], None),
            read("GET", &format!("/Patient/1/$everything?{query}"), &[], None),
            read("POST", &format!("/Observation?{query}"), &[], Some(RESOURCE)),
            read("POST", "/Observation/_search", &form, Some(&query)),
            search(&query),
            search(&format!("_format=json&{query}")),
            search(&format!("_Format={value}")),
        ] {
            assert!(matches!(outcome.unwrap_err().kind(), ParseErrorKind::Unsupported(_)), "{value}");
        }
    }
}

//! What the request parser refuses although a lenient one would take it, and the nearest thing it takes.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may fail loudly")]

use chartgate_model::parse::{ParseError, ParseErrorKind, ParseLimits, RawRequest, parse};
use chartgate_model::{FhirBase, FhirRequest, Interaction, ReturnPreference};

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

fn read_with(name: &str, value: &str) -> Result<FhirRequest, ParseError> {
    read("GET", "/Patient/1", &[(name, value)], None)
}

fn is_ambiguous(outcome: Result<FhirRequest, ParseError>) -> bool {
    matches!(outcome.unwrap_err().kind(), ParseErrorKind::Ambiguous(_))
}

#[test]
fn an_escape_in_a_path_is_ambiguous_whatever_it_hides() {
    for segment in ["%50", "P%2F2", "P%5c2", "%2e%2e", "%2E", "P%00", "P%2550", "%252e", "P%zz", "P%4", "P%"] {
        assert!(is_ambiguous(read("GET", &format!("/Patient/{segment}"), &[], None)), "{segment}");
    }
}

#[test]
fn types_ids_and_operations_keep_their_grammar() {
    let id = "a".repeat(64);
    let kind = format!("A{}", "a".repeat(63));
    for url in
        [format!("/Patient/{id}"), format!("/{kind}/1"), "/Ab/1".into(), "/Patient/-.".into(), "/Patient/...".into()]
    {
        assert!(read("GET", &url, &[], None).is_ok(), "{url}");
    }
    for url in [
        format!("/Patient/{id}a"),
        format!("/{kind}a/1"),
        "/A/1".into(),
        "/Patient2/1".into(),
        "/Patient/a_b".into(),
        "/Patient/a;b".into(),
        "/Patient/1/_history/a_b".into(),
        "/Patient/$".into(),
        "/Patient/$1".into(),
        "/Patient/1/2/$meta".into(),
        "/Location/1/Patient".into(),
        "/Patient/1/*/_search".into(),
    ] {
        assert!(read("GET", &url, &[], None).is_err(), "{url}");
    }
}

#[test]
fn only_the_base_itself_is_the_base() {
    for url in ["https://ehr.example/fhir/Patient/1", "/Patient/1", "Patient/1"] {
        assert_eq!(read("GET", url, &[], None).unwrap().id.as_deref(), Some("1"), "{url}");
    }
    for url in [
        "https://ehr.example:443/fhir/Patient/1",
        "https://EHR.example/fhir/Patient/1",
        "https://ehr.example@evil.example/fhir/Patient/1",
        "https://ehr.example/fhir@evil.example/Patient/1",
        "https://ehr.example/fhir//Patient/1",
        "https://ehr.example/Patient/1",
        "/fhir/Patient/1",
        "//evil.example/Patient/1",
    ] {
        assert!(read("GET", url, &[], None).is_err(), "{url}");
    }
}

#[test]
fn a_method_fits_its_path() {
    for (method, url) in [
        ("POST", "/metadata"),
        ("DELETE", "/_history"),
        ("DELETE", "/Patient/1/_history"),
        ("PUT", "/"),
        ("DELETE", "/"),
        ("GET", "/_search"),
        ("GET", "/Patient/_search"),
        ("PUT", "/Patient/_search"),
        ("POST", "/Patient/1"),
        ("POST", "/Patient/1/Observation"),
        ("POST", "/Location/1/Patient/_search"),
        ("HEAD", "/Patient/1/$everything"),
        ("PUT", "/Patient/1/$everything"),
        ("DELETE", "/Patient/$x"),
    ] {
        assert!(read(method, url, &[], None).is_err(), "{method} {url}");
        assert!(read(method, url, &[], Some(RESOURCE)).is_err(), "{method} {url} with a body");
    }
}

#[test]
fn a_separator_that_only_some_servers_know_has_to_be_encoded() {
    assert!(is_ambiguous(search("patient=1;patient=2")));
    assert_eq!(search("patient=1%3Bpatient").unwrap().parameters[0].value, "1;patient");
    for body in ["patient=1;a=2", "patient=1 2", "patient=\u{e9}", "patient=1#2", "patient=1\r\n"] {
        assert!(read("POST", "/Observation/_search", &[("Content-Type", FORM)], Some(body)).is_err(), "{body}");
    }
}

#[test]
fn names_that_mean_one_parameter_are_told_apart_by_nothing_but_their_modifier() {
    for query in ["subject=1&subject:Patient=2", "a.b=1&a.c=2", "code=1&code=2", "_has:A:b:c=1&_has:A:b:d=2"] {
        assert_eq!(search(query).unwrap().parameters.len(), 2, "{query}");
    }
    for query in ["Subject:Patient=1&subject=2", "subject:patient=1&subject:Patient=2", "A.b=1&a.b=2"] {
        assert!(is_ambiguous(search(query)), "{query}");
    }
}

#[test]
fn a_parameter_stands_in_the_url_or_in_the_form_whatever_its_modifier() {
    let form = |url: &str, body: &str| read("POST", url, &[("content-type", FORM)], Some(body));
    for (query, body) in [
        ("patient=1", "patient=1"),
        ("patient=1", "patient:Patient=2"),
        ("subject:Patient=1", "SUBJECT=2"),
        ("subject.name=x", "subject=2"),
    ] {
        assert!(is_ambiguous(form(&format!("/Observation/_search?{query}"), body)), "{query} {body}");
    }
    let both = form("/Patient/1/Observation/_search?code=a", "date=2026&date=2025").unwrap();
    assert_eq!(both.parameters.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["code", "date", "date"]);
    assert_eq!(both.compartment, Some(("Patient".into(), "1".into())));
}

#[test]
fn a_form_has_to_say_that_it_is_one() {
    let form = |headers: &[(&str, &str)]| read("POST", "/Observation/_search", headers, Some("patient=1"));
    assert!(form(&[("Content-Type", "Application/X-WWW-Form-Urlencoded; charset=UTF-8")]).is_ok());
    for content_type in
        ["application/json", "multipart/form-data", "application/x-www-form-urlencoded; charset=utf-16", ""]
    {
        assert!(form(&[("Content-Type", content_type)]).is_err(), "{content_type}");
    }
    assert!(form(&[]).is_err());
}

#[test]
fn malformed_names_and_controls_are_refused() {
    for query in [
        "subject::x=1",
        "subject.=1",
        ":x=1",
        ".x=1",
        "1a=1",
        "%73ubject%3A=1",
        "%2573ubject=1",
        "_METHOD=DELETE",
        "_method:x=1",
        "Access_Token=x",
        "a=%C2%85",
        "a=%7F",
        "a=x%0d%0ab",
    ] {
        assert!(search(query).is_err(), "{query}");
    }
    assert_eq!(search("%73ubject=Patient%2FP2").unwrap().parameters[0].name, "subject");
    assert!(search(&format!("{}=1", "n".repeat(256))).is_ok());
    assert!(search(&format!("{}=1", "n".repeat(257))).is_err());
}

#[test]
fn no_message_repeats_a_value_or_an_id() {
    let outcomes = [
        search("name=Smith%zz"),
        search("Smith"),
        search("name=Smith%00"),
        search("Smith%20J=1"),
        read("GET", "/Patient/Smith%20J", &[], None),
        read("GET", "/Patient/Smith/x", &[], None),
        read("PUT", "/Patient/1", &[], Some(r#"{"name":"Smith","name":"Smith"}"#)),
        read("PUT", "/Patient/1", &[], Some(r#"{"name":"Smith"#)),
        read("PUT", "/Patient/1", &[], Some(r#""Smith""#)),
    ];
    for outcome in outcomes {
        let error = outcome.unwrap_err();
        assert!(!error.to_string().contains("Smith"), "{error}");
    }
}

#[test]
fn a_write_by_criteria_has_a_criterion() {
    for query in ["identifier=7", "_id=7", "_tag=a&_format=json", "_has:A:b:c=1", "code:exact=x"] {
        assert!(read("DELETE", &format!("/Observation?{query}"), &[], None).unwrap().conditional, "{query}");
        assert!(read("PUT", &format!("/Observation?{query}"), &[], Some(RESOURCE)).unwrap().conditional, "{query}");
    }
    for query in [
        "",
        "_format=json",
        "_count=1",
        "_sort=date",
        "_summary=true",
        "code=x&_count=1",
        "code=x&_cascade=delete",
        "code=x&_expunge=true",
        "code=x&_include=Observation:subject",
        "_ID=7",
    ] {
        assert!(read("DELETE", &format!("/Observation?{query}"), &[], None).is_err(), "{query}");
        assert!(read("PUT", &format!("/Observation?{query}"), &[], Some(RESOURCE)).is_err(), "{query}");
    }
}

#[test]
fn a_write_by_id_takes_no_criteria() {
    for query in ["code=x", "_cascade=delete", "_elements=code", "_hardDelete=true"] {
        let url = format!("/Observation/9?{query}");
        assert!(read("DELETE", &url, &[], None).is_err(), "{url}");
        assert!(read("PUT", &url, &[], Some(RESOURCE)).is_err(), "{url}");
    }
    assert!(read("DELETE", "/Observation/9?_format=json&_pretty=true", &[], None).is_ok());
}

#[test]
fn if_none_exist_is_criteria_and_joins_the_format() {
    let create = |url: &str, value: &str| read("POST", url, &[("If-None-Exist", value)], Some(RESOURCE));
    let request = create("/Observation?_format=json", "identifier=urn:a|7").unwrap();
    assert!(request.conditional && request.parameters.len() == 2);
    for value in ["", "_count=1", "_format=json", "Observation?code=x", "?code=x", "code=x&_sort=date", "code", "a=b c"]
    {
        assert!(create("/Observation", value).is_err(), "{value}");
    }
    for (method, url) in
        [("PUT", "/Observation/9"), ("PUT", "/Observation?code=x"), ("POST", "/Observation/$x"), ("POST", "/")]
    {
        let error = read(method, url, &[("If_None_Exist", "code=x")], Some(RESOURCE)).unwrap_err();
        assert!(error.member().starts_with("request.headers."), "{method} {url}");
    }
}

#[test]
fn a_header_is_itself_in_every_spelling() {
    for name in [
        "x-http-method-override",
        "X_HTTP_METHOD_OVERRIDE",
        "X-Http-Method",
        "x_method-override",
        "X-Cascade",
        "X-Original-URL",
        "x_rewrite_url",
        "X-Provenance",
    ] {
        assert!(matches!(read_with(name, "DELETE").unwrap_err().kind(), ParseErrorKind::Unsupported(_)), "{name}");
    }
    for name in ["", "X-HTTP-Method-Override ", " Prefer", "If-None-Exist:", "a b", "a\n", "\u{e9}"] {
        assert!(read_with(name, "x").is_err(), "{name:?}");
    }
    assert!(read("GET", "/Patient/1", &[("X-A", "1"), ("x_a", "1")], None).is_err());
    assert!(read_with("X-Anything", "at all; \u{e9}").is_ok());
    assert!(read_with("X-Anything", "a\nb").is_err());
    assert!(read_with(&"n".repeat(128), "1").is_ok());
    assert!(read_with(&"n".repeat(129), "1").is_err());
}

#[test]
fn only_a_preference_asks_and_not_what_looks_like_one() {
    use ReturnPreference::{Minimal, OperationOutcome, Representation, Unspecified};
    for (value, preference) in [
        ("return=minimal", Minimal),
        ("Return=\"representation\"", Representation),
        ("handling=strict, return=OperationOutcome; x=1", OperationOutcome),
        ("return=minimal, return=minimal", Minimal),
        ("handling=strict", Unspecified),
        ("wait=5; return=minimal", Unspecified),
        ("x=\"a, return=minimal\"", Unspecified),
        ("x=\"a; b\"; c, return=representation", Representation),
        ("", Unspecified),
    ] {
        let request = read("PUT", "/Observation/9", &[("Prefer", value)], Some(RESOURCE));
        assert_eq!(request.map(|request| request.prefer_return), Ok(preference), "{value}");
    }
    for value in [
        "return=minimal, return=representation",
        "return",
        "return=",
        "return=Minimal",
        "return=\"minimal",
        "x=\"open, return=minimal",
        "x=\"a\\\", return=minimal\"",
        "respond-async",
        "Respond-Async; x=1",
        "respond-async=\"yes\"",
        "handling=strict, respond-async",
    ] {
        assert!(read("PUT", "/Observation/9", &[("Prefer", value)], Some(RESOURCE)).is_err(), "{value}");
    }
}

#[test]
fn an_answer_may_be_json() {
    for value in ["*/*", "application/fhir+json", "text/html, application/*;q=0.1", "APPLICATION/JSON; q=1.0"] {
        assert!(read_with("Accept", value).is_ok(), "{value}");
    }
    for value in ["application/fhir+xml", "text/turtle, text/html", "application/json;q=0", "*/*; Q=0.000", ""] {
        assert!(read_with("Accept", value).is_err(), "{value}");
    }
}

#[test]
fn a_resource_is_fhir_json_of_this_version_in_utf_8() {
    let put = |value: &str| read("PUT", "/Observation/9", &[("Content-Type", value)], Some(RESOURCE));
    for value in [
        "application/fhir+json",
        "application/json; charset=\"UTF-8\"",
        "application/fhir+json; fhirVersion=4.0",
        "application/fhir+json;fhirVersion=4.0.1;charset=utf-8",
    ] {
        assert!(put(value).is_ok(), "{value}");
    }
    for value in [
        "application/fhir+xml",
        "text/json",
        "text/plain",
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/json; charset=utf-16",
        "application/json; charset=iso-8859-1",
        "application/fhir+json; fhirVersion=5.0",
        "application/fhir+json; fhirVersion=4",
        "application/fhir+json; fhirVersion=4.0.10",
        "application/fhir+json; fhirVersion=",
        "application/fhir+json; profile=x",
        "application/json, application/fhir+xml",
        FORM,
        "",
    ] {
        assert!(put(value).is_err(), "{value}");
    }
    assert!(read("PUT", "/Observation/9", &[], Some(RESOURCE)).is_ok());
}

#[test]
fn a_patch_says_of_which_kind_it_is() {
    let patch = |headers: &[(&str, &str)], body: &str| read("PATCH", "/Observation/9", headers, Some(body));
    let json = [("Content-Type", "application/json-patch+json")];
    let fhir = [("Content-Type", "application/fhir+json")];
    let parameters = r#"{"resourceType":"Parameters","parameter":[]}"#;
    assert_eq!(patch(&json, "[]").unwrap().interaction, Interaction::Patch);
    assert_eq!(patch(&fhir, parameters).unwrap().interaction, Interaction::Patch);
    let by_criteria = read("PATCH", "/Observation?identifier=7", &json, Some("[]")).unwrap();
    assert!(by_criteria.conditional);
    for (headers, body) in [
        (&json[..], "{}"),
        (&json[..], parameters),
        (&json[..], r#"[{"op":"test","op":"add"}]"#),
        (&fhir[..], "[]"),
        (&fhir[..], RESOURCE),
        (&[("Content-Type", "application/json")][..], parameters),
        (&[("Content-Type", "application/merge-patch+json")][..], "{}"),
        (&[][..], "[]"),
        (&[][..], parameters),
    ] {
        assert!(patch(headers, body).is_err(), "{headers:?} {body}");
    }
    assert!(read("PATCH", "/Observation", &json, Some("[]")).is_err());
}

#[test]
fn a_body_is_bounded_in_depth() {
    let nested = |depth: usize| format!(r#"{{"a":{}{}}}"#, "[".repeat(depth), "]".repeat(depth));
    assert!(read("PUT", "/Observation/9", &[], Some(&nested(63))).is_ok());
    assert!(read("PUT", "/Observation/9", &[], Some(&nested(64))).is_err());
}

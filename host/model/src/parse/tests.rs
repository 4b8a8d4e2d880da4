use super::*;

fn base() -> FhirBase {
    FhirBase { name: "default".into(), url: "https://ehr.example/fhir".into(), version: "4.0.1".into() }
}

fn read(method: &str, url: &str, headers: &[(&str, &str)], body: Option<&str>) -> Result<FhirRequest, ParseError> {
    let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let raw = RawRequest { method, url, headers: &headers, body: body.map(str::as_bytes) };
    parse(&raw, &base(), &ParseLimits::default())
}

fn get(url: &str) -> Result<FhirRequest, ParseError> {
    read("GET", url, &[], None)
}

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];
const RESOURCE: Option<&str> = Some(r#"{"resourceType":"Observation","id":"9"}"#);

#[test]
fn each_form_is_its_interaction() {
    use Interaction as I;
    let rows: [(&str, &str, Option<&str>, I); 26] = [
        ("GET", "/metadata", None, I::Capabilities),
        ("GET", "/Observation/9", None, I::Read),
        ("HEAD", "/Observation/9", None, I::Read),
        ("GET", "Observation/9", None, I::Read),
        ("GET", "https://ehr.example/fhir/Observation/9", None, I::Read),
        ("GET", "/Observation/9/_history/2", None, I::Vread),
        ("GET", "/Observation/9/_history", None, I::HistoryInstance),
        ("GET", "/Observation/_history?_count=5", None, I::HistoryType),
        ("GET", "/_history", None, I::HistorySystem),
        ("GET", "/Observation", None, I::SearchType),
        ("GET", "/Observation?code=x", None, I::SearchType),
        ("GET", "/Patient/1/Observation?code=x", None, I::SearchType),
        ("GET", "/Patient/1/*", None, I::SearchSystem),
        ("GET", "/?_type=Patient", None, I::SearchSystem),
        ("GET", "https://ehr.example/fhir?_type=Patient", None, I::SearchSystem),
        ("POST", "/Observation/_search", None, I::SearchType),
        ("POST", "/_search?_type=Patient", None, I::SearchSystem),
        ("POST", "/Observation", RESOURCE, I::Create),
        ("PUT", "/Observation/9", RESOURCE, I::Update),
        ("PUT", "/Observation?identifier=7", RESOURCE, I::Update),
        ("DELETE", "/Observation/9", None, I::Delete),
        ("DELETE", "/Observation?code=x", None, I::Delete),
        ("GET", "/Patient/1/$everything", None, I::Operation),
        ("POST", "/Observation/$lastn", None, I::Operation),
        ("POST", "/", Some(r#"{"resourceType":"Bundle","type":"batch"}"#), I::Batch),
        ("POST", "/", Some(r#"{"resourceType":"Bundle","type":"transaction"}"#), I::Transaction),
    ];
    for (method, url, body, interaction) in rows {
        assert_eq!(read(method, url, &[], body).map(|request| request.interaction), Ok(interaction), "{method} {url}");
    }
}

#[test]
fn urls_that_a_server_could_read_differently_are_refused() {
    let urls = [
        "//Patient/P2",
        "/Patient//P2",
        "/Patient/P2/",
        "/Patient/../Patient/P2",
        "/Patient/./P2",
        "/Patient/%50",
        "/Patient/P2%2f",
        "/Patient/%2e%2e/P2",
        "/Patient/P\\2",
        "/Patient/P2#x",
        "/Patient/P 2",
        "/Patient/P\u{e9}",
        "/Patient/P2\n",
        "/Patient/P2%00",
        "https://evil.example/fhir/Patient/P2",
        "https://ehr.example/fhirx/Patient/P2",
        "http://ehr.example/fhir/Patient/P2",
        "//ehr.example/fhir/Patient/P2",
        "javascript:Patient/1",
        "/patient/P2",
        "/Patient/P2/x",
        "/Patient/P2/_history/",
        "/",
        "",
        "/Patient/P2/_history/2/3",
        "/Practitioner/1/2/3",
    ];
    for url in urls {
        assert!(get(url).is_err(), "{url}");
    }
}

#[test]
fn parameters_are_decoded_once_and_kept_in_order() {
    let request = get("/Observation?code=http%3A%2F%2Floinc.org%7C1+2&%63ategory=a&code=b%252F").unwrap();
    let pairs: Vec<_> = request.parameters.iter().map(|p| (p.name.as_str(), p.value.as_str())).collect();
    assert_eq!(pairs, [("code", "http://loinc.org|1 2"), ("category", "a"), ("code", "b%2F")]);
}

#[test]
fn broken_or_ambiguous_parameters_are_refused() {
    let queries = [
        "code",
        "code=",
        "=x",
        "code=x&",
        "&code=x",
        "code=x&&a=b",
        "co%zzde=x",
        "code=%z1",
        "code=%",
        "code=%ff",
        "code=%00",
        "Subject=1&subject=2",
        "%2573ubject=1",
        "_method=DELETE",
        "access_token=x",
        "a b=1",
        "a[0]=1",
    ];
    for query in queries {
        assert!(get(&format!("/Observation?{query}")).is_err(), "{query}");
    }
}

#[test]
fn a_form_joins_its_url_and_no_name_stands_in_both() {
    let request = read("POST", "/Observation/_search?code=x", &FORM, Some("patient=1")).unwrap();
    assert!(request.by_form);
    assert_eq!(request.parameters.len(), 2);
    for (url, body) in [
        ("/Observation/_search?patient=1", "patient=2"),
        ("/Observation/_search?patient=1", "Patient=2"),
        ("/Observation/_search", "a=1&A=2"),
    ] {
        assert!(
            matches!(read("POST", url, &FORM, Some(body)).unwrap_err().kind(), ParseErrorKind::Ambiguous(_)),
            "{url} {body}"
        );
    }
    assert!(read("POST", "/Observation/_search", &[], Some("patient=1")).is_err());
}

#[test]
fn a_header_may_not_change_the_method_or_hide_the_body() {
    let rows = [
        ("X-HTTP-Method-Override", "DELETE"),
        ("x-http-method", "PUT"),
        ("X-Method-Override", "PUT"),
        ("Content-Encoding", "gzip"),
        ("Transfer-Encoding", "chunked"),
        ("Accept", "application/fhir+xml"),
        ("Prefer", "respond-async"),
        ("Prefer", "return=all"),
        ("Prefer", "return=minimal, return=representation"),
        ("If-None-Exist", "a=b"),
    ];
    for (name, value) in rows {
        let error = read("GET", "/Patient/1", &[(name, value)], None).unwrap_err();
        assert_eq!(error.member(), format!("request.headers.{}", name.to_lowercase()), "{name}: {value}");
    }
    assert!(
        read(
            "GET",
            "/Patient/1",
            &[("Accept", "text/html, application/fhir+json;q=0.5"), ("If-None-Match", "W/\"1\"")],
            None
        )
        .is_ok()
    );
    assert!(read("GET", "/Patient/1", &[("accept", "*/*"), ("Accept", "*/*")], None).is_err());
}

#[test]
fn methods_are_exact() {
    for method in ["get", "OPTIONS", "TRACE", "", "GET ", "QUERY"] {
        assert_eq!(read(method, "/Patient/1", &[], None).unwrap_err().member(), "request.method", "{method}");
    }
}

#[test]
fn bodies_are_json_objects_where_one_belongs() {
    assert!(
        read("PUT", "/Observation/9", &[("content-type", "application/fhir+json; fhirVersion=4.0")], RESOURCE).is_ok()
    );
    let rows = [
        ("PUT", "/Observation/9", None),
        ("PUT", "/Observation/9", Some("[]")),
        ("PUT", "/Observation/9", Some(r#"{"a":1,"a":2}"#)),
        ("GET", "/Observation/9", RESOURCE),
        ("HEAD", "/Observation/9", RESOURCE),
        ("DELETE", "/Observation/9", RESOURCE),
        ("DELETE", "/Observation", None),
        ("POST", "/", Some(r#"{"resourceType":"Bundle","type":"collection"}"#)),
        ("POST", "/", Some(r#"{"resourceType":"Bundle"}"#)),
        ("POST", "/", RESOURCE),
    ];
    for (method, url, body) in rows {
        assert!(read(method, url, &[], body).is_err(), "{method} {url} {body:?}");
    }
}

#[test]
fn a_conditional_create_carries_its_criteria() {
    let request = read("POST", "/Observation", &[("If-None-Exist", "identifier=7&code=x")], RESOURCE).unwrap();
    assert!(request.conditional);
    assert_eq!(request.parameters.len(), 2);
    assert!(read("POST", "/Observation", &[("If-None-Exist", "")], RESOURCE).is_err());
    assert!(read("POST", "/Observation?code=x", &[], RESOURCE).is_err());
}

#[test]
fn reads_take_presentation_parameters_and_no_other() {
    assert!(get("/Patient/1?_elements=name&_format=json").is_ok());
    assert!(get("/Patient/1?name=x").is_err());
    assert!(get("/metadata?mode=full").is_ok());
}

#[test]
fn limits_hold_on_both_sides() {
    let limits = ParseLimits { url_bytes: 40, parameters: 2, body_bytes: 40, bundle_bytes: 60 };
    let read = |method, url: &str, body: Option<&[u8]>| {
        parse(&RawRequest { method, url, headers: &[], body }, &base(), &limits)
    };
    assert!(read("GET", &format!("/Observation?code={}", "x".repeat(22)), None).is_ok());
    assert!(read("GET", &format!("/Observation?code={}", "x".repeat(23)), None).is_err());
    assert!(read("GET", "/Observation?a=1&b=2", None).is_ok());
    assert!(read("GET", "/Observation?a=1&b=2&c=3", None).is_err());
    assert!(read("POST", "/Observation", Some(format!("{{\"a\":\"{}\"}}", "x".repeat(32)).as_bytes())).is_ok());
    assert!(read("POST", "/Observation", Some(format!("{{\"a\":\"{}\"}}", "x".repeat(33)).as_bytes())).is_err());
    let bundle = |padding: usize| format!(r#"{{"resourceType":"Bundle","type":"batch"{}}}"#, " ".repeat(padding));
    assert!(read("POST", "/", Some(bundle(60 - 40).as_bytes())).is_ok());
    assert!(read("POST", "/", Some(bundle(60 - 39).as_bytes())).is_err());
}

#[test]
fn what_is_rendered_is_read_back_the_same() {
    let rows = [
        "/Observation?code=http%3A%2F%2Floinc.org%7C1%2C2&subject:Patient=1",
        "/Patient/1/Observation?a=%25%26%3D%2B+x",
        "/Observation/$lastn?max=1&code=%C3%A9",
    ];
    for url in rows {
        let request = get(url).unwrap();
        let rendered = render_search(&request, &request.parameters);
        assert_eq!(get(&rendered.url).unwrap(), request, "{url}");
    }
    let request = read("POST", "/Observation/_search?code=x", &FORM, Some("patient=1%2C2")).unwrap();
    let rendered = render_search(&request, &request.parameters);
    assert_eq!(rendered.url, "/Observation/_search");
    assert_eq!(read("POST", &rendered.url, &FORM, rendered.body.as_deref()).unwrap(), request);
}

//! HTTP requests of any kind through the one parser.
//!
//! What is read is in its normal form, and what has no body of its own is read back the same once it is
//! rendered. The input is text: `METHOD url`, headers, an empty line, the body.
#![no_main]

use arbitrary::{Arbitrary, Unstructured};
use chartgate_fuzz::access::BASE;
use chartgate_model::parse::{ParseError, ParseLimits, RawRequest, check_parameters, parse, render_search};
use chartgate_model::{FhirBase, FhirRequest, Interaction, strict};
use libfuzzer_sys::fuzz_target;

/// A request as it comes in.
#[derive(Debug)]
struct Wire {
    method: String,
    url: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
}

impl Arbitrary<'_> for Wire {
    fn arbitrary(input: &mut Unstructured<'_>) -> arbitrary::Result<Self> {
        let bytes = input.bytes(input.len())?;
        let end = bytes.windows(2).position(|pair| pair == b"\n\n");
        let head = String::from_utf8_lossy(bytes.get(..end.unwrap_or(bytes.len())).unwrap_or_default());
        let body = end.and_then(|end| bytes.get(end + 2..)).map(<[u8]>::to_vec);
        let mut lines = head.split('\n');
        let (method, url) = split(lines.next().unwrap_or_default(), " ");
        Ok(Self { method, url, headers: lines.map(|line| split(line, ": ")).collect(), body })
    }
}

fn split(line: &str, separator: &str) -> (String, String) {
    let (first, rest) = line.split_once(separator).unwrap_or((line, ""));
    (first.to_owned(), rest.to_owned())
}

fn read(wire: &Wire) -> Result<FhirRequest, ParseError> {
    let raw = RawRequest { method: &wire.method, url: &wire.url, headers: &wire.headers, body: wire.body.as_deref() };
    let base = FhirBase { name: "default".into(), url: BASE.into(), version: "4.0.1".into() };
    // Rendering escapes more than clients do, so what is read back may be longer.
    let limits = ParseLimits { url_bytes: 64 << 10, ..ParseLimits::default() };
    parse(&raw, &base, &limits)
}

fuzz_target!(|wire: Wire| {
    let Ok(request) = read(&wire) else { return };
    assert_eq!(read(&wire).as_ref(), Ok(&request), "read otherwise the second time");
    is_normal(&request);
    if wire.url.starts_with('/') {
        let absolute = Wire { url: format!("{BASE}{}", wire.url), ..wire };
        assert_eq!(read(&absolute).as_ref(), Ok(&request), "read otherwise below its base");
    }
    if request.body.is_none() {
        is_read_back(request);
    }
});

/// What everything behind the parser relies on.
fn is_normal(request: &FhirRequest) {
    let is_id = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    let (of, in_id) = request.compartment.clone().unwrap_or(("Patient".into(), "1".into()));
    for resource_type in [&request.resource_type, &of] {
        assert!(resource_type.bytes().all(|b| b.is_ascii_alphabetic()), "{resource_type}");
    }
    for id in [&request.id, &request.version, &request.operation, &Some(in_id)].into_iter().flatten() {
        assert!(is_id(id), "{id}");
    }
    for parameter in &request.parameters {
        assert!(!parameter.name.is_empty() && !parameter.value.is_empty(), "{parameter:?}");
        assert!(!parameter.value.contains(char::is_control) && parameter.name.is_ascii(), "{parameter:?}");
    }
    if let Some(body) = &request.body {
        assert_eq!(strict::check(body, 64), Ok(()), "a body that is not strict JSON");
    }
    let writes_one = matches!(request.interaction, Interaction::Update | Interaction::Patch | Interaction::Delete);
    assert!(!writes_one || request.id.is_some() != request.conditional, "{request:?}");
    assert!(!request.conditional || !request.parameters.is_empty(), "criteria that are none: {request:?}");
}

fn is_read_back(request: FhirRequest) {
    assert_eq!(check_parameters(&request.parameters), Ok(()), "{request:?}");
    let rendered = render_search(&request, &request.parameters);
    let form = ("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned());
    let prefer = ("Prefer".to_owned(), format!("return={}", prefer(&request)));
    let wire = Wire {
        method: rendered.method.to_owned(),
        url: rendered.url,
        headers: if prefer.1.ends_with('=') { vec![form] } else { vec![form, prefer] },
        body: rendered.body.map(String::into_bytes),
    };
    assert_eq!(read(&wire).as_ref(), Ok(&request), "rendered as {wire:?}");
}

fn prefer(request: &FhirRequest) -> &'static str {
    match request.prefer_return.code() {
        "unspecified" => "",
        "operation-outcome" => "OperationOutcome",
        other => other,
    }
}

//! Stored content of any kind, under granular scopes of every kind.
//!
//! A filter only ever takes away, and nothing opens a chart but a literal reference to its patient. The
//! input is text: a filter (what stands behind `?` in a scope), a line break, the content.
#![no_main]

use std::sync::Once;

use chartgate_fuzz::access::{BASE, permits, read};
use chartgate_fuzz::mutate::{self, Words};
use chartgate_model::strict;
use chartgate_policy::{Fact, Interaction, Json, Request, Subject};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::Value;

/// Types with filters that their sample matches, at least one for each kind of search parameter.
const SAMPLES: [(&str, &[&str], &[u8]); 3] = [
    (
        "Observation",
        &[
            "category=laboratory",
            "category=http://c|laboratory,x",
            "date=ge2026-03-01",
            "date=ne2025&status=final",
            "value-quantity=gt7|http://u|mmol",
            "value-quantity=ne5",
            "subject=Patient/1",
            "patient=https://ehr.example/fhir/Patient/1",
            "performer=Practitioner/7",
            "_lastUpdated=lt2026-04",
            "_profile=http://p",
            "_id=9",
        ],
        include_bytes!("../corpus/resource/observation"),
    ),
    (
        "Patient",
        &["name=m%C3%BCl", "address-city=york", "deceased=true", "birthdate=le2000-02", "telecom=phone|1", "email=a@b"],
        include_bytes!("../corpus/resource/patient"),
    ),
    (
        "RiskAssessment",
        &["probability=gt0.5", "probability=le0.75", "date=2026"],
        include_bytes!("../corpus/resource/risk-assessment"),
    ),
];

/// An account or an app that may act.
const ACTIVE: &str = r#"{"records":[{"source":"directory","status":"active"}]}"#;

const WORDS: Words<'static> = Words {
    names: &[
        "resourceType",
        "id",
        "reference",
        "subject",
        "patient",
        "performer",
        "identifier",
        "type",
        "system",
        "value",
        "code",
        "coding",
        "category",
        "text",
        "given",
        "comparator",
        "start",
        "end",
        "valueQuantity",
        "valueString",
        "effectiveDateTime",
        "effectivePeriod",
        "deceasedBoolean",
        "deceasedDateTime",
        "link",
        "other",
        "contained",
        "meta",
        "lastUpdated",
        "profile",
        "versionId",
        "prediction",
        "probabilityDecimal",
    ],
    values: &[
        "null",
        "true",
        "false",
        "0",
        "-1",
        "7.25",
        "1e2",
        "1e308",
        "99999999999999999999",
        "\"\"",
        "\"Patient/1\"",
        "\"Patient/2\"",
        "\"https://ehr.example/fhir/Patient/1\"",
        "\"https://ehr.example/fhir/Patient/2/_history/1\"",
        "\"https://other.example/fhir/Patient/1\"",
        "\"#p\"",
        "\"urn:uuid:1\"",
        "\"Patient/1/\"",
        "\"Patient/1|2\"",
        "\"1\"",
        "\"9\"",
        "\"Observation\"",
        "\"Patient\"",
        "\"laboratory\"",
        "\"<\"",
        "\"2026\"",
        "\"2024-02-29\"",
        "\"2026-13-01\"",
        "\"2026-03-01T24:00:00Z\"",
        "\"2026-03-01T10:00:00.123456789+14:00\"",
        "\"0001\"",
        "\"9999-12-31T23:59:60Z\"",
        "{}",
        "[]",
        "[null]",
        "{\"reference\":\"Patient/1\"}",
        "{\"reference\":\"Patient/2\"}",
        "{\"identifier\":{\"value\":\"1\"}}",
        "{\"system\":\"http://c\",\"code\":\"laboratory\"}",
    ],
};

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let (filter, _) = split(data.get(..size).unwrap_or_default());
    let content = (filter.len() + 1).min(size)..size;
    mutate::json(data, size, max_size, seed, content, WORDS)
});

fn split(input: &[u8]) -> (&[u8], &[u8]) {
    let end = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (filter, content) = input.split_at(end);
    (filter, content.get(1..).unwrap_or_default())
}

fuzz_target!(|input: &[u8]| {
    static SAMPLES_MATCH: Once = Once::new();
    SAMPLES_MATCH.call_once(samples_match);

    let (filter, content) = split(input);
    let filter = String::from_utf8_lossy(filter);
    let parsed: Option<Value> = serde_json::from_slice(content).ok().filter(|_| strict::check(content, 64).is_ok());
    if parsed.is_some() {
        assert!(Json::parse(content).is_ok(), "strict JSON that the policy does not read");
    }
    let named = |name, otherwise| parsed.as_ref().and_then(|root| root.get(name)?.as_str()).unwrap_or(otherwise);
    let key = format!("{}/{}", named("resourceType", "Observation"), named("id", "9"));
    // One FHIR version for each input, so that many inputs are tried.
    let fhir_version = match content.len() % 4 {
        0 => "4.3.0",
        1 => "5.0.0",
        _ => "4.0.1",
    };
    let request = Request { fhir_version, ..read(&key, content) };
    let known = SAMPLES.iter().find(|(of, _, _)| *of == request.resource_type);
    let known = known.map_or(["_id=9", "_tag=a"].as_slice(), |(_, filters, _)| *filters);
    judge(&request, &filter, known, parsed.as_ref());
});

/// Filters and their combinations, against the scope without a filter.
fn judge(request: &Request<'_>, given: &str, known: &[&str], content: Option<&Value>) {
    let of = request.resource_type;
    let plain = permits(request, &format!("patient/{of}.rs"));
    let with = |filter: &str| {
        let permitted = permits(request, &format!("patient/{of}.rs?{filter}"));
        assert!(!permitted || plain, "`{filter}` permits what the scope without it does not");
        permitted
    };
    let by_given = with(given);
    let each: Vec<bool> = known.iter().map(|filter| with(filter)).collect();
    // A space would end the scope.
    if let Some((first, by_first)) = known.iter().zip(each).next().filter(|_| !given.contains(' ')) {
        assert_eq!(with(&format!("{first}&{given}")), by_first && by_given, "{first} and {given}");
        assert_eq!(with(&format!("{given}&{first}")), by_first && by_given, "{given} and {first}");
        let either = permits(request, &format!("patient/{of}.rs?{given} patient/{of}.rs?{first}"));
        assert!(!either || by_first || by_given, "{given} or {first}");
    }
    let Some(content) = content else { return };
    // Directory and conformance data is nobody's chart: a stranger, somebody it does not name, may read it too.
    let id = (3..).map(|n: u32| n.to_string()).find(|id| !names_patient(content, id)).unwrap_or_default();
    let user = format!("Patient/{id}");
    let stranger = Subject { user: &user, patient: Some(&id), ..request.subject };
    // As well known as the patient asked about.
    let known = [
        (format!("user/{user}"), ACTIVE.to_owned()),
        ("client/app".to_owned(), ACTIVE.to_owned()),
        (format!("patient/{id}"), format!(r#"{{"records":[{{"source":"directory","patient":"{id}"}}]}}"#)),
    ];
    let facts = known.iter().map(|(key, value)| Fact { key, value: value.as_bytes() }).collect();
    let stranger = Request { subject: stranger, facts, ..request.clone() };
    let creates = Request {
        interaction: Interaction::Create,
        id: None,
        body: request.stored.first().and_then(|stored| stored.content),
        settings: br#"{"writes":true}"#,
        ..request.clone()
    };
    let everybodys = permits(&stranger, &format!("user/{of}.rs"));
    assert!(!plain || everybodys || names_patient(content, "1"), "opened to a patient it does not name");
    let created = permits(&creates, &format!("patient/{of}.cruds"));
    assert!(!created || names_patient(content, "1"), "created for a patient it does not name");
}

/// Whether a resource is the chart of a patient or holds a literal reference to it, anywhere.
fn names_patient(content: &Value, id: &str) -> bool {
    let is_chart = content.get("resourceType").is_some_and(|of| of == "Patient");
    (is_chart && content.get("id").is_some_and(|found| found == id)) || refers_to(content, id)
}

fn refers_to(node: &Value, id: &str) -> bool {
    match node {
        Value::Array(items) => items.iter().any(|item| refers_to(item, id)),
        Value::Object(members) => {
            let reference = members.get("reference").and_then(Value::as_str).unwrap_or_default();
            let local = reference.strip_prefix(BASE).and_then(|rest| rest.strip_prefix('/')).unwrap_or(reference);
            let rest = local.strip_prefix("Patient/").and_then(|rest| rest.strip_prefix(id));
            let is_it = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with("/_history/"));
            is_it || members.values().any(|member| refers_to(member, id))
        }
        _ => false,
    }
}

/// The filters above are worth trying: each of them permits its sample.
fn samples_match() {
    for (of, filters, sample) in SAMPLES {
        let (_, content) = split(sample);
        let key = if of == "Patient" { "Patient/1".to_owned() } else { format!("{of}/9") };
        for filter in filters {
            assert!(permits(&read(&key, content), &format!("patient/{of}.rs?{filter}")), "{of}?{filter}");
        }
    }
}

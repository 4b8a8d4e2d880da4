//! What is taken for a patient, and what is not.

use chartgate_model::{FhirRequest, Interaction, Parameter, Stored};

use super::{NAMED_MAX, named_patients};

fn request(resource_type: &str, id: Option<&str>) -> FhirRequest {
    FhirRequest::new(Interaction::Read, resource_type, id)
}

fn in_content(text: &str) -> Vec<String> {
    let stored = [Stored { key: "Observation/9".into(), content: Some(text.into()) }];
    named_patients(&request("Observation", Some("9")), &stored).into_iter().map(str::to_owned).collect()
}

fn in_parameter(resource_type: &str, name: &str, value: &str) -> Vec<String> {
    let parameters = vec![Parameter { name: name.into(), value: value.into() }];
    let asked = FhirRequest { parameters, ..request(resource_type, None) };
    named_patients(&asked, &[]).into_iter().map(str::to_owned).collect()
}

#[test]
fn the_url_comes_first_and_nobody_twice() {
    let asked = FhirRequest {
        compartment: Some(("Patient".into(), "2".into())),
        parameters: vec![Parameter { name: "subject".into(), value: "Patient/3,Patient/1".into() }],
        body: Some(r#"{"subject":{"reference":"Patient/4"}}"#.into()),
        ..request("Patient", Some("1"))
    };
    assert_eq!(named_patients(&asked, &[]), ["1", "2", "3", "4"]);
    let elsewhere = FhirRequest { compartment: Some(("Encounter".into(), "2".into())), ..request("Group", Some("1")) };
    assert_eq!(named_patients(&elsewhere, &[]), [""; 0]);
}

#[test]
fn content_names_patients_by_reference() {
    assert_eq!(
        in_content(r#"{"a":"Patient/1","b":"https://x/fhir/Patient/2/_history/3","c":"Patient/1"}"#),
        ["1", "2"]
    );
    assert_eq!(
        in_content(r#"{"a":"Patient/","b":"Patient/..","c":"patient/1","d":"Patient/\u00e9","e":"Patient"}"#),
        [""; 0]
    );
    assert_eq!(in_content(&format!("Patient/{}", "a".repeat(65))), [""; 0]);
    assert_eq!(in_content("Patient/9.a-B"), ["9.a-B"]);
    assert_eq!(in_content(r#"{"a":"Patient\/1"}"#), ["1"]);
}

#[test]
fn parameters_name_patients_as_searches_do() {
    assert_eq!(in_parameter("Observation", "patient", "1,Patient/2"), ["1", "2"]);
    assert_eq!(in_parameter("Observation", "subject", "1,Patient/2"), ["1", "2"]);
    assert_eq!(in_parameter("Observation", "subject:Patient", "1"), ["1"]);
    assert_eq!(in_parameter("Observation", "subject", "https://ehr.example/fhir/Patient/1"), ["1"]);
    assert_eq!(in_parameter("Patient", "_id", "1,2"), ["1", "2"]);
    assert_eq!(in_parameter("Observation", "_id", "1,2"), [""; 0]);
}

#[test]
fn only_so_many_are_taken() {
    let many = |count: usize| (0..count).map(|n| format!("Patient/{n} ")).collect::<String>();
    assert_eq!(in_content(&many(NAMED_MAX)).len(), NAMED_MAX);
    assert_eq!(in_content(&many(NAMED_MAX + 1)).len(), NAMED_MAX);
}

//! Discovery, by the checks of Inferno's SMART App Launch kit: each test has the name of its check.

use chartgate_tests::smart::Clinic;
use serde_json::{Value, json};

use crate::clinic;

fn get(clinic: &Clinic, path: &str, headers: &[(&str, &str)]) -> chartgate_tests::host::Answer {
    clinic.host.client().send("GET", clinic.host.public, path, headers, "")
}

fn smart_configuration() -> Value {
    get(clinic(), "/fhir/.well-known/smart-configuration", &[]).json()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

/// JSON whatever `Accept` says (requirement 380).
#[test]
fn well_known_endpoint() {
    for accept in ["application/json", "text/html", "application/fhir+xml"] {
        let answer = get(clinic(), "/fhir/.well-known/smart-configuration", &[("accept", accept)]);
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").starts_with("application/json"));
    }
}

#[test]
fn well_known_capabilities_stu1() {
    let document = smart_configuration();
    for member in ["authorization_endpoint", "token_endpoint"] {
        // Absolute (requirement 378).
        assert!(document[member].as_str().unwrap().starts_with(&clinic().issuer), "{member}");
    }
    assert!(!texts(&document["capabilities"]).is_empty());
}

#[test]
fn well_known_capabilities_stu2() {
    let document = smart_configuration();
    assert_eq!(document["grant_types_supported"], json!(["authorization_code"]));
    assert_eq!(document["code_challenge_methods_supported"], json!(["S256"]));
    assert_eq!(document["issuer"], json!(clinic().issuer));
    assert!(document["jwks_uri"].is_string());
}

#[test]
fn g10_smart_well_known_capabilities() {
    let document = smart_configuration();
    let capabilities = texts(&document["capabilities"]);
    for wanted in [
        "launch-standalone",
        "launch-ehr",
        "client-public",
        "client-confidential-symmetric",
        "client-confidential-asymmetric",
        "sso-openid-connect",
        "context-banner",
        "context-style",
        "context-ehr-patient",
        "context-ehr-encounter",
        "context-standalone-patient",
        "permission-offline",
        "permission-patient",
        "permission-user",
        "permission-v1",
        "permission-v2",
        "authorize-post",
    ] {
        assert!(capabilities.contains(&wanted), "{wanted}");
    }
}

/// Any origin may read where things are.
#[test]
fn smart_cors_well_known_endpoint() {
    let answer = get(clinic(), "/fhir/.well-known/smart-configuration", &[("origin", "https://anywhere.example")]);
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

#[test]
fn smart_openid_required_configuration_fields() {
    let document = get(clinic(), "/.well-known/openid-configuration", &[]).json();
    for member in ["issuer", "authorization_endpoint", "token_endpoint", "jwks_uri"] {
        assert!(document[member].is_string(), "{member}");
    }
    assert_eq!(document["response_types_supported"], json!(["code"]));
    assert_eq!(document["subject_types_supported"], json!(["public"]));
    assert!(texts(&document["id_token_signing_alg_values_supported"]).contains(&"RS256"));
    assert_eq!(document["authorization_response_iss_parameter_supported"], json!(true));
    let other = get(clinic(), "/.well-known/oauth-authorization-server", &[]).json();
    assert_eq!(other, document);
}

#[test]
fn smart_openid_retrieve_jwks() {
    let keys = get(clinic(), "/oauth/jwks", &[]).json();
    let keys = keys["keys"].as_array().unwrap();
    assert!(keys.iter().any(|key| key["kty"] == "RSA" && key["kid"].is_string() && key["use"] == "sig"));
    assert!(keys.iter().all(|key| key.get("d").is_none()));
}

/// No endpoint but the two documents and the keys is for everybody's scripts: the token endpoint is for where apps
/// live, and the authorization endpoint for nobody's.
#[test]
fn smart_cors_token_exchange() {
    let (clinic, _app) = (clinic(), clinic().public_app());
    let preflight = |path: &str, origin: &str| {
        let headers = [
            ("origin", origin),
            ("access-control-request-method", "POST"),
            ("access-control-request-headers", "authorization,content-type"),
        ];
        let answer = clinic.host.client().send("OPTIONS", clinic.host.public, path, &headers, "");
        answer.header("access-control-allow-origin").to_owned()
    };
    assert_eq!(preflight("/oauth/token", "https://app.example"), "https://app.example");
    assert_eq!(preflight("/oauth/token", "https://evil.example"), "");
    assert_eq!(preflight("/oauth/authorize", "https://app.example"), "");
}

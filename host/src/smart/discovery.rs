//! Where everything is, and what it can do (SMART App Launch 2.2, "Conformance"; OpenID Connect Discovery; RFC 8414).
//!
//! INVARIANT: nothing is announced that does not work.

use serde_json::{Map, Value, json};

use super::Server;
use super::settings::Settings;
use crate::tokens::CLIENT_ALGORITHMS;

/// What this server can do, in the words of SMART.
const CAPABILITIES: [&str; 18] = [
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
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
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
];

const SCOPES: [&str; 12] = [
    "openid",
    "fhirUser",
    "profile",
    "launch",
    "launch/patient",
    "offline_access",
    "online_access",
    "patient/*.cruds",
    "patient/*.*",
    "user/*.cruds",
    "user/*.*",
    "patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory",
];

/// What all the documents say alike.
fn common(settings: &Settings) -> Map<String, Value> {
    let mut methods = vec!["client_secret_basic", "private_key_jwt", "none"];
    if settings.secret_post {
        methods.insert(1, "client_secret_post");
    }
    let algorithms: Vec<&str> = CLIENT_ALGORITHMS.iter().map(|(name, _)| *name).collect();
    let document = json!({
        "issuer": settings.issuer,
        "authorization_endpoint": settings.url("/oauth/authorize"),
        "token_endpoint": settings.url("/oauth/token"),
        "jwks_uri": settings.url("/oauth/jwks"),
        "introspection_endpoint": settings.url("/oauth/introspect"),
        "revocation_endpoint": settings.url("/oauth/revoke"),
        "token_endpoint_auth_methods_supported": methods,
        "token_endpoint_auth_signing_alg_values_supported": algorithms,
        "scopes_supported": SCOPES,
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
    });
    match document {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Where older apps look for it: in the capability statement of the FHIR base.
pub fn places(server: &Server) -> Vec<(&'static str, String)> {
    let settings = server.settings();
    let places = [
        ("authorize", "/oauth/authorize"),
        ("token", "/oauth/token"),
        ("introspect", "/oauth/introspect"),
        ("revoke", "/oauth/revoke"),
        ("manage", "/oauth/apps"),
    ];
    places.map(|(name, path)| (name, settings.url(path))).to_vec()
}

/// `{FHIR base}/.well-known/smart-configuration`.
pub fn smart_configuration(server: &Server) -> Value {
    let settings = server.settings();
    let mut document = common(settings);
    document.insert("grant_types_supported".into(), json!(["authorization_code"]));
    document.insert("management_endpoint".into(), json!(settings.url("/oauth/apps")));
    document.insert("capabilities".into(), json!(CAPABILITIES));
    Value::Object(document)
}

/// `/.well-known/openid-configuration`, and `/.well-known/oauth-authorization-server`.
pub fn openid_configuration(server: &Server) -> Value {
    let settings = server.settings();
    let mut document = common(settings);
    let methods = document.get("token_endpoint_auth_methods_supported").cloned().unwrap_or_default();
    let algorithms = document.get("token_endpoint_auth_signing_alg_values_supported").cloned().unwrap_or_default();
    document.insert("revocation_endpoint_auth_methods_supported".into(), methods.clone());
    // Whoever may ask about tokens has to prove who it is.
    let provable = methods.as_array().into_iter().flatten().filter(|method| *method != "none");
    document.insert("introspection_endpoint_auth_methods_supported".into(), provable.cloned().collect());
    document.insert("introspection_endpoint_auth_signing_alg_values_supported".into(), algorithms.clone());
    document.insert("revocation_endpoint_auth_signing_alg_values_supported".into(), algorithms);
    document.insert("grant_types_supported".into(), json!(["authorization_code", "refresh_token"]));
    document.insert("response_modes_supported".into(), json!(["query"]));
    document.insert("subject_types_supported".into(), json!(["public"]));
    document.insert("id_token_signing_alg_values_supported".into(), json!(["RS256"]));
    document.insert("prompt_values_supported".into(), json!(["none", "login", "consent", "select_account"]));
    let claims = ["iss", "sub", "aud", "exp", "iat", "nonce", "auth_time", "at_hash", "fhirUser"];
    document.insert("claims_supported".into(), json!(claims));
    for unsupported in ["claims_parameter_supported", "request_parameter_supported", "request_uri_parameter_supported"]
    {
        document.insert(unsupported.into(), json!(false));
    }
    document.insert("authorization_response_iss_parameter_supported".into(), json!(true));
    Value::Object(document)
}

/// Whether a browser at this origin may call the token endpoint and its like: it is where a registered app lives.
pub fn cors_of(server: &Server, origin: &str) -> bool {
    match server.clients() {
        Ok(clients) => clients.iter().any(|client| client.calls_from(origin)),
        Err(_) => false,
    }
}

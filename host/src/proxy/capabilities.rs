//! The capability statement of a server, and what this host adds to it (SMART App Launch 1.0, "Declaring support for
//! OAuth2 endpoints": older apps look nowhere else).

use serde_json::{Value, json};

const SERVICE: &str = "http://terminology.hl7.org/CodeSystem/restful-security-service";
const OAUTH_URIS: &str = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";

/// Where apps are authorized: name and URL of each endpoint.
pub(crate) type Places = Vec<(&'static str, String)>;

/// The statement of a server as that of the base at `url`; `None` where it is none.
pub(crate) fn amended(body: &[u8], url: &str, places: Option<Places>) -> Option<Value> {
    let mut statement: Value = serde_json::from_slice(body).ok()?;
    if statement.get("resourceType").and_then(Value::as_str) != Some("CapabilityStatement") {
        return None;
    }
    let members = statement.as_object_mut()?;
    // Only JSON can be judged, and only patches that can be worked out before.
    members.insert("format".into(), json!(["application/fhir+json", "json"]));
    members.insert("patchFormat".into(), json!(["application/json-patch+json", "application/fhir+json"]));
    let implementation = members.entry("implementation").or_insert_with(|| json!({ "description": "FHIR server" }));
    implementation.as_object_mut()?.insert("url".into(), json!(url));
    let mut security = json!({
        "cors": true,
        "service": [{ "coding": [{ "system": SERVICE, "code": "SMART-on-FHIR" }], "text": "SMART on FHIR" }],
    });
    if let (Some(places), Some(security)) = (places, security.as_object_mut()) {
        let uris: Vec<Value> = places.iter().map(|(name, url)| json!({ "url": name, "valueUri": url })).collect();
        security.insert("extension".into(), json!([{ "url": OAUTH_URIS, "extension": uris }]));
    }
    for rest in members.get_mut("rest").and_then(Value::as_array_mut).into_iter().flatten() {
        rest.as_object_mut()?.insert("security".into(), security.clone());
    }
    Some(statement)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_says_where_apps_are_authorized() {
        let server = r#"{"resourceType":"CapabilityStatement","format":["xml"],"rest":[{"mode":"server"}]}"#;
        let places = vec![("authorize", "https://a/authorize".to_owned())];
        let statement = amended(server.as_bytes(), "https://a/fhir", Some(places)).unwrap();
        assert_eq!(statement["implementation"]["url"], "https://a/fhir");
        let security = &statement["rest"][0]["security"];
        assert_eq!(security["service"][0]["coding"][0]["code"], "SMART-on-FHIR");
        assert_eq!(security["extension"][0]["extension"][0]["valueUri"], "https://a/authorize");
        assert_eq!(statement["format"][1], "json");
    }

    #[test]
    fn what_is_no_statement_is_none() {
        for body in ["", "[]", r#"{"resourceType":"Patient"}"#] {
            assert_eq!(amended(body.as_bytes(), "https://a/fhir", None), None);
        }
    }
}

//! The body of a write: JSON that can be taken without doubt.

use serde::Deserialize;

use super::error::ParseError;
use super::media::{Media, of_body};
use crate::{Interaction, strict};

const BODY: &str = "request.body";
const CONTENT_TYPE: &str = "request.headers.content-type";
/// Nesting of a body, as the policy bounds it.
const DEPTH_MAX: usize = 64;

/// Check the body of a create, an update, an operation or a bundle: a JSON object. Callers may leave
/// its media type out.
pub(super) fn resource(body: &[u8], content_type: Option<&str>, fhir_version: &str) -> Result<(), ParseError> {
    let media = content_type.map_or(Ok(Media::FhirJson), |text| read(text, fhir_version))?;
    if !matches!(media, Media::FhirJson | Media::Json) {
        return Err(ParseError::unsupported(CONTENT_TYPE, "a resource is application/fhir+json"));
    }
    json(body, b'{', "is not a JSON object")
}

/// Check the body of a patch: a JSON Patch (RFC 6902) or a FHIRPath Patch (FHIR R4, RESTful API, "patch").
///
/// SECURITY: the media type has to be there. One JSON text is a different patch under another type,
/// a merge patch among them.
pub(super) fn patch(body: &[u8], content_type: Option<&str>, fhir_version: &str) -> Result<(), ParseError> {
    match content_type.map(|text| read(text, fhir_version)).transpose()? {
        Some(Media::JsonPatch) => json(body, b'[', "is not a JSON array, as a JSON Patch is"),
        Some(Media::FhirJson) => {
            json(body, b'{', "is not a JSON object")?;
            match strict::reference_key(body) {
                Ok(key) if key.resource_type == "Parameters" => Ok(()),
                _ => Err(ParseError::malformed(BODY, "is not a `Parameters` resource, as a FHIRPath Patch is")),
            }
        }
        _ => {
            let message = "a patch is application/json-patch+json or application/fhir+json, and has to say which";
            Err(ParseError::unsupported(CONTENT_TYPE, message))
        }
    }
}

/// The text of a search form.
///
/// SECURITY: the media type has to be there. A server that is not told of a form may ignore it and run
/// the search without the parameters that were judged.
pub(super) fn form<'a>(body: &'a [u8], content_type: Option<&str>, fhir_version: &str) -> Result<&'a str, ParseError> {
    match content_type.map(|text| read(text, fhir_version)).transpose()? {
        Some(Media::Form) => std::str::from_utf8(body).map_err(|_| ParseError::malformed(BODY, "is not UTF-8")),
        _ => Err(ParseError::unsupported(CONTENT_TYPE, "a search form is application/x-www-form-urlencoded")),
    }
}

/// Whether a checked body is a batch or a transaction.
pub(super) fn bundle(body: &[u8]) -> Result<Interaction, ParseError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Bundle {
        resource_type: String,
        r#type: String,
    }
    let bundle: Option<Bundle> = serde_json::from_slice(body).ok();
    let bundle = bundle.filter(|bundle| bundle.resource_type == "Bundle");
    match bundle.as_ref().map(|bundle| bundle.r#type.as_str()) {
        Some("batch") => Ok(Interaction::Batch),
        Some("transaction") => Ok(Interaction::Transaction),
        _ => Err(ParseError::malformed(BODY, "is not a batch or transaction bundle")),
    }
}

fn read(content_type: &str, fhir_version: &str) -> Result<Media, ParseError> {
    of_body(content_type, fhir_version).map_err(|what| ParseError::unsupported(CONTENT_TYPE, what))
}

fn json(body: &[u8], first: u8, otherwise: &str) -> Result<(), ParseError> {
    strict::check(body, DEPTH_MAX).map_err(|error| ParseError::malformed(BODY, error.to_string()))?;
    match body.trim_ascii_start().first() {
        Some(found) if *found == first => Ok(()),
        _ => Err(ParseError::malformed(BODY, otherwise)),
    }
}

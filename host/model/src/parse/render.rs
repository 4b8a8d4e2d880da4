//! Writing a rewritten search, or a write by other criteria, back as a request.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{FhirRequest, Interaction, Parameter};

/// Everything but what RFC 3986 calls unreserved, and the separators of search values.
const VALUE: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b',').remove(b'/').remove(b':');

/// A search as a request to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RenderedRequest {
    /// `GET`, `HEAD` or `POST`
    pub method: &'static str,
    /// relative to the base, with a leading slash
    pub url: String,
    /// form body of a `POST …/_search`, to be sent as `application/x-www-form-urlencoded`
    pub body: Option<String>,
    /// the criteria of a create, to be sent as `If-None-Exist`
    pub if_none_exist: Option<String>,
}

/// The same search with other parameters. A search by form keeps them all in its body.
///
/// Parameters that [`super::check_parameters`] refuses are written all the same and not read back.
pub fn render_search(request: &FhirRequest, parameters: &[Parameter]) -> RenderedRequest {
    let mut url = path(request);
    let pairs = parameters.iter().map(|Parameter { name, value }| {
        format!("{}={}", utf8_percent_encode(name, VALUE), utf8_percent_encode(value, VALUE))
    });
    let pairs = pairs.collect::<Vec<_>>().join("&");
    if request.by_form {
        return RenderedRequest { method: "POST", url, body: Some(pairs), if_none_exist: None };
    }
    if request.interaction == Interaction::Create {
        return RenderedRequest { method: "POST", url, body: None, if_none_exist: Some(pairs) };
    }
    let is_system = request.interaction == Interaction::SearchSystem && request.compartment.is_none();
    if !pairs.is_empty() || is_system {
        url.push('?');
        url.push_str(&pairs);
    }
    RenderedRequest { method: request.method.as_str(), url, body: None, if_none_exist: None }
}

/// The path of the request.
///
/// SECURITY: every part that confines the request is written, whatever the interaction: a search that
/// lost its compartment or its id would reach more than was judged.
fn path(request: &FhirRequest) -> String {
    let mut path = String::new();
    let mut push = |segment: &str| {
        path.push('/');
        path.push_str(segment);
    };
    if let Some((resource_type, id)) = &request.compartment {
        push(resource_type);
        push(id);
    }
    match (request.resource_type.as_str(), request.compartment.is_some()) {
        ("", true) => push("*"),
        ("", false) => {}
        (resource_type, _) => push(resource_type),
    }
    // What criteria find is not named beside them.
    if let Some(id) = request.id.as_ref().filter(|_| !request.conditional) {
        push(id);
    }
    match request.interaction {
        Interaction::HistoryInstance | Interaction::HistoryType | Interaction::HistorySystem => push("_history"),
        Interaction::Vread => {
            push("_history");
            push(request.version.as_deref().unwrap_or_default());
        }
        Interaction::Capabilities => push("metadata"),
        _ => {}
    }
    if let Some(operation) = &request.operation {
        push(&format!("${operation}"));
    }
    if request.by_form {
        push("_search");
    }
    if path.is_empty() { "/".into() } else { path }
}

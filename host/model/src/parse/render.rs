//! Writing a rewritten search back as a request.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{FhirRequest, Parameter};

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
    /// form body of a `POST …/_search`
    pub body: Option<String>,
}

/// The same search with other parameters. A search by form keeps them all in its body.
pub fn render_search(request: &FhirRequest, parameters: &[Parameter]) -> RenderedRequest {
    let mut url = String::new();
    if let Some((resource_type, id)) = &request.compartment {
        url.push_str(&format!("/{resource_type}/{id}"));
    }
    url.push_str(&format!("/{}", request.resource_type));
    if let Some(operation) = &request.operation {
        url.push_str(&format!("/${operation}"));
    }
    let pairs: Vec<String> = parameters
        .iter()
        .map(|Parameter { name, value }| {
            format!("{}={}", utf8_percent_encode(name, VALUE), utf8_percent_encode(value, VALUE))
        })
        .collect();
    let pairs = pairs.join("&");
    if request.by_form {
        url.push_str("/_search");
        return RenderedRequest { method: "POST", url, body: Some(pairs) };
    }
    if !pairs.is_empty() {
        url = format!("{url}?{pairs}");
    }
    RenderedRequest { method: request.method.as_str(), url, body: None }
}

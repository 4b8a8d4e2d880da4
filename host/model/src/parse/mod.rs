//! The FHIR request parser: method, URL, headers and body to one normal form (FHIR R4, RESTful API,
//! section 3.1.0).
//!
//! It lives here, once. What could be read in two ways is refused, never repaired.

mod body;
mod error;
mod headers;
mod media;
mod path;
mod query;
mod render;
#[cfg(test)]
mod tests;

use crate::parse::headers::Headers;
use crate::parse::path::{is_id, is_type, operation};
use crate::{FhirBase, FhirRequest, Interaction, Method, Parameter};

pub use error::{ParseError, ParseErrorKind};
pub use query::check_parameters;
pub use render::{RenderedRequest, render_search};

const URL: &str = "request.url";
const BODY: &str = "request.body";
/// Types that define compartments in FHIR R4.
const COMPARTMENTS: [&str; 5] = ["Patient", "Encounter", "RelatedPerson", "Practitioner", "Device"];
/// Parameters that choose the format of an answer: every interaction takes them.
const FORMAT: [&str; 2] = ["_format", "_pretty"];
/// Parameters that change how an answer looks and never what it is about.
const PRESENTATION: [&str; 4] = ["_format", "_pretty", "_elements", "_summary"];
/// Parameters of a history.
const HISTORY: [&str; 8] = ["_format", "_pretty", "_elements", "_summary", "_count", "_since", "_at", "_sort"];

/// A FHIR request as it came in.
#[derive(Debug, Clone, Copy)]
pub struct RawRequest<'a> {
    /// `GET`
    pub method: &'a str,
    /// relative to the base, or absolute under it
    pub url: &'a str,
    /// names and values
    pub headers: &'a [(String, String)],
    /// the body, if any
    pub body: Option<&'a [u8]>,
}

/// Bounds of a request.
#[derive(Debug, Clone, Copy)]
pub struct ParseLimits {
    /// bytes of the URL, and of a form body
    pub url_bytes: usize,
    /// parameters in all
    pub parameters: usize,
    /// bytes of the body
    pub body_bytes: usize,
    /// bytes of a batch or a transaction
    pub bundle_bytes: usize,
}

impl Default for ParseLimits {
    fn default() -> Self {
        Self { url_bytes: 8 << 10, parameters: 256, body_bytes: 1 << 20, bundle_bytes: 1 << 20 }
    }
}

/// Read a request.
pub fn parse(raw: &RawRequest<'_>, base: &FhirBase, limits: &ParseLimits) -> Result<FhirRequest, ParseError> {
    if raw.url.len() > limits.url_bytes {
        return Err(ParseError::too_large(URL, limits.url_bytes, "bytes"));
    }
    let method = method(raw.method)?;
    let headers = headers::read(raw.headers)?;
    let body = raw.body.filter(|body| !body.is_empty());
    let split = path::split(raw.url, base)?;
    let is_bundle = method == Method::Post && split.segments.is_empty();
    let body_bytes = if is_bundle { limits.bundle_bytes } else { limits.body_bytes };
    if body.is_some_and(|body| body.len() > body_bytes) {
        return Err(ParseError::too_large(BODY, body_bytes, "bytes"));
    }
    let parameters = query::parameters(split.query.unwrap_or_default(), URL, limits.parameters)?;
    let has_query = split.query.is_some();
    let mut parts = Parts { method, headers, body, base, limits, parameters, has_query };
    let mut request = parts.form(&split.segments)?;
    request.parameters = parts.parameters;
    Ok(request)
}

/// Whether a request, whatever its URL means to the server, can only be for a page of the answer to another: a GET below
/// the base, spelt without doubt, that changes nothing and is answered at once.
pub fn check_page(raw: &RawRequest<'_>, of: &str, base: &FhirBase, limits: &ParseLimits) -> Result<(), ParseError> {
    if raw.url.len() > limits.url_bytes {
        return Err(ParseError::too_large(URL, limits.url_bytes, "bytes"));
    }
    if method(raw.method)? != Method::Get || raw.body.is_some() {
        return Err(ParseError::unsupported("request.method", "pages are asked for by GET, without a body"));
    }
    headers::read(raw.headers)?;
    let (page, first) = (path::split(raw.url, base)?, path::split(of, base)?);
    query::parameters(page.query.unwrap_or_default(), URL, limits.parameters)?;
    // SECURITY: an operation may do more than read.
    if page.segments.iter().any(|segment| segment.starts_with('$') && !first.segments.contains(segment)) {
        return Err(ParseError::unsupported(URL, "it is for an operation that the first request was not for"));
    }
    Ok(())
}

fn method(text: &str) -> Result<Method, ParseError> {
    let methods = [Method::Get, Method::Head, Method::Post, Method::Put, Method::Patch, Method::Delete];
    methods
        .into_iter()
        .find(|method| method.as_str() == text)
        .ok_or_else(|| ParseError::malformed("request.method", "is none of GET, HEAD, POST, PUT, PATCH, DELETE"))
}

struct Parts<'a> {
    method: Method,
    headers: Headers<'a>,
    body: Option<&'a [u8]>,
    base: &'a FhirBase,
    limits: &'a ParseLimits,
    parameters: Vec<Parameter>,
    has_query: bool,
}

impl Parts<'_> {
    /// The form by method and path.
    fn form(&mut self, segments: &[&str]) -> Result<FhirRequest, ParseError> {
        use Method::{Delete, Get, Head, Patch, Post, Put};
        if !matches!((self.method, segments), (Post, [single]) if is_type(single))
            && self.headers.if_none_exist.is_some()
        {
            return Err(ParseError::unsupported("request.headers.if-none-exist", "only a create takes it"));
        }
        if let Some((last, before)) = segments.split_last()
            && let Some(name) = operation(last)
        {
            return self.operation(name, before);
        }
        match (self.method, segments) {
            (Get | Head, ["metadata"]) => self.plain(Interaction::Capabilities, "", &["_format", "_pretty", "mode"]),
            (Get | Head, ["_history"]) => self.plain(Interaction::HistorySystem, "", &HISTORY),
            (Get | Head, []) if self.has_query => self.search("", None),
            (Post, ["_search"]) => self.search_by_form("", None),
            (Post, []) => self.bundle(),
            (Get | Head, [kind]) if is_type(kind) => self.search(kind, None),
            (Post, [kind]) if is_type(kind) => self.create(kind),
            (Put, [kind]) if is_type(kind) => self.by_criteria(Interaction::Update, kind),
            (Patch, [kind]) if is_type(kind) => self.by_criteria(Interaction::Patch, kind),
            (Delete, [kind]) if is_type(kind) => self.by_criteria(Interaction::Delete, kind),
            (Get | Head, [kind, "_history"]) if is_type(kind) => self.plain(Interaction::HistoryType, kind, &HISTORY),
            (Post, [kind, "_search"]) if is_type(kind) => self.search_by_form(kind, None),
            (Get | Head, [kind, id]) if is_instance(kind, id) => {
                self.instance(Interaction::Read, kind, id, &PRESENTATION)
            }
            (Put, [kind, id]) if is_instance(kind, id) => self.write(Interaction::Update, kind, id),
            (Patch, [kind, id]) if is_instance(kind, id) => self.write(Interaction::Patch, kind, id),
            (Delete, [kind, id]) if is_instance(kind, id) => self.write(Interaction::Delete, kind, id),
            (Get | Head, [kind, id, "_history"]) if is_instance(kind, id) => {
                self.instance(Interaction::HistoryInstance, kind, id, &HISTORY)
            }
            (Get | Head, [kind, id, "_history", version]) if is_instance(kind, id) && is_id(version) => {
                let request = self.instance(Interaction::Vread, kind, id, &PRESENTATION)?;
                Ok(FhirRequest { version: Some((*version).to_owned()), ..request })
            }
            (Get | Head, [of, id, "*"]) if is_compartment(of, id) => self.search("", Some((of, id))),
            (Get | Head, [of, id, kind]) if is_compartment(of, id) && is_type(kind) => {
                self.search(kind, Some((of, id)))
            }
            (Post, [of, id, kind, "_search"]) if is_compartment(of, id) && is_type(kind) => {
                self.search_by_form(kind, Some((of, id)))
            }
            (method, _) => {
                Err(ParseError::malformed(URL, format!("`{}` with this path is no FHIR interaction", method.as_str())))
            }
        }
    }

    fn empty(&self, interaction: Interaction, resource_type: &str) -> FhirRequest {
        let prefer_return = self.headers.prefer_return;
        let (method, revalidates) = (self.method, self.headers.revalidates);
        FhirRequest { method, prefer_return, revalidates, ..FhirRequest::new(interaction, resource_type, None) }
    }

    fn plain(&self, interaction: Interaction, resource_type: &str, takes: &[&str]) -> Result<FhirRequest, ParseError> {
        self.takes_only(takes)?;
        self.no_body()?;
        Ok(self.empty(interaction, resource_type))
    }

    fn instance(
        &self,
        interaction: Interaction,
        kind: &str,
        id: &str,
        takes: &[&str],
    ) -> Result<FhirRequest, ParseError> {
        Ok(FhirRequest { id: Some(id.to_owned()), ..self.plain(interaction, kind, takes)? })
    }

    fn search(&self, kind: &str, compartment: Option<(&str, &str)>) -> Result<FhirRequest, ParseError> {
        self.no_body()?;
        let interaction = if kind.is_empty() { Interaction::SearchSystem } else { Interaction::SearchType };
        let compartment = compartment.map(|(of, id)| (of.to_owned(), id.to_owned()));
        Ok(FhirRequest { compartment, ..self.empty(interaction, kind) })
    }

    /// `POST …/_search`: parameters of the URL, then of the body.
    fn search_by_form(&mut self, kind: &str, compartment: Option<(&str, &str)>) -> Result<FhirRequest, ParseError> {
        let text = match self.body.take() {
            Some(body) if body.len() > self.limits.url_bytes => {
                return Err(ParseError::too_large(BODY, self.limits.url_bytes, "bytes"));
            }
            Some(body) => body::form(body, self.headers.content_type, &self.base.version)?,
            None => "",
        };
        let left = self.limits.parameters.saturating_sub(self.parameters.len());
        let of_body = query::parameters(text, BODY, left)?;
        // SECURITY: servers differ in which of the two wins.
        let twice = |p: &&Parameter| self.parameters.iter().any(|known| query::same_parameter(&known.name, &p.name));
        if let Some(twice) = of_body.iter().find(twice) {
            return Err(ParseError::ambiguous(BODY, format!("`{}` stands in the URL too", twice.name)));
        }
        self.parameters.extend(of_body);
        Ok(FhirRequest { by_form: true, ..self.search(kind, compartment)? })
    }

    fn create(&mut self, kind: &str) -> Result<FhirRequest, ParseError> {
        self.takes_only(&FORMAT)?;
        let request = self.with_body(self.empty(Interaction::Create, kind))?;
        let Some(criteria) = self.headers.if_none_exist else { return Ok(request) };
        let member = "request.headers.if-none-exist";
        if criteria.len() > self.limits.url_bytes {
            return Err(ParseError::too_large(member, self.limits.url_bytes, "bytes"));
        }
        let left = self.limits.parameters.saturating_sub(self.parameters.len());
        let criteria = query::parameters(criteria, member, left)?;
        query::criteria(&criteria, &[], member)?;
        self.parameters.extend(criteria);
        Ok(FhirRequest { conditional: true, ..request })
    }

    fn write(&self, interaction: Interaction, kind: &str, id: &str) -> Result<FhirRequest, ParseError> {
        self.takes_only(&FORMAT)?;
        let request = FhirRequest { id: Some(id.to_owned()), ..self.empty(interaction, kind) };
        self.with_body(request)
    }

    fn by_criteria(&self, interaction: Interaction, kind: &str) -> Result<FhirRequest, ParseError> {
        query::criteria(&self.parameters, &FORMAT, URL)?;
        self.with_body(FhirRequest { conditional: true, ..self.empty(interaction, kind) })
    }

    /// Attach the body a write has to have; a delete has none.
    fn with_body(&self, request: FhirRequest) -> Result<FhirRequest, ParseError> {
        if request.interaction == Interaction::Delete {
            self.no_body()?;
            return Ok(request);
        }
        let body = self.body.ok_or_else(|| ParseError::malformed(BODY, "is missing"))?;
        let check = if request.interaction == Interaction::Patch { body::patch } else { body::resource };
        check(body, self.headers.content_type, &self.base.version)?;
        Ok(FhirRequest { body: Some(body.to_vec()), ..request })
    }

    fn operation(&self, name: &str, before: &[&str]) -> Result<FhirRequest, ParseError> {
        let request = match before {
            [] => self.empty(Interaction::Operation, ""),
            [kind] if is_type(kind) => self.empty(Interaction::Operation, kind),
            [kind, id] if is_instance(kind, id) => {
                FhirRequest { id: Some((*id).to_owned()), ..self.empty(Interaction::Operation, kind) }
            }
            _ => return Err(ParseError::malformed(URL, "an operation stands behind the base, a type or an instance")),
        };
        let request = FhirRequest { operation: Some(name.to_owned()), ..request };
        match (self.method, self.body) {
            (Method::Get, _) => self.no_body().map(|()| request),
            // SECURITY: a server may ignore the query of a POST, and with it what narrows the answer.
            (Method::Post, _) if !self.parameters.is_empty() => {
                Err(ParseError::ambiguous(URL, "the parameters of a POST operation belong into its body"))
            }
            (Method::Post, None) => Ok(request),
            (Method::Post, Some(_)) => self.with_body(request),
            _ => Err(ParseError::malformed("request.method", "an operation takes GET or POST")),
        }
    }

    /// `POST` to the base: a batch or a transaction, as its bundle says.
    fn bundle(&self) -> Result<FhirRequest, ParseError> {
        self.takes_only(&FORMAT)?;
        let request = self.with_body(self.empty(Interaction::Batch, ""))?;
        let interaction = body::bundle(request.body.as_deref().unwrap_or_default())?;
        Ok(FhirRequest { interaction, ..request })
    }

    fn no_body(&self) -> Result<(), ParseError> {
        if self.body.is_some() {
            return Err(ParseError::ambiguous(BODY, "this interaction has none"));
        }
        Ok(())
    }

    fn takes_only(&self, names: &[&str]) -> Result<(), ParseError> {
        match self.parameters.iter().find(|parameter| !names.contains(&parameter.name.as_str())) {
            Some(parameter) => {
                Err(ParseError::malformed(URL, format!("this interaction takes no parameter `{}`", parameter.name)))
            }
            None => Ok(()),
        }
    }
}

fn is_instance(kind: &str, id: &str) -> bool {
    is_type(kind) && is_id(id)
}

fn is_compartment(kind: &str, id: &str) -> bool {
    COMPARTMENTS.contains(&kind) && is_id(id)
}

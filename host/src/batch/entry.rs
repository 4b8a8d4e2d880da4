//! The entries of a batch or transaction as requests of their own (FHIR R4, Bundle; RESTful API, "batch/transaction").

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chartgate_model::parse::{ParseLimits, RawRequest, parse};
use chartgate_model::{DecisionRequest, FhirRequest, Interaction, Method};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::filter::keep_possible;
use crate::patch;

/// Why an entry is no request that could be decided.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// a member is missing, or has the wrong form
    #[error("`{member}` {message}")]
    Malformed {
        /// below the entry
        member: String,
        /// what is wrong with it
        message: String,
    },
    /// a bundle within a bundle
    #[error("a bundle within a bundle is not taken")]
    Nested,
    /// Others may refer to it by a name that is not that of what it writes.
    #[error("`fullUrl` is neither a `urn:uuid:` nor the URL of the resource the request names, or is there twice")]
    FullUrl,
}

impl EntryError {
    /// The stable code.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "entry-malformed",
            Self::Nested => "bundle-nested",
            Self::FullUrl => "full-url-mismatch",
        }
    }

    fn at(member: &str, message: impl Into<String>) -> Self {
        Self::Malformed { member: member.into(), message: message.into() }
    }
}

#[derive(Deserialize)]
struct BundleBody<'a> {
    #[serde(borrow, default)]
    entry: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct EntryBody<'a> {
    full_url: Option<String>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    request: Option<RequestBody>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequestBody {
    method: String,
    url: String,
    if_match: Option<String>,
    if_none_match: Option<String>,
    if_none_exist: Option<String>,
    if_modified_since: Option<String>,
}

/// An entry, read as far as it is alone.
struct Entry {
    full_url: Option<String>,
    request: FhirRequest,
}

/// How many entries a bundle has; `None` where it cannot be read.
pub(super) fn count(bundle: &DecisionRequest) -> Option<usize> {
    let body: BundleBody<'_> = serde_json::from_slice(bundle.request.body.as_deref()?).ok()?;
    Some(body.entry.len())
}

/// The requests of a bundle, in order; `None` where it has no entries, or more than `most`.
pub(super) fn requests(
    bundle: &DecisionRequest,
    limits: &ParseLimits,
    most: usize,
) -> Option<Vec<Result<FhirRequest, EntryError>>> {
    let body: BundleBody<'_> = serde_json::from_slice(bundle.request.body.as_deref()?).ok()?;
    if body.entry.is_empty() || body.entry.len() > most {
        return None;
    }
    let entries: Vec<Result<Entry, EntryError>> =
        body.entry.iter().map(|raw| Entry::read(raw, bundle, limits)).collect();
    // In a batch no entry knows of another.
    let resolves = bundle.request.interaction == Interaction::Transaction;
    let names = Names::of(&entries, &bundle.base.url, resolves);
    Some(entries.into_iter().map(|entry| entry.and_then(|entry| names.resolve(entry))).collect())
}

impl Entry {
    fn read(raw: &RawValue, bundle: &DecisionRequest, limits: &ParseLimits) -> Result<Self, EntryError> {
        let entry: EntryBody<'_> =
            serde_json::from_str(raw.get()).map_err(|_| EntryError::at("entry", "has the wrong form"))?;
        let asked = entry.request.ok_or_else(|| EntryError::at("request", "is missing"))?;
        let (body, content_type) = body_of(entry.resource, &asked.method)?;
        let mut headers = Vec::new();
        let given = [
            ("if-match", asked.if_match),
            ("if-none-match", asked.if_none_match),
            ("if-none-exist", asked.if_none_exist),
            ("if-modified-since", asked.if_modified_since),
        ];
        for (name, value) in given {
            headers.extend(value.map(|value| (name.to_owned(), value)));
        }
        if body.is_some() {
            headers.push(("content-type".to_owned(), content_type.to_owned()));
        }
        let raw = RawRequest { method: &asked.method, url: &asked.url, headers: &headers, body: body.as_deref() };
        let parsed = parse(&raw, &bundle.base, limits)
            .map_err(|error| EntryError::at(error.member(), error.kind().to_string()))?;
        if parsed.interaction.is_bundle() {
            return Err(EntryError::Nested);
        }
        // SECURITY: servers are known that create whatever is posted in a bundle, and do not look at the URL.
        if parsed.method == Method::Post && parsed.interaction != Interaction::Create {
            return Err(EntryError::at("request.method", "posts something else than a resource to be created"));
        }
        // What the answer carries is asked for of the whole bundle.
        let request = FhirRequest { prefer_return: bundle.request.prefer_return, ..parsed };
        Ok(Self { full_url: entry.full_url, request })
    }
}

/// The body of an entry, and of which kind: a JSON Patch is wrapped into a Binary (FHIR R4, RESTful API, "Patch"). What
/// is sent along with an interaction without a body counts for nothing.
fn body_of(resource: Option<&RawValue>, method: &str) -> Result<(Option<Vec<u8>>, &'static str), EntryError> {
    const FHIR: &str = "application/fhir+json";
    const JSON_PATCH: &str = "application/json-patch+json";
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Binary {
        resource_type: String,
        content_type: Option<String>,
        data: Option<String>,
    }
    let Some(resource) = resource.filter(|_| !matches!(method, "GET" | "HEAD" | "DELETE")) else {
        return Ok((None, FHIR));
    };
    let binary: Option<Binary> = serde_json::from_str(resource.get()).ok().filter(|_| method == "PATCH");
    let Some(binary) = binary.filter(|binary| binary.resource_type == "Binary") else {
        return Ok((Some(resource.get().as_bytes().to_vec()), FHIR));
    };
    if binary.content_type.as_deref() != Some(JSON_PATCH) {
        return Err(EntryError::at("resource.contentType", "is not application/json-patch+json"));
    }
    let patch = binary.data.and_then(|data| BASE64_STANDARD.decode(data).ok());
    Ok((Some(patch.ok_or_else(|| EntryError::at("resource.data", "is no base64"))?), JSON_PATCH))
}

/// What entries are called by others.
struct Names<'b> {
    base: &'b str,
    /// by `fullUrl`: how often it is there, and the resource it stands for where its id is known
    known: BTreeMap<String, (usize, Option<String>)>,
}

impl<'b> Names<'b> {
    fn of(entries: &[Result<Entry, EntryError>], base: &'b str, resolves: bool) -> Self {
        let mut known: BTreeMap<String, (usize, Option<String>)> = BTreeMap::new();
        for entry in entries.iter().flatten() {
            if let Some(name) = &entry.full_url {
                let writes = matches!(entry.request.method, Method::Post | Method::Put | Method::Patch);
                let stands_for = target(&entry.request).filter(|_| resolves && writes);
                let one = known.entry(name.clone()).or_insert((0, stands_for));
                one.0 += 1;
            }
        }
        Self { base, known }
    }

    /// Put the resources in the place of the names by which others refer to them, and patches in a form of their own.
    ///
    /// SECURITY: a server writes the id of what an entry makes in the place of its `fullUrl`, wherever that stands. One
    /// that names another resource would move references to where nobody looked.
    fn resolve(&self, entry: Entry) -> Result<FhirRequest, EntryError> {
        let Entry { full_url, mut request } = entry;
        if let Some(name) = &full_url {
            let once = self.known.get(name).is_some_and(|(times, _)| *times == 1);
            let own = target(&request).is_some_and(|key| *name == format!("{}/{key}", self.base));
            let named = name.starts_with("urn:uuid:") || name.starts_with("urn:oid:");
            if !(once && (own || named)) {
                return Err(EntryError::FullUrl);
            }
        }
        // Any of its letters may be an escape.
        let holds_names =
            |body: &Vec<u8>| body.windows(4).any(|four| four == b"urn:") || body.windows(2).any(|two| two == b"\\u");
        if let Some(body) = request.body.as_ref().filter(|body| holds_names(body))
            && let Ok(mut value) = serde_json::from_slice::<Value>(body)
        {
            self.put_in(&mut value);
            request.body = serde_json::to_vec(&value).ok();
        }
        Ok(request)
    }

    fn put_in(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let resolved = match value.as_str().filter(|_| name == "reference") {
                        Some(text) => self.known.get(text).and_then(|(_, key)| key.clone()),
                        None => None,
                    };
                    match resolved {
                        Some(key) => *value = Value::String(key),
                        None => self.put_in(value),
                    }
                }
            }
            Value::Array(list) => list.iter_mut().for_each(|value| self.put_in(value)),
            _ => {}
        }
    }
}

/// The resource a request names by its id.
fn target(request: &FhirRequest) -> Option<String> {
    Some(format!("{}/{}", request.resource_type, request.id.as_ref()?))
}

/// An entry as a decision that is wanted, with what is stored of the resource it names.
pub(super) fn decision(bundle: &DecisionRequest, request: FhirRequest) -> DecisionRequest {
    let mut request = request;
    let key = target(&request);
    // A Provenance is judged by what it is about.
    let is_about_others = request.resource_type == "Provenance";
    let of_target = |stored: &str| {
        is_about_others
            || key.as_ref().is_some_and(|key| {
                stored.strip_prefix(key).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            })
    };
    let stored: Vec<_> = bundle.stored.iter().filter(|stored| of_target(&stored.key)).cloned().collect();
    patch::put_result(&mut request, &stored);
    let mut obligations = bundle.obligations.clone();
    keep_possible(&mut obligations, &request);
    DecisionRequest {
        tenant: bundle.tenant.clone(),
        base: bundle.base.clone(),
        request,
        subject: bundle.subject.clone(),
        stored,
        relationships: bundle.relationships.clone(),
        records: bundle.records.clone(),
        obligations,
        pin: bundle.pin.clone(),
        explain: bundle.explain,
        now: bundle.now,
        simulate: bundle.simulate,
        break_glass: bundle.break_glass.clone(),
    }
}

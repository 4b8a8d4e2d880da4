//! What ties the second half of a request to the first: a permitted search, the answer it got and the pages that follow
//! are of one caller, one subject and one release.
//!
//! A binding is a JWT (RFC 7519) that this host signs for itself and nobody else reads. It holds who asked for what, and
//! no permit: whoever brings it is decided about anew, with the facts of that moment.

use std::collections::BTreeMap;

use chartgate_model::{DecisionRequest, Interaction, Method, Millis, Subject, SubjectKind};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::wire::RequestBody;
use crate::edge::Edge;
use crate::http::problem::Problem;
use crate::tokens::Seal;

/// How long somebody may turn pages.
const LIFE_MS: u64 = 30 * 60 * 1_000;
/// Headers that say nothing of what is asked: credentials stay where they are.
const LEFT_OUT: [&str; 3] = ["authorization", "cookie", "proxy-authorization"];
/// Its `typ`, so that nothing else this host signs can stand for it.
const KIND: &str = "chartgate-binding+jwt";

/// Signs bindings. Its key is drawn when the host starts and lives as long: after a restart searches begin anew.
pub struct Binder {
    seal: Seal,
}

/// What a binding says.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bound {
    pub(super) caller: String,
    pub(super) tenant: String,
    /// name of the base
    pub(super) fhir: String,
    /// digest of the release
    pub(super) release: String,
    pub(super) subject: BoundSubject,
    pub(super) request: BoundRequest,
    obligations: Vec<String>,
    /// until when, milliseconds since 1970
    until_ms: u64,
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BoundSubject {
    kind: String,
    user: String,
    client: String,
    scope: String,
    patient: Option<String>,
    encounter: Option<String>,
}

/// For what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BoundRequest {
    method: String,
    url: String,
    headers: BTreeMap<String, String>,
    body: Option<Box<RawValue>>,
}

impl Binder {
    /// With a key nobody can guess; `None` where the system gives no random numbers.
    pub fn new(edge: &Edge) -> Option<Self> {
        Some(Self { seal: Seal::new(|key| (edge.random)(key), KIND)? })
    }

    /// Bind a permitted request; `None` for one whose answer nobody looks at again.
    pub(super) fn bind(
        &self,
        caller: &str,
        release: &str,
        asked: &RequestBody,
        request: &DecisionRequest,
        has_to_be_filtered: bool,
    ) -> Option<String> {
        if request.simulate || !returns(request, has_to_be_filtered) {
            return None;
        }
        let bound = Bound::of(caller, release, asked.clone(), request);
        self.seal.close(&bound)
    }

    /// Read a binding that a caller brings back.
    pub(super) fn read(&self, text: &str, caller: &str, now: Millis) -> Result<Bound, Problem> {
        let wrong = |message| Problem::member("binding", message);
        let none = "is none that this host made, or one from before it was started";
        let bound: Bound = self.seal.open(text).ok_or_else(|| wrong(none))?;
        if bound.caller != caller {
            return Err(wrong("was made for another caller"));
        }
        if bound.has_ended(now) {
            return Err(wrong("has ended"));
        }
        Ok(bound)
    }
}

/// Whether an answer is looked at again: it may come in pages, or is one resource that has to be filtered.
fn returns(request: &DecisionRequest, has_to_be_filtered: bool) -> bool {
    use Interaction::{HistoryInstance, HistorySystem, HistoryType, Operation, Read, SearchSystem, SearchType, Vread};
    match request.request.interaction {
        HistoryInstance | HistoryType | HistorySystem | SearchType | SearchSystem => true,
        Read | Vread => has_to_be_filtered,
        Operation => request.request.method == Method::Get,
        _ => false,
    }
}

impl BoundSubject {
    pub(super) fn of(subject: &Subject) -> Self {
        Self {
            kind: subject.kind.code().into(),
            user: subject.user.clone(),
            client: subject.client.clone(),
            scope: subject.scope.clone(),
            patient: subject.patient.clone(),
            encounter: subject.encounter.clone(),
        }
    }
}

impl BoundRequest {
    fn of(asked: RequestBody) -> Self {
        let RequestBody { method, url, mut headers, body } = asked;
        headers.retain(|name, _| !LEFT_OUT.iter().any(|out| name.eq_ignore_ascii_case(out)));
        Self { method, url, headers, body }
    }

    /// relative to the base, or absolute under it
    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// As it was asked, without credentials.
    pub(super) fn asked(&self) -> RequestBody {
        let Self { method, url, headers, body } = self.clone();
        RequestBody { method, url, headers, body }
    }
}

impl Bound {
    /// A permitted request, for as long as somebody may turn pages.
    pub(super) fn of(caller: &str, release: &str, asked: RequestBody, request: &DecisionRequest) -> Self {
        let longest = request.now.plus_ms(LIFE_MS);
        Self {
            caller: caller.to_owned(),
            tenant: request.tenant.clone(),
            fhir: request.base.name.clone(),
            release: release.to_owned(),
            subject: BoundSubject::of(&request.subject),
            request: BoundRequest::of(asked),
            obligations: request.obligations.clone(),
            until_ms: request.subject.expires.map_or(longest, |end| end.min(longest)).0,
        }
    }

    /// Whether it is about this tenant's charts at this base.
    pub(super) fn is_of(&self, tenant: &str, base: &str) -> bool {
        self.tenant == tenant && self.fhir == base
    }

    /// Whether it has ended.
    pub(super) fn has_ended(&self, now: Millis) -> bool {
        self.until_ms <= now.0
    }

    /// About how much it takes to keep it.
    pub(super) fn bytes(&self) -> usize {
        let BoundRequest { url, headers, body, .. } = &self.request;
        let headers: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        let body = body.as_ref().map_or(0, |body| body.get().len());
        size_of::<Self>() + url.len() + headers + body + self.subject.scope.len()
    }

    /// Who asked, for as long as the binding lasts.
    pub(super) fn subject(&self) -> Option<Subject> {
        let BoundSubject { kind, user, client, scope, patient, encounter } = self.subject.clone();
        let expires = Some(Millis(self.until_ms));
        Some(Subject { kind: SubjectKind::from_code(&kind)?, user, client, scope, patient, encounter, expires })
    }

    /// Obligations the caller could carry out.
    pub(super) fn obligations(&self) -> Vec<String> {
        self.obligations.clone()
    }
}

//! The answer of `/v1/decide`.

use chartgate_model::parse::RenderedRequest;
use chartgate_model::{Basis, DecisionRequest, FhirRequest};
use chartgate_runtime::release::Release;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::batch::{self, BATCH_ENTRIES, BundleAnswer, EntryAnswer, Whole};
use crate::decide::{Answer, Permit, Verdict};
use crate::http::problem::Problem;
use crate::tokens::TokenError;

/// What is decided, and what the caller has to do.
#[derive(Debug, Serialize, ToSchema)]
pub struct AnswerBody {
    /// `permit`, `deny` or `indeterminate`; absent in a simulation
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) decision: Option<&'static str>,
    /// what would be decided, in a simulation
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) would: Option<&'static str>,
    /// identifier of the decision, also in the decision log
    pub(in crate::http) id: String,
    /// until when a permit may be cached for an identical request; absent: never
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) expires_at: Option<String>,
    pub(in crate::http) reason: ReasonBody,
    pub(in crate::http) obligations: Vec<ObligationBody>,
    /// resources to fetch and ask again with
    pub(in crate::http) needs: Vec<String>,
    /// ready to return to the client when the answer is no
    denial: Option<Denial>,
    pub(in crate::http) facts: FactsStamp,
    pub(in crate::http) policy: PolicyStamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) trace: Option<Vec<TraceRow>>,
    /// of a batch or a transaction, what is decided of each entry, in order
    #[serde(skip_serializing_if = "Option::is_none")]
    entries: Option<Vec<EntryBody>>,
    /// of a permitted search, history or read to be filtered: to be sent along with its answer to `/v1/filter`, and with
    /// requests for its next pages
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::http) binding: Option<String>,
}

/// What is decided of one entry of a batch or a transaction.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct EntryBody {
    /// `permit`, `deny` or `indeterminate`; absent in a simulation
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    /// what would be decided, in a simulation
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<&'static str>,
    /// identifier of the decision, also in the decision log; absent where the entry is no request
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    reason: ReasonBody,
    obligations: Vec<ObligationBody>,
    /// resources to fetch and ask again with
    needs: Vec<String>,
    /// ready to return to the client in the place of the entry's answer
    #[serde(skip_serializing_if = "Option::is_none")]
    denial: Option<Denial>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace: Option<Vec<TraceRow>>,
}

/// For logs, never for the app.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ReasonBody {
    code: String,
    text: String,
}

impl ReasonBody {
    /// A code and its sentence.
    pub(in crate::http) fn new(code: &str, text: impl ToString) -> Self {
        Self { code: code.into(), text: text.to_string() }
    }
}

/// Something the caller has to do.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct ObligationBody {
    id: String,
    /// members by kind: `search-narrowing` has `method`, `url`, `body` (of a search by form; a write keeps its own)
    /// and, for a create, `headers`; `search-union` has `requests` of that shape; `if-match` has `version`
    #[serde(flatten)]
    #[schema(value_type = Object)]
    parameters: Value,
}

/// An answer ready to return to the client.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct Denial {
    status: u16,
    #[schema(value_type = Object)]
    headers: Value,
    /// an OperationOutcome, the same for everything that is hidden or absent
    #[schema(value_type = Object)]
    outcome: &'static RawValue,
}

impl Denial {
    /// What a client is told of a denial.
    pub(in crate::http) fn of(basis: Basis, reason: &str) -> Self {
        match basis {
            Basis::Request => denial(403, "forbidden", insufficient_scope(reason)),
            Basis::Content => denial(404, "not-found", json!({})),
        }
    }

    /// As one entry of a bundle.
    pub(in crate::http) fn parts(&self) -> (u16, &'static RawValue) {
        (self.status, self.outcome)
    }

    /// Its headers.
    pub(in crate::http) fn headers(&self) -> impl Iterator<Item = (&str, &str)> {
        let headers = self.headers.as_object().into_iter().flatten();
        headers.filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
    }

    /// What it is told where no decision was reached.
    pub(in crate::http) fn unavailable() -> Self {
        unavailable()
    }

    /// What it is told of a token that is no good. One that may be fine is not called bad: try again.
    pub(in crate::http) fn of_token(error: &TokenError) -> Self {
        if error.is_indeterminate() {
            return unavailable();
        }
        let challenge = format!("Bearer error=\"{}\"", error.www_authenticate_error());
        denial(401, "login", json!({ "WWW-Authenticate": challenge }))
    }

    /// What it is told where no token came along (RFC 6750, section 3.1: no word of an error).
    pub(in crate::http) fn without_token() -> Self {
        denial(401, "login", json!({ "WWW-Authenticate": "Bearer realm=\"fhir\"" }))
    }
}

/// Where facts came from.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct FactsStamp {
    as_of: String,
    sources: Vec<String>,
}

/// The release that decided.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct PolicyStamp {
    name: String,
    version: String,
    digest: String,
    component: String,
}

impl PolicyStamp {
    /// Which release it was.
    pub(in crate::http) fn of(release: &Release) -> Self {
        Self {
            name: release.name.clone(),
            version: release.version.clone(),
            digest: release.digest.clone(),
            component: release.component_digest.clone(),
        }
    }
}

/// One rule walked.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::http) struct TraceRow {
    rule: String,
    outcome: &'static str,
    detail: String,
}

impl AnswerBody {
    /// The wire form of an answer.
    pub fn of(answer: Answer, request: &DecisionRequest) -> Self {
        let decision = answer.verdict.code();
        let denial = match &answer.verdict {
            Verdict::Permit(_) => None,
            Verdict::Deny(basis) => Some(Denial::of(*basis, &answer.reason)),
            Verdict::Indeterminate => Some(unavailable()),
        };
        let (obligations, expires_at) = match &answer.verdict {
            Verdict::Permit(permit) => {
                (ObligationBody::all(permit, &request.request), permit.expires_at().map(|end| end.to_rfc3339()))
            }
            _ => (Vec::new(), None),
        };
        let release = &answer.release;
        Self {
            decision: (!request.simulate).then_some(decision),
            would: request.simulate.then_some(decision),
            id: answer.id,
            expires_at,
            reason: ReasonBody { code: answer.reason, text: answer.text },
            obligations,
            needs: answer.needs,
            denial,
            facts: FactsStamp { as_of: request.now.to_rfc3339(), sources: answer.fact_sources },
            policy: PolicyStamp::of(release),
            trace: request.explain.then(|| TraceRow::all(answer.trace)),
            entries: None,
            binding: None,
        }
    }

    /// The wire form of an answer about a batch or a transaction.
    pub fn of_bundle(answer: BundleAnswer, request: &DecisionRequest) -> Self {
        let decision = answer.whole.code();
        let denial = match answer.whole {
            Whole::Permit | Whole::PermitByEntry => None,
            Whole::Deny => Some(Denial::of(Basis::Request, &answer.reason)),
            Whole::Indeterminate => Some(unavailable()),
        };
        let mut sources: Vec<String> = answer.entries.iter().flat_map(sources_of).cloned().collect();
        sources.sort();
        sources.dedup();
        Self {
            decision: (!request.simulate).then_some(decision),
            would: request.simulate.then_some(decision),
            id: answer.id,
            // It is no request that could come again.
            expires_at: None,
            reason: ReasonBody { code: answer.reason, text: answer.text },
            obligations: if answer.whole == Whole::PermitByEntry {
                vec![ObligationBody::plain(BATCH_ENTRIES)]
            } else {
                Vec::new()
            },
            needs: Vec::new(),
            denial,
            facts: FactsStamp { as_of: request.now.to_rfc3339(), sources },
            policy: PolicyStamp::of(&answer.release),
            trace: None,
            binding: None,
            entries: Some(answer.entries.into_iter().map(|entry| EntryBody::of(entry, request)).collect()),
        }
    }
}

fn sources_of(entry: &EntryAnswer) -> &[String] {
    match entry {
        EntryAnswer::Answered(answer, _) => &answer.fact_sources,
        EntryAnswer::Refused(_) => &[],
    }
}

impl EntryBody {
    fn of(entry: EntryAnswer, bundle: &DecisionRequest) -> Self {
        let basis = batch::basis(&entry);
        let (answer, request) = match entry {
            EntryAnswer::Answered(answer, request) => (answer, request),
            EntryAnswer::Refused(error) => {
                let reason = ReasonBody::new(error.code(), &error);
                let denial = basis.map(|basis| Denial::of(basis, error.code()));
                return Self::new("deny", bundle.simulate, reason, denial);
            }
        };
        let denial = match &answer.verdict {
            Verdict::Permit(_) => None,
            Verdict::Deny(basis) => Some(Denial::of(*basis, &answer.reason)),
            Verdict::Indeterminate => Some(unavailable()),
        };
        let obligations = match &answer.verdict {
            Verdict::Permit(permit) => ObligationBody::all(permit, &request),
            _ => Vec::new(),
        };
        let decision = answer.verdict.code();
        let Answer { id, reason, text, needs, trace, .. } = *answer;
        Self {
            id: Some(id),
            obligations,
            needs,
            trace: bundle.explain.then(|| TraceRow::all(trace)),
            ..Self::new(decision, bundle.simulate, ReasonBody { code: reason, text }, denial)
        }
    }

    fn new(decision: &'static str, simulate: bool, reason: ReasonBody, denial: Option<Denial>) -> Self {
        Self {
            decision: (!simulate).then_some(decision),
            would: simulate.then_some(decision),
            id: None,
            reason,
            obligations: Vec::new(),
            needs: Vec::new(),
            denial,
            trace: None,
        }
    }
}

impl TraceRow {
    fn all(steps: Vec<chartgate_model::TraceStep>) -> Vec<Self> {
        let row = |step: chartgate_model::TraceStep| Self {
            rule: step.rule,
            outcome: step.outcome.code(),
            detail: step.detail,
        };
        steps.into_iter().map(row).collect()
    }
}

/// SECURITY: only a missing scope is named to the client; which rule refused stays in `reason`.
fn insufficient_scope(reason: &str) -> Value {
    match reason {
        "scope-insufficient" => json!({ "WWW-Authenticate": "Bearer error=\"insufficient_scope\"" }),
        _ => json!({}),
    }
}

impl ObligationBody {
    /// One without members.
    pub(in crate::http) fn plain(id: &str) -> Self {
        Self { id: id.to_owned(), parameters: json!({}) }
    }

    pub(in crate::http) fn is(&self, id: &str) -> bool {
        self.id == id
    }

    fn all(permit: &Permit, request: &FhirRequest) -> Vec<Self> {
        permit.obligations().iter().map(|obligation| Self::of(obligation, request)).collect()
    }

    fn of(obligation: &chartgate_model::Obligation, request: &FhirRequest) -> Self {
        let requests = obligation.requests(request).map(|all| all.iter().map(spelt).collect::<Vec<_>>());
        let parameters = match requests.as_deref() {
            Some([one]) if obligation.id != "search-union" => one.clone(),
            Some(several) => json!({ "requests": several }),
            None => serde_json::from_slice(&obligation.parameters).unwrap_or_default(),
        };
        Self { id: obligation.id.clone(), parameters }
    }
}

fn spelt(request: &RenderedRequest) -> Value {
    let mut spelt = json!({ "method": request.method, "url": request.url, "body": request.body });
    if let (Some(criteria), Some(members)) = (&request.if_none_exist, spelt.as_object_mut()) {
        members.insert("headers".into(), json!({ "If-None-Exist": criteria }));
    }
    spelt
}

fn denial(status: u16, code: &'static str, mut headers: Value) -> Denial {
    if let Some(headers) = headers.as_object_mut() {
        headers.insert("Content-Type".into(), json!("application/fhir+json"));
    }
    Denial { status, headers, outcome: outcome(code) }
}

fn unavailable() -> Denial {
    denial(503, "transient", json!({ "Retry-After": "1" }))
}

/// Fixed texts: what is hidden and what is absent get the very same bytes.
fn outcome(code: &'static str) -> &'static RawValue {
    let text = match code {
        "not-found" => {
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found","diagnostics":"not found"}]}"#
        }
        "forbidden" => {
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"forbidden","diagnostics":"not allowed"}]}"#
        }
        "login" => {
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"login","diagnostics":"the access token is not valid"}]}"#
        }
        _ => {
            r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"transient","diagnostics":"try again later"}]}"#
        }
    };
    // The texts above are JSON; `null` can stand only if one of them were not.
    serde_json::from_str::<&RawValue>(text).unwrap_or(RawValue::NULL)
}

/// The answer to a request whose bearer token is no good, or about which nobody can tell: no policy was
/// asked.
#[derive(Debug, Serialize)]
pub struct TokenDenial {
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    would: Option<&'static str>,
    id: String,
    reason: ReasonBody,
    obligations: [(); 0],
    needs: [(); 0],
    denial: Denial,
}

/// See [`TokenDenial`].
pub fn token_denial(id: String, simulate: bool, error: &TokenError) -> TokenDenial {
    let decision = if error.is_indeterminate() { "indeterminate" } else { "deny" };
    TokenDenial {
        decision: (!simulate).then_some(decision),
        would: simulate.then_some(decision),
        id,
        reason: ReasonBody::new(error.code(), error),
        obligations: [],
        needs: [],
        denial: Denial::of_token(error),
    }
}

/// What stands in the place of an answer when a line could not be read.
pub fn error_line(problem: &Problem) -> Value {
    json!({ "error": problem })
}

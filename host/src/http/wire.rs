//! The wire form of a decision: what `/v1/decide` reads and writes, over HTTP and at the command line.
//!
//! Reading is strict (unknown members, duplicate names, keys that disagree with their content are
//! errors that name the member) and ends in a [`DecisionRequest`]: nothing further in sees raw text.

mod answer;
mod content;
pub(super) mod facts;

use chartgate_model::parse::{RawRequest, check_page, parse};
use chartgate_model::{
    DecisionRequest, FhirBase, FhirRequest, Interaction, Millis, ReleasePin, Stored, Subject, SubjectKind,
};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::break_glass;
use crate::filter::keep_possible;
use crate::http::binding::Bound;
use crate::http::caller::Caller;
use crate::http::json;
use crate::http::problem::Problem;
use crate::http::wire::content::{bytes, checked};
use crate::http::wire::facts::{FactsBody, records, relationships};
use crate::patch;
use crate::smart;
use crate::store::validate::is_id;
use crate::tokens::{Issuers, TokenError};

pub use answer::{AnswerBody, error_line, token_denial};
pub(super) use answer::{Denial, FactsStamp, ObligationBody, PolicyStamp, ReasonBody, TraceRow};

/// Nesting of a request; FHIR content inside it may use most of it.
pub(crate) const DEPTH_MAX: usize = 96;

/// `POST /v1/decide`: one FHIR interaction.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DecideBody {
    /// tenant, `default` when absent
    pub(super) tenant: Option<String>,
    /// name of a configured base, `default` when absent
    pub(super) fhir: Option<String>,
    #[serde(deserialize_with = "json::an_object")]
    pub(super) request: RequestBody,
    /// the vouched subject; not together with an `authorization` header
    #[serde(default, deserialize_with = "json::maybe_an_object")]
    pub(super) subject: Option<SubjectBody>,
    /// what the caller fetched, by `Type/id` or `Type/id/_history/v`; `null`: fetched and absent
    #[serde(default)]
    #[schema(value_type = Object)]
    pub(super) stored: BTreeMap<String, Option<Box<RawValue>>>,
    /// what the criteria of a conditional update, patch or delete find, as `Type/id`; an empty list: nothing. Absent: nobody
    /// looked yet
    pub(super) matches: Option<Vec<String>>,
    /// of the request whose answer's next page this one asks for
    pub(super) binding: Option<String>,
    /// shorthand for one entry of `stored`
    #[schema(value_type = Option<Object>)]
    pub(super) resource: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "json::maybe_an_object")]
    pub(super) facts: Option<FactsBody>,
    /// obligations the caller can carry out
    #[serde(default)]
    pub(super) obligations: Vec<String>,
    /// `name@version` or `sha256:…`
    pub(super) policy: Option<String>,
    /// wants the trace
    #[serde(default)]
    pub(super) explain: bool,
    /// asks what would be decided, by any release and at any time
    #[serde(default)]
    pub(super) simulate: bool,
    /// the time of a simulation, RFC 3339
    pub(super) at: Option<String>,
}

/// The FHIR request as the FHIR server got it.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RequestBody {
    pub(super) method: String,
    /// relative to the base, or absolute under it
    pub(super) url: String,
    #[serde(default)]
    pub(super) headers: BTreeMap<String, String>,
    /// JSON, or a string holding raw JSON or a form
    #[schema(value_type = Option<Object>)]
    pub(super) body: Option<Box<RawValue>>,
}

impl RequestBody {
    fn header_list(&self) -> Vec<(String, String)> {
        self.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    /// The request, to be bound to its answer; `None` for one with more than a form in its body.
    pub(super) fn shown_again(&self, limits: &crate::config::Limits) -> Option<Self> {
        let is_small = self.body.as_ref().is_none_or(|body| body.get().len() <= limits.url_bytes);
        is_small.then(|| self.clone())
    }
}

/// Who asks, on the caller's word.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SubjectBody {
    /// `patient`, `proxy`, `provider`, `system`; follows from the type of `user` where that is clear.
    /// `system`, a client without a user, has to be said, and enabled at this host
    pub(super) kind: Option<String>,
    /// `Practitioner/17`; absent for `system` and for nobody else
    pub(super) user: Option<String>,
    /// OAuth client identifier
    #[serde(default)]
    pub(super) client: String,
    /// granted scopes
    #[serde(default)]
    pub(super) scope: String,
    /// launch patient, a bare id
    pub(super) patient: Option<String>,
    /// launch encounter, a bare id
    pub(super) encounter: Option<String>,
    /// when the token ends, RFC 3339
    pub(super) expires: Option<String>,
}

/// Whether a parsed request can go on to a decision.
#[derive(Debug)]
pub enum Decidable {
    /// it can
    Request(Box<DecisionRequest>),
    /// its bearer token is no good, or nobody can tell: not permitted, and no policy is asked
    BadToken {
        /// the tenant asked about
        tenant: String,
        /// only a simulation
        simulate: bool,
        /// break-glass markers found
        break_glass: Vec<String>,
        /// why
        error: TokenError,
    },
}

impl Decidable {
    /// A batch or a transaction, which is decided entry by entry.
    pub fn bundle(&self) -> Option<&DecisionRequest> {
        match self {
            Self::Request(request) if request.request.interaction.is_bundle() => Some(request),
            Self::Request(_) | Self::BadToken { .. } => None,
        }
    }
}

/// What reading depends on besides the bytes.
pub struct Context<'a> {
    /// who calls
    pub caller: &'a Caller,
    /// the configured bases
    pub bases: &'a [FhirBase],
    /// verifies bearer tokens
    pub tokens: Option<&'a Issuers>,
    /// knows its own tokens
    pub smart: Option<&'a smart::Server>,
    /// whether there are clients without a user
    pub system: bool,
    /// bounds
    pub limits: &'a crate::config::Limits,
    /// the time
    pub now: Millis,
    /// the header `Chartgate-Policy`
    pub policy_header: Option<&'a str>,
}

impl Context<'_> {
    /// Read one body.
    pub async fn read(&self, bytes: &[u8]) -> Result<Decidable, Problem> {
        let json::Object(body) = json::read(bytes, DEPTH_MAX)?;
        self.decidable(body).await
    }

    /// Judge a body that was read, or put together by another face.
    pub(crate) async fn decidable(&self, body: DecideBody) -> Result<Decidable, Problem> {
        self.rights(&body)?;
        let tenant = body.tenant.clone().unwrap_or_else(|| "default".into());
        crate::store::validate::tenant(&tenant).map_err(|error| Problem::member("tenant", error.message))?;
        if !self.caller.may_ask_about(&tenant) {
            return Err(self.forbidden("tenant", "this caller may not ask about this tenant"));
        }
        let base = self.base(body.fhir.as_deref())?;
        let now = self.time(&body)?;
        let pin = self.pin(body.policy.as_deref())?;
        let subject = match self.subject(&body, base, &tenant, now).await? {
            Ok(subject) => subject,
            Err(error) => {
                let break_glass = break_glass::markers(&body.request.headers, None);
                return Ok(Decidable::BadToken { tenant, simulate: body.simulate, break_glass, error });
            }
        };
        let break_glass = break_glass::markers(&body.request.headers, Some(&subject.scope));
        let mut request = self.fhir_request(&body.request, base)?;
        resolve(&mut request, body.matches.as_deref())?;
        let stored = stored(&body, &request)?;
        patch::put_result(&mut request, &stored);
        let given = body.facts.unwrap_or_default();
        let relationships = relationships(given.relationships)?;
        let records = records(given.patients, given.users, given.clients)?;
        let DecideBody { mut obligations, explain, simulate, .. } = body;
        keep_possible(&mut obligations, &request);
        let base = base.clone();
        let request = DecisionRequest {
            tenant,
            base,
            request,
            subject,
            stored,
            relationships,
            records,
            obligations,
            pin,
            explain,
            now,
            simulate,
            break_glass,
        };
        Ok(Decidable::Request(Box::new(request)))
    }

    /// The request can only be for a page of the answer to another.
    pub(super) fn check_page(&self, body: &DecideBody, of: &str) -> Result<(), Problem> {
        let base = self.base(body.fhir.as_deref())?;
        let RequestBody { method, url, body: content, .. } = &body.request;
        let headers = body.request.header_list();
        let content = content.as_deref().map(|raw| raw.get().as_bytes());
        let raw = RawRequest { method, url, headers: &headers, body: content };
        let checked = check_page(&raw, of, base, &self.limits.parse());
        checked.map_err(|error| Problem::member(error.member(), error.to_string()))
    }

    /// The request that a binding was made for, to be decided anew.
    pub(super) fn bound(&self, bound: &Bound) -> Result<DecisionRequest, Problem> {
        let wrong = |message| Problem::member("binding", message);
        if !self.caller.may_ask_about(&bound.tenant) {
            return Err(self.forbidden("binding", "this caller may not ask about this tenant"));
        }
        let base = self.base(Some(&bound.fhir)).map_err(|_| wrong("is for a base that is configured no more"))?;
        let asked = bound.request.asked();
        let request = self.fhir_request(&asked, base).map_err(|_| wrong("is for a request that is none"))?;
        let subject = bound.subject().ok_or_else(|| wrong("is for nobody"))?;
        let break_glass = break_glass::markers(&asked.headers, Some(&subject.scope));
        Ok(DecisionRequest {
            tenant: bound.tenant.clone(),
            base: base.clone(),
            request,
            subject,
            stored: Vec::new(),
            relationships: Vec::new(),
            records: Vec::new(),
            obligations: bound.obligations(),
            pin: Some(ReleasePin::Digest(bound.release.clone())),
            explain: false,
            now: self.now,
            simulate: false,
            break_glass,
        })
    }

    fn rights(&self, body: &DecideBody) -> Result<(), Problem> {
        let needed = [
            ("decide", "body", true),
            ("vouch-subject", "subject", body.subject.is_some()),
            ("vouch-facts", "facts", body.facts.is_some()),
            ("explain", "explain", body.explain),
            ("simulate", "simulate", body.simulate),
        ];
        for (right, member, asked) in needed {
            if asked && !self.caller.may(right) {
                return Err(self.forbidden(member, &format!("this caller lacks the right `{right}`")));
            }
        }
        Ok(())
    }

    fn forbidden(&self, member: &str, detail: &str) -> Problem {
        let problem = Problem::new(axum::http::StatusCode::FORBIDDEN, "right-missing", format!("{member}: {detail}"));
        Problem { member: Some(member.into()), ..problem }
    }

    fn base(&self, name: Option<&str>) -> Result<&FhirBase, Problem> {
        let name = name.unwrap_or("default");
        self.bases
            .iter()
            .find(|base| base.name == name)
            .ok_or_else(|| Problem::member("fhir", format!("no base `{name}` is configured")))
    }

    fn time(&self, body: &DecideBody) -> Result<Millis, Problem> {
        match &body.at {
            None => Ok(self.now),
            Some(at) if body.simulate => Millis::parse(at).map_err(|error| Problem::member("at", error.to_string())),
            Some(_) => Err(Problem::member("at", "only a simulation may name its time")),
        }
    }

    fn pin(&self, member: Option<&str>) -> Result<Option<ReleasePin>, Problem> {
        if let (Some(member), Some(header)) = (member, self.policy_header)
            && member != header
        {
            return Err(Problem::member("policy", "differs from the header Chartgate-Policy"));
        }
        let read = |text| {
            ReleasePin::parse(text).ok_or_else(|| Problem::member("policy", "is neither `name@version` nor `sha256:…`"))
        };
        member.or(self.policy_header).map(read).transpose()
    }

    /// The subject: by bearer token, or on the caller's word. The inner error is a bad token.
    async fn subject(
        &self,
        body: &DecideBody,
        base: &FhirBase,
        tenant: &str,
        now: Millis,
    ) -> Result<Result<Subject, TokenError>, Problem> {
        let authorization: Vec<&String> = body
            .request
            .headers
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case("authorization"))
            .map(|(_, value)| value)
            .collect();
        match (&body.subject, authorization.as_slice()) {
            (Some(_), [_, ..]) => {
                Err(Problem::member("subject", "is there besides an `authorization` header: only one can say who asks"))
            }
            (Some(subject), []) => self.vouched(subject, now),
            (None, [header]) => self.verified(header, base, tenant, now).await,
            (None, []) => Err(Problem::member("subject", "is missing, and there is no `authorization` header either")),
            (None, _) => Err(Problem::member("request.headers", "`authorization` is there twice")),
        }
    }

    fn vouched(&self, given: &SubjectBody, now: Millis) -> Result<Result<Subject, TokenError>, Problem> {
        let user = given.user.clone().unwrap_or_default();
        let kind = match &given.kind {
            Some(code) => SubjectKind::from_code(code)
                .ok_or_else(|| Problem::member("subject.kind", "is none of patient, proxy, provider, system"))?,
            None => SubjectKind::of_user_type(user.split('/').next().unwrap_or_default()).ok_or_else(|| {
                Problem::member("subject.kind", "has to be said: it does not follow from `subject.user`")
            })?,
        };
        match kind {
            SubjectKind::System if !self.system => {
                return Err(Problem::member("subject.kind", "`system` is not enabled"));
            }
            SubjectKind::System if given.user.is_some() => {
                return Err(Problem::member("subject.user", "is there, and a client of kind `system` has no user"));
            }
            SubjectKind::System => {}
            _ => crate::store::validate::user(&user).map_err(|error| Problem::member("subject.user", error.message))?,
        }
        self.scope_fits("subject.scope", &given.scope)?;
        let expires = given
            .expires
            .as_deref()
            .map(|text| Millis::parse(text).map_err(|error| Problem::member("subject.expires", error.to_string())));
        let expires = expires.transpose()?;
        // SECURITY: whoever verified the token, it counts no longer than it says.
        if expires.is_some_and(|end| end <= now) {
            return Ok(Err(TokenError::Expired));
        }
        Ok(Ok(Subject {
            kind,
            user,
            client: given.client.clone(),
            scope: given.scope.clone(),
            patient: given.patient.clone(),
            encounter: given.encounter.clone(),
            expires,
        }))
    }

    async fn verified(
        &self,
        header: &str,
        base: &FhirBase,
        tenant: &str,
        now: Millis,
    ) -> Result<Result<Subject, TokenError>, Problem> {
        let token =
            header.split_once(' ').filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token);
        let Some(token) = token else {
            return Err(Problem::member("request.headers.authorization", "is not a bearer token"));
        };
        if let Some(own) = self.own(token, base, tenant) {
            return Ok(own);
        }
        let Some(issuers) = self.tokens else {
            // With an authorization server of this host, a token it does not know is a bad token.
            return match self.smart {
                Some(_) => Ok(Err(TokenError::Inactive)),
                None => Err(Problem::member("request.headers.authorization", "no token issuer is configured")),
            };
        };
        Ok(match issuers.verify(token, &base.url, now).await {
            Ok(verified) if !verified.binding.covers(&base.name, tenant) => Err(TokenError::Audience),
            verdict => verdict.map(|verified| verified.subject),
        })
    }

    /// What a token of this host's own authorization server says; `None` when it is not one.
    fn own(&self, token: &str, base: &FhirBase, tenant: &str) -> Option<Result<Subject, TokenError>> {
        let server = self.smart?;
        match server.verify(token) {
            Ok(Some(verified)) if verified.base != base.name || verified.tenant != tenant => {
                Some(Err(TokenError::Audience))
            }
            Ok(Some(verified)) => Some(Ok(verified.subject)),
            Ok(None) if server.is_issuer_of(token) => Some(Err(TokenError::Inactive)),
            Ok(None) => None,
            // SECURITY: nobody can tell, so nobody else is asked either.
            Err(_) => Some(Err(TokenError::IntrospectionUnavailable)),
        }
    }

    fn scope_fits(&self, member: &str, scope: &str) -> Result<(), Problem> {
        if scope.len() > self.limits.scope_bytes {
            return Err(Problem::member(member, format!("is longer than {} bytes", self.limits.scope_bytes)));
        }
        Ok(())
    }

    fn fhir_request(&self, given: &RequestBody, base: &FhirBase) -> Result<FhirRequest, Problem> {
        let headers = given.header_list();
        let body = given.body.as_deref().map(|raw| bytes(raw, "request.body")).transpose()?.flatten();
        let raw = RawRequest { method: &given.method, url: &given.url, headers: &headers, body: body.as_deref() };
        parse(&raw, base, &self.limits.parse()).map_err(|error| Problem::member(error.member(), error.to_string()))
    }
}

/// Put what was fetched of a resource beside a request that was read before: nothing for what is not there.
pub(super) fn put_stored(request: &mut DecisionRequest, key: &str, content: Option<Vec<u8>>) -> Result<(), Problem> {
    request.stored.push(checked(key, content, "stored")?);
    Ok(())
}

/// Put what the criteria find in the place of its id. Several are no target.
pub(super) fn resolve(request: &mut FhirRequest, matches: Option<&[String]>) -> Result<(), Problem> {
    let Some(matches) = matches else { return Ok(()) };
    if !request.conditional || request.interaction == Interaction::Create {
        return Err(Problem::member("matches", "only a conditional update, patch or delete has them"));
    }
    for (at, key) in matches.iter().enumerate() {
        let id = key.split_once('/').filter(|(name, id)| *name == request.resource_type && is_id(id));
        let Some((_, id)) = id else {
            return Err(Problem::member(format!("matches[{at}]"), "is no `Type/id` of the type the request names"));
        };
        request.id = Some(id.to_owned());
    }
    request.resolved = matches.len() <= 1;
    if !request.resolved {
        request.id = None;
    }
    Ok(())
}

fn stored(body: &DecideBody, request: &FhirRequest) -> Result<Vec<Stored>, Problem> {
    let mut stored = Vec::new();
    for (key, raw) in &body.stored {
        let member = format!("stored.{key}");
        let content = raw.as_deref().map(|raw| bytes(raw, &member)).transpose()?.flatten();
        stored.push(checked(key, content, &member)?);
    }
    if let Some(raw) = &body.resource {
        let (Some(id), false) = (&request.id, request.resource_type.is_empty()) else {
            return Err(Problem::member("resource", "the request names no resource it could be"));
        };
        let key = match &request.version {
            Some(version) => format!("{}/{id}/_history/{version}", request.resource_type),
            None => format!("{}/{id}", request.resource_type),
        };
        if body.stored.contains_key(&key) {
            return Err(Problem::member("resource", format!("`stored` already has `{key}`")));
        }
        stored.push(checked(&key, bytes(raw, "resource")?, "resource")?);
    }
    Ok(stored)
}

//! The proxy: a FHIR server that enforces nothing, protected without changing it.
//!
//! Each request is decided as any FHIR server would have it decided, with the caller that can carry out every
//! obligation, and then done as the decision says: `one` for what is about one resource, `many` for what is answered by
//! a bundle, `bundle` for batches and transactions, `pages` for links that were followed.

mod bundle;
mod exchange;
mod many;
mod one;
mod pages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::State as Shared;
use axum::http::{HeaderMap, HeaderName, Method, StatusCode, Uri, header};
use axum::response::Response;
use axum::routing::any;
use chartgate_model::{Basis, DecisionRequest, Interaction, Millis};
use tower_http::cors::{AllowHeaders, Any, CorsLayer};

use crate::decide::{Answer, Verdict};
use crate::http::State;
use crate::http::caller::Caller;
use crate::http::judge::{self, Judged, judge};
use crate::http::wire::{Context, Decidable, DecideBody, Denial, RequestBody, put_stored, resolve};
use crate::patch;
use crate::proxy::{Answered, Outward, PAGE, Proxied};

use exchange::Refused;
pub(in crate::http) use exchange::{Incoming, Outgoing};
pub use pages::Pages;

/// The face, in records.
const FACE: &str = "proxy";
/// What this host can carry out, of a single request.
const OBLIGATIONS: [&str; 5] = ["search-narrowing", "search-union", "response-filter", "if-match", "return-minimal"];
/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(30);
/// Resources that one decision may turn on.
const STORED_MAX: usize = 20;
/// How often more of them may be asked for.
const ROUNDS_MAX: usize = 3;

/// All routes of the bases this host stands in front of.
pub(super) fn router(proxies: &[Arc<Proxied>]) -> Router<Arc<State>> {
    proxies.iter().map(of_base).fold(Router::new(), Router::merge)
}

/// Apps in browsers call from where they live (SMART App Launch 2.2, "Considerations for Cross-Origin Resource Sharing").
fn of_base(proxied: &Arc<Proxied>) -> Router<Arc<State>> {
    let at = Arc::clone(proxied);
    let handler =
        any(move |Shared(state): Shared<Arc<State>>, method: Method, uri: Uri, headers: HeaderMap, body: Body| {
            let at = Arc::clone(&at);
            async move { serve(&state, &at, method, uri, &headers, body).await }
        });
    let shown = [header::ETAG, header::LOCATION, header::LAST_MODIFIED, header::WWW_AUTHENTICATE, header::RETRY_AFTER];
    let cors = CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers(AllowHeaders::list([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::ACCEPT,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            HeaderName::from_static("if-none-exist"),
            HeaderName::from_static("prefer"),
        ]))
        .expose_headers(shown);
    let path = &proxied.path;
    Router::new()
        .route(path, handler.clone())
        .route(&format!("{path}/"), handler.clone())
        .route(&format!("{path}/{{*rest}}"), handler)
        .layer(cors)
}

async fn serve(state: &State, at: &Proxied, method: Method, uri: Uri, headers: &HeaderMap, body: Body) -> Response {
    let path = uri.path().strip_prefix(at.path.as_str()).unwrap_or_default();
    let has_body = matches!(method, Method::POST | Method::PUT | Method::PATCH);
    // SECURITY: nobody has a body read whose token is not good.
    let proxy = Proxy::new(state, at);
    if has_body && let Err(refused) = proxy.knows(headers).await {
        return Outgoing::refused(refused).into_response();
    }
    let url = match uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let most = match path {
        _ if !has_body => 0,
        "" | "/" => state.limits.bundle_bytes,
        _ => state.limits.body_bytes,
    };
    let asked = match tokio::time::timeout(BODY_TIME, axum::body::to_bytes(body, most)).await {
        Ok(Ok(body)) => Incoming::of(method.as_str(), url, headers, body.to_vec()),
        Err(_) => Err(Refused::told(StatusCode::REQUEST_TIMEOUT, "timeout", "the body did not arrive in time")),
        Ok(Err(_)) => Err(Refused::told(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-long",
            format!("the body is longer than {most} bytes, or ended early"),
        )),
    };
    match asked {
        Ok(asked) => answer(state, at, &asked).await.into_response(),
        Err(refused) => Outgoing::refused(refused).into_response(),
    }
}

/// Decide a request, and do what the decision says.
pub(in crate::http) async fn answer(state: &State, at: &Proxied, asked: &Incoming) -> Outgoing {
    let proxy = Proxy::new(state, at);
    let mut outgoing = proxy.walk(asked).await.unwrap_or_else(Outgoing::refused);
    if asked.method == "HEAD" {
        outgoing.body.clear();
    }
    outgoing
}

/// In front of one base, for one request.
struct Proxy<'a> {
    state: &'a State,
    at: &'a Proxied,
    caller: Caller,
    now: Millis,
}

/// A request that is permitted, and what was fetched to decide it.
struct Permitted<'r> {
    asked: &'r Incoming,
    request: Box<DecisionRequest>,
    answer: Box<Answer>,
    /// the resource asked about, where the decision turned on it
    fetched: Option<Answered>,
}

impl<'a> Proxy<'a> {
    fn new(state: &'a State, at: &'a Proxied) -> Self {
        Self { state, at, caller: Caller::proxy(&at.tenant), now: (state.edge.now)() }
    }

    /// Refuse whoever brings no good token, before anything else is read.
    async fn knows(&self, headers: &HeaderMap) -> Result<(), Refused> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let bearer = bearer.ok_or_else(|| Refused::Denied(Box::new(Denial::without_token()), None))?;
        let none = HeaderMap::new();
        let context = judge::context(self.state, &self.caller, &none, self.now)?;
        let body = self.body_of(&Incoming::own("GET", "/metadata", bearer), &[]);
        match context.decidable(body).await? {
            Decidable::Request(_) => Ok(()),
            bad @ Decidable::BadToken { .. } => self.bad_token(&context, bad).await.map(drop),
        }
    }
}

impl Proxy<'_> {
    async fn walk(&self, asked: &Incoming) -> Result<Outgoing, Refused> {
        let _place = self.state.proxy_gate.enter(&self.caller.name)?;
        let path = asked.path();
        if path == "/metadata" && matches!(asked.method.as_str(), "GET" | "HEAD") {
            return self.metadata(asked).await;
        }
        if asked.authorization().is_none() {
            return Err(Refused::Denied(Box::new(Denial::without_token()), None));
        }
        let headers = HeaderMap::new();
        let context = judge::context(self.state, &self.caller, &headers, self.now)?;
        if let Some(name) = path.strip_prefix('/').and_then(|path| path.strip_prefix(PAGE)) {
            return self.page(&context, asked, name.trim_start_matches('/')).await;
        }
        let body = self.body_of(asked, &OBLIGATIONS);
        let request = match context.decidable(body).await? {
            Decidable::Request(request) => request,
            bad @ Decidable::BadToken { .. } => return self.bad_token(&context, bad).await,
        };
        if request.request.interaction.is_bundle() {
            return self.bundle(asked, request).await;
        }
        let permitted = self.decide(&context, asked, request).await?;
        use Interaction::{Create, Delete, Patch, Read, Update, Vread};
        match permitted.request.request.interaction {
            Read | Vread if permitted.fetched.is_some() => self.read(permitted),
            Create | Update | Patch | Delete => self.write(permitted).await,
            _ => self.many(permitted).await,
        }
    }

    /// The request, as a FHIR server would have it decided.
    fn body_of(&self, asked: &Incoming, obligations: &[&str]) -> DecideBody {
        let body =
            (!asked.body.is_empty()).then(|| asked.text().and_then(|text| serde_json::value::to_raw_value(text).ok()));
        DecideBody {
            tenant: Some(self.at.tenant.clone()),
            fhir: Some(self.at.base.clone()),
            request: RequestBody {
                method: asked.method.clone(),
                url: asked.url.clone(),
                headers: asked.headers.clone(),
                body: body.flatten(),
            },
            obligations: obligations.iter().map(|id| (*id).to_owned()).collect(),
            ..DecideBody::default()
        }
    }

    async fn bad_token(&self, context: &Context<'_>, bad: Decidable) -> Result<Outgoing, Refused> {
        match judge(self.state, FACE, context, bad).await? {
            Judged::BadToken { error, .. } => {
                Err(Refused::Denied(Box::new(Denial::of_token(&error)), Some(error.to_string())))
            }
            Judged::Answered(..) => Err(Refused::Denied(Box::new(Denial::unavailable()), None)),
        }
    }

    /// Fetch what the decision turns on, and decide.
    async fn decide<'r>(
        &self,
        context: &Context<'_>,
        asked: &'r Incoming,
        mut request: Box<DecisionRequest>,
    ) -> Result<Permitted<'r>, Refused> {
        self.find_target(asked, &mut request).await?;
        let key = turns_on(&request);
        let mut fetched = None;
        // SECURITY: what is refused for its type or its scopes is refused so, whatever the server says of it.
        let mut failed = None;
        if let Some(key) = &key {
            match self.fetch_into(&mut request, key).await {
                Ok(answered) => fetched = Some(answered),
                Err(refused) => failed = Some(refused),
            }
            if request.request.interaction == Interaction::Patch {
                request.request.body = Some(asked.body.clone());
                patch::put_result(&mut request.request, &request.stored);
            }
        }
        let mut rounds = 0;
        loop {
            rounds += 1;
            let (answer, decided) = match judge(self.state, FACE, context, Decidable::Request(request)).await? {
                Judged::Answered(answer, request) => (answer, request),
                Judged::BadToken { .. } => return Err(Refused::Denied(Box::new(Denial::unavailable()), None)),
            };
            request = decided;
            let basis = match &answer.verdict {
                Verdict::Permit(_) if failed.is_none() => return Ok(Permitted { asked, request, answer, fetched }),
                Verdict::Permit(_) => None,
                Verdict::Deny(basis) => Some(*basis),
                Verdict::Indeterminate => None,
            };
            let known = |key: &&String| request.stored.iter().all(|stored| stored.key != **key);
            let needs: Vec<String> = answer.needs.iter().filter(known).cloned().collect();
            let turns_on_it = key.as_ref().is_some_and(|key| needs.contains(key)) || basis != Some(Basis::Request);
            if let Some(refused) = failed.take_if(|_| turns_on_it) {
                return Err(refused);
            }
            if needs.is_empty() || rounds > ROUNDS_MAX || request.stored.len() + needs.len() > STORED_MAX {
                let denial = basis.map_or_else(Denial::unavailable, |basis| Denial::of(basis, &answer.reason));
                return Err(Refused::Denied(Box::new(denial), Some(answer.text.clone())));
            }
            for needed in needs {
                self.fetch_into(&mut request, &needed).await?;
            }
        }
    }

    /// Look for what the criteria of a write find.
    ///
    /// SECURITY: what they find is told to nobody unless the write is permitted, by criteria that find nobody out of reach.
    async fn find_target(&self, asked: &Incoming, request: &mut DecisionRequest) -> Result<(), Refused> {
        let fhir = &mut request.request;
        if !fhir.conditional || fhir.interaction == Interaction::Create {
            return Ok(());
        }
        let query = asked.url.split_once('?').map(|(_, query)| query).unwrap_or_default();
        let url = self.at.own_query(&format!("/{}?{query}&_count=2", fhir.resource_type));
        let answered = self.send(Outward { method: "GET".into(), url, ..exchange::strictly() }).await?;
        let found =
            exchange::found(&answered, &fhir.resource_type).ok_or_else(|| Refused::upstream(answered.status))?;
        resolve(fhir, Some(&found))?;
        Ok(())
    }

    /// Fetch a resource, and put it beside the request; one that is not there is put there as nothing.
    async fn fetch_into(&self, request: &mut DecisionRequest, key: &str) -> Result<Answered, Refused> {
        let url = format!("/{key}");
        // What is larger than a request may be is not looked into.
        let most = self.state.limits.body_bytes;
        let mut answered = self.send_for(Outward { method: "GET".into(), url, ..exchange::outward() }, most).await?;
        let content = match answered.status {
            200 => Some(answered.body.clone()),
            404 | 410 => None,
            status => return Err(Refused::upstream(status)),
        };
        if content.is_none() {
            answered.body.clear();
        }
        put_stored(request, key, content).map_err(|_| Refused::garbled())?;
        Ok(answered)
    }

    /// Ask the server, and read its content as apps know it.
    async fn send(&self, outward: Outward) -> Result<Answered, Refused> {
        self.send_for(outward, self.at.answer_bytes).await
    }

    /// The same for an answer of so many bytes at the most.
    async fn send_for(&self, outward: Outward, most_bytes: usize) -> Result<Answered, Refused> {
        let most_bytes = most_bytes.min(self.at.answer_bytes);
        let mut answered = self.at.upstream.send(outward, most_bytes).await.map_err(Refused::Upstream)?;
        answered.body = self.at.seen_json(std::mem::take(&mut answered.body));
        answered.location = answered.location.map(|location| self.at.seen(&location));
        Ok(answered)
    }

    /// What the server can do, and where apps are authorized.
    async fn metadata(&self, asked: &Incoming) -> Result<Outgoing, Refused> {
        asked.accepts_json()?;
        let outward = Outward { method: "GET".into(), url: "/metadata".into(), ..exchange::outward() };
        let answered = self.send(outward).await?;
        let server = self.state.smart.as_ref().filter(|server| server.settings().base.name == self.at.base);
        let places = server.map(|server| crate::smart::places(server));
        let statement = crate::proxy::amended(&answered.body, &self.at.url, places);
        let statement =
            statement.filter(|_| answered.status == 200).ok_or_else(|| Refused::upstream(answered.status))?;
        Ok(Outgoing::json(StatusCode::OK, statement.to_string().into_bytes()))
    }
}

/// The resource that a request is decided by, by its key.
fn turns_on(request: &DecisionRequest) -> Option<String> {
    use Interaction::{Delete, Operation, Patch, Read, Update, Vread};
    let fhir = &request.request;
    let id = fhir.id.as_ref()?;
    match (fhir.interaction, &fhir.version) {
        (Vread, Some(version)) => Some(format!("{}/{id}/_history/{version}", fhir.resource_type)),
        (Operation, _) if fhir.operation.as_deref() == Some("meta") => Some(format!("{}/{id}", fhir.resource_type)),
        (Read | Update | Patch | Delete, _) => Some(format!("{}/{id}", fhir.resource_type)),
        _ => None,
    }
}

/// Headers of a request by name; those that are about the connection, or about which answer the app has, are left out.
fn headers_of(headers: &HeaderMap) -> Result<BTreeMap<String, String>, Refused> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in headers {
        let text = value.to_str().ok().filter(|text| !text.chars().any(char::is_control));
        let counts = exchange::COUNTS_ONCE.contains(&name.as_str()) || matches!(name.as_str(), "accept" | "prefer");
        let value = match text {
            Some(text) => text,
            None if counts => return Err(Refused::header(name, "is not text")),
            // It says nothing that anybody here would read.
            None => continue,
        };
        match all.get_mut(name.as_str()) {
            // Lists may come in pieces (RFC 9110, section 5.2).
            Some(before) if *name == header::ACCEPT || name.as_str() == "prefer" => {
                before.push_str(", ");
                before.push_str(value);
            }
            Some(_) if exchange::COUNTS_ONCE.contains(&name.as_str()) => {
                return Err(Refused::header(name, "is there twice"));
            }
            Some(_) => {}
            None => {
                all.insert(name.as_str().to_owned(), value.to_owned());
            }
        }
    }
    Ok(all)
}

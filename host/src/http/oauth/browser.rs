//! A browser: its cookie, its address, and what it may do with our pages.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use cookie::{Cookie, SameSite};
use serde_json::{Value, json};
use subtle::ConstantTimeEq as _;

use crate::http::State;
use crate::http::problem::{Problem, no_route};
use crate::smart::error::AuthorizeError;
use crate::smart::form::Form;
use crate::smart::secret::Secret;
use crate::smart::{Next, Page, Server, Visit};
use crate::store::oauth::SessionRow;

/// The most bytes of a form.
const FORM_BYTES: usize = 64 << 10;

/// A browser, as far as it is known.
pub(in crate::http) struct Browser {
    pub(super) server: Arc<Server>,
    pub(super) session: Option<SessionRow>,
    /// it brought a cookie, of whatever worth
    pub(super) has_cookie: bool,
    pub(super) address: IpAddr,
    /// what the browser says of where a request comes from: `Sec-Fetch-Site`, `Origin`
    pub(super) from: (Option<String>, Option<String>),
}

/// Something that ends a request early: a page, most often.
pub(in crate::http) type Ended = Box<Response>;

impl FromRequestParts<Arc<State>> for Browser {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, state: &Arc<State>) -> Result<Self, Response> {
        let Some(server) = &state.smart else { return Err(no_route().await.into_response()) };
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|ConnectInfo(peer)| peer.ip());
        let cookie = cookie(&parts.headers, server);
        let has_cookie = cookie.is_some();
        let session = match cookie {
            Some(value) => server.session(&value).map_err(|_| failed().into_response())?,
            None => None,
        };
        let address = address(&parts.headers, server.settings().behind_proxy).or(peer);
        let address = address.unwrap_or(IpAddr::from([0, 0, 0, 0]));
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let from = (text("sec-fetch-site"), text("origin"));
        Ok(Self { server: Arc::clone(server), session, has_cookie, address, from })
    }
}

fn failed() -> Problem {
    Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "this server failed")
}

/// SECURITY: `__Host-` keeps other hosts of the same domain from setting it.
fn cookie_name(server: &Server) -> &'static str {
    if server.settings().is_https() { "__Host-chartgate" } else { "chartgate" }
}

fn cookie(headers: &HeaderMap, server: &Server) -> Option<String> {
    let name = cookie_name(server);
    let mut found = headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| Cookie::split_parse(value).filter_map(Result::ok))
        .filter(|cookie| cookie.name() == name);
    let first = found.next()?.value().to_owned();
    // Two of one name: somebody planted one.
    found.next().is_none().then_some(first)
}

/// The address the proxy in front saw: the last it wrote, since the others are anybody's word.
fn address(headers: &HeaderMap, behind_proxy: bool) -> Option<IpAddr> {
    let last = headers.get_all("x-forwarded-for").iter().next_back().filter(|_| behind_proxy)?;
    last.to_str().ok()?.rsplit(',').next()?.trim().parse().ok()
}

impl Browser {
    /// The header that gives a browser its session.
    pub(super) fn set_cookie(&self, secret: &Secret) -> Option<HeaderValue> {
        self.cookie_header(secret.text(), None)
    }

    /// The header that takes it away.
    pub(super) fn drop_cookie(&self) -> Option<HeaderValue> {
        self.cookie_header("", Some(cookie::time::Duration::ZERO))
    }

    fn cookie_header(&self, value: &str, max_age: Option<cookie::time::Duration>) -> Option<HeaderValue> {
        let settings = self.server.settings();
        // In a frame of another site a cookie is only sent when it says so.
        let framed = settings.is_https() && !settings.frame_ancestors.is_empty();
        let mut cookie = Cookie::build((cookie_name(&self.server), value))
            .path("/")
            .http_only(true)
            .secure(settings.is_https())
            .same_site(if framed { SameSite::None } else { SameSite::Lax });
        if let Some(age) = max_age {
            cookie = cookie.max_age(age);
        }
        HeaderValue::from_str(&cookie.build().to_string()).ok()
    }

    /// The session, or a new one that nobody is signed in to, with the header that gives it to the browser.
    pub(super) fn session_or_new(&self) -> Result<(SessionRow, Option<HeaderValue>), Ended> {
        if let Some(session) = &self.session {
            return Ok((session.clone(), None));
        }
        let begun = self.server.begin_session(None, None);
        let begun = begun.ok().flatten();
        let (secret, session) = begun.ok_or_else(|| self.message("failed", StatusCode::INTERNAL_SERVER_ERROR))?;
        Ok((session, self.set_cookie(&secret)))
    }

    /// This browser, with a flow.
    pub(super) fn visit(&self, flow: Option<&str>) -> Result<Visit, Ended> {
        match (&self.session, flow) {
            (Some(session), Some(flow)) => Ok(Visit { flow: flow.to_owned(), session: session.clone() }),
            (None, Some(_)) => Err(self.no_session()),
            (_, None) => Err(self.message("expired", StatusCode::BAD_REQUEST)),
        }
    }

    /// This browser, with a flow or with none: somebody who comes by themselves, to see what they allowed.
    pub(super) fn visit_or_alone(&self, flow: Option<&str>) -> Result<Visit, Ended> {
        match (flow.unwrap_or_default(), &self.session) {
            ("", Some(session)) => Ok(Visit { flow: String::new(), session: session.clone() }),
            ("", None) => Err(self.no_session()),
            (flow, _) => self.visit(Some(flow)),
        }
    }

    /// Without a session: it has ended, or the browser keeps none.
    fn no_session(&self) -> Ended {
        self.message(if self.has_cookie { "expired" } else { "cookies" }, StatusCode::BAD_REQUEST)
    }

    /// Somebody opens a page: with a flow, or by themselves, and then with a session that nobody is signed in to and the
    /// header that gives it to the browser.
    pub(super) fn open(mut self, flow: Option<&str>) -> Result<(Self, Visit, Option<HeaderValue>), Ended> {
        let mut cookie = None;
        if flow.is_none() {
            if !self.server.may_begin(self.address) {
                return Err(self.message("too_many", StatusCode::TOO_MANY_REQUESTS));
            }
            let (session, header) = self.session_or_new()?;
            (self.session, cookie) = (Some(session), header);
        }
        let visit = self.visit_or_alone(flow)?;
        Ok((self, visit, cookie))
    }

    /// Where somebody goes on who has signed in: with their flow, or to what they allowed.
    pub(super) async fn signed_in(&self, visit: &Visit) -> Response {
        match visit.flow.as_str() {
            "" => redirect("/oauth/apps"),
            flow => self.next(flow, self.server.advance(visit).await),
        }
    }

    /// Read a form of one of our pages.
    ///
    /// SECURITY: it carries the number its page was given, and comes from our origin where the browser says where it
    /// comes from; so no other site can send it (RFC 9700, section 4.7).
    pub(super) async fn form(&self, body: Body, known: &[&str]) -> Result<(Form, Vec<u8>), Ended> {
        let bytes = axum::body::to_bytes(body, FORM_BYTES).await;
        let bytes = bytes.map_err(|_| self.message("unreadable", StatusCode::PAYLOAD_TOO_LARGE))?.to_vec();
        let all: Vec<&str> = known.iter().copied().chain(["csrf", "flow"]).collect();
        let form = Form::parse(&bytes, &all).map_err(|_| self.message("unreadable", StatusCode::BAD_REQUEST))?;
        let Some(session) = &self.session else { return Err(self.no_session()) };
        let csrf = form.get("csrf").unwrap_or_default();
        if !self.is_from_here() || !bool::from(csrf.as_bytes().ct_eq(session.csrf.as_bytes())) {
            return Err(self.message("forged", StatusCode::FORBIDDEN));
        }
        Ok((form, bytes))
    }

    /// Whether a form comes from one of our pages, as far as the browser says. `no-referrer` makes it say `null` for
    /// the origin of our own.
    fn is_from_here(&self) -> bool {
        match &self.from {
            (Some(site), _) => site == "same-origin",
            (None, Some(origin)) => origin == "null" || *origin == self.server.settings().issuer,
            (None, None) => true,
        }
    }

    /// A page.
    pub(in crate::http) fn page(&self, page: Page, flow: Option<&str>, status: StatusCode, more: Value) -> Response {
        match self.server.page(page, self.session.as_ref(), flow.filter(|flow| !flow.is_empty()), more) {
            Ok(html) => (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response(),
            Err(error) => {
                tracing::error!(error = %crate::causes::chain(&error), "page not made");
                failed().into_response()
            }
        }
    }

    /// A page that says what happened.
    pub(in crate::http) fn message(&self, what: &str, status: StatusCode) -> Ended {
        let more = json!({
            "title_key": format!("message.{what}.title"),
            "body_key": format!("message.{what}.body"),
            "detail": Value::Null,
            "back": Value::Null,
            "status": status.as_u16(),
        });
        Box::new(self.page(Page::Message, None, status, more))
    }

    /// Where a flow goes on.
    pub(super) fn next(&self, flow: &str, next: Result<Next, AuthorizeError>) -> Response {
        match next {
            Ok(Next::Page(page)) => redirect(&format!("/oauth/{page}?flow={flow}")),
            Ok(Next::Back(url)) => redirect(&url),
            Err(error) => self.error(&error),
        }
    }

    /// What a flow that ends tells the person, or the app.
    pub(super) fn error(&self, error: &AuthorizeError) -> Response {
        let what = match error {
            AuthorizeError::Back(to, code, text) => {
                return redirect(&self.server.back_with_error(to, *code, text));
            }
            AuthorizeError::Client => "bad_client",
            AuthorizeError::RedirectUri => "bad_redirect",
            AuthorizeError::Unreadable(_) => "unreadable",
            AuthorizeError::NoFlow => "expired",
            AuthorizeError::Failed => return *self.message("failed", StatusCode::INTERNAL_SERVER_ERROR),
        };
        *self.message(what, StatusCode::BAD_REQUEST)
    }
}

/// SECURITY: 303, so that a form with a password is never sent on (RFC 9700, section 4.12).
pub(in crate::http) fn redirect(to: &str) -> Response {
    match HeaderValue::from_str(to) {
        Ok(to) => (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response(),
        Err(_) => failed().into_response(),
    }
}

/// The same with a cookie.
pub(super) fn with_cookie(mut response: Response, cookie: Option<HeaderValue>) -> Response {
    if let Some(cookie) = cookie {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

/// What every page asks of browsers: no scripts, no frames but those allowed, nothing kept, nothing told to others. Apps
/// may open it in a window of its own, and have to find back to theirs, so there is no `Cross-Origin-Opener-Policy`.
pub(in crate::http) async fn harden(
    axum::extract::State(state): axum::extract::State<Arc<State>>,
    mut response: Response,
) -> Response {
    let frames = state.smart.as_ref().map(|server| server.settings().frame_ancestors.join(" ")).unwrap_or_default();
    let ancestors = if frames.is_empty() { "'none'" } else { &frames };
    let theme = state.smart.as_ref().map(|server| server.settings().theme.clone()).unwrap_or_default();
    let origin = |url: &Option<String>| {
        let origin = url.as_deref().and_then(|url| url::Url::parse(url).ok()).map(|url| url.origin());
        origin.map(|origin| origin.ascii_serialization()).unwrap_or_default()
    };
    let policy = format!(
        "default-src 'none'; style-src 'self' {}; img-src 'self' {}; base-uri 'none'; frame-ancestors {ancestors}",
        origin(&theme.stylesheet),
        origin(&theme.logo),
    );
    let headers = response.headers_mut();
    let mut put = |name: &'static str, value: &str| {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.insert(name, value);
        }
    };
    put("content-security-policy", &policy);
    put("referrer-policy", "no-referrer");
    put("cache-control", "no-store");
    put("x-content-type-options", "nosniff");
    if frames.is_empty() {
        put("x-frame-options", "DENY");
    }
    response
}

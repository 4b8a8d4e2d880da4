//! The pages of a flow: sign in, choose, approve.

use axum::body::Body;
use axum::extract::{Query, RawQuery};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use super::browser::{Browser, redirect, with_cookie};
use crate::smart::form::all;
use crate::smart::{Page, SignInError, UNLISTED, Visit};

/// The most bytes of an authorization request.
const REQUEST_BYTES: usize = 32 << 10;

/// Which flow a page is for.
#[derive(Debug, Deserialize)]
pub(super) struct Of {
    pub(super) flow: Option<String>,
}

/// An app asks for a code.
pub(super) async fn authorize(browser: Browser, RawQuery(query): RawQuery) -> Response {
    if !browser.server.may_begin(browser.address) {
        return *browser.message("too_many", StatusCode::TOO_MANY_REQUESTS);
    }
    let (session, cookie) = match browser.session_or_new() {
        Ok(session) => session,
        Err(ended) => return *ended,
    };
    let started = match browser.server.start_flow(query.unwrap_or_default().as_bytes(), Some(&session)) {
        Ok(started) => started,
        Err(error) => return with_cookie(browser.error(&error), cookie),
    };
    let visit = Visit { flow: started.flow.text().to_owned(), session };
    let next = browser.server.advance(&visit).await;
    with_cookie(browser.next(&visit.flow, next), cookie)
}

/// The same by a form, which comes from another site: browsers send no cookie with it, so who comes next claims it.
pub(super) async fn authorize_by_form(browser: Browser, headers: HeaderMap, body: Body) -> Response {
    if !browser.server.may_begin(browser.address) {
        return *browser.message("too_many", StatusCode::TOO_MANY_REQUESTS);
    }
    let form = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let bytes = axum::body::to_bytes(body, REQUEST_BYTES).await;
    let Some(bytes) = bytes.ok().filter(|_| form.starts_with("application/x-www-form-urlencoded")) else {
        return *browser.message("unreadable", StatusCode::BAD_REQUEST);
    };
    match browser.server.start_flow(&bytes, None) {
        Ok(started) => redirect(&format!("/oauth/continue?flow={}", started.flow.text())),
        Err(error) => browser.error(&error),
    }
}

/// Claim a flow that came by a form.
pub(super) async fn carry_on(browser: Browser, Query(of): Query<Of>) -> Response {
    if !browser.server.may_begin(browser.address) {
        return *browser.message("too_many", StatusCode::TOO_MANY_REQUESTS);
    }
    let (session, cookie) = match browser.session_or_new() {
        Ok(session) => session,
        Err(ended) => return *ended,
    };
    let visit = Visit { flow: of.flow.unwrap_or_default(), session };
    let next = match browser.server.claim_flow(&visit) {
        Ok(()) => browser.server.advance(&visit).await,
        Err(error) => Err(error),
    };
    with_cookie(browser.next(&visit.flow, next), cookie)
}

/// Where somebody signs in.
pub(super) async fn login_page(browser: Browser, Query(of): Query<Of>) -> Response {
    match browser.open(of.flow.as_deref()) {
        Ok((browser, visit, cookie)) => with_cookie(show_login(&browser, &visit, None, "", StatusCode::OK), cookie),
        Err(ended) => *ended,
    }
}

fn show_login(browser: &Browser, visit: &Visit, error: Option<&str>, name: &str, status: StatusCode) -> Response {
    match browser.server.login_view(visit, error, name) {
        Ok(view) => browser.page(Page::Login, Some(&visit.flow), status, view),
        Err(error) => browser.error(&error),
    }
}

/// Somebody signs in.
pub(super) async fn login(browser: Browser, body: Body) -> Response {
    let (form, _) = match browser.form(body, &["username", "password"]).await {
        Ok(read) => read,
        Err(ended) => return *ended,
    };
    let visit = match browser.visit_or_alone(form.get("flow")) {
        Ok(visit) => visit,
        Err(ended) => return *ended,
    };
    let (name, password) = (form.get("username").unwrap_or_default(), form.get("password").unwrap_or_default());
    match browser.server.sign_in(&visit, name, password, browser.address).await {
        Ok(Some(secret)) => {
            let cookie = browser.set_cookie(&secret);
            let Ok(Some(session)) = browser.server.session(secret.text()) else {
                return *browser.message("failed", StatusCode::INTERNAL_SERVER_ERROR);
            };
            let visit = Visit { session, ..visit };
            with_cookie(browser.signed_in(&visit).await, cookie)
        }
        Ok(None) => show_login(&browser, &visit, Some("login.error.wrong"), name, StatusCode::UNAUTHORIZED),
        Err(SignInError::TooOften) => {
            show_login(&browser, &visit, Some("login.error.too_many"), name, StatusCode::TOO_MANY_REQUESTS)
        }
        Err(_) => *browser.message("failed", StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Where somebody chooses for whom.
pub(super) async fn choose_page(browser: Browser, Query(of): Query<Of>) -> Response {
    let visit = match browser.visit(of.flow.as_deref()) {
        Ok(visit) => visit,
        Err(ended) => return *ended,
    };
    show_choices(&browser, &visit, None).await
}

async fn show_choices(browser: &Browser, visit: &Visit, error: Option<&str>) -> Response {
    match browser.server.choose_view(visit, error).await {
        Ok(view) => browser.page(Page::Choose, Some(&visit.flow), StatusCode::OK, view),
        Err(error) => browser.error(&error),
    }
}

/// Somebody chooses.
pub(super) async fn choose(browser: Browser, body: Body) -> Response {
    let (form, _) = match browser.form(body, &["choice", "patient"]).await {
        Ok(read) => read,
        Err(ended) => return *ended,
    };
    let visit = match browser.visit(form.get("flow")) {
        Ok(visit) => visit,
        Err(ended) => return *ended,
    };
    match browser.server.choose(&visit, form.get("choice").unwrap_or_default(), form.get("patient")).await {
        Ok(true) => browser.next(&visit.flow, browser.server.advance(&visit).await),
        Ok(false) => {
            let error = match (form.get("choice"), form.get("patient")) {
                (None, None) => "choose.error.none",
                (_, Some(_)) => "choose.error.patient_unknown",
                (Some(choice), None) if choice.starts_with(UNLISTED) => "choose.error.patient_missing",
                (Some(_), None) => "choose.error.not_possible",
            };
            show_choices(&browser, &visit, Some(error)).await
        }
        Err(error) => browser.error(&error),
    }
}

/// Where somebody approves.
pub(super) async fn approve_page(browser: Browser, Query(of): Query<Of>) -> Response {
    let visit = match browser.visit(of.flow.as_deref()) {
        Ok(visit) => visit,
        Err(ended) => return *ended,
    };
    match browser.server.approve_view(&visit).await {
        Ok(Some(view)) => browser.page(Page::Approve, Some(&visit.flow), StatusCode::OK, view),
        Ok(None) => browser.next(&visit.flow, browser.server.approve(&visit, true, "", &[], &[]).await),
        Err(error) => browser.error(&error),
    }
}

/// Somebody approves, or does not.
pub(super) async fn approve(browser: Browser, body: Body) -> Response {
    let (form, bytes) = match browser.form(body, &["action", "page"]).await {
        Ok(read) => read,
        Err(ended) => return *ended,
    };
    let visit = match browser.visit(form.get("flow")) {
        Ok(visit) => visit,
        Err(ended) => return *ended,
    };
    let allow = form.get("action") == Some("allow");
    let next = browser
        .server
        .approve(&visit, allow, form.get("page").unwrap_or_default(), &all(&bytes, "scope"), &all(&bytes, "part"))
        .await;
    browser.next(&visit.flow, next)
}

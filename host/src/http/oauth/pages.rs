//! Pages outside of a flow: connected apps, signing out.

use axum::body::Body;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::browser::{Browser, redirect, with_cookie};
use crate::smart::Page;

/// Where somebody who is signed in can go.
pub(super) async fn home(browser: Browser) -> Response {
    match signed_in(&browser) {
        true => browser.page(Page::Home, None, StatusCode::OK, json!({})),
        false => redirect("/oauth/login"),
    }
}

fn signed_in(browser: &Browser) -> bool {
    browser.session.as_ref().is_some_and(|session| session.account.is_some())
}

/// The apps somebody uses.
pub(super) async fn apps(browser: Browser) -> Response {
    show_apps(&browser, None)
}

fn show_apps(browser: &Browser, notice: Option<&str>) -> Response {
    let Some(session) = browser.session.as_ref().filter(|_| signed_in(browser)) else {
        return redirect("/oauth/login");
    };
    match browser.server.apps_view(session, notice) {
        Ok(view) => browser.page(Page::Apps, None, StatusCode::OK, view),
        Err(_) => *browser.message("failed", StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Take an approval back.
pub(super) async fn withdraw(browser: Browser, body: Body) -> Response {
    let (form, _) = match browser.form(body, &["grant"]).await {
        Ok(read) => read,
        Err(ended) => return *ended,
    };
    let Some(session) = &browser.session else { return *browser.message("cookies", StatusCode::BAD_REQUEST) };
    match browser.server.withdraw(session, form.get("grant").unwrap_or_default()) {
        Ok(true) => show_apps(&browser, Some("apps.notice.revoked")),
        Ok(false) => redirect("/oauth/apps"),
        Err(_) => *browser.message("failed", StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// Sign out.
pub(super) async fn sign_out(browser: Browser, body: Body) -> Response {
    let ended = browser.form(body, &[]).await.map(drop);
    let ended = ended.and_then(|()| match &browser.session {
        Some(session) => browser
            .server
            .end_session(session)
            .map_err(|_| browser.message("failed", StatusCode::INTERNAL_SERVER_ERROR)),
        None => Ok(()),
    });
    match ended {
        Ok(()) => {
            let page = Browser { session: None, ..browser };
            let message = page.message("signed_out", StatusCode::OK);
            with_cookie(*message, page.drop_cookie())
        }
        Err(ended) => *ended,
    }
}

/// The stylesheet.
pub(super) async fn style(browser: Browser) -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], browser.server.style()).into_response()
}

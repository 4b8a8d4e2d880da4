//! The pages by which somebody makes an account.

use axum::body::Body;
use axum::extract::Query;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::{Value, json};

use super::browser::{Browser, with_cookie};
use super::flow::Of;
use crate::smart::form::Form;
use crate::smart::settings::PASSWORD_MIN;
use crate::smart::{Claimed, EnrolError, Page, Visit};

const DETAILS: [&str; 3] = ["code", "family_name", "birth_date"];
const ACCOUNT: [&str; 6] = ["code", "family_name", "birth_date", "username", "password", "password_again"];

/// Where somebody shows a code.
pub(super) async fn page(browser: Browser, Query(of): Query<Of>) -> Response {
    match browser.open(of.flow.as_deref()) {
        Ok((browser, visit, cookie)) => with_cookie(show(&browser, &visit, None, StatusCode::OK), cookie),
        Err(ended) => *ended,
    }
}

fn show(browser: &Browser, visit: &Visit, error: Option<&str>, status: StatusCode) -> Response {
    browser.page(Page::Enrol, Some(&visit.flow), status, json!({ "error": error }))
}

fn claimed(form: &Form) -> Claimed<'_> {
    let get = |name| form.get(name).unwrap_or_default();
    Claimed { code: get("code"), family_name: get("family_name"), birth_date: get("birth_date") }
}

/// Somebody shows a code.
pub(super) async fn check(browser: Browser, body: Body) -> Response {
    let (form, _) = match browser.form(body, &DETAILS).await {
        Ok(read) => read,
        Err(ended) => return *ended,
    };
    let visit = match browser.visit_or_alone(form.get("flow")) {
        Ok(visit) => visit,
        Err(ended) => return *ended,
    };
    match browser.server.check_enrolment(&claimed(&form), browser.address) {
        Ok(_) => browser.page(Page::EnrolAccount, Some(&visit.flow), StatusCode::OK, account_view(&form, None)),
        Err(error) => refused(&browser, &visit, &form, &error),
    }
}

fn account_view(form: &Form, error: Option<&str>) -> Value {
    let get = |name| form.get(name).unwrap_or_default();
    json!({
        "error": error,
        "minimum": PASSWORD_MIN,
        "username": get("username"),
        "code": get("code"),
        "family_name": get("family_name"),
        "birth_date": get("birth_date"),
    })
}

/// Somebody makes an account.
pub(super) async fn account(browser: Browser, body: Body) -> Response {
    let (form, _) = match browser.form(body, &ACCOUNT).await {
        Ok(read) => read,
        Err(ended) => return *ended,
    };
    let visit = match browser.visit_or_alone(form.get("flow")) {
        Ok(visit) => visit,
        Err(ended) => return *ended,
    };
    let get = |name| form.get(name).unwrap_or_default();
    let given = (get("username"), get("password"), get("password_again"));
    match browser.server.enrol(&visit, &claimed(&form), given, browser.address).await {
        Ok(secret) => {
            let cookie = browser.set_cookie(&secret);
            let Ok(Some(session)) = browser.server.session(secret.text()) else {
                return *browser.message("failed", StatusCode::INTERNAL_SERVER_ERROR);
            };
            let visit = Visit { session, ..visit };
            with_cookie(browser.signed_in(&visit).await, cookie)
        }
        Err(error) => refused(&browser, &visit, &form, &error),
    }
}

/// Back to the page that has what is wrong.
fn refused(browser: &Browser, visit: &Visit, form: &Form, error: &EnrolError) -> Response {
    let again =
        |key| browser.page(Page::EnrolAccount, Some(&visit.flow), StatusCode::OK, account_view(form, Some(key)));
    match error {
        EnrolError::NoMatch => show(browser, visit, Some("enrol.error.wrong"), StatusCode::FORBIDDEN),
        EnrolError::TooOften => show(browser, visit, Some("enrol.error.too_many"), StatusCode::TOO_MANY_REQUESTS),
        EnrolError::Differ => again("enrol_account.error.password_mismatch"),
        EnrolError::Password => again("enrol_account.error.password_weak"),
        EnrolError::BadName => again("enrol_account.error.username_bad"),
        EnrolError::Name => again("enrol_account.error.username_taken"),
        EnrolError::Failed | EnrolError::Store(_) => *browser.message("failed", StatusCode::INTERNAL_SERVER_ERROR),
    }
}

//! What happens in between: the list changes while a page is open, somebody else signs in, an approval is given twice,
//! a token outlives what it was made for.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use chartgate_tests::host::{World, chartgate, run};
use chartgate_tests::smart::{Clinic, form};
use serde_json::json;

use crate::clinic;

const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

fn database(clinic: &Clinic) -> rusqlite::Connection {
    let database = rusqlite::Connection::open(clinic.world.data().join("chartgate.db")).unwrap();
    database.busy_timeout(Duration::from_secs(30)).unwrap();
    database
}

fn directory(clinic: &Clinic, verb: &str, user: &str, patient: &str) {
    let done = clinic.world.directory(&[verb, user, patient, "guardian"]);
    assert_eq!(done.code, Some(0), "{done:?}");
}

#[test]
fn who_is_chosen_is_who_was_shown() {
    let (clinic, app) = (clinic(), clinic().public_app());
    for patient in ["123", "124", "125"] {
        directory(clinic, "grant", "RelatedPerson/78", patient);
    }
    let (mut browser, account) = (clinic.browser(), clinic.account(&["proxy=RelatedPerson/78"]));
    let page = app.authorize(&mut browser, "launch/patient patient/*.rs");
    let page = browser.sign_in(&page, &account);
    let shown = ["123", "124", "125"].map(|patient| format!("proxy RelatedPerson/78 {patient}"));
    assert_eq!(page.boxes("choice"), shown);
    directory(clinic, "revoke", "RelatedPerson/78", "123");
    let gone = browser.submit(&page, |fields| fields.set("choice", &shown[0]));
    assert_eq!(gone.path(), "/oauth/choose", "who cannot be had any more is nobody else");
    let page = browser.submit(&page, |fields| fields.set("choice", &shown[1]));
    assert_eq!(page.path(), "/oauth/approve");
    assert_eq!(app.tokens(&browser.allow(&page).must("code")).text("patient"), "124");
}

#[test]
fn boxes_of_another_page_approve_nothing() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let page = app.authorize(&mut browser, "launch/patient patient/Patient.rs");
    let page = browser.sign_in(&page, &account);
    let again = browser.submit(&page, |fields| {
        fields.set("action", "allow");
        fields.set("page", "of something else");
    });
    assert_eq!(again.path(), "/oauth/approve");
    assert!(browser.allow(&again).query("code").is_some());
}

/// ONC: a refresh token that is used is good for three months more, of an app with a secret too.
#[test]
fn what_is_used_lasts_for_a_hundred_days_more() {
    let (clinic, app) = (clinic(), clinic().register("client_secret_basic", |_| {}));
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let tokens = app.tokens(&app.code(&mut browser, &account, "openid launch/patient offline_access patient/*.rs"));
    let of_grant = "UPDATE grants SET expires_ms = expires_ms - ?2 WHERE client = ?1";
    let of_token = "UPDATE refresh_tokens SET expires_ms = expires_ms - ?2 \
                    WHERE grant_id IN (SELECT id FROM grants WHERE client = ?1)";
    for sql in [of_grant, of_token] {
        assert_eq!(database(clinic).execute(sql, (&app.id, 99 * DAY_MS)).unwrap(), 1);
    }
    assert_eq!(app.refresh(tokens.text("refresh_token")).status, 200);
    let sql = "SELECT g.expires_ms - r.expires_ms FROM grants g JOIN refresh_tokens r ON r.grant_id = g.id \
               WHERE g.client = ?1";
    let longer: i64 = database(clinic).query_row(sql, [&app.id], |row| row.get(0)).unwrap();
    assert!(longer >= 0, "the grant ends {longer} ms before its refresh token");
}

#[test]
fn a_part_of_the_records_is_called_by_its_name_only_where_it_is_that_part() {
    const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let shown = |browser: &mut chartgate_tests::smart::Browser, scope: &str| {
        let page = app.authorize(browser, scope);
        if page.path() == "/oauth/login" { browser.sign_in(&page, &account) } else { page }
    };
    let plain = shown(&mut browser, &format!("launch/patient patient/Observation.rs?category={CATEGORY}|laboratory"));
    assert!(plain.text.contains("Laboratory results"), "{}", plain.text);
    for scope in [
        format!("patient/Observation.rs?category={CATEGORY}|social-history,{CATEGORY}|laboratory"),
        "patient/DocumentReference.rs?category=http://x|laboratory".into(),
        "patient/Condition.rs?code=http://hl7.org/fhir/sid/icd-10|F10,http://x|laboratory".into(),
    ] {
        let page = shown(&mut browser, &format!("launch/patient {scope}"));
        assert_eq!(page.path(), "/oauth/approve", "{}", page.text);
        assert!(!page.text.contains("Laboratory results"), "{scope}");
        assert!(page.text.contains("but only those with"), "{scope}: {}", page.text);
    }
}

#[test]
fn online_access_is_of_the_one_whose_session_it_is() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, patient) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let tokens = app.tokens(&app.code(&mut browser, &patient, "launch/patient online_access patient/*.rs"));
    assert_eq!(clinic.read(tokens.access(), "123").0, "permit");
    let mother = clinic.account(&["proxy=RelatedPerson/9"]);
    let url =
        app.authorize_url("launch/patient patient/Patient.rs", |pairs| pairs.push(("prompt".into(), "login".into())));
    let page = browser.get(&url);
    let page = browser.sign_in(&page, &mother);
    assert_eq!(page.path(), "/oauth/approve", "{}", page.text);
    assert_eq!(app.refresh(tokens.text("refresh_token")).status, 400);
    assert_eq!(clinic.read(tokens.access(), "123").1, "token-inactive");
}

#[test]
fn online_access_can_be_renewed_while_the_session_goes_on_and_ends_with_it() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let older = |account: &str, seconds: i64| {
        let database = database(clinic);
        let sql = "UPDATE sessions SET expires_ms = expires_ms - ?2, auth_ms = auth_ms - ?2, online_ms = online_ms - ?2
             WHERE account = ?1";
        assert_eq!(database.execute(sql, (account, seconds * 1_000)).unwrap(), 1);
    };
    for (seconds, renewed) in [(3_700, true), (4_300, false)] {
        let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
        let tokens = app.tokens(&app.code(&mut browser, &account, "launch/patient online_access patient/Patient.rs"));
        // An hour is over, and with it the access token.
        older(&account, seconds);
        let answer = app.refresh(tokens.text("refresh_token"));
        assert_eq!(answer.status == 200, renewed, "{seconds}: {}", answer.text);
    }
    // However busy somebody is: twelve hours after they signed in it is over, for access tokens as well.
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let tokens = app.tokens(&app.code(&mut browser, &account, "launch/patient online_access patient/Patient.rs"));
    let sql = "UPDATE sessions SET auth_ms = auth_ms - 43195000, online_ms = online_ms - 4195000 WHERE account = ?1";
    assert_eq!(database(clinic).execute(sql, [&account]).unwrap(), 1);
    let answer = app.refresh(tokens.text("refresh_token"));
    let left = answer.json()["expires_in"].as_u64().unwrap_or(0);
    assert!(answer.status == 400 || left <= 10, "{}", answer.text);
}

#[test]
fn all_that_is_held_is_shown_and_not_only_what_was_approved_last() {
    let clinic = clinic();
    let app = clinic.register("none", |body| body["name"] = json!("Twice Approved"));
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let wide = "launch/patient offline_access patient/Patient.rs patient/Goal.rs";
    let first = app.tokens(&app.code(&mut browser, &account, wide));
    app.code(&mut browser, &account, "launch/patient patient/Patient.rs");
    let apps = browser.get("/oauth/apps");
    assert!(apps.text.contains("stays connected when you are not using it"), "{}", apps.text);
    assert!(apps.text.contains("Health goals"), "{}", apps.text);
    browser.submit(&apps, |_| {});
    assert_eq!(app.refresh(first.text("refresh_token")).status, 400);
}

#[test]
fn what_a_clinician_uses_is_seen_by_the_patient_and_not_theirs_to_end() {
    let clinic = clinic();
    let app = clinic.register("none", |body| {
        body["kind"] = json!("provider");
        body["name"] = json!("Used On The Ward");
        body["launch_uri"] = json!("https://app.example/launch");
    });
    let launch = clinic.launch(&app, json!({ "user": "Practitioner/17", "patient": "123" }));
    let launch = launch["launch"].as_str().unwrap().to_owned();
    let (mut ward, doctor) = (clinic.browser(), clinic.account(&["provider=Practitioner/17"]));
    let url = app.authorize_url("launch user/*.rs", |pairs| pairs.push(("launch".into(), launch)));
    let page = ward.get(&url);
    let back = app.through(&mut ward, page, &doctor);
    let tokens = app.tokens(&back.must("code"));
    let sql = "SELECT id FROM approvals WHERE client = ?1";
    let approval: String = database(clinic).query_row(sql, [&app.id], |row| row.get(0)).unwrap();
    let (mut browser, patient) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    clinic.public_app().code(&mut browser, &patient, "launch/patient patient/Patient.rs");
    let apps = browser.get("/oauth/apps");
    assert!(apps.text.contains("Used On The Ward") && !apps.text.contains(&approval), "{}", apps.text);
    browser.submit(&apps, |fields| fields.set("grant", &approval));
    assert_eq!(clinic.read(tokens.access(), "124").0, "permit");
}

#[test]
fn a_caller_asks_about_tokens_of_its_own_tenants_only() {
    let (mut world, _) = World::smart("");
    world.more += &World::caller("elsewhere", "elsewhere-key", &["other"], &["introspect"]);
    world.more += &World::caller("here", "here-key", &["default"], &["introspect"]);
    let host = world.start();
    let ask = |key: &str| {
        let key = format!("Bearer {key}");
        let headers = [("authorization", &*key), ("content-type", "application/x-www-form-urlencoded")];
        host.client().send("POST", host.public, "/oauth/introspect", &headers, "token=x".to_owned()).status
    };
    assert_eq!((ask("here-key"), ask("elsewhere-key")), (200, 401));
}

#[test]
fn somebody_comes_by_themselves_to_see_what_they_allowed() {
    let clinic = clinic();
    let app = clinic.register("none", |body| body["name"] = json!("Left On The Lost Phone"));
    let (mut phone, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let tokens = app.tokens(&app.code(&mut phone, &account, "launch/patient offline_access patient/*.rs"));
    let mut browser = clinic.browser();
    let login = browser.get("/oauth/apps");
    assert_eq!((login.status, login.path()), (200, "/oauth/login"), "{}", login.text);
    let wrong = browser.submit(&login, |fields| {
        fields.set("username", &account);
        fields.set("password", "not it");
    });
    assert_eq!((wrong.status, wrong.path()), (401, "/oauth/login"));
    let apps = browser.sign_in(&wrong, &account);
    assert_eq!(apps.path(), "/oauth/apps");
    assert!(apps.text.contains("Left On The Lost Phone"), "{}", apps.text);
    browser.submit(&apps, |_| {});
    assert_eq!(app.refresh(tokens.text("refresh_token")).status, 400);
}

#[test]
fn somebody_uses_their_invitation_without_an_app() {
    let clinic = clinic();
    let body = json!({
        "label": "Patient 123", "identities": [{ "kind": "patient", "user": "Patient/123" }],
        "family_name": "Example", "birth_date": "1968-04-12",
    });
    let answer = clinic.host.admin("POST", "/admin/v1/smart/enrolments", &[], &body.to_string());
    let code = answer.json()["code"].as_str().unwrap().to_owned();
    let mut browser = clinic.browser();
    let page = browser.get("/oauth/enrol");
    let page = browser.submit(&page, |fields| {
        fields.set("code", &code);
        fields.set("family_name", "Example");
        fields.set("birth_date", "1968-04-12");
    });
    assert_eq!(page.status, 200, "{}", page.text);
    let apps = browser.submit(&page, |fields| {
        fields.set("username", "came-alone");
        fields.set("password", chartgate_tests::smart::PASSWORD);
        fields.set("password_again", chartgate_tests::smart::PASSWORD);
    });
    assert_eq!(apps.path(), "/oauth/apps", "{}", apps.text);
}

/// OpenID Connect Core, section 3.1.2.1: nobody is taken for somebody else, and whom the hint is for may sign in.
#[test]
fn who_is_signed_in_is_who_the_hint_is_for() {
    const SCOPE: &str = "openid launch/patient patient/Patient.rs";
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, mia) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let token = app.tokens(&app.code(&mut browser, &mia, SCOPE)).text("id_token").to_owned();
    let url = |prompt: &str, hint: &str| {
        app.authorize_url(SCOPE, |pairs| {
            pairs.push(("id_token_hint".into(), hint.into()));
            pairs.extend((!prompt.is_empty()).then(|| ("prompt".into(), prompt.to_owned())));
        })
    };
    assert!(browser.get(&url("none", &token)).query("code").is_some());
    let (mut other, leo) = (clinic.browser(), clinic.account(&["patient=Patient/124"]));
    app.code(&mut other, &leo, SCOPE);
    assert_eq!(other.get(&url("none", &token)).must("error"), "login_required");
    let page = other.get(&url("", &token));
    assert_eq!(page.path(), "/oauth/login", "{}", page.text);
    let back = other.sign_in(&page, &mia);
    assert!(back.query("code").is_some(), "{}", back.text);
    // Whoever signs in for it and is still somebody else gets nothing.
    let mut third = clinic.browser();
    let page = third.get(&url("", &token));
    let refused = third.sign_in(&page, &leo);
    assert_eq!(refused.must("error"), "access_denied");
    // What no key of this server signed is nobody's: it lets nobody pass unasked, and keeps nobody from signing in.
    let (head, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{head}.{}", "A".repeat(342));
    for hint in ["nonsense", &forged] {
        assert_eq!(browser.get(&url("none", hint)).must("error"), "login_required", "{hint}");
    }
    assert!(browser.get(&url("", "nonsense")).query("code").is_some());
}

#[test]
fn an_app_opened_for_one_user_is_not_lost_in_the_session_of_another() {
    let (clinic, app) = (clinic(), clinic().provider_app());
    let (mut browser, doctor) = (clinic.browser(), clinic.account(&["provider=Practitioner/17"]));
    let other = clinic.account(&["provider=Practitioner/18"]);
    let opened = || {
        let launch = clinic.launch(&app, json!({ "user": "Practitioner/17", "patient": "123" }));
        app.authorize_url("launch openid user/*.rs", |pairs| {
            pairs.push(("launch".into(), launch["launch"].as_str().unwrap().into()));
        })
    };
    let login = browser.get("/oauth/apps");
    browser.sign_in(&login, &other);
    let page = browser.get(&opened());
    assert_eq!(page.path(), "/oauth/login", "somebody else is signed in: {}", page.text);
    let back = app.through(&mut browser, page, &doctor);
    assert_eq!(app.tokens(&back.must("code")).text("patient"), "123");
    let mut stranger = clinic.browser();
    let page = stranger.get(&opened());
    assert_eq!(stranger.sign_in(&page, &other).must("error"), "access_denied");
}

#[test]
fn an_app_that_could_not_authenticate_is_not_registered() {
    let clinic = clinic();
    let app = |auth: &str| {
        json!({ "name": "App", "kind": "patient", "redirect_uris": ["https://app.example/cb"],
            "scope": "patient/*.rs", "auth": auth })
    };
    let register = |auth: &str| clinic.host.admin("POST", "/admin/v1/smart/clients", &[], &app(auth).to_string());
    assert!(register("client_secret_basic").status < 300);
    let refused = register("client_secret_post");
    assert_eq!((refused.status, &refused.json()["member"]), (400, &json!("auth")), "{}", refused.text);
    assert!(refused.text.contains("smart.secret_post"), "{}", refused.text);
}

/// A form on its way while the account is closed is nobody's: its session was looked up before.
#[test]
fn who_is_closed_out_while_they_approve_gets_nothing() {
    const SCOPE: &str = "launch/patient offline_access patient/*.rs";
    let (clinic, app) = (clinic(), clinic().public_app());
    for verb in ["close", "remove", "password"] {
        let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
        let page = app.authorize(&mut browser, SCOPE);
        let page = browser.sign_in(&page, &account);
        let (path, mut fields) = page.form();
        fields.set("action", "allow");
        let pairs: Vec<(&str, &str)> = fields.0.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let body = form(&pairs);
        let cookies: Vec<String> = browser.cookies().iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut stream = std::net::TcpStream::connect(clinic.host.public).unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncookie: {}\r\n\
             content-type: application/x-www-form-urlencoded\r\ncontent-length: {}\r\n\r\n",
            cookies.join("; "),
            body.len()
        );
        let (first, rest) = body.split_at(10);
        stream.write_all(format!("{head}{first}").as_bytes()).unwrap();
        // Until the host has read that much.
        std::thread::sleep(Duration::from_millis(300));
        let mut command = chartgate();
        command.args(["user", verb, &account, "--data"]).arg(clinic.world.data());
        let done = run(&mut command, "another-long-secret\n");
        assert_eq!(done.code, Some(0), "{done:?}");
        stream.write_all(rest.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 400") && !answer.contains("code="), "{verb}: {answer}");
    }
}

/// Grants that are left standing by whatever way end with the account.
#[test]
fn what_a_closed_account_granted_is_not_renewed() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let code = app.code(&mut browser, &account, "launch/patient offline_access patient/*.rs");
    let tokens = app.tokens(&code);
    let again = app.code(&mut browser, &account, "launch/patient offline_access patient/*.rs");
    let closed = "UPDATE accounts SET body = json_set(body, '$.closed', json('true')) WHERE name = ?1";
    assert_eq!(database(clinic).execute(closed, [&account]).unwrap(), 1);
    assert_eq!(app.refresh(tokens.text("refresh_token")).status, 400);
    assert_eq!(app.exchange(&again).status, 400);
    let mut other = clinic.browser();
    let page = app.authorize(&mut other, "launch/patient patient/*.rs");
    assert_eq!(other.sign_in(&page, &account).status, 401);
}

/// An app that goes on keeps nobody signed in at a browser.
#[test]
fn online_access_does_not_keep_the_browser_signed_in() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let tokens = app.tokens(&app.code(&mut browser, &account, "launch/patient online_access patient/*.rs"));
    let aged = "UPDATE sessions SET expires_ms = 1 WHERE account = ?1";
    assert_eq!(database(clinic).execute(aged, [&account]).unwrap(), 1);
    let login = browser.get("/oauth/apps");
    assert_eq!(login.path(), "/oauth/login", "an hour without use: {}", login.text);
    let renewed = app.refresh(tokens.text("refresh_token"));
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    let over = "UPDATE sessions SET online_ms = 1 WHERE account = ?1";
    assert_eq!(database(clinic).execute(over, [&account]).unwrap(), 1);
    let next = renewed.json()["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(app.refresh(&next).status, 400);
}

#[test]
fn a_choice_can_be_made_again_until_it_is_approved() {
    let (clinic, app) = (clinic(), clinic().public_app());
    for patient in ["123", "124"] {
        directory(clinic, "grant", "RelatedPerson/79", patient);
    }
    let (mut browser, account) = (clinic.browser(), clinic.account(&["proxy=RelatedPerson/79"]));
    let page = app.authorize(&mut browser, "launch/patient patient/*.rs");
    let first = browser.sign_in(&page, &account);
    let approve = browser.submit(&first, |fields| fields.set("choice", "proxy RelatedPerson/79 123"));
    assert_eq!(approve.path(), "/oauth/approve");
    let link = approve.text.split("href=\"").find(|text| text.starts_with("/oauth/choose?")).unwrap();
    let choose = browser.get(&link.split('"').next().unwrap().replace("&amp;", "&"));
    assert_eq!(choose.path(), "/oauth/choose", "{}", choose.text);
    let approve = browser.submit(&choose, |fields| fields.set("choice", "proxy RelatedPerson/79 124"));
    assert_eq!(app.tokens(&browser.allow(&approve).must("code")).text("patient"), "124");
}

#[test]
fn whoever_cannot_use_an_app_is_asked_whether_somebody_else_can() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, doctor) = (clinic.browser(), clinic.account(&["provider=Practitioner/17"]));
    let patient = clinic.account(&["patient=Patient/123"]);
    let login = browser.get("/oauth/apps");
    browser.sign_in(&login, &doctor);
    let page = app.authorize(&mut browser, "launch/patient patient/*.rs");
    assert_eq!(page.path(), "/oauth/login", "an app for patients: {}", page.text);
    let page = browser.sign_in(&page, &patient);
    assert!(browser.allow(&page).query("code").is_some());
    let mut other = clinic.browser();
    let page = app.authorize(&mut other, "launch/patient patient/*.rs");
    assert_eq!(other.sign_in(&page, &doctor).must("error"), "access_denied");
}

/// RFC 7662 and SMART: what was told with the token.
#[test]
fn introspection_tells_the_context_that_was_told_with_the_token() {
    let (clinic, app) = (clinic(), clinic().provider_app());
    let (mut browser, doctor) = (clinic.browser(), clinic.account(&["provider=Practitioner/17"]));
    let launch = clinic.launch(&app, json!({ "user": "Practitioner/17", "patient": "123", "encounter": "e-1" }));
    let page = browser.get(&app.authorize_url("launch openid user/*.rs patient/*.rs offline_access", |pairs| {
        pairs.push(("launch".into(), launch["launch"].as_str().unwrap().into()));
    }));
    let tokens = app.tokens(&app.through(&mut browser, page, &doctor).must("code"));
    let narrowed = app.token(&[
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.text("refresh_token")),
        ("scope", "launch user/*.rs openid"),
    ]);
    let told = narrowed.json();
    let may = clinic.register("client_secret_basic", |body| body["introspect"] = json!(true));
    let asked = may.post("/oauth/introspect", &[("token", told["access_token"].as_str().unwrap())]).json();
    assert_eq!((&asked["patient"], &asked["encounter"]), (&told["patient"], &told["encounter"]), "{told} {asked}");
}

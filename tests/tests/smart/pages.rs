//! The pages, and who may use them for what.

use reqwest::Method;
use serde_json::json;

use crate::clinic;

const SCOPE: &str = "openid launch/patient patient/Patient.rs patient/Condition.rs patient/Observation.rs";

/// The boxes are named by the order of what is asked.
#[test]
fn g10_smart_granular_scope_selection() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let page = app.authorize(&mut browser, SCOPE);
    let page = browser.sign_in(&page, &account);
    let parts = page.boxes("part");
    assert_eq!(parts.iter().filter(|part| part.starts_with("s3.")).count(), 3, "of Condition");
    assert_eq!(parts.iter().filter(|part| part.starts_with("s4.")).count(), 6, "of Observation");
    let page = browser.submit(&page, |fields| {
        fields.untick("scope", "s3");
        fields.untick("scope", "s4");
        fields.tick("part", "s3.problem-list-item");
        fields.tick("part", "s4.laboratory");
        fields.set("action", "allow");
    });
    let tokens = app.tokens(&page.must("code"));
    let of = |kind: &str| tokens.scopes().into_iter().filter(|scope| scope.contains(kind)).collect::<Vec<_>>();
    assert_eq!(of("/Patient."), ["patient/Patient.rs"]);
    let condition = "http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item";
    assert_eq!(of("/Condition."), [format!("patient/Condition.rs?category={condition}")]);
    assert_eq!(of("/Observation.").len(), 1);
}

/// What is left out of a wildcard is not in what is granted.
#[test]
fn g10_limited_scope_grant() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let page = app.authorize(&mut browser, "openid launch/patient patient/*.rs");
    let page = browser.sign_in(&page, &account);
    let page = browser.submit(&page, |fields| {
        fields.untick("scope", "s2");
        for kind in ["Patient", "Condition", "Observation"] {
            fields.tick("part", &format!("s2.{kind}"));
        }
        fields.set("action", "allow");
    });
    let tokens = app.tokens(&page.must("code"));
    let expected = "openid launch/patient patient/Patient.rs patient/Condition.rs patient/Observation.rs";
    let mut granted = tokens.scopes();
    let mut expected: Vec<&str> = expected.split(' ').collect();
    granted.sort_unstable();
    expected.sort_unstable();
    assert_eq!(granted, expected);
    assert_eq!(clinic.read(tokens.access(), "123").0, "permit");
}

#[test]
fn who_does_not_approve_gives_nothing_and_the_app_hears_of_it() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let page = app.authorize(&mut browser, SCOPE);
    let page = browser.sign_in(&page, &account);
    let back = browser.submit(&page, |fields| fields.set("action", "deny"));
    assert_eq!((back.must("error"), back.must("state")), ("access_denied".into(), "98wrghuwuogerg97".into()));
    assert_eq!(back.query("code"), None);
    let page = app.authorize(&mut browser, SCOPE);
    let back = browser.submit(&page, |fields| {
        fields.0.retain(|(name, _)| name != "scope");
        fields.set("action", "allow");
    });
    assert_eq!(back.must("error"), "access_denied", "nothing was ticked");
}

/// Once for an app that can be told apart, again for one that asks for more, and never again once it is taken back.
#[test]
fn an_approval_is_remembered_shown_and_taken_back() {
    let (clinic, app) = (clinic(), clinic().register("client_secret_basic", |body| body["name"] = json!("Remember")));
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let first =
        app.tokens(&app.code(&mut browser, &account, "openid offline_access launch/patient patient/Patient.rs"));
    let again = app.authorize(&mut browser, "openid launch/patient patient/Patient.r");
    assert!(again.query("code").is_some(), "{}", again.url);
    let more = app.authorize(&mut browser, "openid launch/patient patient/Patient.rs patient/Goal.rs");
    assert_eq!(more.path(), "/oauth/approve");
    let apps = browser.get("/oauth/apps");
    assert!(apps.text.contains("Remember"));
    let after = browser.submit(&apps, |_| {});
    assert!(!after.text.contains("<h2>Remember</h2>"), "{}", after.text);
    assert_eq!(clinic.read(first.access(), "123").1, "token-inactive");
    assert_eq!(app.refresh(first.text("refresh_token")).status, 400);
    let anew = app.authorize(&mut browser, "openid launch/patient patient/Patient.r");
    assert_eq!(anew.path(), "/oauth/approve");
}

#[test]
fn g10_smart_invalid_aud() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let url = app.authorize_url(SCOPE, |pairs| {
        pairs.retain(|(name, _)| name != "aud");
        pairs.push(("aud".into(), "https://inferno.healthit.gov/invalid_aud".into()));
    });
    let back = clinic.browser().get(&url);
    assert_eq!((back.must("error"), back.query("code")), ("invalid_request".into(), None));
}

/// Until app and address are known to belong together nothing is sent anywhere.
#[test]
fn an_unknown_app_or_address_is_a_page_and_no_redirect() {
    let (clinic, app) = (clinic(), clinic().public_app());
    for (name, value) in [
        ("client_id", "nobody"),
        ("redirect_uri", "https://evil.example/cb"),
        ("redirect_uri", "https://app.example/cb/"),
        ("redirect_uri", "https://app.example/cb?x=1"),
        ("redirect_uri", ""),
    ] {
        let url = app.authorize_url(SCOPE, |pairs| {
            pairs.retain(|(known, _)| known != name);
            pairs.push((name.into(), value.into()));
        });
        let page = clinic.browser().get(&url);
        assert_eq!((page.status, page.path()), (400, "/oauth/authorize"), "{name}={value}");
        let twice = format!("{url}&client_id=x");
        assert_eq!(clinic.browser().get(&twice).status, 400);
    }
}

/// From a form of another site, which sends no cookie along.
#[test]
fn authorize_post() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let url = reqwest::Url::parse(&app.authorize_url(SCOPE, |_| {})).unwrap();
    let pairs: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let answer = browser.send(Method::POST, "/oauth/authorize", Some(&pairs), &[("origin", "https://app.example")]);
    assert_eq!(answer.status, 303);
    let flow = answer.headers["location"].to_str().unwrap().to_owned();
    let page = browser.get(&flow);
    assert_eq!(page.path(), "/oauth/login");
    let stranger = clinic.browser().get(&flow);
    assert_eq!(stranger.status, 400, "who comes second claims nothing");
    let page = browser.sign_in(&page, &account);
    assert!(browser.allow(&page).query("code").is_some());
}

/// RFC 9700, sections 4.7 and 4.16; the session is another one once somebody signed in.
#[test]
fn forms_are_our_own_and_sessions_are_nobodys_to_plant() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let page = app.authorize(&mut browser, SCOPE);
    let planted = browser.cookies().clone();
    let (action, fields) = page.form();
    let mut filled = fields.clone();
    filled.set("username", &account);
    filled.set("password", chartgate_tests::smart::PASSWORD);
    let mut forged = filled.clone();
    forged.set("csrf", "x");
    assert_eq!(browser.post(&action, &forged.0).status, 403);
    let headers = [("origin", "https://evil.example")];
    assert_eq!(browser.send(Method::POST, &action, Some(&filled.0), &headers).status, 403);
    let headers = [("origin", "null"), ("sec-fetch-site", "cross-site")];
    assert_eq!(browser.send(Method::POST, &action, Some(&filled.0), &headers).status, 403);
    let page = browser.post(&action, &filled.0);
    assert_eq!(page.path(), "/oauth/approve");
    let mut attacker = clinic.browser();
    *attacker.cookies() = planted;
    assert_eq!(attacker.get(page.url.as_str()).status, 400, "the planted session is nobody's");
    let mut foreign = clinic.browser();
    foreign.get("/oauth/login");
    assert_eq!(foreign.get(page.url.as_str()).status, 400, "another browser's flow");
}

#[test]
fn a_form_that_is_sent_twice_gives_one_code() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let page = app.authorize(&mut browser, SCOPE);
    let page = browser.sign_in(&page, &account);
    assert!(browser.allow(&page).query("code").is_some());
    assert_eq!(browser.allow(&page).status, 400);
}

#[test]
fn every_page_is_shown_alone_kept_nowhere_and_runs_no_script() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let mut browser = clinic.browser();
    let login = app.authorize(&mut browser, SCOPE);
    let pages =
        [login, browser.get("/oauth/apps"), browser.get("/oauth/approve?flow=x"), browser.get("/oauth/authorize")];
    for page in pages {
        let header = |name: &str| page.headers.get(name).map_or("", |value| value.to_str().unwrap()).to_owned();
        assert!(header("content-security-policy").contains("default-src 'none'"), "{}", page.url);
        assert!(header("content-security-policy").contains("frame-ancestors 'none'"));
        assert_eq!((header("x-frame-options").as_str(), header("referrer-policy").as_str()), ("DENY", "no-referrer"));
        assert_eq!(
            (header("cache-control").as_str(), header("x-content-type-options").as_str()),
            ("no-store", "nosniff")
        );
        assert!(!page.text.contains("<script") && !page.text.contains(" style="));
    }
}

/// Whoever is not there and whoever is are told the same.
#[test]
fn nobody_learns_who_has_an_account() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let account = clinic.account(&["patient=Patient/123"]);
    let answer = |name: &str, password: &str| {
        let mut browser = clinic.browser();
        let page = app.authorize(&mut browser, SCOPE);
        let page = browser.submit(&page, |fields| {
            fields.set("username", name);
            fields.set("password", password);
        });
        (page.status, page.text.replace(name, "").split("name=\"csrf\"").next().unwrap().to_owned())
    };
    assert_eq!(answer(&account, "not the password"), answer("nobody-at-all", "not the password"));
    assert_eq!(answer(&account, "not the password").0, 401);
}

/// Ten tries that fail from one address, and one that closes it; another address goes on.
#[test]
fn guesses_are_counted_and_lock_nobody_else_out() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let account = clinic.account(&["patient=Patient/123"]);
    let mut guesser = clinic.browser();
    let page = app.authorize(&mut guesser, SCOPE);
    let mut guess = || {
        let page = guesser.submit(&page, |fields| {
            fields.set("username", &format!(" {account}"));
            fields.set("password", "not the password");
        });
        page.status
    };
    for _ in 0..11 {
        assert_eq!(guess(), 401);
    }
    assert_eq!(guess(), 429);
    let mut owner = clinic.browser();
    let page = app.authorize(&mut owner, SCOPE);
    assert_eq!(owner.sign_in(&page, &account).path(), "/oauth/approve");
}

/// With a code of the practice, and what only the one it is for knows.
#[test]
fn somebody_enrols_once_with_a_code_and_their_details() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let invited = |family: &str| {
        let body = json!({
            "label": "Patient 123", "identities": [{ "kind": "patient", "user": "Patient/123" }],
            "family_name": family, "birth_date": "1968-04-12",
        });
        let answer = clinic.host.admin("POST", "/admin/v1/smart/enrolments", &[], &body.to_string());
        answer.json()["code"].as_str().unwrap().to_owned()
    };
    let code = invited("Example");
    let mut browser = clinic.browser();
    let login = app.authorize(&mut browser, SCOPE);
    let enrol = browser.get(&format!("/oauth/enrol?flow={}", login.must("flow")));
    let details = |fields: &mut chartgate_tests::smart::Fields, code: &str, family: &str, born: &str| {
        fields.set("code", code);
        fields.set("family_name", family);
        fields.set("birth_date", born);
    };
    for (code, family, born) in [
        (code.as_str(), "Other", "1968-04-12"),
        (&code, "Example", "1968-04-13"),
        ("0000-0000", "Example", "1968-04-12"),
    ] {
        let page = browser.submit(&enrol, |fields| details(fields, code, family, born));
        assert_eq!((page.status, page.path()), (403, "/oauth/enrol"));
    }
    let page = browser.submit(&enrol, |fields| details(fields, &code.to_uppercase(), " example ", "1968-04-12"));
    assert_eq!((page.status, page.path()), (200, "/oauth/enrol"), "{}", page.text);
    let account = |fields: &mut chartgate_tests::smart::Fields, name: &str, password: &str, again: &str| {
        fields.set("username", name);
        fields.set("password", password);
        fields.set("password_again", again);
    };
    let short = browser.submit(&page, |fields| account(fields, "newcomer", "short", "short"));
    assert!(short.text.contains("role=\"alert\""));
    let page = browser.submit(&short, |fields| account(fields, "newcomer", "correct horse", "correct horse"));
    assert_eq!(page.path(), "/oauth/approve");
    assert_eq!(app.tokens(&browser.allow(&page).must("code")).text("patient"), "123");
    let mut second = clinic.browser();
    let login = app.authorize(&mut second, SCOPE);
    let enrol = second.get(&format!("/oauth/enrol?flow={}", login.must("flow")));
    let page = second.submit(&enrol, |fields| details(fields, &code, "Example", "1968-04-12"));
    assert_eq!(page.status, 403, "a code is good once");
    let code = invited("Example");
    for _ in 0..5 {
        assert_eq!(second.submit(&enrol, |fields| details(fields, &code, "Wrong", "1968-04-12")).status, 403);
    }
    let page = second.submit(&enrol, |fields| details(fields, &code, "Example", "1968-04-12"));
    assert_eq!(page.status, 403, "five wrong tries end it");
}

#[test]
fn prompts_are_obeyed() {
    let (clinic, app) = (clinic(), clinic().register("client_secret_basic", |_| {}));
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let with = |browser: &mut chartgate_tests::smart::Browser, prompt: &str| {
        browser.get(&app.authorize_url(SCOPE, |pairs| pairs.push(("prompt".into(), prompt.into()))))
    };
    assert_eq!(with(&mut browser, "none").must("error"), "login_required");
    let page = app.authorize(&mut browser, SCOPE);
    let page = browser.sign_in(&page, &account);
    assert_eq!(with(&mut browser, "none").must("error"), "consent_required");
    browser.allow(&page).must("code");
    with(&mut browser, "none").must("code");
    assert_eq!(with(&mut browser, "consent").path(), "/oauth/approve");
    assert_eq!(with(&mut browser, "login").path(), "/oauth/login");
    assert_eq!(with(&mut browser, "select_account").path(), "/oauth/choose");
    let old = app.authorize_url(SCOPE, |pairs| pairs.push(("max_age".into(), "0".into())));
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(browser.get(&old).path(), "/oauth/login");
}

#[test]
fn online_access_ends_with_the_session_and_offline_access_outlives_it() {
    let (clinic, app) = (clinic(), clinic().register("client_secret_basic", |_| {}));
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let online = app.tokens(&app.code(&mut browser, &account, "openid online_access launch/patient patient/*.rs"));
    let offline = app.tokens(&app.code(&mut browser, &account, "openid offline_access launch/patient patient/*.rs"));
    let home = browser.get("/oauth/");
    assert_eq!(home.status, 200);
    let header = home.text.split("<form").nth(1).unwrap();
    assert!(header.contains("/oauth/logout"));
    let csrf = header.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    assert_eq!(browser.post("/oauth/logout", &[("csrf".into(), csrf)]).status, 200);
    assert_eq!(clinic.read(online.access(), "123").1, "token-inactive");
    assert_eq!(app.refresh(online.text("refresh_token")).status, 400);
    assert_eq!(clinic.read(offline.access(), "123").0, "permit");
    assert_eq!(app.refresh(offline.text("refresh_token")).status, 200);
}

#[test]
fn a_launch_is_for_one_app_and_one_user() {
    let (clinic, app, other) = (clinic(), clinic().provider_app(), clinic().provider_app());
    let (mut browser, stranger) = (clinic.browser(), clinic.account(&["provider=Practitioner/18"]));
    let launch = |app: &chartgate_tests::smart::App| {
        let context = json!({ "user": "Practitioner/17", "patient": "123" });
        clinic.launch(app, context)["launch"].as_str().unwrap().to_owned()
    };
    let with = |app: &chartgate_tests::smart::App, launch: &str| {
        app.authorize_url("launch openid user/*.rs", |pairs| pairs.push(("launch".into(), launch.into())))
    };
    assert_eq!(browser.get(&with(&other, &launch(&app))).must("error"), "invalid_request");
    assert_eq!(browser.get(&with(&app, "unknown")).must("error"), "invalid_request");
    let page = browser.get(&with(&app, &launch(&app)));
    let back = browser.sign_in(&page, &stranger);
    assert_eq!(back.must("error"), "access_denied", "somebody else sits there");
}

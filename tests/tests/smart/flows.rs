//! From launch to tokens, for each sort of person.

use chartgate_tests::smart::form;
use serde_json::json;

use crate::clinic;

#[test]
fn a_patient_signs_in_approves_and_reads_their_own_chart_and_nobody_elses() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, mia) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let page = app.authorize(&mut browser, "openid fhirUser launch/patient offline_access patient/*.rs");
    assert_eq!((page.status, page.path()), (200, "/oauth/login"));
    let page = browser.sign_in(&page, &mia);
    assert_eq!((page.status, page.path()), (200, "/oauth/approve"), "{}", page.text);
    let page = browser.allow(&page);
    assert!(page.url.as_str().starts_with("https://app.example/cb?code="), "{}", page.url);
    assert_eq!(page.must("state"), "98wrghuwuogerg97");
    assert_eq!(page.must("iss"), clinic.issuer);
    let tokens = app.tokens(&page.must("code"));
    assert_eq!(tokens.text("scope"), "openid fhirUser launch/patient offline_access patient/*.rs");
    assert_eq!((tokens.text("patient"), tokens.text("token_type")), ("123", "Bearer"));
    assert_eq!(tokens.0["expires_in"], 3600);
    assert_eq!(tokens.claims()["fhirUser"], format!("{}/Patient/123", clinic.base()));
    assert_eq!(clinic.read(tokens.access(), "123").0, "permit");
    assert_eq!(clinic.read(tokens.access(), "124").0, "deny");
}

#[test]
fn a_guardian_acts_for_the_one_they_look_after() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, guardian) = (clinic.browser(), clinic.account(&["proxy=RelatedPerson/9"]));
    let code = app.code(&mut browser, &guardian, "openid fhirUser launch/patient patient/*.rs");
    let tokens = app.tokens(&code);
    assert_eq!(tokens.text("patient"), "124");
    assert_eq!(tokens.claims()["fhirUser"], format!("{}/RelatedPerson/9", clinic.base()));
    assert!(tokens.0.get("refresh_token").is_none(), "nobody asked to stay connected");
    assert_eq!(clinic.read(tokens.access(), "124").0, "permit");
    assert_eq!(clinic.read(tokens.access(), "123").0, "deny");
}

#[test]
fn who_has_several_patients_chooses_one_and_is_never_taken_for_themselves() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let mother = clinic.account(&["patient=Patient/123", "proxy=RelatedPerson/10"]);
    let mut browser = clinic.browser();
    let page = app.authorize(&mut browser, "launch/patient patient/*.rs openid");
    let page = browser.sign_in(&page, &mother);
    assert_eq!((page.status, page.path()), (200, "/oauth/choose"), "{}", page.text);
    let choices = ["patient Patient/123 123", "proxy RelatedPerson/10 124", "proxy RelatedPerson/10 125"];
    assert_eq!(page.boxes("choice"), choices);
    let again = browser.submit(&page, |_| {});
    assert_eq!(again.path(), "/oauth/choose", "nothing is chosen by itself");
    let page = browser.submit(&page, |fields| fields.set("choice", choices[2]));
    assert_eq!(page.path(), "/oauth/approve");
    let tokens = app.tokens(&browser.allow(&page).must("code"));
    assert_eq!(tokens.text("patient"), "125");
    assert_eq!(clinic.read(tokens.access(), "125").0, "permit");
    assert_eq!(clinic.read(tokens.access(), "123").0, "deny", "one role a token");
}

#[test]
fn a_clinician_opens_an_app_from_the_record_system() {
    let (clinic, app) = (clinic(), clinic().provider_app());
    let (mut browser, doctor) = (clinic.browser(), clinic.account(&["provider=Practitioner/17"]));
    let launch = clinic.launch(&app, json!({ "user": "Practitioner/17", "patient": "123", "encounter": "e-1" }));
    assert!(launch["url"].as_str().unwrap().starts_with("https://app.example/launch?iss="));
    let url = app.authorize_url("launch openid fhirUser offline_access user/*.rs", |pairs| {
        pairs.push(("launch".into(), launch["launch"].as_str().unwrap().into()));
    });
    let page = browser.get(&url);
    let tokens = app.tokens(&app.through(&mut browser, page, &doctor).must("code"));
    assert_eq!((tokens.text("patient"), tokens.text("encounter")), ("123", "e-1"));
    assert_eq!(tokens.0["need_patient_banner"], false);
    assert!(tokens.text("smart_style_url").starts_with(&clinic.issuer));
    assert_eq!(tokens.text("scope"), "launch openid fhirUser offline_access user/*.rs");
    assert_eq!(clinic.read(tokens.access(), "124").0, "permit");
    assert_eq!(clinic.read(tokens.access(), "125").0, "deny");
    let again = browser.get(&url);
    assert_eq!(again.must("error"), "invalid_request", "a launch is good once");
}

#[test]
fn a_public_app_may_renew_with_nothing_but_its_refresh_token() {
    let clinic = clinic();
    let alone = |token: &str| {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let body = form(&[("grant_type", "refresh_token"), ("refresh_token", token)]);
        clinic.host.client().send("POST", clinic.host.public, "/oauth/token", &headers, body)
    };
    let mia = clinic.account(&["patient=Patient/123"]);
    let got = |app: &chartgate_tests::smart::App| {
        let code = app.code(&mut clinic.browser(), &mia, "launch/patient patient/*.rs offline_access");
        app.tokens(&code)
    };
    let first = got(&clinic.public_app());
    let renewed = alone(first.text("refresh_token"));
    assert_eq!(renewed.status, 200, "{}", renewed.text);
    let renewed = renewed.json();
    assert_eq!(clinic.read(renewed["access_token"].as_str().unwrap(), "123").0, "permit");

    let secret = got(&clinic.register("client_secret_basic", |_| {}));
    let refused = alone(secret.text("refresh_token"));
    assert_eq!((refused.status, refused.json()["error"].as_str()), (401, Some("invalid_client")));
    let nobodys = alone("nobodys");
    assert_eq!((nobodys.status, nobodys.json()["error"].as_str()), (400, Some("invalid_grant")));
    let next = renewed["refresh_token"].as_str().unwrap();
    assert_eq!(alone(next).status, 200);
    assert_eq!(alone(first.text("refresh_token")).json()["error"], "invalid_grant", "used long before");
    assert_eq!(alone(next).json()["error"], "invalid_grant", "with which everything ended");
}

//! Signed tokens: those of clients that prove who they are, and access tokens in that form.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate::tokens::SigningKey;
use chartgate_tests::smart::{Clinic, Tokens, VERIFIER};
use serde_json::{Map, Value, json};

use crate::clinic;

const SCOPE: &str = "openid fhirUser launch/patient offline_access patient/*.rs";
pub(crate) const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

fn now_s() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap()
}

/// What a client proves with who it is, for four minutes.
pub(crate) fn assertion(key: &SigningKey, client: &str, audience: &str, jti: &str) -> String {
    let told = json!({ "iss": client, "sub": client, "aud": audience, "exp": now_s() + 240, "jti": jti });
    key.sign("JWT", &claims(told)).unwrap()
}

fn claims(value: Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

#[test]
fn g10_asymmetric_launch() {
    let clinic = clinic();
    let key = SigningKey::read("k1", &SigningKey::generate().unwrap()).unwrap();
    let app = clinic.register("private_key_jwt", |body| body["jwks"] = json!({ "keys": [key.public()] }));
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let assertion = |jti: &str, aud: &str| assertion(&key, &app.id, aud, jti);
    let token_url = format!("{}/oauth/token", clinic.issuer);
    let send = |grant: &[(&str, &str)], assertion: &str| {
        let mut parameters = vec![("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)];
        parameters.extend_from_slice(grant);
        app.token(&parameters)
    };
    let code = app.code(&mut browser, &account, SCOPE);
    let exchange = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
        ("redirect_uri", app.redirect_uri.as_str()),
        ("code_verifier", VERIFIER),
    ];
    let first = assertion("1", &token_url);
    for (refused, assertion) in [
        ("another server", assertion("2", "https://other.example/token")),
        ("no signature of ours", format!("{}x", assertion("3", &token_url))),
    ] {
        let answer = send(&exchange, &assertion);
        assert_eq!((answer.status, answer.json()["error"].as_str()), (401, Some("invalid_client")), "{refused}");
    }
    let tokens = Tokens(send(&exchange, &first).json());
    assert_eq!(clinic.read(tokens.access(), "123").0, "permit");
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens.text("refresh_token"))];
    assert_eq!(send(&refresh, &first).status, 401, "an assertion counts once");
    assert_eq!(send(&refresh, &assertion("4", &clinic.issuer)).status, 200, "the issuer is an audience, too");
    let without = app.exchange("x");
    assert_eq!(without.json()["error"], "invalid_client", "a client with a key has to use it");
    let both = [("client_secret", "x"), ("client_assertion", "y"), ("client_assertion_type", ASSERTION_TYPE)];
    let both = app.token(&[&both[..], &refresh[..]].concat());
    assert_eq!(both.json()["error"], "invalid_request");
}

#[test]
fn an_access_token_may_be_signed_and_is_taken_back_at_once_all_the_same() {
    let clinic = Clinic::start("access_token = \"jwt\"");
    let app = clinic.register("client_secret_basic", |_| {});
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let tokens = app.tokens(&app.code(&mut browser, &account, SCOPE));
    let parts: Vec<&str> = tokens.access().split('.').collect();
    let read = |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap() };
    let (header, payload) = (read(parts[0]), read(parts[1]));
    assert_eq!((&header["typ"], &header["alg"]), (&json!("at+jwt"), &json!("RS256")));
    for (member, expected) in [
        ("iss", json!(clinic.issuer)),
        ("aud", json!(clinic.base())),
        ("client_id", json!(app.id)),
        ("scope", json!(SCOPE)),
        ("patient", json!("123")),
    ] {
        assert_eq!(payload[member], expected, "{member}");
    }
    assert_eq!(clinic.read(tokens.access(), "123").0, "permit");
    let mut other = payload.clone();
    other["patient"] = json!("124");
    let forged = format!("{}.{}.{}", parts[0], URL_SAFE_NO_PAD.encode(other.to_string()), parts[2]);
    assert_eq!(clinic.read(&forged, "124").1, "token-inactive");
    let kids = || {
        let keys = clinic.host.client().send("GET", clinic.host.public, "/oauth/jwks", &[], "").json();
        keys["keys"].as_array().unwrap().iter().map(|key| key["kid"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(kids(), [header["kid"].clone()]);
    let rotated = clinic.host.admin("POST", "/admin/v1/smart/keys", &[], "");
    assert_eq!(rotated.status, 201, "{}", rotated.text);
    assert_eq!(kids(), [rotated.json()["kid"].clone(), header["kid"].clone()]);
    assert_eq!(clinic.read(tokens.access(), "123").0, "permit", "what the old key signed counts on");
    let next = Tokens(app.refresh(tokens.text("refresh_token")).json());
    assert_eq!(read(next.access().split('.').next().unwrap())["kid"], rotated.json()["kid"]);
    app.post("/oauth/revoke", &[("token", tokens.access())]);
    assert_eq!(clinic.read(tokens.access(), "123").1, "token-inactive");
    assert_eq!(clinic.read(next.access(), "123").0, "permit");
}

/// What a token rests on ends before it would.
#[test]
fn a_token_ends_with_what_it_rests_on() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let end = jiff::Timestamp::from_second(i64::try_from(now_s() + 600).unwrap()).unwrap().to_string();
    let granted = clinic.world.directory(&["grant", "RelatedPerson/88", "188", "guardian", "--end", &end]);
    assert_eq!(granted.code, Some(0), "{granted:?}");
    let (mut browser, account) = (clinic.browser(), clinic.account(&["proxy=RelatedPerson/88"]));
    let tokens = app.tokens(&app.code(&mut browser, &account, SCOPE));
    assert!((1..=600).contains(&tokens.0["expires_in"].as_u64().unwrap()), "{}", tokens.0);
}

#[test]
fn a_secret_is_rotated_with_a_grace_and_a_removed_app_has_nothing_left() {
    let (clinic, app) = (clinic(), clinic().register("client_secret_basic", |_| {}));
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let tokens = app.tokens(&app.code(&mut browser, &account, SCOPE));
    let rotate = |grace: u64| {
        let path = format!("/admin/v1/smart/clients/{}/secret", app.id);
        let answer = clinic.host.admin("POST", &path, &[], &json!({ "grace_hours": grace }).to_string());
        assert_eq!(answer.status, 201, "{}", answer.text);
        let mut next = app.clone();
        next.secret = answer.json()["client_secret"].as_str().map(str::to_owned);
        next
    };
    let refresh = |app: &chartgate_tests::smart::App| app.refresh(tokens.text("refresh_token")).status;
    let second = rotate(1);
    assert_eq!((refresh(&app), refresh(&second)), (200, 200), "both, for an hour");
    let third = rotate(0);
    assert_eq!((refresh(&app), refresh(&second), refresh(&third)), (401, 401, 200));
    let removed = clinic.host.admin("DELETE", &format!("/admin/v1/smart/clients/{}", app.id), &[], "");
    assert_eq!(removed.status, 204);
    assert_eq!(refresh(&third), 401);
    assert_eq!(clinic.read(tokens.access(), "123").1, "token-inactive");
}

#[test]
fn an_account_that_is_taken_away_takes_its_sessions_and_tokens_along() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let tokens = app.tokens(&app.code(&mut browser, &account, SCOPE));
    assert_eq!(clinic.host.admin("DELETE", &format!("/admin/v1/smart/users/{account}"), &[], "").status, 204);
    assert_eq!(clinic.read(tokens.access(), "123").1, "token-inactive");
    assert_eq!(app.refresh(tokens.text("refresh_token")).status, 400);
    assert_eq!(app.authorize(&mut browser, SCOPE).path(), "/oauth/login");
}

//! The token endpoint, introspection and revocation, by the checks of Inferno's kits where a test has the name of one,
//! and by those it leaves out.

use chartgate_tests::host::{Answer, EHR};
use chartgate_tests::smart::{App, Tokens, VERIFIER, challenge};
use serde_json::{Value, json};

use crate::clinic;

const SCOPE: &str = "openid fhirUser launch/patient offline_access patient/*.rs";

fn patient_app() -> (App, Tokens) {
    let (clinic, app) = (clinic(), clinic().register("client_secret_basic", |_| {}));
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let tokens = app.tokens(&app.code(&mut browser, &account, SCOPE));
    (app, tokens)
}

fn error(answer: &Answer) -> (u16, String) {
    (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn smart_token_response_headers() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let answer = app.exchange(&app.code(&mut browser, &account, SCOPE));
    let again = app.refresh(Tokens(answer.json()).text("refresh_token"));
    for answer in [answer, again] {
        assert_eq!((answer.header("cache-control"), answer.header("pragma")), ("no-store", "no-cache"));
        assert!(answer.header("content-type").starts_with("application/json"));
    }
}

#[test]
fn smart_token_response_body() {
    let (_, tokens) = patient_app();
    for member in ["access_token", "token_type", "scope", "refresh_token", "id_token", "patient"] {
        assert!(!tokens.text(member).is_empty());
    }
    assert!(tokens.0["expires_in"].is_u64());
    assert!(tokens.0.get("fhirContext").is_none());
    assert!(tokens.0.as_object().unwrap().values().all(|value| !value.is_null() && value != ""));
}

/// Refreshed twice, without and with its scope; what comes back is what was there, word by word.
#[test]
fn smart_token_refresh_body() {
    let (app, tokens) = patient_app();
    let first = Tokens(app.refresh(tokens.text("refresh_token")).json());
    assert_eq!(first.text("scope"), tokens.text("scope"));
    assert_eq!(first.text("patient"), "123");
    let parameters = [
        ("grant_type", "refresh_token"),
        ("refresh_token", tokens.text("refresh_token")),
        ("scope", tokens.text("scope")),
    ];
    let second = Tokens(app.token(&parameters).json());
    assert_eq!(second.text("scope"), tokens.text("scope"));
    assert_eq!(clinic().read(second.access(), "123").0, "permit");
}

/// A narrower scope narrows one access token; a wider one is refused, and nothing is lost by it.
#[test]
fn a_refresh_narrows_and_never_widens() {
    let (app, tokens) = patient_app();
    let with = |scope: &str| {
        let parameters =
            [("grant_type", "refresh_token"), ("refresh_token", tokens.text("refresh_token")), ("scope", scope)];
        app.token(&parameters)
    };
    let narrow = Tokens(with("openid patient/Condition.r").json());
    assert_eq!(narrow.text("scope"), "openid patient/Condition.r");
    assert_eq!(clinic().read(narrow.access(), "123").0, "deny");
    for wide in ["user/*.rs", "patient/*.cruds", "patient/*.rs system/*.rs", "launch", "nonsense"] {
        assert_eq!(error(&with(wide)), (400, "invalid_scope".into()), "{wide}");
    }
    assert_eq!(Tokens(app.refresh(tokens.text("refresh_token")).json()).text("scope"), SCOPE);
}

#[test]
fn g10_invalid_token_refresh() {
    let (app, _) = patient_app();
    assert_eq!(error(&app.refresh("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed")), (400, "invalid_grant".into()));
}

#[test]
fn smart_backend_services_invalid_grant_type() {
    let (app, _) = patient_app();
    for grant_type in
        ["not_a_grant_type", "client_credentials", "password", "urn:ietf:params:oauth:grant-type:jwt-bearer"]
    {
        let answer = app.token(&[("grant_type", grant_type), ("username", "a"), ("password", "b")]);
        assert_eq!(error(&answer), (400, "unsupported_grant_type".into()), "{grant_type}");
    }
    assert_eq!(error(&app.token(&[])), (400, "invalid_request".into()));
}

#[test]
fn g10_smart_invalid_token_request() {
    let clinic = clinic();
    let app = clinic.register("client_secret_basic", |_| {});
    let mut stranger = app.clone();
    stranger.id = "BAD_CLIENT_ID".into();
    assert_eq!(error(&app.exchange("BAD_CODE")), (400, "invalid_grant".into()));
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let code = app.code(&mut browser, &account, SCOPE);
    let refused = stranger.exchange(&code);
    assert_eq!(error(&refused), (401, "invalid_client".into()));
    assert!(refused.header("www-authenticate").starts_with("Basic"));
    assert_eq!(app.exchange(&code).status, 200, "a stranger spoils nothing");
}

#[test]
fn g10_smart_invalid_pkce_code_verifier_group() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let challenge = challenge(VERIFIER);
    for verifier in [None, Some(""), Some("another-verifier-that-is-long-enough-to-be-one"), Some(challenge.as_str())] {
        let code = app.code(&mut browser, &account, SCOPE);
        let mut parameters =
            vec![("grant_type", "authorization_code"), ("code", &code), ("redirect_uri", &app.redirect_uri)];
        parameters.extend(verifier.map(|verifier| ("code_verifier", verifier)));
        assert_eq!(error(&app.token(&parameters)), (400, "invalid_grant".into()), "{verifier:?}");
        assert_eq!(app.exchange(&code).status, 400, "a code that was tried wrongly is spoilt");
    }
}

/// What a code that comes twice gave is taken back (RFC 6749, section 4.1.2).
#[test]
fn a_replayed_code_takes_everything_along() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let code = app.code(&mut browser, &account, SCOPE);
    let tokens = app.tokens(&code);
    assert_eq!(clinic.read(tokens.access(), "123").0, "permit");
    assert_eq!(error(&app.exchange(&code)), (400, "invalid_grant".into()));
    assert_eq!(clinic.read(tokens.access(), "123").1, "token-inactive");
    assert_eq!(app.refresh(tokens.text("refresh_token")).status, 400);
}

/// A public app's refresh token is good once; the same answer can be had again at once, and a reuse after the next
/// step ends everything.
#[test]
fn a_stolen_refresh_token_ends_its_family() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let first = app.tokens(&app.code(&mut browser, &account, SCOPE)).text("refresh_token").to_owned();
    let second = Tokens(app.refresh(&first).json()).text("refresh_token").to_owned();
    let lost = Tokens(app.refresh(&first).json());
    assert_eq!(lost.text("refresh_token"), second, "the answer that was lost, again");
    let third = Tokens(app.refresh(&second).json());
    assert_eq!(error(&app.refresh(&first)), (400, "invalid_grant".into()));
    assert_eq!(app.refresh(third.text("refresh_token")).status, 400, "the family is gone");
    assert_eq!(clinic.read(third.access(), "123").1, "token-inactive");
}

#[test]
fn a_code_and_a_refresh_token_are_their_clients_alone() {
    let (clinic, app, other) = (clinic(), clinic().public_app(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let code = app.code(&mut browser, &account, SCOPE);
    assert_eq!(error(&other.exchange(&code)), (400, "invalid_grant".into()));
    let tokens = app.tokens(&code);
    assert_eq!(error(&other.refresh(tokens.text("refresh_token"))), (400, "invalid_grant".into()));
    assert_eq!(other.post("/oauth/revoke", &[("token", tokens.access())]).status, 200);
    assert_eq!(clinic.read(tokens.access(), "123").0, "permit", "a stranger's revocation does nothing");
}

#[test]
fn g10_token_revocation() {
    let (app, tokens) = patient_app();
    assert_eq!(app.post("/oauth/revoke", &[("token", tokens.text("refresh_token"))]).status, 200);
    assert_eq!(clinic().read(tokens.access(), "123").1, "token-inactive");
    assert_eq!(error(&app.refresh(tokens.text("refresh_token"))), (400, "invalid_grant".into()));
    assert_eq!(app.post("/oauth/revoke", &[("token", "unknown")]).status, 200);
    // An unknown hint is no reason to leave a token as it is (RFC 7009, section 2.1).
    let (app, tokens) = patient_app();
    let form = [("token", tokens.access()), ("token_type_hint", "pat")];
    assert_eq!(app.post("/oauth/revoke", &form).status, 200);
    assert_eq!(clinic().read(tokens.access(), "123").1, "token-inactive");
}

#[test]
fn g10_token_introspection() {
    let (clinic, (app, tokens)) = (clinic(), patient_app());
    let may = clinic.register("client_secret_basic", |body| body["introspect"] = json!(true));
    let answer = may.post("/oauth/introspect", &[("token", tokens.access())]);
    assert_eq!(answer.status, 200);
    let told = answer.json();
    assert_eq!((&told["active"], &told["client_id"]), (&json!(true), &json!(app.id)));
    assert_eq!((told["scope"].as_str(), told["patient"].as_str()), (Some(SCOPE), Some("123")));
    assert!(told["exp"].is_u64());
    let claims = tokens.claims();
    assert_eq!((&told["iss"], &told["sub"]), (&claims["iss"], &claims["sub"]));
    for nothing in ["invalid_token_value", tokens.text("refresh_token"), tokens.text("id_token")] {
        let answer = may.post("/oauth/introspect", &[("token", nothing)]);
        assert_eq!((answer.status, answer.json()), (200, json!({ "active": false })));
    }
    let may_not = app.post("/oauth/introspect", &[("token", tokens.access())]);
    assert_eq!(error(&may_not), (401, "invalid_client".into()));
    let key = format!("Bearer {EHR}");
    let headers = [("authorization", key.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let body = format!("token={}", tokens.access());
    let by_caller = clinic.host.client().send("POST", clinic.host.public, "/oauth/introspect", &headers, body);
    assert_eq!(by_caller.json()["active"], json!(true));
}

#[test]
fn smart_openid_token_payload() {
    let (app, tokens) = patient_app();
    let claims = tokens.claims();
    assert_eq!((&claims["iss"], &claims["aud"]), (&json!(clinic().issuer), &json!(app.id)));
    for member in ["exp", "iat", "auth_time"] {
        assert!(claims[member].is_u64(), "{member}");
    }
    assert!((1..256).contains(&claims["sub"].as_str().unwrap().len()));
    let header = tokens.text("id_token").split('.').next().unwrap();
    use base64::Engine as _;
    let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(header).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    let keys = clinic().host.client().send("GET", clinic().host.public, "/oauth/jwks", &[], "").json();
    assert_eq!(header["alg"], "RS256");
    assert!(keys["keys"].as_array().unwrap().iter().any(|key| key["kid"] == header["kid"]));
}

/// An ID token says who somebody is. It opens nothing.
#[test]
fn an_id_token_is_no_access_token() {
    let (_, tokens) = patient_app();
    assert_eq!(clinic().read(tokens.text("id_token"), "123").0, "deny");
}

/// What is asked of the policy again: a relationship that ended since.
#[test]
fn rights_that_end_are_not_renewed() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let granted = clinic.world.directory(&["grant", "RelatedPerson/77", "177", "guardian"]);
    assert_eq!(granted.code, Some(0));
    let (mut browser, account) = (clinic.browser(), clinic.account(&["proxy=RelatedPerson/77"]));
    let tokens = app.tokens(&app.code(&mut browser, &account, SCOPE));
    assert_eq!(clinic.read(tokens.access(), "177").0, "permit");
    let unspent = app.code(&mut browser, &account, SCOPE);
    assert_eq!(clinic.world.directory(&["revoke", "RelatedPerson/77", "177", "guardian"]).code, Some(0));
    assert_eq!(clinic.read(tokens.access(), "177").0, "deny");
    assert_eq!(error(&app.refresh(tokens.text("refresh_token"))), (400, "invalid_grant".into()));
    assert_eq!(error(&app.exchange(&unspent)), (400, "invalid_grant".into()));
}

use super::*;
use crate::smart::client::{ClientAuth, ClientKind};
use crate::smart::settings::example;

const GOOD: &str = "response_type=code&client_id=app&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=openid+patient/*.rs\
                    &state=abc%20%2B&aud=https://ehr.example/fhir&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM\
                    &code_challenge_method=S256";

fn client() -> Client {
    Client {
        id: "app".into(),
        name: "App".into(),
        kind: ClientKind::Patient,
        redirect_uris: vec!["https://app.example/cb".into()],
        scope: "openid launch/patient patient/*.rs".into(),
        auth: ClientAuth::None,
        launch_uri: None,
        origins: Vec::new(),
        introspect: false,
        policy_uri: None,
    }
}

fn ask(query: &str) -> Result<AuthorizationRequest, (ErrorCode, &'static str)> {
    let form = Form::parse(query.as_bytes(), &PARAMETERS).unwrap();
    let to = return_to(&form, &client()).unwrap();
    read(&form, &client(), &example(), &to)
}

fn code(query: &str) -> ErrorCode {
    ask(query).unwrap_err().0
}

#[test]
fn a_good_request_is_read_whole() {
    let request = ask(GOOD).unwrap();
    assert_eq!((request.state.as_str(), request.scope.as_str()), ("abc +", "openid patient/*.rs"));
    assert_eq!(request.prompt, Prompt::default());
}

#[test]
fn nothing_is_sent_to_an_address_that_is_not_the_apps() {
    for redirect in
        ["", "redirect_uri=https://evil.example/cb", "redirect_uri=https://app.example/cb/", "redirect_uri="]
    {
        let form = Form::parse(redirect.as_bytes(), &PARAMETERS).unwrap();
        assert_eq!(return_to(&form, &client()), Err(AuthorizeError::RedirectUri), "{redirect}");
    }
}

#[test]
fn only_a_code_can_be_had() {
    for (kind, expected) in [
        ("token", ErrorCode::UnsupportedResponseType),
        ("id_token", ErrorCode::UnsupportedResponseType),
        ("code+id_token", ErrorCode::UnsupportedResponseType),
        ("", ErrorCode::InvalidRequest),
    ] {
        assert_eq!(code(&GOOD.replace("response_type=code", &format!("response_type={kind}"))), expected, "{kind}");
    }
    assert_eq!(code(&format!("{GOOD}&response_mode=fragment")), ErrorCode::InvalidRequest);
}

#[test]
fn a_challenge_is_a_sha_256_and_never_plain() {
    for change in [
        ("&code_challenge_method=S256", ""),
        ("&code_challenge_method=S256", "&code_challenge_method=plain"),
        ("S256", "s256"),
        ("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", ""),
        ("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-c"),
        ("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cMM"),
        ("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw~cM"),
    ] {
        assert_eq!(code(&GOOD.replace(change.0, change.1)), ErrorCode::InvalidRequest, "{change:?}");
    }
}

#[test]
fn the_audience_has_to_be_the_base() {
    let aud = "&aud=https://ehr.example/fhir";
    for other in ["", "&aud=", "&aud=https://inferno.healthit.gov/invalid_aud", "&aud=https://ehr.example"] {
        assert_eq!(code(&GOOD.replace(aud, other)), ErrorCode::InvalidRequest, "{other}");
    }
    assert!(ask(&GOOD.replace(aud, "&resource=https://ehr.example/fhir/")).is_ok());
    assert_eq!(code(&format!("{GOOD}&resource=https://other.example")), ErrorCode::InvalidRequest);
}

#[test]
fn state_is_wanted_and_comes_back_as_it_was() {
    assert_eq!(code(&GOOD.replace("&state=abc%20%2B", "")), ErrorCode::InvalidRequest);
    assert_eq!(code(&GOOD.replace("abc%20%2B", &"x".repeat(2_049))), ErrorCode::InvalidRequest);
    assert!(ask(&GOOD.replace("abc%20%2B", &"x".repeat(2_048))).is_ok());
}

#[test]
fn a_scope_beyond_the_registration_is_left_out() {
    let scoped = |scope: &str| ask(&GOOD.replace("openid+patient/*.rs", scope));
    assert_eq!(scoped("openid+user/*.rs+system/*.rs+patient/Goal.rs").unwrap().scope, "openid patient/Goal.rs");
    for nothing in ["user/*.rs", "system/*.*", "", "%22"] {
        assert_eq!(scoped(nothing).unwrap_err().0, ErrorCode::InvalidScope, "{nothing}");
    }
}

#[test]
fn request_objects_and_registrations_are_refused_by_name() {
    for (name, expected) in [
        ("request", "request_not_supported"),
        ("request_uri", "request_uri_not_supported"),
        ("registration", "registration_not_supported"),
    ] {
        assert_eq!(code(&format!("{GOOD}&{name}=x")).code(), expected);
    }
}

#[test]
fn prompts_are_known_words_and_none_stands_alone() {
    let prompt = |words: &str| ask(&format!("{GOOD}&prompt={words}"));
    assert!(prompt("login+consent+select_account").unwrap().prompt.consent);
    assert!(prompt("none").unwrap().prompt.none);
    for bad in ["none+login", "create", "Login"] {
        assert!(prompt(bad).is_err(), "{bad}");
    }
    assert!(ask(&format!("{GOOD}&max_age=soon")).is_err());
    assert_eq!(ask(&format!("{GOOD}&max_age=0")).unwrap().max_age_s, Some(0));
}

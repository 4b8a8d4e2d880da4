//! The authorization request: what an app asks for, checked before anybody signs in.
//!
//! RFC 6749 section 4.1.1, SMART App Launch 2.2 "Request authorization code", OpenID Connect Core section 3.1.2.1.

use serde::{Deserialize, Serialize};

use super::client::Client;
use super::error::{AuthorizeError, ErrorCode};
use super::form::Form;
use super::scopes;
use super::settings::Settings;

/// The parameters that mean something: each at most once.
pub const PARAMETERS: [&str; 22] = [
    "response_type",
    "response_mode",
    "client_id",
    "redirect_uri",
    "scope",
    "state",
    "aud",
    "resource",
    "launch",
    "code_challenge",
    "code_challenge_method",
    "nonce",
    "prompt",
    "max_age",
    "login_hint",
    "request",
    "request_uri",
    "registration",
    "id_token_hint",
    "display",
    "ui_locales",
    "acr_values",
];

/// The longest parameter kept.
const LONGEST: usize = 2_048;
/// The longest ID token: it holds a `nonce` as long as any parameter.
const TOKEN_LONGEST: usize = 8 << 10;

/// A request that can go on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuthorizationRequest {
    /// which app
    pub client: String,
    /// where it wants its answer
    pub redirect_uri: String,
    /// what it gets back as it was
    pub state: String,
    /// of what it asks for, what its registration allows
    pub scope: String,
    /// SHA-256 of the verifier, base64url
    pub challenge: String,
    /// for the ID token
    pub nonce: Option<String>,
    /// of an EHR launch
    pub launch: Option<String>,
    /// the person has to be asked again: who they are, what they allow; or may not be asked at all
    pub prompt: Prompt,
    /// how old a login may be, seconds
    pub max_age_s: Option<u64>,
    /// who the app thinks it is
    pub login_hint: Option<String>,
    /// an ID token of whom the app expects
    pub id_token_hint: Option<String>,
}

/// What of the person may or has to be asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompt {
    /// nothing
    pub none: bool,
    /// who they are, even when they are signed in
    pub login: bool,
    /// what they allow, even when they did before
    pub consent: bool,
    /// for whom, even when it is plain
    pub select: bool,
}

/// Where an answer goes, as soon as that is known to be safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Return {
    /// registered address
    pub redirect_uri: String,
    /// as it was sent
    pub state: Option<String>,
}

/// The address an answer may go to.
///
/// SECURITY: until this has answered, nothing is sent anywhere: an error is a page (RFC 6749, section 4.1.2.1).
pub fn return_to(form: &Form, client: &Client) -> Result<Return, AuthorizeError> {
    let asked = form.get("redirect_uri").ok_or(AuthorizeError::RedirectUri)?;
    let registered = client.redirect_uri(asked).ok_or(AuthorizeError::RedirectUri)?;
    Ok(Return { redirect_uri: registered.to_owned(), state: form.get("state").map(str::to_owned) })
}

/// Check the rest.
pub fn read(
    form: &Form,
    client: &Client,
    settings: &Settings,
    to: &Return,
) -> Result<AuthorizationRequest, (ErrorCode, &'static str)> {
    for (name, code) in [
        ("request", ErrorCode::RequestNotSupported),
        ("request_uri", ErrorCode::RequestUriNotSupported),
        ("registration", ErrorCode::RegistrationNotSupported),
    ] {
        if form.has(name) {
            return Err((code, "this parameter is not supported"));
        }
    }
    let invalid = |text| (ErrorCode::InvalidRequest, text);
    match form.get("response_type") {
        Some("code") => {}
        Some(_) => return Err((ErrorCode::UnsupportedResponseType, "`response_type` has to be `code`")),
        None => return Err(invalid("`response_type` is missing")),
    }
    if form.get("response_mode").is_some_and(|mode| mode != "query") {
        return Err(invalid("`response_mode` has to be `query`"));
    }
    let long = |name: &&str| form.get(name).is_some_and(|value| value.len() > LONGEST);
    if ["state", "nonce", "launch", "login_hint", "aud"].iter().any(long) {
        return Err(invalid("a parameter is longer than 2048 bytes"));
    }
    if form.get("id_token_hint").is_some_and(|token| token.len() > TOKEN_LONGEST) {
        return Err(invalid("`id_token_hint` is longer than 8192 bytes"));
    }
    let state = to.state.clone().ok_or(invalid("`state` is missing"))?;
    audience(form, settings)?;
    let prompt =
        prompt(form).ok_or(invalid("`prompt` is neither `none` nor some of login, consent, select_account"))?;
    let max_age_s = form.get("max_age").map(str::parse).transpose().map_err(|_| invalid("`max_age` is no number"))?;
    Ok(AuthorizationRequest {
        client: client.id.clone(),
        redirect_uri: to.redirect_uri.clone(),
        state,
        scope: scope(form, client)?,
        challenge: challenge(form)?,
        nonce: form.get("nonce").map(str::to_owned),
        launch: form.get("launch").map(str::to_owned),
        prompt,
        max_age_s,
        login_hint: form.get("login_hint").map(str::to_owned),
        id_token_hint: form.get("id_token_hint").map(str::to_owned),
    })
}

/// SECURITY: a token for another server must not be had here, nor one for here by an app that was lured to believe
/// it talks to another (SMART: `aud`; RFC 8707: `resource`).
fn audience(form: &Form, settings: &Settings) -> Result<(), (ErrorCode, &'static str)> {
    let named = [form.get("aud"), form.get("resource")];
    if named.iter().all(Option::is_none) {
        return Err((ErrorCode::InvalidRequest, "`aud` is missing: the FHIR base the token is for"));
    }
    match named.iter().flatten().all(|aud| settings.is_audience(aud)) {
        true => Ok(()),
        false => Err((ErrorCode::InvalidRequest, "`aud` is not the FHIR base this server protects")),
    }
}

fn scope(form: &Form, client: &Client) -> Result<String, (ErrorCode, &'static str)> {
    let invalid = |text| Err((ErrorCode::InvalidScope, text));
    let Some(asked) = form.get("scope") else { return invalid("`scope` is missing") };
    if asked.len() > 8 << 10 || !scopes::is_scope_string(asked) {
        return invalid("`scope` is longer than 8 KiB or holds characters no scope has");
    }
    let allowed = scopes::within(asked, &client.scope);
    if allowed.is_empty() { invalid("this app may have none of these scopes") } else { Ok(allowed) }
}

/// SECURITY: always, and never `plain`, which is what an absent method would mean (RFC 7636, section 4.3).
fn challenge(form: &Form) -> Result<String, (ErrorCode, &'static str)> {
    let invalid = |text| Err((ErrorCode::InvalidRequest, text));
    let Some(challenge) = form.get("code_challenge") else { return invalid("`code_challenge` is missing") };
    if form.get("code_challenge_method") != Some("S256") {
        return invalid("`code_challenge_method` has to be `S256`");
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    match challenge.len() == 43 && challenge.bytes().all(plain) {
        true => Ok(challenge.to_owned()),
        false => invalid("`code_challenge` is not the base64url of a SHA-256"),
    }
}

fn prompt(form: &Form) -> Option<Prompt> {
    let mut prompt = Prompt::default();
    for word in form.get("prompt").unwrap_or_default().split(' ').filter(|word| !word.is_empty()) {
        match word {
            "none" => prompt.none = true,
            "login" => prompt.login = true,
            "consent" => prompt.consent = true,
            "select_account" => prompt.select = true,
            _ => return None,
        }
    }
    let asks = prompt.login || prompt.consent || prompt.select;
    (!(prompt.none && asks)).then_some(prompt)
}

#[cfg(test)]
#[path = "request_tests.rs"]
mod tests;

//! An app, as far as it talks to the authorization server.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Browser, Clinic, Page};
use crate::host::{Answer, Client};

/// A registered app.
#[derive(Debug, Clone)]
pub struct App {
    /// OAuth client identifier
    pub id: String,
    /// its secret
    pub secret: Option<String>,
    /// where people come back to
    pub redirect_uri: String,
    at: std::net::SocketAddr,
    issuer: String,
    base: String,
    client: Client,
}

/// What an app got.
#[derive(Debug, Clone)]
pub struct Tokens(pub Value);

/// The verifier of every request here.
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// The challenge of a verifier.
pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))
}

impl App {
    pub(super) fn new(clinic: &Clinic, client: &Value, secret: Option<String>) -> Self {
        Self {
            id: client["id"].as_str().unwrap().to_owned(),
            secret,
            redirect_uri: client["redirect_uris"][0].as_str().unwrap().to_owned(),
            at: clinic.host.public,
            issuer: clinic.issuer.clone(),
            base: clinic.base().to_owned(),
            client: Client::new(),
        }
    }

    /// The address that asks for a code; `change` edits the parameters.
    pub fn authorize_url(&self, scope: &str, change: impl FnOnce(&mut Vec<(String, String)>)) -> String {
        let pairs = [
            ("response_type", "code"),
            ("client_id", &self.id),
            ("redirect_uri", &self.redirect_uri),
            ("scope", scope),
            ("state", "98wrghuwuogerg97"),
            ("aud", &self.base),
            ("code_challenge", &challenge(VERIFIER)),
            ("code_challenge_method", "S256"),
        ];
        let mut pairs: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        change(&mut pairs);
        let mut url = reqwest::Url::parse(&format!("{}/oauth/authorize", self.issuer)).unwrap();
        url.query_pairs_mut().extend_pairs(&pairs);
        url.to_string()
    }

    /// Ask for a code.
    pub fn authorize(&self, browser: &mut Browser, scope: &str) -> Page {
        browser.get(&self.authorize_url(scope, |_| {}))
    }

    /// From the first page to the code, as somebody who allows everything.
    pub fn code(&self, browser: &mut Browser, account: &str, scope: &str) -> String {
        let page = self.authorize(browser, scope);
        self.through(browser, page, account).must("code")
    }

    /// Sign in where that is asked for, allow where that is asked for.
    pub fn through(&self, browser: &mut Browser, page: Page, account: &str) -> Page {
        let mut page = page;
        if page.path() == "/oauth/login" {
            page = browser.sign_in(&page, account);
        }
        if page.path() == "/oauth/approve" && page.status == 200 {
            page = browser.allow(&page);
        }
        page
    }

    /// `POST /oauth/token` with these parameters, and the app's own proof of who it is.
    pub fn token(&self, parameters: &[(&str, &str)]) -> Answer {
        self.post("/oauth/token", parameters)
    }

    /// A request to an endpoint, with the app's proof.
    pub fn post(&self, path: &str, parameters: &[(&str, &str)]) -> Answer {
        let mut all = parameters.to_vec();
        let mut headers = vec![("content-type", "application/x-www-form-urlencoded".to_owned())];
        match &self.secret {
            Some(secret) => headers.push(("authorization", basic(&self.id, secret))),
            None if !all.iter().any(|(name, _)| *name == "client_id" || *name == "client_assertion") => {
                all.push(("client_id", &self.id));
            }
            None => {}
        }
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.client.send("POST", self.at, path, &headers, form(&all))
    }

    /// Exchange a code.
    pub fn exchange(&self, code: &str) -> Answer {
        let parameters = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", &self.redirect_uri),
            ("code_verifier", VERIFIER),
        ];
        self.token(&parameters)
    }

    /// The tokens of a code.
    pub fn tokens(&self, code: &str) -> Tokens {
        let answer = self.exchange(code);
        assert_eq!(answer.status, 200, "{}", answer.text);
        Tokens(answer.json())
    }

    /// Use a refresh token.
    pub fn refresh(&self, token: &str) -> Answer {
        self.token(&[("grant_type", "refresh_token"), ("refresh_token", token)])
    }
}

/// A Basic header, as most programs send it.
pub fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")))
}

/// A form body.
pub fn form(pairs: &[(&str, &str)]) -> String {
    let mut url = reqwest::Url::parse("http://x/").unwrap();
    url.query_pairs_mut().extend_pairs(pairs);
    url.query().unwrap_or_default().to_owned()
}

impl Tokens {
    /// A text member.
    pub fn text(&self, name: &str) -> &str {
        self.0[name].as_str().unwrap_or_else(|| panic!("no `{name}` in {}", self.0))
    }

    /// The access token.
    pub fn access(&self) -> &str {
        self.text("access_token")
    }

    /// The scopes, in order.
    pub fn scopes(&self) -> Vec<&str> {
        self.text("scope").split(' ').collect()
    }

    /// The claims of the ID token, unverified.
    pub fn claims(&self) -> Value {
        let payload = self.text("id_token").split('.').nth(1).unwrap();
        serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
    }
}

//! The token endpoint: a code, then refresh tokens, against access tokens. Nothing else.
//!
//! RFC 6749 sections 4.1.3 and 6, RFC 7636 section 4.5, RFC 9700 section 4.14.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate_model::Millis;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::authorize::{CodeBody, GrantBody};
use super::client::Client;
use super::error::{ErrorCode, OAuthError};
use super::form::Form;
use super::secret::{Secret, digest, successor};
use super::settings::{GRACE_MS, TokenFormat};
use super::{Credentials, Server, scopes};
use crate::grant::{GrantAnswer, Granted, Stage};
use crate::store::oauth::{CodeRow, GrantRow, NewAccess, NewRefresh, RefreshRow, Spent};

pub use super::answer::TokenResponse;

/// The parameters that mean something: each at most once.
pub const TOKEN_PARAMETERS: [&str; 12] = [
    "grant_type",
    "code",
    "redirect_uri",
    "code_verifier",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "refresh_token",
    "scope",
    "token",
    "token_type_hint",
];

/// An access token that is about to be given out.
struct Issue {
    text: String,
    access: NewAccess,
}

impl Server {
    /// Answer a token request.
    pub async fn token(&self, given: &Credentials<'_>) -> Result<TokenResponse, OAuthError> {
        match given.form.get("grant_type") {
            Some("authorization_code") => {
                let client = self.authenticate(given).await?;
                self.exchange(&client, given.form).await
            }
            Some("refresh_token") => {
                let client = match self.nameless(given)? {
                    Some(client) => client,
                    None => self.authenticate(given).await?,
                };
                self.refresh(&client, given.form).await
            }
            Some(_) => {
                let text = "only `authorization_code` and its `refresh_token` are taken";
                Err(OAuthError::new(ErrorCode::UnsupportedGrantType, text))
            }
            None => Err(OAuthError::new(ErrorCode::InvalidRequest, "`grant_type` is missing")),
        }
    }

    /// The public client of a refresh token that comes alone: SMART has an app send nothing else (App Launch 2.2,
    /// "Refresh access token"), and the browser library of SMART does just that.
    ///
    /// SECURITY: a name would prove nothing of such a client. Every other one has to prove who it is.
    fn nameless(&self, given: &Credentials<'_>) -> Result<Option<Client>, OAuthError> {
        let says_who = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];
        if given.authorization.is_some() || says_who.iter().any(|name| given.form.has(name)) {
            return Ok(None);
        }
        let Some(token) = given.form.get("refresh_token") else { return Ok(None) };
        let row = self.store.refresh_token(&self.settings.tenant, &digest(token))?.ok_or_else(no_refresh)?;
        Ok(self.client(&row.grant.client)?.filter(Client::is_public))
    }

    async fn exchange(&self, client: &Client, form: &Form) -> Result<TokenResponse, OAuthError> {
        let Some(code) = form.get("code") else {
            return Err(OAuthError::new(ErrorCode::InvalidRequest, "`code` is missing"));
        };
        let now = self.now();
        let row = self.store.code(&self.settings.tenant, &digest(code))?;
        // A code of another client stays as it is: whoever sends it must not be able to spoil it.
        let row = row.filter(|row| row.grant.client == client.id).ok_or_else(no_code)?;
        if row.expires <= now && row.used.is_none() {
            return Err(no_code());
        }
        // SECURITY: a code that comes twice has been in the wrong hands; what it was exchanged for ends (RFC 6749,
        // section 4.1.2).
        if row.used.is_some() || row.grant.revoked.is_some() || !is_bound(&row, form)? {
            self.store.spoil_code(&row, now)?;
            return Err(no_code());
        }
        let body: GrantBody = serde_json::from_str(&row.grant.body)?;
        let granted = match self.again(Stage::Code, client, &row.grant, &body, &body.scope).await? {
            Some(granted) => granted,
            None => {
                self.store.spoil_code(&row, now)?;
                return Err(no_code());
            }
        };
        let issue = self.access_token(&row.grant, &body, &granted, client)?;
        let refresh = lasts(granted.scope()).then(|| Secret::draw(&self.edge)).transpose()?;
        let kept =
            refresh.as_ref().map(|secret| NewRefresh { id: secret.digest(), expires: self.refresh_end(&granted) });
        match self.store.spend_code(&row, &issue.access, kept.as_ref(), now)? {
            Spent::Done => self.answer(client, &row.grant, &body, &granted, issue.parts(), refresh),
            Spent::Gone => {
                self.store.spoil_code(&row, now)?;
                Err(no_code())
            }
        }
    }

    async fn refresh(&self, client: &Client, form: &Form) -> Result<TokenResponse, OAuthError> {
        let Some(token) = form.get("refresh_token") else {
            return Err(OAuthError::new(ErrorCode::InvalidRequest, "`refresh_token` is missing"));
        };
        let now = self.now();
        let row = self.store.refresh_token(&self.settings.tenant, &digest(token))?;
        let row = row.filter(|row| row.grant.client == client.id).ok_or_else(no_refresh)?;
        let body: GrantBody = serde_json::from_str(&row.grant.body)?;
        if row.grant.revoked.is_some() || row.expires <= now || !self.session_lives(&row.grant)? {
            return Err(no_refresh());
        }
        let next = successor(body.seed.as_bytes(), token);
        let repeats = row.used.is_some();
        if repeats && !self.may_repeat(&row, &next)? {
            // SECURITY: a refresh token that comes again has been in the wrong hands (RFC 9700, section 4.14.2).
            tracing::warn!(client = %client.id, grant = %row.grant.id, "a used refresh token came again: its grant ends");
            self.store.revoke_grant(&row.grant.id, now)?;
            return Err(no_refresh());
        }
        let wanted = form.get("scope").unwrap_or(&body.scope);
        if !scopes::is_within(wanted, &body.scope) || scopes::tokens(wanted).is_empty() {
            return Err(OAuthError::new(ErrorCode::InvalidScope, "`scope` asks for more than was granted"));
        }
        let granted = self.again(Stage::Refresh, client, &row.grant, &body, wanted).await?.ok_or_else(no_refresh)?;
        let issue = self.access_token(&row.grant, &body, &granted, client)?;
        let until = self.refresh_end(&granted);
        let (spent, refresh) = if repeats {
            (self.store.repeat_refresh(&row, &issue.access, now)?, Some(next))
        } else if client.is_public() {
            let kept = NewRefresh { id: next.digest(), expires: until };
            (self.store.spend_refresh_token(&row, &issue.access, Some(&kept), until, now)?, Some(next))
        } else {
            (self.store.spend_refresh_token(&row, &issue.access, None, until, now)?, None)
        };
        match spent {
            Spent::Done => self.answer(client, &row.grant, &body, &granted, issue.parts(), refresh),
            Spent::Gone => Err(no_refresh()),
        }
    }

    /// Whether the answer to a refresh may be given again: soon after, and while its refresh token was not used.
    fn may_repeat(&self, row: &RefreshRow, next: &Secret) -> Result<bool, OAuthError> {
        let soon = row.used.is_some_and(|used| self.now() <= used.plus_ms(GRACE_MS));
        let next = self.store.refresh_token(&self.settings.tenant, &next.digest())?;
        Ok(soon && next.is_some_and(|next| next.used.is_none()))
    }

    /// Whether the session a grant ends with goes on; a grant without one outlives it.
    fn session_lives(&self, grant: &GrantRow) -> Result<bool, OAuthError> {
        let Some(session) = &grant.session else { return Ok(true) };
        Ok(self.store.online(&self.settings.tenant, session, self.now())?.is_some())
    }

    /// Ask the policy again, with the facts of now: rights that ended since are not given out again.
    async fn again(
        &self,
        stage: Stage,
        client: &Client,
        grant: &GrantRow,
        body: &GrantBody,
        scope: &str,
    ) -> Result<Option<Granted>, OAuthError> {
        // Whose account was closed gets nothing more, by whatever way the grant outlived it.
        if self.account(&grant.account)?.is_none() {
            return Ok(None);
        }
        // What the registration does not allow any more is not granted any more.
        let scope = scopes::within(scope, &client.scope);
        let request = self.grant_request(&client.id, &body.identity, &scope, body.patient.clone());
        match self.ask(stage, &request).await {
            // INVARIANT: a token is for the patient that was approved, or there is no token.
            GrantAnswer::Granted(granted) if granted.patient() == body.patient.as_deref() => Ok(Some(granted)),
            GrantAnswer::Granted(granted) if granted.patient().is_none() && !scopes::wants_patient(granted.scope()) => {
                Ok(Some(granted))
            }
            GrantAnswer::Granted(_) | GrantAnswer::Choose { .. } | GrantAnswer::Refused { .. } => Ok(None),
            GrantAnswer::Indeterminate { reason } => {
                tracing::warn!(client = %client.id, %reason, "no decision on a grant");
                Err(OAuthError::new(ErrorCode::TemporarilyUnavailable, "no decision could be reached"))
            }
        }
    }

    fn access_token(
        &self,
        grant: &GrantRow,
        body: &GrantBody,
        granted: &Granted,
        client: &Client,
    ) -> Result<Issue, OAuthError> {
        let now = self.now();
        let longest = now.plus_ms(self.settings.access_token_s * 1_000);
        let longest = match &grant.session {
            Some(session) => self.within_session(session, longest)?.ok_or_else(no_refresh)?,
            None => longest,
        };
        // SECURITY: no longer than what it rests on.
        let expires = granted.expires().map_or(longest, |end| end.min(longest));
        if expires.0 < now.0 + 1_000 {
            return Err(no_code());
        }
        let text = match self.settings.format {
            TokenFormat::Opaque => Secret::draw(&self.edge)?.text().to_owned(),
            TokenFormat::Jwt => self.jwt(grant, body, granted, client, expires)?,
        };
        let (scope, patient) = (granted.scope().to_owned(), granted.patient().map(str::to_owned));
        let access = NewAccess { id: digest(&text), scope, patient, issued: now, expires };
        Ok(Issue { text, access })
    }

    /// When a refresh token made now ends: unused for long, or with what the grant rests on.
    fn refresh_end(&self, granted: &Granted) -> Millis {
        let longest = self.now().plus_ms(self.settings.refresh_ms);
        granted.expires().map_or(longest, |end| end.min(longest))
    }
}

impl Issue {
    fn parts(self) -> (String, NewAccess) {
        (self.text, self.access)
    }
}

fn no_code() -> OAuthError {
    OAuthError::new(ErrorCode::InvalidGrant, "the code is unknown, used, too old or not for this request")
}

fn no_refresh() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidGrant,
        "the refresh token is unknown, used, revoked, too old or not this client's",
    )
}

/// Whether an app may go on without asking for a new approval.
fn lasts(scope: &str) -> bool {
    scopes::has(scope, "offline_access") || scopes::has(scope, "online_access")
}

/// Whether the one who brings a code is the one who asked for it: the same address, and the verifier of the challenge.
fn is_bound(row: &CodeRow, form: &Form) -> Result<bool, OAuthError> {
    let body: CodeBody = serde_json::from_str(&row.body)?;
    let same_address = form.get("redirect_uri") == Some(&body.redirect_uri);
    Ok(same_address && form.get("code_verifier").is_some_and(|verifier| answers(verifier, &body.challenge)))
}

/// RFC 7636, section 4.6: S256 and nothing else.
fn answers(verifier: &str, challenge: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    let sound = (43..=128).contains(&verifier.len()) && verifier.bytes().all(plain);
    let hashed = URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()));
    sound && bool::from(hashed.as_bytes().ct_eq(challenge.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verifier_is_the_one_that_was_hashed() {
        // the pair of RFC 7636, appendix B
        let (verifier, challenge) =
            ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert!(answers(verifier, challenge));
        for wrong in ["", challenge, "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXl", &verifier.repeat(3)] {
            assert!(!answers(wrong, challenge), "{wrong}");
        }
        let short = "a".repeat(42);
        assert!(!answers(&short, &URL_SAFE_NO_PAD.encode(Sha256::digest(short.as_bytes()))));
        for length in [43, 128] {
            let verifier = "a".repeat(length);
            assert!(answers(&verifier, &URL_SAFE_NO_PAD.encode(Sha256::digest(verifier.as_bytes()))));
        }
    }

    #[test]
    fn without_online_or_offline_access_nothing_lasts() {
        assert!(lasts("openid offline_access") && lasts("online_access"));
        assert!(!lasts("openid launch patient/*.rs"));
    }
}

//! What a token is worth: introspection (RFC 7662, with the members SMART asks for), revocation (RFC 7009), and for
//! this host's own decisions.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate_model::{Subject, SubjectKind};
use serde_json::{Map, Value, json};

use super::authorize::GrantBody;
use super::client::Client;
use super::error::{ErrorCode, OAuthError};
use super::secret::digest;
use super::{Credentials, Server, scopes};
use crate::store::StoreError;
use crate::store::oauth::AccessRow;

/// The scope by which a bearer token may ask about tokens.
const MAY_ASK: &str = "__introspect";

/// What introspection answers.
pub type Introspection = Map<String, Value>;

/// An access token that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// who asks, through which app, with which scopes
    pub subject: Subject,
    /// whose people it is about
    pub tenant: String,
    /// the base it is for
    pub base: String,
}

impl Server {
    /// What an access token of this server is worth now; `None` when it is none, or counts no more.
    pub fn verify(&self, token: &str) -> Result<Option<Verified>, StoreError> {
        let Some(row) = self.access_row(token)? else { return Ok(None) };
        let Ok(body) = serde_json::from_str::<GrantBody>(&row.grant.body) else {
            return Err(StoreError::Unreadable { column: "grants.body" });
        };
        let encounter = body.launch.as_ref().and_then(|launch| launch.encounter.clone());
        let patient = row.patient;
        let subject = Subject {
            kind: SubjectKind::from(body.identity.kind),
            user: body.identity.user,
            client: row.grant.client.clone(),
            scope: row.scope,
            encounter: encounter.filter(|_| patient.is_some()),
            patient,
            expires: Some(row.expires),
        };
        let settings = &self.settings;
        Ok(Some(Verified { subject, tenant: settings.tenant.clone(), base: settings.base.name.clone() }))
    }

    /// Whether a token claims to be of this server, so that nobody else need be asked.
    pub fn is_issuer_of(&self, token: &str) -> bool {
        payload(token).is_some_and(|claims| claims.get("iss") == Some(&json!(self.settings.issuer)))
    }

    /// A token is found by the digest of its whole text, a JWT like any other: nothing of what it says is believed.
    fn access_row(&self, token: &str) -> Result<Option<AccessRow>, StoreError> {
        self.store.access_token(&self.settings.tenant, &digest(token), self.now())
    }

    /// Answer an introspection. `is_caller` says that the one who asks was known by other means.
    pub async fn introspect(&self, given: &Credentials<'_>, is_caller: bool) -> Result<Introspection, OAuthError> {
        if !is_caller {
            self.may_introspect(given).await?;
        }
        let Some(token) = given.form.get("token") else {
            return Err(OAuthError::new(ErrorCode::InvalidRequest, "`token` is missing"));
        };
        let inactive = || Map::from_iter([("active".to_owned(), json!(false))]);
        let Some(row) = self.access_row(token)? else { return Ok(inactive()) };
        let body: GrantBody = serde_json::from_str(&row.grant.body)?;
        let mut answer = self.context(&body, &row.scope, row.patient.as_deref());
        let mut put = |name: &str, value: Value| answer.insert(name.to_owned(), value);
        put("active", json!(true));
        put("scope", json!(row.scope));
        put("client_id", json!(row.grant.client));
        put("token_type", json!("Bearer"));
        put("exp", json!(row.expires.0 / 1_000));
        put("iat", json!(row.issued.0 / 1_000));
        put("sub", json!(self.subject(&row.grant.account, &row.grant.user)));
        put("aud", json!(self.settings.base.url));
        put("iss", json!(self.settings.issuer));
        if let Some(user) = self.fhir_user(&body, &row.scope) {
            put("fhirUser", json!(user));
        }
        Ok(answer)
    }

    /// Whoever asks has to be allowed to: by its registration, or by a token with the scope for it.
    async fn may_introspect(&self, given: &Credentials<'_>) -> Result<(), OAuthError> {
        let refused = || OAuthError::new(ErrorCode::InvalidClient, "this client may not ask about tokens");
        let bearer = given.authorization.and_then(|header| header.split_once(' '));
        if let Some((_, token)) = bearer.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) {
            let row = self.access_row(token)?;
            let invalid = || OAuthError::new(ErrorCode::InvalidToken, "the bearer token does not count");
            let row = row.ok_or_else(invalid)?;
            let client = self.client(&row.grant.client)?.filter(|client| client.introspect);
            return client.filter(|_| scopes::has(&row.scope, MAY_ASK)).map(drop).ok_or_else(invalid);
        }
        let client = self.authenticate(given).await?;
        if client.introspect { Ok(()) } else { Err(refused()) }
    }

    /// Take a token back. One that is unknown, or another client's, is answered as if it had been (RFC 7009,
    /// section 2.2).
    pub async fn revoke(&self, given: &Credentials<'_>) -> Result<(), OAuthError> {
        let client = self.authenticate(given).await?;
        let Some(token) = given.form.get("token") else {
            return Err(OAuthError::new(ErrorCode::InvalidRequest, "`token` is missing"));
        };
        if !self.revoke_refresh(&client, token)? {
            self.revoke_access(&client, token)?;
        }
        Ok(())
    }

    /// With a refresh token its whole grant ends.
    fn revoke_refresh(&self, client: &Client, token: &str) -> Result<bool, OAuthError> {
        let row = self.store.refresh_token(&self.settings.tenant, &digest(token))?;
        let Some(row) = row.filter(|row| row.grant.client == client.id) else { return Ok(false) };
        self.store.revoke_grant(&row.grant.id, self.now())?;
        Ok(true)
    }

    fn revoke_access(&self, client: &Client, token: &str) -> Result<(), OAuthError> {
        let owned = self.access_row(token)?.is_some_and(|row| row.grant.client == client.id);
        match owned {
            true => Ok(self.store.revoke_access_token(&digest(token), self.now())?),
            false => Ok(()),
        }
    }
}

/// The claims of what looks like a JWT, unverified.
fn payload(token: &str) -> Option<Map<String, Value>> {
    let mut parts = token.split('.');
    let (Some(_), Some(payload), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next()) else {
        return None;
    };
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
}

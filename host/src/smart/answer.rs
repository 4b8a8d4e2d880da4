//! What an app is told with its tokens (SMART App Launch 2.2, "Response"; OpenID Connect Core, section 3.1.3.3).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate_model::Millis;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::authorize::GrantBody;
use super::client::Client;
use super::error::OAuthError;
use super::secret::Secret;
use super::{Server, scopes};
use crate::grant::Granted;
use crate::store::oauth::{GrantRow, NewAccess};

/// A successful answer of the token endpoint. What is absent is left out.
#[derive(Debug, Clone, Serialize)]
pub struct TokenResponse {
    access_token: String,
    token_type: &'static str,
    /// seconds
    expires_in: u64,
    scope: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
    #[serde(flatten)]
    context: Map<String, Value>,
}

impl Server {
    pub(super) fn answer(
        &self,
        client: &Client,
        grant: &GrantRow,
        body: &GrantBody,
        granted: &Granted,
        (text, access): (String, NewAccess),
        refresh: Option<Secret>,
    ) -> Result<TokenResponse, OAuthError> {
        let id_token =
            scopes::has(granted.scope(), "openid").then(|| self.id_token(client, grant, body, granted, &text));
        Ok(TokenResponse {
            access_token: text,
            token_type: "Bearer",
            expires_in: access.expires.0.saturating_sub(access.issued.0) / 1_000,
            scope: granted.scope().to_owned(),
            refresh_token: refresh.map(|secret| secret.text().to_owned()),
            id_token: id_token.transpose()?,
            context: self.context(body, granted.scope(), granted.patient()),
        })
    }

    /// The launch context: what the app has to know about where it was opened.
    pub(super) fn context(&self, body: &GrantBody, scope: &str, patient: Option<&str>) -> Map<String, Value> {
        let mut context = Map::new();
        context.extend(patient.map(|id| ("patient".to_owned(), json!(id))));
        let Some(launch) = &body.launch else { return context };
        let has = |token: &str| scopes::has(scope, token);
        let whole = has("launch");
        if let Some(encounter) = launch.encounter.as_ref().filter(|_| whole || has("launch/encounter")) {
            // An encounter is somebody's: without its patient it tells nothing an app may know.
            context.extend(patient.map(|_| ("encounter".to_owned(), json!(encounter))));
        }
        if whole && !launch.fhir_context.is_empty() {
            context.insert("fhirContext".into(), json!(launch.fhir_context));
        }
        context.extend(launch.intent.as_ref().map(|intent| ("intent".to_owned(), json!(intent))));
        context.insert("need_patient_banner".into(), json!(launch.need_patient_banner));
        let style = launch.smart_style_url.clone().unwrap_or_else(|| self.settings.url("/oauth/smart-style.json"));
        context.insert("smart_style_url".into(), json!(style));
        context
    }

    fn id_token(
        &self,
        client: &Client,
        grant: &GrantRow,
        body: &GrantBody,
        granted: &Granted,
        access: &str,
    ) -> Result<String, OAuthError> {
        let (now, mut claims) = (self.now(), Map::new());
        claims.insert("iss".into(), json!(self.settings.issuer));
        claims.insert("sub".into(), json!(self.subject(&grant.account, &grant.user)));
        claims.insert("aud".into(), json!(client.id));
        claims.insert("iat".into(), json!(now.0 / 1_000));
        claims.insert("exp".into(), json!(now.0 / 1_000 + self.settings.access_token_s));
        claims.extend(body.nonce.as_ref().map(|nonce| ("nonce".to_owned(), json!(nonce))));
        claims.insert("auth_time".into(), json!(body.auth_ms / 1_000));
        claims.insert("at_hash".into(), json!(half_hash(access)));
        claims.extend(self.fhir_user(body, granted.scope()).map(|url| ("fhirUser".to_owned(), json!(url))));
        Ok(self.keyring.sign(&self.store, "JWT", &claims)?)
    }

    /// The user's own resource, where the app may know it.
    pub(super) fn fhir_user(&self, body: &GrantBody, scope: &str) -> Option<String> {
        let may = scopes::has(scope, "openid") && (scopes::has(scope, "fhirUser") || scopes::has(scope, "profile"));
        may.then(|| format!("{}/{}", self.settings.base.url, body.identity.user))
    }

    /// The name of a user at all apps: it stays, and tells nothing (OpenID Connect Core, section 2), not even to who
    /// guesses the name they sign in with.
    ///
    /// One account in two roles is two users: a token never joins their rights.
    pub(super) fn subject(&self, account: &str, user: &str) -> String {
        let named = format!("{}\n{account}\n{user}", self.settings.tenant);
        super::secret::successor(&self.subject_key, &named).text().to_owned()
    }

    /// An access token that says what it is worth (RFC 9068). It counts only while its row does.
    pub(super) fn jwt(
        &self,
        grant: &GrantRow,
        body: &GrantBody,
        granted: &Granted,
        client: &Client,
        expires: Millis,
    ) -> Result<String, OAuthError> {
        let mut claims = Map::new();
        claims.insert("iss".into(), json!(self.settings.issuer));
        claims.insert("sub".into(), json!(self.subject(&grant.account, &grant.user)));
        claims.insert("aud".into(), json!(self.settings.base.url));
        claims.insert("client_id".into(), json!(client.id));
        claims.insert("iat".into(), json!(self.now().0 / 1_000));
        claims.insert("exp".into(), json!(expires.0 / 1_000));
        claims.insert("jti".into(), json!((self.edge.new_id)()));
        claims.insert("scope".into(), json!(granted.scope()));
        claims.extend(self.fhir_user(body, granted.scope()).map(|url| ("fhirUser".to_owned(), json!(url))));
        claims.extend(granted.patient().map(|id| ("patient".to_owned(), json!(id))));
        Ok(self.keyring.sign(&self.store, "at+jwt", &claims)?)
    }

    /// The public keys.
    pub fn jwks(&self) -> Result<Value, OAuthError> {
        Ok(self.keyring.public(&self.store)?)
    }
}

/// The left half of a hash (OpenID Connect Core, section 3.1.3.6).
fn half_hash(access: &str) -> String {
    let hash = super::secret::digest(access);
    URL_SAFE_NO_PAD.encode(hash.get(..16).unwrap_or_default())
}

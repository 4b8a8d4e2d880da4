//! A client's proof of who it is (RFC 6749 section 2.3, RFC 7523; SMART App Launch 2.2, "Client Authentication").

use std::sync::{Arc, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::Server;
use super::client::{Client, ClientAuth, SecretHash, counts};
use super::error::{ErrorCode, OAuthError};
use super::form::Form;
use crate::tokens::{ClientKeys, Expected, claimed_client};

/// The one type of assertion (RFC 7523, section 2.2).
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// What a request brings as proof.
#[derive(Debug)]
pub struct Credentials<'a> {
    /// the `Authorization` header, if there is one
    pub authorization: Option<&'a str>,
    /// the form
    pub form: &'a Form,
}

/// One proof.
enum Proof<'a> {
    Basic(Vec<(String, String)>),
    Post(&'a str, &'a str),
    Assertion(&'a str),
    Nothing(&'a str),
}

impl Server {
    /// The client that sends a request.
    pub async fn authenticate(&self, given: &Credentials<'_>) -> Result<Client, OAuthError> {
        let basic = given.authorization.is_some();
        let verdict = match proof(given)? {
            Proof::Basic(pairs) => self.by_secret(&pairs, |auth| match auth {
                ClientAuth::ClientSecretBasic { secrets } => Some(secrets),
                _ => None,
            }),
            Proof::Post(id, secret) => self.by_secret(&[(id.to_owned(), secret.to_owned())], |auth| match auth {
                ClientAuth::ClientSecretPost { secrets } if self.settings.secret_post => Some(secrets),
                _ => None,
            }),
            Proof::Assertion(assertion) => self.by_assertion(assertion).await,
            Proof::Nothing(id) => self.client(id).map(|client| client.filter(Client::is_public)).map_err(Into::into),
        };
        let client = verdict?.ok_or_else(|| unknown(basic))?;
        match given.form.get("client_id") {
            Some(id) if id != client.id => Err(unknown(basic)),
            _ => Ok(client),
        }
    }

    /// SECURITY: every secret of the client is compared, in constant time, and against something when there is none.
    fn by_secret<'s>(
        &self,
        pairs: &[(String, String)],
        secrets_of: impl Fn(&ClientAuth) -> Option<&Vec<SecretHash>> + 's,
    ) -> Result<Option<Client>, OAuthError> {
        let now = self.now();
        for (id, secret) in pairs {
            let client = self.client(id)?;
            let given: String = Sha256::digest(secret.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
            let secrets = client.as_ref().and_then(|client| secrets_of(&client.auth)).cloned().unwrap_or_default();
            let matches = secrets.iter().fold(false, |found, known| {
                let same: bool = known.sha256.to_ascii_lowercase().as_bytes().ct_eq(given.as_bytes()).into();
                found | (same && counts(known, now))
            });
            if matches {
                return Ok(client);
            }
        }
        Ok(None)
    }

    async fn by_assertion(&self, assertion: &str) -> Result<Option<Client>, OAuthError> {
        let Some(client) = claimed_client(assertion).map(|id| self.client(&id)).transpose()?.flatten() else {
            return Ok(None);
        };
        let ClientAuth::PrivateKeyJwt { issuer_only, .. } = &client.auth else { return Ok(None) };
        let Some(keys) = self.keys_of(&client) else { return Ok(None) };
        let token_url = self.settings.url("/oauth/token");
        let both = [self.settings.issuer.as_str(), token_url.as_str()];
        let audiences = if *issuer_only { both.get(..1).unwrap_or_default() } else { &both };
        let expected = Expected { client: &client.id, audiences, now: self.now() };
        match keys.verify(assertion, &expected).await {
            Ok(assertion) => {
                // SECURITY: an assertion counts once.
                let fresh = self.store.spend_assertion(&client.id, &assertion.jti, assertion.remember_until)?;
                Ok(fresh.then_some(client))
            }
            Err(error) if error.is_indeterminate() => {
                tracing::warn!(client = %client.id, %error, "the client's keys cannot be had");
                Err(OAuthError::new(ErrorCode::InvalidClient, "the keys of this client cannot be had now"))
            }
            Err(error) => {
                tracing::info!(client = %client.id, %error, "client assertion refused");
                Ok(None)
            }
        }
    }

    /// The keys of a client, read again when its registration changes.
    fn keys_of(&self, client: &Client) -> Option<Arc<ClientKeys>> {
        let ClientAuth::PrivateKeyJwt { jwks, jwks_uri, .. } = &client.auth else { return None };
        let registered = serde_json::to_string(&client.auth).ok()?;
        let mut known = self.client_keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, keys)) = known.get(&client.id).filter(|(of, _)| *of == registered) {
            return Some(Arc::clone(keys));
        }
        let keys = match (jwks, jwks_uri) {
            (Some(jwks), _) => ClientKeys::inline(jwks)?,
            (None, Some(url)) => ClientKeys::at(url, &client.id, self.settings.allow_private)?,
            (None, None) => return None,
        };
        let keys = Arc::new(keys);
        known.insert(client.id.clone(), (registered, Arc::clone(&keys)));
        Some(keys)
    }
}

fn unknown(basic: bool) -> OAuthError {
    OAuthError {
        basic,
        ..OAuthError::new(ErrorCode::InvalidClient, "the client is unknown or does not prove who it is")
    }
}

/// Which proof a request brings; two are one too many (RFC 6749, section 2.3).
fn proof<'a>(given: &Credentials<'a>) -> Result<Proof<'a>, OAuthError> {
    let invalid = |text: &str| OAuthError::new(ErrorCode::InvalidRequest, text);
    let form = given.form;
    let secret = form.get("client_secret");
    let assertion = form.get("client_assertion");
    let kind = form.get("client_assertion_type");
    match (given.authorization, secret, assertion.is_some() || kind.is_some()) {
        (Some(header), None, false) => Ok(Proof::Basic(basic(header).ok_or_else(|| unknown(true))?)),
        (None, Some(secret), false) => {
            let id = form.get("client_id").ok_or_else(|| invalid("`client_id` is missing"))?;
            Ok(Proof::Post(id, secret))
        }
        (None, None, true) if kind == Some(ASSERTION_TYPE) => {
            assertion.map(Proof::Assertion).ok_or_else(|| unknown(false))
        }
        (None, None, true) => {
            Err(OAuthError::new(ErrorCode::InvalidClient, "`client_assertion_type` is not one this server takes"))
        }
        (None, None, false) => form.get("client_id").map(Proof::Nothing).ok_or_else(|| unknown(false)),
        _ => Err(invalid("the client proves who it is in two ways at once")),
    }
}

/// Id and secret of a Basic header: as RFC 6749 has it (form-encoded first), and as most programs send it.
fn basic(header: &str) -> Option<Vec<(String, String)>> {
    let (scheme, encoded) = header.split_once(' ')?;
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    let (id, secret) = text.split_once(':').filter(|_| scheme.eq_ignore_ascii_case("basic"))?;
    let decoded = |text: &str| {
        let text = text.replace('+', " ");
        percent_encoding::percent_decode_str(&text).decode_utf8().map(|text| text.into_owned()).ok()
    };
    let mut pairs: Vec<(String, String)> = decoded(id).zip(decoded(secret)).into_iter().collect();
    let raw = (id.to_owned(), secret.to_owned());
    if !pairs.contains(&raw) {
        pairs.push(raw);
    }
    (!id.is_empty()).then_some(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(header: &str) -> Option<Vec<(String, String)>> {
        basic(&format!("Basic {}", STANDARD.encode(header)))
    }

    #[test]
    fn a_basic_header_is_read_encoded_and_raw() {
        let pair = |id: &str, secret: &str| (id.to_owned(), secret.to_owned());
        assert_eq!(of("app:secret"), Some(vec![pair("app", "secret")]));
        assert_eq!(of("my%2Dapp:a%3Ab"), Some(vec![pair("my-app", "a:b"), pair("my%2Dapp", "a%3Ab")]));
        assert_eq!(of("app:a:b"), Some(vec![pair("app", "a:b")]));
        for bad in ["", ":", ":secret", "app"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        for bad in ["Basic", "Basic !!!", "Bearer YXBwOnNlY3JldA==", "Basic YXBwOnNlY3JldA"] {
            assert_eq!(basic(bad), None, "{bad}");
        }
    }

    #[test]
    fn two_proofs_are_one_too_many() {
        let known = ["client_id", "client_secret", "client_assertion", "client_assertion_type"];
        let form = |text: &str| Form::parse(text.as_bytes(), &known).unwrap();
        let code = |authorization: Option<&str>, text: &str| {
            proof(&Credentials { authorization, form: &form(text) }).err().map(|error| error.code)
        };
        let basic = Some("Basic YXBwOnNlY3JldA==");
        assert_eq!(code(basic, "client_id=app"), None);
        assert_eq!(code(basic, "client_secret=x"), Some(ErrorCode::InvalidRequest));
        assert_eq!(code(None, "client_id=app&client_secret=x&client_assertion=y"), Some(ErrorCode::InvalidRequest));
        assert_eq!(code(None, "client_assertion=y&client_assertion_type=z"), Some(ErrorCode::InvalidClient));
        assert_eq!(code(None, ""), Some(ErrorCode::InvalidClient));
    }
}

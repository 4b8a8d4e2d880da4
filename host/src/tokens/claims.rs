//! The claims of a token whose signature has been verified.

use chartgate_model::{Millis, Subject, SubjectKind};
use serde_json::{Map, Value};

use super::error::TokenError;
use super::{TokenConfig, VerifiedToken};
use crate::store::validate;

/// The longest identifier taken from a token, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Claims of ID tokens (OpenID Connect Core 1.0) and logout tokens, never of access tokens.
const NOT_OF_ACCESS_TOKENS: [&str; 5] = ["nonce", "at_hash", "c_hash", "s_hash", "events"];

/// Reads the claims.
pub(super) struct Claims<'a> {
    pub(super) members: &'a Map<String, Value>,
    pub(super) config: &'a TokenConfig,
}

impl Claims<'_> {
    /// Judge all claims at `now`, and turn them into a subject of the base at `base_url`.
    pub(super) fn verify(&self, base_url: &str, now: Millis) -> Result<VerifiedToken, TokenError> {
        self.check_use()?;
        self.check_issuer_and_audience()?;
        let expires = self.check_times(now)?;
        let (kind, user) = self.user(base_url)?;
        let names = &self.config.claims;
        let subject = Subject {
            kind,
            user,
            client: self.client()?,
            scope: self.scope()?,
            patient: self.id(&names.patient)?,
            encounter: self.id(&names.encounter)?,
            expires: Some(expires),
        };
        let name = |claim: &str| self.name(claim).map(|name| name.map(str::to_owned));
        Ok(VerifiedToken { subject, principal: name("sub")?, token_id: name("jti")? })
    }

    /// RFC 8725, section 3.12: a token made for another use must not pass for an access token.
    fn check_use(&self) -> Result<(), TokenError> {
        let has = |name: &str| self.members.contains_key(name);
        if NOT_OF_ACCESS_TOKENS.iter().any(|name| has(name)) {
            return Err(TokenError::NotAnAccessToken);
        }
        if self.text("token_use")?.is_some_and(|text| text != "access") {
            return Err(TokenError::NotAnAccessToken);
        }
        let other = |text: &str| ["id", "refresh", "offline"].iter().any(|other| text.eq_ignore_ascii_case(other));
        if self.text("typ")?.is_some_and(other) {
            return Err(TokenError::NotAnAccessToken);
        }
        if has("cnf") {
            return Err(TokenError::SenderConstrained);
        }
        if has("act") { Err(TokenError::Delegated) } else { Ok(()) }
    }

    fn check_issuer_and_audience(&self) -> Result<(), TokenError> {
        if self.required("iss")? != self.config.issuer {
            return Err(TokenError::Issuer);
        }
        let ours = |text: &str| self.config.audiences.iter().any(|audience| audience == text);
        let malformed = || TokenError::MalformedClaim("aud".into());
        let meant = match self.members.get("aud") {
            None => return Err(TokenError::MissingClaim("aud".into())),
            Some(Value::String(text)) => ours(text),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
                texts.ok_or_else(malformed)?.into_iter().any(ours)
            }
            Some(_) => return Err(malformed()),
        };
        if meant { Ok(()) } else { Err(TokenError::Audience) }
    }

    /// Returns when the token ends, without the leeway.
    fn check_times(&self, now: Millis) -> Result<Millis, TokenError> {
        let leeway_ms = self.config.leeway_s.saturating_mul(1_000);
        let expires = self.instant("exp")?.ok_or_else(|| TokenError::MissingClaim("exp".into()))?;
        if now >= expires.plus_ms(leeway_ms) {
            return Err(TokenError::Expired);
        }
        for name in ["nbf", "iat"] {
            if self.instant(name)?.is_some_and(|instant| instant > now.plus_ms(leeway_ms)) {
                return Err(TokenError::NotYetValid);
            }
        }
        Ok(expires)
    }

    /// The user as a relative reference, and the role it stands for.
    fn user(&self, base_url: &str) -> Result<(SubjectKind, String), TokenError> {
        let claim = &self.config.claims.fhir_user;
        let malformed = || TokenError::MalformedClaim(claim.clone());
        let given = self.required(claim)?;
        let below = given.strip_prefix(base_url).and_then(|rest| rest.strip_prefix('/'));
        let reference = match below {
            Some(rest) if !base_url.is_empty() => rest,
            _ if given.contains("://") => return Err(TokenError::ForeignUser),
            _ => given,
        };
        validate::user(reference).map_err(|_| malformed())?;
        let (kind, _) = reference.split_once('/').ok_or_else(malformed)?;
        match SubjectKind::of_user_type(kind) {
            Some(role) => Ok((role, reference.to_owned())),
            None => Err(TokenError::UserType("Person")),
        }
    }

    fn client(&self) -> Result<String, TokenError> {
        let claim = &self.config.claims.client;
        match (self.name(claim)?, self.name("azp")?) {
            (Some(client), Some(party)) if client != party => Err(TokenError::TwoClients),
            (Some(client), _) | (None, Some(client)) => Ok(client.to_owned()),
            (None, None) => Err(TokenError::MissingClaim(claim.clone())),
        }
    }

    /// The scopes as one string, each of the characters RFC 6749, section 3.3 allows.
    fn scope(&self) -> Result<String, TokenError> {
        let claim = &self.config.claims.scope;
        let malformed = || TokenError::MalformedClaim(claim.clone());
        let plain = |text: &str| text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        let scope = match self.members.get(claim) {
            None => return Err(TokenError::MissingClaim(claim.clone())),
            Some(Value::String(text)) if text.split(' ').all(plain) => text.clone(),
            Some(Value::Array(items)) => {
                let texts: Option<Vec<_>> = items.iter().map(Value::as_str).collect();
                let texts = texts.filter(|texts| texts.iter().all(|text| !text.is_empty() && plain(text)));
                texts.ok_or_else(malformed)?.join(" ")
            }
            Some(_) => return Err(malformed()),
        };
        if scope.len() > self.config.max_scope_bytes {
            return Err(TokenError::ScopeTooLong);
        }
        if scope.trim_matches(' ').is_empty() { Err(malformed()) } else { Ok(scope) }
    }

    /// A launch context: a bare id, or absent. SECURITY: anything else is an error and never "absent",
    /// because a token without a patient may be judged by wider rules than one with a patient.
    fn id(&self, claim: &str) -> Result<Option<String>, TokenError> {
        match self.text(claim)? {
            Some(id) if !validate::is_id(id) => Err(TokenError::MalformedClaim(claim.to_owned())),
            id => Ok(id.map(str::to_owned)),
        }
    }

    /// Whole seconds since 1970.
    fn instant(&self, claim: &str) -> Result<Option<Millis>, TokenError> {
        let malformed = || TokenError::MalformedClaim(claim.to_owned());
        let Some(value) = self.members.get(claim) else { return Ok(None) };
        let ms = value.as_u64().and_then(|seconds| seconds.checked_mul(1_000)).ok_or_else(malformed)?;
        Ok(Some(Millis(ms)))
    }

    /// A short identifier without control characters.
    fn name(&self, claim: &str) -> Result<Option<&str>, TokenError> {
        match self.text(claim)? {
            Some(text) if text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) => {
                Err(TokenError::MalformedClaim(claim.to_owned()))
            }
            name => Ok(name),
        }
    }

    fn required(&self, claim: &str) -> Result<&str, TokenError> {
        self.text(claim)?.ok_or_else(|| TokenError::MissingClaim(claim.to_owned()))
    }

    fn text(&self, claim: &str) -> Result<Option<&str>, TokenError> {
        match self.members.get(claim) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(TokenError::MalformedClaim(claim.to_owned())),
        }
    }
}

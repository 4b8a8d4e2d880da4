//! The claims of a token whose signature has been verified, or of which its issuer has told.

use std::fmt::Display;

use chartgate_model::{Millis, Subject, SubjectKind};
use serde_json::{Map, Value};

use super::VerifiedToken;
use super::error::TokenError;
use super::settings::{ClaimPath, TokenConfig};
use crate::store::validate;

/// The longest identifier taken from a token, in bytes.
const MAX_NAME_BYTES: usize = 256;

/// Claims of ID tokens (OpenID Connect Core 1.0) and logout tokens, never of access tokens.
const NOT_OF_ACCESS_TOKENS: [&str; 5] = ["nonce", "at_hash", "c_hash", "s_hash", "events"];

/// Claims of a user who signed in (RFC 9068, section 2.2.1) or has launched an app: see [`Claims::system`].
const OF_USERS: [&str; 4] = ["fhirUser", "auth_time", "patient", "encounter"];

/// Which claims have to be there, where a JWT would have to have them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Required {
    pub(super) issuer: bool,
    pub(super) audience: bool,
}

impl Required {
    /// What a JWT has to say.
    pub(super) const JWT: Self = Self { issuer: true, audience: true };
}

/// Reads the claims.
pub(super) struct Claims<'a> {
    pub(super) members: &'a Map<String, Value>,
    pub(super) config: &'a TokenConfig,
    pub(super) required: Required,
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
        let binding = self.config.binding.clone();
        Ok(VerifiedToken { subject, principal: name("sub")?, token_id: name("jti")?, binding })
    }

    /// RFC 8725, section 3.12: a token made for another use must not pass for an access token.
    fn check_use(&self) -> Result<(), TokenError> {
        let has = |name: &str| self.members.contains_key(name);
        if NOT_OF_ACCESS_TOKENS.iter().any(|name| has(name)) {
            return Err(TokenError::NotAnAccessToken);
        }
        if self.text("token_use")?.is_some_and(|text| !matches!(text, "access" | "access_token")) {
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
        match self.text("iss")? {
            Some(issuer) if issuer != self.config.issuer => return Err(TokenError::Issuer),
            None if self.required.issuer => return Err(TokenError::MissingClaim("iss".into())),
            _ => {}
        }
        let ours = |text: &str| self.config.audiences.iter().any(|audience| audience == text);
        let malformed = || TokenError::MalformedClaim("aud".into());
        let meant = match self.members.get("aud") {
            None if self.required.audience => return Err(TokenError::MissingClaim("aud".into())),
            None => true,
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
        let malformed = || TokenError::MalformedClaim(claim.to_string());
        let Some(given) = self.mapped_text(claim)? else { return self.system() };
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

    /// A client without a user, where those are taken.
    ///
    /// SECURITY: an app that did not ask for `fhirUser` has a token without a user claim and a user all
    /// the same. Whatever else tells of a user or a launch keeps it from passing for a system.
    fn system(&self) -> Result<(SubjectKind, String), TokenError> {
        let names = &self.config.claims;
        let launched = self.find(&names.patient)?.is_some() || self.find(&names.encounter)?.is_some();
        let has_user = launched || OF_USERS.iter().any(|name| self.members.contains_key(*name));
        if has_user || !self.config.system_clients {
            return Err(TokenError::MissingClaim(names.fhir_user.to_string()));
        }
        Ok((SubjectKind::System, String::new()))
    }

    fn client(&self) -> Result<String, TokenError> {
        let claim = &self.config.claims.client;
        match (self.short(claim, self.find(claim)?)?, self.name("azp")?) {
            (Some(client), Some(party)) if client != party => Err(TokenError::TwoClients),
            (Some(client), _) | (None, Some(client)) => Ok(client.to_owned()),
            (None, None) => Err(TokenError::MissingClaim(claim.to_string())),
        }
    }

    /// The scopes as one string, each of the characters RFC 6749, section 3.3 allows.
    fn scope(&self) -> Result<String, TokenError> {
        let claim = &self.config.claims.scope;
        let malformed = || TokenError::MalformedClaim(claim.to_string());
        let plain = |text: &str| text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
        let scope = match self.find(claim)? {
            None => return Err(TokenError::MissingClaim(claim.to_string())),
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
    fn id(&self, claim: &ClaimPath) -> Result<Option<String>, TokenError> {
        match self.mapped_text(claim)? {
            Some(id) if !validate::is_id(id) => Err(TokenError::MalformedClaim(claim.to_string())),
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
        self.short(&claim, self.members.get(claim))
    }

    fn short<'v>(&self, claim: &dyn Display, value: Option<&'v Value>) -> Result<Option<&'v str>, TokenError> {
        match as_text(claim, value)? {
            Some(text) if text.is_empty() || text.len() > MAX_NAME_BYTES || text.chars().any(char::is_control) => {
                Err(TokenError::MalformedClaim(claim.to_string()))
            }
            name => Ok(name),
        }
    }

    fn text(&self, claim: &str) -> Result<Option<&str>, TokenError> {
        as_text(&claim, self.members.get(claim))
    }

    fn mapped_text(&self, claim: &ClaimPath) -> Result<Option<&str>, TokenError> {
        as_text(claim, self.find(claim)?)
    }

    /// The claim at a path. SECURITY: a way that leads through something else than objects is an error
    /// and never "absent", as for [`Claims::id`].
    fn find(&self, claim: &ClaimPath) -> Result<Option<&Value>, TokenError> {
        let mut found = None;
        let mut members = Some(self.members);
        for step in claim.steps() {
            let inside = members.ok_or_else(|| TokenError::MalformedClaim(claim.to_string()))?;
            let Some(value) = inside.get(step) else { return Ok(None) };
            (found, members) = (Some(value), value.as_object());
        }
        Ok(found)
    }
}

fn as_text<'v>(claim: &dyn Display, value: Option<&'v Value>) -> Result<Option<&'v str>, TokenError> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(TokenError::MalformedClaim(claim.to_string())),
    }
}

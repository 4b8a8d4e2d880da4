//! All issuers whose tokens are taken, and which of them a token is held against.

use chartgate_model::Millis;

use super::VerifiedToken;
use super::claims::{Claims, Required};
use super::error::TokenError;
use super::introspect::{Introspector, check_type};
use super::jwt::{Unverified, is_jose};
use super::keys::Keys;
use super::settings::TokenConfig;

/// The longest token read.
pub(super) const MAX_TOKEN_BYTES: usize = 16 * 1024;

/// One issuer.
pub(super) struct Issuer {
    pub(super) config: TokenConfig,
    pub(super) means: Means,
}

/// How an issuer's tokens are verified.
pub(super) enum Means {
    /// by its signature
    Keys(Keys),
    /// by asking the issuer
    Introspection(Box<Introspection>),
}

/// Asking the issuer, and about what.
pub(super) struct Introspection {
    pub(super) introspector: Introspector,
    /// takes tokens that are no JWT
    pub(super) opaque: bool,
    /// takes JWTs of this issuer
    pub(super) jwt: bool,
    pub(super) required: Required,
}

/// Everybody whose tokens are taken; at least one.
pub struct Issuers(pub(super) Vec<Issuer>);

impl std::fmt::Debug for Issuers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|issuer| &issuer.config.issuer)).finish()
    }
}

impl Issuers {
    /// Verify a token at `now`, given without `Bearer `. `base_url` is the FHIR base the request is for,
    /// without a trailing slash: an absolute `fhirUser` must lie below it.
    pub async fn verify(&self, token: &str, base_url: &str, now: Millis) -> Result<VerifiedToken, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        if let Some((issuer, introspection)) = self.of_opaque().filter(|_| !is_jose(token)) {
            if !is_b64token(token) {
                return Err(TokenError::NotCompact);
            }
            return issuer.ask(introspection, token, base_url, now).await;
        }
        let unverified = Unverified::parse(token)?;
        let named = unverified.issuer()?;
        let issuer = self.0.iter().find(|issuer| issuer.config.issuer == named).ok_or(TokenError::Issuer)?;
        match &issuer.means {
            Means::Keys(keys) => issuer.check(keys, unverified, base_url, now).await,
            Means::Introspection(asked) if asked.jwt => issuer.ask(asked, token, base_url, now).await,
            Means::Introspection(_) => Err(TokenError::Issuer),
        }
    }

    /// The one issuer that is asked about tokens nobody else can read.
    fn of_opaque(&self) -> Option<(&Issuer, &Introspection)> {
        self.0.iter().find_map(|issuer| match &issuer.means {
            Means::Introspection(asked) if asked.opaque => Some((issuer, asked.as_ref())),
            _ => None,
        })
    }
}

impl Issuer {
    /// By its signature.
    async fn check(
        &self,
        keys: &Keys,
        token: Unverified<'_>,
        base_url: &str,
        now: Millis,
    ) -> Result<VerifiedToken, TokenError> {
        let (algorithm, key_id) = token.header(&self.config.algorithms)?;
        let key = keys.find(algorithm, key_id).await?;
        let members = token.claims(algorithm, &key)?;
        Claims { members: &members, config: &self.config, required: Required::JWT }.verify(base_url, now)
    }

    /// By asking.
    async fn ask(
        &self,
        introspection: &Introspection,
        token: &str,
        base_url: &str,
        now: Millis,
    ) -> Result<VerifiedToken, TokenError> {
        let members = introspection.introspector.members(token, now).await?;
        check_type(&members)?;
        Claims { members: &members, config: &self.config, required: introspection.required }.verify(base_url, now)
    }
}

/// The characters a bearer token has (RFC 6750, section 2.1).
fn is_b64token(token: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/".contains(&b);
    let body = token.trim_end_matches('=');
    !body.is_empty() && body.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opaque_token_is_made_of_the_characters_of_bearer_tokens() {
        for good in ["a", "s3cr3t-._~+/==", "mF_9.B5f-4.1JqM"] {
            assert!(is_b64token(good), "{good}");
        }
        for bad in ["", "=", "a b", "a\n", "a=b", "é", "a&active=true", "a%00"] {
            assert!(!is_b64token(bad), "{bad}");
        }
    }
}

//! Bearer tokens: JWTs of a configured issuer, verified as RFC 8725 and RFC 9068 ask.
//!
//! Only the mathematics of the signature is left to a library. What a token must look like, which key may
//! verify it and what its claims mean is decided here, in the order: size, form, header, key, signature,
//! claims. Nothing of the payload is read before the signature holds.

mod claims;
pub mod error;
pub mod jwks;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate_model::{Millis, Subject, strict};
use serde_json::{Map, Value};

pub use error::{JwksError, TokenConfigError, TokenError};
pub use jsonwebtoken::Algorithm;

use claims::Claims;
use jwks::KeySet;

/// The largest leeway that can be configured, in seconds.
pub const MAX_LEEWAY_S: u64 = 300;
/// Deeper JSON than this is in no honest token.
const MAX_DEPTH: usize = 16;

/// All algorithms a token can be allowed to use, by their names in headers and keys.
pub(crate) const ALGORITHMS: [(&str, Algorithm); 9] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
];

/// The algorithms of these names; the error is the first name that is none of them.
pub fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, TokenConfigError> {
    let find = |name: &String| {
        let known = ALGORITHMS.iter().find(|(known, _)| known == name).map(|(_, algorithm)| *algorithm);
        known.ok_or_else(|| TokenConfigError::AlgorithmName(name.clone()))
    };
    names.iter().map(find).collect()
}

/// The names of the claims that issuers call differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimNames {
    /// the user's own resource, `fhirUser`
    pub fhir_user: String,
    /// launch patient, `patient`
    pub patient: String,
    /// launch encounter, `encounter`
    pub encounter: String,
    /// scopes, `scope`
    pub scope: String,
    /// the app, `client_id`; where it is absent `azp` counts
    pub client: String,
}

impl Default for ClaimNames {
    fn default() -> Self {
        Self {
            fhir_user: "fhirUser".into(),
            patient: "patient".into(),
            encounter: "encounter".into(),
            scope: "scope".into(),
            client: "client_id".into(),
        }
    }
}

/// Whose tokens are taken.
#[derive(Debug, Clone)]
pub struct TokenConfig {
    /// `iss`, compared byte by byte
    pub issuer: String,
    /// one of these must be in `aud`
    pub audiences: Vec<String>,
    /// the issuer's JSON Web Key Set
    pub jwks: Vec<u8>,
    /// the algorithms allowed
    pub algorithms: Vec<Algorithm>,
    /// how far the issuer's clock may be off, in seconds
    pub leeway_s: u64,
    /// the longest token read
    pub max_token_bytes: usize,
    /// the longest scope string taken
    pub max_scope_bytes: usize,
    /// what the issuer calls its claims
    pub claims: ClaimNames,
}

impl TokenConfig {
    /// The usual limits: 30 s of leeway, tokens of 16 KiB, scopes of 8 KiB, every asymmetric algorithm.
    pub fn new(issuer: String, audiences: Vec<String>, jwks: Vec<u8>) -> Self {
        Self {
            issuer,
            audiences,
            jwks,
            algorithms: ALGORITHMS.iter().map(|(_, algorithm)| *algorithm).collect(),
            leeway_s: 30,
            max_token_bytes: 16 * 1024,
            max_scope_bytes: 8 * 1024,
            claims: ClaimNames::default(),
        }
    }

    fn check(&self) -> Result<(), TokenConfigError> {
        if self.issuer.is_empty() {
            return Err(TokenConfigError::Issuer);
        }
        if self.audiences.is_empty() || self.audiences.iter().any(String::is_empty) {
            return Err(TokenConfigError::Audience);
        }
        if self.algorithms.is_empty() {
            return Err(TokenConfigError::NoAlgorithm);
        }
        let known = |algorithm: &Algorithm| ALGORITHMS.iter().any(|(_, known)| known == algorithm);
        if let Some(algorithm) = self.algorithms.iter().find(|algorithm| !known(algorithm)) {
            return Err(TokenConfigError::Algorithm(*algorithm));
        }
        if self.leeway_s > MAX_LEEWAY_S {
            return Err(TokenConfigError::Leeway(self.leeway_s));
        }
        let ClaimNames { fhir_user, patient, encounter, scope, client } = &self.claims;
        let names = [
            ("fhir_user", fhir_user),
            ("patient", patient),
            ("encounter", encounter),
            ("scope", scope),
            ("client", client),
        ];
        match names.iter().find(|(_, name)| name.is_empty()) {
            Some((member, _)) => Err(TokenConfigError::ClaimName(member)),
            None => Ok(()),
        }
    }
}

/// What a valid token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedToken {
    /// who asks; `expires` is the token's end without leeway
    pub subject: Subject,
    /// `sub`, the issuer's name for the user
    pub principal: Option<String>,
    /// `jti`
    pub token_id: Option<String>,
}

/// Verifies the tokens of one issuer. Immutable: new keys are a new verifier.
pub struct TokenVerifier {
    config: TokenConfig,
    keys: KeySet,
}

impl std::fmt::Debug for TokenVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenVerifier").field("issuer", &self.config.issuer).finish_non_exhaustive()
    }
}

impl TokenVerifier {
    /// Check the configuration and read the keys.
    pub fn new(config: TokenConfig) -> Result<Self, TokenConfigError> {
        config.check()?;
        let keys = KeySet::parse(&config.jwks, &config.algorithms)?;
        Ok(Self { config, keys })
    }

    /// Verify a token at `now`, given without `Bearer `. `base_url` is the FHIR base the request is for,
    /// without a trailing slash: an absolute `fhirUser` must lie below it.
    pub fn verify(&self, token: &str, base_url: &str, now: Millis) -> Result<VerifiedToken, TokenError> {
        if token.len() > self.config.max_token_bytes {
            return Err(TokenError::TooLong);
        }
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::NotCompact);
        };
        let header_json = decode_canonical(header).ok_or(TokenError::NotCompact)?;
        let payload_json = decode_canonical(payload).ok_or(TokenError::NotCompact)?;
        decode_canonical(signature).ok_or(TokenError::NotCompact)?;

        let (algorithm, key_id) = self.read_header(&header_json)?;
        let key = self.keys.find(algorithm, key_id.as_deref())?;
        let signed = token.get(..header.len() + 1 + payload.len()).ok_or(TokenError::NotCompact)?;
        match jsonwebtoken::crypto::verify(signature, signed.as_bytes(), key, algorithm) {
            Ok(true) => {}
            Ok(false) | Err(_) => return Err(TokenError::Signature),
        }
        let members = object(&payload_json, "payload")?;
        Claims { members: &members, config: &self.config }.verify(base_url, now)
    }

    /// The algorithm and the key's id.
    ///
    /// SECURITY: `jwk`, `jku`, `x5u` and `x5c` are never looked at. A token does not bring its own key.
    fn read_header(&self, json: &[u8]) -> Result<(Algorithm, Option<String>), TokenError> {
        let members = object(json, "header")?;
        for name in ["crit", "b64", "enc", "zip"] {
            if members.contains_key(name) {
                return Err(TokenError::UnsupportedHeader(name));
            }
        }
        let text = |name: &'static str| match members.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(TokenError::Header(name)),
        };
        let name = text("alg")?.ok_or(TokenError::Header("alg"))?;
        let known = ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm);
        let algorithm = known.filter(|known| self.config.algorithms.contains(known)).ok_or(TokenError::Algorithm)?;
        let types = ["JWT", "at+jwt", "application/at+jwt"];
        if text("typ")?.is_some_and(|given| !types.iter().any(|known| known.eq_ignore_ascii_case(given))) {
            return Err(TokenError::Type);
        }
        Ok((algorithm, text("kid")?.map(str::to_owned)))
    }
}

/// Unpadded base64url in its one canonical spelling: no padding, no stray bits.
pub(crate) fn decode_canonical(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

fn object(json: &[u8], part: &'static str) -> Result<Map<String, Value>, TokenError> {
    strict::check(json, MAX_DEPTH).map_err(|_| TokenError::Json(part))?;
    match serde_json::from_slice(json) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(TokenError::Json(part)),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

//! Keys this host signs with, and what it signs: ID tokens (OpenID Connect Core) and access tokens (RFC 9068).

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::jwks::KeySet;
use super::jwt::Unverified;

/// The one algorithm this host signs with: every relying party has to know it (OpenID Connect Core, section 15.1).
const ALGORITHM: Algorithm = Algorithm::RS256;

/// A key cannot be made, read or used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signing key cannot be made, read or used")]
pub struct SigningError;

/// A private key, and its public half as a JWK.
pub struct SigningKey {
    id: String,
    key: EncodingKey,
    public: Value,
}

impl SigningKey {
    /// A fresh RSA key of 2048 bits, PKCS#8 DER.
    pub fn generate() -> Result<Vec<u8>, SigningError> {
        let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| SigningError)?;
        Ok(pair.as_der().map_err(|_| SigningError)?.as_ref().to_vec())
    }

    /// Read a key that was generated here.
    pub fn read(id: &str, pkcs8: &[u8]) -> Result<Self, SigningError> {
        let pem = format!("-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n", STANDARD.encode(pkcs8));
        let key = EncodingKey::from_rsa_pem(pem.as_bytes()).map_err(|_| SigningError)?;
        let jwk = Jwk::from_encoding_key(&key, ALGORITHM).map_err(|_| SigningError)?;
        let mut public = serde_json::to_value(jwk).map_err(|_| SigningError)?;
        let members = public.as_object_mut().ok_or(SigningError)?;
        members.insert("kid".into(), json!(id));
        members.insert("use".into(), json!("sig"));
        members.insert("alg".into(), json!("RS256"));
        Ok(Self { id: id.to_owned(), key, public })
    }

    /// The public half, as it stands in a key set.
    pub fn public(&self) -> &Value {
        &self.public
    }

    /// A token with these claims. `kind` is its `typ`: `JWT` or `at+jwt`.
    pub fn sign(&self, kind: &str, claims: &Map<String, Value>) -> Result<String, SigningError> {
        let mut header = Header::new(ALGORITHM);
        header.typ = Some(kind.to_owned());
        header.kid = Some(self.id.clone());
        jsonwebtoken::encode(&header, claims, &self.key).map_err(|_| SigningError)
    }
}

/// The claims of what one of these keys signed, however long ago; nothing for anything else.
pub fn signed(token: &str, public: &Value) -> Option<Map<String, Value>> {
    let keys = KeySet::parse(public.to_string().as_bytes(), &[ALGORITHM]).ok()?;
    let unverified = Unverified::parse(token).ok()?;
    let (algorithm, id) = unverified.header(&[ALGORITHM]).ok()?;
    let key = keys.find(algorithm, id).ok()?;
    unverified.claims(algorithm, &key).ok()
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey").field("id", &self.id).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_key_signs_its_public_half_verifies() {
        let key = SigningKey::read("k1", &SigningKey::generate().unwrap()).unwrap();
        let claims = json!({ "sub": "mia" }).as_object().unwrap().clone();
        let token = key.sign("JWT", &claims).unwrap();
        let set = json!({ "keys": [key.public()] }).to_string();
        let set = KeySet::parse(set.as_bytes(), &[Algorithm::RS256]).unwrap();
        let unverified = Unverified::parse(&token).unwrap();
        let public = set.find(Algorithm::RS256, Some("k1")).unwrap();
        assert_eq!(unverified.claims(Algorithm::RS256, &public).unwrap(), claims);
    }

    #[test]
    fn a_key_shows_nothing_of_its_private_half() {
        let key = SigningKey::read("k1", &SigningKey::generate().unwrap()).unwrap();
        let members: Vec<&String> = key.public().as_object().unwrap().keys().collect();
        for member in members {
            assert!(["kty", "n", "e", "kid", "use", "alg"].contains(&member.as_str()), "{member}");
        }
        assert!(SigningKey::read("k1", b"no key").is_err());
    }
}

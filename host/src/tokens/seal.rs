//! What this host signs for itself, and nobody else reads.

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// A key that lives as long as the process, and what is signed with it (HS256, RFC 7518 section 3.2).
pub struct Seal {
    key: [u8; 32],
    kind: &'static str,
}

impl Seal {
    /// `random` fills what it is given. `kind` is the `typ` of what is sealed, so that nothing else this host signs can
    /// stand for it. `None` where there are no random numbers to be had.
    pub fn new(random: impl FnOnce(&mut [u8]) -> bool, kind: &'static str) -> Option<Self> {
        let mut key = [0; 32];
        // SECURITY: whoever knew the key could seal anything.
        (random(&mut key) && key != [0; 32]).then_some(Self { key, kind })
    }

    /// As a JWT (RFC 7519).
    pub fn close(&self, claims: &impl Serialize) -> Option<String> {
        let header = Header { typ: Some(self.kind.into()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, claims, &EncodingKey::from_secret(&self.key)).ok()
    }

    /// What was sealed; `None` for what was not, or not by this process. When it ends is for the caller to judge.
    pub fn open<T: DeserializeOwned>(&self, text: &str) -> Option<T> {
        let mut validation = Validation::new(Algorithm::HS256);
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        let read = jsonwebtoken::decode::<T>(text, &DecodingKey::from_secret(&self.key), &validation).ok()?;
        (read.header.typ.as_deref() == Some(self.kind)).then_some(read.claims)
    }
}

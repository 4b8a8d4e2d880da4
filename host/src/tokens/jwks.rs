//! The keys of the issuer (RFC 7517), each with the algorithms it may verify and no others.

use std::sync::Arc;

use chartgate_model::strict;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::error::{JwksError, TokenError};
use super::jwt::decode_canonical;
use super::{ALGORITHMS, Algorithm};

/// The most keys a set may hold.
pub const MAX_KEYS: usize = 100;
/// A key set is flat; anything deeper is not one.
const MAX_DEPTH: usize = 8;

/// A key, and what it may be used for.
struct Key {
    id: Option<String>,
    algorithms: Vec<Algorithm>,
    key: Arc<DecodingKey>,
}

/// The usable keys of a set.
pub(super) struct KeySet {
    keys: Vec<Key>,
}

impl KeySet {
    /// Read a set. Keys for encryption and of unknown types are passed over, as RFC 7517 asks; weak,
    /// malformed and secret ones make the whole set unusable.
    pub(super) fn parse(bytes: &[u8], allowed: &[Algorithm]) -> Result<Self, JwksError> {
        strict::check(bytes, MAX_DEPTH).map_err(|_| JwksError::NotAKeySet)?;
        let set: Value = serde_json::from_slice(bytes).map_err(|_| JwksError::NotAKeySet)?;
        let given = set.get("keys").and_then(Value::as_array).ok_or(JwksError::NotAKeySet)?;
        if given.len() > MAX_KEYS {
            return Err(JwksError::TooMany(given.len()));
        }
        let mut keys: Vec<Key> = Vec::new();
        for (index, value) in given.iter().enumerate() {
            let members = value.as_object().ok_or(JwksError::NotAKeySet)?;
            let Some(key) = (Reader { index, members }).key(allowed)? else { continue };
            let shares = |other: &Key| other.algorithms.iter().any(|algorithm| key.algorithms.contains(algorithm));
            if keys.iter().any(|other| other.id == key.id && shares(other)) {
                return Err(JwksError::SameKeyId { index });
            }
            keys.push(key);
        }
        if keys.is_empty() { Err(JwksError::Empty) } else { Ok(Self { keys }) }
    }

    /// The one key that fits a token.
    pub(super) fn find(&self, algorithm: Algorithm, id: Option<&str>) -> Result<Arc<DecodingKey>, TokenError> {
        let mut fitting = self.keys.iter().filter(|key| {
            let named = id.is_none_or(|id| key.id.as_deref() == Some(id));
            named && key.algorithms.contains(&algorithm)
        });
        let found = fitting.next().ok_or(TokenError::UnknownKey)?;
        if fitting.next().is_some() { Err(TokenError::KeyIdRequired) } else { Ok(Arc::clone(&found.key)) }
    }
}

/// Reads one key of the set.
struct Reader<'a> {
    index: usize,
    members: &'a Map<String, Value>,
}

impl Reader<'_> {
    fn key(&self, allowed: &[Algorithm]) -> Result<Option<Key>, JwksError> {
        let kind = self.required("kty")?;
        let secret = ["d", "k", "p", "q", "dp", "dq", "qi", "oth"];
        if kind == "oct" || secret.iter().any(|name| self.members.contains_key(*name)) {
            return Err(JwksError::Secret { index: self.index });
        }
        let algorithms = self.algorithms(kind, allowed)?;
        if algorithms.is_empty() || !self.verifies()? {
            return Ok(None);
        }
        let key = match kind {
            "RSA" => self.rsa()?,
            "EC" => self.elliptic(if algorithms.contains(&Algorithm::ES256) { 32 } else { 48 })?,
            _ => self.edwards()?,
        };
        let id = self.text("kid")?.map(str::to_owned);
        if id.as_ref().is_some_and(String::is_empty) {
            return Err(self.bad("kid"));
        }
        Ok(Some(Key { id, algorithms, key: Arc::new(key) }))
    }

    /// What the type and curve can do, narrowed by the key's own `alg` and by what is allowed.
    fn algorithms(&self, kind: &str, allowed: &[Algorithm]) -> Result<Vec<Algorithm>, JwksError> {
        let of_kind: &[Algorithm] = match (kind, self.text("crv")?) {
            ("RSA", _) => {
                use Algorithm::{PS256, PS384, PS512, RS256, RS384, RS512};
                &[RS256, RS384, RS512, PS256, PS384, PS512]
            }
            ("EC", Some("P-256")) => &[Algorithm::ES256],
            ("EC", Some("P-384")) => &[Algorithm::ES384],
            ("OKP", Some("Ed25519")) => &[Algorithm::EdDSA],
            ("EC" | "OKP", None) => return Err(self.bad("crv")),
            _ => &[],
        };
        let own = self.text("alg")?;
        let named = |algorithm: Algorithm| own.is_none_or(|own| ALGORITHMS.contains(&(own, algorithm)));
        Ok(of_kind.iter().copied().filter(|algorithm| allowed.contains(algorithm) && named(*algorithm)).collect())
    }

    /// Whether the key is meant to verify signatures.
    fn verifies(&self) -> Result<bool, JwksError> {
        if self.text("use")?.is_some_and(|text| text != "sig") {
            return Ok(false);
        }
        match self.members.get("key_ops") {
            None => Ok(true),
            Some(Value::Array(operations)) => Ok(operations.iter().any(|operation| operation == "verify")),
            Some(_) => Err(self.bad("key_ops")),
        }
    }

    fn rsa(&self) -> Result<DecodingKey, JwksError> {
        let (modulus, exponent) = (self.bytes("n")?, self.bytes("e")?);
        let first = modulus.first().filter(|first| **first != 0).ok_or_else(|| self.bad("n"))?;
        let bits = modulus.len() * 8 - first.leading_zeros() as usize;
        if !(2048..=8192).contains(&bits) {
            return Err(JwksError::ModulusSize { index: self.index, bits });
        }
        // SECURITY: with the exponent 1 every message would be its own signature.
        let sound = match *exponent.as_slice() {
            [] | [0, ..] => false,
            [only] => only >= 3 && only % 2 == 1,
            [.., last] => exponent.len() <= 4 && last % 2 == 1,
        };
        if !sound {
            return Err(self.bad("e"));
        }
        Ok(DecodingKey::from_rsa_raw_components(&modulus, &exponent))
    }

    fn elliptic(&self, coordinate_bytes: usize) -> Result<DecodingKey, JwksError> {
        for member in ["x", "y"] {
            self.sized(member, coordinate_bytes)?;
        }
        DecodingKey::from_ec_components(self.required("x")?, self.required("y")?).map_err(|_| self.bad("x"))
    }

    fn edwards(&self) -> Result<DecodingKey, JwksError> {
        self.sized("x", 32)?;
        DecodingKey::from_ed_components(self.required("x")?).map_err(|_| self.bad("x"))
    }

    fn bad(&self, member: &'static str) -> JwksError {
        JwksError::Member { index: self.index, member }
    }

    fn text(&self, member: &'static str) -> Result<Option<&str>, JwksError> {
        match self.members.get(member) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(self.bad(member)),
        }
    }

    fn required(&self, member: &'static str) -> Result<&str, JwksError> {
        self.text(member)?.ok_or_else(|| self.bad(member))
    }

    fn bytes(&self, member: &'static str) -> Result<Vec<u8>, JwksError> {
        decode_canonical(self.required(member)?).ok_or_else(|| self.bad(member))
    }

    fn sized(&self, member: &'static str, length: usize) -> Result<(), JwksError> {
        if self.bytes(member)?.len() == length { Ok(()) } else { Err(self.bad(member)) }
    }
}

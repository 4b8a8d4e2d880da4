//! A JSON Web Token in compact form (RFC 7515), before and after its signature is checked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate_model::strict;
use jsonwebtoken::DecodingKey;
use serde_json::{Map, Value};

use super::error::TokenError;
use super::{Algorithm, algorithm};

/// Deeper JSON than this is in no honest token.
const MAX_DEPTH: usize = 16;

/// A token whose signature nobody has checked yet.
pub(super) struct Unverified<'a> {
    header: Map<String, Value>,
    payload: Map<String, Value>,
    signed: &'a str,
    signature: &'a str,
}

impl<'a> Unverified<'a> {
    /// Three parts of canonical base64url, of which the first two are strict JSON objects.
    pub(super) fn parse(token: &'a str) -> Result<Self, TokenError> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenError::NotCompact);
        };
        let header_json = decode_canonical(header).ok_or(TokenError::NotCompact)?;
        let payload_json = decode_canonical(payload).ok_or(TokenError::NotCompact)?;
        decode_canonical(signature).ok_or(TokenError::NotCompact)?;
        let signed = token.get(..header.len() + 1 + payload.len()).ok_or(TokenError::NotCompact)?;
        let header = object(&header_json, "header")?;
        Ok(Self { header, payload: object(&payload_json, "payload")?, signed, signature })
    }

    /// Who the token says has issued it.
    ///
    /// SECURITY: this chooses whose rules and keys the token is held against, and nothing else. The
    /// chosen issuer compares `iss` again when the signature holds.
    pub(super) fn issuer(&self) -> Result<&str, TokenError> {
        match self.payload.get("iss") {
            None => Err(TokenError::MissingClaim("iss".into())),
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(TokenError::MalformedClaim("iss".into())),
        }
    }

    /// The algorithm and the key's id.
    ///
    /// SECURITY: `jwk`, `jku`, `x5u` and `x5c` are never looked at. A token does not bring its own key.
    pub(super) fn header(&self, allowed: &[Algorithm]) -> Result<(Algorithm, Option<&str>), TokenError> {
        let algorithm = self.algorithm(allowed, &["JWT", "at+jwt", "application/at+jwt"])?;
        Ok((algorithm, self.text("kid")?))
    }

    /// The same of a client's assertion, which has to name its key, and whose `jku` may only say what the
    /// registration says (SMART App Launch 2.2, "Client Authentication: Asymmetric").
    pub(super) fn assertion_header(
        &self,
        allowed: &[Algorithm],
        jku: Option<&str>,
    ) -> Result<(Algorithm, &str), TokenError> {
        let algorithm = self.algorithm(allowed, &["JWT", "client-authentication+jwt"])?;
        if self.text("jku")?.is_some_and(|given| Some(given) != jku) {
            return Err(TokenError::Header("jku"));
        }
        Ok((algorithm, self.text("kid")?.ok_or(TokenError::Header("kid"))?))
    }

    fn algorithm(&self, allowed: &[Algorithm], types: &[&str]) -> Result<Algorithm, TokenError> {
        for name in ["crit", "b64", "enc", "zip"] {
            if self.header.contains_key(name) {
                return Err(TokenError::UnsupportedHeader(name));
            }
        }
        let name = self.text("alg")?.ok_or(TokenError::Header("alg"))?;
        let algorithm = algorithm(name).filter(|known| allowed.contains(known)).ok_or(TokenError::Algorithm)?;
        match self.text("typ")?.is_some_and(|given| !types.iter().any(|known| known.eq_ignore_ascii_case(given))) {
            true => Err(TokenError::Type),
            false => Ok(algorithm),
        }
    }

    fn text(&self, name: &'static str) -> Result<Option<&str>, TokenError> {
        match self.header.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.as_str())),
            Some(_) => Err(TokenError::Header(name)),
        }
    }

    /// The claims, if this key made the signature.
    pub(super) fn claims(self, algorithm: Algorithm, key: &DecodingKey) -> Result<Map<String, Value>, TokenError> {
        match jsonwebtoken::crypto::verify(self.signature, self.signed.as_bytes(), key, algorithm) {
            Ok(true) => Ok(self.payload),
            Ok(false) | Err(_) => Err(TokenError::Signature),
        }
    }
}

/// Whether a token can only be meant as a JWT: its first part is a JSON object that names an algorithm.
///
/// Everything else is opaque. What merely looks broken is still a JWT, so that it does not reach an
/// issuer it is not from.
pub(super) fn is_jose(token: &str) -> bool {
    let first = token.split('.').next().unwrap_or_default();
    let header = decode_canonical(first.trim_end_matches('='));
    let header = header.and_then(|json| serde_json::from_slice::<Map<String, Value>>(&json).ok());
    header.is_some_and(|members| members.contains_key("alg"))
}

/// Unpadded base64url in its one canonical spelling: no padding, no stray bits.
pub(super) fn decode_canonical(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// A JSON object without repeated members.
pub(super) fn object(json: &[u8], part: &'static str) -> Result<Map<String, Value>, TokenError> {
    strict::check(json, MAX_DEPTH).map_err(|_| TokenError::Json(part))?;
    match serde_json::from_slice(json) {
        Ok(Value::Object(members)) => Ok(members),
        _ => Err(TokenError::Json(part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn b64(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn whatever_names_an_algorithm_is_no_opaque_token() {
        let header = b64(r#"{"alg":"ES256"}"#);
        for jose in [format!("{header}.e30.AA"), format!("{header}..."), header.clone(), format!("{header}=.x.y")] {
            assert!(is_jose(&jose), "{jose}");
        }
        for opaque in ["", "s3cr3t", "a.b.c", "e30.e30.AA", &format!("x{header}.e30.AA"), &b64("[]")] {
            assert!(!is_jose(opaque), "{opaque}");
        }
    }
}

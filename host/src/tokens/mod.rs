//! Bearer tokens of the configured issuers: JWTs, verified as RFC 8725 and RFC 9068 ask, and tokens the
//! issuer is asked about (RFC 7662).
//!
//! Only the mathematics of the signature is left to a library. What a token must look like, which key may
//! verify it and what its claims mean is decided here, in the order: size, form, issuer, header, key,
//! signature, claims. Nothing of the payload but `iss` is read before the signature holds, and that only
//! chooses the issuer whose rules apply.
//!
//! | module | holds |
//! | --- | --- |
//! | `issuers` | which issuer a token is held against |
//! | `jwt`, `jwks` | the form and the header of a token; the keys of a set |
//! | `keys`, `introspect`, `cache` | keys from a file or URL; answers of the issuer |
//! | `claims`, `settings` | what a good token says; what it has to look like |
//! | `open` | issuers from the configuration and its files |
//! | `signing`, `seal`, `assertion` | what this host signs for others, and for itself; what clients sign to prove who they are |

mod assertion;
mod cache;
mod claims;
pub mod error;
mod introspect;
mod issuers;
pub mod jwks;
mod jwt;
mod keys;
mod open;
mod seal;
mod settings;
mod signing;

use chartgate_model::Subject;

pub(crate) use assertion::{CLIENT_ALGORITHMS, ClientKeys, Expected, check_client_keys, claimed_client};

pub use crate::outbound::UrlError;
pub(crate) use crate::outbound::check_url;
pub use error::{JwksError, TokenConfigError, TokenError};
pub use issuers::Issuers;
pub use jsonwebtoken::Algorithm;
pub use seal::Seal;
pub use settings::{Binding, ClaimNames, ClaimPath, MAX_LEEWAY_S, TokenConfig};
pub use signing::{SigningError, SigningKey, signed};

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

/// The algorithm of a name.
pub(crate) fn algorithm(name: &str) -> Option<Algorithm> {
    ALGORITHMS.iter().find(|(known, _)| *known == name).map(|(_, algorithm)| *algorithm)
}

/// The algorithms of these names; the error is the first name that is none of them.
pub fn algorithms(names: &[String]) -> Result<Vec<Algorithm>, TokenConfigError> {
    let find = |name: &String| algorithm(name).ok_or_else(|| TokenConfigError::AlgorithmName(name.clone()));
    names.iter().map(find).collect()
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
    /// where it counts
    pub binding: Binding,
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

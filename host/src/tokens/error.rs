//! Why a token is refused. Nothing here carries a part of a token.

use super::{Algorithm, MAX_LEEWAY_S};

/// The configuration of token verification is unusable.
#[derive(Debug, thiserror::Error)]
pub enum TokenConfigError {
    /// no asymmetric signature algorithm of RFC 7518 or RFC 8037
    #[error("`{0}` is no algorithm this host verifies")]
    AlgorithmName(String),
    /// `issuer` is empty
    #[error("the issuer is empty")]
    Issuer,
    /// `audiences` is empty or holds an empty string
    #[error("the list of audiences is empty or holds an empty one")]
    Audience,
    /// `algorithms` is empty
    #[error("the list of algorithms is empty")]
    NoAlgorithm,
    /// a symmetric algorithm: whoever can verify could sign
    #[error("the algorithm `{0:?}` cannot be allowed")]
    Algorithm(Algorithm),
    /// more than [`MAX_LEEWAY_S`]
    #[error("a leeway of `{0}` s is more than {max} s", max = MAX_LEEWAY_S)]
    Leeway(u64),
    /// the name of a claim is empty, or its path has no steps or too many
    #[error("the name of the `{0}` claim is empty, or its path too long")]
    ClaimName(&'static str),
}

/// A JSON Web Key Set is unusable. Positions count from 0.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwksError {
    /// not a JSON object with an array `keys`, or a member stands in it twice
    #[error("it is not a JSON object with an array `keys`, or a member is repeated")]
    NotAKeySet,
    /// more than [`super::jwks::MAX_KEYS`]
    #[error("it holds `{0}` keys, more than {max}", max = super::jwks::MAX_KEYS)]
    TooMany(usize),
    /// a member of a key is missing or malformed
    #[error("key {index}: `{member}` is missing or malformed")]
    Member {
        /// which key
        index: usize,
        /// which member
        member: &'static str,
    },
    /// a private or symmetric key: it does not belong here, and by now is no secret any more
    #[error("key {index} is private or symmetric")]
    Secret {
        /// which key
        index: usize,
    },
    /// an RSA modulus outside 2048 to 8192 bits
    #[error("key {index} has an RSA modulus of `{bits}` bits, not 2048 to 8192")]
    ModulusSize {
        /// which key
        index: usize,
        /// its size
        bits: usize,
    },
    /// two keys for the same algorithm share a `kid`, or both have none
    #[error("key {index} cannot be told from an earlier one by its `kid`")]
    SameKeyId {
        /// the later key
        index: usize,
    },
    /// no key fits the allowed algorithms
    #[error("it holds no key that fits the allowed algorithms")]
    Empty,
}

/// A bearer token is refused, or nobody can tell whether it is good.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// longer than allowed
    #[error("the token is too long")]
    TooLong,
    /// not three parts of canonical base64url
    #[error("the token is not a signed JWT in compact form")]
    NotCompact,
    /// header or payload is not a JSON object, or repeats a member
    #[error("the {0} of the token is not a JSON object without repeated members")]
    Json(&'static str),
    /// a header parameter is malformed
    #[error("the header parameter `{0}` is malformed")]
    Header(&'static str),
    /// a header parameter that changes what the token means
    #[error("the header parameter `{0}` is not supported")]
    UnsupportedHeader(&'static str),
    /// the algorithm is not on the list
    #[error("the algorithm of the token is not allowed")]
    Algorithm,
    /// `typ` says that it is something else than an access token
    #[error("the type of the token is not that of an access token")]
    Type,
    /// no key has this `kid` and fits the algorithm
    #[error("no trusted key fits the token")]
    UnknownKey,
    /// several keys fit and the token names none
    #[error("the token must name its key, because several fit")]
    KeyIdRequired,
    /// the signature does not verify
    #[error("the signature of the token is wrong")]
    Signature,
    /// a required claim is absent
    #[error("the claim `{0}` is missing")]
    MissingClaim(String),
    /// a claim has the wrong type or form
    #[error("the claim `{0}` is malformed")]
    MalformedClaim(String),
    /// issued by somebody else
    #[error("the token was issued by another issuer")]
    Issuer,
    /// meant for somebody else
    #[error("the token is meant for another audience")]
    Audience,
    /// `exp` has passed
    #[error("the token has expired")]
    Expired,
    /// `nbf` or `iat` lies in the future
    #[error("the token is not valid yet")]
    NotYetValid,
    /// an ID token, a refresh token, a logout token
    #[error("the token is not an access token")]
    NotAnAccessToken,
    /// bound to a key (RFC 8705, RFC 9449), whose possession a bearer does not prove
    #[error("the token is bound to a key and cannot be used as a bearer token")]
    SenderConstrained,
    /// carries an actor (RFC 8693): who acts for whom is not judged yet
    #[error("the token is delegated, which is not supported")]
    Delegated,
    /// `client_id` and `azp` name different clients
    #[error("the token names two clients")]
    TwoClients,
    /// the user belongs to another FHIR server
    #[error("the user of the token belongs to another base")]
    ForeignUser,
    /// the user's resource type does not say in which role they act
    #[error("a user of type `{0}` has no single role")]
    UserType(&'static str),
    /// the scopes are longer than allowed
    #[error("the scopes of the token are too long")]
    ScopeTooLong,
    /// the issuer says that it is not active
    #[error("the issuer says that the token is not active")]
    Inactive,
    /// the issuer's keys cannot be had: the token may be fine
    #[error("the keys of the token's issuer cannot be had")]
    KeysUnavailable,
    /// the issuer cannot be asked about the token: it may be fine
    #[error("the token's issuer cannot be asked about it")]
    IntrospectionUnavailable,
}

impl TokenError {
    /// The `error` of the `WWW-Authenticate` challenge (RFC 6750, section 3.1): one for all, so that the
    /// answer does not teach how to forge.
    pub fn www_authenticate_error(&self) -> &'static str {
        "invalid_token"
    }

    /// Whether nothing is known about the token: it is not refused, and nothing is permitted either.
    pub fn is_indeterminate(&self) -> bool {
        matches!(self, Self::KeysUnavailable | Self::IntrospectionUnavailable)
    }

    /// The stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLong | Self::ScopeTooLong => "token-too-long",
            Self::NotCompact | Self::Json(_) | Self::Header(_) | Self::MalformedClaim(_) => "token-malformed",
            Self::MissingClaim(_) => "token-claim-missing",
            Self::UnsupportedHeader(_) | Self::SenderConstrained | Self::Delegated => "token-unsupported",
            Self::Algorithm => "token-algorithm",
            Self::Type | Self::NotAnAccessToken => "token-type",
            Self::UnknownKey | Self::KeyIdRequired => "token-key",
            Self::Signature => "token-signature",
            Self::Issuer => "token-issuer",
            Self::Audience => "token-audience",
            Self::Expired => "token-expired",
            Self::NotYetValid => "token-not-yet-valid",
            Self::TwoClients => "token-client",
            Self::ForeignUser | Self::UserType(_) => "token-user",
            Self::Inactive => "token-inactive",
            Self::KeysUnavailable => "token-keys-unavailable",
            Self::IntrospectionUnavailable => "token-introspection-unavailable",
        }
    }
}

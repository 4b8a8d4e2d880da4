//! Registered apps.

use chartgate_model::{Millis, SubjectKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use url::Url;

use super::scopes;

/// A registered app.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Client {
    /// OAuth client identifier
    pub id: String,
    /// what people know it by
    pub name: String,
    /// whom it serves
    pub kind: ClientKind,
    /// where people are sent back to, compared as text
    pub redirect_uris: Vec<String>,
    /// the most it may ask for
    pub scope: String,
    /// how it proves who it is
    pub auth: ClientAuth,
    /// where an EHR opens it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub launch_uri: Option<String>,
    /// browser origins it calls from, besides those of `redirect_uris`
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origins: Vec<String>,
    /// it may ask about any token
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub introspect: bool,
    /// what it does with data, for people to read
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_uri: Option<String>,
}

/// Whom an app serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClientKind {
    /// patients and those who act for them
    Patient,
    /// clinicians and other users of the record system
    Provider,
}

/// How an app proves who it is: one way, fixed when it is registered (RFC 9700, section 2.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "method", deny_unknown_fields)]
pub enum ClientAuth {
    /// not at all: a public client
    None,
    /// with a secret in the `Authorization` header
    ClientSecretBasic {
        /// those that count
        secrets: Vec<SecretHash>,
    },
    /// with a secret in the form
    ClientSecretPost {
        /// those that count
        secrets: Vec<SecretHash>,
    },
    /// with a signed assertion
    PrivateKeyJwt {
        /// its keys
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jwks: Option<Value>,
        /// where its keys are
        #[serde(default, skip_serializing_if = "Option::is_none")]
        jwks_uri: Option<String>,
        /// the assertion may name the issuer only, not the token endpoint
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        issuer_only: bool,
    },
}

/// A client secret, drawn by this host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SecretHash {
    /// SHA-256, hexadecimal
    pub sha256: String,
    /// when it ends, milliseconds since 1970
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_ms: Option<u64>,
}

/// A registration holds something it may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` {message}")]
pub struct ClientError {
    /// which member
    pub member: &'static str,
    /// what is wrong with it
    pub message: String,
}

fn wrong<T>(member: &'static str, message: impl Into<String>) -> Result<T, ClientError> {
    Err(ClientError { member, message: message.into() })
}

impl ClientKind {
    /// The role a user has to have, of those they have.
    pub fn serves(self, kind: SubjectKind) -> bool {
        match self {
            Self::Patient => matches!(kind, SubjectKind::Patient | SubjectKind::Proxy),
            Self::Provider => kind == SubjectKind::Provider,
        }
    }
}

impl ClientAuth {
    /// The name in discovery documents and registrations.
    pub fn method(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::ClientSecretBasic { .. } => "client_secret_basic",
            Self::ClientSecretPost { .. } => "client_secret_post",
            Self::PrivateKeyJwt { .. } => "private_key_jwt",
        }
    }
}

impl Client {
    /// Whether everybody could claim to be it.
    pub fn is_public(&self) -> bool {
        self.auth == ClientAuth::None
    }

    /// Refuse what no registration may hold.
    pub fn check(&self) -> Result<(), ClientError> {
        // Letters that every program sends as they are (RFC 6749, section 2.3.1).
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~".contains(&b));
        if !(1..=128).contains(&self.id.len()) || !plain(&self.id) {
            return wrong("id", "has to be 1 to 128 letters, digits or `-._~`");
        }
        if !(1..=120).contains(&self.name.chars().count()) || self.name.contains(char::is_control) {
            return wrong("name", "has to be 1 to 120 characters");
        }
        if !(1..=32).contains(&self.redirect_uris.len()) {
            return wrong("redirect_uris", "has to name 1 to 32 addresses");
        }
        self.redirect_uris.iter().try_for_each(|uri| check_redirect_uri(uri, self.is_public()))?;
        if self.scope.len() > 8 << 10 || !scopes::is_scope_string(&self.scope) || self.scope.trim().is_empty() {
            return wrong("scope", "has to name scopes, in at most 8 KiB");
        }
        for (member, uri) in [("launch_uri", &self.launch_uri), ("policy_uri", &self.policy_uri)] {
            if uri.as_deref().is_some_and(|uri| !is_web(uri)) {
                return wrong(member, "has to be an https address");
            }
        }
        for origin in &self.origins {
            if origin_of(origin).as_deref() != Some(origin) {
                return wrong("origins", format!("`{origin}` is no origin like https://app.example"));
            }
        }
        if self.introspect && self.is_public() {
            return wrong("introspect", "needs an app that proves who it is");
        }
        self.check_auth()
    }

    fn check_auth(&self) -> Result<(), ClientError> {
        match &self.auth {
            ClientAuth::None => Ok(()),
            ClientAuth::ClientSecretBasic { secrets } | ClientAuth::ClientSecretPost { secrets } => {
                let sound = |secret: &SecretHash| {
                    secret.sha256.len() == 64 && secret.sha256.bytes().all(|b| b.is_ascii_hexdigit())
                };
                match (1..=8).contains(&secrets.len()) && secrets.iter().all(sound) {
                    true => Ok(()),
                    false => wrong("auth.secrets", "has to hold 1 to 8 SHA-256 hashes in hexadecimal"),
                }
            }
            ClientAuth::PrivateKeyJwt { jwks, jwks_uri, .. } => match (jwks, jwks_uri) {
                (Some(keys), None) => crate::tokens::check_client_keys(keys).or_else(|error| wrong("auth.jwks", error)),
                (None, Some(uri)) if uri.starts_with("https://") || is_web(uri) => Ok(()),
                (None, Some(_)) => wrong("auth.jwks_uri", "has to be an https address"),
                _ => wrong("auth", "needs exactly one of `jwks` and `jwks_uri`"),
            },
        }
    }

    /// The registered address a request names.
    ///
    /// SECURITY: compared as text (RFC 9700, section 4.1.3). The one exception is the port of a native app that
    /// listens on this machine (RFC 8252, section 7.3).
    pub fn redirect_uri<'a>(&self, asked: &'a str) -> Option<&'a str> {
        let registered = |known: &String| known == asked || (self.is_public() && differ_in_port(known, asked));
        self.redirect_uris.iter().any(registered).then_some(asked)
    }

    /// Whether a browser may call for it from an origin.
    pub fn calls_from(&self, origin: &str) -> bool {
        let redirects = self.redirect_uris.iter().filter_map(|uri| origin_of(uri));
        self.origins.iter().any(|known| known == origin) || redirects.into_iter().any(|known| known == origin)
    }

    /// Whether an approval once given may be taken as given again without asking.
    ///
    /// SECURITY: everybody on a device can claim a custom scheme or a loopback port (RFC 8252, section 8.6).
    pub fn may_be_remembered(&self, redirect_uri: &str) -> bool {
        !self.is_public() || redirect_uri.starts_with("https://")
    }
}

/// An address that browsers open: https, or http on this machine.
fn is_web(uri: &str) -> bool {
    Url::parse(uri).is_ok_and(|url| {
        let plain = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        plain && (url.scheme() == "https" || (url.scheme() == "http" && is_loopback(&url)))
    })
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

/// `https://app.example` of an address.
fn origin_of(uri: &str) -> Option<String> {
    let origin = Url::parse(uri).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

fn check_redirect_uri(uri: &str, is_public: bool) -> Result<(), ClientError> {
    const MEMBER: &str = "redirect_uris";
    if uri.len() > 2048 || uri.contains(|c: char| c.is_control() || c.is_whitespace() || "*\\".contains(c)) {
        return wrong(MEMBER, "names an address that is too long or holds blanks, `*` or `\\`");
    }
    let Ok(url) = Url::parse(uri) else {
        return wrong(MEMBER, format!("`{uri}` is not an absolute address"));
    };
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return wrong(MEMBER, format!("`{uri}` holds a fragment or a user"));
    }
    match url.scheme() {
        "https" => Ok(()),
        "http" if is_loopback(&url) => Ok(()),
        // A name turned round, of a domain its maker has (RFC 8252, section 7.1).
        scheme if is_public && scheme.contains('.') => Ok(()),
        _ => wrong(MEMBER, format!("`{uri}` is neither https, nor on this machine, nor of a public app's own scheme")),
    }
}

/// Two literal loopback addresses that differ in nothing but the port.
fn differ_in_port(known: &str, asked: &str) -> bool {
    let without_port = |uri: &str| {
        let mut url = Url::parse(uri).ok()?;
        let literal = matches!(url.host(), Some(url::Host::Ipv4(a)) if a.is_loopback())
            || matches!(url.host(), Some(url::Host::Ipv6(a)) if a.is_loopback());
        // What the parser would have to repair is not the same text.
        let same = url.as_str() == uri;
        (literal && same && url.scheme() == "http" && url.set_port(None).is_ok()).then(|| url.to_string())
    };
    match (without_port(known), without_port(asked)) {
        (Some(known), Some(asked)) => known == asked,
        _ => false,
    }
}

/// Whether a secret has not ended.
pub fn counts(secret: &SecretHash, now: Millis) -> bool {
    secret.expires_ms.is_none_or(|end| now.0 < end)
}

#[cfg(test)]
#[path = "client_tests.rs"]
mod tests;

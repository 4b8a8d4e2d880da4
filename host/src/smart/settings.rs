//! How this authorization server behaves.

use chartgate_model::FhirBase;

/// Longest time a flow may take, in milliseconds.
pub const FLOW_MS: u64 = 30 * 60 * 1_000;
/// Life of a code (SMART App Launch 2.2: about a minute).
pub const CODE_MS: u64 = 60 * 1_000;
/// How long a lost answer to a refresh may be asked for again.
pub const GRACE_MS: u64 = 30 * 1_000;
/// How long what has ended is kept, so that its replay is noticed.
pub const KEPT_MS: u64 = 24 * 60 * 60 * 1_000;
/// Fewest characters of a password (NIST SP 800-63B, section 5.1.1.1, asks for 8).
pub const PASSWORD_MIN: usize = 10;
/// Most bytes of a password: a longer one only costs time.
pub const PASSWORD_MAX: usize = 512;

/// Form of access tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFormat {
    /// random text
    Opaque,
    /// signed claims (RFC 9068)
    Jwt,
}

/// How this authorization server behaves, from a checked configuration.
#[derive(Debug, Clone)]
pub struct Settings {
    /// its URL, without a trailing slash
    pub issuer: String,
    /// whose people and apps it knows
    pub tenant: String,
    /// the base its tokens are for
    pub base: FhirBase,
    /// form of access tokens
    pub format: TokenFormat,
    /// life of an access token, seconds
    pub access_token_s: u64,
    /// life of an unused refresh token, milliseconds
    pub refresh_ms: u64,
    /// life of a session, milliseconds
    pub session_ms: u64,
    /// life of a launch, milliseconds
    pub launch_ms: u64,
    /// how long one key signs, milliseconds
    pub key_ms: u64,
    /// clients may send their secret in the form
    pub secret_post: bool,
    /// who may show the pages in a frame: origins
    pub frame_ancestors: Vec<String>,
    /// the client's address is what the proxy in front says
    pub behind_proxy: bool,
    /// key sets of clients may be at private addresses
    pub allow_private: bool,
    /// look of the pages
    pub theme: Theme,
}

/// Look of the pages.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Theme {
    /// whose authorization server it is
    pub name: String,
    /// URL of a logo
    pub logo: Option<String>,
    /// URL of a stylesheet
    pub stylesheet: Option<String>,
}

impl Settings {
    /// The URL of a path of this server.
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.issuer)
    }

    /// Whether pages travel encrypted, so that cookies may ask for it.
    pub fn is_https(&self) -> bool {
        self.issuer.starts_with("https://")
    }

    /// Whether `aud` names the base: a trailing slash, and the case of scheme and host, make no difference.
    pub fn is_audience(&self, aud: &str) -> bool {
        let plain = |text: &str| {
            let text = text.strip_suffix('/').unwrap_or(text);
            let (scheme, rest) = text.split_once("://")?;
            let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            Some((scheme.to_ascii_lowercase(), host.to_ascii_lowercase(), path.to_owned()))
        };
        let ours = plain(&self.base.url);
        ours.is_some() && ours == plain(aud)
    }
}

#[cfg(test)]
pub(crate) fn example() -> Settings {
    Settings {
        issuer: "https://auth.example".into(),
        tenant: "default".into(),
        base: FhirBase { name: "default".into(), url: "https://ehr.example/fhir".into(), version: "4.0.1".into() },
        format: TokenFormat::Opaque,
        access_token_s: 3_600,
        refresh_ms: 100 * 24 * 60 * 60 * 1_000,
        session_ms: 60 * 60 * 1_000,
        launch_ms: 5 * 60 * 1_000,
        key_ms: 90 * 24 * 60 * 60 * 1_000,
        secret_post: false,
        frame_ancestors: Vec::new(),
        behind_proxy: false,
        allow_private: false,
        theme: Theme::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audience_is_the_base_and_nothing_near_it() {
        let settings = example();
        for good in ["https://ehr.example/fhir", "https://ehr.example/fhir/", "HTTPS://EHR.example/fhir"] {
            assert!(settings.is_audience(good), "{good}");
        }
        for bad in [
            "",
            "https://ehr.example",
            "https://ehr.example/FHIR",
            "https://ehr.example/fhir//",
            "http://ehr.example/fhir",
            "https://ehr.example:443/fhir",
            "https://ehr.example/fhir/Patient",
            "https://ehr.example.evil/fhir",
        ] {
            assert!(!settings.is_audience(bad), "{bad}");
        }
    }
}

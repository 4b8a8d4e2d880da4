//! `[smart]`: the authorization server.

use chartgate_model::FhirBase;
use serde::Deserialize;

use crate::smart::settings::{Settings, Theme, TokenFormat};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// The authorization server, where this host is one.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Smart {
    /// its URL as people and apps reach it, without a trailing slash
    pub issuer: String,
    /// whose people and apps it knows
    pub tenant: String,
    /// name of the base its tokens are for
    pub fhir: String,
    /// `opaque`, or `jwt` (RFC 9068); either is taken back at once
    pub access_token: AccessToken,
    /// seconds an access token lives
    pub access_token_s: u64,
    /// days a refresh token lives unused
    pub refresh_days: u64,
    /// minutes somebody stays signed in
    pub session_minutes: u64,
    /// seconds a launch waits for its app
    pub launch_s: u64,
    /// days one key signs
    pub key_days: u64,
    /// clients may be registered to send their secret in the form
    pub secret_post: bool,
    /// origins that may show the pages in a frame
    pub frame_ancestors: Vec<String>,
    /// a proxy in front writes `X-Forwarded-For`
    pub behind_proxy: bool,
    /// key sets of clients may be at private addresses
    pub allow_private: bool,
    /// look of the pages
    pub theme: ThemeConfig,
}

/// Form of access tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AccessToken {
    /// random text
    #[default]
    Opaque,
    /// signed claims
    Jwt,
}

/// Look of the pages.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ThemeConfig {
    /// whose authorization server it is
    pub name: String,
    /// URL of a logo
    pub logo: Option<String>,
    /// URL of a stylesheet laid over ours
    pub stylesheet: Option<String>,
}

impl Default for Smart {
    fn default() -> Self {
        Self {
            issuer: String::new(),
            tenant: "default".into(),
            fhir: "default".into(),
            access_token: AccessToken::Opaque,
            access_token_s: 3_600,
            refresh_days: 100,
            session_minutes: 60,
            launch_s: 300,
            key_days: 90,
            secret_post: false,
            frame_ancestors: Vec::new(),
            behind_proxy: false,
            allow_private: false,
            theme: ThemeConfig::default(),
        }
    }
}

impl Smart {
    /// Everything that is wrong with it.
    pub(super) fn check(&self, bases: &[&str], problems: &mut Vec<String>) {
        if !is_origin(&self.issuer) {
            problems.push(
                "`smart.issuer` has to be an origin like https://auth.example; http is for this machine alone".into(),
            );
        }
        if let Err(error) = crate::store::validate::tenant(&self.tenant) {
            problems.push(format!("`smart.tenant`: {}", error.message));
        }
        if !bases.contains(&self.fhir.as_str()) {
            problems.push(format!("`smart.fhir`: no base `{}` is configured", self.fhir));
        }
        let rows = [
            ("access_token_s", self.access_token_s, 60, 3_600),
            // ONC asks for three months, 45 CFR 170.315(g)(10)(v)(A).
            ("refresh_days", self.refresh_days, 92, 3_660),
            ("session_minutes", self.session_minutes, 1, 24 * 60),
            ("launch_s", self.launch_s, 10, 3_600),
            ("key_days", self.key_days, 1, 3_660),
        ];
        for (member, value, least, most) in rows {
            if !(least..=most).contains(&value) {
                problems.push(format!("`smart.{member}` has to be between {least} and {most}, not {value}"));
            }
        }
        for origin in self.frame_ancestors.iter().filter(|origin| !is_origin(origin)) {
            problems.push(format!("`smart.frame_ancestors`: `{origin}` is no origin like https://ehr.example"));
        }
        let urls = [("logo", &self.theme.logo), ("stylesheet", &self.theme.stylesheet)];
        for (member, url) in urls {
            if url.as_deref().is_some_and(|url| url::Url::parse(url).is_err()) {
                problems.push(format!("`smart.theme.{member}` has to be an absolute URL"));
            }
        }
    }

    /// The settings of the server.
    pub fn settings(&self, base: FhirBase) -> Settings {
        Settings {
            issuer: self.issuer.clone(),
            tenant: self.tenant.clone(),
            base,
            format: match self.access_token {
                AccessToken::Opaque => TokenFormat::Opaque,
                AccessToken::Jwt => TokenFormat::Jwt,
            },
            access_token_s: self.access_token_s,
            refresh_ms: self.refresh_days * DAY_MS,
            session_ms: self.session_minutes * 60 * 1_000,
            launch_ms: self.launch_s * 1_000,
            key_ms: self.key_days * DAY_MS,
            secret_post: self.secret_post,
            frame_ancestors: self.frame_ancestors.clone(),
            behind_proxy: self.behind_proxy,
            allow_private: self.allow_private,
            theme: Theme {
                name: self.theme.name.clone(),
                logo: self.theme.logo.clone(),
                stylesheet: self.theme.stylesheet.clone(),
            },
        }
    }
}

/// Scheme, host and port, spelled as browsers spell it: https, or http on this machine.
fn is_origin(text: &str) -> bool {
    let Ok(url) = url::Url::parse(text) else { return false };
    let local = matches!(url.host_str(), Some("localhost" | "127.0.0.1" | "[::1]"));
    let encrypted = url.scheme() == "https" || (url.scheme() == "http" && local);
    encrypted && url.origin().ascii_serialization() == text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(change: impl FnOnce(&mut Smart)) -> Vec<String> {
        let mut smart = Smart { issuer: "https://auth.example".into(), ..Smart::default() };
        change(&mut smart);
        let mut problems = Vec::new();
        smart.check(&["default"], &mut problems);
        problems
    }

    #[test]
    fn an_issuer_is_an_origin() {
        for good in ["https://auth.example", "https://auth.example:8443", "http://127.0.0.1:8080", "http://localhost"] {
            assert!(problems(|smart| smart.issuer = good.into()).is_empty(), "{good}");
        }
        for bad in
            ["", "https://auth.example/", "https://auth.example/x", "http://auth.example", "HTTPS://auth.example"]
        {
            assert_eq!(problems(|smart| smart.issuer = bad.into()).len(), 1, "{bad}");
        }
    }

    #[test]
    fn lives_are_held_between_their_bounds() {
        for (good, days) in [(false, 91), (true, 92), (true, 3_660), (false, 3_661)] {
            assert_eq!(problems(|smart| smart.refresh_days = days).is_empty(), good, "{days}");
        }
        for (good, seconds) in [(false, 59), (true, 60), (true, 3_600), (false, 3_601)] {
            assert_eq!(problems(|smart| smart.access_token_s = seconds).is_empty(), good, "{seconds}");
        }
        assert_eq!(problems(|smart| smart.fhir = "other".into()).len(), 1);
        assert_eq!(problems(|smart| smart.frame_ancestors = vec!["*".into()]).len(), 1);
    }
}

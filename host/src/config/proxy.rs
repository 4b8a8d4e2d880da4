//! A FHIR server that this host stands in front of.

use std::path::PathBuf;

use serde::Deserialize;

/// `[proxy]` for the base `default`, `[fhir.NAME.proxy]` for any other.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct ProxyConfig {
    /// where the server is reached: an absolute URL
    pub upstream: String,
    /// the tenant whose charts it holds
    pub tenant: String,
    /// private addresses, and `http` on this machine
    pub allow_private: bool,
    /// file with the bearer token it is asked with
    pub token_file: Option<PathBuf>,
    /// milliseconds a whole answer may take
    pub timeout_ms: u64,
    /// bytes of an answer that has to be looked into: a larger one is refused
    pub answer_bytes: usize,
}

impl Default for ProxyConfig {
    fn default() -> Self {
        Self {
            upstream: String::new(),
            tenant: "default".into(),
            allow_private: false,
            token_file: None,
            timeout_ms: 30_000,
            answer_bytes: 32 << 20,
        }
    }
}

impl ProxyConfig {
    pub(super) fn check(&self, member: &str, problems: &mut Vec<String>) {
        if let Err(error) = crate::outbound::check_url(&self.upstream, self.allow_private) {
            problems.push(format!("`{member}.upstream`: {error}"));
        } else if self.upstream.contains(['?', '#']) {
            problems.push(format!("`{member}.upstream` has a query"));
        }
        if let Err(error) = crate::store::validate::tenant(&self.tenant) {
            problems.push(format!("`{member}.tenant`: {}", error.message));
        }
        if !(1..=300_000).contains(&self.timeout_ms) {
            problems.push(format!("`{member}.timeout_ms` has to be between 1 and 300000, not {}", self.timeout_ms));
        }
        if !(1_024..=256 << 20).contains(&self.answer_bytes) {
            problems.push(format!(
                "`{member}.answer_bytes` has to be between 1024 and 268435456, not {}",
                self.answer_bytes
            ));
        }
    }
}

/// Paths that are this host's own.
const OURS: [&str; 7] = ["/v1", "/access", "/oauth", "/.well-known", "/openapi.json", "/demo", "/admin"];

/// Whether a base can be served at the path of its URL: below the root, and not where this host has something of its own.
pub(super) fn check_path(name: &str, url: &str, problems: &mut Vec<String>) {
    let path = crate::proxy::path_of(url);
    let is_ours = OURS.iter().any(|own| path == *own || path.starts_with(&format!("{own}/")));
    let plain = path.bytes().all(|b| b.is_ascii_alphanumeric() || b"/-._~".contains(&b)) && !path.contains("//");
    if path.is_empty() || is_ours || !plain {
        problems.push(format!("`fhir.{name}.url` needs a path of its own, like `/fhir`, to be served at"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(change: impl FnOnce(&mut ProxyConfig)) -> usize {
        let mut config = ProxyConfig { upstream: "https://fhir.example/r4".into(), ..ProxyConfig::default() };
        change(&mut config);
        let mut problems = Vec::new();
        config.check("proxy", &mut problems);
        problems.len()
    }

    #[test]
    fn an_upstream_is_encrypted_or_on_this_machine() {
        assert_eq!(problems(|_| {}), 0);
        assert_eq!(problems(|config| config.upstream = "http://127.0.0.1:8081/fhir".into()), 1);
        assert_eq!(
            problems(|config| {
                config.upstream = "http://127.0.0.1:8081/fhir".into();
                config.allow_private = true;
            }),
            0
        );
        assert_eq!(problems(|config| config.upstream = "https://fhir.example/r4?x".into()), 1);
    }

    #[test]
    fn bounds_are_held() {
        for (count, ms) in [(1, 0), (0, 1), (0, 300_000), (1, 300_001)] {
            assert_eq!(problems(|config| config.timeout_ms = ms), count, "{ms}");
        }
        for (count, bytes) in [(1, 1_023), (0, 1_024), (0, 256 << 20), (1, (256 << 20) + 1)] {
            assert_eq!(problems(|config| config.answer_bytes = bytes), count, "{bytes}");
        }
    }

    #[test]
    fn a_base_is_served_at_a_path_that_is_nobody_elses() {
        let count = |url: &str| {
            let mut problems = Vec::new();
            check_path("default", url, &mut problems);
            problems.len()
        };
        for good in ["https://ehr.example/fhir", "https://ehr.example/a/r4", "http://127.0.0.1:8080/oauthfhir"] {
            assert_eq!(count(good), 0, "{good}");
        }
        for bad in ["https://ehr.example", "https://ehr.example/v1/fhir", "https://ehr.example/oauth", "https://e/{x}"]
        {
            assert_eq!(count(bad), 1, "{bad}");
        }
    }
}

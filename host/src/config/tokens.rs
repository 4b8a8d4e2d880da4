//! `[[tokens]]` and `[system]`: whose bearer tokens are taken.

use std::path::PathBuf;

use serde::Deserialize;

use crate::causes::chain;
use crate::tokens::{Binding, ClaimNames, TokenConfig, algorithms, check_url};

/// An issuer whose bearer tokens are taken.
#[derive(Debug, Clone, Deserialize)]
pub struct Tokens {
    /// `iss`, compared byte by byte
    pub issuer: String,
    /// one of these has to be in `aud`
    pub audiences: Vec<String>,
    /// names of the bases its tokens count for; to be said where there are several
    #[serde(default)]
    pub fhir: Vec<String>,
    /// tenants its tokens count for; to be said where callers have several
    #[serde(default)]
    pub tenants: Vec<String>,
    /// file of the issuer's JSON Web Key Set; this, `jwks_url` or `introspection`
    pub jwks_file: Option<PathBuf>,
    /// where the key set is fetched from
    pub jwks_url: Option<String>,
    /// the issuer is asked about each token
    pub introspection: Option<Introspection>,
    /// algorithms allowed, `RS256`; every asymmetric one when empty
    #[serde(default)]
    pub algorithms: Vec<String>,
    /// how far the issuer's clock may be off, in seconds
    #[serde(default = "default_leeway_s")]
    pub leeway_s: u64,
    /// what the issuer calls its claims
    #[serde(default)]
    pub claims: ClaimNames,
    /// with `[system] enabled = true`: a token without a user stands for the client itself
    #[serde(default)]
    pub system_clients: bool,
    /// private addresses, and http on this machine, are fine for `jwks_url` and `introspection`
    #[serde(default)]
    pub allow_private: bool,
    /// milliseconds within which the issuer has to answer
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// with `jwks_url`: seconds for which fetched keys are used at most; the issuer may say less
    pub max_age_s: Option<u64>,
    /// with `jwks_url`: seconds for which they are used beyond that while fetching fails
    pub stale_max_s: Option<u64>,
}

/// Asking the issuer about a token (RFC 7662).
#[derive(Debug, Clone, Deserialize)]
pub struct Introspection {
    /// where the issuer is asked
    pub url: String,
    /// the host's name at the issuer
    pub client_id: String,
    /// file of the host's secret at the issuer
    pub client_secret_file: PathBuf,
    /// tokens that are no JWT are asked about; one issuer may have them
    #[serde(default = "yes")]
    pub opaque: bool,
    /// JWTs of this issuer are asked about
    #[serde(default)]
    pub jwt: bool,
    /// an answer without `iss` is refused; one with another is in any case
    #[serde(default)]
    pub require_issuer: bool,
    /// an answer without `aud` is refused; one with another is in any case
    #[serde(default)]
    pub require_audience: bool,
    /// answers kept; 0 keeps none
    #[serde(default = "default_cache_entries")]
    pub cache_entries: usize,
    /// seconds for which an answer is kept, never beyond the token's end
    #[serde(default = "default_cache_age_s")]
    pub cache_age_s: u64,
}

/// Clients without a user.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct System {
    /// whether there are any
    pub enabled: bool,
}

fn default_leeway_s() -> u64 {
    30
}

fn default_timeout_ms() -> u64 {
    3_000
}

fn default_cache_entries() -> usize {
    4_096
}

fn default_cache_age_s() -> u64 {
    30
}

fn yes() -> bool {
    true
}

impl Tokens {
    /// Seconds for which fetched keys are used at most.
    pub fn max_age_s(&self) -> u64 {
        self.max_age_s.unwrap_or(300)
    }

    /// Seconds for which they are used beyond that while fetching fails.
    pub fn stale_max_s(&self) -> u64 {
        self.stale_max_s.unwrap_or(3_600)
    }

    /// What tokens of this issuer have to look like. Names of algorithms that are unknown are left out;
    /// [`check`] has told of them.
    pub(crate) fn settings(&self, max_scope_bytes: usize, system: &System) -> TokenConfig {
        let mut settings = TokenConfig::new(self.issuer.clone(), self.audiences.clone());
        settings.leeway_s = self.leeway_s;
        settings.max_scope_bytes = max_scope_bytes;
        settings.claims = self.claims.clone();
        settings.binding = Binding { bases: self.fhir.clone(), tenants: self.tenants.clone() };
        settings.system_clients = self.system_clients && system.enabled;
        if !self.algorithms.is_empty() {
            settings.algorithms = algorithms(&self.algorithms).unwrap_or_default();
        }
        settings
    }

    fn check(&self, problem: &mut dyn FnMut(String)) {
        let sources = [self.jwks_file.is_some(), self.jwks_url.is_some(), self.introspection.is_some()];
        if sources.iter().filter(|given| **given).count() != 1 {
            problem("has to have one of `jwks_file`, `jwks_url` and `introspection`".into());
        }
        if let Err(error) = algorithms(&self.algorithms) {
            problem(error.to_string());
        } else {
            let settings = self.settings(1, &System::default());
            settings.problems().iter().for_each(|error| problem(error.to_string()));
        }
        if let Some(Err(error)) = self.jwks_url.as_deref().map(|url| check_url(url, self.allow_private)) {
            problem(format!("`jwks_url`: {error}"));
        }
        if self.jwks_url.is_none() && (self.max_age_s.is_some() || self.stale_max_s.is_some()) {
            problem("`max_age_s` and `stale_max_s` belong to `jwks_url`".into());
        }
        if self.introspection.is_some() && !self.algorithms.is_empty() {
            problem("`algorithms` belongs to `jwks_file` and `jwks_url`".into());
        }
        between(problem, "timeout_ms", self.timeout_ms, 1, 10_000);
        between(problem, "max_age_s", self.max_age_s(), 1, 86_400);
        between(problem, "stale_max_s", self.stale_max_s(), 0, 86_400);
        if let Some(introspection) = &self.introspection {
            introspection.check(self.allow_private, problem);
        }
    }
}

impl Introspection {
    fn check(&self, allow_private: bool, problem: &mut dyn FnMut(String)) {
        if let Err(error) = check_url(&self.url, allow_private) {
            problem(format!("`introspection.url`: {error}"));
        }
        if self.client_id.is_empty() {
            problem("`introspection.client_id` is empty".into());
        }
        if !self.opaque && !self.jwt {
            problem("`introspection` takes neither `opaque` tokens nor a `jwt`".into());
        }
        between(problem, "introspection.cache_entries", self.cache_entries as u64, 0, 100_000);
        between(problem, "introspection.cache_age_s", self.cache_age_s, 1, 60);
    }
}

fn between(problem: &mut dyn FnMut(String), member: &str, value: u64, least: u64, most: u64) {
    if !(least..=most).contains(&value) {
        problem(format!("`{member}` has to be between {least} and {most}, not {value}"));
    }
}

/// Everything that is wrong with the issuers, each by itself and together.
pub(super) fn check(issuers: &[Tokens], bases: &[&str], tenants: &[&str], problems: &mut Vec<String>) {
    for (at, tokens) in issuers.iter().enumerate() {
        for (member, given, known) in [("fhir", &tokens.fhir, bases), ("tenants", &tokens.tenants, tenants)] {
            if given.is_empty() && known.len() > 1 {
                problems.push(format!("`tokens[{at}].{member}` has to say for which of {} it is", known.join(", ")));
            }
            for name in given.iter().filter(|name| !known.contains(&name.as_str())) {
                problems.push(format!("`tokens[{at}].{member}`: `{name}` is none of {}", known.join(", ")));
            }
        }
        tokens.check(&mut |text| problems.push(format!("`tokens[{at}]`: {text}")));
        // SECURITY: a token is held against one issuer's rules, and never against the laxer of two.
        if issuers.iter().take(at).any(|other| other.issuer == tokens.issuer) {
            problems.push(format!("`tokens[{at}].issuer` is that of an earlier one"));
        }
    }
    let takes_opaque = |tokens: &&Tokens| tokens.introspection.as_ref().is_some_and(|asked| asked.opaque);
    if issuers.iter().filter(takes_opaque).count() > 1 {
        problems.push("`tokens`: several issuers take `opaque` tokens, which do not say whose they are".into());
    }
}

/// The file's bytes, or a sentence that names the member and the file.
pub(crate) fn read(at: usize, member: &str, file: &std::path::Path) -> Result<Vec<u8>, String> {
    std::fs::read(file)
        .map_err(|error| format!("cannot read `tokens[{at}].{member}` `{}`: {}", file.display(), chain(&error)))
}

#[cfg(test)]
#[path = "tokens_tests.rs"]
mod tests;

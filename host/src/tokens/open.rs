//! Issuers from the configuration and the files it names.

use std::path::Path;
use std::time::Duration;

use super::cache::Cache;
use super::claims::Required;
use super::introspect::{AGE_MAX, ANSWER_BYTES, Introspector, basic};
use super::issuers::{Introspection, Issuer, Issuers, Means};
use super::jwks::KeySet;
use super::keys::{Ages, JWKS_BYTES, Keys, Remote};
use super::settings::TokenConfig;
use crate::causes::chain;
use crate::config::{self, Config, Tokens};
use crate::outbound::{Endpoint, EndpointError};

impl Issuers {
    /// All issuers of a checked configuration; `None` when it names none. The error lists everything
    /// that is wrong with the files.
    pub fn open(config: &Config) -> Result<Option<Self>, Vec<String>> {
        let (mut issuers, mut problems) = (Vec::new(), Vec::new());
        for (at, tokens) in config.tokens.iter().enumerate() {
            let settings = tokens.settings(config.limits.scope_bytes, &config.system);
            match (Opening { at, tokens }).means(&settings) {
                Ok(means) => issuers.push(Issuer { config: settings, means }),
                Err(problem) => problems.push(problem),
            }
        }
        match (problems.is_empty(), issuers.is_empty()) {
            (false, _) => Err(problems),
            (true, true) => Ok(None),
            (true, false) => Ok(Some(Self(issuers))),
        }
    }
}

/// One table, and its place in the file.
struct Opening<'a> {
    at: usize,
    tokens: &'a Tokens,
}

impl Opening<'_> {
    fn means(&self, settings: &TokenConfig) -> Result<Means, String> {
        let Tokens { jwks_file, jwks_url, introspection, .. } = self.tokens;
        match (jwks_file, jwks_url, introspection) {
            (Some(file), _, _) => self.fixed(file, settings),
            (_, Some(url), _) => self.fetched(url, settings),
            (_, _, Some(asked)) => self.asked(asked),
            (None, None, None) => Err(format!("`tokens[{}]` has no keys", self.at)),
        }
    }

    fn fixed(&self, file: &Path, settings: &TokenConfig) -> Result<Means, String> {
        let bytes = config::read(self.at, "jwks_file", file)?;
        let set = KeySet::parse(&bytes, &settings.algorithms).map_err(|error| {
            format!("`tokens[{}].jwks_file` `{}`: the key set cannot be used: {error}", self.at, file.display())
        })?;
        Ok(Means::Keys(Keys::Fixed(set)))
    }

    fn fetched(&self, url: &str, settings: &TokenConfig) -> Result<Means, String> {
        let endpoint = self.endpoint("jwks_url", url, JWKS_BYTES)?;
        let ages = Ages {
            max: Duration::from_secs(self.tokens.max_age_s()),
            stale_max: Duration::from_secs(self.tokens.stale_max_s()),
        };
        let remote = Remote::new(&settings.issuer, endpoint, &settings.algorithms, ages);
        Ok(Means::Keys(Keys::Fetched(remote)))
    }

    fn asked(&self, given: &config::Introspection) -> Result<Means, String> {
        let endpoint = self.endpoint("introspection.url", &given.url, ANSWER_BYTES)?;
        let secret = self.secret(&given.client_secret_file)?;
        let authorization = basic(&given.client_id, &secret)
            .ok_or_else(|| format!("`tokens[{}].introspection.client_id` cannot be sent", self.at))?;
        let cache = Cache::new(given.cache_entries, Duration::from_secs(given.cache_age_s).min(AGE_MAX));
        let patience = Duration::from_millis(self.tokens.timeout_ms);
        Ok(Means::Introspection(Box::new(Introspection {
            introspector: Introspector::new(&self.tokens.issuer, endpoint, authorization, cache, patience),
            opaque: given.opaque,
            jwt: given.jwt,
            required: Required { issuer: given.require_issuer, audience: given.require_audience },
        })))
    }

    /// The secret on the one line of a file.
    fn secret(&self, file: &Path) -> Result<String, String> {
        let member = "introspection.client_secret_file";
        let bytes = config::read(self.at, member, file)?;
        let text = String::from_utf8(bytes).ok().map(|text| text.trim_end_matches(['\r', '\n']).to_owned());
        text.filter(|text| !text.is_empty() && !text.contains(char::is_control))
            .ok_or_else(|| format!("`tokens[{}].{member}` `{}` is not one line of text", self.at, file.display()))
    }

    fn endpoint(&self, member: &str, url: &str, most_bytes: usize) -> Result<Endpoint, String> {
        let timeout = Duration::from_millis(self.tokens.timeout_ms);
        Endpoint::new(url, self.tokens.allow_private, timeout, most_bytes)
            .map_err(|error: EndpointError| format!("`tokens[{}].{member}`: {}", self.at, chain(&error)))
    }
}

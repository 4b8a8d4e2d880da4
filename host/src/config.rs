//! Configuration: `chartgate.toml`, then `CHARTGATE_*` environment, then flags.
//!
//! A mistake never goes unnoticed: unknown members are errors, and every problem found is listed
//! before anything starts.

mod proxy;
mod smart;
mod tokens;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use chartgate_model::parse::ParseLimits;
use serde::Deserialize;

use crate::batch::BundleLimits;

pub use proxy::ProxyConfig;
pub use smart::{AccessToken, Smart, ThemeConfig};
pub(crate) use tokens::read;
pub use tokens::{Introspection, System, Tokens};

/// The whole configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Config {
    /// addresses
    pub listen: Listen,
    /// where this host keeps its state
    pub data: Data,
    /// releases and whom to trust
    pub policies: Policies,
    /// FHIR bases by name; `default` is used when a request names none
    pub fhir: BTreeMap<String, FhirBaseConfig>,
    /// the server behind the base `default`, where this host stands in front of it
    pub proxy: Option<ProxyConfig>,
    /// issuers whose bearer tokens are taken
    pub tokens: Vec<Tokens>,
    /// the authorization server, where this host is one
    pub smart: Option<Smart>,
    /// clients without a user
    pub system: System,
    /// who may ask
    pub callers: Vec<CallerConfig>,
    /// who may change things
    pub administrators: Vec<AdministratorConfig>,
    /// bounds
    pub limits: Limits,
    /// the decision log
    pub log: Log,
}

/// Addresses.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Listen {
    /// decisions
    pub public: SocketAddr,
    /// health, metrics, administration
    pub operations: SocketAddr,
}

impl Default for Listen {
    fn default() -> Self {
        Self { public: SocketAddr::from(([127, 0, 0, 1], 8080)), operations: SocketAddr::from(([127, 0, 0, 1], 9090)) }
    }
}

/// Where this host keeps its state.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Data {
    /// folder of the database and the log; `./data` when absent
    pub dir: Option<PathBuf>,
}

/// Releases and whom to trust.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Policies {
    /// folder of releases, `<name>/<version>/`; `./policies` when absent
    pub dir: Option<PathBuf>,
    /// minisign public keys; one of them has to have signed a release
    pub trusted_keys: Vec<PathBuf>,
    /// the release to start with when none was ever made active
    pub initial: Option<String>,
    /// keep compiled releases under `<data>/compiled`, so that the next start need not compile them;
    /// what lies there is machine code, so nobody but the host may write to it
    pub compiled_cache: bool,
}

/// A FHIR base.
#[derive(Debug, Clone, Deserialize)]
pub struct FhirBaseConfig {
    /// absolute URL
    pub url: String,
    /// FHIR version, `4.0.1`
    pub version: String,
    /// whether and how its server is asked what it knows about people
    pub facts: Option<LiveFactsConfig>,
    /// the server behind it, where this host stands in front of it
    pub proxy: Option<ProxyConfig>,
}

/// How a FHIR server is asked what it knows about people.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct LiveFactsConfig {
    /// where it is reached, the base's `url` when absent
    pub url: Option<String>,
    /// tenants it speaks for
    pub tenants: Vec<String>,
    /// private addresses, and `http` on this machine
    pub allow_private: bool,
    /// file with the bearer token it is asked with
    pub token_file: Option<PathBuf>,
    /// types it does not have
    pub without: Vec<String>,
    /// zone of its patients and of dates without a time
    pub zone: Option<String>,
    /// milliseconds an answer may take
    pub timeout_ms: u64,
    /// seconds an answer is kept
    pub max_age_s: u64,
    /// bytes of a page
    pub page_bytes: usize,
}

impl Default for LiveFactsConfig {
    fn default() -> Self {
        Self {
            url: None,
            tenants: vec!["default".into()],
            allow_private: false,
            token_file: None,
            without: Vec::new(),
            zone: None,
            timeout_ms: 2_000,
            max_age_s: 30,
            page_bytes: 4 << 20,
        }
    }
}

impl LiveFactsConfig {
    fn check(&self, member: &str, base: &str, problems: &mut Vec<String>) {
        let url = self.url.as_deref().unwrap_or(base);
        if let Err(error) = crate::outbound::check_url(url, self.allow_private) {
            problems.push(format!("`{member}.url`: {error}"));
        }
        // SECURITY: what is known of people is never older than a minute.
        for (name, value, most) in [("timeout_ms", self.timeout_ms, 30_000), ("max_age_s", self.max_age_s, 60)] {
            if value > most || (value == 0 && name == "timeout_ms") {
                problems.push(format!("`{member}.{name}` is more than {most}, or nothing"));
            }
        }
        if !(1_024..=64 << 20).contains(&self.page_bytes) {
            problems.push(format!("`{member}.page_bytes` has to be between 1024 and 67108864"));
        }
        if self.zone.as_deref().is_some_and(|zone| crate::people::zone(zone).is_none()) {
            problems.push(format!("`{member}.zone` is not the IANA name of a time zone"));
        }
        for tenant in &self.tenants {
            if let Err(error) = crate::store::validate::tenant(tenant) {
                problems.push(format!("`{member}.tenants`: {}", error.message));
            }
        }
    }
}

/// Somebody who may ask.
#[derive(Debug, Clone, Deserialize)]
pub struct CallerConfig {
    /// name in records, pins and metrics
    pub name: String,
    /// how it proves who it is
    pub auth: CallerAuth,
    /// tenants it may ask about
    pub tenants: Vec<String>,
    /// `decide`, `filter`, `vouch-subject`, `vouch-facts`, `explain`, `simulate`, `introspect`, `launch`
    pub may: Vec<String>,
}

/// How a caller or administrator proves who it is.
#[derive(Debug, Clone, Deserialize)]
pub struct CallerAuth {
    /// SHA-256 of its API key, 64 hexadecimal digits; the key itself is never configured
    pub api_key_sha256: String,
}

/// Somebody who may change things.
#[derive(Debug, Clone, Deserialize)]
pub struct AdministratorConfig {
    /// name in records
    pub name: String,
    /// how it proves who it is
    pub auth: CallerAuth,
    /// `operator`, `publisher`, `auditor`
    pub roles: Vec<String>,
}

/// Bounds. Whatever goes over one is refused, never cut.
#[derive(Debug, Clone, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// bytes of an HTTP request body
    pub body_bytes: usize,
    /// bytes of a batch or a transaction
    pub bundle_bytes: usize,
    /// entries of one
    pub bundle_entries: usize,
    /// bytes of a body of `/v1/filter`, which holds a whole answer
    pub filter_bytes: usize,
    /// bytes of `request.url`
    pub url_bytes: usize,
    /// parameters of one search
    pub parameters: usize,
    /// bytes of a scope string
    pub scope_bytes: usize,
    /// items of one AuthZEN `evaluations`
    pub evaluations: usize,
    /// decisions under way at once
    pub concurrent_decisions: usize,
    /// decisions a second and caller, each item of a batch among them
    pub caller_rate_per_s: u32,
    /// fuel of one policy call
    pub fuel: u64,
    /// milliseconds of one policy call
    pub deadline_ms: u64,
    /// bytes of memory of one policy call
    pub memory_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let runtime = chartgate_runtime::RuntimeLimits::default();
        Self {
            body_bytes: 2 << 20,
            bundle_bytes: 16 << 20,
            bundle_entries: 5_000,
            filter_bytes: 32 << 20,
            url_bytes: 8 << 10,
            parameters: 256,
            scope_bytes: 8 << 10,
            evaluations: 100,
            concurrent_decisions: 1024,
            caller_rate_per_s: 100_000,
            fuel: runtime.fuel,
            deadline_ms: runtime.deadline_ms,
            memory_bytes: runtime.memory_bytes,
        }
    }
}

impl Limits {
    /// Those of a FHIR request.
    pub fn parse(&self) -> ParseLimits {
        let Self { url_bytes, parameters, body_bytes, bundle_bytes, .. } = *self;
        ParseLimits { url_bytes, parameters, body_bytes, bundle_bytes }
    }

    /// Those of a batch or a transaction.
    pub fn bundle(&self) -> BundleLimits {
        BundleLimits { entries: self.bundle_entries, entry: self.parse() }
    }
}

/// The decision log.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Log {
    /// `fsync` (default): an answer leaves when its record is on the disk; `buffered`: when the
    /// operating system has it, so a power cut may lose the last records
    pub durability: DurabilityConfig,
}

/// When a record counts as kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DurabilityConfig {
    /// on the disk
    #[default]
    Fsync,
    /// with the operating system
    Buffered,
}

/// The configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// the file cannot be read
    #[error("cannot read configuration `{}`: {source}", path.display())]
    Read {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: std::io::Error,
    },
    /// it is no TOML, or a member has the wrong type
    #[error("configuration: {0}")]
    Parse(String),
    /// everything else that is wrong with it
    #[error("configuration: {}", .0.join("; "))]
    Problems(Vec<String>),
}

impl Config {
    /// Read the file, if there is one, and lay the environment over it.
    pub fn load(path: Option<&Path>, environment: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigError> {
        let mut table = match path {
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
                text.parse::<toml::Table>()
                    .map_err(|error| ConfigError::Parse(error.to_string().trim_end().replace('\n', " ")))?
            }
            None => toml::Table::new(),
        };
        for (name, value) in environment {
            if let Some(path) = name.strip_prefix("CHARTGATE_") {
                lay_over(&mut table, &path.to_lowercase(), &value)?;
            }
        }
        let mut unknown = Vec::new();
        let config: Self = serde_ignored::deserialize(table, |path| unknown.push(format!("unknown member `{path}`")))
            .map_err(|error: toml::de::Error| {
            ConfigError::Parse(error.to_string().trim_end().replace('\n', " "))
        })?;
        let mut problems = unknown;
        config.check(&mut problems);
        if problems.is_empty() { Ok(config) } else { Err(ConfigError::Problems(problems)) }
    }

    /// Check again after flags were laid over it.
    pub fn check_again(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        self.check(&mut problems);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Problems(problems)) }
    }

    fn check(&self, problems: &mut Vec<String>) {
        for (member, address) in [("listen.public", self.listen.public), ("listen.operations", self.listen.operations)]
        {
            // SECURITY: without TLS, credentials and charts would cross the network in the clear.
            if !address.ip().is_loopback() {
                problems.push(format!(
                    "`{member}` {address} is not a loopback address, and this host has no TLS of its own"
                ));
            }
        }
        for (name, base) in &self.fhir {
            let absolute = base.url.starts_with("https://") || base.url.starts_with("http://");
            if !absolute || base.url.ends_with('/') || base.url.contains(['?', '#']) {
                problems.push(format!("`fhir.{name}.url` has to be an absolute URL without a trailing slash"));
            }
            if let Some(proxy) = &base.proxy {
                proxy.check(&format!("fhir.{name}.proxy"), problems);
                proxy::check_path(name, &base.url, problems);
            }
            if let Some(facts) = &base.facts {
                facts.check(&format!("fhir.{name}.facts"), &base.url, problems);
            }
        }
        self.check_proxy(problems);
        if self.policies.initial.as_deref().is_some_and(|pin| chartgate_model::ReleasePin::parse(pin).is_none()) {
            problems.push("`policies.initial` is neither `name@version` nor `sha256:…`".into());
        }
        let bases: Vec<&str> =
            if self.fhir.is_empty() { vec!["default"] } else { self.fhir.keys().map(String::as_str).collect() };
        let mut tenants: Vec<&str> =
            self.callers.iter().flat_map(|caller| &caller.tenants).map(String::as_str).collect();
        tenants.sort_unstable();
        tenants.dedup();
        tokens::check(&self.tokens, &bases, &tenants, problems);
        if let Some(smart) = &self.smart {
            smart.check(&bases, problems);
        }
        self.check_people(problems);
        self.check_limits(problems);
    }

    fn check_proxy(&self, problems: &mut Vec<String>) {
        let mut paths: Vec<&str> = Vec::new();
        for (name, _) in self.proxies() {
            let path = self.fhir.get(name).map_or("", |base| crate::proxy::path_of(&base.url));
            if paths.contains(&path) {
                problems.push(format!("`fhir.{name}.url` has the path of another base that this host serves"));
            }
            paths.push(path);
        }
        let Some(proxy) = &self.proxy else { return };
        proxy.check("proxy", problems);
        match self.fhir.get("default") {
            None => {
                problems.push("`proxy` stands in front of the base `default`, and there is no `fhir.default`".into())
            }
            Some(FhirBaseConfig { proxy: Some(_), .. }) => {
                problems.push("`proxy` and `fhir.default.proxy` are the same: one of them has to go".into());
            }
            Some(base) => proxy::check_path("default", &base.url, problems),
        }
    }

    /// The bases that this host stands in front of, by name.
    pub fn proxies(&self) -> impl Iterator<Item = (&str, &ProxyConfig)> {
        let own = self.fhir.iter().filter_map(|(name, base)| Some((name.as_str(), base.proxy.as_ref()?)));
        self.proxy.iter().map(|proxy| ("default", proxy)).chain(own)
    }

    fn check_people(&self, problems: &mut Vec<String>) {
        let mut names = Vec::new();
        for (at, caller) in self.callers.iter().enumerate() {
            check_one_of(problems, &format!("callers[{at}].may"), &caller.may, &crate::http::caller::RIGHTS);
            check_key(problems, &format!("callers[{at}]"), &caller.auth);
            for tenant in &caller.tenants {
                if let Err(error) = crate::store::validate::tenant(tenant) {
                    problems.push(format!("`callers[{at}].tenants`: {error}"));
                }
            }
            names.push((format!("callers[{at}].name"), &caller.name));
        }
        for (at, administrator) in self.administrators.iter().enumerate() {
            check_one_of(
                problems,
                &format!("administrators[{at}].roles"),
                &administrator.roles,
                &crate::http::caller::ROLES,
            );
            check_key(problems, &format!("administrators[{at}]"), &administrator.auth);
            names.push((format!("administrators[{at}].name"), &administrator.name));
        }
        for (at, (member, name)) in names.iter().enumerate() {
            if name.is_empty() || names.iter().skip(at + 1).any(|(_, other)| other == name) {
                problems.push(format!("`{member}` has to be there and to be used once"));
            }
        }
    }

    fn check_limits(&self, problems: &mut Vec<String>) {
        let limits = &self.limits;
        let rows = [
            ("body_bytes", limits.body_bytes as u64, 64 << 20),
            ("filter_bytes", limits.filter_bytes as u64, 256 << 20),
            ("url_bytes", limits.url_bytes as u64, 1 << 20),
            ("parameters", limits.parameters as u64, 10_000),
            ("scope_bytes", limits.scope_bytes as u64, 1 << 20),
            ("evaluations", limits.evaluations as u64, 10_000),
            ("concurrent_decisions", limits.concurrent_decisions as u64, 1 << 20),
            ("caller_rate_per_s", u64::from(limits.caller_rate_per_s), 1 << 30),
            ("fuel", limits.fuel, u64::MAX),
            ("deadline_ms", limits.deadline_ms, 60_000),
            ("memory_bytes", limits.memory_bytes as u64, 256 << 20),
        ];
        for (member, value, most) in rows {
            if value == 0 || value > most {
                problems.push(format!("`limits.{member}` has to be between 1 and {most}, not {value}"));
            }
        }
    }
}

fn check_one_of(problems: &mut Vec<String>, member: &str, given: &[String], known: &[&str]) {
    for word in given.iter().filter(|word| !known.contains(&word.as_str())) {
        problems.push(format!("`{member}`: `{word}` is none of {}", known.join(", ")));
    }
}

fn check_key(problems: &mut Vec<String>, member: &str, auth: &CallerAuth) {
    if crate::http::caller::KeyHash::parse(&auth.api_key_sha256).is_none() {
        problems.push(format!("`{member}.auth.api_key_sha256` has to be 64 hexadecimal digits"));
    }
}

/// `LIMITS__FUEL=5` is `limits.fuel = 5`; a value that is no TOML is taken as text.
fn lay_over(table: &mut toml::Table, path: &str, value: &str) -> Result<(), ConfigError> {
    let mut steps = path.split("__").peekable();
    let mut at = table;
    while let Some(step) = steps.next() {
        if steps.peek().is_none() {
            let parsed = format!("v = {value}").parse::<toml::Table>().ok().and_then(|mut table| table.remove("v"));
            at.insert(step.to_owned(), parsed.unwrap_or_else(|| toml::Value::String(value.to_owned())));
            return Ok(());
        }
        let next = at.entry(step.to_owned()).or_insert_with(|| toml::Value::Table(toml::Table::new()));
        at = next
            .as_table_mut()
            .ok_or_else(|| ConfigError::Parse(format!("`{step}` of the environment is not a table")))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str, environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Config::load(Some(file.path()), environment)
    }

    #[test]
    fn the_environment_lies_over_the_file() {
        let config =
            load("[limits]\nfuel = 5\ndeadline_ms = 7", &[("CHARTGATE_LIMITS__FUEL", "9"), ("PATH", "/bin")]).unwrap();
        assert_eq!((config.limits.fuel, config.limits.deadline_ms), (9, 7));
        let config = load("", &[("CHARTGATE_DATA__DIR", "/var/lib/x")]).unwrap();
        assert_eq!(config.data.dir, Some(PathBuf::from("/var/lib/x")));
    }

    #[test]
    fn every_problem_is_listed_at_once() {
        let text = "lisen = 1\n[listen]\npublic = \"0.0.0.0:80\"\n[limits]\nfuel = 0\nfule = 1\n[[callers]]\nname = \"a\"\ntenants = [\"A!\"]\nmay = [\"fly\"]\n[callers.auth]\napi_key_sha256 = \"no\"";
        let message = load(text, &[]).unwrap_err().to_string();
        for part in [
            "`lisen`",
            "`limits.fule`",
            "listen.public",
            "limits.fuel",
            "`fly`",
            "api_key_sha256",
            "callers[0].tenants",
        ] {
            assert!(message.contains(part), "{part} is not in {message}");
        }
    }

    #[test]
    fn each_base_behind_this_host_has_a_path_of_its_own() {
        let base = |name: &str, path: &str| {
            format!(
                "[fhir.{name}]\nurl = \"https://ehr.example{path}\"\nversion = \"4.0.1\"\n[fhir.{name}.proxy]\n\
                 upstream = \"https://fhir.example/r4\"\n"
            )
        };
        assert!(load(&(base("a", "/a") + &base("b", "/b")), &[]).is_ok());
        let message = load(&(base("a", "/a") + &base("b", "/a")), &[]).unwrap_err().to_string();
        assert!(message.contains("`fhir.b.url`"), "{message}");
        let twice = base("default", "/a") + "[proxy]\nupstream = \"https://fhir.example/r4\"\n";
        assert!(load(&twice, &[]).is_err());
        assert!(load("[proxy]\nupstream = \"https://fhir.example/r4\"\n", &[]).is_err());
    }

    #[test]
    fn an_address_beyond_loopback_is_refused_and_loopback_is_not() {
        assert!(load("[listen]\npublic = \"[::1]:80\"", &[]).is_ok());
        assert!(load("[listen]\noperations = \"192.0.2.1:80\"", &[]).is_err());
    }

    #[test]
    fn a_member_of_the_wrong_type_is_named() {
        let message = load("[limits]\nfuel = \"much\"", &[]).unwrap_err().to_string();
        assert!(message.contains("fuel"), "{message}");
    }
}

//! What verbs have in common: opening releases and the directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};
use chartgate_model::FhirBase;
use chartgate_runtime::release::{KEYS_FOLDER, Registry, TrustedKeys};
use chartgate_runtime::{Runtime, RuntimeLimits};

use jiff::tz::TimeZone;

use crate::config::Config;
use crate::decide::Decider;
use crate::derived::Reading;
use crate::edge::Edge;
use crate::facts::{Breaker, LiveFacts, Server};
use crate::outbound::{Endpoint, bearer};
use crate::people;
use crate::proxy::Proxied;
use crate::smart;
use crate::store::Store;

/// Version of the engine, for records.
pub(super) const ENGINE_VERSION: &str = chartgate_runtime::release::write::WASMTIME_VERSION;

/// The policies folder: the flag, the configuration, `./policies`.
pub(super) fn policies_dir(flag: Option<&PathBuf>, config: &Config) -> PathBuf {
    flag.or(config.policies.dir.as_ref()).cloned().unwrap_or_else(|| PathBuf::from("policies"))
}

/// Open and verify every release of a folder; with `compiled`, what is compiled is kept there.
///
/// SECURITY: keys inside the policies folder are trusted only where nobody relies on the answer (a
/// demo, offline decisions without configured keys): whoever can write the folder could sign for it.
pub(super) fn registry(
    config: &Config,
    folder: &Path,
    trust_folder: bool,
    compiled: Option<&Path>,
) -> anyhow::Result<Arc<Registry>> {
    let keys = if !config.policies.trusted_keys.is_empty() {
        TrustedKeys::from_files(&config.policies.trusted_keys)?
    } else if trust_folder {
        TrustedKeys::from_dir(&folder.join(KEYS_FOLDER))?
    } else {
        bail!("configuration: `policies.trusted_keys` names no key, so no release can be trusted");
    };
    let limits = RuntimeLimits {
        fuel: config.limits.fuel,
        deadline_ms: config.limits.deadline_ms,
        memory_bytes: config.limits.memory_bytes,
        ..RuntimeLimits::default()
    };
    let runtime = Runtime::with_cache(limits, compiled).context("the engine does not start")?;
    Ok(Arc::new(Registry::open(runtime, folder, keys)?))
}

/// The configured bases; without any, one R4 base at a name that is nobody's.
pub(super) fn bases(config: &Config) -> Vec<FhirBase> {
    let mut bases: Vec<FhirBase> = config
        .fhir
        .iter()
        .map(|(name, base)| FhirBase { name: name.clone(), url: base.url.clone(), version: base.version.clone() })
        .collect();
    if bases.is_empty() {
        bases.push(FhirBase { name: "default".into(), url: "https://fhir.example/r4".into(), version: "4.0.1".into() });
    }
    bases
}

/// The authorization server, where the configuration has one.
pub(super) fn smart(
    config: &Config,
    edge: &Edge,
    store: &Arc<Store>,
    decider: &Arc<Decider>,
) -> anyhow::Result<Option<smart::Server>> {
    let Some(given) = &config.smart else { return Ok(None) };
    let base = bases(config).into_iter().find(|base| base.name == given.fhir);
    let base = base.with_context(|| format!("configuration: `smart.fhir`: no base `{}`", given.fhir))?;
    let server = smart::Server::start(given.settings(base), Arc::clone(store), edge.clone(), Arc::clone(decider))
        .context("the authorization server does not start")?;
    Ok(Some(server))
}

/// The FHIR servers that are asked what they know about people.
pub(super) fn live_facts(config: &Config, edge: &Edge) -> anyhow::Result<LiveFacts> {
    let mut servers = Vec::new();
    for (name, base) in &config.fhir {
        let Some(facts) = &base.facts else { continue };
        let url = facts.url.as_deref().unwrap_or(&base.url);
        let timeout = Duration::from_millis(facts.timeout_ms);
        let endpoint = Endpoint::new(url, facts.allow_private, timeout, facts.page_bytes)
            .with_context(|| format!("`fhir.{name}.facts.url`"))?;
        let authorization = facts.token_file.as_ref().map(|file| bearer(file)).transpose()?;
        let zone = facts.zone.as_deref().and_then(people::zone).unwrap_or(TimeZone::UTC);
        let reading = Reading { base: Some(base.url.clone()), zone, zone_name: facts.zone.clone() };
        let now = Arc::clone(&edge.now);
        let server = Server {
            endpoint,
            authorization,
            reading,
            tenants: facts.tenants.clone(),
            without: facts.without.clone(),
            timeout,
            max_age: Duration::from_secs(facts.max_age_s),
            now: Box::new(move || now()),
            breaker: Breaker::default(),
        };
        servers.push((name.clone(), server));
    }
    Ok(LiveFacts::new(servers))
}

/// The bases that this host stands in front of.
pub(super) fn proxies(config: &Config, bases: &[FhirBase]) -> anyhow::Result<Vec<Proxied>> {
    let mut proxies = Vec::new();
    for (name, proxy) in config.proxies() {
        let base = bases.iter().find(|base| base.name == name);
        let base = base.with_context(|| format!("configuration: no base `{name}`"))?;
        proxies.push(Proxied::server(base, proxy)?);
    }
    Ok(proxies)
}

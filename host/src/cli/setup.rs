//! What verbs have in common: opening releases and the directory.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, bail};
use chartgate_model::FhirBase;
use chartgate_runtime::release::{KEYS_FOLDER, Registry, TrustedKeys};
use chartgate_runtime::{Runtime, RuntimeLimits};

use crate::config::Config;

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

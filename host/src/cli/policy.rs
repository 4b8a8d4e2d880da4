//! `chartgate policy`: the life of a release. Each verb takes a release as a folder.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, ensure};
use chartgate_runtime::release::manifest::{Limits, Source, Toolchain};
use chartgate_runtime::release::write::{WASMTIME_VERSION, WIT_COMPONENT_VERSION};
use chartgate_runtime::release::{
    Draft, KEYS_FOLDER, MANIFEST_FILE, Registry, TrustedKeys, componentize, invariants, sign_with_fresh_key,
    sign_with_key_file, write_release, write_signature,
};
use chartgate_runtime::{Runtime, RuntimeLimits};
use clap::Subcommand;
use serde_json::json;

use super::Ended;
use crate::causes::chain;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Build the policy from source and write it as an unsigned release
    Build(Build),
    /// Sign a release
    Sign(Sign),
    /// Verify a release: signature, digests, interfaces
    Verify(Verify),
}

#[derive(Debug, clap::Args)]
pub(super) struct Build {
    /// Name of the release
    #[arg(long, default_value = "smart-access")]
    name: String,
    /// Semantic version of the release
    #[arg(long, default_value = env!("CARGO_PKG_VERSION"))]
    version: String,
    /// Higher than that of every earlier release of this name
    #[arg(long)]
    sequence: u64,
    /// Settings, a JSON object
    #[arg(long, default_value = "{}")]
    settings: String,
    /// Folder of releases to write to
    #[arg(long, default_value = "policies")]
    policies: PathBuf,
    /// Folder of vectors to freeze with it
    #[arg(long, default_value = "tests/vectors")]
    vectors: PathBuf,
    /// A core module built by `policy/build`; built now when absent
    #[arg(long)]
    module: Option<PathBuf>,
    /// Fuel of one call
    #[arg(long, default_value_t = RuntimeLimits::default().fuel)]
    fuel: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Sign {
    /// Folder of the release
    release: PathBuf,
    /// Unencrypted minisign secret key
    #[arg(long, conflicts_with = "fresh_key", required_unless_present = "fresh_key")]
    key: Option<PathBuf>,
    /// Sign with a new key, write its public half to this file and discard its secret half
    #[arg(long)]
    fresh_key: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// Folder of the release, `policies/<name>/<version>`
    release: PathBuf,
    /// Public keys to trust; those of `policies/keys` when absent
    #[arg(long)]
    key: Vec<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(verb: Verb) -> anyhow::Result<Ended> {
    match verb {
        Verb::Build(build) => self::build(&build),
        Verb::Sign(sign) => self::sign(&sign),
        Verb::Verify(verify) => self::verify(&verify),
    }
}

fn build(build: &Build) -> anyhow::Result<Ended> {
    let scratch = tempfile::tempdir()?;
    let module = match &build.module {
        Some(module) => module.clone(),
        None => {
            let out = scratch.path().join("policy.core.wasm");
            // The script's progress belongs on standard error: standard output is for the result.
            let status = Command::new("policy/build").arg(&out).stdout(Stdio::null()).status();
            let status = status.context("cannot run `policy/build`; is this the root of the repository?")?;
            ensure!(status.success(), "`policy/build` failed");
            out
        }
    };
    let core = std::fs::read(&module).with_context(|| format!("cannot read `{}`", module.display()))?;
    let component = componentize(&core)?;
    let runtime = Runtime::new(RuntimeLimits::default())?;
    let draft = Draft {
        name: &build.name,
        version: &build.version,
        settings: build.settings.as_bytes(),
        limits: Limits { fuel: build.fuel, memory_bytes: RuntimeLimits::default().memory_bytes as u64 },
        sequence: build.sequence,
        source: source()?,
        toolchain: Toolchain {
            rustc: said_by("rustc", &["--version"])?,
            wit_component: WIT_COMPONENT_VERSION.into(),
            wasmtime: Some(WASMTIME_VERSION.into()),
        },
        vectors: Some(&build.vectors),
        vector_count: count_lines(&build.vectors)?,
        base: None,
    };
    let written = write_release(&build.policies, &runtime, &component, &draft)?;
    if build.json {
        println!(
            "{}",
            json!({ "folder": written.folder, "digest": written.digest, "component_bytes": component.len() })
        );
    } else {
        println!(
            "{}: {}, component of {} bytes, not signed yet",
            written.folder.display(),
            written.digest,
            component.len()
        );
    }
    Ok(Ended::Done)
}

fn source() -> anyhow::Result<Source> {
    let commit = said_by("git", &["rev-parse", "HEAD"])?;
    let dirty = !said_by("git", &["status", "--porcelain", "--", "policy", "wit", "Cargo.lock"])?.is_empty();
    Ok(Source { commit, dirty })
}

fn said_by(program: &str, arguments: &[&str]) -> anyhow::Result<String> {
    let output = Command::new(program).args(arguments).output().with_context(|| format!("cannot run `{program}`"))?;
    ensure!(output.status.success(), "`{program} {}` failed", arguments.join(" "));
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// Vectors are JSON lines: one each.
fn count_lines(folder: &Path) -> anyhow::Result<u64> {
    let mut count = 0;
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read `{}`", folder.display()))? {
        let file = entry?.path();
        if file.extension().is_none_or(|extension| extension != "jsonl") {
            continue;
        }
        let text = std::fs::read_to_string(file)?;
        count += text.lines().filter(|line| !line.trim().is_empty()).count() as u64;
    }
    Ok(count)
}

fn sign(sign: &Sign) -> anyhow::Result<Ended> {
    let manifest = sign.release.join(MANIFEST_FILE);
    let bytes = std::fs::read(&manifest).with_context(|| format!("cannot read `{}`", manifest.display()))?;
    let parsed = chartgate_runtime::release::Manifest::parse(&bytes)?;
    let comment = format!("{}@{}", parsed.name, parsed.version);
    let signature = match (&sign.key, &sign.fresh_key) {
        (Some(key), _) => sign_with_key_file(key, &bytes, &comment)?,
        (None, Some(public)) => {
            ensure!(!public.exists(), "`{}` is there already", public.display());
            let (key, signature) = sign_with_fresh_key(&bytes, &comment)?;
            std::fs::write(public, key).with_context(|| format!("cannot write `{}`", public.display()))?;
            signature
        }
        (None, None) => anyhow::bail!("give --key or --fresh-key"),
    };
    write_signature(&sign.release, &signature)?;
    println!("{}: signed {comment}", sign.release.display());
    Ok(Ended::Done)
}

fn verify(verify: &Verify) -> anyhow::Result<Ended> {
    let folder =
        std::fs::canonicalize(&verify.release).with_context(|| format!("no folder `{}`", verify.release.display()))?;
    let policies = folder.parent().and_then(Path::parent).context("a release lies in `<policies>/<name>/<version>`")?;
    let keys = if verify.key.is_empty() {
        TrustedKeys::from_dir(&policies.join(KEYS_FOLDER))?
    } else {
        TrustedKeys::from_files(&verify.key)?
    };
    let runtime = Runtime::new(RuntimeLimits { lanes: 1, ..RuntimeLimits::default() })?;
    // The whole folder is looked at, since a release may rest on a base.
    let registry = Registry::open(runtime, policies, keys)?;
    if let Some(release) = registry.releases().into_iter().find(|release| release.folder == folder) {
        // Settings that are misspelt make rules that deny everything, and are signed as well as any.
        let (permitted, samples) = invariants::permitted(&release.policy, &release.settings)?;
        if verify.json {
            let found = json!({ "verified": true, "name": release.name, "version": release.version, "digest": release.digest,
                "component": release.component_digest, "signed_by": release.signed_by,
                "samples": { "permitted": permitted, "of": samples } });
            println!("{found}");
        } else {
            println!(
                "verified: {}@{} {}, signed by {}, permits {permitted} of {samples} sample requests",
                release.name, release.version, release.digest, release.signed_by
            );
        }
        return Ok(Ended::Done);
    }
    let refused = registry.refused().into_iter().find(|refused| refused.folder == folder);
    let why = refused.map_or_else(|| "it is no release folder".into(), |refused| chain(&*refused.error));
    if verify.json {
        println!("{}", json!({ "verified": false, "error": why }));
    } else {
        println!("refused: {why}");
    }
    Ok(Ended::No)
}

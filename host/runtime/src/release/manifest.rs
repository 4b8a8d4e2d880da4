//! `manifest.json`: what a release is, in the exact bytes that are signed.

use std::collections::BTreeSet;

use chartgate_model::strict::{self, StrictError};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::convert::is_code;
use crate::describe::{is_fhir_version, is_version};
use crate::digest::{is_sha256_hex, sha256};
use crate::json::{self, MAX_DEPTH};
use crate::policy::PolicyLimits;

/// The one schema there is.
pub const SCHEMA: &str = "chartgate-release/1";

/// Bytes of a manifest, settings included.
pub const MANIFEST_BYTES: usize = 256 << 10;

/// A manifest that passed [`Manifest::parse`]. Unknown and repeated members are refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// [`SCHEMA`]
    pub schema: String,
    /// kebab-case name, that of the folder
    pub name: String,
    /// semantic version, that of the folder within
    pub version: String,
    /// the component, wherever it lies
    pub component: FileDigest,
    /// the contract's interfaces the component serves, `chartgate:policy/access@0.1.0`
    pub interfaces: Vec<String>,
    /// FHIR versions the component has tables for
    pub fhir_versions: Vec<String>,
    /// settings of every call: a JSON object, kept as written
    pub settings: Box<RawValue>,
    /// what a call may use
    pub limits: Limits,
    /// counts the releases of one name, so that an old one cannot pass for new
    pub sequence: u64,
    /// where the component's code is
    pub source: Source,
    /// what built it
    pub toolchain: Toolchain,
    /// the frozen test vectors
    pub vectors: Vectors,
    /// the release whose component this one uses; then there is no `policy.wasm` beside it
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
}

/// Digest and size of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileDigest {
    /// 64 lower-case hexadecimal digits
    pub sha256: String,
    /// bytes
    pub size: u64,
}

/// What a call may use; the host may allow less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// instructions, in the engine's fuel units
    pub fuel: u64,
    /// linear memory
    pub memory_bytes: u64,
}

/// Where the code is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Source {
    /// 40 or 64 lower-case hexadecimal digits
    pub commit: String,
    /// built with changes that are in no commit
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dirty: bool,
}

/// What built the component, as each tool names its version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Toolchain {
    /// `rustc --version`
    pub rustc: String,
    /// version of the component encoder
    pub wit_component: String,
    /// version of the engine that counted the vectors' fuel
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wasmtime: Option<String>,
}

/// The frozen test vectors: [`super::tree::Tree`] says how they are digested.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vectors {
    /// digest of the listing, 64 lower-case hexadecimal digits
    pub sha256: String,
    /// number of files
    pub files: u64,
    /// number of vectors in them
    pub count: u64,
}

/// The release this one takes its component from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// its name
    pub name: String,
    /// its version
    pub version: String,
    /// its identity, `sha256:…`
    pub digest: String,
}

/// Why bytes are no manifest.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Larger than any honest one.
    #[error("the manifest has {found} bytes, at most {limit} are read")]
    TooLarge {
        /// its size
        found: usize,
        /// [`MANIFEST_BYTES`]
        limit: usize,
    },
    /// Not JSON, or a name twice, or too deep.
    #[error("the manifest is not strict JSON")]
    Json(#[source] StrictError),
    /// A member is missing, unknown or of the wrong type.
    #[error("the manifest has the wrong members")]
    Members(#[source] serde_json::Error),
    /// A later or foreign format.
    #[error("unknown manifest schema `{found}`, this host reads `{SCHEMA}`")]
    Schema {
        /// as written
        found: String,
    },
    /// A member's value is out of its range.
    #[error("manifest member `{member}` is not {expected}")]
    Member {
        /// path of the member
        member: &'static str,
        /// what would do
        expected: &'static str,
    },
}

impl Manifest {
    /// Read a manifest from its exact bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        if bytes.len() > MANIFEST_BYTES {
            return Err(ManifestError::TooLarge { found: bytes.len(), limit: MANIFEST_BYTES });
        }
        strict::check(bytes, MAX_DEPTH).map_err(ManifestError::Json)?;
        let manifest: Self = serde_json::from_slice(bytes).map_err(ManifestError::Members)?;
        if manifest.schema != SCHEMA {
            return Err(ManifestError::Schema { found: manifest.schema.chars().take(64).collect() });
        }
        manifest.check()?;
        Ok(manifest)
    }

    /// The identity of a release: the digest of its manifest's exact bytes.
    pub fn identity(bytes: &[u8]) -> String {
        sha256(bytes)
    }

    /// The manifest as this product writes it: indented JSON with a final newline.
    pub fn to_bytes(&self) -> Result<Vec<u8>, ManifestError> {
        let mut bytes = serde_json::to_vec_pretty(self).map_err(ManifestError::Members)?;
        bytes.push(b'\n');
        // What is written must be readable: the same rules, in one place.
        Self::parse(&bytes).map(|_| bytes)
    }

    /// The settings as the policy gets them.
    pub fn settings_bytes(&self) -> &[u8] {
        self.settings.get().as_bytes()
    }

    /// What a call may use, before the host's own limits.
    pub fn policy_limits(&self) -> PolicyLimits {
        let memory_bytes = usize::try_from(self.limits.memory_bytes).unwrap_or(usize::MAX);
        PolicyLimits { fuel: self.limits.fuel, memory_bytes }
    }

    fn check(&self) -> Result<(), ManifestError> {
        const DIGEST: &str = "64 lower-case hexadecimal digits";
        const VERSION: &str = "a semantic version without build metadata";
        require(is_code(&self.name) && self.name != super::KEYS_FOLDER, "name", "a kebab-case name")?;
        require(is_version(&self.version), "version", VERSION)?;
        require(is_sha256_hex(&self.component.sha256), "component.sha256", DIGEST)?;
        require(self.component.size > 0, "component.size", "more than 0")?;
        require(is_list(&self.interfaces, is_interface), "interfaces", "1 to 16 different interfaces with a version")?;
        require(is_list(&self.fhir_versions, is_fhir_version), "fhir_versions", "1 to 16 different versions")?;
        require(json::is_object(self.settings_bytes()), "settings", "a JSON object")?;
        require(self.limits.fuel > 0, "limits.fuel", "more than 0")?;
        require(self.limits.memory_bytes > 0, "limits.memory_bytes", "more than 0")?;
        require(is_commit(&self.source.commit), "source.commit", "40 or 64 lower-case hexadecimal digits")?;
        require(is_label(&self.toolchain.rustc), "toolchain.rustc", "a short text")?;
        require(is_label(&self.toolchain.wit_component), "toolchain.wit_component", "a short text")?;
        require(self.toolchain.wasmtime.as_deref().is_none_or(is_label), "toolchain.wasmtime", "a short text")?;
        require(is_sha256_hex(&self.vectors.sha256), "vectors.sha256", DIGEST)?;
        let Some(base) = &self.base else { return Ok(()) };
        require(is_code(&base.name), "base.name", "a kebab-case name")?;
        require(is_version(&base.version), "base.version", VERSION)?;
        let digest = base.digest.strip_prefix("sha256:").is_some_and(is_sha256_hex);
        require(digest, "base.digest", "`sha256:` and 64 lower-case hexadecimal digits")
    }
}

/// `namespace:package/interface@version`.
fn is_interface(text: &str) -> bool {
    let Some((path, version)) = text.split_once('@') else { return false };
    let parts: Vec<&str> = path.split([':', '/']).collect();
    parts.len() == 3 && parts.into_iter().all(is_code) && is_version(version)
}

fn is_commit(text: &str) -> bool {
    let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    matches!(text.len(), 40 | 64) && text.bytes().all(hexadecimal)
}

fn is_label(text: &str) -> bool {
    (1..=128).contains(&text.len()) && !text.chars().any(char::is_control)
}

fn is_list(items: &[String], good: fn(&str) -> bool) -> bool {
    let different: BTreeSet<&String> = items.iter().collect();
    (1..=16).contains(&items.len()) && different.len() == items.len() && items.iter().all(|item| good(item))
}

fn require(holds: bool, member: &'static str, expected: &'static str) -> Result<(), ManifestError> {
    if holds { Ok(()) } else { Err(ManifestError::Member { member, expected }) }
}

#[cfg(test)]
#[path = "manifest_tests.rs"]
mod tests;

//! Making a release folder: the counterpart of [`super::folder`].

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::value::RawValue;
use wit_component::ComponentEncoder;

use super::invariants::{self, InvariantError};
use super::manifest::{Base, FileDigest, Limits, Manifest, ManifestError, SCHEMA, Source, Toolchain, Vectors};
use super::tree::{Tree, TreeError};
use super::{COMPONENT_FILE, MANIFEST_FILE, SIGNATURE_FILE, VECTORS_FOLDER};
use crate::admission::{AdmissionError, admit};
use crate::digest::sha256_hex;
use crate::engine::Runtime;
use crate::policy::PolicyLimits;

/// Version of the component encoder, for [`Toolchain::wit_component`].
pub const WIT_COMPONENT_VERSION: &str = "0.263.0";
/// Version of the engine, for [`Toolchain::wasmtime`]: fuel counts belong to it.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// What a release is made of, beside its component.
#[derive(Debug, Clone)]
pub struct Draft<'a> {
    /// kebab-case name
    pub name: &'a str,
    /// semantic version
    pub version: &'a str,
    /// a JSON object, kept as written
    pub settings: &'a [u8],
    /// what a call may use
    pub limits: Limits,
    /// higher than that of every earlier release of the name
    pub sequence: u64,
    /// where the code is
    pub source: Source,
    /// what built it
    pub toolchain: Toolchain,
    /// folder of vectors to freeze; none for none
    pub vectors: Option<&'a Path>,
    /// number of vectors in that folder
    pub vector_count: u64,
    /// the release whose component this is; then the component is not written again
    pub base: Option<Base>,
}

/// A release that was written and still has to be signed.
#[derive(Debug)]
pub struct Written {
    /// `<policies>/<name>/<version>`
    pub folder: PathBuf,
    /// exact bytes of the manifest: what to sign
    pub manifest_bytes: Vec<u8>,
    /// identity of the release, `sha256:…`
    pub digest: String,
}

/// Why no release was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The module cannot be made a component.
    #[error("the module cannot be encoded as a component")]
    Encode(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The component may not run.
    #[error("the component is refused")]
    Admission(#[source] AdmissionError),
    /// Its rules let through what none may.
    #[error("the rules are refused")]
    Invariant(#[source] InvariantError),
    /// The settings are not JSON.
    #[error("the settings are not JSON")]
    Settings(#[source] serde_json::Error),
    /// A member of the draft is out of its range.
    #[error("the manifest would be refused")]
    Manifest(#[source] ManifestError),
    /// The vectors cannot be read.
    #[error("the vectors are refused")]
    Vectors(#[source] TreeError),
    /// There is one already, and releases never change.
    #[error("`{}` exists already", path.display())]
    Exists {
        /// the folder or file
        path: PathBuf,
    },
    /// The system refused.
    #[error("cannot write `{}`", path.display())]
    Io {
        /// the folder or file
        path: PathBuf,
        /// why
        #[source]
        source: std::io::Error,
    },
}

/// Make a component of a core module that carries its interface types, as `policy/build` makes one.
pub fn componentize(core_module: &[u8]) -> Result<Vec<u8>, WriteError> {
    let mut encoder = ComponentEncoder::default();
    let encoded = encoder.validate(true).module(core_module).and_then(ComponentEncoder::encode);
    encoded.map_err(|error| WriteError::Encode(error.into()))
}

/// Admit a component and write it as an unsigned release below `policies`.
///
/// The folder appears at once and whole, under its final name, or not at all.
pub fn write_release(
    policies: &Path,
    runtime: &Arc<Runtime>,
    component: &[u8],
    draft: &Draft<'_>,
) -> Result<Written, WriteError> {
    let vectors = draft.vectors.map_or_else(|| Ok(Tree::default()), Tree::read).map_err(WriteError::Vectors)?;
    let manifest_bytes = manifest(runtime, component, draft, &vectors)?;
    let parent = policies.join(draft.name);
    let folder = parent.join(draft.version);
    if fs::symlink_metadata(&folder).is_ok() {
        return Err(WriteError::Exists { path: folder });
    }
    fs::create_dir_all(&parent).map_err(|source| WriteError::Io { path: parent.clone(), source })?;
    // A leading dot: the registry does not look at it.
    let staging = parent.join(format!(".{}.staging", draft.version));
    create_dir(&staging)?;
    let own = draft.base.is_none().then_some(component);
    let filled = fill(&staging, own, &manifest_bytes, &vectors)
        .and_then(|()| fs::rename(&staging, &folder).map_err(|source| WriteError::Io { path: folder.clone(), source }));
    if filled.is_err() {
        let _ = fs::remove_dir_all(&staging);
    }
    filled?;
    let digest = Manifest::identity(&manifest_bytes);
    Ok(Written { folder, manifest_bytes, digest })
}

/// Put the signature beside the manifest. An existing one is never replaced.
pub fn write_signature(folder: &Path, signature: &str) -> Result<(), WriteError> {
    write_new(&folder.join(SIGNATURE_FILE), signature.as_bytes())
}

fn manifest(
    runtime: &Arc<Runtime>,
    component: &[u8],
    draft: &Draft<'_>,
    vectors: &Tree,
) -> Result<Vec<u8>, WriteError> {
    let memory_bytes = usize::try_from(draft.limits.memory_bytes).unwrap_or(usize::MAX);
    let asked = PolicyLimits { fuel: draft.limits.fuel, memory_bytes };
    let policy = admit(runtime, component, asked).map_err(WriteError::Admission)?;
    let settings: Box<RawValue> = serde_json::from_slice(draft.settings).map_err(WriteError::Settings)?;
    invariants::check(&policy, draft.settings).map_err(WriteError::Invariant)?;
    let wide = |value: usize| u64::try_from(value).unwrap_or(u64::MAX);
    let manifest = Manifest {
        schema: SCHEMA.to_owned(),
        name: draft.name.to_owned(),
        version: draft.version.to_owned(),
        component: FileDigest { sha256: sha256_hex(component), size: wide(component.len()) },
        interfaces: policy.interfaces,
        fhir_versions: policy.description.fhir_versions,
        settings,
        limits: draft.limits,
        sequence: draft.sequence,
        source: draft.source.clone(),
        toolchain: draft.toolchain.clone(),
        vectors: Vectors { sha256: vectors.sha256_hex(), files: wide(vectors.files.len()), count: draft.vector_count },
        base: draft.base.clone(),
    };
    manifest.to_bytes().map_err(WriteError::Manifest)
}

fn fill(folder: &Path, component: Option<&[u8]>, manifest: &[u8], vectors: &Tree) -> Result<(), WriteError> {
    if let Some(component) = component {
        write_new(&folder.join(COMPONENT_FILE), component)?;
    }
    for (path, content) in &vectors.files {
        let path = folder.join(VECTORS_FOLDER).join(path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).map_err(|source| WriteError::Io { path: parent.to_owned(), source })?;
        write_new(&path, content)?;
    }
    write_new(&folder.join(MANIFEST_FILE), manifest)
}

fn create_dir(path: &Path) -> Result<(), WriteError> {
    fs::create_dir(path).map_err(|source| refused(path, source))
}

fn write_new(path: &Path, content: &[u8]) -> Result<(), WriteError> {
    fs::File::create_new(path)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.sync_all()
        })
        .map_err(|source| refused(path, source))
}

fn refused(path: &Path, source: std::io::Error) -> WriteError {
    let path = path.to_owned();
    match source.kind() {
        std::io::ErrorKind::AlreadyExists => WriteError::Exists { path },
        _ => WriteError::Io { path, source },
    }
}

#[cfg(test)]
mod tests {
    use super::{WASMTIME_VERSION, WIT_COMPONENT_VERSION, WriteError, componentize};

    #[test]
    fn the_versions_a_manifest_records_are_those_of_the_lock_file() {
        let lock = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.lock")).unwrap();
        for (name, version) in [("wit-component", WIT_COMPONENT_VERSION), ("wasmtime", WASMTIME_VERSION)] {
            let entry = format!("name = \"{name}\"\nversion = \"{version}\"\n");
            assert!(lock.contains(&entry), "{name} {version}");
        }
    }

    #[test]
    fn what_is_no_module_makes_no_component() {
        assert!(matches!(componentize(b"nonsense"), Err(WriteError::Encode(_))));
    }
}

//! One release folder, read and verified.
//!
//! The order matters: nothing of the manifest is looked at before its signature holds, and nothing
//! else in the folder before the manifest says what it has to be.

use std::fs;
use std::path::{Path, PathBuf};

use super::invariants::InvariantError;
use super::manifest::{MANIFEST_BYTES, Manifest, ManifestError};
use super::signature::{SignatureError, TrustedKeys};
use super::tree::{FileError, Tree, TreeError, expect_folder, read_file};
use super::{COMPONENT_FILE, MANIFEST_FILE, SIGNATURE_FILE, VECTORS_FOLDER};
use crate::admission::AdmissionError;
use crate::digest::sha256_hex;

/// Bytes of a signature file.
const SIGNATURE_BYTES: usize = 4 << 10;

/// Why a release is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// A part of it cannot be read.
    #[error("cannot read `{}`", path.display())]
    File {
        /// the file or folder
        path: PathBuf,
        /// why
        #[source]
        source: FileError,
    },
    /// Something that belongs to no release.
    #[error("`{}` belongs to no release", path.display())]
    Unexpected {
        /// the file or folder
        path: PathBuf,
    },
    /// There is no signature.
    #[error("it is not signed: there is no `{SIGNATURE_FILE}`")]
    Unsigned,
    /// The signature is not good.
    #[error("its signature is not good")]
    Signature(#[source] SignatureError),
    /// The manifest is malformed.
    #[error("its manifest is refused")]
    Manifest(#[source] ManifestError),
    /// It lies where another release belongs.
    #[error("it lies in `{folder}` and its manifest says `{manifest}`")]
    Place {
        /// `name/version` of the path
        folder: String,
        /// `name/version` of the manifest
        manifest: String,
    },
    /// The component is not the one that was signed.
    #[error("its component has {found_size} bytes and digest `{found}`, signed were {signed_size} and `{signed}`")]
    Component {
        /// digest of the file
        found: String,
        /// bytes of the file
        found_size: usize,
        /// digest in the manifest
        signed: String,
        /// bytes in the manifest
        signed_size: u64,
    },
    /// Two components to choose from.
    #[error("it names a base and has a `{COMPONENT_FILE}` of its own")]
    ComponentBesideBase,
    /// The vectors cannot be read.
    #[error("its vectors are refused")]
    Tree(#[source] TreeError),
    /// The vectors are not the ones that were signed.
    #[error("its {found_files} vector files have digest `{found}`, signed were {signed_files} and `{signed}`")]
    Vectors {
        /// digest of the listing
        found: String,
        /// number of files
        found_files: usize,
        /// digest in the manifest
        signed: String,
        /// number in the manifest
        signed_files: u64,
    },
    /// The base is not loaded.
    #[error("its base `{base}` is not here")]
    BaseUnknown {
        /// `name@version` and digest
        base: String,
    },
    /// The base is there, but is another than the one meant, or rests on a base itself.
    #[error("its base `{base}` is {found}")]
    Base {
        /// `name@version` and digest
        base: String,
        /// what is wrong with it
        found: &'static str,
    },
    /// The component may not run.
    #[error("its component is refused")]
    Admission(#[source] AdmissionError),
    /// Its rules let through what none may.
    #[error("its rules are refused")]
    Invariant(#[source] InvariantError),
    /// The manifest promises something else than the component says.
    #[error("its manifest lists `{member}` {signed:?}, the component has {found:?}")]
    Description {
        /// member of the manifest
        member: &'static str,
        /// as signed
        signed: Vec<String>,
        /// as the component says
        found: Vec<String>,
    },
    /// A release of this name and version is loaded already, and is another.
    #[error("`{release}` is already loaded as `{known}`, this one is `{found}`: a release never changes")]
    Changed {
        /// `name@version`
        release: String,
        /// identity of the loaded one
        known: String,
        /// identity of the refused one
        found: String,
    },
}

/// What a folder holds, consistent in itself. It says nothing about who made it: only
/// [`VerifiedFolder`] may be loaded.
#[derive(Debug)]
pub struct Contents {
    /// the folder
    pub path: PathBuf,
    /// the manifest
    pub manifest: Manifest,
    /// its exact bytes
    pub manifest_bytes: Vec<u8>,
    /// identity of the release, `sha256:…`
    pub digest: String,
    /// the component; absent when it is that of a base
    pub component: Option<Vec<u8>>,
}

/// A folder whose signature, place and digests are good.
#[derive(Debug)]
pub struct VerifiedFolder {
    /// what it holds
    pub contents: Contents,
    /// name of the trusted key that signed it
    pub signed_by: String,
}

impl Contents {
    /// Read a folder without asking for a signature: for tools that work on a release before it is
    /// signed. Name and version must be those of the path.
    pub fn read_unsigned(folder: &Path, component_bytes: usize) -> Result<Self, ReleaseError> {
        expect_folder(folder).map_err(|source| ReleaseError::File { path: folder.to_owned(), source })?;
        let manifest_bytes = part(folder, MANIFEST_FILE, MANIFEST_BYTES)?;
        Self::behind(folder, manifest_bytes, component_bytes)
    }

    /// Everything the manifest vouches for.
    fn behind(folder: &Path, manifest_bytes: Vec<u8>, component_bytes: usize) -> Result<Self, ReleaseError> {
        let manifest = Manifest::parse(&manifest_bytes).map_err(ReleaseError::Manifest)?;
        check_place(folder, &manifest)?;
        check_entries(folder)?;
        let component = read_component(folder, &manifest, component_bytes)?;
        check_vectors(folder, &manifest)?;
        let digest = Manifest::identity(&manifest_bytes);
        Ok(Self { path: folder.to_owned(), manifest, manifest_bytes, digest, component })
    }
}

impl VerifiedFolder {
    /// Read and verify a folder `…/<name>/<version>`. `component_bytes` bounds the component.
    pub fn read(folder: &Path, keys: &TrustedKeys, component_bytes: usize) -> Result<Self, ReleaseError> {
        expect_folder(folder).map_err(|source| ReleaseError::File { path: folder.to_owned(), source })?;
        let manifest_bytes = part(folder, MANIFEST_FILE, MANIFEST_BYTES)?;
        let signature = match part(folder, SIGNATURE_FILE, SIGNATURE_BYTES) {
            Err(ReleaseError::File { source, .. }) if source.is_absent() => return Err(ReleaseError::Unsigned),
            other => other?,
        };
        // SECURITY: before anything of the manifest is believed.
        let signed_by = keys.verify(&manifest_bytes, &signature).map_err(ReleaseError::Signature)?.to_owned();
        let contents = Contents::behind(folder, manifest_bytes, component_bytes)?;
        Ok(Self { contents, signed_by })
    }
}

fn part(folder: &Path, name: &str, limit: usize) -> Result<Vec<u8>, ReleaseError> {
    let path = folder.join(name);
    read_file(&path, limit).map_err(|source| ReleaseError::File { path, source })
}

fn check_place(folder: &Path, manifest: &Manifest) -> Result<(), ReleaseError> {
    let name = |path: Option<&Path>| {
        path.and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let place = format!("{}/{}", name(folder.parent()), name(Some(folder)));
    let said = format!("{}/{}", manifest.name, manifest.version);
    if place == said { Ok(()) } else { Err(ReleaseError::Place { folder: place, manifest: said }) }
}

fn check_entries(folder: &Path) -> Result<(), ReleaseError> {
    let failed = |error| ReleaseError::File { path: folder.to_owned(), source: FileError::Io(error) };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let known = [COMPONENT_FILE, MANIFEST_FILE, SIGNATURE_FILE, VECTORS_FOLDER];
        if !known.iter().any(|known| name == *known) {
            return Err(ReleaseError::Unexpected { path: folder.join(name) });
        }
    }
    Ok(())
}

fn read_component(folder: &Path, manifest: &Manifest, limit: usize) -> Result<Option<Vec<u8>>, ReleaseError> {
    if manifest.base.is_some() {
        return match fs::symlink_metadata(folder.join(COMPONENT_FILE)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            _ => Err(ReleaseError::ComponentBesideBase),
        };
    }
    let component = part(folder, COMPONENT_FILE, limit)?;
    check_component(&component, manifest)?;
    Ok(Some(component))
}

/// That these bytes are the component the manifest means.
pub(crate) fn check_component(component: &[u8], manifest: &Manifest) -> Result<(), ReleaseError> {
    let found = sha256_hex(component);
    let sized = u64::try_from(component.len()) == Ok(manifest.component.size);
    if sized && found == manifest.component.sha256 {
        return Ok(());
    }
    Err(ReleaseError::Component {
        found,
        found_size: component.len(),
        signed: manifest.component.sha256.clone(),
        signed_size: manifest.component.size,
    })
}

fn check_vectors(folder: &Path, manifest: &Manifest) -> Result<(), ReleaseError> {
    let tree = Tree::read(&folder.join(VECTORS_FOLDER)).map_err(ReleaseError::Tree)?;
    let found = tree.sha256_hex();
    let counted = u64::try_from(tree.files.len()) == Ok(manifest.vectors.files);
    if counted && found == manifest.vectors.sha256 {
        return Ok(());
    }
    Err(ReleaseError::Vectors {
        found,
        found_files: tree.files.len(),
        signed: manifest.vectors.sha256.clone(),
        signed_files: manifest.vectors.files,
    })
}

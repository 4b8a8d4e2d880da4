//! Releases: `policies/<name>/<version>/` with `policy.wasm`, `manifest.json`, its detached signature
//! `manifest.json.minisig` and the frozen `vectors/`.
//!
//! The signature covers the manifest's exact bytes; the manifest holds the digests of everything
//! else. A release's identity is the digest of those bytes.

pub mod folder;
pub mod invariants;
pub mod manifest;
pub mod registry;
pub mod signature;
pub mod tree;
pub mod write;

pub use folder::{ReleaseError, VerifiedFolder};
pub use invariants::InvariantError;
pub use manifest::{Manifest, ManifestError};
pub use registry::{LookupError, Refused, Registry, RegistryError, Release, Reloaded};
pub use signature::{SignatureError, SigningError, TrustedKeys, sign_with_fresh_key, sign_with_key_file};
pub use write::{Draft, WriteError, Written, componentize, write_release, write_signature};

/// The component of a release.
pub const COMPONENT_FILE: &str = "policy.wasm";
/// The manifest of a release.
pub const MANIFEST_FILE: &str = "manifest.json";
/// The signature of the manifest.
pub const SIGNATURE_FILE: &str = "manifest.json.minisig";
/// The folder of test vectors.
pub const VECTORS_FOLDER: &str = "vectors";
/// Beside the releases: public keys for demonstrations and tests. Never a policy's name.
pub const KEYS_FOLDER: &str = "keys";

//! What the tests share: generators, vectors, fixtures.

pub mod clinic_files;
pub mod grants;
pub mod host;
pub mod oracle;
pub mod servers;
pub mod signing;
pub mod smart;
pub mod tables;
pub mod tools;
pub mod vectors;

use std::path::PathBuf;

/// The root of the checkout.
pub fn workspace_root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

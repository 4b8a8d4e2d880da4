//! Loads signed releases of policy components and calls them within limits.
//!
//! The walk of a release: [`release::folder`] reads and verifies it (signature, manifest, digests),
//! [`admission`] decides whether its component may run at all and compiles it for every lane of the
//! [`engine`], [`release::Registry`] keeps it by name and digest. The walk of a call:
//! [`LoadedPolicy::decide`] makes a fresh instance in the thread's own lane, `convert` carries the
//! input in and validates what comes out.
//!
//! A failed call is a [`CallError`] and never a permit. Nothing here reads a clock or a random
//! number, except that signing draws its key from the operating system.

pub mod admission;
mod bindings;
mod convert;
pub mod describe;
mod digest;
pub mod engine;
mod json;
pub mod policy;
pub mod release;

pub use admission::AdmissionError;
pub use convert::OutputError;
pub use describe::{Description, FactTemplate};
pub use digest::sha256;
pub use engine::{Runtime, RuntimeError, RuntimeLimits};
pub use policy::{CallError, Called, CalledGrant, LoadedPolicy, PolicyLimits};

//! The host of Chartgate: an authorization decision point for FHIR servers.
//!
//! One decision is one straight walk: parse, facts, policy call, decision, record. [`decide`] shows it
//! on one screen; the other modules are what it walks through.

pub mod audit;
pub mod batch;
pub mod break_glass;
mod causes;
pub mod cli;
pub mod config;
pub mod decide;
pub mod derived;
pub mod edge;
pub mod facts;
pub mod filter;
pub mod grant;
pub mod http;
pub mod import;
pub(crate) mod outbound;
pub mod patch;
pub mod people;
pub mod proxy;
pub mod rollout;
pub mod sandbox;
pub mod smart;
pub mod store;
pub mod tokens;

/// Version of this host, in records and answers.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

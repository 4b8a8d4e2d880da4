//! The host of Chartgate: an authorization decision point for FHIR servers.
//!
//! One decision is one straight walk: parse, facts, policy call, decision, record. This crate holds
//! what surrounds the policy call: where facts come from, where records go, who may ask.

pub mod audit;
pub mod facts;
pub mod store;
pub mod tokens;

//! SMART on FHIR scopes and the patient-access rules.
//!
//! A decision is one straight walk ([`decide`]); each rule has a file of its own:
//!
//! | file | rule |
//! | --- | --- |
//! | `settings` | what a release may switch |
//! | `interaction` | which letters an interaction needs (`cruds`) |
//! | `scope` | the scope grammar, and which clauses cover a type and a letter |
//! | `search/filter` | granular scopes judged on content |
//! | `tables` | types, compartments and search parameters of each FHIR version |
//! | `compartment` | whose record a resource is |
//! | `access/subject` | the user fits the role |
//! | `access/actor` | client and user may act at all |
//! | `access/relationship` | which relationships are live |
//! | `access/chart`, `access/age` | what is known of a patient: merges, restriction, age |
//! | `access/people`, `access/standing` | whom a user reaches, by what right, and what stands against it |
//! | `access/known` | the facts at hand, and what to ask for |
//! | `access/reach` | whom a scope clause reaches |
//! | `access/instance` | one resource: reads, versions, instance operations |
//! | `access/write` | create, update, delete: both images |
//! | `access/history` | type and system history |
//! | `filter` | which resources of an answer may leave |
//! | `grant`, `grant/scopes` | which scopes an app may hold for a user |
//! | `search` | searches: parameters, pins, narrowing |
//! | `reason` | every reason code |
//!
//! INVARIANT: nothing here reads a clock, an environment or a random source, and nothing keeps state
//! between calls: equal requests give equal decisions. No collection with a seeded hasher is used.

extern crate alloc;

mod access;
mod compartment;
#[cfg(feature = "component")]
mod component;
mod decide;
mod filter;
mod grant;
mod interaction;
mod json;
mod reason;
mod reference;
mod rule;
mod scope;
mod search;
mod settings;
mod tables;
mod types;

pub use decide::decide;
pub use filter::filter;
pub use grant::{GrantDecision, GrantOutcome, GrantRequest, grant};
pub use json::{Json, Malformed};
pub use reason::{Basis, Reason};
pub use rule::Rule;
#[cfg(feature = "rule-switches")]
pub use rule::without;
pub use settings::SCHEMA as SETTINGS_SCHEMA;
pub use types::*;

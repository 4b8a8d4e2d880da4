//! What a decision is about.
//!
//! Pure types and the FHIR request parser, nothing else: no HTTP framework, no SQL, no engine, no
//! clock. Everything further in than [`parse`] works on these types and never on raw strings.

pub mod decision;
pub mod fhir;
pub mod grant;
pub mod instant;
pub mod parse;
pub mod people;
pub mod request;
pub mod strict;

pub use decision::{Basis, Decision, FilterOutcome, Item, ItemMode, Obligation, Outcome, TraceOutcome, TraceStep};
pub use fhir::{FhirBase, FhirRequest, Interaction, Method, Parameter, ReturnPreference};
pub use grant::{GrantDecision, GrantInput, GrantOutcome, GrantRequest};
pub use instant::Millis;
pub use people::{Record, RecordClass, Relationship, Subject, SubjectKind, Terms};
pub use request::{DecisionRequest, Fact, PolicyInput, ReleasePin, Stored};

//! FHIR definitions as tables: which types exist, whose record each is, what can be searched.
//!
//! Rows come from the official definitions and our overlay of rulings (`policy/definitions/`); how to
//! remake them stands in the first line of each generated file.

#[rustfmt::skip]
mod r4;

/// How a resource type belongs to people (SMART App Launch leaves the types outside the patient
/// compartment open; the three classes are ours).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// belongs to patients: every instance is judged by its members
    Patient,
    /// shared directory and reference data: readable by scope, never writable
    Shared,
    /// conformance, terminology and definitions: readable by scope, never writable
    Definitional,
    /// no ruling says whose data it is: refused
    Unruled,
}

/// The type of a search parameter (FHIR R4, Search, section 3.1.1.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are FHIR's own")]
pub(crate) enum Kind {
    Token,
    Reference,
    String,
    Date,
    Number,
    Quantity,
    Uri,
    Composite,
    Special,
}

/// A search parameter of one type.
pub(crate) struct Parameter {
    pub(crate) code: &'static str,
    pub(crate) kind: Kind,
    /// JSON paths its expression stands for; empty where it cannot be judged on content
    pub(crate) paths: &'static [&'static str],
}

/// A patient-compartment parameter of one type, with our ruling.
pub(crate) struct Member {
    pub(crate) parameter: &'static str,
    pub(crate) paths: &'static [&'static str],
    /// a patient named here may read the resource
    pub(crate) read: bool,
    /// a patient named here may write the resource
    pub(crate) write: bool,
}

/// A resource type.
pub(crate) struct ResourceType {
    pub(crate) name: &'static str,
    pub(crate) class: Class,
    /// every patient named through any member must be within reach
    pub(crate) exclusive: bool,
    /// the search parameter that narrows a search to patients; empty if none can
    pub(crate) narrow_by: &'static str,
    /// its value is a bare id; otherwise `Patient/id`
    pub(crate) narrow_by_bare_id: bool,
    pub(crate) members: &'static [Member],
    pub(crate) parameters: &'static [Parameter],
}

impl ResourceType {
    pub(crate) fn parameter(&self, code: &str) -> Option<&'static Parameter> {
        self.parameters.iter().find(|parameter| parameter.code == code)
    }
}

/// The tables of one FHIR version.
pub(crate) struct Version {
    pub(crate) number: &'static str,
    /// sorted by name
    pub(crate) types: &'static [ResourceType],
    /// parameters every type has
    pub(crate) common: &'static [Parameter],
}

impl Version {
    pub(crate) fn resource_type(&self, name: &str) -> Option<&'static ResourceType> {
        let at = self.types.binary_search_by(|row| row.name.cmp(name)).ok()?;
        self.types.get(at)
    }

    /// A search parameter of a type, its own or common to all.
    pub(crate) fn parameter(&self, on: &ResourceType, code: &str) -> Option<&'static Parameter> {
        on.parameter(code).or_else(|| self.common.iter().find(|parameter| parameter.code == code))
    }
}

/// FHIR versions there are tables for.
#[cfg(feature = "component")]
pub(crate) const VERSIONS: &[&str] = &["4.0.1"];

/// The tables of a FHIR version. R4B and R5 have none yet.
pub(crate) fn version(number: &str) -> Option<&'static Version> {
    (number == r4::VERSION.number).then_some(&r4::VERSION)
}

//! FHIR definitions as tables: which types exist, whose record each is, what can be searched.
//!
//! Rows come from the official definitions and our overlay of rulings (`policy/definitions/`); how to
//! remake them stands in the first line of each generated file.

#[rustfmt::skip]
mod r4;
#[rustfmt::skip]
mod r4b;
#[rustfmt::skip]
mod r5;

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

impl Class {
    /// As a trace says it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Patient => "patient data",
            Self::Shared => "shared directory data",
            Self::Definitional => "conformance or terminology data",
            Self::Unruled => "data without a ruling",
        }
    }
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameter {
    pub(crate) code: &'static str,
    pub(crate) kind: Kind,
    targets: &'static str,
    paths: &'static str,
}

impl Parameter {
    /// Read one line of a table: `code kind paths`.
    ///
    /// Tables are text because a decision looks at one or two rows: rows as structures take three times
    /// the memory, and every byte of it is laid out anew for every decision.
    fn parse(line: &'static str) -> Option<Self> {
        let (code, rest) = line.split_once(' ')?;
        let (kind, paths) = rest.split_once(' ').unwrap_or((rest, ""));
        let (kind, targets) = kind.split_once('>').unwrap_or((kind, ""));
        let kind = match kind {
            "t" => Kind::Token,
            "r" => Kind::Reference,
            "s" => Kind::String,
            "d" => Kind::Date,
            "n" => Kind::Number,
            "q" => Kind::Quantity,
            "u" => Kind::Uri,
            "c" => Kind::Composite,
            _ => Kind::Special,
        };
        Some(Self { code, kind, targets, paths })
    }

    /// The types a reference may point at; none where it may point at any.
    pub(crate) fn targets(&self) -> impl Iterator<Item = &'static str> {
        self.targets.split('+').filter(|target| !target.is_empty())
    }

    /// The one type a reference may point at; empty where there are several.
    pub(crate) fn target(&self) -> &'static str {
        if self.targets.contains('+') { "" } else { self.targets }
    }

    /// Where its values stand in a resource, each a path of `search/path`; none where its expression
    /// cannot be judged on content.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &'static str> {
        let code = self.code;
        self.paths.split(',').filter(|path| !path.is_empty()).map(move |path| if path == "=" { code } else { path })
    }
}

/// The lines of a table.
fn lines(rows: &'static str) -> impl Iterator<Item = Parameter> {
    rows.lines().filter_map(Parameter::parse)
}

fn find(rows: &'static str, code: &str) -> Option<Parameter> {
    // A space would run into the columns behind the code.
    if code.is_empty() || code.contains(' ') {
        return None;
    }
    let line = rows.split('\n').find(|line| line.strip_prefix(code).is_some_and(|rest| rest.starts_with(' ')))?;
    Parameter::parse(line)
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
    /// its search parameters, a line each
    pub(crate) parameters: &'static str,
}

impl ResourceType {
    pub(crate) fn parameter(&self, code: &str) -> Option<Parameter> {
        find(self.parameters, code)
    }

    /// Its own search parameters that are references.
    pub(crate) fn references(&self) -> impl Iterator<Item = Parameter> {
        lines(self.parameters).filter(|parameter| parameter.kind == Kind::Reference)
    }
}

/// The tables of one FHIR version.
pub(crate) struct Version {
    pub(crate) number: &'static str,
    /// sorted by name
    pub(crate) types: &'static [&'static ResourceType],
    /// parameters every type has, a line each
    pub(crate) common: &'static str,
}

impl Version {
    pub(crate) fn resource_type(&self, name: &str) -> Option<&'static ResourceType> {
        let at = self.types.binary_search_by(|row| row.name.cmp(name)).ok()?;
        self.types.get(at).copied()
    }

    /// A search parameter of a type, its own or common to all.
    pub(crate) fn parameter(&self, on: &ResourceType, code: &str) -> Option<Parameter> {
        on.parameter(code).or_else(|| find(self.common, code))
    }
}

/// FHIR versions there are tables for: R4, R4B, R5.
pub(crate) const VERSIONS: [&Version; 3] = [&r4::VERSION, &r4b::VERSION, &r5::VERSION];

/// The tables of a FHIR version; a version that is not known exactly has none.
pub(crate) fn version(number: &str) -> Option<&'static Version> {
    VERSIONS.into_iter().find(|version| version.number == number)
}

#[cfg(test)]
mod tests {
    use super::{Class, Kind, VERSIONS, version};

    #[test]
    fn every_row_of_every_version_can_be_read_and_found() {
        for version in VERSIONS {
            assert!(version.types.is_sorted_by(|a, b| a.name < b.name));
            for on in version.types {
                for line in on.parameters.lines() {
                    let code = line.split(' ').next().unwrap();
                    let row = version.parameter(on, code).unwrap();
                    assert_eq!(row.code, code);
                    assert!(row.paths().all(|path| !path.is_empty()), "{}.{code}", on.name);
                }
                let narrows = on.narrow_by.is_empty() || version.parameter(on, on.narrow_by).is_some();
                assert!(narrows, "{}", on.name);
                let judged = on.class != Class::Patient || on.name == "Patient" || on.members.iter().any(|m| m.read);
                assert!(judged, "{}", on.name);
            }
        }
    }

    #[test]
    fn the_kind_of_a_parameter_is_that_of_its_definition() {
        let r4 = version("4.0.1").unwrap();
        for (on, code, kind) in [
            ("Observation", "code", Kind::Token),
            ("Observation", "subject", Kind::Reference),
            ("Patient", "family", Kind::String),
            ("Observation", "date", Kind::Date),
            ("RiskAssessment", "probability", Kind::Number),
            ("Observation", "value-quantity", Kind::Quantity),
            ("ValueSet", "url", Kind::Uri),
            ("Observation", "code-value-concept", Kind::Composite),
            ("Location", "near", Kind::Special),
        ] {
            let on = r4.resource_type(on).unwrap();
            assert_eq!(r4.parameter(on, code).unwrap().kind, kind, "{code}");
        }
    }

    #[test]
    fn versions_differ_where_the_definitions_do() {
        let class = |number: &str, name| version(number).unwrap().resource_type(name).map(|on| on.class);
        assert_eq!(class("4.0.1", "Device"), Some(Class::Patient));
        assert_eq!(class("5.0.0", "Device"), Some(Class::Unruled));
        assert_eq!(class("4.0.1", "EncounterHistory"), None);
        assert_eq!(class("5.0.0", "EncounterHistory"), Some(Class::Patient));
        assert_eq!(class("4.3.0", "Media"), Some(Class::Patient));
        assert_eq!(class("5.0.0", "Media"), None);
        let r5 = version("5.0.0").unwrap();
        assert_eq!(r5.parameter(r5.resource_type("Consent").unwrap(), "subject").unwrap().kind, Kind::Reference);
        assert!(version("5.0").is_none() && version("").is_none() && version("4.0.1 ").is_none());
    }
}

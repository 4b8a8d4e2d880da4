//! FHIR references and ids (FHIR R4, section 2.3.0.1).

/// What a reference text points at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target<'a> {
    /// a literal reference to a resource of this base, with or without a version
    Local { resource_type: &'a str, id: &'a str },
    /// anything else: another base, contained, `urn:`, malformed
    Elsewhere {
        /// it might still name a patient
        maybe_patient: bool,
    },
}

/// A logical id (FHIR R4, `id`: 1 to 64 of letters, digits, `-` and `.`), but never `.` or `..`, which a
/// path would swallow.
pub(crate) fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    (1..=64).contains(&text.len()) && text.bytes().all(plain) && text != "." && text != ".."
}

/// A resource type by the look of it.
pub(crate) fn is_type(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_uppercase()) && text.bytes().all(|b| b.is_ascii_alphabetic())
}

/// Read a reference. `base` is the absolute URL of the base without a trailing slash.
///
/// SECURITY: only `Type/id` and the same below our own base count. A foreign server's `Patient/1` is
/// not our `Patient/1`.
pub(crate) fn target<'a>(reference: &'a str, base: &str) -> Target<'a> {
    let below_base = reference.strip_prefix(base).and_then(|rest| rest.strip_prefix('/')).filter(|_| !base.is_empty());
    let relative = below_base.unwrap_or(reference);
    let mut steps = relative.split('/');
    let (resource_type, id) = (steps.next().unwrap_or_default(), steps.next().unwrap_or_default());
    let version = match (steps.next(), steps.next(), steps.next()) {
        (None, None, None) => true,
        (Some("_history"), Some(version), None) => is_id(version),
        _ => false,
    };
    if is_type(resource_type) && is_id(id) && version {
        return Target::Local { resource_type, id };
    }
    Target::Elsewhere { maybe_patient: foreign_type(reference).is_none_or(|name| name == "Patient") }
}

/// The type named by an absolute URL of another base, where that is plain to see.
fn foreign_type(reference: &str) -> Option<&str> {
    let (_, path) = reference.strip_prefix("http").and_then(|rest| rest.split_once("://"))?;
    let mut steps = path.rsplit('/');
    let (id, name) = (steps.next()?, steps.next()?);
    (is_id(id) && is_type(name)).then_some(name)
}

/// `Type/id` taken apart.
pub(crate) fn split_local(reference: &str) -> Option<(&str, &str)> {
    let (resource_type, id) = reference.split_once('/')?;
    (is_type(resource_type) && is_id(id)).then_some((resource_type, id))
}

#[cfg(test)]
mod tests {
    use alloc::format;

    use super::{Target, is_id, split_local, target};

    const BASE: &str = "https://ehr.example/fhir";

    #[test]
    fn literal_references_of_this_base_are_local() {
        for text in [
            "Patient/1",
            "Patient/1/_history/3",
            "https://ehr.example/fhir/Patient/1",
            "https://ehr.example/fhir/Patient/1/_history/3",
        ] {
            assert_eq!(target(text, BASE), Target::Local { resource_type: "Patient", id: "1" }, "{text}");
        }
    }

    #[test]
    fn nothing_else_is_local() {
        let texts = [
            "#p",
            "urn:uuid:0",
            "",
            "Patient",
            "Patient/",
            "/Patient/1",
            "Patient/1/",
            "Patient//1",
            "Patient/1/_history",
            "Patient/1/x/2",
            "https://evil.example/fhir/Patient/1",
            "https://ehr.example/fhirPatient/1",
            "http://ehr.example/fhir/Patient/1",
            "patient/1",
            "Patient/a b",
        ];
        for text in texts {
            assert!(matches!(target(text, BASE), Target::Elsewhere { .. }), "{text}");
        }
    }

    #[test]
    fn a_foreign_practitioner_is_no_patient_but_an_unclear_reference_may_be() {
        let maybe = |text| target(text, BASE) == Target::Elsewhere { maybe_patient: true };
        assert!(!maybe("https://other.example/fhir/Practitioner/1"));
        assert!(maybe("https://other.example/fhir/Patient/1"));
        assert!(maybe("#p") && maybe("urn:uuid:0") && maybe(""));
        // Neither the one nor the other half makes a reference to a type.
        assert!(maybe("https://other.example/fhir/Practitioner/a_b") && maybe("https://other.example/fhir/v1/1"));
    }

    #[test]
    fn an_id_is_of_letters_digits_hyphens_and_points() {
        let longest = "a".repeat(64);
        for id in ["a", "A-1.b", "-", "...", &longest] {
            assert!(is_id(id), "{id}");
        }
        for text in ["", ".", "..", "a_b", "a b", "\u{e9}", "a/b", &format!("{longest}a")] {
            assert!(!is_id(text), "{text}");
        }
    }

    #[test]
    fn a_key_is_a_type_and_an_id() {
        assert_eq!(split_local("Patient/1"), Some(("Patient", "1")));
        for text in ["Patient", "patient/1", "/1", "Patient/", "Patient/a_b", "P4/1", "Patient/1/2"] {
            assert_eq!(split_local(text), None, "{text}");
        }
    }
}

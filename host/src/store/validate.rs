//! What a relationship may look like, wherever it comes from: administrators, files, callers.

use chartgate_model::{Relationship, Terms};

/// Resource types a user may have. `Person` is among them because a directory may know one.
pub const USER_TYPES: [&str; 5] = ["Patient", "RelatedPerson", "Person", "Practitioner", "PractitionerRole"];
/// Levels of access a relationship may give, widest first.
pub const LEVELS: [&str; 3] = ["full", "limited", "read-only"];
/// States of a relationship.
pub const STATUSES: [&str; 3] = ["active", "suspended", "revoked"];
/// What a relationship may wait for.
pub const CONDITIONS: [&str; 2] = ["incapacity", "minority"];
/// Entries of a list of what a relationship excludes.
const LISTED_MAX: usize = 100;
/// SQLite integers are signed: the last instant that can be stored, in milliseconds since 1970.
pub const LAST_MS: u64 = i64::MAX as u64;

/// A member has a value that is not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{member}: {message}")]
pub struct InvalidMember {
    /// name of the member, `level`
    pub member: &'static str,
    /// what is expected, with the offending input in backticks
    pub message: String,
}

fn invalid(member: &'static str, input: &str, expected: &str) -> InvalidMember {
    let shown: String = input.chars().take(80).flat_map(char::escape_debug).collect();
    InvalidMember { member, message: format!("`{shown}` is not {expected}") }
}

/// A tenant: `[a-z0-9-]{1,64}`.
pub fn tenant(text: &str) -> Result<(), InvalidMember> {
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
        return Ok(());
    }
    Err(invalid("tenant", text, "1 to 64 of a-z, 0-9 and `-`"))
}

/// A FHIR id (FHIR R4, data type `id`), but never `.` or `..`, which a path would swallow.
pub fn is_id(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    (1..=64).contains(&text.len()) && text.bytes().all(plain) && text != "." && text != ".."
}

/// A user: a relative reference `Type/id` of one of [`USER_TYPES`].
pub fn user(text: &str) -> Result<(), InvalidMember> {
    match text.split_once('/') {
        Some((kind, id)) if USER_TYPES.contains(&kind) && is_id(id) => Ok(()),
        _ => Err(invalid("user", text, "a reference like `Practitioner/17` to a person or their role")),
    }
}

/// A patient: the bare id.
pub fn patient(text: &str) -> Result<(), InvalidMember> {
    if is_id(text) { Ok(()) } else { Err(invalid("patient", text, "a bare resource id")) }
}

/// Lower-case words joined by single hyphens, at most 64 bytes.
fn is_kebab(text: &str) -> bool {
    let word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= 64 && text.split('-').all(word)
}

/// The kind of a relationship: kebab-case.
///
/// `self` is refused: that a user is the patient follows from who the user is, never from a fact.
pub fn kind(text: &str) -> Result<(), InvalidMember> {
    if !is_kebab(text) {
        return Err(invalid("kind", text, "a kebab-case word of at most 64 bytes"));
    }
    if text == "self" {
        return Err(invalid("kind", text, "a kind to be given: it follows from the user"));
    }
    Ok(())
}

/// What a relationship rests on: some words, or none.
pub fn basis(text: &str) -> Result<(), InvalidMember> {
    let good = text.len() <= 200 && !text.chars().any(char::is_control) && text.trim() == text;
    if good { Ok(()) } else { Err(invalid("basis", text, "at most 200 bytes without control characters")) }
}

/// A relationship that somebody gives by hand: what rests on a resource is the next import's to take away, so nothing
/// is granted on it. It may be suspended or revoked there.
pub fn by_hand(given: &Relationship) -> Result<(), InvalidMember> {
    if is_resource(&given.terms.basis) && given.status == "active" {
        let expected = "a document of your own: the next import would take away what rests on a resource";
        return Err(invalid("basis", &given.terms.basis, expected));
    }
    Ok(())
}

/// Whether a basis is a resource that imports take over, `Consent/9` or a part of what it gives, `CareTeam/9#2`.
pub fn is_resource(basis: &str) -> bool {
    let resource = basis.split('#').next().and_then(|basis| basis.split_once('/'));
    resource.is_some_and(|(kind, id)| crate::derived::TYPES.contains(&kind) && is_id(id))
}

fn terms(given: &Relationship) -> Result<(), InvalidMember> {
    let Terms { basis: on, exclude_types, exclude_labels, condition, delegator } = &given.terms;
    basis(on)?;
    let types = |text: &String| {
        text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_alphabetic())
            && text.starts_with(|c: char| c.is_ascii_uppercase())
    };
    listed("exclude_types", exclude_types, "a resource type", types)?;
    let labels = |text: &String| (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic());
    listed("exclude_labels", exclude_labels, "a code of a security label", labels)?;
    if let Some(condition) = condition.as_ref().filter(|condition| !CONDITIONS.contains(&condition.as_str())) {
        return Err(invalid("condition", condition, "`incapacity` or `minority`"));
    }
    match (delegator, given.kind.as_str()) {
        (Some(delegator), "delegation") => {
            user(delegator).map_err(|error| InvalidMember { member: "delegator", ..error })
        }
        (None, "delegation") => Err(InvalidMember { member: "delegator", message: "is missing".into() }),
        (Some(delegator), _) => Err(invalid("delegator", delegator, "to be given but for the kind `delegation`")),
        (None, _) => Ok(()),
    }
}

fn listed(
    member: &'static str,
    list: &[String],
    expected: &str,
    good: impl Fn(&String) -> bool,
) -> Result<(), InvalidMember> {
    if let Some(bad) = list.iter().find(|text| !good(text)) {
        return Err(invalid(member, bad, expected));
    }
    if list.len() > LISTED_MAX {
        return Err(InvalidMember { member, message: format!("has more than {LISTED_MAX} entries") });
    }
    Ok(())
}

/// A whole relationship. Its `source` is not judged: whoever takes it in says who vouched for it.
pub fn relationship(given: &Relationship) -> Result<(), InvalidMember> {
    user(&given.user)?;
    patient(&given.patient)?;
    kind(&given.kind)?;
    if !LEVELS.contains(&given.level.as_str()) {
        return Err(invalid("level", &given.level, "`full`, `limited` or `read-only`"));
    }
    if !STATUSES.contains(&given.status.as_str()) {
        return Err(invalid("status", &given.status, "`active`, `suspended` or `revoked`"));
    }
    terms(given)?;
    if !is_kebab(&given.via) {
        return Err(invalid("via", &given.via, "a kebab-case word like `ordinary`"));
    }
    for (member, instant) in [("start", given.start), ("end", given.end)] {
        if let Some(instant) = instant.filter(|instant| instant.0 > LAST_MS) {
            return Err(invalid(member, &instant.0.to_string(), "a time that can be stored"));
        }
    }
    match (given.start, given.end) {
        (Some(start), Some(end)) if start >= end => Err(invalid("end", &end.to_string(), "later than the start")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use chartgate_model::{Millis, Relationship, Terms};

    use super::{LAST_MS, relationship, tenant};

    fn good() -> Relationship {
        Relationship {
            user: "Practitioner/17".into(),
            patient: "123".into(),
            kind: "treatment".into(),
            level: "full".into(),
            status: "active".into(),
            via: "ordinary".into(),
            source: String::new(),
            start: Some(Millis(1)),
            end: Some(Millis(2)),
            terms: Terms::default(),
        }
    }

    fn refused(change: impl FnOnce(&mut Relationship)) -> &'static str {
        let mut given = good();
        change(&mut given);
        relationship(&given).unwrap_err().member
    }

    #[test]
    fn a_plain_relationship_is_accepted_at_every_limit() {
        relationship(&good()).unwrap();
        relationship(&Relationship { patient: "a".repeat(64), kind: "k".repeat(64), ..good() }).unwrap();
        relationship(&Relationship { end: Some(Millis(LAST_MS)), ..good() }).unwrap();
        for user in ["Patient/1", "RelatedPerson/a.b-c", "Person/1", "PractitionerRole/1"] {
            relationship(&Relationship { user: user.into(), ..good() }).unwrap();
        }
    }

    #[test]
    fn a_user_that_is_no_relative_reference_to_a_person_is_refused() {
        for user in [
            "",
            "17",
            "Practitioner/",
            "/17",
            "Device/1",
            "practitioner/17",
            "Practitioner/1/2",
            "Practitioner/..",
            "https://ehr.example/Practitioner/17",
            "Practitioner/17 ",
            "Practitioner/a_b",
        ] {
            assert_eq!(refused(|r| r.user = user.into()), "user", "{user}");
        }
        assert_eq!(refused(|r| r.user = format!("Patient/{}", "a".repeat(65))), "user");
    }

    #[test]
    fn a_patient_that_is_no_bare_id_is_refused() {
        for patient in ["", "Patient/1", "..", "a b", "é", "a\0"] {
            assert_eq!(refused(|r| r.patient = patient.into()), "patient", "{patient}");
        }
        assert_eq!(refused(|r| r.patient = "a".repeat(65)), "patient");
    }

    #[test]
    fn unknown_words_are_refused_naming_the_member() {
        for kind in ["", "Treatment", "a--b", "-a", "a_b", "self"] {
            assert_eq!(refused(|r| r.kind = kind.into()), "kind", "{kind}");
        }
        assert_eq!(refused(|r| r.kind = "k".repeat(65)), "kind");
        for level in ["", "Full", "none", "readonly"] {
            assert_eq!(refused(|r| r.level = level.into()), "level", "{level}");
        }
        for status in ["", "ACTIVE", "ended"] {
            assert_eq!(refused(|r| r.status = status.into()), "status", "{status}");
        }
        for via in ["", "Ordinary", "break glass"] {
            assert_eq!(refused(|r| r.via = via.into()), "via", "{via}");
        }
    }

    #[test]
    fn a_relationship_that_ends_before_or_when_it_starts_is_refused() {
        for end in [0, 1] {
            assert_eq!(refused(|r| r.end = Some(Millis(end))), "end");
        }
        assert_eq!(refused(|r| r.end = Some(Millis(LAST_MS + 1))), "end");
    }

    #[test]
    fn terms_are_held_to_their_limits() {
        let with = |terms: Terms| relationship(&Relationship { terms, ..good() }).map_err(|error| error.member);
        let types = |count: usize| vec!["Observation".to_owned(); count];
        assert_eq!(with(Terms { exclude_types: types(100), ..Terms::default() }), Ok(()));
        assert_eq!(with(Terms { exclude_types: types(101), ..Terms::default() }), Err("exclude_types"));
        for name in ["", "observation", "Obs1", &"A".repeat(65), "A B"] {
            assert_eq!(
                with(Terms { exclude_types: vec![name.into()], ..Terms::default() }),
                Err("exclude_types"),
                "{name}"
            );
        }
        for label in ["", "a b", &"a".repeat(65), "ä"] {
            let terms = Terms { exclude_labels: vec![label.into()], ..Terms::default() };
            assert_eq!(with(terms), Err("exclude_labels"), "{label}");
        }
        assert_eq!(with(Terms { exclude_labels: vec!["a".repeat(64)], ..Terms::default() }), Ok(()));
        assert_eq!(with(Terms { condition: Some("minority".into()), ..Terms::default() }), Ok(()));
        assert_eq!(with(Terms { condition: Some("rain".into()), ..Terms::default() }), Err("condition"));
        assert_eq!(with(Terms { basis: "b".repeat(200), ..Terms::default() }), Ok(()));
        for basis in ["b".repeat(201), "a\n".into(), " a".into()] {
            assert_eq!(with(Terms { basis, ..Terms::default() }), Err("basis"));
        }
    }

    #[test]
    fn a_delegation_says_for_whom_and_nothing_else_does() {
        let delegated = |kind: &str, delegator: Option<&str>| {
            let terms = Terms { delegator: delegator.map(str::to_owned), ..Terms::default() };
            relationship(&Relationship { kind: kind.into(), terms, ..good() }).map_err(|error| error.member)
        };
        assert_eq!(delegated("delegation", Some("Practitioner/12")), Ok(()));
        assert_eq!(delegated("delegation", None), Err("delegator"));
        assert_eq!(delegated("delegation", Some("12")), Err("delegator"));
        assert_eq!(delegated("treatment", Some("Practitioner/12")), Err("delegator"));
    }

    #[test]
    fn a_tenant_is_short_and_lower_case() {
        for name in ["a", "default", "clinic-2"] {
            tenant(name).unwrap();
        }
        tenant(&"t".repeat(64)).unwrap();
        for name in ["", "Default", "a_b", "a/b", "ä"] {
            assert!(tenant(name).is_err(), "{name}");
        }
        assert!(tenant(&"t".repeat(65)).is_err());
    }
}

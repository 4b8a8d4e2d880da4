//! Scopes as an authorization server has to read them: what a registration allows, what a person is shown, what they
//! leave out. What a scope means for a request is the policy's business.

/// A scope for FHIR resources (SMART App Launch 2.2, section "Scopes for requesting FHIR Resources").
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ResourceScope<'a> {
    /// `patient`, `user` or `system`
    pub(super) context: &'a str,
    /// a resource type, or `*`
    pub(super) resource_type: &'a str,
    /// some of `cruds`, in this order
    pub(super) letters: &'a str,
    /// what stands behind the `?`
    pub(super) filter: Option<&'a str>,
}

impl<'a> ResourceScope<'a> {
    /// Read one; anything else is `None`.
    pub(super) fn parse(token: &'a str) -> Option<Self> {
        let (head, filter) = match token.split_once('?') {
            Some((head, filter)) => (head, Some(filter)),
            None => (token, None),
        };
        let (context, rest) = head.split_once('/')?;
        let (resource_type, access) = rest.split_once('.')?;
        let letters = match access {
            "read" if filter.is_none() => "rs",
            "write" if filter.is_none() => "cud",
            "*" if filter.is_none() => "cruds",
            letters => letters,
        };
        let typed = resource_type == "*"
            || (resource_type.starts_with(|c: char| c.is_ascii_uppercase())
                && resource_type.bytes().all(|b| b.is_ascii_alphanumeric()));
        let sound = matches!(context, "patient" | "user" | "system") && typed && in_order(letters);
        (sound && filter != Some("")).then_some(Self { context, resource_type, letters, filter })
    }

    /// Whether this scope allows one letter of another.
    fn covers(&self, other: &Self, letter: char) -> bool {
        self.context == other.context
            && (self.resource_type == "*" || self.resource_type == other.resource_type)
            && self.letters.contains(letter)
            && (self.filter.is_none() || self.filter == other.filter)
    }
}

/// A non-empty part of `cruds`, in its order and without repeats.
fn in_order(letters: &str) -> bool {
    let mut rest = "cruds".chars();
    !letters.is_empty() && letters.chars().all(|letter| rest.any(|known| known == letter))
}

/// The tokens of a scope string, each once, in order.
pub(super) fn tokens(scope: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    for token in scope.split(' ').filter(|token| !token.is_empty()) {
        if !tokens.contains(&token) {
            tokens.push(token);
        }
    }
    tokens
}

/// Whether a scope string has a token.
pub(super) fn has(scope: &str, token: &str) -> bool {
    scope.split(' ').any(|known| known == token)
}

/// A scope string without one token.
pub(super) fn without(scope: &str, token: &str) -> String {
    tokens(scope).into_iter().filter(|known| *known != token).collect::<Vec<_>>().join(" ")
}

/// The tokens of `asked` that `allowed` covers, spelled as they were asked.
pub(super) fn within(asked: &str, allowed: &str) -> String {
    let registered = tokens(allowed);
    let covers = |token: &&str| registered.contains(token) || covered(token, &registered);
    tokens(asked).into_iter().filter(covers).collect::<Vec<_>>().join(" ")
}

/// Whether every token of `asked` is covered by `allowed`.
pub(super) fn is_within(asked: &str, allowed: &str) -> bool {
    let registered = tokens(allowed);
    tokens(asked).iter().all(|token| registered.contains(token) || covered(token, &registered))
}

fn covered(token: &str, registered: &[&str]) -> bool {
    let Some(asked) = ResourceScope::parse(token) else {
        // A launch scope with a role is allowed by the one without.
        let plain = token.split_once("?role=").map(|(plain, _)| plain);
        return plain.is_some_and(|plain| plain.starts_with("launch/") && registered.contains(&plain));
    };
    let known: Vec<ResourceScope<'_>> = registered.iter().filter_map(|token| ResourceScope::parse(token)).collect();
    asked.letters.chars().all(|letter| known.iter().any(|scope| scope.covers(&asked, letter)))
}

/// Whether a scope string asks for records of one patient, or for a patient in context.
pub(super) fn wants_patient(scope: &str) -> bool {
    tokens(scope).iter().any(|token| {
        *token == "launch/patient" || ResourceScope::parse(token).is_some_and(|scope| scope.context == "patient")
    })
}

/// Whether a token belongs to the wire's alphabet (RFC 6749, section 3.3).
pub(super) fn is_scope_string(scope: &str) -> bool {
    scope.bytes().all(|b| matches!(b, 0x20 | 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// Categories a person may choose from, where an app asks for all of a type (45 CFR 170.315(g)(10), HTI-1): the
/// name in the catalogue, and the scope's filter.
pub(super) fn categories(resource_type: &str) -> &'static [(&'static str, &'static str)] {
    match resource_type {
        "Condition" => &[
            (
                "encounter-diagnosis",
                "category=http://terminology.hl7.org/CodeSystem/condition-category|encounter-diagnosis",
            ),
            (
                "problem-list-item",
                "category=http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item",
            ),
            ("health-concern", "category=http://hl7.org/fhir/us/core/CodeSystem/condition-category|health-concern"),
        ],
        "Observation" => &[
            ("laboratory", "category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory"),
            ("vital-signs", "category=http://terminology.hl7.org/CodeSystem/observation-category|vital-signs"),
            ("social-history", "category=http://terminology.hl7.org/CodeSystem/observation-category|social-history"),
            ("survey", "category=http://terminology.hl7.org/CodeSystem/observation-category|survey"),
            ("sdoh", "category=http://hl7.org/fhir/us/core/CodeSystem/us-core-category|sdoh"),
            ("procedure", "category=http://terminology.hl7.org/CodeSystem/observation-category|procedure"),
        ],
        _ => &[],
    }
}

/// Types a person may choose from where an app asks for everything: what patients' records are made of, and whom
/// and what they speak of.
pub(super) const TYPES: [&str; 60] = [
    "Account",
    "AdverseEvent",
    "AllergyIntolerance",
    "Appointment",
    "Basic",
    "Binary",
    "BodyStructure",
    "CarePlan",
    "CareTeam",
    "ChargeItem",
    "Claim",
    "ClaimResponse",
    "ClinicalImpression",
    "Communication",
    "CommunicationRequest",
    "Composition",
    "Condition",
    "Consent",
    "Coverage",
    "DetectedIssue",
    "Device",
    "DeviceRequest",
    "DeviceUseStatement",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "EpisodeOfCare",
    "ExplanationOfBenefit",
    "FamilyMemberHistory",
    "Flag",
    "Goal",
    "HealthcareService",
    "ImagingStudy",
    "Immunization",
    "ImmunizationRecommendation",
    "Invoice",
    "List",
    "Location",
    "Media",
    "Medication",
    "MedicationAdministration",
    "MedicationDispense",
    "MedicationRequest",
    "MedicationStatement",
    "NutritionOrder",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "Provenance",
    "QuestionnaireResponse",
    "RelatedPerson",
    "RiskAssessment",
    "Schedule",
    "ServiceRequest",
    "Slot",
    "Specimen",
    "VisionPrescription",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_scope_is_read_whole_or_not_at_all() {
        let letters = |token: &str| ResourceScope::parse(token).map(|scope| scope.letters.to_owned());
        assert_eq!(letters("patient/Observation.read").as_deref(), Some("rs"));
        assert_eq!(letters("user/*.*").as_deref(), Some("cruds"));
        assert_eq!(letters("patient/Observation.rs?category=a|b").as_deref(), Some("rs"));
        for bad in [
            "patient/Observation.",
            "patient/Observation.sr",
            "patient/Observation.rr",
            "patient/observation.r",
            "patient/Observation.read?category=a",
            "patient/Observation.r?",
            "anyone/Observation.r",
            "Observation.r",
            "patient/Observation",
            "launch",
            "openid",
            "patient/.r",
            "patient/Obs ervation.r",
        ] {
            assert_eq!(letters(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_registration_covers_what_it_names_and_no_letter_more() {
        let registered = "openid launch/patient patient/*.rs user/Observation.r user/Observation.s patient/Goal.u";
        for good in [
            "openid",
            "patient/Observation.rs",
            "patient/Observation.read",
            "patient/*.r",
            "user/Observation.rs",
            "patient/Goal.ru",
            "patient/Observation.rs?category=a|b",
            "launch/patient?role=friend",
        ] {
            assert!(is_within(good, registered), "{good}");
        }
        for bad in ["fhirUser", "patient/Observation.crs", "user/*.r", "user/Patient.r", "system/*.rs", "patient/*.rsx"]
        {
            assert!(!is_within(bad, registered), "{bad}");
        }
        assert_eq!(within("patient/Goal.d openid  openid patient/Goal.u", registered), "openid patient/Goal.u");
    }

    #[test]
    fn a_filter_is_covered_by_itself_and_by_none() {
        assert!(is_within("patient/Observation.r?category=a", "patient/Observation.rs?category=a"));
        assert!(!is_within("patient/Observation.r", "patient/Observation.rs?category=a"));
        assert!(!is_within("patient/Observation.r?category=b", "patient/Observation.rs?category=a"));
    }

    #[test]
    fn the_alphabet_of_scopes_leaves_out_quotes_and_backslashes() {
        assert!(is_scope_string("a b|c!~[]"));
        for bad in ["\"", "\\", "é", "a\tb", "a\nb"] {
            assert!(!is_scope_string(bad), "{bad:?}");
        }
    }
}

//! What no release may do, whatever its rules: asked of every release before it serves.
//!
//! - Apps never get break-glass: a request that is not permitted stays so whatever marker or break-glass fact is
//!   added to it.
//! - Nobody is nobody: without a user, without a scope, or by a `patient/` scope without a launch patient, nothing
//!   that belongs to a patient is permitted.
//!
//! The requests are made up here, the same for every release, and about people who do not exist. They guard against
//! a rule that was written wrong, not against an author who knows them.

use chartgate_model::{
    DecisionRequest, Fact, FhirBase, FhirRequest, Interaction, Method, Millis, Outcome, Parameter, PolicyInput,
    ReturnPreference, Stored, Subject, SubjectKind,
};

use crate::policy::{CallError, LoadedPolicy};

/// The client of every request here.
const CLIENT: &str = "chartgate-invariants";
const BASE: &str = "https://invariants.invalid/fhir";
const PATIENT: &str = "inv-patient";
/// 2026-01-01
const NOW: Millis = Millis(1_767_225_600_000);
/// Who asks: a patient, a proxy and a provider, none of them the patient asked about.
const USERS: [(SubjectKind, &str); 3] = [
    (SubjectKind::Patient, "Patient/inv-user"),
    (SubjectKind::Proxy, "RelatedPerson/inv-user"),
    (SubjectKind::Provider, "Practitioner/inv-user"),
];
const TYPES: [&str; 4] = ["Observation", "Condition", "Encounter", "DocumentReference"];
const EVERYTHING: &str = "user/*.cruds patient/*.cruds";
/// Kinds of relationships, those of no rule among them.
const KINDS: [&str; 6] = ["treatment", "care-team", "coverage", "guardian", "caregiver", "emergency"];

/// A release permits what none may, or cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvariantError {
    /// It permits.
    #[error("it permits {request} {although}")]
    Permits {
        /// the interaction and the type
        request: String,
        /// what should have stood in the way
        although: &'static str,
    },
    /// It fails on an ordinary request.
    #[error("it fails on {request}")]
    Fails {
        /// the interaction and the type
        request: String,
        /// how
        #[source]
        error: CallError,
    },
}

/// Hold a policy, with the settings of its release, against what no release may do.
pub fn check(policy: &LoadedPolicy, settings: &[u8]) -> Result<(), InvariantError> {
    for version in &policy.description.fhir_versions {
        for request in requests() {
            for (kind, user) in USERS {
                let case = Case { policy, settings, version, request: &request, kind };
                case.nobody(user)?;
                case.break_glass(user)?;
            }
        }
    }
    Ok(())
}

/// One request as one kind of user makes it.
struct Case<'a> {
    policy: &'a LoadedPolicy,
    settings: &'a [u8],
    version: &'a str,
    request: &'a FhirRequest,
    kind: SubjectKind,
}

impl Case<'_> {
    /// Every fact speaks for the user; that there is no user, scope or launch patient is all that speaks against.
    fn nobody(&self, user: &str) -> Result<(), InvariantError> {
        let by_patient = "patient/*.cruds";
        for (although, user, scope, launch) in [
            ("without a user", "", EVERYTHING, Some(PATIENT)),
            ("without a scope", user, "", Some(PATIENT)),
            ("by a patient scope without a launch patient", user, by_patient, None),
            ("by a patient scope with an empty launch patient", user, by_patient, Some("")),
        ] {
            if self.permits(user, scope, launch, &facts(user, "ordinary"))? {
                return Err(self.error(although));
            }
        }
        Ok(())
    }

    /// No fact speaks for the user but those that came about by break-glass.
    fn break_glass(&self, user: &str) -> Result<(), InvariantError> {
        let none = facts(user, "");
        if self.permits(user, EVERYTHING, Some(PATIENT), &none)? {
            return Ok(());
        }
        for via in ["break-glass", "btg", "emergency"] {
            if self.permits(user, EVERYTHING, Some(PATIENT), &facts(user, via))? {
                return Err(self.error("by a relationship that came about by break-glass"));
            }
        }
        for marker in ["break-glass", "user/*.btg", "launch/break-glass", "purpose:BTG", "ETREAT"] {
            if self.permits(user, &format!("{EVERYTHING} {marker}"), Some(PATIENT), &none)? {
                return Err(self.error("by a break-glass marker among its scopes"));
            }
        }
        Ok(())
    }

    fn permits(&self, user: &str, scope: &str, launch: Option<&str>, facts: &[Fact]) -> Result<bool, InvariantError> {
        let stored = self.request.id.iter().map(|id| {
            let resource_type = &self.request.resource_type;
            Stored { key: format!("{resource_type}/{id}"), content: Some(content(resource_type, id)) }
        });
        let decision = DecisionRequest {
            tenant: "default".into(),
            base: FhirBase { name: "default".into(), url: BASE.into(), version: self.version.into() },
            request: self.request.clone(),
            subject: Subject {
                kind: self.kind,
                user: user.into(),
                client: CLIENT.into(),
                scope: scope.into(),
                patient: launch.map(str::to_owned),
                encounter: None,
                expires: None,
            },
            stored: stored.collect(),
            relationships: Vec::new(),
            obligations: ["search-narrowing", "response-filter", "if-match", "return-minimal"]
                .map(str::to_owned)
                .into(),
            pin: None,
            explain: false,
            now: NOW,
            simulate: true,
            break_glass: Vec::new(),
        };
        let input = PolicyInput {
            decision: &decision,
            stored: &decision.stored,
            facts,
            facts_final: true,
            settings: self.settings,
        };
        let called = self.policy.decide(&input);
        let called = called.map_err(|error| InvariantError::Fails { request: self.name(), error })?;
        Ok(matches!(called.decision.outcome, Outcome::Permit { .. }))
    }

    fn error(&self, although: &'static str) -> InvariantError {
        InvariantError::Permits { request: self.name(), although }
    }

    fn name(&self) -> String {
        format!("{} of {} in FHIR {}", self.request.interaction.code(), self.request.resource_type, self.version)
    }
}

/// Requests about one patient, of every kind that belongs to a patient.
fn requests() -> Vec<FhirRequest> {
    let mut all = Vec::new();
    for resource_type in TYPES {
        let one = |interaction, id: Option<&str>| request(interaction, resource_type, id);
        let body = |id: &str| Some(content(resource_type, id));
        all.extend([
            one(Interaction::Read, Some("inv-1")),
            one(Interaction::HistoryInstance, Some("inv-1")),
            FhirRequest { body: body("inv-1"), ..one(Interaction::Update, Some("inv-1")) },
            FhirRequest { body: body("inv-1"), ..one(Interaction::Create, None) },
            one(Interaction::Delete, Some("inv-1")),
            FhirRequest {
                parameters: vec![Parameter { name: "patient".into(), value: PATIENT.into() }],
                ..one(Interaction::SearchType, None)
            },
            FhirRequest { compartment: Some(("Patient".into(), PATIENT.into())), ..one(Interaction::SearchType, None) },
        ]);
    }
    all.push(request(Interaction::Read, "Patient", Some(PATIENT)));
    let everything = request(Interaction::Operation, "Patient", Some(PATIENT));
    all.push(FhirRequest { operation: Some("everything".into()), ..everything });
    all
}

fn request(interaction: Interaction, resource_type: &str, id: Option<&str>) -> FhirRequest {
    FhirRequest {
        method: Method::Get,
        interaction,
        resource_type: resource_type.into(),
        id: id.map(str::to_owned),
        version: None,
        operation: None,
        compartment: None,
        parameters: Vec::new(),
        conditional: false,
        prefer_return: ReturnPreference::Unspecified,
        body: None,
        by_form: false,
    }
}

fn content(resource_type: &str, id: &str) -> Vec<u8> {
    let subject = if resource_type == "Patient" {
        String::new()
    } else {
        format!(r#","subject":{{"reference":"Patient/{PATIENT}"}}"#)
    };
    format!(r#"{{"resourceType":"{resource_type}","id":"{id}","status":"final"{subject}}}"#).into_bytes()
}

/// All that is known of a user and the patient, come about in one way; nothing, where the way is empty.
fn facts(user: &str, via: &str) -> Vec<Fact> {
    let entry = |kind: &&str| {
        format!(
            r#"{{"patient":"{PATIENT}","kind":"{kind}","level":"full","status":"active","via":"{via}","source":"invariants"}}"#
        )
    };
    let entries: Vec<String> = KINDS.iter().filter(|_| !via.is_empty()).map(entry).collect();
    let value = format!(r#"{{"entries":[{}],"truncated":false}}"#, entries.join(",")).into_bytes();
    let keys = [format!("relationships/{user}"), format!("relationships/{user}/{PATIENT}")];
    keys.map(|key| Fact { key, value: value.clone() }).into()
}

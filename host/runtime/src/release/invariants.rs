//! What no release may do, whatever its rules: asked of every release before it serves.
//!
//! - Apps never get break-glass: a request that is not permitted stays so whatever marker or break-glass fact is
//!   added to it.
//! - Nobody is nobody: without a user, without a scope, or by a `patient/` scope without a launch patient, nothing
//!   that belongs to a patient is permitted. A client without a user does nothing by a user's scopes.
//! - Nor does anything leave to them: a resource of an answer is judged as a read of it.
//! - Nor is anything granted to them (`grants`), or for a patient out of reach.
//!
//! The requests are made up here, the same for every release, and about people who do not exist. They guard against
//! a rule that was written wrong, not against an author who knows them.

mod grants;

use std::collections::BTreeSet;

use chartgate_model::{
    DecisionRequest, Fact, FhirBase, FhirRequest, FilterOutcome, GrantInput, Interaction, Item, ItemMode, Millis,
    Outcome, Parameter, PolicyInput, Stored, Subject, SubjectKind,
};

use crate::policy::{CallError, LoadedPolicy};

/// The client of every request here.
const CLIENT: &str = "chartgate-invariants";
const BASE: &str = "https://invariants.invalid/fhir";
const PATIENT: &str = "inv-patient";
/// 2026-01-01
const NOW: Millis = Millis(1_767_225_600_000);
/// Who asks: the patient asked about, another one, a proxy and a provider.
const USERS: [(SubjectKind, &str); 4] = [
    (SubjectKind::Patient, "Patient/inv-patient"),
    (SubjectKind::Patient, "Patient/inv-user"),
    (SubjectKind::Proxy, "RelatedPerson/inv-user"),
    (SubjectKind::Provider, "Practitioner/inv-user"),
];
const TYPES: [&str; 2] = ["Observation", "Encounter"];
/// What a token might carry to ask for more than it has.
const MARKERS: &str = "break-glass user/*.btg launch/break-glass purpose:BTG BTG ETREAT";
const EVERYTHING: &str = "user/*.cruds patient/*.cruds";
/// Calls that may end at a limit: the machine may be busy, and what is cut short is not permitted. With more, the
/// limits are too tight for what the release is asked every day.
const CUT_SHORT_MAX: u32 = 16;
/// Kinds of relationships, those of no rule among them.
const KINDS: [&str; 7] = ["treatment", "encounter", "care-team", "coverage", "guardian", "caregiver", "emergency"];

/// Ways in which relationships come about, with their status.
const ORDINARY: [(&str, &str); 1] = [("active", "ordinary")];
const BREAK_GLASS: [(&str, &str); 3] = [("active", "break-glass"), ("active", "btg"), ("active", "emergency")];

/// A release permits what none may, or cannot say.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvariantError {
    /// It permits, or grants.
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
    if policy.grants() {
        let judge = |input: &GrantInput<'_>| policy.grant(input).map(|called| called.decision);
        versions(policy).into_iter().try_for_each(|version| grants::check(&judge, settings, version))?;
    }
    let mut trial = Trial { policy, settings, cut_short: 0 };
    each(policy, |version, request| {
        for answered in [false, true].into_iter().filter(|answered| !answered || is_answered_with_content(request)) {
            for (kind, user) in USERS {
                let case = Case { version, request, kind, answered };
                trial.nobody(&case, user)?;
                trial.break_glass(&case, user)?;
            }
            trial.client_alone(&Case { version, request, kind: SubjectKind::System, answered })?;
        }
        Ok(())
    })
}

/// The answer to these holds resources of one type, which are judged, too.
fn is_answered_with_content(request: &FhirRequest) -> bool {
    use Interaction::{HistoryType, Read, SearchType};
    matches!(request.interaction, Read | SearchType | HistoryType) && request.parameters.is_empty()
}

/// How many of the requests a policy permits when nothing stands in their way, and how many there are: whether
/// [`check`] means anything for it.
pub fn permitted(policy: &LoadedPolicy, settings: &[u8]) -> Result<(usize, usize), InvariantError> {
    let mut trial = Trial { policy, settings, cut_short: 0 };
    let (mut permitted, mut all) = (0, 0);
    each(policy, |version, request| {
        for (kind, user) in USERS {
            let case = Case { version, request, kind, answered: false };
            permitted += usize::from(trial.permits(&case, user, EVERYTHING, Some(PATIENT), &facts(user, &ORDINARY))?);
            all += 1;
        }
        Ok(())
    })?;
    Ok((permitted, all))
}

/// Every request, in every FHIR version the policy speaks.
fn each(
    policy: &LoadedPolicy,
    mut one: impl FnMut(&str, &FhirRequest) -> Result<(), InvariantError>,
) -> Result<(), InvariantError> {
    for version in versions(policy) {
        requests().iter().try_for_each(|request| one(version, request))?;
    }
    Ok(())
}

fn versions(policy: &LoadedPolicy) -> BTreeSet<&str> {
    policy.description.fhir_versions.iter().map(String::as_str).collect()
}

/// One request as one kind of user makes it.
struct Case<'a> {
    version: &'a str,
    request: &'a FhirRequest,
    kind: SubjectKind,
    /// asked is not whether it may happen, but whether a resource of its answer may leave
    answered: bool,
}

impl Case<'_> {
    fn name(&self) -> String {
        let FhirRequest { interaction, resource_type, .. } = self.request;
        let of = if resource_type.is_empty() { "all types" } else { resource_type };
        let what = if self.answered { "the answer to " } else { "" };
        format!("{what}{} of {of} in FHIR {}", interaction.code(), self.version)
    }
}

/// The calls of one release.
struct Trial<'a> {
    policy: &'a LoadedPolicy,
    settings: &'a [u8],
    cut_short: u32,
}

impl Trial<'_> {
    /// Every fact speaks for the user; that there is no user, scope or launch patient is all that speaks against.
    fn nobody(&mut self, case: &Case<'_>, user: &str) -> Result<(), InvariantError> {
        let by_patient = "patient/*.cruds";
        for (although, user, scope, launch) in [
            ("without a user", "", EVERYTHING, Some(PATIENT)),
            ("without a scope", user, "", Some(PATIENT)),
            ("by break-glass markers in place of a scope", user, MARKERS, Some(PATIENT)),
            ("by a patient scope without a launch patient", user, by_patient, None),
            ("by a patient scope with an empty launch patient", user, by_patient, Some("")),
        ] {
            self.never(case, although, user, scope, launch, &facts(user, &ORDINARY))?;
        }
        Ok(())
    }

    /// No fact speaks for the user but those that came about by break-glass.
    fn break_glass(&mut self, case: &Case<'_>, user: &str) -> Result<(), InvariantError> {
        let marked = format!("{EVERYTHING} {MARKERS}");
        let launch = Some(PATIENT);
        for before in [&[][..], &[("revoked", "ordinary")]] {
            let glass = [before, &BREAK_GLASS].concat();
            if self.permits(case, user, EVERYTHING, launch, &facts(user, before))? {
                continue;
            }
            let although = "by a relationship that came about by break-glass";
            self.never(case, although, user, EVERYTHING, launch, &facts(user, &glass))?;
            let although = "by a break-glass marker among its scopes";
            self.never(case, although, user, &marked, launch, &facts(user, before))?;
            self.never(case, although, user, &marked, launch, &facts(user, &glass))?;
        }
        Ok(())
    }

    /// A client without a user has its own scopes and nobody else's.
    fn client_alone(&mut self, case: &Case<'_>) -> Result<(), InvariantError> {
        for (although, scope, launch) in [
            ("to a client without a user and without a scope", "", None),
            ("to a client without a user by a user's scopes", EVERYTHING, Some(PATIENT)),
            ("to a client without a user by break-glass markers", MARKERS, None),
        ] {
            self.never(case, although, "", scope, launch, &facts("", &ORDINARY))?;
        }
        Ok(())
    }

    fn never(
        &mut self,
        case: &Case<'_>,
        although: &'static str,
        user: &str,
        scope: &str,
        launch: Option<&str>,
        facts: &[Fact],
    ) -> Result<(), InvariantError> {
        match self.permits(case, user, scope, launch, facts)? {
            true => Err(InvariantError::Permits { request: case.name(), although }),
            false => Ok(()),
        }
    }

    fn permits(
        &mut self,
        case: &Case<'_>,
        user: &str,
        scope: &str,
        launch: Option<&str>,
        facts: &[Fact],
    ) -> Result<bool, InvariantError> {
        let stored = case.request.id.iter().map(|id| {
            let resource_type = &case.request.resource_type;
            let version = case.request.version.iter().map(|version| format!("/_history/{version}"));
            let key = [format!("{resource_type}/{id}")].into_iter().chain(version).collect();
            Stored { key, content: Some(content(resource_type, id)) }
        });
        let obligations = ["search-narrowing", "response-filter", "if-match", "return-minimal"];
        let decision = DecisionRequest {
            tenant: "default".into(),
            base: FhirBase { name: "default".into(), url: BASE.into(), version: case.version.into() },
            request: case.request.clone(),
            subject: Subject {
                kind: case.kind,
                user: user.into(),
                client: CLIENT.into(),
                scope: scope.into(),
                patient: launch.map(str::to_owned),
                encounter: None,
                expires: None,
            },
            stored: stored.collect(),
            relationships: Vec::new(),
            records: Vec::new(),
            obligations: obligations.map(str::to_owned).into(),
            pin: None,
            explain: false,
            now: NOW,
            simulate: true,
            break_glass: Vec::new(),
        };
        let (stored, settings) = (&decision.stored, self.settings);
        let input = PolicyInput { decision: &decision, stored, facts, facts_final: true, settings };
        let verdict = if case.answered {
            self.keeps(&input, case)
        } else {
            self.policy.decide(&input).map(|called| matches!(called.decision.outcome, Outcome::Permit { .. }))
        };
        match verdict {
            Ok(permitted) => Ok(permitted),
            Err(error) if is_cut_short(&error) && self.cut_short < CUT_SHORT_MAX => {
                self.cut_short += 1;
                Ok(false)
            }
            Err(error) => Err(InvariantError::Fails { request: case.name(), error }),
        }
    }
}

impl Trial<'_> {
    /// Whether any resource of an answer may leave, however it came into it.
    fn keeps(&self, input: &PolicyInput<'_>, case: &Case<'_>) -> Result<bool, CallError> {
        let resource_type = &case.request.resource_type;
        let content = content(resource_type, if resource_type == "Patient" { PATIENT } else { "inv-1" });
        let modes = [ItemMode::Match, ItemMode::Include, ItemMode::History];
        let items = modes.map(|mode| Item { mode, content: &content });
        let (outcome, _) = self.policy.filter(input, &items)?;
        Ok(matches!(outcome, FilterOutcome::Verdicts(verdicts) if verdicts.iter().any(Option::is_none)))
    }
}

/// The machine is busy, or its limits are tight: what is cut short is not permitted.
fn is_cut_short(error: &CallError) -> bool {
    !matches!(error, CallError::Trap | CallError::Output(_) | CallError::NoGrants)
}

/// Requests about one patient, of every kind that belongs to patients.
fn requests() -> Vec<FhirRequest> {
    let mut all = Vec::new();
    for resource_type in TYPES {
        let one = |interaction, id: Option<&str>| FhirRequest::new(interaction, resource_type, id);
        let body = Some(content(resource_type, "inv-1"));
        let named = Parameter { name: "patient".into(), value: PATIENT.into() };
        let compartment = Some(("Patient".into(), PATIENT.into()));
        all.extend([
            one(Interaction::Read, Some("inv-1")),
            FhirRequest { version: Some("1".into()), ..one(Interaction::Vread, Some("inv-1")) },
            one(Interaction::HistoryInstance, Some("inv-1")),
            one(Interaction::HistoryType, None),
            FhirRequest { body: body.clone(), ..one(Interaction::Update, Some("inv-1")) },
            FhirRequest { body, ..one(Interaction::Create, None) },
            one(Interaction::Delete, Some("inv-1")),
            one(Interaction::SearchType, None),
            FhirRequest { parameters: vec![named], ..one(Interaction::SearchType, None) },
            FhirRequest { compartment, ..one(Interaction::SearchType, None) },
        ]);
    }
    let everything = FhirRequest::new(Interaction::Operation, "Patient", Some(PATIENT));
    all.extend([
        FhirRequest::new(Interaction::HistorySystem, "", None),
        FhirRequest::new(Interaction::SearchSystem, "", None),
        FhirRequest::new(Interaction::Read, "Patient", Some(PATIENT)),
        FhirRequest::new(Interaction::SearchType, "Patient", None),
        FhirRequest { operation: Some("everything".into()), ..everything },
    ]);
    all
}

fn content(resource_type: &str, id: &str) -> Vec<u8> {
    let subject = if resource_type == "Patient" {
        String::new()
    } else {
        format!(r#","subject":{{"reference":"Patient/{PATIENT}"}}"#)
    };
    format!(r#"{{"resourceType":"{resource_type}","id":"{id}","status":"final"{subject}}}"#).into_bytes()
}

/// What is known of user, client and patient, none of which stands in the way, and relationships of every kind
/// between user and patient, for each status and way.
fn facts(user: &str, ways: &[(&str, &str)]) -> Vec<Fact> {
    let entry = |kind: &str, (status, via): &(&str, &str)| {
        format!(
            r#"{{"patient":"{PATIENT}","kind":"{kind}","level":"full","status":"{status}","via":"{via}","source":"invariants"}}"#
        )
    };
    let entries: Vec<String> = KINDS.iter().flat_map(|kind| ways.iter().map(|way| entry(kind, way))).collect();
    let value = format!(r#"{{"entries":[{}],"truncated":false}}"#, entries.join(",")).into_bytes();
    let keys = [format!("relationships/{user}"), format!("relationships/{user}/{PATIENT}")];
    let related = keys.map(|key| Fact { key, value: value.clone() });
    let known = |key: String, members: &str| {
        let value = format!(r#"{{"records":[{{"source":"invariants",{members}}}]}}"#).into_bytes();
        Fact { key, value }
    };
    let active = r#""status":"active""#;
    let chart = format!(r#""patient":"{PATIENT}","birth_date":"1980-01-01""#);
    let people = [
        known(format!("client/{CLIENT}"), active),
        known(format!("user/{user}"), active),
        known(format!("patient/{PATIENT}"), &chart),
        known(format!("patients/{user}"), &chart),
    ];
    related.into_iter().chain(people).collect()
}

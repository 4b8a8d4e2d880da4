//! The same of grants, for a policy that decides on them: nothing is ever granted to nobody, for a client without a
//! user, without a scope, or for a patient the user has no ordinary relationship to.

use chartgate_model::{Fact, FhirBase, GrantDecision, GrantInput, GrantOutcome, GrantRequest, SubjectKind};

use super::{
    BASE, BREAK_GLASS, CLIENT, CUT_SHORT_MAX, InvariantError, MARKERS, NOW, ORDINARY, PATIENT, USERS, facts,
    is_cut_short,
};
use crate::policy::CallError;

const EVERYTHING: &str = "openid fhirUser launch launch/patient offline_access user/*.cruds patient/*.cruds";
const OF_PATIENT: &str = "launch/patient patient/*.cruds";
const OF_SYSTEM: &str = "system/*.cruds system/Patient.read";

/// One policy call about a grant.
pub(super) type Judge<'a> = &'a dyn Fn(&GrantInput<'_>) -> Result<GrantDecision, CallError>;

/// Hold the grants of a policy against what none may give, in one FHIR version.
pub(super) fn check(judge: Judge<'_>, settings: &[u8], version: &str) -> Result<(), InvariantError> {
    let mut trial = Trial { judge, settings, version, cut_short: 0 };
    for (kind, user) in USERS {
        trial.nobody(kind, user)?;
        // Oneself needs no relationship.
        if user.strip_prefix("Patient/") != Some(PATIENT) {
            trial.strangers(kind, user)?;
        }
    }
    trial.client_alone()
}

/// What one grant is asked for.
#[derive(Clone, Copy)]
struct Case<'a> {
    kind: SubjectKind,
    user: &'a str,
    scope: &'a str,
    patient: Option<&'a str>,
}

/// The calls of one release.
struct Trial<'a> {
    judge: Judge<'a>,
    settings: &'a [u8],
    version: &'a str,
    cut_short: u32,
}

impl Trial<'_> {
    /// Every fact speaks for the user; that there is no user or no scope is all that speaks against.
    fn nobody(&mut self, kind: SubjectKind, user: &str) -> Result<(), InvariantError> {
        for (although, user, scope) in [
            ("without a user", "", EVERYTHING),
            ("without a scope", user, ""),
            ("by break-glass markers in place of a scope", user, MARKERS),
            ("by the scopes of a client without a user", user, OF_SYSTEM),
        ] {
            for patient in [None, Some(PATIENT)] {
                self.never(Case { kind, user, scope, patient }, although, &facts(user, &ORDINARY))?;
            }
        }
        Ok(())
    }

    /// No ordinary relationship leads to the patient.
    fn strangers(&mut self, kind: SubjectKind, user: &str) -> Result<(), InvariantError> {
        let marked = format!("{OF_PATIENT} {MARKERS}");
        let revoked = [("revoked", "ordinary")];
        for (although, ways) in [
            ("for a patient the user has no relationship to", &[][..]),
            ("for a patient the user has lost", &revoked),
            ("for a patient by a relationship that came about by break-glass", &BREAK_GLASS),
        ] {
            for (scope, patient) in [(OF_PATIENT, Some(PATIENT)), (&*marked, Some(PATIENT)), (OF_PATIENT, None)] {
                self.never(Case { kind, user, scope, patient }, although, &facts(user, ways))?;
            }
        }
        Ok(())
    }

    /// Nobody is there who could approve anything.
    fn client_alone(&mut self) -> Result<(), InvariantError> {
        let kind = SubjectKind::System;
        for user in ["", "Practitioner/inv-user"] {
            for scope in [EVERYTHING, OF_SYSTEM] {
                for patient in [None, Some(PATIENT)] {
                    let case = Case { kind, user, scope, patient };
                    self.never(case, "to a client without a user", &facts(user, &ORDINARY))?;
                }
            }
        }
        Ok(())
    }

    fn never(&mut self, case: Case<'_>, although: &'static str, facts: &[Fact]) -> Result<(), InvariantError> {
        let request = GrantRequest {
            tenant: "default".into(),
            base: FhirBase { name: "default".into(), url: BASE.into(), version: self.version.into() },
            kind: case.kind,
            user: case.user.into(),
            client: CLIENT.into(),
            scope: case.scope.into(),
            patient: case.patient.map(str::to_owned),
            explain: false,
            now: NOW,
        };
        let name = || format!("a grant to a {} in FHIR {}", case.kind.code(), self.version);
        let input = GrantInput { request: &request, facts, facts_final: true, settings: self.settings };
        match (self.judge)(&input) {
            Ok(decision) if gives(&decision.outcome) => Err(InvariantError::Permits { request: name(), although }),
            Ok(_) => Ok(()),
            Err(error) if is_cut_short(&error) && self.cut_short < CUT_SHORT_MAX => {
                self.cut_short += 1;
                Ok(())
            }
            Err(error) => Err(InvariantError::Fails { request: name(), error }),
        }
    }
}

/// A grant, or the offer of one: whoever may be chosen would be granted.
fn gives(outcome: &GrantOutcome) -> bool {
    match outcome {
        GrantOutcome::Grant { .. } => true,
        GrantOutcome::Choose { patients, .. } => patients.iter().any(|patient| patient == PATIENT),
        GrantOutcome::Deny { .. } | GrantOutcome::Needs(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Policy<'a> = &'a dyn Fn(&GrantInput<'_>) -> GrantOutcome;

    fn tried(policy: impl Fn(&GrantInput<'_>) -> GrantOutcome) -> Result<(), String> {
        let judge = |input: &GrantInput<'_>| {
            Ok(GrantDecision { outcome: policy(input), text: String::new(), trace: Vec::new() })
        };
        check(&judge, b"{}", "4.0.1").map_err(|error| error.to_string())
    }

    fn grant() -> GrantOutcome {
        GrantOutcome::Grant { reason: "granted".into(), scope: "openid".into(), patient: None, expires: None }
    }

    fn deny() -> GrantOutcome {
        GrantOutcome::Deny { reason: "denied".into() }
    }

    fn says(input: &GrantInput<'_>, word: &str) -> bool {
        let word = format!("\"{word}\"");
        input.facts.iter().any(|fact| String::from_utf8_lossy(&fact.value).contains(&word))
    }

    fn when(grants: bool) -> GrantOutcome {
        if grants { grant() } else { deny() }
    }

    #[test]
    fn who_grants_nothing_may_serve() {
        assert_eq!(tried(|_| deny()), Ok(()));
        assert_eq!(tried(|_| GrantOutcome::Choose { patients: vec!["other".into()], more: true }), Ok(()));
    }

    #[test]
    fn each_way_to_give_too_much_is_found() {
        let sound = |input: &GrantInput<'_>| {
            let request = input.request;
            let user = !request.user.is_empty() && request.kind != SubjectKind::System;
            user && request.scope.contains("patient/") && says(input, "ordinary") && says(input, "active")
        };
        let related = |input: &GrantInput<'_>| says(input, "ordinary") && !says(input, "revoked");
        let cases: [(&str, Policy<'_>); 7] = [
            ("patient in FHIR 4.0.1 without a user", &|_| grant()),
            ("patient in FHIR 4.0.1 without a scope", &|input| when(!input.request.user.is_empty())),
            ("patient in FHIR 4.0.1 by break-glass markers in place of a scope", &|input| {
                when(sound(input) || input.request.scope.contains("BTG"))
            }),
            ("patient in FHIR 4.0.1 by the scopes of a client without a user", &|input| {
                when(sound(input) || (!input.request.user.is_empty() && input.request.scope.contains("system/")))
            }),
            ("patient in FHIR 4.0.1 for a patient the user has lost", &|input| when(sound(input))),
            ("patient in FHIR 4.0.1 for a patient by a relationship that came about by break-glass", &|input| {
                when((sound(input) && related(input)) || says(input, "break-glass"))
            }),
            ("system in FHIR 4.0.1 to a client without a user", &|input| {
                when((sound(input) && related(input)) || input.request.kind == SubjectKind::System)
            }),
        ];
        for (found, policy) in cases {
            assert_eq!(tried(policy), Err(format!("it permits a grant to a {found}")));
        }
        assert_eq!(tried(|input| when(sound(input) && related(input))), Ok(()));
        let stranger = || GrantOutcome::Choose { patients: vec![PATIENT.into()], more: false };
        let lists = |input: &GrantInput<'_>| if related(input) { deny() } else { stranger() };
        assert!(tried(lists).unwrap_err().ends_with("for a patient the user has no relationship to"));
    }

    #[test]
    fn a_policy_that_crashes_does_not_serve_and_one_that_is_cut_short_now_and_then_does() {
        let fails = |error: CallError| check(&move |_: &GrantInput<'_>| Err(error), b"{}", "4.0.1");
        assert!(matches!(fails(CallError::Trap), Err(InvariantError::Fails { error: CallError::Trap, .. })));
        assert!(matches!(fails(CallError::Busy), Err(InvariantError::Fails { error: CallError::Busy, .. })));
        let calls = std::cell::Cell::new(0);
        let now_and_then = |_: &GrantInput<'_>| {
            calls.set(calls.get() + 1);
            let decision = GrantDecision { outcome: deny(), text: String::new(), trace: Vec::new() };
            if calls.get() % 10 == 0 { Err(CallError::DeadlineExceeded) } else { Ok(decision) }
        };
        assert_eq!(check(&now_and_then, b"{}", "4.0.1"), Ok(()));
    }
}

//! Between the model's types and the contract's, for grants. What `convert` says of decisions holds here too.

use chartgate_model as model;
use chartgate_model::GrantInput;

use super::{OutputError, TEXT_BYTES, code, needs, require, subject_kind, trace};
use crate::bindings::exports::chartgate::policy::{access, grant as wit};

/// Patients one answer may list.
const PATIENTS: usize = 100;

/// Everything that has to be laid out for the crossing; the request borrows from it.
pub(crate) struct GrantArguments<'a> {
    input: &'a GrantInput<'a>,
    facts: Vec<access::Fact<'a>>,
}

impl<'a> GrantArguments<'a> {
    pub(crate) fn new(input: &'a GrantInput<'a>) -> Self {
        let facts = input.facts.iter().map(|fact| access::Fact { key: &fact.key, value: &fact.value }).collect();
        Self { input, facts }
    }

    pub(crate) fn request(&self) -> wit::Request<'_> {
        let request = self.input.request;
        wit::Request {
            tenant: &request.tenant,
            fhir_version: &request.base.version,
            base: &request.base.url,
            now_ms: request.now.0,
            kind: subject_kind(request.kind),
            user: &request.user,
            client: &request.client,
            scope: &request.scope,
            patient: request.patient.as_deref(),
            facts: &self.facts,
            facts_final: self.input.facts_final,
            settings: self.input.settings,
            explain: request.explain,
        }
    }
}

/// The answer, if it keeps to the contract.
///
/// SECURITY: whatever a policy says, nothing is granted that was not asked for, and to nobody else.
pub(crate) fn decision(answer: wit::Decision, input: &GrantInput<'_>) -> Result<model::GrantDecision, OutputError> {
    require(answer.text.len() <= TEXT_BYTES, OutputError::Text)?;
    let request = input.request;
    let outcome = match answer.outcome {
        wit::Outcome::Grant(granted) => {
            let asked: Vec<&str> = request.scope.split(' ').collect();
            let scopes = || granted.scope.split(' ');
            require(scopes().all(|scope| !scope.is_empty() && asked.contains(&scope)), OutputError::Granted)?;
            require(granted.patient.is_none() || granted.patient == request.patient, OutputError::Granted)?;
            model::GrantOutcome::Grant {
                reason: code(granted.reason, OutputError::Reason)?,
                scope: granted.scope,
                patient: granted.patient,
                expires: granted.expires_at_ms.map(model::Millis),
            }
        }
        wit::Outcome::Choose(wit::Choice { patients, more }) => {
            let sound = request.patient.is_none()
                && patients.len() <= PATIENTS
                && (more || !patients.is_empty())
                && patients.iter().all(|id| is_id(id));
            require(sound, OutputError::Choice)?;
            model::GrantOutcome::Choose { patients, more }
        }
        wit::Outcome::Deny(reason) => model::GrantOutcome::Deny { reason: code(reason, OutputError::Reason)? },
        wit::Outcome::Needs(_) if input.facts_final => return Err(OutputError::NeedsAfterFinal),
        wit::Outcome::Needs(keys) => model::GrantOutcome::Needs(needs(keys)?),
    };
    let trace = if request.explain { trace(answer.trace)? } else { Vec::new() };
    Ok(model::GrantDecision { outcome, text: answer.text, trace })
}

/// A logical id of FHIR.
fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(outcome: wit::Outcome, patient: Option<&str>) -> Result<model::GrantOutcome, OutputError> {
        let base = model::FhirBase { name: "default".into(), url: "https://b".into(), version: "4.0.1".into() };
        let request = model::GrantRequest {
            tenant: "default".into(),
            base,
            kind: model::SubjectKind::Patient,
            user: "Patient/1".into(),
            client: "app".into(),
            scope: "openid patient/*.rs".into(),
            patient: patient.map(str::to_owned),
            explain: false,
            now: model::Millis(0),
        };
        let input = GrantInput { request: &request, facts: &[], facts_final: true, settings: b"{}" };
        let answer = wit::Decision { outcome, text: String::new(), trace: Vec::new() };
        decision(answer, &input).map(|decision| decision.outcome)
    }

    fn grant(scope: &str, patient: Option<&str>) -> Result<model::GrantOutcome, OutputError> {
        let granted = wit::Granted {
            reason: "granted".into(),
            scope: scope.into(),
            patient: patient.map(str::to_owned),
            expires_at_ms: None,
        };
        judge(wit::Outcome::Grant(granted), Some("1"))
    }

    #[test]
    fn nothing_is_granted_that_was_not_asked_for() {
        assert!(grant("openid", None).is_ok() && grant("patient/*.rs", Some("1")).is_ok());
        for scope in ["", " ", "openid ", "patient/*.cruds", "openid patient/*.rs offline_access", "OPENID"] {
            assert_eq!(grant(scope, None), Err(OutputError::Granted), "{scope:?}");
        }
        assert_eq!(grant("openid", Some("2")), Err(OutputError::Granted));
    }

    #[test]
    fn a_choice_is_among_patients_and_only_where_none_was_named() {
        let choose = |patients: &[&str], more, named| {
            let patients = patients.iter().map(ToString::to_string).collect();
            judge(wit::Outcome::Choose(wit::Choice { patients, more }), named).is_ok()
        };
        assert!(choose(&["1"], false, None) && choose(&[], true, None));
        assert!(!choose(&["1"], false, Some("1")) && !choose(&[], false, None) && !choose(&["a/b"], false, None));
        let many = ["1"; 101];
        assert!(choose(many.get(..100).unwrap(), true, None) && !choose(&many, true, None));
    }

    #[test]
    fn nothing_more_is_asked_for_when_the_facts_are_final() {
        let needs = wit::Outcome::Needs(vec!["user/Patient/1".into()]);
        assert_eq!(judge(needs, None), Err(OutputError::NeedsAfterFinal));
    }
}

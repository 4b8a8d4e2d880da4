//! Vectors about grants: what an authorization server asks, and what has to come out. `tests/vectors/README.md`
//! documents the members.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test support: a failure is a failed test")]

use std::path::Path;
use std::sync::Arc;

use chartgate::facts::{Facts, grant_keys_ahead};
use chartgate_model::{
    DecisionRequest, Fact, GrantDecision, GrantInput, GrantOutcome, GrantRequest, Millis, SubjectKind,
};
use chartgate_policy as policy;
use chartgate_runtime::{FactTemplate, LoadedPolicy};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use crate::vectors::{GRANTS_FILE, Ordinary, ROUNDS_MAX, RawFact, native, parsed};

/// One line of `tests/vectors/grants.jsonl`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantVector {
    /// unique name, kebab-case
    pub id: String,
    /// the rule it is about
    pub rule: String,
    /// where the rule is from
    pub source: String,
    /// why it is so, where the expectation needs a word
    pub why: Option<String>,
    /// the vector it differs from in next to nothing, and which comes out otherwise
    pub twin: Option<String>,
    /// settings of the release
    pub settings: Option<Box<RawValue>>,
    /// FHIR version of the base, 4.0.1 when absent
    pub fhir_version: Option<String>,
    /// the time, 2026-11-24T10:00:00Z when absent
    pub now: Option<String>,
    /// nobody is known but those `facts` speak of
    #[serde(default)]
    pub strangers: bool,
    /// what is known, as `facts` of `POST /v1/decide`
    pub facts: Option<Box<RawValue>>,
    /// facts as the policy gets them in its only call, in place of those
    pub given: Option<Vec<RawFact>>,
    /// nothing more will come after `given`
    #[serde(default, rename = "final")]
    pub is_final: bool,
    /// what is asked
    pub ask: Ask,
    /// what has to come out
    pub expect: GrantExpect,
}

/// What is asked.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// follows from the type of `user` when absent
    pub kind: Option<String>,
    /// `Practitioner/17`
    pub user: String,
    /// `app` when absent
    pub client: Option<String>,
    /// the scopes asked for
    pub scope: String,
    /// the patient the token would be for
    pub patient: Option<String>,
}

/// What has to come out: exactly one of `grant`, `choose`, `deny` and `needs`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GrantExpect {
    /// the scopes granted
    pub grant: Option<String>,
    /// the patient in context
    pub patient: Option<String>,
    /// when it ends
    pub expires: Option<String>,
    /// whom one may choose from
    pub choose: Option<Vec<String>>,
    /// there are more than are listed
    #[serde(default)]
    pub more: bool,
    /// reason of the deny
    pub deny: Option<String>,
    /// facts asked for
    pub needs: Option<Vec<String>>,
}

impl GrantExpect {
    /// The reason it ends in; none where facts are needed.
    pub fn reason(&self) -> Option<&str> {
        match (&self.grant, &self.choose, &self.deny, &self.needs) {
            (Some(_), None, None, None) => Some("granted"),
            (None, Some(_), None, None) => Some("patient-not-chosen"),
            (None, None, Some(reason), None) => Some(reason),
            (None, None, None, Some(_)) => None,
            _ => panic!("exactly one of grant, choose, deny and needs"),
        }
    }
}

/// The vectors of a folder; none where it has no such file.
pub fn load(folder: &Path) -> Vec<GrantVector> {
    let text = std::fs::read_to_string(folder.join(GRANTS_FILE)).unwrap_or_default();
    let read = |(at, line): (usize, &str)| {
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{GRANTS_FILE}:{}: {error}", at + 1))
    };
    text.lines().enumerate().map(read).collect()
}

/// What a grant may be judged by.
pub struct World {
    /// what is known rests in a request, as a caller vouches for it
    pub known: DecisionRequest,
    /// nobody is known but those it speaks of
    pub strangers: bool,
    /// facts of the only call, and whether they are final
    pub given: Option<(Vec<Fact>, bool)>,
    /// settings of the release
    pub settings: Vec<u8>,
}

impl World {
    /// Walk the needs loop as the host does, with `judge` in place of the policy call.
    pub fn run(
        &self,
        request: &GrantRequest,
        mut judge: impl FnMut(&GrantInput<'_>) -> GrantDecision,
    ) -> GrantDecision {
        let settings = &self.settings;
        if let Some((facts, facts_final)) = &self.given {
            return judge(&GrantInput { request, facts, facts_final: *facts_final, settings });
        }
        let source = Facts::new(Arc::new(Ordinary::beside(&self.known, self.strangers)));
        let mut keys = grant_keys_ahead(&[template()], request);
        let (mut facts, mut facts_final, mut rounds) = (Vec::new(), false, 0);
        loop {
            facts.extend(source.resolve(&self.known, &keys).unwrap().facts);
            rounds += 1;
            let decision = judge(&GrantInput { request, facts: &facts, facts_final, settings });
            let GrantOutcome::Needs(wanted) = decision.outcome else { return decision };
            assert!(!facts_final, "asks again although nothing more will come");
            facts_final = rounds + 1 >= ROUNDS_MAX;
            keys = wanted;
        }
    }
}

/// What the rules say a grant usually needs.
pub fn template() -> FactTemplate {
    let keys = ["client/{client}", "user/{user}", "patient/{launch-patient}", "relationships/{user}/{launch-patient}"];
    FactTemplate { interaction: None, keys: keys.map(str::to_owned).into() }
}

impl GrantVector {
    /// What is asked.
    pub fn request(&self) -> GrantRequest {
        let known = self.known();
        let Ask { kind, user, client, scope, patient } = &self.ask;
        let of_user = || SubjectKind::of_user_type(user.split('/').next().unwrap_or_default());
        GrantRequest {
            tenant: known.tenant,
            base: known.base,
            kind: kind.as_deref().map_or_else(of_user, SubjectKind::from_code).unwrap(),
            user: user.clone(),
            client: client.clone().unwrap_or_else(|| "app".into()),
            scope: scope.clone(),
            patient: patient.clone(),
            explain: false,
            now: known.now,
        }
    }

    fn known(&self) -> DecisionRequest {
        let facts = self.facts.as_deref().map_or("{}", RawValue::get);
        let body = json!({
            "request": { "method": "GET", "url": "/metadata" }, "subject": { "user": "Patient/1" },
            "facts": serde_json::from_str::<serde_json::Value>(facts).unwrap(),
        });
        let version = self.fhir_version.as_deref();
        parsed(version, self.now.as_deref(), body.to_string().as_bytes()).unwrap_or_else(|member| {
            panic!("{}: {member}", self.id);
        })
    }

    /// What it may be judged by.
    pub fn world(&self) -> World {
        let given = |raw: &RawFact| Fact { key: raw.key.clone(), value: raw.value.clone().into_bytes() };
        World {
            known: self.known(),
            strangers: self.strangers,
            given: self.given.as_ref().map(|facts| (facts.iter().map(given).collect(), self.is_final)),
            settings: self.settings.as_deref().map_or("{}", RawValue::get).into(),
        }
    }

    /// An answer in the words of [`GrantExpect`].
    pub fn outcome(decision: GrantDecision) -> GrantExpect {
        match decision.outcome {
            GrantOutcome::Grant { scope, patient, expires, .. } => {
                let expires = expires.map(Millis::to_rfc3339);
                GrantExpect { grant: Some(scope), patient, expires, ..GrantExpect::default() }
            }
            GrantOutcome::Choose { patients, more } => {
                GrantExpect { choose: Some(patients), more, ..GrantExpect::default() }
            }
            GrantOutcome::Deny { reason } => GrantExpect { deny: Some(reason), ..GrantExpect::default() },
            GrantOutcome::Needs(keys) => GrantExpect { needs: Some(keys), ..GrantExpect::default() },
        }
    }
}

/// Judge one grant through a component.
pub fn through(policy: &LoadedPolicy) -> impl Fn(&GrantInput<'_>) -> GrantDecision {
    |input| policy.grant(input).unwrap_or_else(|error| panic!("{error}: {:?}", input.request)).decision
}

/// Judge one grant natively.
pub fn natively(input: &GrantInput<'_>) -> GrantDecision {
    let request = input.request;
    let decision = policy::grant(&policy::GrantRequest {
        fhir_version: &request.base.version,
        base: &request.base.url,
        now_ms: request.now.0,
        kind: native::kind(request.kind),
        user: &request.user,
        client: &request.client,
        scope: &request.scope,
        patient: request.patient.as_deref(),
        facts: input.facts.iter().map(|fact| policy::Fact { key: &fact.key, value: &fact.value }).collect(),
        facts_final: input.facts_final,
        settings: input.settings,
        explain: request.explain,
    });
    let text = decision.outcome.reason().map_or("more facts are needed", policy::Reason::text).to_owned();
    let outcome = match decision.outcome {
        policy::GrantOutcome::Grant { scope, patient, expires_at_ms } => {
            let reason = policy::Reason::Granted.code().to_owned();
            GrantOutcome::Grant { reason, scope, patient, expires: expires_at_ms.map(Millis) }
        }
        policy::GrantOutcome::Choose { patients, more } => GrantOutcome::Choose { patients, more },
        policy::GrantOutcome::Deny { reason } => GrantOutcome::Deny { reason: reason.code().to_owned() },
        policy::GrantOutcome::Needs(keys) => GrantOutcome::Needs(keys),
    };
    GrantDecision { outcome, text, trace: decision.trace.into_iter().map(native::step).collect() }
}

//! One grant: the same straight walk as a decision, for what an app may hold.
//!
//! Facts, policy call, record, answer. The authorization server gives nothing out without a [`Granted`].

use std::sync::Arc;

use chartgate_model::{
    DecisionRequest, Fact, FhirRequest, GrantDecision, GrantInput, GrantOutcome, GrantRequest, Interaction, Millis,
    Subject,
};
use chartgate_runtime::release::Release;

use crate::audit::record::ReleaseRecord;
use crate::audit::{GrantInputRecord, GrantOutcomeRecord, GrantRecord, LogError};
use crate::decide::{Decider, ROUNDS_MAX};
use crate::facts::{self, FactError};

/// What a grant is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// to show what could be had: nothing is given out on it
    Look,
    /// the user approves
    Approval,
    /// a code is exchanged
    Code,
    /// an access token is renewed
    Refresh,
}

impl Stage {
    /// The stable code.
    pub fn code(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Approval => "approval",
            Self::Code => "code",
            Self::Refresh => "refresh",
        }
    }
}

/// Proof that a policy granted and that the record of it is durable. Only [`Decider::grant`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    id: String,
    scope: String,
    patient: Option<String>,
    expires: Option<Millis>,
    release: String,
}

impl Granted {
    /// The identifier of the decision.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The scopes.
    pub fn scope(&self) -> &str {
        &self.scope
    }

    /// The patient in context.
    pub fn patient(&self) -> Option<&str> {
        self.patient.as_deref()
    }

    /// When the first thing it rests on ends.
    pub fn expires(&self) -> Option<Millis> {
        self.expires
    }

    /// Digest of the release that granted.
    pub fn release(&self) -> &str {
        &self.release
    }
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantAnswer {
    /// this much
    Granted(Granted),
    /// a patient has to be named first
    Choose {
        /// whom the user may choose from
        patients: Vec<String>,
        /// there are more than can be listed
        more: bool,
    },
    /// nothing
    Refused {
        /// the code of the rule that refuses
        reason: String,
    },
    /// no decision was reached
    Indeterminate {
        /// the code of what failed
        reason: String,
    },
}

impl Decider {
    /// Decide one grant by the active release.
    pub async fn grant(&self, id: String, stage: Stage, request: &GrantRequest) -> GrantAnswer {
        let release = Arc::clone(&self.rollout.live().active);
        let mut walk = Walk { facts: Vec::new(), sources: Vec::new(), rounds: 0, fuel: 0, last: false, replays: true };
        let answer = self.conclude_grant(&id, request, &release, &mut walk).await;
        match self.record_grant(&id, stage, request, &release, &walk, &answer).await {
            Ok(()) => answer,
            // SECURITY: nothing is given out before its record is durable.
            Err(error) => {
                tracing::error!(decision.id = %id, %error, "grant not recorded");
                let reason = if matches!(error, LogError::Full) { "log-full" } else { "log-failed" };
                GrantAnswer::Indeterminate { reason: reason.into() }
            }
        }
    }

    async fn conclude_grant(
        &self,
        id: &str,
        request: &GrantRequest,
        release: &Release,
        walk: &mut Walk,
    ) -> GrantAnswer {
        let failed = |reason: &str| GrantAnswer::Indeterminate { reason: reason.to_owned() };
        let inquiry = inquiry(request);
        let ahead = facts::grant_keys_ahead(&release.policy.description.fact_templates, request);
        if let Err(error) = self.fetch_for_grant(&inquiry, &ahead, walk).await {
            tracing::warn!(%error, "facts not fetched ahead");
        }
        loop {
            walk.rounds += 1;
            let input = walk.input(request, release);
            let called = match release.policy.grant(&input) {
                Ok(called) => called,
                Err(error) => {
                    walk.replays = error.is_replayable();
                    return failed(error.reason());
                }
            };
            walk.fuel = called.fuel_used;
            let GrantDecision { outcome, .. } = called.decision;
            let keys = match outcome {
                GrantOutcome::Needs(_) if walk.last => return failed("policy-output-invalid"),
                GrantOutcome::Needs(keys) => keys,
                GrantOutcome::Grant { scope, patient, expires, .. } => {
                    let release = release.digest.clone();
                    return GrantAnswer::Granted(Granted { id: id.to_owned(), scope, patient, expires, release });
                }
                GrantOutcome::Choose { patients, more } => return GrantAnswer::Choose { patients, more },
                GrantOutcome::Deny { reason } => return GrantAnswer::Refused { reason },
            };
            walk.last = walk.rounds + 1 >= ROUNDS_MAX;
            if let Err(error) = self.fetch_for_grant(&inquiry, &keys, walk).await {
                return failed(error.reason());
            }
        }
    }

    async fn fetch_for_grant(
        &self,
        inquiry: &DecisionRequest,
        keys: &[String],
        walk: &mut Walk,
    ) -> Result<(), FactError> {
        let unknown = |key: &&String| walk.facts.iter().all(|fact| fact.key != **key);
        let keys: Vec<String> = keys.iter().filter(unknown).cloned().collect();
        let live = self.facts.live(inquiry, &keys).await?;
        let resolved = self.facts.resolve_with(inquiry, &live, &keys)?;
        walk.facts.extend(resolved.facts);
        walk.sources.extend(resolved.sources);
        walk.sources.sort();
        walk.sources.dedup();
        Ok(())
    }

    async fn record_grant(
        &self,
        id: &str,
        stage: Stage,
        request: &GrantRequest,
        release: &Release,
        walk: &Walk,
        answer: &GrantAnswer,
    ) -> Result<(), LogError> {
        let input = walk.input(request, release);
        let record = GrantRecord {
            deterministic: walk.replays,
            engine_version: self.engine_version,
            fact_sources: &walk.sources,
            fuel_used: walk.fuel,
            host_version: crate::VERSION,
            id,
            input: GrantInputRecord::new(&input),
            outcome: outcome(answer),
            release: ReleaseRecord::of(release),
            rounds: walk.rounds,
            schema: crate::audit::grant::GRANT_SCHEMA,
            stage: stage.code(),
            tenant: &request.tenant,
            time_ms: request.now.0,
        };
        let line = record.to_line().map_err(|_| LogError::NotOneLine)?;
        self.recorder.append(line).await
    }
}

/// What one grant has gathered.
struct Walk {
    facts: Vec<Fact>,
    sources: Vec<String>,
    rounds: u32,
    fuel: u64,
    last: bool,
    replays: bool,
}

impl Walk {
    fn input<'a>(&'a self, request: &'a GrantRequest, release: &'a Release) -> GrantInput<'a> {
        GrantInput { request, facts: &self.facts, facts_final: self.last, settings: &release.settings }
    }
}

fn outcome(answer: &GrantAnswer) -> GrantOutcomeRecord<'_> {
    match answer {
        GrantAnswer::Granted(granted) => GrantOutcomeRecord {
            decision: "grant",
            expires_at_ms: granted.expires.map(|end| end.0),
            patient: granted.patient.as_deref(),
            reason: "granted",
            scope: Some(&granted.scope),
            ..GrantOutcomeRecord::default()
        },
        GrantAnswer::Choose { patients, .. } => GrantOutcomeRecord {
            decision: "choose",
            reason: "patient-not-chosen",
            choices: Some(patients.len()),
            ..GrantOutcomeRecord::default()
        },
        GrantAnswer::Refused { reason } => {
            GrantOutcomeRecord { decision: "deny", reason, ..GrantOutcomeRecord::default() }
        }
        GrantAnswer::Indeterminate { reason } => {
            GrantOutcomeRecord { decision: "indeterminate", reason, ..GrantOutcomeRecord::default() }
        }
    }
}

/// The same question as fact sources read it: nothing is vouched for, and nothing in particular is asked.
fn inquiry(request: &GrantRequest) -> DecisionRequest {
    DecisionRequest {
        tenant: request.tenant.clone(),
        base: request.base.clone(),
        request: FhirRequest::new(Interaction::Capabilities, "", None),
        subject: Subject {
            kind: request.kind,
            user: request.user.clone(),
            client: request.client.clone(),
            scope: request.scope.clone(),
            patient: request.patient.clone(),
            encounter: None,
            expires: None,
        },
        stored: Vec::new(),
        relationships: Vec::new(),
        records: Vec::new(),
        obligations: Vec::new(),
        pin: None,
        explain: request.explain,
        now: request.now,
        simulate: false,
        break_glass: Vec::new(),
    }
}

//! The line every decision walks: facts, policy call, decision, record.
//!
//! What comes before (who calls, what the bytes mean) and after (how the answer looks) belongs to the
//! faces; nothing in here knows HTTP, SQL or the engine. There is no second path: a batch is a loop
//! over [`Decider::decide`].

use std::sync::Arc;

use chartgate_model::{Basis, Decision, DecisionRequest, Fact, Millis, Obligation, Outcome, PolicyInput, TraceStep};
use chartgate_runtime::release::Release;

use crate::audit::{DecisionRecord, InputRecord, LogError, OutcomeRecord, Recorder, ReleaseRecord};
use crate::facts::{self, FactError, Facts};
use crate::rollout::{Rollout, SelectError};

/// Policy calls for one decision at the most. A delegate's request for a merged chart needs all of them: where the
/// chart went, who delegated it, who that is, and where their own charts went.
pub(crate) const ROUNDS_MAX: u32 = 5;
/// How long a permit may be cached, whatever else it rests on.
const PERMIT_MAX_MS: u64 = 60_000;
/// Prefix of the keys that ask for stored resources.
const RESOURCE_KEY: &str = "resource/";

/// A decision that is wanted, and by whom.
#[derive(Debug)]
pub struct Asked<'a> {
    /// identifier the decision will have
    pub id: String,
    /// name of the caller
    pub caller: &'a str,
    /// where it came in, `decide`
    pub face: &'static str,
    /// what is wanted
    pub request: &'a DecisionRequest,
}

/// A refusal before any policy was asked.
#[derive(Debug)]
pub struct Refusal<'a> {
    /// nothing is known about the token, so that this is no denial
    pub indeterminate: bool,
    /// identifier of the refusal
    pub id: &'a str,
    /// name of the caller
    pub caller: &'a str,
    /// where it came in
    pub face: &'static str,
    /// the tenant
    pub tenant: &'a str,
    /// stable code
    pub reason: &'a str,
    /// the reason as one sentence, without any part of a token
    pub text: &'a str,
    /// only a simulation
    pub simulate: bool,
    /// break-glass markers that came with it
    pub break_glass: &'a [String],
    /// when
    pub now: Millis,
}

/// Proof that a policy permitted, that the caller can carry out every obligation, and that the record
/// is durable. Only [`Decider::decide`] makes one.
#[derive(Debug, Clone)]
pub struct Permit {
    obligations: Vec<Obligation>,
    expires_at: Option<Millis>,
}

impl Permit {
    /// What the caller has to do.
    pub fn obligations(&self) -> &[Obligation] {
        &self.obligations
    }

    /// Until when the permit may be cached for an identical request.
    pub fn expires_at(&self) -> Option<Millis> {
        self.expires_at
    }
}

/// What is decided. Only a permit lets anything happen.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// go on
    Permit(Permit),
    /// do not; the basis says what the client may be told
    Deny(Basis),
    /// no decision was reached: a trap, a deadline, a failed fact source, a full log
    Indeterminate,
}

impl Verdict {
    /// The stable code, as in answers, records and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Permit(_) => "permit",
            Self::Deny(_) => "deny",
            Self::Indeterminate => "indeterminate",
        }
    }
}

/// The answer to [`Asked`].
#[derive(Debug, Clone)]
pub struct Answer {
    /// identifier of the decision
    pub id: String,
    /// what is decided
    pub verdict: Verdict,
    /// stable code
    pub reason: String,
    /// the reason as one sentence, for logs
    pub text: String,
    /// resources the caller could fetch and ask again with, `Observation/9`
    pub needs: Vec<String>,
    /// the rules walked, when explained
    pub trace: Vec<TraceStep>,
    /// where facts came from
    pub fact_sources: Vec<String>,
    /// policy calls made
    pub rounds: u32,
    /// the release that decided
    pub release: Arc<Release>,
}

impl Answer {
    /// Whether it is a permit with an obligation.
    pub fn obliges(&self, id: &str) -> bool {
        let Verdict::Permit(permit) = &self.verdict else { return false };
        permit.obligations.iter().any(|obligation| obligation.id == id)
    }
}

/// What a host decides with.
pub struct Decider {
    /// which release is live, and for whom
    pub rollout: Arc<Rollout>,
    /// who knows relationships
    pub facts: Facts,
    /// where decisions are recorded
    pub recorder: Recorder,
    /// version of the engine, for the record
    pub engine_version: &'static str,
}

impl Decider {
    /// Decide one interaction.
    ///
    /// An error means that no release may decide this at all; everything else is an [`Answer`].
    pub async fn decide(&self, asked: Asked<'_>) -> Result<Answer, SelectError> {
        let release = self.rollout.select(asked.caller, asked.request)?;
        Ok(self.decide_by(asked, release).await)
    }

    /// Decide one interaction by a release that was selected for it, or for the bundle it is part of.
    pub(crate) async fn decide_by(&self, asked: Asked<'_>, release: Arc<Release>) -> Answer {
        let mut evidence = Evidence::of(asked.request);
        let conclusion = self.conclude(asked.request, &release, &mut evidence).await;
        let answer = answer(&asked, release, &evidence, conclusion);
        self.record(&asked, &evidence, answer).await
    }

    /// Record a refusal that no policy was asked about: a bad token, or one nobody can tell about.
    pub async fn refuse(&self, refusal: &Refusal<'_>) -> Result<(), LogError> {
        let outcome = if refusal.indeterminate {
            OutcomeRecord::indeterminate(refusal.reason, refusal.text)
        } else {
            OutcomeRecord::deny(refusal.reason, Basis::Request, refusal.text)
        };
        let record = DecisionRecord {
            break_glass: refusal.break_glass,
            caller: refusal.caller,
            deterministic: true,
            engine_version: self.engine_version,
            face: refusal.face,
            fact_sources: &[],
            fuel_used: 0,
            host_version: crate::VERSION,
            id: refusal.id,
            input: None,
            outcome,
            release: None,
            rounds: 0,
            schema: crate::audit::record::DECISION_SCHEMA,
            simulate: refusal.simulate,
            tenant: refusal.tenant,
            time_ms: refusal.now.0,
            token_expires_ms: None,
        };
        let line = record.to_line().map_err(|_| LogError::NotOneLine)?;
        self.recorder.append(line).await
    }

    /// Facts and policy calls until there is an answer.
    async fn conclude(&self, request: &DecisionRequest, release: &Release, evidence: &mut Evidence) -> Conclusion {
        let keys = facts::keys_ahead(&release.policy.description.fact_templates, request);
        // What is fetched ahead may not be needed: what cannot be had is asked for by the policy, and then it has to
        // be there.
        if let Err(error) = self.fetch(request, &keys, evidence).await {
            tracing::warn!(%error, "facts not fetched ahead");
        }
        loop {
            evidence.rounds += 1;
            let input = evidence.input(request, release);
            let called = match release.policy.decide(&input) {
                Ok(called) => called,
                Err(error) => {
                    evidence.deterministic = error.is_replayable();
                    return Conclusion::failed(error.reason());
                }
            };
            evidence.fuel_used = called.fuel_used;
            let Outcome::Needs(needs) = &called.decision.outcome else {
                return Conclusion::of(called.decision, request);
            };
            if evidence.is_final {
                // It was told that no more will come and asks all the same.
                return Conclusion::failed("policy-output-invalid");
            }
            let (resources, people): (Vec<&String>, Vec<&String>) =
                needs.iter().partition(|key| key.starts_with(RESOURCE_KEY));
            evidence.missing =
                resources.iter().filter_map(|key| key.strip_prefix(RESOURCE_KEY)).map(str::to_owned).collect();
            evidence.is_final = people.is_empty() || evidence.rounds + 1 >= ROUNDS_MAX;
            let people: Vec<String> = people.into_iter().cloned().collect();
            if let Err(error) = self.fetch(request, &people, evidence).await {
                return Conclusion::failed(error.reason());
            }
        }
    }

    pub(crate) async fn fetch(
        &self,
        request: &DecisionRequest,
        keys: &[String],
        evidence: &mut Evidence,
    ) -> Result<(), FactError> {
        let known = |key: &&String| evidence.facts.iter().all(|fact| fact.key != **key);
        let keys: Vec<String> = keys.iter().filter(known).cloned().collect();
        let live = self.facts.live(request, &keys).await?;
        let resolved = self.facts.resolve_with(request, &live, &keys)?;
        evidence.facts.extend(resolved.facts);
        for (list, more) in [(&mut evidence.sources, resolved.sources), (&mut evidence.dropped, resolved.dropped)] {
            list.extend(more);
            list.sort();
            list.dedup();
        }
        Ok(())
    }

    /// SECURITY: nothing is answered before its record is durable. What cannot be recorded is not
    /// permitted.
    async fn record(&self, asked: &Asked<'_>, evidence: &Evidence, answer: Answer) -> Answer {
        let recorded = match line(asked, evidence, &answer, self.engine_version) {
            Ok(line) => self.recorder.append(line).await,
            Err(_) => Err(LogError::NotOneLine),
        };
        match recorded {
            Ok(()) => answer,
            Err(error) => {
                tracing::error!(decision.id = %answer.id, %error, "decision not recorded");
                let conclusion =
                    Conclusion::failed(if matches!(error, LogError::Full) { "log-full" } else { "log-failed" });
                Answer { needs: Vec::new(), trace: Vec::new(), ..conclusion.into_answer(answer) }
            }
        }
    }
}

/// What one decision has gathered.
pub(crate) struct Evidence {
    pub(crate) facts: Vec<Fact>,
    pub(crate) sources: Vec<String>,
    pub(crate) dropped: Vec<String>,
    missing: Vec<String>,
    pub(crate) rounds: u32,
    pub(crate) fuel_used: u64,
    pub(crate) is_final: bool,
    pub(crate) deterministic: bool,
}

impl Evidence {
    pub(crate) fn of(request: &DecisionRequest) -> Self {
        Self {
            facts: Vec::new(),
            sources: Vec::new(),
            dropped: break_glass_of(request),
            missing: Vec::new(),
            rounds: 0,
            fuel_used: 0,
            is_final: false,
            deterministic: true,
        }
    }

    pub(crate) fn input<'a>(&'a self, decision: &'a DecisionRequest, release: &'a Release) -> PolicyInput<'a> {
        let Self { facts, is_final, .. } = self;
        PolicyInput { decision, stored: &decision.stored, facts, facts_final: *is_final, settings: &release.settings }
    }
}

/// What is dropped whatever the policy asks for: the markers of the request, and relationships the
/// caller vouches for that did not come about in the ordinary way.
fn break_glass_of(request: &DecisionRequest) -> Vec<String> {
    let vouched = request.relationships.iter().filter(|entry| entry.is_break_glass());
    let mut all: Vec<String> = request.break_glass.iter().cloned().chain(vouched.map(facts::marker)).collect();
    all.sort();
    all.dedup();
    all
}

/// What came of the policy calls.
struct Conclusion {
    verdict: Verdict,
    reason: String,
    text: String,
    trace: Vec<TraceStep>,
}

impl Conclusion {
    fn failed(reason: &str) -> Self {
        let text = String::from("no decision was reached");
        Self { verdict: Verdict::Indeterminate, reason: reason.to_owned(), text, trace: Vec::new() }
    }

    fn of(decision: Decision, request: &DecisionRequest) -> Self {
        let Decision { outcome, text, trace } = decision;
        match outcome {
            Outcome::Permit { reason, obligations, expires } => {
                let declared = |obligation: &Obligation| request.obligations.contains(&obligation.id);
                // SECURITY: the policy checks this too. A permit whose obligation is not carried out
                // would be a wrong permit.
                if !obligations.iter().all(declared) {
                    let text = String::from("the permit needs an obligation the caller did not declare");
                    return Self {
                        verdict: Verdict::Deny(Basis::Request),
                        reason: "obligation-not-supported".into(),
                        text,
                        trace,
                    };
                }
                // A narrowing that cannot be written back would leave the search as wide as it was.
                let cannot = |obligation: &Obligation| obligation.requests(&request.request).is_none();
                if obligations.iter().filter(|obligation| obligation.rewrites()).any(cannot) {
                    return Self::failed("policy-output-invalid");
                }
                let verdict = Verdict::Permit(Permit { obligations, expires_at: expiry(request, expires) });
                Self { verdict, reason, text, trace }
            }
            Outcome::Deny { reason, basis } => Self { verdict: Verdict::Deny(basis), reason, text, trace },
            Outcome::Needs(_) => Self::failed("policy-output-invalid"),
        }
    }

    fn into_answer(self, before: Answer) -> Answer {
        let Self { verdict, reason, text, trace } = self;
        Answer { verdict, reason, text, trace, ..before }
    }
}

/// The earliest of token end, relationship end and the longest time a permit may be cached.
fn expiry(request: &DecisionRequest, relationship: Option<Millis>) -> Option<Millis> {
    let longest = request.now.plus_ms(PERMIT_MAX_MS);
    let earliest = [request.subject.expires, relationship].into_iter().flatten().fold(longest, Millis::min);
    Some(earliest).filter(|end| *end > request.now)
}

fn answer(asked: &Asked<'_>, release: Arc<Release>, evidence: &Evidence, conclusion: Conclusion) -> Answer {
    let Conclusion { verdict, reason, text, trace } = conclusion;
    let needs = if matches!(verdict, Verdict::Deny(_)) { evidence.missing.clone() } else { Vec::new() };
    let fact_sources = evidence.sources.clone();
    let rounds = evidence.rounds;
    Answer { id: asked.id.clone(), verdict, reason, text, needs, trace, fact_sources, rounds, release }
}

fn line(
    asked: &Asked<'_>,
    evidence: &Evidence,
    answer: &Answer,
    engine_version: &str,
) -> Result<Vec<u8>, serde_json::Error> {
    let release = &answer.release;
    let outcome = match &answer.verdict {
        Verdict::Permit(permit) => {
            OutcomeRecord::permit(&answer.reason, &answer.text, permit.obligations(), permit.expires_at)
        }
        Verdict::Deny(basis) => {
            OutcomeRecord { needs: &answer.needs, ..OutcomeRecord::deny(&answer.reason, *basis, &answer.text) }
        }
        Verdict::Indeterminate => OutcomeRecord::indeterminate(&answer.reason, &answer.text),
    };
    let record = DecisionRecord {
        break_glass: &evidence.dropped,
        caller: asked.caller,
        deterministic: evidence.deterministic,
        engine_version,
        face: asked.face,
        fact_sources: &evidence.sources,
        fuel_used: evidence.fuel_used,
        host_version: crate::VERSION,
        id: &asked.id,
        input: Some(InputRecord::new(&evidence.input(asked.request, release))),
        outcome,
        release: Some(ReleaseRecord::of(release)),
        rounds: evidence.rounds,
        schema: crate::audit::record::DECISION_SCHEMA,
        simulate: asked.request.simulate,
        tenant: &asked.request.tenant,
        time_ms: asked.request.now.0,
        token_expires_ms: asked.request.subject.expires.map(|end| end.0),
    };
    record.to_line()
}

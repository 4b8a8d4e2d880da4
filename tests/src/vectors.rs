//! Vectors: one decision a line, what is asked and what has to come out.
//!
//! A vector is told in the caller's words (a `/v1/decide` body), so that the same line can be posted
//! to a host, decided at the command line, run natively and run through a component. `tests/vectors/README.md`
//! documents the members.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is a failed test")]

pub(crate) mod native;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use chartgate::config::Limits;
use chartgate::facts::{FactError, FactSource, Facts, RecordsAnswer, SourceAnswer};
use chartgate::http::caller::Caller;
use chartgate::http::problem::Problem;
use chartgate::http::wire::{Context, Decidable};
use chartgate_model::parse::RenderedRequest;
use chartgate_model::{
    Basis, Decision, DecisionRequest, Fact, FhirBase, Millis, Obligation, Outcome, PolicyInput, Record, RecordClass,
    SubjectKind,
};
use chartgate_runtime::LoadedPolicy;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

pub use native::decide as natively;

/// URL of the base every vector is about.
pub const BASE: &str = "https://ehr.example/fhir";
/// Policy calls of one decision at the most, as the host has it.
pub(crate) const ROUNDS_MAX: u32 = 5;
/// Vectors about grants, which are of another shape.
pub const GRANTS_FILE: &str = "grants.jsonl";

/// One line of `tests/vectors/*.jsonl`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// unique name, kebab-case
    pub id: String,
    /// line of the attack catalogue, `T01`
    pub tag: Option<String>,
    /// the rule it is about, or `parser`
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
    /// time of the decision, 2026-11-24T10:00:00Z when absent
    pub now: Option<String>,
    /// nobody is known but those `ask` speaks of
    #[serde(default)]
    pub strangers: bool,
    /// facts handed over as they are, in place of those in `ask`
    pub facts: Option<Vec<RawFact>>,
    /// a body of `/v1/decide`
    pub ask: Box<RawValue>,
    /// members taken away from the parsed request, for what no parser lets through: `id`, `version`, `body`;
    /// `user` makes the subject a client without a user
    #[serde(default)]
    pub omit: Vec<String>,
    /// what has to come out
    pub expect: Expect,
}

/// A fact as the policy gets it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RawFact {
    /// `relationships/Practitioner/17`
    pub key: String,
    /// its JSON as text
    pub value: String,
}

/// What has to come out: exactly one of `permit`, `deny` and `bad`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    /// reason of the permit
    pub permit: Option<String>,
    /// reason of the deny
    pub deny: Option<String>,
    /// member at fault of the 400
    pub bad: Option<String>,
    /// status a denial is answered with: 403 or 404
    pub status: Option<u16>,
    /// obligations of the permit, as an answer spells them
    #[serde(default)]
    pub obligations: Vec<Value>,
    /// when the permit's relationship ends
    pub expires: Option<String>,
    /// resources that were asked for
    #[serde(default)]
    pub needs: Vec<String>,
    /// the rules walked, each `rule outcome detail`
    pub trace: Option<Vec<String>>,
}

impl Expect {
    /// The reason or the member, with how it came out.
    pub fn code(&self) -> (&'static str, &str) {
        match (&self.permit, &self.deny, &self.bad) {
            (Some(reason), None, None) => ("permit", reason),
            (None, Some(reason), None) => ("deny", reason),
            (None, None, Some(member)) => ("bad", member),
            _ => panic!("exactly one of permit, deny and bad"),
        }
    }
}

/// The vectors of a folder, with the file each is from.
pub fn load(folder: &Path) -> Vec<(String, Vector)> {
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    let is_ours = |name: &str| name.ends_with(".jsonl") && name != GRANTS_FILE;
    files.retain(|file| file.file_name().is_some_and(|name| name.to_str().is_some_and(is_ours)));
    files.sort();
    let mut vectors = Vec::new();
    for file in files {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        for (at, line) in std::fs::read_to_string(&file).unwrap().lines().enumerate() {
            let vector = serde_json::from_str(line).unwrap_or_else(|error| panic!("{name}:{}: {error}", at + 1));
            vectors.push((name.clone(), vector));
        }
    }
    vectors
}

/// Read a body as the host does. Without tokens nothing is waited for.
pub(crate) fn read(context: &Context<'_>, body: &[u8]) -> Result<Decidable, Problem> {
    static WAITING: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    let waiting = WAITING.get_or_init(|| tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap());
    waiting.block_on(context.read(body))
}

/// Read a body as the host does, for the base of the vectors; the error is the member at fault.
pub(crate) fn parsed(version: Option<&str>, now: Option<&str>, body: &[u8]) -> Result<DecisionRequest, String> {
    static LIMITS: OnceLock<Limits> = OnceLock::new();
    let version = version.unwrap_or("4.0.1").to_owned();
    let context = Context {
        caller: &Caller::local(),
        bases: &[FhirBase { name: "default".into(), url: BASE.into(), version }],
        tokens: None,
        smart: None,
        system: false,
        limits: LIMITS.get_or_init(Limits::default),
        now: Millis::parse(now.unwrap_or("2026-11-24T10:00:00Z")).unwrap(),
        policy_header: None,
    };
    match read(&context, body) {
        Ok(Decidable::Request(request)) => Ok(*request),
        Ok(Decidable::BadToken { .. }) => Err("subject".into()),
        Err(problem) => Err(problem.member.unwrap_or_default()),
    }
}

/// A directory without relationships, which vectors bring along, that knows everybody as an ordinary adult or an active
/// user, but those the vector speaks of itself; or, where the vector says so, nobody. It knows no client.
#[derive(Default)]
pub struct Ordinary {
    /// whom the vector speaks of
    pub spoken_of: BTreeSet<String>,
    /// nobody is known
    pub strangers: bool,
}

impl Ordinary {
    /// Those a request brings no record of.
    pub fn beside(request: &DecisionRequest, strangers: bool) -> Self {
        let spoken_of = request.records.iter().map(|record| format!("{}/{}", record.class.code(), record.id));
        Self { spoken_of: spoken_of.collect(), strangers }
    }

    fn record(&self, class: RecordClass, id: &str) -> Option<Record> {
        let members = match class {
            RecordClass::Patient => json!({ "birth_date": "1980-01-01", "zone": "UTC" }),
            RecordClass::User => json!({ "status": "active" }),
            RecordClass::Client => return None,
        };
        let known = !self.strangers && !self.spoken_of.contains(&format!("{}/{id}", class.code()));
        known.then(|| chartgate::people::record(class, id, "directory", members).unwrap())
    }
}

impl FactSource for Ordinary {
    fn between(&self, _tenant: &str, _user: &str, _patient: &str) -> Result<SourceAnswer, FactError> {
        Ok(SourceAnswer { relationships: Vec::new(), truncated: false, stamp: String::new() })
    }

    fn of_user(&self, tenant: &str, user: &str) -> Result<SourceAnswer, FactError> {
        self.between(tenant, user, "")
    }

    fn roles(&self, _tenant: &str, _practitioner: &str) -> Result<RecordsAnswer, FactError> {
        Ok(RecordsAnswer { records: Vec::new(), stamp: String::new() })
    }

    fn records(&self, _tenant: &str, class: RecordClass, ids: &BTreeSet<String>) -> Result<RecordsAnswer, FactError> {
        let records = ids.iter().filter_map(|id| self.record(class, id)).collect();
        Ok(RecordsAnswer { records, stamp: String::new() })
    }
}

/// What a run of the needs loop came to.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// the last answer
    pub decision: Decision,
    /// resources it asked for on the way
    pub needs: Vec<String>,
}

impl Vector {
    /// Read the request as the host would; the error is the member at fault.
    pub fn request(&self) -> Result<DecisionRequest, String> {
        let mut request = parsed(self.fhir_version.as_deref(), self.now.as_deref(), self.ask.get().as_bytes())?;
        request.explain |= self.expect.trace.is_some();
        for member in &self.omit {
            match member.as_str() {
                "id" => request.request.id = None,
                "version" => request.request.version = None,
                "body" => request.request.body = None,
                // A client without a user, whether or not the host takes one at its word.
                "user" => {
                    request.subject.kind = SubjectKind::System;
                    request.subject.user = String::new();
                }
                other => panic!("{}: `{other}` cannot be omitted", self.id),
            }
        }
        Ok(request)
    }

    /// Settings of the release, as bytes.
    pub fn settings(&self) -> &[u8] {
        self.settings.as_deref().map_or(b"{}", |raw| raw.get().as_bytes())
    }

    /// Walk the needs loop as the host does, with `judge` in place of the policy call.
    pub fn run(&self, request: &DecisionRequest, mut judge: impl FnMut(&PolicyInput<'_>) -> Decision) -> Run {
        let source = Facts::new(Arc::new(Ordinary::beside(request, self.strangers)));
        let given = |raw: &RawFact| Fact { key: raw.key.clone(), value: raw.value.clone().into_bytes() };
        let mut facts: Vec<Fact> = self.facts.iter().flatten().map(given).collect();
        let (mut needs, mut facts_final, mut rounds) = (Vec::new(), self.facts.is_some(), 0);
        loop {
            rounds += 1;
            let input = PolicyInput {
                decision: request,
                stored: &request.stored,
                facts: &facts,
                facts_final,
                settings: self.settings(),
            };
            let decision = judge(&input);
            let Outcome::Needs(keys) = &decision.outcome else { return Run { decision, needs } };
            assert!(!facts_final, "{}: asks again although nothing more will come", self.id);
            let (resources, people): (Vec<String>, Vec<String>) =
                keys.iter().cloned().partition(|key| key.starts_with("resource/"));
            needs = resources.iter().map(|key| key.replacen("resource/", "", 1)).collect();
            facts_final = people.is_empty() || rounds + 1 >= ROUNDS_MAX;
            facts.extend(source.resolve(request, &people).unwrap().facts);
        }
    }

    /// Run through a component.
    pub fn through(&self, policy: &LoadedPolicy, request: &DecisionRequest) -> Run {
        self.run(request, |input| policy.decide(input).unwrap_or_else(|error| panic!("{}: {error}", self.id)).decision)
    }

    /// A run in the words of [`Expect`]; what the vector does not speak of is left out.
    pub fn outcome(&self, request: &DecisionRequest, run: Run) -> Expect {
        let mut found = Expect::default();
        match run.decision.outcome {
            Outcome::Permit { reason, obligations, expires } => {
                found.permit = Some(reason);
                found.obligations = obligations.iter().map(|obligation| spelt(obligation, request)).collect();
                found.expires = expires.map(Millis::to_rfc3339);
            }
            Outcome::Deny { reason, basis } => {
                found.deny = Some(reason);
                found.needs = run.needs;
                found.status = self.expect.status.map(|_| if basis == Basis::Request { 403 } else { 404 });
            }
            Outcome::Needs(_) => unreachable!("the loop ends with an answer"),
        }
        let step = |step: chartgate_model::TraceStep| format!("{} {} {}", step.rule, step.outcome.code(), step.detail);
        found.trace = self.expect.trace.as_ref().map(|_| run.decision.trace.into_iter().map(step).collect());
        found
    }
}

/// An obligation as an answer of the host spells it; a narrowing without its `method` and, by GET,
/// without its empty `body`.
fn spelt(obligation: &Obligation, request: &DecisionRequest) -> Value {
    let one = |rendered: RenderedRequest| match (rendered.body, rendered.if_none_exist) {
        (Some(body), _) => json!({ "url": rendered.url, "body": body }),
        (None, Some(criteria)) => json!({ "url": rendered.url, "headers": { "If-None-Exist": criteria } }),
        (None, None) => json!({ "url": rendered.url }),
    };
    let mut members = match obligation.requests(&request.request) {
        Some(mut requests) if obligation.id == "search-narrowing" => one(requests.remove(0)),
        Some(requests) => json!({ "requests": requests.into_iter().map(one).collect::<Vec<_>>() }),
        None => serde_json::from_slice(&obligation.parameters).unwrap(),
    };
    members.as_object_mut().unwrap().insert("id".into(), json!(obligation.id));
    members
}

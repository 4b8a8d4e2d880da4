//! One decision to compare: told in the caller's words, so that it can be posted to a host again.

use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

use chartgate::config::Limits;
use chartgate::facts::{FactError, FactSource, Facts, RecordsAnswer, SourceAnswer, keys_ahead, keys_of_items};
use chartgate::http::caller::Caller;
use chartgate::http::wire::{Context, Decidable};
use chartgate_model::parse::RenderedRequest;
use chartgate_model::{
    DecisionRequest, Fact, FhirBase, FilterOutcome, Item, Millis, Obligation, Outcome, PolicyInput, Record,
    RecordClass, Relationship, SubjectKind, Terms,
};
use chartgate_runtime::LoadedPolicy;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::definitions::{self, Class};
use super::search::{normal, pin_codes, pinned};
use super::{Narrowed, Opinion};

/// URL of the base every case is about.
pub const BASE: &str = "https://ehr.example/fhir";
/// Policy calls of one decision at the most, as the host has it.
const ROUNDS_MAX: u32 = 5;
/// Stands in for a client without a user while the body is read: the policy judges it, not the wire.
const STAND_IN: &str = "Patient/stand-in";

/// A body of `/v1/decide` and everything around it that the decision depends on.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Case {
    /// settings of the release
    pub settings: Value,
    /// FHIR version of the base
    pub fhir_version: String,
    /// time of the decision
    pub now: String,
    /// what the directory and other sources know
    pub directory: Vec<Known>,
    /// what they know of patients, users and clients
    #[serde(default)]
    pub records: Vec<Told>,
    /// the body
    pub ask: Value,
}

/// A relationship with its source.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Known {
    /// `Practitioner/17`
    pub user: String,
    /// bare id
    pub patient: String,
    /// `treatment`
    pub kind: String,
    /// `full`
    pub level: String,
    /// `active`
    pub status: String,
    /// `ordinary`
    pub via: String,
    /// `directory`
    pub source: String,
    /// RFC 3339
    pub start: Option<String>,
    /// RFC 3339
    pub end: Option<String>,
    /// types it does not reach
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_types: Vec<String>,
    /// codes of labels it does not reach
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_labels: Vec<String>,
    /// `incapacity` or `minority`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// of a `delegation`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegator: Option<String>,
}

/// What a source says of a patient, a user or a client.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Told {
    /// `patient`, `user` or `client`
    pub class: String,
    /// as the class has it
    pub id: String,
    /// `directory`
    pub source: String,
    /// the record, as the directory takes it
    pub members: Value,
}

impl Told {
    /// The record as a caller vouches for it.
    pub fn body(&self) -> Value {
        let mut body = self.members.clone();
        body[&self.class] = json!(self.id);
        body
    }

    fn record(&self) -> Result<Record, String> {
        let class = RecordClass::from_code(&self.class).ok_or_else(|| "class".to_owned())?;
        chartgate::people::record(class, &self.id, &self.source, self.members.clone())
            .map_err(|error| error.to_string())
    }
}

impl Known {
    fn relationship(&self) -> Result<Relationship, String> {
        let time = |text: &Option<String>| text.as_deref().map(Millis::parse).transpose().map_err(|e| e.to_string());
        Ok(Relationship {
            user: self.user.clone(),
            patient: self.patient.clone(),
            kind: self.kind.clone(),
            level: self.level.clone(),
            status: self.status.clone(),
            via: self.via.clone(),
            source: self.source.clone(),
            start: time(&self.start)?,
            end: time(&self.end)?,
            terms: Terms {
                basis: String::new(),
                exclude_types: self.exclude_types.clone(),
                exclude_labels: self.exclude_labels.clone(),
                condition: self.condition.clone(),
                delegator: self.delegator.clone(),
            },
        })
    }
}

/// A case as the host would read it.
pub struct Read {
    /// the request
    pub request: DecisionRequest,
    /// every relationship there is, each with its source
    pub relationships: Vec<Relationship>,
    /// every record there is, each with its source
    pub records: Vec<Record>,
    directory: Directory,
}

impl Case {
    /// Read it; the error is the member at fault, or what is wrong with a relationship.
    pub fn read(&self) -> Result<Read, String> {
        let request = self.request()?;
        let directory = self.directory.iter().map(Known::relationship).collect::<Result<Vec<_>, _>>()?;
        let mut relationships = directory.clone();
        for given in &request.relationships {
            chartgate::store::validate::relationship(given).map_err(|error| error.to_string())?;
            relationships.push(Relationship { source: "caller".into(), ..given.clone() });
        }
        let known = self.records.iter().map(Told::record).collect::<Result<Vec<_>, _>>()?;
        let vouched = request.records.iter().map(|record| Record { source: "caller".into(), ..record.clone() });
        let records = known.iter().cloned().chain(vouched).collect();
        let directory = Directory { relationships: directory, records: known };
        Ok(Read { request, relationships, records, directory })
    }

    fn request(&self) -> Result<DecisionRequest, String> {
        static LIMITS: OnceLock<Limits> = OnceLock::new();
        let mut ask = self.ask.clone();
        let is_system = ask.pointer("/subject/kind").and_then(Value::as_str) == Some("system");
        let user = ask.pointer("/subject/user").and_then(Value::as_str).unwrap_or_default().to_owned();
        if let (true, Some(subject)) = (is_system, ask.get_mut("subject").and_then(Value::as_object_mut)) {
            subject.insert("kind".into(), json!("patient"));
            subject.insert("user".into(), json!(STAND_IN));
        }
        let context = Context {
            caller: &Caller::local(),
            bases: &[FhirBase { name: "default".into(), url: BASE.into(), version: self.fhir_version.clone() }],
            tokens: None,
            smart: None,
            system: true,
            limits: LIMITS.get_or_init(Limits::default),
            now: Millis::parse(&self.now).map_err(|error| error.to_string())?,
            policy_header: None,
        };
        match crate::vectors::read(&context, ask.to_string().as_bytes()) {
            Ok(Decidable::Request(mut request)) => {
                if is_system {
                    request.subject.kind = SubjectKind::System;
                    request.subject.user = user;
                }
                Ok(*request)
            }
            Ok(Decidable::BadToken { .. }) => Err("subject".into()),
            Err(problem) => Err(problem.member.unwrap_or_default()),
        }
    }

    /// Decide it through a component, with the needs loop of the host.
    pub fn through(&self, policy: &LoadedPolicy, read: &Read) -> Result<Found, String> {
        let source = Facts::new(Arc::new(read.directory.clone()));
        decide(policy, &source, &read.request, &self.settings)
    }

    /// Judge the resources of its answer through a component, with the needs loop of the host.
    pub fn filtered(&self, policy: &LoadedPolicy, read: &Read, items: &[Item<'_>]) -> Result<FilterOutcome, String> {
        let source = Facts::new(Arc::new(read.directory.clone()));
        filter(policy, &source, &read.request, &self.settings, items)
    }
}

/// Judge the resources of an answer through a component, with the needs loop of the host.
pub fn filter(
    policy: &LoadedPolicy,
    source: &Facts,
    request: &DecisionRequest,
    settings: &Value,
    items: &[Item<'_>],
) -> Result<FilterOutcome, String> {
    let settings = settings.to_string();
    let ahead = keys_of_items(&policy.description.fact_templates, request, items);
    let mut facts = source.resolve(request, &ahead).map_err(|error| error.to_string())?.facts;
    for round in 1..=ROUNDS_MAX {
        let input = PolicyInput {
            decision: request,
            stored: &[],
            facts: &facts,
            facts_final: round == ROUNDS_MAX,
            settings: settings.as_bytes(),
        };
        match policy.filter(&input, items).map_err(|error| error.to_string())?.0 {
            FilterOutcome::Needs(mut keys) => {
                keys.retain(|key| facts.iter().all(|fact: &Fact| fact.key != *key));
                let more = source.resolve(request, &keys).map_err(|error| error.to_string())?;
                facts.extend(more.facts);
            }
            outcome => return Ok(outcome),
        }
    }
    Err("asks again although nothing more will come".into())
}

/// Decide a request through a component, with the needs loop of the host.
pub fn decide(
    policy: &LoadedPolicy,
    source: &Facts,
    request: &DecisionRequest,
    settings: &Value,
) -> Result<Found, String> {
    let settings = settings.to_string();
    let resolve = |keys: &[String]| {
        let resolved = source.resolve(request, keys);
        resolved.map(|resolved| resolved.facts).map_err(|error| error.to_string())
    };
    let mut facts = resolve(&keys_ahead(&policy.description.fact_templates, request))?;
    let (mut facts_final, mut rounds) = (false, 0);
    loop {
        rounds += 1;
        let input = PolicyInput {
            decision: request,
            stored: &request.stored,
            facts: &facts,
            facts_final,
            settings: settings.as_bytes(),
        };
        let decision = policy.decide(&input).map_err(|error| error.to_string())?.decision;
        let Outcome::Needs(keys) = &decision.outcome else { return Ok(Found::of(decision.outcome, request)) };
        if facts_final {
            return Err("asks again although nothing more will come".into());
        }
        let people: Vec<String> = keys.iter().filter(|key| !key.starts_with("resource/")).cloned().collect();
        facts_final = people.is_empty() || rounds + 1 >= ROUNDS_MAX;
        let unknown = |key: &&String| facts.iter().all(|fact: &Fact| fact.key != **key);
        let more = resolve(&people.iter().filter(unknown).cloned().collect::<Vec<_>>())?;
        facts.extend(more);
    }
}

/// The sources of a case, in place of the directory. Whom nobody speaks of nobody knows.
#[derive(Clone)]
struct Directory {
    relationships: Vec<Relationship>,
    records: Vec<Record>,
}

impl Directory {
    fn answer(&self, keep: impl Fn(&Relationship) -> bool) -> SourceAnswer {
        let relationships = self.relationships.iter().filter(|entry| keep(entry)).cloned().collect();
        SourceAnswer { relationships, truncated: false, stamp: "case".into() }
    }
}

impl FactSource for Directory {
    fn between(&self, _tenant: &str, user: &str, patient: &str) -> Result<SourceAnswer, FactError> {
        Ok(self.answer(|entry| entry.user == user && entry.patient == patient))
    }

    fn of_user(&self, _tenant: &str, user: &str) -> Result<SourceAnswer, FactError> {
        Ok(self.answer(|entry| entry.user == user))
    }

    fn roles(&self, _tenant: &str, practitioner: &str) -> Result<RecordsAnswer, FactError> {
        let named = |record: &&Record| record.members.get("practitioner").is_some_and(|named| named == practitioner);
        let records = self.records.iter().filter(named).cloned().collect();
        Ok(RecordsAnswer { records, stamp: "case".into() })
    }

    fn records(&self, _tenant: &str, class: RecordClass, ids: &BTreeSet<String>) -> Result<RecordsAnswer, FactError> {
        let of_these = |record: &&Record| record.class == class && ids.contains(&record.id);
        let records = self.records.iter().filter(of_these).cloned().collect();
        Ok(RecordsAnswer { records, stamp: "case".into() })
    }
}

/// What a component answered, in the oracle's words and with its reason.
#[derive(Debug, Clone)]
pub struct Found {
    /// whether it permitted
    pub permitted: bool,
    /// reason code, for whoever reads a disagreement
    pub reason: String,
    /// ids of the obligations
    pub ids: BTreeSet<String>,
    /// obligations as they came
    pub obligations: Vec<String>,
    /// how a narrowed search is confined
    pub narrowed: Option<Narrowed>,
    /// requests to be sent in place of the one
    pub requests: Vec<RenderedRequest>,
    /// when it ends
    pub end: Option<Millis>,
}

impl Found {
    fn of(outcome: Outcome, request: &DecisionRequest) -> Self {
        let none = |reason: String| Self {
            permitted: false,
            reason,
            ids: BTreeSet::new(),
            obligations: Vec::new(),
            narrowed: None,
            requests: Vec::new(),
            end: None,
        };
        match outcome {
            Outcome::Permit { reason, obligations, expires } => {
                let narrowing = obligations.iter().find(|obligation| obligation.id == "search-narrowing");
                let spelt = |obligation: &Obligation| {
                    format!("{} {}", obligation.id, String::from_utf8_lossy(&obligation.parameters))
                };
                Self {
                    permitted: true,
                    ids: obligations.iter().map(|obligation| obligation.id.clone()).collect(),
                    obligations: obligations.iter().map(spelt).collect(),
                    requests: obligations.iter().find_map(|one| one.requests(&request.request)).unwrap_or_default(),
                    narrowed: narrowing.and_then(|narrowing| narrowed(narrowing, request)),
                    end: expires,
                    ..none(reason)
                }
            }
            Outcome::Deny { reason, .. } => none(reason),
            Outcome::Needs(keys) => none(keys.join(" ")),
        }
    }

    /// Where an opinion differs; `None` when it does not, or is none.
    pub fn differs(&self, opinion: &Opinion) -> Option<&'static str> {
        match opinion {
            Opinion::Unjudged(_) => None,
            Opinion::Deny => self.permitted.then_some("permitted, not denied"),
            Opinion::Permit { .. } if !self.permitted => Some("denied, not permitted"),
            Opinion::Permit { obligations, .. } if *obligations != self.ids => Some("other obligations"),
            Opinion::Permit { narrowed, .. } if *narrowed != self.narrowed => Some("narrowed otherwise"),
            Opinion::Permit { ends, .. } => (!ends.contains(&self.end)).then_some("another end"),
        }
    }
}

/// How a narrowed search is confined: the patients that every parameter naming patients leaves, and the
/// other parameters.
fn narrowed(narrowing: &Obligation, request: &DecisionRequest) -> Option<Narrowed> {
    let definitions = definitions::of_version(&request.base.version)?;
    let kind = &request.request.resource_type;
    let codes = pin_codes(definitions, kind);
    let mut patients: Option<BTreeSet<String>> = None;
    let mut parameters = BTreeSet::new();
    for parameter in narrowing.search_parameters()? {
        if codes.contains(&parameter.name) && definitions.class(kind) != Class::Open {
            let (named, _) = pinned(kind, &parameter.name, &parameter.value, BASE);
            patients = Some(match patients {
                None => named,
                Some(before) => before.intersection(&named).cloned().collect(),
            });
        } else {
            parameters.insert(normal(&parameter.name, &parameter.value));
        }
    }
    Some(Narrowed { patients, parameters })
}

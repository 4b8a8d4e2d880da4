//! The records of the log, one canonical JSON line each.
//!
//! What crossed into the policy as bytes (bodies, stored resources, facts, obligation parameters) is
//! recorded as a string with exactly these bytes, because a number like `1.10` would not survive being
//! parsed and written again, and a replay must see what the policy saw.
//!
//! SECURITY: nothing here has a place for a header or a token, and none may be added.
//!
//! INVARIANT: members are declared in alphabetical order, because serde writes them as declared.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use chartgate_model::{Basis, Millis, Obligation, PolicyInput, SubjectKind};
use chartgate_runtime::release::Release;
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::canonical::Canonical;

/// What a decision record calls itself.
pub const DECISION_SCHEMA: &str = "chartgate-decision/1";
/// What a change record calls itself.
pub const CHANGE_SCHEMA: &str = "chartgate-change/1";

/// Bytes that are text: a JSON string, or `{"base64":…}` for those that are not UTF-8 after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawText<'a>(pub &'a [u8]);

impl Serialize for RawText<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if let Ok(text) = std::str::from_utf8(self.0) {
            return serializer.serialize_str(text);
        }
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry("base64", &STANDARD.encode(self.0))?;
        map.end()
    }
}

/// One decision, complete enough to be made again.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DecisionRecord<'a> {
    /// break-glass markers and facts that were dropped
    pub break_glass: &'a [String],
    /// name of the caller
    pub caller: &'a str,
    /// false when a deadline cut the policy short: not replayable
    pub deterministic: bool,
    /// version of the WebAssembly engine
    pub engine_version: &'a str,
    /// where the question came in, `decide`
    pub face: &'a str,
    /// where facts came from, `directory@8812`
    pub fact_sources: &'a [String],
    /// fuel of the last policy call
    pub fuel_used: u64,
    /// version of this host
    pub host_version: &'a str,
    /// ULID of the decision
    pub id: &'a str,
    /// what the policy was given last; absent when none was asked
    pub input: Option<InputRecord<'a>>,
    /// what was answered
    pub outcome: OutcomeRecord<'a>,
    /// the release that decided; absent when none could be found
    pub release: Option<ReleaseRecord<'a>>,
    /// policy calls made
    pub rounds: u32,
    /// [`DECISION_SCHEMA`]
    pub schema: &'static str,
    /// a what-if: it authorised nothing
    pub simulate: bool,
    /// the tenant
    pub tenant: &'a str,
    /// when, in milliseconds since 1970
    pub time_ms: u64,
    /// when the token ends, in milliseconds since 1970: no permit lasts longer
    pub token_expires_ms: Option<u64>,
}

/// The release that decided.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct ReleaseRecord<'a> {
    /// digest of the component, `sha256:…`
    pub component: &'a str,
    /// digest of the manifest, the identity of the release
    pub digest: &'a str,
    /// fuel one call might use here
    pub fuel_limit: u64,
    /// memory one call might use here
    pub memory_limit_bytes: usize,
    /// `smart-access`
    pub name: &'a str,
    /// `1.0.0`
    pub version: &'a str,
}

impl<'a> ReleaseRecord<'a> {
    /// Which release it was, and what it might use.
    pub fn of(release: &'a Release) -> Self {
        Self {
            component: &release.component_digest,
            digest: &release.digest,
            fuel_limit: release.policy.limits.fuel,
            memory_limit_bytes: release.policy.limits.memory_bytes,
            name: &release.name,
            version: &release.version,
        }
    }
}

/// The input of the last policy call. The settings are those of the release.
#[derive(Debug, Clone, serde::Serialize)]
pub struct InputRecord<'a> {
    base: &'a str,
    body: Option<RawText<'a>>,
    compartment: Option<CompartmentRecord<'a>>,
    conditional: bool,
    explain: bool,
    facts: Vec<FactRecord<'a>>,
    facts_final: bool,
    fhir_version: &'a str,
    id: Option<&'a str>,
    interaction: &'static str,
    now_ms: u64,
    obligations: &'a [String],
    operation: Option<&'a str>,
    parameters: Vec<(&'a str, &'a str)>,
    prefer_return: &'static str,
    reads_stored: bool,
    resolved: bool,
    resource_type: &'a str,
    stored: Vec<StoredRecord<'a>>,
    subject: SubjectRecord<'a>,
    version: Option<&'a str>,
}

#[derive(Debug, Clone, serde::Serialize)]
struct CompartmentRecord<'a> {
    id: &'a str,
    resource_type: &'a str,
}

#[derive(Debug, Clone, serde::Serialize)]
struct FactRecord<'a> {
    key: &'a str,
    value: RawText<'a>,
}

#[derive(Debug, Clone, serde::Serialize)]
struct StoredRecord<'a> {
    content: Option<RawText<'a>>,
    key: &'a str,
}

#[derive(Debug, Clone, serde::Serialize)]
struct SubjectRecord<'a> {
    client: &'a str,
    encounter: Option<&'a str>,
    kind: &'static str,
    patient: Option<&'a str>,
    scope: &'a str,
    user: &'a str,
}

impl<'a> InputRecord<'a> {
    /// Everything of `input` that a decision may depend on, tenant and settings aside: the record
    /// carries the one, the release the other.
    pub fn new(input: &PolicyInput<'a>) -> Self {
        let (decision, request) = (input.decision, &input.decision.request);
        Self {
            base: &decision.base.url,
            body: request.body.as_deref().map(RawText),
            compartment: request.compartment.as_ref().map(|(kind, id)| CompartmentRecord { id, resource_type: kind }),
            conditional: request.conditional,
            explain: decision.explain,
            facts: input.facts.iter().map(|f| FactRecord { key: &f.key, value: RawText(&f.value) }).collect(),
            facts_final: input.facts_final,
            fhir_version: &decision.base.version,
            id: request.id.as_deref(),
            interaction: request.interaction.code(),
            now_ms: decision.now.0,
            obligations: &decision.obligations,
            operation: request.operation.as_deref(),
            parameters: request.parameters.iter().map(|p| (p.name.as_str(), p.value.as_str())).collect(),
            prefer_return: request.prefer_return.code(),
            reads_stored: request.reads_stored,
            resolved: request.resolved,
            resource_type: &request.resource_type,
            stored: input
                .stored
                .iter()
                .map(|s| StoredRecord { content: s.content.as_deref().map(RawText), key: &s.key })
                .collect(),
            subject: SubjectRecord {
                client: &decision.subject.client,
                encounter: decision.subject.encounter.as_deref(),
                kind: SubjectKind::code(decision.subject.kind),
                patient: decision.subject.patient.as_deref(),
                scope: &decision.subject.scope,
                user: &decision.subject.user,
            },
            version: request.version.as_deref(),
        }
    }
}

/// What was answered.
#[derive(Debug, Clone, serde::Serialize)]
pub struct OutcomeRecord<'a> {
    /// `request` or `content`, on a denial
    pub basis: Option<&'static str>,
    /// `permit`, `deny` or `indeterminate`; only the first lets anything happen
    pub decision: &'static str,
    /// when the first relationship a permit rests on ends, in milliseconds since 1970
    pub expires_at_ms: Option<u64>,
    /// keys the caller could fetch and ask again with
    pub needs: &'a [String],
    /// what the caller has to do
    pub obligations: Vec<ObligationRecord<'a>>,
    /// the code
    pub reason: &'a str,
    /// the reason as one sentence
    pub text: &'a str,
}

/// Something the caller has to do.
#[derive(Debug, Clone, Copy, serde::Serialize)]
pub struct ObligationRecord<'a> {
    /// `search-narrowing`
    pub id: &'a str,
    /// a JSON object
    pub parameters: RawText<'a>,
}

impl<'a> OutcomeRecord<'a> {
    /// A permit, with what the caller has to do.
    pub fn permit(reason: &'a str, text: &'a str, obligations: &'a [Obligation], expires: Option<Millis>) -> Self {
        Self {
            decision: "permit",
            expires_at_ms: expires.map(|expires| expires.0),
            obligations: obligations.iter().map(ObligationRecord::of).collect(),
            ..Self::indeterminate(reason, text)
        }
    }

    /// A denial, by the policy or by the host itself.
    pub fn deny(reason: &'a str, basis: Basis, text: &'a str) -> Self {
        let basis = match basis {
            Basis::Request => "request",
            Basis::Content => "content",
        };
        Self { basis: Some(basis), decision: "deny", ..Self::indeterminate(reason, text) }
    }

    /// No decision was reached: a trap, a time-out, a failed fact source.
    pub fn indeterminate(reason: &'a str, text: &'a str) -> Self {
        Self {
            basis: None,
            decision: "indeterminate",
            expires_at_ms: None,
            needs: &[],
            obligations: Vec::new(),
            reason,
            text,
        }
    }
}

impl<'a> ObligationRecord<'a> {
    /// As the policy gave it.
    pub fn of(obligation: &'a Obligation) -> Self {
        Self { id: &obligation.id, parameters: RawText(&obligation.parameters) }
    }
}

/// Somebody changed what decisions rest on.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ChangeRecord<'a> {
    /// `relationship-put`, `rollout-activate`, …
    pub action: &'a str,
    /// who did it: name of the administrator, or `cli`
    pub actor: &'a str,
    /// how it is now; absent when it is gone
    #[serde(serialize_with = "canonical")]
    pub after: Option<&'a Value>,
    /// how it was; absent when it was not there
    #[serde(serialize_with = "canonical")]
    pub before: Option<&'a Value>,
    /// version of this host
    pub host_version: &'a str,
    /// ULID of the change
    pub id: &'a str,
    /// revision of the directory or the rollout after it
    pub revision: u64,
    /// [`CHANGE_SCHEMA`]
    pub schema: &'static str,
    /// what was changed, `relationships/Practitioner/17/123/treatment`
    pub subject: &'a str,
    /// the tenant; absent for what concerns all
    pub tenant: Option<&'a str>,
    /// when, in milliseconds since 1970
    pub time_ms: u64,
}

fn canonical<S: Serializer>(value: &Option<&Value>, serializer: S) -> Result<S::Ok, S::Error> {
    value.map(Canonical).serialize(serializer)
}

impl DecisionRecord<'_> {
    /// The line, without its line break.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

impl ChangeRecord<'_> {
    /// The line, without its line break.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
mod tests;

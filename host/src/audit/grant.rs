//! The record of a grant: what an app was let have for a user, or not.
//!
//! INVARIANT: members are declared in alphabetical order, because serde writes them as declared.

use chartgate_model::GrantInput;

use super::RawText;
use super::record::ReleaseRecord;

/// What a grant record calls itself.
pub const GRANT_SCHEMA: &str = "chartgate-grant/1";

/// One grant, complete enough to be judged again.
#[derive(Debug, Clone, serde::Serialize)]
pub struct GrantRecord<'a> {
    /// false when a deadline cut the policy short: not replayable
    pub deterministic: bool,
    /// version of the WebAssembly engine
    pub engine_version: &'a str,
    /// where facts came from, `directory@8812`
    pub fact_sources: &'a [String],
    /// fuel of the last policy call
    pub fuel_used: u64,
    /// version of this host
    pub host_version: &'a str,
    /// ULID of the decision
    pub id: &'a str,
    /// what the policy was given last
    pub input: GrantInputRecord<'a>,
    /// what was answered
    pub outcome: GrantOutcomeRecord<'a>,
    /// the release that decided
    pub release: ReleaseRecord<'a>,
    /// policy calls made
    pub rounds: u32,
    /// [`GRANT_SCHEMA`]
    pub schema: &'static str,
    /// `look` (nothing is given out), `approval`, `code`, `refresh`
    pub stage: &'static str,
    /// the tenant
    pub tenant: &'a str,
    /// when, in milliseconds since 1970
    pub time_ms: u64,
}

/// The input of the last policy call. The settings are those of the release.
#[derive(Debug, Clone, serde::Serialize)]
pub struct GrantInputRecord<'a> {
    base: &'a str,
    client: &'a str,
    explain: bool,
    facts: Vec<FactRecord<'a>>,
    facts_final: bool,
    fhir_version: &'a str,
    kind: &'static str,
    now_ms: u64,
    patient: Option<&'a str>,
    scope: &'a str,
    user: &'a str,
}

#[derive(Debug, Clone, serde::Serialize)]
struct FactRecord<'a> {
    key: &'a str,
    value: RawText<'a>,
}

/// What was answered.
#[derive(Debug, Clone, Default, serde::Serialize)]
pub struct GrantOutcomeRecord<'a> {
    /// whom the user could choose from
    pub choices: Option<usize>,
    /// `grant`, `choose`, `deny` or `indeterminate`; only the first gives anything out
    pub decision: &'static str,
    /// when the first thing it rests on ends, in milliseconds since 1970
    pub expires_at_ms: Option<u64>,
    /// the patient in context
    pub patient: Option<&'a str>,
    /// the code
    pub reason: &'a str,
    /// what was granted
    pub scope: Option<&'a str>,
}

impl<'a> GrantInputRecord<'a> {
    /// Everything a grant may depend on, tenant and settings aside.
    pub fn new(input: &GrantInput<'a>) -> Self {
        let request = input.request;
        Self {
            base: &request.base.url,
            client: &request.client,
            explain: request.explain,
            facts: input.facts.iter().map(|fact| FactRecord { key: &fact.key, value: RawText(&fact.value) }).collect(),
            facts_final: input.facts_final,
            fhir_version: &request.base.version,
            kind: request.kind.code(),
            now_ms: request.now.0,
            patient: request.patient.as_deref(),
            scope: &request.scope,
            user: &request.user,
        }
    }
}

impl GrantRecord<'_> {
    /// The line, without its line break.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

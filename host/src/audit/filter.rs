//! The record of what left: each resource of an answer by the digest of its bytes, and why it was hidden.
//!
//! The resources themselves are not kept: an answer may be large, and the FHIR server has them. With them the record
//! can be judged again; the facts are those of the last policy call.
//!
//! INVARIANT: members are declared in alphabetical order, because serde writes them as declared.

use super::record::{InputRecord, ReleaseRecord};

/// What a filter record calls itself.
pub const FILTER_SCHEMA: &str = "chartgate-filter/1";

/// The resources of one answer.
#[derive(Debug, Clone, serde::Serialize)]
pub struct FilterRecord<'a> {
    /// break-glass markers and facts that were dropped
    pub break_glass: &'a [String],
    /// name of the caller
    pub caller: &'a str,
    /// `filtered`, or `deny` or `indeterminate`: then nothing left
    pub decision: &'static str,
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
    /// ULID of the filtering
    pub id: &'a str,
    /// the request, and what the policy was given last
    pub input: InputRecord<'a>,
    /// the resources, in order
    pub items: Vec<ItemRecord<'a>>,
    /// ULID of the decision that permitted the request
    pub permitted_by: &'a str,
    /// the code
    pub reason: &'a str,
    /// the release that decided
    pub release: ReleaseRecord<'a>,
    /// policy calls made
    pub rounds: u32,
    /// [`FILTER_SCHEMA`]
    pub schema: &'static str,
    /// the tenant
    pub tenant: &'a str,
    /// when, in milliseconds since 1970
    pub time_ms: u64,
}

/// One resource.
#[derive(Debug, Clone, serde::Serialize)]
pub struct ItemRecord<'a> {
    /// why it was hidden; absent when it left
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<&'a str>,
    /// SHA-256 of its bytes, hexadecimal
    pub sha256: String,
}

impl FilterRecord<'_> {
    /// The line, without its line break.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

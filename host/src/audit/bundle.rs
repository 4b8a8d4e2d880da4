//! The record of a batch or transaction: what was decided of the whole. Each entry that is a request has a record of
//! its own.
//!
//! INVARIANT: members are declared in alphabetical order, because serde writes them as declared.

use super::record::ReleaseRecord;

/// What a bundle record calls itself.
pub const BUNDLE_SCHEMA: &str = "chartgate-bundle/1";

/// A decision about a bundle.
#[derive(Debug, Clone, serde::Serialize)]
pub struct BundleRecord<'a> {
    /// name of the caller
    pub caller: &'a str,
    /// `permit`, `deny` or `indeterminate`
    pub decision: &'static str,
    /// the entries, in order
    pub entries: Vec<EntryRecord>,
    /// where it came in
    pub face: &'a str,
    /// version of this host
    pub host_version: &'a str,
    /// ULID of the decision
    pub id: &'a str,
    /// `batch` or `transaction`
    pub interaction: &'static str,
    /// the code
    pub reason: &'a str,
    /// the release that decided
    pub release: ReleaseRecord<'a>,
    /// [`BUNDLE_SCHEMA`]
    pub schema: &'static str,
    /// only asked what would be decided
    pub simulate: bool,
    /// the tenant
    pub tenant: &'a str,
    /// when, in milliseconds since 1970
    pub time_ms: u64,
}

/// What was decided of one entry.
#[derive(Debug, Clone, serde::Serialize)]
pub struct EntryRecord {
    /// `permit`, `deny` or `indeterminate`
    pub decision: &'static str,
    /// ULID of its own record; absent where it was no request
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// the code
    pub reason: String,
}

impl BundleRecord<'_> {
    /// The line, without its line break.
    pub fn to_line(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }
}

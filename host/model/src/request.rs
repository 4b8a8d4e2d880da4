//! What the host asks of itself, and what it asks of a policy.

use crate::{FhirBase, FhirRequest, Millis, Record, Relationship, Subject};

/// A decision that is wanted: parsed, and verified as far as the caller's word goes.
#[derive(Debug, Clone)]
pub struct DecisionRequest {
    /// the tenant, part of every key
    pub tenant: String,
    /// the FHIR base
    pub base: FhirBase,
    /// the interaction
    pub request: FhirRequest,
    /// who asks
    pub subject: Subject,
    /// what the caller fetched
    pub stored: Vec<Stored>,
    /// relationships the caller vouches for
    pub relationships: Vec<Relationship>,
    /// records the caller vouches for
    pub records: Vec<Record>,
    /// obligations the caller can carry out
    pub obligations: Vec<String>,
    /// the release asked for
    pub pin: Option<ReleasePin>,
    /// wants the trace
    pub explain: bool,
    /// the time of the decision
    pub now: Millis,
    /// answer what would be decided, with any verified release and any time
    pub simulate: bool,
    /// break-glass markers found and dropped, by member name: recorded, never judged
    pub break_glass: Vec<String>,
}

/// A release by name and version or by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReleasePin {
    /// `smart-access@1.0.0`
    Version {
        /// `smart-access`
        name: String,
        /// `1.0.0`
        version: String,
    },
    /// `sha256:…`, 64 lower-case hexadecimal digits
    Digest(String),
}

impl ReleasePin {
    /// Read `name@version` or `sha256:…`; nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(digest) = text.strip_prefix("sha256:") {
            let hexadecimal = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
            return (digest.len() == 64 && digest.bytes().all(hexadecimal)).then(|| Self::Digest(text.to_owned()));
        }
        let (name, version) = text.split_once('@')?;
        let plain = |part: &str| {
            !part.is_empty()
                && part.len() <= 64
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.+".contains(&b))
        };
        (plain(name) && plain(version)).then(|| Self::Version { name: name.to_owned(), version: version.to_owned() })
    }
}

impl std::fmt::Display for ReleasePin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Version { name, version } => write!(f, "{name}@{version}"),
            Self::Digest(digest) => f.write_str(digest),
        }
    }
}

/// A resource as the FHIR server holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// `Type/id` or `Type/id/_history/version`
    pub key: String,
    /// its JSON bytes; `None` when it was asked for and is not there
    pub content: Option<Vec<u8>>,
}

/// Something known about people, as the policy reads it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// the key a policy asks by
    pub key: String,
    /// JSON bytes
    pub value: Vec<u8>,
}

/// The whole input of one policy call: equal inputs give equal decisions.
#[derive(Debug, Clone, Copy)]
pub struct PolicyInput<'a> {
    /// the decision wanted
    pub decision: &'a DecisionRequest,
    /// resources at hand
    pub stored: &'a [Stored],
    /// facts at hand
    pub facts: &'a [Fact],
    /// no more will come
    pub facts_final: bool,
    /// settings of the release, JSON bytes
    pub settings: &'a [u8],
}

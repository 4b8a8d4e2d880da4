//! Why a request is not one this host can decide on.

/// A request that is malformed or could be read in more than one way.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct ParseError {
    /// `request.url`
    member: String,
    /// what is wrong
    kind: ParseErrorKind,
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseErrorKind {
    /// over a limit
    #[error("is over the limit of {limit} {unit}")]
    TooLarge {
        /// the limit
        limit: usize,
        /// of what
        unit: &'static str,
    },
    /// not in its grammar
    #[error("{0}")]
    Malformed(String),
    /// two servers could read it differently
    #[error("is ambiguous: {0}")]
    Ambiguous(String),
    /// understood, and not taken
    #[error("is not supported: {0}")]
    Unsupported(String),
}

impl ParseError {
    pub(super) fn malformed(member: impl Into<String>, what: impl Into<String>) -> Self {
        Self { member: member.into(), kind: ParseErrorKind::Malformed(what.into()) }
    }

    pub(super) fn ambiguous(member: impl Into<String>, what: impl Into<String>) -> Self {
        Self { member: member.into(), kind: ParseErrorKind::Ambiguous(what.into()) }
    }

    pub(super) fn unsupported(member: impl Into<String>, what: impl Into<String>) -> Self {
        Self { member: member.into(), kind: ParseErrorKind::Unsupported(what.into()) }
    }

    pub(super) fn too_large(member: impl Into<String>, limit: usize, unit: &'static str) -> Self {
        Self { member: member.into(), kind: ParseErrorKind::TooLarge { limit, unit } }
    }

    /// The member at fault.
    pub fn member(&self) -> &str {
        &self.member
    }

    /// What is wrong.
    pub fn kind(&self) -> &ParseErrorKind {
        &self.kind
    }
}

//! Where decisions are recorded.

use super::{DecisionLog, LogError};

/// A log, or nothing where nobody is answered.
pub enum Recorder {
    /// a durable log
    Log(DecisionLog),
    /// offline decisions on a person's own machine authorise nothing, so nothing is kept of them
    Nowhere,
}

impl Recorder {
    /// Append a line; returns once it is as durable as the log was asked to be.
    pub async fn append(&self, line: Vec<u8>) -> Result<(), LogError> {
        match self {
            Self::Log(log) => log.append(line).await,
            Self::Nowhere => Ok(()),
        }
    }
}

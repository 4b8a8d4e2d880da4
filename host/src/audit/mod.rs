//! The decision log: what was decided, on what, complete enough to decide it again.

pub mod bundle;
pub mod canonical;
pub mod filter;
pub mod grant;
pub mod log;
pub mod read;
pub mod record;
pub mod recorder;
mod segment;
mod writer;

pub use grant::{GrantInputRecord, GrantOutcomeRecord, GrantRecord};
pub use log::{DecisionLog, Durability, LogError, LogOptions};
pub use read::{LogLine, LogLines, ReadError, read_lines};
pub use record::{ChangeRecord, DecisionRecord, InputRecord, ObligationRecord, OutcomeRecord, RawText, ReleaseRecord};
pub use recorder::Recorder;

//! The durable append: an answer may leave once its line is on the disk.
//!
//! One thread writes. It takes whatever has queued up since the last time, writes it as one batch and
//! syncs once, so that many decisions share the cost of one sync.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::segment::{Directory, Medium};
use super::writer::{Job, Writer};

/// When an append is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// the line is on the disk
    #[default]
    Fsync,
    /// the operating system has the line: it survives a crash of the host, not a power cut
    Buffered,
}

/// How a log is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogOptions {
    /// lines that may wait; one more is refused
    pub queue: usize,
    /// bytes that may wait; a line that would exceed them is refused
    pub queue_bytes: usize,
    /// a segment is not appended to beyond this many bytes
    pub segment_bytes: u64,
    /// when an append is done
    pub durability: Durability,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            queue: 4096,
            queue_bytes: 64 * 1024 * 1024,
            segment_bytes: 256 * 1024 * 1024,
            durability: Durability::Fsync,
        }
    }
}

/// A line is not in the log, or may not be: its decision must not be answered as a permit.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogError {
    /// the log cannot be opened
    #[error("cannot open the decision log in `{}`", dir.display())]
    Open {
        /// the directory
        dir: PathBuf,
        /// why
        #[source]
        source: Arc<io::Error>,
    },
    /// the stem of the file names is not 1 to 64 of letters, digits, `-` and `_`
    #[error("`{0}` cannot be part of a file name")]
    Stem(String),
    /// more lines or bytes wait than the options allow
    #[error("the decision log is full")]
    Full,
    /// a line must be non-empty and hold no line break
    #[error("a record of the decision log is not one line")]
    NotOneLine,
    /// writing or syncing failed
    #[error("the decision log cannot be written")]
    Write(#[source] Arc<io::Error>),
    /// an earlier sync failed, and what is on the disk is unknown until the log is opened anew
    #[error("the decision log has failed and must be reopened")]
    Failed,
}

/// An open log. Shared by reference. Dropping it writes what is queued and waits for that.
#[derive(Debug)]
pub struct DecisionLog {
    queue: Option<SyncSender<Job>>,
    waiting_bytes: Arc<AtomicUsize>,
    queue_bytes: usize,
    writer: Option<JoinHandle<()>>,
}

impl DecisionLog {
    /// Open a log that writes new files `<dir>/<file_stem>-000001.jsonl` and so on. Files of earlier
    /// runs are never touched. The stem must be new, a ULID for instance.
    pub fn open(dir: &Path, options: LogOptions, file_stem: &str) -> Result<Self, LogError> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=64).contains(&file_stem.len()) || !file_stem.bytes().all(plain) {
            return Err(LogError::Stem(file_stem.chars().take(80).flat_map(char::escape_debug).collect()));
        }
        let failed = |source| LogError::Open { dir: dir.to_owned(), source: Arc::new(source) };
        std::fs::create_dir_all(dir).map_err(failed)?;
        let medium = Directory { dir: dir.to_owned(), stem: file_stem.to_owned() };
        Self::start(Box::new(medium), options).map_err(failed)
    }

    pub(super) fn start(medium: Box<dyn Medium>, options: LogOptions) -> io::Result<Self> {
        let (queue, jobs) = sync_channel(options.queue);
        let waiting_bytes = Arc::new(AtomicUsize::new(0));
        let writer = Writer::new(medium, options, jobs, Arc::clone(&waiting_bytes))?;
        let writer = std::thread::Builder::new().name("decision-log".into()).spawn(move || writer.run())?;
        Ok(Self { queue: Some(queue), waiting_bytes, queue_bytes: options.queue_bytes, writer: Some(writer) })
    }

    /// Append one line, given without its line break. Returns once it is durable.
    ///
    /// A full queue is an error at once. When the future is dropped early the line is written all the same.
    pub async fn append(&self, line: Vec<u8>) -> Result<(), LogError> {
        let done = self.enqueue(line)?;
        // The writer answers every job, unless its thread died.
        done.await.unwrap_or(Err(LogError::Failed))
    }

    /// As [`DecisionLog::append`] for a thread that may block, never inside an async runtime.
    pub fn append_blocking(&self, line: Vec<u8>) -> Result<(), LogError> {
        self.enqueue(line)?.blocking_recv().unwrap_or(Err(LogError::Failed))
    }

    fn enqueue(&self, mut line: Vec<u8>) -> Result<oneshot::Receiver<Result<(), LogError>>, LogError> {
        if line.is_empty() || line.iter().any(|byte| matches!(byte, b'\n' | b'\r')) {
            return Err(LogError::NotOneLine);
        }
        line.push(b'\n');
        let queue = self.queue.as_ref().ok_or(LogError::Failed)?;
        let length = line.len();
        let fits = |waiting: usize| waiting.checked_add(length).filter(|sum| *sum <= self.queue_bytes);
        self.waiting_bytes.fetch_update(Ordering::AcqRel, Ordering::Acquire, fits).map_err(|_| LogError::Full)?;
        let (done, answer) = oneshot::channel();
        queue.try_send(Job { line, done }).map_err(|refused| {
            self.waiting_bytes.fetch_sub(length, Ordering::AcqRel);
            match refused {
                TrySendError::Full(_) => LogError::Full,
                TrySendError::Disconnected(_) => LogError::Failed,
            }
        })?;
        Ok(answer)
    }

    /// Write what is queued, sync it and stop. Blocks.
    pub fn close(self) {
        drop(self);
    }
}

impl Drop for DecisionLog {
    fn drop(&mut self) {
        self.queue = None;
        if let Some(writer) = self.writer.take()
            && writer.join().is_err()
        {
            tracing::error!("the thread of the decision log panicked");
        }
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;

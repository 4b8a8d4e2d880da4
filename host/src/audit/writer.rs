//! The thread behind the log: batches, syncs, segments.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;

use tokio::sync::oneshot;

use super::log::{Durability, LogError, LogOptions};
use super::segment::{Medium, Segment};

/// The most lines of one batch: bounds how long the first of them waits for the last.
const BATCH_LINES: usize = 1024;
/// No line joins a batch that holds this many bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// A line with its line break, and who waits for it.
pub(super) struct Job {
    pub(super) line: Vec<u8>,
    pub(super) done: oneshot::Sender<Result<(), LogError>>,
}

/// The segment being written.
struct Open {
    segment: Box<dyn Segment>,
    /// bytes that were written and, where asked for, synced
    length: u64,
}

/// Owns the files.
pub(super) struct Writer {
    medium: Box<dyn Medium>,
    options: LogOptions,
    jobs: Receiver<Job>,
    waiting_bytes: Arc<AtomicUsize>,
    open: Option<Open>,
    number: u32,
    /// INVARIANT: once set it stays: after a failed sync the kernel may have dropped the pages it could
    /// not write and call the next sync a success, so nothing said after it can be believed.
    failed: bool,
}

impl Writer {
    /// Make the first segment, so that a directory that cannot be written is found before serving.
    pub(super) fn new(
        medium: Box<dyn Medium>,
        options: LogOptions,
        jobs: Receiver<Job>,
        waiting_bytes: Arc<AtomicUsize>,
    ) -> io::Result<Self> {
        let mut writer = Self { medium, options, jobs, waiting_bytes, open: None, number: 0, failed: false };
        writer.open_next()?;
        Ok(writer)
    }

    /// Write until every sender is gone and the queue is empty.
    pub(super) fn run(mut self) {
        while let Ok(first) = self.jobs.recv() {
            let mut bytes = first.line.len();
            let mut batch = vec![first];
            while batch.len() < BATCH_LINES && bytes < BATCH_BYTES {
                let Ok(next) = self.jobs.try_recv() else { break };
                bytes += next.line.len();
                batch.push(next);
            }
            self.write(batch);
        }
        if let Err(error) = self.finish_segment() {
            tracing::error!(%error, "the decision log could not be synced at its end");
        }
    }

    /// Write a batch, one segment's share at a time.
    fn write(&mut self, batch: Vec<Job>) {
        let mut share = Vec::with_capacity(batch.len());
        let mut length = self.length();
        for job in batch {
            let line = job.line.len() as u64;
            // A line longer than a whole segment gets one of its own.
            if length > 0 && length.saturating_add(line) > self.options.segment_bytes {
                self.write_share(std::mem::take(&mut share));
                if let Err(error) = self.rotate() {
                    self.note(&error);
                }
                length = self.length();
            }
            length = length.saturating_add(line);
            share.push(job);
        }
        self.write_share(share);
    }

    /// Write lines into the open segment and tell everybody who waits for one of them.
    fn write_share(&mut self, share: Vec<Job>) {
        if share.is_empty() {
            return;
        }
        let mut bytes = Vec::with_capacity(share.iter().map(|job| job.line.len()).sum());
        share.iter().for_each(|job| bytes.extend_from_slice(&job.line));
        let outcome = self.append(&bytes);
        self.waiting_bytes.fetch_sub(bytes.len(), Ordering::AcqRel);
        for job in share {
            // Nobody waits any more when the request was given up: the line is in the log all the same.
            let _ = job.done.send(outcome.clone());
        }
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if self.failed {
            return Err(LogError::Failed);
        }
        if self.open.is_none() {
            self.open_next().map_err(|error| self.note(&error))?;
        }
        let Some(open) = self.open.as_mut() else { return Err(LogError::Failed) };
        if let Err(error) = open.segment.write_all(bytes) {
            // A torn line may only stand at the end of a file: take it back, and go on in a new file.
            self.failed = open.segment.truncate(open.length).is_err();
            self.open = None;
            return Err(self.note(&error));
        }
        if self.options.durability == Durability::Fsync
            && let Err(error) = open.segment.sync()
        {
            self.failed = true;
            return Err(self.note(&error));
        }
        open.length = open.length.saturating_add(bytes.len() as u64);
        Ok(())
    }

    fn rotate(&mut self) -> io::Result<()> {
        if self.failed {
            return Ok(());
        }
        self.finish_segment()?;
        self.open_next()
    }

    /// Leave the open segment complete on the disk.
    fn finish_segment(&mut self) -> io::Result<()> {
        let Some(mut open) = self.open.take() else { return Ok(()) };
        if self.failed {
            return Ok(());
        }
        open.segment.sync().inspect_err(|_| self.failed = true)
    }

    /// A number is used once, whether or not its file could be made.
    fn open_next(&mut self) -> io::Result<()> {
        self.number = self.number.checked_add(1).ok_or(io::ErrorKind::FileTooLarge)?;
        let segment = self.medium.create(self.number)?;
        self.open = Some(Open { segment, length: 0 });
        Ok(())
    }

    fn length(&self) -> u64 {
        self.open.as_ref().map_or(0, |open| open.length)
    }

    fn note(&self, error: &io::Error) -> LogError {
        tracing::error!(%error, failed = self.failed, "the decision log cannot be written");
        // `io::Error` cannot be cloned, and every waiter gets one.
        LogError::Write(Arc::new(io::Error::new(error.kind(), error.to_string())))
    }
}

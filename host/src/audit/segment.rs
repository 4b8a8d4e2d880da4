//! Where the lines go: files that are only ever appended to.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::PathBuf;

/// One file of the log.
pub(super) trait Segment: Send {
    /// Hand all bytes to the operating system.
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Return once everything written is on the disk.
    fn sync(&mut self) -> io::Result<()>;
    /// Take back what was written after the first `length` bytes.
    fn truncate(&mut self, length: u64) -> io::Result<()>;
}

/// Makes segments. Tests put failing ones in its place.
pub(super) trait Medium: Send {
    /// Make a new file with this number. It is durable in its directory when this returns.
    fn create(&mut self, number: u32) -> io::Result<Box<dyn Segment>>;
}

/// Segments in a directory: `<dir>/<stem>-000001.jsonl`.
#[derive(Debug)]
pub(super) struct Directory {
    pub(super) dir: PathBuf,
    pub(super) stem: String,
}

impl Medium for Directory {
    fn create(&mut self, number: u32) -> io::Result<Box<dyn Segment>> {
        let path = self.dir.join(format!("{}-{number:06}.jsonl", self.stem));
        // Never an existing file: another process may be writing it, or a crash may have torn its end.
        let file = OpenOptions::new().append(true).create_new(true).open(path)?;
        File::open(&self.dir)?.sync_all()?;
        Ok(Box::new(FileSegment(file)))
    }
}

struct FileSegment(File);

impl Segment for FileSegment {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn truncate(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

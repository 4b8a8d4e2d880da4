//! The file of what was rejected: where it stood, what it was, and why.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::ImportError;

/// The rejects of one file. It is there once something is rejected.
pub(super) struct Rejects {
    path: PathBuf,
    file: Option<File>,
    pending: Vec<u8>,
    written: u64,
}

impl Rejects {
    /// Those of a file; what an earlier run wrote beyond the position it noted is written again.
    pub(super) fn open(folder: &Path, of: &Path, told_apart: &str, keep: u64) -> Result<Self, ImportError> {
        let name = of.file_name().unwrap_or_default().to_string_lossy();
        let path = folder.join(format!("{name}-{told_apart}.ndjson"));
        let mut rejects = Self { path, file: None, pending: Vec::new(), written: keep };
        if keep > 0 {
            rejects.file = Some(rejects.opened(keep)?);
        } else if rejects.path.exists() {
            std::fs::remove_file(&rejects.path).map_err(|source| rejects.failed(source))?;
        }
        Ok(rejects)
    }

    /// Note a reject; `entry` counts from 0 within a bundle.
    pub(super) fn write(
        &mut self,
        line: u64,
        entry: Option<usize>,
        resource: &str,
        reason: &str,
    ) -> Result<(), ImportError> {
        let mut reject = json!({ "line": line, "resource": resource, "reason": reason });
        if let (Some(entry), Some(members)) = (entry, reject.as_object_mut()) {
            members.insert("entry".into(), json!(entry));
        }
        self.pending.extend_from_slice(reject.to_string().as_bytes());
        self.pending.push(b'\n');
        Ok(())
    }

    /// Write what is noted to the disk; the size of the file then.
    pub(super) fn sync(&mut self) -> Result<u64, ImportError> {
        if self.pending.is_empty() {
            return Ok(self.written);
        }
        let mut file = match self.file.take() {
            Some(file) => file,
            None => self.opened(0)?,
        };
        let pending = std::mem::take(&mut self.pending);
        file.write_all(&pending).and_then(|()| file.sync_data()).map_err(|source| self.failed(source))?;
        self.written += pending.len() as u64;
        self.file = Some(file);
        Ok(self.written)
    }

    /// Where they are, if there are any.
    pub(super) fn close(mut self) -> Result<Option<PathBuf>, ImportError> {
        self.sync()?;
        Ok((self.written > 0).then_some(self.path))
    }

    fn opened(&self, keep: u64) -> Result<File, ImportError> {
        let open = || {
            if let Some(folder) = self.path.parent() {
                DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            }
            // Rejects name people: they are for who runs the import.
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create(true).truncate(false).mode(0o600).open(&self.path)?;
            if file.metadata()?.len() < keep {
                let gone = "the rejects an earlier run wrote are not here: give the folder it wrote them to";
                return Err(std::io::Error::new(std::io::ErrorKind::NotFound, gone));
            }
            file.set_len(keep)?;
            file.seek(SeekFrom::Start(keep))?;
            Ok(file)
        };
        open().map_err(|source| self.failed(source))
    }

    fn failed(&self, source: std::io::Error) -> ImportError {
        ImportError::File { path: self.path.clone(), source }
    }
}

//! A file as lines: NDJSON, or one document in place of a line.

use std::fs::File;
use std::io::{BufRead, BufReader, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use sha2::{Digest as _, Sha256};

use super::ImportError;
use crate::store::imports::Position;

/// Bytes of a line; a longer one is rejected.
const LINE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Bytes of a document that is not NDJSON.
const DOCUMENT_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A line, or why it could not be read.
pub(super) struct Line {
    /// from 1
    pub(super) number: u64,
    pub(super) bytes: Result<Vec<u8>, &'static str>,
}

/// A file that is read.
pub(super) struct Input {
    reader: BufReader<File>,
    is_document: bool,
    pub(super) bytes: u64,
    pub(super) line: u64,
    pub(super) offset: u64,
}

impl Input {
    /// Open a file and go to where an earlier run was.
    pub(super) fn open(path: &Path, from: Position) -> Result<Self, ImportError> {
        let failed = |source| ImportError::File { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let mut reader = BufReader::with_capacity(1 << 20, file);
        // Its name tells, if it does; a first line that was cut off must not make one document of a file of lines.
        let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("ndjson"));
        let is_document = !named && is_document(&mut reader).map_err(failed)?;
        if is_document && bytes > DOCUMENT_BYTES_MAX {
            return Err(ImportError::TooLarge { path: path.to_owned(), most: DOCUMENT_BYTES_MAX });
        }
        reader.seek(SeekFrom::Start(from.offset)).map_err(failed)?;
        Ok(Self { reader, is_document, bytes, line: from.line, offset: from.offset })
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self) -> std::io::Result<Option<Line>> {
        loop {
            let mut bytes = Vec::new();
            let most = if self.is_document { DOCUMENT_BYTES_MAX } else { LINE_BYTES_MAX };
            let mut limited = (&mut self.reader).take(most + 1);
            let count = if self.is_document {
                limited.read_to_end(&mut bytes)?
            } else {
                limited.read_until(b'\n', &mut bytes)?
            };
            if count == 0 {
                return Ok(None);
            }
            self.offset += count as u64;
            self.line += 1;
            if count as u64 > most && bytes.last() != Some(&b'\n') {
                self.offset += skip_line(&mut self.reader)?;
                return Ok(Some(Line { number: self.line, bytes: Err("the line is longer than 16 MiB") }));
            }
            if !bytes.trim_ascii().is_empty() {
                return Ok(Some(Line { number: self.line, bytes: Ok(bytes) }));
            }
        }
    }
}

/// Whether the first line is no JSON by itself, so that the file has to be one document.
fn is_document(reader: &mut BufReader<File>) -> std::io::Result<bool> {
    loop {
        let mut first = Vec::new();
        let count = reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut first)?;
        if count == 0 || count as u64 > LINE_BYTES_MAX {
            return Ok(false);
        }
        if !first.trim_ascii().is_empty() {
            let is_open = serde_json::from_slice::<serde::de::IgnoredAny>(&first).is_err_and(|error| error.is_eof());
            return Ok(is_open);
        }
    }
}

/// Read to the end of a line without keeping it.
fn skip_line(reader: &mut BufReader<File>) -> std::io::Result<u64> {
    let mut skipped = 0;
    loop {
        let buffer = reader.fill_buf()?;
        let (found, count) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (true, at + 1),
            None => (buffer.is_empty(), buffer.len()),
        };
        reader.consume(count);
        skipped += count as u64;
        if found {
            return Ok(skipped);
        }
    }
}

/// The digest of a file's content, `sha256:…`.
pub(super) fn digest(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(buffer.get(..count).unwrap_or_default());
    }
    let hex: String = hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("sha256:{hex}"))
}

//! Reading the log back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// No record is longer: bodies, stored resources and facts are all bounded far below.
pub const MAX_LINE_BYTES: u64 = 64 * 1024 * 1024;

/// One record as it stands in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// name of its segment
    pub segment: String,
    /// place in the segment, from 1
    pub number: u64,
    /// the line without its line break
    pub bytes: Vec<u8>,
}

/// The log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// a directory or file cannot be read
    #[error("cannot read `{}`", path.display())]
    Io {
        /// which
        path: PathBuf,
        /// why
        #[source]
        source: io::Error,
    },
    /// a line is longer than [`MAX_LINE_BYTES`]
    #[error("line {number} of `{}` is longer than {MAX_LINE_BYTES} bytes", path.display())]
    TooLong {
        /// the segment
        path: PathBuf,
        /// the line, from 1
        number: u64,
    },
}

/// All lines of a log, segment by segment in the order of their names.
///
/// A last line without its line break was torn by a crash, or is being written: nobody was answered on
/// the strength of it, so it is left out and counted.
#[derive(Debug)]
pub struct LogLines {
    segments: std::vec::IntoIter<PathBuf>,
    current: Option<(PathBuf, u64, BufReader<File>)>,
    torn: u64,
}

/// Read the log in `dir`, other files than `*.jsonl` aside. After an error the rest of that segment is
/// skipped; a caller that needs all of it stops there.
pub fn read_lines(dir: &Path) -> Result<LogLines, ReadError> {
    let failed = |source| ReadError::Io { path: dir.to_owned(), source };
    let mut segments = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let is_file = entry.file_type().map_err(failed)?.is_file();
        let path = entry.path();
        if is_file && path.extension().is_some_and(|extension| extension == "jsonl") {
            segments.push(path);
        }
    }
    segments.sort();
    Ok(LogLines { segments: segments.into_iter(), current: None, torn: 0 })
}

impl LogLines {
    /// Segments so far that end in a torn line.
    pub fn torn(&self) -> u64 {
        self.torn
    }

    /// Open the next segment; `None` after the last.
    fn advance(&mut self) -> Option<Result<(), ReadError>> {
        let path = self.segments.next()?;
        Some(match File::open(&path) {
            Ok(file) => {
                self.current = Some((path, 0, BufReader::new(file)));
                Ok(())
            }
            Err(source) => Err(ReadError::Io { path, source }),
        })
    }
}

impl Iterator for LogLines {
    type Item = Result<LogLine, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let Some((path, number, reader)) = self.current.as_mut() else {
                match self.advance()? {
                    Ok(()) => continue,
                    Err(error) => return Some(Err(error)),
                }
            };
            *number += 1;
            let mut bytes = Vec::new();
            let error = match reader.take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut bytes) {
                Ok(_) if bytes.last() == Some(&b'\n') => {
                    bytes.pop();
                    let segment = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    return Some(Ok(LogLine { segment, number: *number, bytes }));
                }
                Ok(_) if bytes.len() as u64 > MAX_LINE_BYTES => {
                    ReadError::TooLong { path: path.clone(), number: *number }
                }
                Ok(read) => {
                    self.torn += u64::from(read > 0);
                    self.current = None;
                    continue;
                }
                Err(source) => ReadError::Io { path: path.clone(), source },
            };
            self.current = None;
            return Some(Err(error));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ReadError, read_lines};

    fn texts(dir: &std::path::Path) -> (Vec<String>, u64) {
        let mut lines = read_lines(dir).unwrap();
        let texts = lines.by_ref().map(|line| String::from_utf8(line.unwrap().bytes).unwrap()).collect();
        (texts, lines.torn())
    }

    #[test]
    fn torn_last_lines_are_left_out_and_counted_in_every_segment() {
        let dir = tempfile::tempdir().unwrap();
        let files = [("b-000001.jsonl", "3\n{\"tor"), ("a-000002.jsonl", "2\n"), ("a-000001.jsonl", "1\nx")];
        for (name, text) in files.iter().chain(&[("c-000001.jsonl", ""), ("notes.txt", "no\n")]) {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        assert_eq!(texts(dir.path()), (vec!["1".into(), "2".into(), "3".into()], 2));
    }

    #[test]
    fn a_line_knows_its_segment_and_number() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a-000001.jsonl"), "1\n2\n").unwrap();
        let last = read_lines(dir.path()).unwrap().last().unwrap().unwrap();
        assert_eq!((last.segment.as_str(), last.number), ("a-000001.jsonl", 2));
    }

    #[test]
    fn a_directory_that_is_not_there_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(read_lines(&dir.path().join("none")), Err(ReadError::Io { .. })));
    }
}

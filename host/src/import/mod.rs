//! Taking what FHIR resources say about people into the directory.
//!
//! A file is NDJSON, a resource or a bundle a line, or one JSON document. It is read in chunks; each is one
//! transaction that also notes how far the file was read, so that an import that was cut off goes on where it was and
//! ends in the same state. Reading a file again changes nothing.

mod input;
mod rejects;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use chartgate_model::{Relationship, strict};
use serde_json::Value;

use crate::derived::{Derived, Reading, Reject, TYPES, derive, origin};
use crate::edge::Edge;
use crate::people;
use crate::store::imports::Position;
use crate::store::relationships::IMPORT;
use crate::store::{Store, StoreError, validate};

use input::{Input, Line};
use rejects::Rejects;

/// Lines of one transaction.
const CHUNK_LINES: usize = 1_000;
/// Events that ended longer ago than this are not taken over: no window a release could reasonably have reaches them,
/// and they would fill the list of who worked here for years.
const PAST_MS: u64 = 400 * 24 * 60 * 60 * 1_000;
/// Kinds of relationships that events give.
const EVENTS: [&str; 2] = ["appointment", "encounter"];
/// Nesting of a resource.
const DEPTH_MAX: usize = 96;

/// An import cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// a file cannot be read or written
    #[error("`{}`", path.display())]
    File {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: std::io::Error,
    },
    /// a document that is not NDJSON has to fit into memory
    #[error("`{}` is one document of more than {most} bytes; write it as NDJSON, a resource a line", path.display())]
    TooLarge {
        /// the file
        path: PathBuf,
        /// the most there may be
        most: u64,
    },
    /// the directory cannot be written
    #[error("the directory")]
    Store(#[from] StoreError),
}

/// What an import came to, or has come to so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// bytes of the file
    pub bytes: u64,
    /// bytes read, those of an earlier run among them
    pub read: u64,
    /// lines read, those of an earlier run among them
    pub lines: u64,
    /// lines an earlier run had read
    pub resumed_at: u64,
    /// resources taken over
    pub resources: u64,
    /// resources of types that say nothing about people
    pub skipped: u64,
    /// resources that were rejected, those of an earlier run among them
    pub rejected: u64,
    /// rows that were not there
    pub created: u64,
    /// rows that differed, or are gone
    pub updated: u64,
    /// rows that were so already
    pub unchanged: u64,
    /// revision of the directory
    pub revision: u64,
}

/// What is imported, and where to.
pub struct Import<'a> {
    /// the directory
    pub store: &'a Store,
    /// tenant
    pub tenant: &'a str,
    /// how resources are read
    pub reading: &'a Reading,
    /// folder for files of rejects
    pub rejects: &'a Path,
    /// the time
    pub edge: &'a Edge,
}

/// One file taken over.
#[derive(Debug)]
pub struct Imported {
    /// digest of its content, `sha256:…`
    pub digest: String,
    /// what it came to
    pub progress: Progress,
    /// where its rejects are, if there are any
    pub rejects: Option<PathBuf>,
}

impl Import<'_> {
    /// Take over one file, telling of the progress after each chunk.
    pub fn file(&self, path: &Path, tell: &mut dyn FnMut(&Progress)) -> Result<Imported, ImportError> {
        let failed = |source| ImportError::File { path: path.to_owned(), source };
        let digest = input::digest(path).map_err(failed)?;
        // Read otherwise, it would be another file.
        let key = format!("{digest} {}", self.reading.name());
        let from = self.store.import_position(self.tenant, &key)?.unwrap_or_default();
        let mut input = Input::open(path, from)?;
        let mut rejects =
            Rejects::open(self.rejects, path, &format!("{}-{}", self.tenant, short(&digest)), from.rejects)?;
        let mut progress = Progress {
            bytes: input.bytes,
            read: from.offset,
            lines: from.line,
            resumed_at: from.line,
            rejected: from.rejected,
            ..Progress::default()
        };
        tell(&progress);
        loop {
            let mut chunk = Vec::new();
            let mut lines = 0;
            while lines < CHUNK_LINES
                && let Some(line) = input.next().map_err(failed)?
            {
                lines += 1;
                self.line(&line, &mut chunk, &mut progress, &mut rejects)?;
            }
            let ended = lines < CHUNK_LINES;
            // Before the position is noted that says they were written.
            let written = rejects.sync()?;
            (progress.read, progress.lines) = (input.offset, input.line);
            let position =
                Position { line: input.line, offset: input.offset, rejects: written, rejected: progress.rejected };
            let position = (!ended).then_some(position);
            let bulk = self.store.import_chunk(self.tenant, &key, &chunk, position, (self.edge.now)())?;
            for (sum, more) in [
                (&mut progress.created, bulk.created),
                (&mut progress.updated, bulk.updated),
                (&mut progress.unchanged, bulk.unchanged),
            ] {
                *sum += more as u64;
            }
            progress.revision = bulk.revision;
            tell(&progress);
            if ended {
                break;
            }
        }
        Ok(Imported { digest, progress, rejects: rejects.close()? })
    }

    /// What a line says: a resource, or a bundle of some.
    fn line(
        &self,
        line: &Line,
        chunk: &mut Vec<Derived>,
        progress: &mut Progress,
        rejects: &mut Rejects,
    ) -> Result<(), ImportError> {
        let mut reject = |resource: &str, entry: Option<usize>, reason: String| {
            progress.rejected += 1;
            rejects.write(line.number, entry, resource, &reason)
        };
        let bytes = match &line.bytes {
            Ok(bytes) => bytes,
            Err(reason) => return reject("", None, (*reason).to_owned()),
        };
        if let Err(error) = strict::check(bytes, DEPTH_MAX) {
            // SECURITY: what it says is not taken, and what an earlier version said is not left standing.
            let value = serde_json::from_slice::<Value>(bytes).unwrap_or_default();
            chunk.extend(entries(&value).iter().filter_map(|entry| self.withdrawn(entry)));
            return reject("", None, error.to_string());
        }
        let Ok(value) = serde_json::from_slice::<Value>(bytes) else {
            return reject("", None, "not JSON".into());
        };
        let is_bundle = is_bundle(&value);
        if is_bundle && value.get("entry").is_some_and(|entries| !entries.is_array()) {
            return reject("", None, "`entry` is not a list".into());
        }
        // FHIR R4, RESTful API, "history": the newest version of each resource stands first.
        let is_history = value.get("type").and_then(Value::as_str) == Some("history");
        let mut seen = BTreeSet::new();
        for (at, entry) in entries(&value).iter().enumerate() {
            let of = deleted(entry).or_else(|| origin(entry.get("resource").unwrap_or(entry), self.reading));
            if is_history && is_bundle && of.is_some_and(|of| !seen.insert(of)) {
                progress.skipped += 1;
                continue;
            }
            if let Some(gone) = deleted(entry).filter(|_| is_bundle) {
                progress.resources += 1;
                chunk.push(Derived::deleted(gone));
                continue;
            }
            let resource = if is_bundle { entry.get("resource").unwrap_or(&Value::Null) } else { entry };
            if is_silent(resource) {
                progress.skipped += 1;
                continue;
            }
            match self.taken(resource) {
                Ok(mut derived) => {
                    progress.resources += 1;
                    let oldest = (self.edge.now)().0.saturating_sub(PAST_MS);
                    let is_past = |given: &Relationship| given.end.is_some_and(|end| end.0 < oldest);
                    // A grant that has ended says so for ever.
                    derived.relationships.retain(|given| !(EVENTS.contains(&&*given.kind) && is_past(given)));
                    chunk.push(derived);
                }
                Err(reason) => {
                    progress.rejected += 1;
                    rejects.write(line.number, is_bundle.then_some(at), &named(resource), &reason)?;
                    chunk.extend(origin(resource, self.reading).map(Derived::rejected));
                }
            }
        }
        Ok(())
    }

    /// What is left of an entry that cannot be taken: nothing is given by it any more.
    fn withdrawn(&self, entry: &Value) -> Option<Derived> {
        let gone = deleted(entry).map(Derived::deleted);
        gone.or_else(|| origin(entry.get("resource").unwrap_or(entry), self.reading).map(Derived::rejected))
    }

    /// What a resource says, if all of it is acceptable; else why it is not.
    fn taken(&self, resource: &Value) -> Result<Derived, String> {
        let derived = derive(resource, self.reading).map_err(|error: Reject| error.to_string())?;
        for given in &derived.relationships {
            validate::relationship(given).map_err(|error| error.to_string())?;
        }
        for patch in &derived.records {
            people::record(patch.class, &patch.id, IMPORT, Value::Object(patch.said()))
                .map_err(|error| error.to_string())?;
        }
        Ok(derived)
    }
}

fn is_bundle(value: &Value) -> bool {
    value.get("resourceType").and_then(Value::as_str) == Some("Bundle")
}

/// The entries of a bundle, or the one resource that is none.
fn entries(value: &Value) -> &[Value] {
    match value.get("entry").and_then(Value::as_array) {
        Some(entries) if is_bundle(value) => entries,
        None if is_bundle(value) => &[],
        _ => std::slice::from_ref(value),
    }
}

/// Enough of a digest to tell files apart.
fn short(digest: &str) -> String {
    digest.trim_start_matches("sha256:").chars().take(12).collect()
}

/// The resource an entry of a transaction or a history deletes, `Encounter/9`.
fn deleted(entry: &Value) -> Option<String> {
    let request = entry.get("request").filter(|request| request.get("method") == Some(&"DELETE".into()))?;
    let url = request.get("url").and_then(Value::as_str)?;
    let mut parts = url.rsplit('/');
    let (id, kind) = (parts.next()?, parts.next()?);
    (TYPES.contains(&kind) && validate::is_id(id)).then(|| format!("{kind}/{id}"))
}

/// A resource of a type nothing is derived from.
fn is_silent(resource: &Value) -> bool {
    let kind = resource.get("resourceType").and_then(Value::as_str);
    kind.is_some_and(|kind| kind != "Bundle" && !TYPES.contains(&kind))
}

/// `Encounter/9`, as far as it says so.
fn named(resource: &Value) -> String {
    let text = |name| resource.get(name).and_then(Value::as_str).unwrap_or("?");
    format!("{}/{}", text("resourceType"), text("id"))
}

#[cfg(test)]
mod tests;

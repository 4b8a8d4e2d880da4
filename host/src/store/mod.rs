//! The embedded database: relationships, records of people and clients, and the state of the rollout.
//!
//! One file, `<data>/chartgate.db`, that several processes may use at once: the host reads while the
//! command line grants and revokes. Nothing is cached above SQLite, so what one process commits, the
//! next read of every other process sees.

pub mod error;
pub mod imports;
pub mod oauth;
pub mod records;
pub mod relationships;
pub mod rollout;
mod schema;
pub mod validate;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

pub use error::StoreError;
pub use records::RecordPage;
pub use relationships::{Bulk, Change, Cursor, Effect, Filter, Page};
pub use rollout::{Pin, Rollout, RolloutError, RolloutState};
pub use validate::InvalidMember;

/// Name of the database inside the data directory.
pub const FILE_NAME: &str = "chartgate.db";
/// How long a statement waits for another process's lock, in milliseconds.
const BUSY_TIMEOUT_MS: u64 = 5_000;
/// How much of the file the readers map instead of copying page by page. A disk that fails under a mapping ends
/// the process, which permits nothing; writes never go through one.
const MAPPED_BYTES: i64 = 1 << 30;
/// Read-only connections: more than cores are of no use, fewer make threads wait.
const READERS: usize = 8;

/// The open database. Shared by reference; every method may be called from any thread, and blocks.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Vec<Mutex<Connection>>,
}

impl Store {
    /// Open `<data_dir>/chartgate.db`, making directory and file where they are missing and bringing
    /// an older schema up to date. Every error names the file.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(data_dir)
            .map_err(|source| StoreError::CreateDir { path: data_dir.to_owned(), source })?;
        let path = data_dir.join(FILE_NAME);
        keep_private(&path).map_err(|source| StoreError::CreateDir { path: path.clone(), source })?;
        let writer = open_writer(&path).map_err(|error| name_file(error, &path))?;
        let readers = (0..READERS)
            .map(|_| open_reader(&path).map(Mutex::new).map_err(|error| name_file(error.into(), &path)))
            .collect::<Result<_, _>>()?;
        Ok(Self { path, writer: Mutex::new(writer), readers })
    }

    /// The database file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Run `work` on one snapshot of the database: all its reads see the same revision.
    fn read<T>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let Some(slot) = self.readers.get(thread_index() % READERS) else {
            return Err(StoreError::Unreadable { column: "readers" });
        };
        let mut connection = lock(slot);
        let run = || {
            let transaction = connection.transaction()?;
            let answer = work(&transaction)?;
            transaction.commit()?;
            Ok(answer)
        };
        run().map_err(|error| name_file(error, &self.path))
    }

    /// Run `work` as one change: all of it or, on any error, nothing.
    fn write<T, E: From<StoreError>>(&self, work: impl FnOnce(&Transaction<'_>) -> Result<T, E>) -> Result<T, E> {
        let mut connection = lock(&self.writer);
        let named = |error: rusqlite::Error| E::from(name_file(error.into(), &self.path));
        // Immediate, so that what the change reads cannot be outdated when it writes.
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(named)?;
        let answer = work(&transaction)?;
        transaction.commit().map_err(named)?;
        Ok(answer)
    }
}

/// Make the file, where it is missing, for its owner alone: it holds private keys, and who is whose patient. SQLite
/// gives the files beside it the same permissions.
fn keep_private(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::OpenOptionsExt as _;
    std::fs::OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

/// A panic elsewhere leaves no half-done change: the transaction it dropped was rolled back.
fn lock(slot: &Mutex<Connection>) -> MutexGuard<'_, Connection> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A number for the calling thread, given out in turn.
fn thread_index() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static INDEX: usize = NEXT.fetch_add(1, Ordering::Relaxed));
    INDEX.with(|index| *index)
}

fn open_writer(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)
        .map_err(|source| StoreError::Open { path: path.to_owned(), source })?;
    connection.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))?;
    // Before anything is changed: whose file it is, and that it can be read at all.
    schema::check(&connection, path)?;
    let mode: String = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    if !mode.eq_ignore_ascii_case("wal") {
        return Err(StoreError::NotWal { path: path.to_owned(), mode });
    }
    // An acknowledged revocation must survive a power cut.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    schema::migrate(&mut connection, path)?;
    Ok(connection)
}

fn open_reader(path: &Path) -> Result<Connection, rusqlite::Error> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(BUSY_TIMEOUT_MS))?;
    connection.pragma_update(None, "mmap_size", MAPPED_BYTES)?;
    // Otherwise the planner looks at the values and every question is compiled anew.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(connection)
}

/// Turn SQLite's word for a damaged file into the error that names it.
fn name_file(error: StoreError, path: &Path) -> StoreError {
    match error {
        StoreError::Sql(source) | StoreError::Open { source, .. } if is_damage(&source) => {
            StoreError::Corrupt { path: path.to_owned(), source }
        }
        other => other,
    }
}

fn is_damage(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::{FILE_NAME, Store, StoreError};

    #[test]
    fn a_fresh_directory_becomes_a_database_that_opens_again() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("a/b");
        drop(Store::open(&data).unwrap());
        let again = Store::open(&data).unwrap();
        assert_eq!(again.path(), data.join(FILE_NAME));
    }

    #[test]
    fn the_writer_is_durable_and_in_wal_mode() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let writer = store.writer.lock().unwrap();
        let text: String = writer.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(text, "wal");
        for (pragma, value) in [("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 5000)] {
            let found: i64 = writer.pragma_query_value(None, pragma, |row| row.get(0)).unwrap();
            assert_eq!(found, value, "{pragma}");
        }
    }

    #[test]
    fn readers_map_the_file_and_the_writer_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let mapped = |connection: &Connection| -> i64 {
            connection.pragma_query_value(None, "mmap_size", |row| row.get(0)).unwrap()
        };
        assert_eq!(mapped(&store.writer.lock().unwrap()), 0);
        assert_eq!(mapped(&store.readers.first().unwrap().lock().unwrap()), super::MAPPED_BYTES);
    }

    #[test]
    fn readers_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let outcome = store.read(|transaction| Ok(transaction.execute("DELETE FROM relationships", [])?));
        assert!(outcome.is_err());
    }

    #[test]
    fn a_file_that_is_no_database_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let text = "not a database at all, ".repeat(100);
        std::fs::write(&path, &text).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
        assert!(error.to_string().contains(FILE_NAME));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text, "the file was touched");
    }

    #[test]
    fn a_truncated_database_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let file = std::fs::OpenOptions::new().write(true).open(dir.path().join(FILE_NAME)).unwrap();
        file.set_len(4096 + 100).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    }

    #[test]
    fn a_newer_schema_is_refused_with_both_versions() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::open(dir.path()).unwrap());
        let path = dir.path().join(FILE_NAME);
        Connection::open(&path).unwrap().pragma_update(None, "user_version", 5).unwrap();
        let error = Store::open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::NewerVersion { found: 5, known: 4, .. }), "{error:?}");
        assert!(error.to_string().contains(FILE_NAME));
    }

    #[test]
    fn another_programs_database_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs (x)").unwrap();
        assert!(matches!(Store::open(dir.path()).unwrap_err(), StoreError::Foreign { .. }));
        let mode: String =
            Connection::open(&path).unwrap().pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
        assert_eq!(mode, "delete");
    }

    #[test]
    fn a_data_directory_that_is_a_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        std::fs::write(&path, "x").unwrap();
        assert!(matches!(Store::open(&path).unwrap_err(), StoreError::CreateDir { .. }));
    }
}

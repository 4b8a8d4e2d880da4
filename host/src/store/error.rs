//! What can go wrong with the database.

use std::path::PathBuf;

use super::validate::InvalidMember;

/// The database could not be opened, read or written, or refuses what it was given.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// the data directory cannot be made
    #[error("cannot create the data directory `{}`", path.display())]
    CreateDir {
        /// the directory
        path: PathBuf,
        /// why
        #[source]
        source: std::io::Error,
    },
    /// SQLite cannot open the file
    #[error("cannot open the database `{}`", path.display())]
    Open {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: rusqlite::Error,
    },
    /// the file is no SQLite database, or a damaged one
    #[error("the database `{}` is corrupt or not a database", path.display())]
    Corrupt {
        /// the file
        path: PathBuf,
        /// what SQLite says
        #[source]
        source: rusqlite::Error,
    },
    /// a healthy database that another program made
    #[error("the database `{}` belongs to another program", path.display())]
    Foreign {
        /// the file
        path: PathBuf,
    },
    /// a later host wrote it
    #[error("the database `{}` has schema version {found}, this host knows versions up to {known}", path.display())]
    NewerVersion {
        /// the file
        path: PathBuf,
        /// the version found
        found: i64,
        /// the newest version this host can read
        known: i64,
    },
    /// the file system does not allow write-ahead logging
    #[error("the database `{}` cannot use write-ahead logging, it stays in mode `{mode}`", path.display())]
    NotWal {
        /// the file
        path: PathBuf,
        /// the journal mode SQLite fell back to
        mode: String,
    },
    /// a statement failed
    #[error("the database failed")]
    Sql(#[from] rusqlite::Error),
    /// the database holds a value no host of this version writes
    #[error("the database holds an unreadable `{column}`")]
    Unreadable {
        /// the column
        column: &'static str,
    },
    /// one member of what was given is not acceptable
    #[error(transparent)]
    Invalid(#[from] InvalidMember),
    /// one line of a bulk change is not acceptable: nothing of the chunk was stored
    #[error("entry {index}: {source}")]
    Entry {
        /// position in the chunk, from 0
        index: usize,
        /// what is wrong with it
        #[source]
        source: InvalidMember,
    },
}

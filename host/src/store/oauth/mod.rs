//! What the authorization server keeps.
//!
//! Rows hold what they are found and ended by in columns of their own; the rest is a JSON text that only
//! `crate::smart` reads and writes.
//!
//! INVARIANT: whatever may happen once (a code, a refresh token, a launch, an approval form, an assertion) is spent in
//! the transaction that writes what it is spent for, so that a crash leaves either both or neither.

mod accounts;
mod clients;
mod flows;
mod grants;
mod keys;
mod tokens;

pub use accounts::{AccountRow, EnrolmentRow, SessionRow};
pub use flows::{ApprovalRow, FlowRow, NewGrant};
pub use grants::GrantRow;
pub use keys::KeyRow;
pub use tokens::{AccessRow, CodeRow, NewAccess, NewRefresh, RefreshRow, Spent};

use chartgate_model::Millis;
use rusqlite::params;

use super::relationships::to_column;
use super::{Store, StoreError};

/// SHA-256 of a secret: what is looked up by it need not be compared in constant time.
pub type Digest = [u8; 32];

/// A time as a column holds it.
fn column(time: Millis) -> Result<i64, StoreError> {
    to_column(time.0, "time")
}

/// A time read back.
fn time(value: i64) -> Result<Millis, StoreError> {
    u64::try_from(value).map(Millis).map_err(|_| StoreError::Unreadable { column: "time" })
}

impl Store {
    /// Something this server keeps to itself for good: `fresh` where there is none yet.
    pub fn secret(&self, name: &str, fresh: &Digest) -> Result<Digest, StoreError> {
        self.write(|transaction| {
            transaction.execute("INSERT OR IGNORE INTO secrets (name, value) VALUES (?1, ?2)", params![name, fresh])?;
            let sql = "SELECT value FROM secrets WHERE name = ?1";
            Ok(transaction.query_row(sql, params![name], |row| row.get(0))?)
        })
    }

    /// Forget what has ended: nothing here is looked at any more.
    ///
    /// `before` lies a while in the past: a spent code or token is kept that long so that its replay is noticed.
    pub fn sweep(&self, before: Millis) -> Result<usize, StoreError> {
        let tables = [
            "DELETE FROM sessions WHERE max(expires_ms, coalesce(online_ms, 0)) < ?1",
            "DELETE FROM flows WHERE expires_ms < ?1",
            "DELETE FROM launches WHERE expires_ms < ?1",
            "DELETE FROM enrolments WHERE expires_ms < ?1",
            "DELETE FROM codes WHERE expires_ms < ?1",
            "DELETE FROM access_tokens WHERE expires_ms < ?1",
            "DELETE FROM refresh_tokens WHERE expires_ms < ?1",
            "DELETE FROM assertions WHERE expires_ms < ?1",
            "DELETE FROM grants WHERE expires_ms < ?1",
        ];
        self.write(|transaction| {
            let mut gone = 0;
            for sql in tables {
                gone += transaction.execute(sql, params![column(before)?])?;
            }
            Ok(gone)
        })
    }
}

//! Grants: what an app holds for a user, whatever tokens it is used with.

use chartgate_model::Millis;
use rusqlite::{Row, Transaction, params};

use super::{Digest, column, time};
use crate::store::{Store, StoreError};

/// What an app holds for a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantRow {
    /// ULID
    pub id: String,
    /// the approval it rests on
    pub approval: String,
    /// whose account
    pub account: String,
    /// which app
    pub client: String,
    /// as whom, `Patient/123`
    pub user: String,
    /// the session it ends with; absent when it outlives it
    pub session: Option<Digest>,
    /// scopes, context and what else tokens tell, JSON
    pub body: String,
    /// when it was made
    pub created: Millis,
    /// when tokens were last given out on it
    pub used: Millis,
    /// when nothing can come of it any more
    pub expires: Millis,
    /// when it was taken back
    pub revoked: Option<Millis>,
}

/// The columns of a grant named `g`, in the order [`read`] takes them.
macro_rules! grant_columns {
    () => {
        "g.id, g.approval, g.account, g.client, g.user, g.session, g.body, g.created_ms, g.used_ms, g.expires_ms, \
         g.revoked_ms"
    };
}
pub(super) use grant_columns;

/// Times as they stand in the row, checked by [`Raw::row`].
pub(super) struct Raw {
    row: GrantRow,
    times: (i64, i64, i64, Option<i64>),
}

/// Read the columns from `at` on.
pub(super) fn read(row: &Row<'_>, at: usize) -> rusqlite::Result<Raw> {
    let unread = Millis(0);
    let grant = GrantRow {
        id: row.get(at)?,
        approval: row.get(at + 1)?,
        account: row.get(at + 2)?,
        client: row.get(at + 3)?,
        user: row.get(at + 4)?,
        session: row.get(at + 5)?,
        body: row.get(at + 6)?,
        created: unread,
        used: unread,
        expires: unread,
        revoked: None,
    };
    Ok(Raw { row: grant, times: (row.get(at + 7)?, row.get(at + 8)?, row.get(at + 9)?, row.get(at + 10)?) })
}

impl Raw {
    pub(super) fn row(self) -> Result<GrantRow, StoreError> {
        let (created, used, expires, revoked) = self.times;
        Ok(GrantRow {
            created: time(created)?,
            used: time(used)?,
            expires: time(expires)?,
            revoked: revoked.map(time).transpose()?,
            ..self.row
        })
    }
}

pub(super) fn insert(transaction: &Transaction<'_>, tenant: &str, grant: &GrantRow) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO grants (id, approval, tenant, account, client, user, session, body, created_ms, used_ms, \
         expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
        params![
            grant.id,
            grant.approval,
            tenant,
            grant.account,
            grant.client,
            grant.user,
            grant.session,
            grant.body,
            column(grant.created)?,
            column(grant.used)?,
            column(grant.expires)?,
        ],
    )?;
    Ok(())
}

pub(super) fn revoke(transaction: &Transaction<'_>, id: &str, now: Millis) -> Result<(), StoreError> {
    let sql = "UPDATE grants SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms IS NULL";
    transaction.execute(sql, params![id, column(now)?])?;
    Ok(())
}

impl Store {
    /// Take a grant back: none of its tokens counts from now on.
    pub fn revoke_grant(&self, id: &str, now: Millis) -> Result<(), StoreError> {
        self.write(|transaction| revoke(transaction, id, now))
    }

    /// The grants made by an approval that were not taken back.
    pub fn grants_by(&self, approval: &str) -> Result<Vec<GrantRow>, StoreError> {
        self.read(|transaction| {
            let sql = concat!(
                "SELECT ",
                grant_columns!(),
                " FROM grants g WHERE g.approval = ?1 AND g.revoked_ms IS NULL ORDER BY g.id"
            );
            let mut statement = transaction.prepare_cached(sql)?;
            let mut grants = Vec::new();
            for raw in statement.query_map(params![approval], |row| read(row, 0))? {
                grants.push(raw?.row()?);
            }
            Ok(grants)
        })
    }
}

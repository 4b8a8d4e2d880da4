//! Codes, access tokens and refresh tokens.

use chartgate_model::Millis;
use rusqlite::{OptionalExtension as _, Transaction, params};

use super::grants::{grant_columns, read, revoke};
use super::{Digest, GrantRow, column, time};
use crate::store::{Store, StoreError};

/// A code and its grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRow {
    /// SHA-256 of the code
    pub id: Digest,
    /// what it is bound to, JSON
    pub body: String,
    /// when it ends
    pub expires: Millis,
    /// when it was spent, or spoilt
    pub used: Option<Millis>,
    /// what it is for
    pub grant: GrantRow,
}

/// A refresh token and its grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefreshRow {
    /// SHA-256 of the token
    pub id: Digest,
    /// when it ends
    pub expires: Millis,
    /// when it was first used, if it is one that is used once
    pub used: Option<Millis>,
    /// what it is for
    pub grant: GrantRow,
}

/// An access token and its grant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessRow {
    /// the scopes of this token
    pub scope: String,
    /// the patient in its context
    pub patient: Option<String>,
    /// when it was made
    pub issued: Millis,
    /// when it ends
    pub expires: Millis,
    /// what it is for
    pub grant: GrantRow,
}

/// An access token to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccess {
    /// SHA-256 of the token
    pub id: Digest,
    /// its scopes
    pub scope: String,
    /// the patient in its context
    pub patient: Option<String>,
    /// when it was made
    pub issued: Millis,
    /// when it ends
    pub expires: Millis,
}

/// A refresh token to keep.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRefresh {
    /// SHA-256 of the token
    pub id: Digest,
    /// when it ends
    pub expires: Millis,
}

/// What came of spending a code or a refresh token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spent {
    /// the tokens are written
    Done,
    /// somebody was faster, or the grant has ended: nothing is written
    Gone,
}

impl Store {
    /// A code, spent or not.
    pub fn code(&self, tenant: &str, id: &Digest) -> Result<Option<CodeRow>, StoreError> {
        self.read(|transaction| {
            let sql = concat!(
                "SELECT c.body, c.expires_ms, c.used_ms, ",
                grant_columns!(),
                " FROM codes c JOIN grants g ON g.id = c.grant_id WHERE c.id = ?1 AND g.tenant = ?2"
            );
            let found = transaction
                .prepare_cached(sql)?
                .query_row(params![id, tenant], |row| {
                    Ok((row.get(0)?, row.get::<_, i64>(1)?, row.get::<_, Option<i64>>(2)?, read(row, 3)?))
                })
                .optional()?;
            let Some((body, expires, used, grant)) = found else { return Ok(None) };
            let (expires, used) = (time(expires)?, used.map(time).transpose()?);
            Ok(Some(CodeRow { id: *id, body, expires, used, grant: grant.row()? }))
        })
    }

    /// Spend a code on tokens.
    pub fn spend_code(
        &self,
        code: &CodeRow,
        access: &NewAccess,
        refresh: Option<&NewRefresh>,
        now: Millis,
    ) -> Result<Spent, StoreError> {
        self.write(|transaction| {
            let sql = "UPDATE codes SET used_ms = ?2 WHERE id = ?1 AND used_ms IS NULL AND expires_ms > ?2";
            if transaction.execute(sql, params![code.id, column(now)?])? == 0 {
                return Ok(Spent::Gone);
            }
            issue(transaction, &code.grant, access, refresh, now)
        })
    }

    /// Spoil a code: it was tried in a way it may not be. One that was spent before takes its grant along (RFC 6749,
    /// section 4.1.2).
    pub fn spoil_code(&self, code: &CodeRow, now: Millis) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "UPDATE codes SET used_ms = ?2 WHERE id = ?1 AND used_ms IS NULL";
            transaction.execute(sql, params![code.id, column(now)?])?;
            revoke(transaction, &code.grant.id, now)
        })
    }

    /// A refresh token, used or not.
    pub fn refresh_token(&self, tenant: &str, id: &Digest) -> Result<Option<RefreshRow>, StoreError> {
        self.read(|transaction| {
            let sql = concat!(
                "SELECT r.expires_ms, r.used_ms, ",
                grant_columns!(),
                " FROM refresh_tokens r JOIN grants g ON g.id = r.grant_id WHERE r.id = ?1 AND g.tenant = ?2"
            );
            let found = transaction
                .prepare_cached(sql)?
                .query_row(params![id, tenant], |row| {
                    Ok((row.get::<_, i64>(0)?, row.get::<_, Option<i64>>(1)?, read(row, 2)?))
                })
                .optional()?;
            let Some((expires, used, grant)) = found else { return Ok(None) };
            let (expires, used) = (time(expires)?, used.map(time).transpose()?);
            Ok(Some(RefreshRow { id: *id, expires, used, grant: grant.row()? }))
        })
    }

    /// Use a refresh token for an access token. With `next` it is used up, and `next` takes its place; without, it
    /// lives until `until`.
    ///
    /// SECURITY: of two that use one token at once the second finds it used.
    pub fn spend_refresh_token(
        &self,
        token: &RefreshRow,
        access: &NewAccess,
        next: Option<&NewRefresh>,
        until: Millis,
        now: Millis,
    ) -> Result<Spent, StoreError> {
        self.write(|transaction| {
            let sql = match next {
                Some(_) => "UPDATE refresh_tokens SET used_ms = ?2 WHERE id = ?1 AND used_ms IS NULL AND ?3 = ?3",
                None => "UPDATE refresh_tokens SET expires_ms = ?3 WHERE id = ?1 AND used_ms IS NULL AND ?2 = ?2",
            };
            if transaction.execute(sql, params![token.id, column(now)?, column(until)?])? == 0 {
                return Ok(Spent::Gone);
            }
            // A grant lasts as long as what can still be used of it.
            let sql = "UPDATE grants SET expires_ms = max(expires_ms, ?2) WHERE id = ?1";
            transaction.execute(sql, params![token.grant.id, column(until)?])?;
            issue(transaction, &token.grant, access, next, now)
        })
    }

    /// Give the answer to a refresh again: another access token, for the successor that was made before.
    pub fn repeat_refresh(&self, token: &RefreshRow, access: &NewAccess, now: Millis) -> Result<Spent, StoreError> {
        self.write(|transaction| issue(transaction, &token.grant, access, None, now))
    }

    /// An access token that counts now: neither it nor its grant has ended or was taken back.
    pub fn access_token(&self, tenant: &str, id: &Digest, now: Millis) -> Result<Option<AccessRow>, StoreError> {
        self.read(|transaction| {
            let sql = concat!(
                "SELECT a.scope, a.patient, a.issued_ms, a.expires_ms, ",
                grant_columns!(),
                " FROM access_tokens a JOIN grants g ON g.id = a.grant_id WHERE a.id = ?1 AND g.tenant = ?2 \
                 AND a.expires_ms > ?3 AND a.revoked_ms IS NULL AND g.revoked_ms IS NULL"
            );
            let found = transaction
                .prepare_cached(sql)?
                .query_row(params![id, tenant, column(now)?], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?, row.get::<_, i64>(3)?, read(row, 4)?))
                })
                .optional()?;
            let Some((scope, patient, issued, expires, grant)) = found else { return Ok(None) };
            let (issued, expires) = (time(issued)?, time(expires)?);
            Ok(Some(AccessRow { scope, patient, issued, expires, grant: grant.row()? }))
        })
    }

    /// Take one access token back.
    pub fn revoke_access_token(&self, id: &Digest, now: Millis) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "UPDATE access_tokens SET revoked_ms = ?2 WHERE id = ?1 AND revoked_ms IS NULL";
            transaction.execute(sql, params![id, column(now)?])?;
            Ok(())
        })
    }

    /// Remember the `jti` of a client's assertion until it ends; false when it was seen before.
    pub fn spend_assertion(&self, client: &str, jti: &str, expires: Millis) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let sql = "INSERT OR IGNORE INTO assertions (client, jti, expires_ms) VALUES (?1, ?2, ?3)";
            Ok(transaction.execute(sql, params![client, jti, column(expires)?])? > 0)
        })
    }
}

/// Write tokens, if their grant still stands.
fn issue(
    transaction: &Transaction<'_>,
    grant: &GrantRow,
    access: &NewAccess,
    refresh: Option<&NewRefresh>,
    now: Millis,
) -> Result<Spent, StoreError> {
    let most = refresh.map_or(access.expires, |refresh| refresh.expires.max(access.expires));
    let sql = "UPDATE grants SET used_ms = ?2, expires_ms = max(expires_ms, ?3) WHERE id = ?1 AND revoked_ms IS NULL";
    if transaction.execute(sql, params![grant.id, column(now)?, column(most)?])? == 0 {
        return Ok(Spent::Gone);
    }
    transaction.execute(
        "INSERT INTO access_tokens (id, grant_id, scope, patient, issued_ms, expires_ms)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![access.id, grant.id, access.scope, access.patient, column(access.issued)?, column(access.expires)?],
    )?;
    if let Some(refresh) = refresh {
        let sql = "INSERT INTO refresh_tokens (id, grant_id, expires_ms) VALUES (?1, ?2, ?3)";
        transaction.execute(sql, params![refresh.id, grant.id, column(refresh.expires)?])?;
    }
    Ok(Spent::Done)
}

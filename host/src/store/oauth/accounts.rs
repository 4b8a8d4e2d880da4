//! Who can sign in: accounts, codes to enrol with, and sessions.

use chartgate_model::Millis;
use rusqlite::{OptionalExtension as _, params};

use super::{Digest, column, time};
use crate::store::{Store, StoreError};

/// A local account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountRow {
    /// what it signs in with, lower case
    pub name: String,
    /// Argon2id, PHC string
    pub password: String,
    /// the rest, JSON
    pub body: String,
}

/// A code that lets one person make an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnrolmentRow {
    /// whom it is for, JSON
    pub body: String,
    /// how often it was tried with somebody else's details
    pub failures: u32,
    /// when it ends
    pub expires: Millis,
}

/// A browser's session, signed in or not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// SHA-256 of its cookie
    pub id: Digest,
    /// who signed in, and when
    pub account: Option<(String, Millis)>,
    /// what its forms carry
    pub csrf: String,
    /// when it ends
    pub expires: Millis,
}

impl Store {
    /// Make an account; false when the name is taken.
    pub fn add_account(&self, tenant: &str, account: &AccountRow, now: Millis) -> Result<bool, StoreError> {
        self.write(|transaction| insert_account(transaction, tenant, account, now))
    }

    /// Make an account with a code that is spent on it: false when the name is taken, and then the code is not spent.
    pub fn enrol(&self, tenant: &str, code: &Digest, account: &AccountRow, now: Millis) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let free = "SELECT count(*) FROM accounts WHERE tenant = ?1 AND name = ?2";
            let taken: i64 = transaction.query_row(free, params![tenant, account.name], |row| row.get(0))?;
            if taken > 0 {
                return Ok(false);
            }
            let sql = "UPDATE enrolments SET used_ms = ?3 WHERE tenant = ?1 AND code = ?2 AND used_ms IS NULL \
                       AND expires_ms > ?3";
            let spent = transaction.execute(sql, params![tenant, code, column(now)?])?;
            if spent == 0 { Ok(false) } else { insert_account(transaction, tenant, account, now) }
        })
    }

    /// Change an account: its password, its body. Every session and every grant of it ends: its password may be known to
    /// others.
    pub fn change_account(&self, tenant: &str, account: &AccountRow, now: Millis) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let sql = "UPDATE accounts SET password = ?3, body = ?4, updated_ms = ?5 WHERE tenant = ?1 AND name = ?2";
            let AccountRow { name, password, body } = account;
            let changed = transaction.execute(sql, params![tenant, name, password, body, column(now)?])?;
            end_all(transaction, tenant, name, now)?;
            Ok(changed > 0)
        })
    }

    /// An account.
    pub fn account(&self, tenant: &str, name: &str) -> Result<Option<AccountRow>, StoreError> {
        self.read(|transaction| {
            let sql = "SELECT name, password, body FROM accounts WHERE tenant = ?1 AND name = ?2";
            let read = |row: &rusqlite::Row<'_>| {
                Ok(AccountRow { name: row.get(0)?, password: row.get(1)?, body: row.get(2)? })
            };
            Ok(transaction.prepare_cached(sql)?.query_row(params![tenant, name], read).optional()?)
        })
    }

    /// All accounts, by name.
    pub fn accounts(&self, tenant: &str) -> Result<Vec<AccountRow>, StoreError> {
        self.read(|transaction| {
            let sql = "SELECT name, password, body FROM accounts WHERE tenant = ?1 ORDER BY name";
            let mut statement = transaction.prepare_cached(sql)?;
            let rows = statement.query_map(params![tenant], |row| {
                Ok(AccountRow { name: row.get(0)?, password: row.get(1)?, body: row.get(2)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Take an account away, with its sessions and everything granted by it. Whether it was there.
    pub fn delete_account(&self, tenant: &str, name: &str, now: Millis) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let both = params![tenant, name];
            let gone = transaction.execute("DELETE FROM accounts WHERE tenant = ?1 AND name = ?2", both)?;
            end_all(transaction, tenant, name, now)?;
            transaction.execute("DELETE FROM approvals WHERE tenant = ?1 AND account = ?2", both)?;
            Ok(gone > 0)
        })
    }

    /// Keep what people call a patient: for pages, and never for a decision.
    pub fn put_label(&self, tenant: &str, patient: &str, label: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "INSERT OR REPLACE INTO labels (tenant, patient, label) VALUES (?1, ?2, ?3)";
            transaction.execute(sql, params![tenant, patient, label])?;
            Ok(())
        })
    }

    /// What people call a patient.
    pub fn label(&self, tenant: &str, patient: &str) -> Result<Option<String>, StoreError> {
        self.read(|transaction| {
            let sql = "SELECT label FROM labels WHERE tenant = ?1 AND patient = ?2";
            Ok(transaction.prepare_cached(sql)?.query_row(params![tenant, patient], |row| row.get(0)).optional()?)
        })
    }

    /// Issue a code to enrol with.
    pub fn add_enrolment(&self, tenant: &str, code: &Digest, row: &EnrolmentRow) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "INSERT INTO enrolments (tenant, code, body, failures, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5)";
            transaction.execute(sql, params![tenant, code, row.body, row.failures, column(row.expires)?])?;
            Ok(())
        })
    }

    /// A code that has neither ended nor been used.
    pub fn enrolment(&self, tenant: &str, code: &Digest, now: Millis) -> Result<Option<EnrolmentRow>, StoreError> {
        self.read(|transaction| {
            let sql = "SELECT body, failures, expires_ms FROM enrolments WHERE tenant = ?1 AND code = ?2 \
                       AND used_ms IS NULL AND expires_ms > ?3";
            let found = transaction
                .prepare_cached(sql)?
                .query_row(params![tenant, code, column(now)?], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?))
                })
                .optional()?;
            found.map(|(body, failures, end)| Ok(EnrolmentRow { body, failures, expires: time(end)? })).transpose()
        })
    }

    /// Count a try with the wrong details.
    pub fn enrolment_failed(&self, tenant: &str, code: &Digest) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "UPDATE enrolments SET failures = failures + 1 WHERE tenant = ?1 AND code = ?2";
            transaction.execute(sql, params![tenant, code])?;
            Ok(())
        })
    }

    /// Begin a session; with `instead_of`, that one ends and its flows go on in the new one. False, and nothing is
    /// written, where the account's password is not `password` any more, or it was closed.
    ///
    /// SECURITY: who signs in gets a session nobody knew before, so that a planted cookie is worth nothing. A password
    /// that was changed while it was compared opens nothing.
    pub fn begin_session(
        &self,
        tenant: &str,
        session: &SessionRow,
        password: Option<&str>,
        instead_of: Option<&Digest>,
        now: Millis,
    ) -> Result<bool, StoreError> {
        self.write(|transaction| {
            if let Some((name, _)) = &session.account {
                let sql = "SELECT count(*) FROM accounts WHERE tenant = ?1 AND name = ?2 AND password = ?3 \
                           AND coalesce(body ->> 'closed', 0) = 0";
                let open: i64 = transaction.query_row(sql, params![tenant, name, password], |row| row.get(0))?;
                if open == 0 {
                    return Ok(false);
                }
            }
            let (account, auth) = match &session.account {
                Some((name, at)) => (Some(name), Some(column(*at)?)),
                None => (None, None),
            };
            transaction.execute(
                "INSERT INTO sessions (id, tenant, account, auth_ms, csrf, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![session.id, tenant, account, auth, session.csrf, column(session.expires)?],
            )?;
            if let Some(old) = instead_of {
                transaction.execute("UPDATE flows SET session = ?2 WHERE session = ?1", params![old, session.id])?;
                // What one person allowed for the time of their session is not carried on by the next.
                let mine = "UPDATE grants SET session = ?2 WHERE session = ?1 AND account IS ?3";
                transaction.execute(mine, params![old, session.id, account])?;
                let others = "UPDATE grants SET revoked_ms = ?2 WHERE session = ?1 AND revoked_ms IS NULL";
                transaction.execute(others, params![old, column(now)?])?;
                transaction.execute("DELETE FROM sessions WHERE id = ?1", params![old])?;
            }
            Ok(true)
        })
    }

    /// Until when apps may go on with a session, of whose account, since when signed in.
    pub fn online(&self, tenant: &str, id: &Digest, now: Millis) -> Result<Option<Millis>, StoreError> {
        self.read(|transaction| {
            let sql = "SELECT auth_ms FROM sessions WHERE tenant = ?1 AND id = ?2 AND account IS NOT NULL \
                       AND max(expires_ms, coalesce(online_ms, 0)) > ?3";
            let found = transaction.prepare_cached(sql)?.query_row(params![tenant, id, column(now)?], |row| row.get(0));
            found.optional()?.map(time).transpose()
        })
    }

    /// Let apps go on with a session until then, at least. Whoever sits at the browser is signed in no longer by it.
    pub fn keep_online(&self, id: &Digest, until: Millis) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "UPDATE sessions SET online_ms = max(coalesce(online_ms, 0), ?2) WHERE id = ?1";
            transaction.execute(sql, params![id, column(until)?])?;
            Ok(())
        })
    }

    /// A session that has not ended.
    pub fn session(&self, tenant: &str, id: &Digest, now: Millis) -> Result<Option<SessionRow>, StoreError> {
        self.read(|transaction| {
            let sql = "SELECT account, auth_ms, csrf, expires_ms FROM sessions WHERE tenant = ?1 AND id = ?2 \
                       AND expires_ms > ?3";
            let found = transaction
                .prepare_cached(sql)?
                .query_row(params![tenant, id, column(now)?], |row| {
                    Ok((row.get(0)?, row.get::<_, Option<i64>>(1)?, row.get(2)?, row.get::<_, i64>(3)?))
                })
                .optional()?;
            let Some((account, auth, csrf, expires)) = found else { return Ok(None) };
            let account: Option<String> = account;
            let account = account.zip(auth).map(|(name, at)| Ok::<_, StoreError>((name, time(at)?))).transpose()?;
            Ok(Some(SessionRow { id: *id, account, csrf, expires: time(expires)? }))
        })
    }

    /// Let a session go on until then, at least.
    pub fn keep_session(&self, id: &Digest, until: Millis) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "UPDATE sessions SET expires_ms = max(expires_ms, ?2) WHERE id = ?1";
            transaction.execute(sql, params![id, column(until)?])?;
            Ok(())
        })
    }

    /// End a session: what was granted only for its time ends with it.
    pub fn end_session(&self, id: &Digest, now: Millis) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM sessions WHERE id = ?1", params![id])?;
            transaction.execute("DELETE FROM flows WHERE session = ?1", params![id])?;
            transaction.execute(
                "UPDATE grants SET revoked_ms = ?2 WHERE session = ?1 AND revoked_ms IS NULL",
                params![id, column(now)?],
            )?;
            Ok(())
        })
    }
}

fn insert_account(
    transaction: &rusqlite::Transaction<'_>,
    tenant: &str,
    account: &AccountRow,
    now: Millis,
) -> Result<bool, StoreError> {
    let sql = "INSERT OR IGNORE INTO accounts (tenant, name, password, body, updated_ms) VALUES (?1, ?2, ?3, ?4, ?5)";
    let AccountRow { name, password, body } = account;
    Ok(transaction.execute(sql, params![tenant, name, password, body, column(now)?])? > 0)
}

fn end_all(transaction: &rusqlite::Transaction<'_>, tenant: &str, name: &str, now: Millis) -> Result<(), StoreError> {
    let flows = "DELETE FROM flows WHERE session IN (SELECT id FROM sessions WHERE tenant = ?1 AND account = ?2)";
    transaction.execute(flows, params![tenant, name])?;
    let sessions = "DELETE FROM sessions WHERE tenant = ?1 AND account = ?2";
    transaction.execute(sessions, params![tenant, name])?;
    transaction.execute(
        "UPDATE grants SET revoked_ms = ?3 WHERE tenant = ?1 AND account = ?2 AND revoked_ms IS NULL",
        params![tenant, name, column(now)?],
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::oauth::{ApprovalRow, FlowRow, GrantRow, NewGrant};

    const TENANT: &str = "default";
    const NOW: Millis = Millis(1_000);

    fn open() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    fn account(password: &str, body: &str) -> AccountRow {
        AccountRow { name: "mia".into(), password: password.into(), body: body.into() }
    }

    fn session(id: u8) -> SessionRow {
        SessionRow { id: [id; 32], account: Some(("mia".into(), NOW)), csrf: "c".into(), expires: Millis(9_000) }
    }

    /// Comparing a password takes a while, and it may be changed meanwhile.
    #[test]
    fn a_session_begins_with_the_password_of_now_alone() {
        let (_dir, store) = open();
        assert!(store.add_account(TENANT, &account("old", "{}"), NOW).unwrap());
        let begin = |id, password| store.begin_session(TENANT, &session(id), Some(password), None, NOW).unwrap();
        assert!(begin(1, "old"));
        assert!(store.change_account(TENANT, &account("new", "{}"), NOW).unwrap());
        assert_eq!(store.session(TENANT, &[1; 32], NOW).unwrap(), None, "what it opened before has ended");
        assert!(!begin(2, "old") && begin(3, "new"));
        assert!(store.change_account(TENANT, &account("new", r#"{"closed":true}"#), NOW).unwrap());
        assert!(!begin(4, "new"));
        assert!(store.delete_account(TENANT, "mia", NOW).unwrap());
        assert!(!begin(5, "new"));
    }

    #[test]
    fn nothing_is_granted_to_whom_is_signed_in_no_more() {
        let (_dir, store) = open();
        store.add_account(TENANT, &account("old", "{}"), NOW).unwrap();
        store.begin_session(TENANT, &session(1), Some("old"), None, NOW).unwrap();
        let flow = FlowRow { id: [7; 32], session: [1; 32], body: "{}".into(), expires: Millis(9_000) };
        let text = |text: &str| text.to_owned();
        let (user, body) = (text("Patient/1"), text("{}"));
        let new = NewGrant {
            approval: ApprovalRow {
                id: text("a"),
                account: text("mia"),
                client: text("app"),
                user: user.clone(),
                patient: text("1"),
                body: body.clone(),
                approved: NOW,
            },
            grant: GrantRow {
                id: text("g"),
                approval: String::new(),
                account: text("mia"),
                client: text("app"),
                user,
                session: None,
                body: body.clone(),
                created: NOW,
                used: NOW,
                expires: Millis(9_000),
                revoked: None,
            },
            code: [8; 32],
            code_body: body,
            code_expires: Millis(9_000),
        };
        store.begin_flow(&flow).unwrap();
        store.change_account(TENANT, &account("new", "{}"), NOW).unwrap();
        assert_eq!(store.flow(&flow.id, &flow.session, NOW).unwrap(), None, "the flow ended with the session");
        // As if it had been begun a moment later.
        store.begin_flow(&flow).unwrap();
        assert!(!store.finish_flow(TENANT, &flow, &new).unwrap());
        store.begin_session(TENANT, &session(1), Some("new"), None, NOW).unwrap();
        assert!(store.finish_flow(TENANT, &flow, &new).unwrap());
    }
}

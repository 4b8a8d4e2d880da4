//! Authorization requests under way, launches they begin with, and the approvals they end with.

use chartgate_model::Millis;
use rusqlite::{OptionalExtension as _, params};

use super::{Digest, GrantRow, column, time};
use crate::store::{Store, StoreError};

/// An authorization request under way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowRow {
    /// SHA-256 of what its pages carry
    pub id: Digest,
    /// the session it belongs to
    pub session: Digest,
    /// how far it is, JSON
    pub body: String,
    /// when it ends
    pub expires: Millis,
}

/// An approval: an account lets an app act for a user on a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalRow {
    /// ULID
    pub id: String,
    /// whose account
    pub account: String,
    /// which app
    pub client: String,
    /// as whom, `Patient/123`
    pub user: String,
    /// for whom, a bare id; empty when nobody in particular
    pub patient: String,
    /// what was approved, JSON
    pub body: String,
    /// when
    pub approved: Millis,
}

/// What an approval leads to: a grant, and the code to fetch its tokens with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGrant {
    /// the approval; one of the same account, app, user and patient is replaced and keeps its id
    pub approval: ApprovalRow,
    /// the grant; its `approval` is filled in here
    pub grant: GrantRow,
    /// SHA-256 of the code
    pub code: Digest,
    /// what the code is bound to, JSON
    pub code_body: String,
    /// when the code ends
    pub code_expires: Millis,
}

impl Store {
    /// Begin a flow.
    pub fn begin_flow(&self, flow: &FlowRow) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute(
                "INSERT INTO flows (id, session, body, expires_ms) VALUES (?1, ?2, ?3, ?4)",
                params![flow.id, flow.session, flow.body, column(flow.expires)?],
            )?;
            Ok(())
        })
    }

    /// A flow of this session that has not ended.
    pub fn flow(&self, id: &Digest, session: &Digest, now: Millis) -> Result<Option<FlowRow>, StoreError> {
        self.read(|transaction| {
            let sql = "SELECT body, expires_ms FROM flows WHERE id = ?1 AND session = ?2 AND expires_ms > ?3";
            let found = transaction
                .prepare_cached(sql)?
                .query_row(params![id, session, column(now)?], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))
                .optional()?;
            let row = |(body, end)| Ok(FlowRow { id: *id, session: *session, body, expires: time(end)? });
            found.map(row).transpose()
        })
    }

    /// Give a flow to another session, if it still belongs to `from`.
    pub fn claim_flow(&self, id: &Digest, from: &Digest, to: &Digest) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let sql = "UPDATE flows SET session = ?3 WHERE id = ?1 AND session = ?2";
            Ok(transaction.execute(sql, params![id, from, to])? > 0)
        })
    }

    /// Bring a flow a step further, unless somebody else has.
    pub fn advance_flow(&self, from: &FlowRow, body: &str) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let sql = "UPDATE flows SET body = ?3 WHERE id = ?1 AND body = ?2";
            Ok(transaction.execute(sql, params![from.id, from.body, body])? > 0)
        })
    }

    /// End a flow without a grant. Whether it was still there.
    pub fn end_flow(&self, from: &FlowRow) -> Result<bool, StoreError> {
        self.write(|transaction| Ok(transaction.execute("DELETE FROM flows WHERE id = ?1", params![from.id])? > 0))
    }

    /// End a flow with a grant: false, and nothing is written, when it has ended or moved on since, or when whoever goes
    /// through it is signed in no more.
    pub fn finish_flow(&self, tenant: &str, from: &FlowRow, new: &NewGrant) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let ApprovalRow { id, account, client, user, patient, body, approved } = &new.approval;
            // SECURITY: an account that is closed meanwhile has no session any more, whatever the page says.
            let alive = "SELECT count(*) FROM sessions WHERE id = ?1 AND tenant = ?2 AND account = ?3";
            let sessions: i64 =
                transaction.query_row(alive, params![from.session, tenant, account], |row| row.get(0))?;
            let ended = "DELETE FROM flows WHERE id = ?1 AND body = ?2";
            if sessions == 0 || transaction.execute(ended, params![from.id, from.body])? == 0 {
                return Ok(false);
            }
            let id: String = transaction.query_row(
                "INSERT INTO approvals (id, tenant, account, client, user, patient, body, approved_ms)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
                 ON CONFLICT (tenant, account, client, user, patient)
                 DO UPDATE SET body = excluded.body, approved_ms = excluded.approved_ms
                 RETURNING id",
                params![id, tenant, account, client, user, patient, body, column(*approved)?],
                |row| row.get(0),
            )?;
            let grant = GrantRow { approval: id, ..new.grant.clone() };
            super::grants::insert(transaction, tenant, &grant)?;
            transaction.execute(
                "INSERT INTO codes (id, grant_id, body, expires_ms) VALUES (?1, ?2, ?3, ?4)",
                params![new.code, grant.id, new.code_body, column(new.code_expires)?],
            )?;
            Ok(true)
        })
    }

    /// Keep the context an EHR launches an app with.
    pub fn add_launch(
        &self,
        tenant: &str,
        id: &Digest,
        client: &str,
        body: &str,
        expires: Millis,
    ) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "INSERT INTO launches (id, tenant, client, body, expires_ms) VALUES (?1, ?2, ?3, ?4, ?5)";
            transaction.execute(sql, params![id, tenant, client, body, column(expires)?])?;
            Ok(())
        })
    }

    /// Spend a launch: once, in its time, by the app it is for.
    pub fn spend_launch(
        &self,
        tenant: &str,
        id: &Digest,
        client: &str,
        now: Millis,
    ) -> Result<Option<String>, StoreError> {
        self.write(|transaction| {
            let sql = "UPDATE launches SET used_ms = ?4 WHERE id = ?1 AND tenant = ?2 AND client = ?3 \
                       AND used_ms IS NULL AND expires_ms > ?4 RETURNING body";
            let spent = params![id, tenant, client, column(now)?];
            Ok(transaction.query_row(sql, spent, |row| row.get(0)).optional()?)
        })
    }

    /// What an account approved for an app, a user and a patient.
    pub fn approval(
        &self,
        tenant: &str,
        account: &str,
        client: &str,
        user: &str,
        patient: &str,
    ) -> Result<Option<ApprovalRow>, StoreError> {
        self.read(|transaction| {
            let sql = "SELECT id, account, client, user, patient, body, approved_ms FROM approvals \
                       WHERE tenant = ?1 AND account = ?2 AND client = ?3 AND user = ?4 AND patient = ?5";
            let key = params![tenant, account, client, user, patient];
            transaction.prepare_cached(sql)?.query_row(key, approval).optional()?.transpose()
        })
    }

    /// What an account approved, and what others approved for the charts that are its own.
    pub fn approvals(&self, tenant: &str, account: &str, own: &[&str]) -> Result<Vec<ApprovalRow>, StoreError> {
        self.read(|transaction| {
            let columns =
                "SELECT id, account, client, user, patient, body, approved_ms FROM approvals WHERE tenant = ?1";
            let mut rows = Vec::new();
            let by_account = format!("{columns} AND account = ?2 ORDER BY id");
            let by_patient = format!("{columns} AND patient = ?2 AND account <> ?3 ORDER BY id");
            for row in transaction.prepare_cached(&by_account)?.query_map(params![tenant, account], approval)? {
                rows.push(row??);
            }
            for patient in own {
                let mut statement = transaction.prepare_cached(&by_patient)?;
                for row in statement.query_map(params![tenant, patient, account], approval)? {
                    rows.push(row??);
                }
            }
            Ok(rows)
        })
    }

    /// Take an approval back, and end everything granted by it. Whether it was there.
    pub fn withdraw(&self, tenant: &str, approval: &str, now: Millis) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let sql = "DELETE FROM approvals WHERE tenant = ?1 AND id = ?2";
            let gone = transaction.execute(sql, params![tenant, approval])?;
            transaction.execute(
                "UPDATE grants SET revoked_ms = ?3 WHERE tenant = ?1 AND approval = ?2 AND revoked_ms IS NULL",
                params![tenant, approval, column(now)?],
            )?;
            Ok(gone > 0)
        })
    }
}

fn approval(row: &rusqlite::Row<'_>) -> rusqlite::Result<Result<ApprovalRow, StoreError>> {
    let approved: i64 = row.get(6)?;
    let (id, account, client) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let (user, patient, body) = (row.get(3)?, row.get(4)?, row.get(5)?);
    Ok(time(approved).map(|approved| ApprovalRow { id, account, client, user, patient, body, approved }))
}

//! Registered apps.

use chartgate_model::Millis;
use rusqlite::{OptionalExtension as _, params};

use super::column;
use crate::store::{Store, StoreError};

impl Store {
    /// Register an app, or replace its registration.
    pub fn put_client(&self, tenant: &str, id: &str, body: &str, now: Millis) -> Result<(), StoreError> {
        self.write(|transaction| {
            let sql = "INSERT OR REPLACE INTO clients (tenant, id, body, updated_ms) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(sql, params![tenant, id, body, column(now)?])?;
            Ok(())
        })
    }

    /// The registration of an app.
    pub fn client(&self, tenant: &str, id: &str) -> Result<Option<String>, StoreError> {
        self.read(|transaction| {
            let mut statement = transaction.prepare_cached("SELECT body FROM clients WHERE tenant = ?1 AND id = ?2")?;
            Ok(statement.query_row(params![tenant, id], |row| row.get(0)).optional()?)
        })
    }

    /// All registrations, in the order of their ids.
    pub fn clients(&self, tenant: &str) -> Result<Vec<String>, StoreError> {
        self.read(|transaction| {
            let mut statement = transaction.prepare_cached("SELECT body FROM clients WHERE tenant = ?1 ORDER BY id")?;
            Ok(statement.query_map(params![tenant], |row| row.get(0))?.collect::<Result<_, _>>()?)
        })
    }

    /// Take an app away, with everything it was granted. Whether it was there.
    pub fn delete_client(&self, tenant: &str, id: &str, now: Millis) -> Result<bool, StoreError> {
        self.write(|transaction| {
            let both = params![tenant, id];
            let gone = transaction.execute("DELETE FROM clients WHERE tenant = ?1 AND id = ?2", both)?;
            transaction.execute("DELETE FROM approvals WHERE tenant = ?1 AND client = ?2", both)?;
            transaction.execute(
                "UPDATE grants SET revoked_ms = ?3 WHERE tenant = ?1 AND client = ?2 AND revoked_ms IS NULL",
                params![tenant, id, column(now)?],
            )?;
            Ok(gone > 0)
        })
    }
}

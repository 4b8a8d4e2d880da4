//! The keys tokens are signed with.

use chartgate_model::Millis;
use rusqlite::params;

use super::{column, time};
use crate::store::{Store, StoreError};

/// A signing key.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyRow {
    /// its `kid`
    pub id: String,
    /// PKCS#8, DER
    pub private: Vec<u8>,
    /// when it was made
    pub created: Millis,
    /// when another took its place
    pub retired: Option<Millis>,
}

impl std::fmt::Debug for KeyRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyRow").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Store {
    /// All keys, the newest first.
    pub fn signing_keys(&self) -> Result<Vec<KeyRow>, StoreError> {
        self.read(|transaction| {
            let sql = "SELECT id, private, created_ms, retired_ms FROM signing_keys ORDER BY created_ms DESC, id DESC";
            let mut statement = transaction.prepare_cached(sql)?;
            let mut keys = Vec::new();
            let rows = statement.query_map([], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get::<_, i64>(2)?, row.get::<_, Option<i64>>(3)?))
            })?;
            for row in rows {
                let (id, private, created, retired) = row?;
                keys.push(KeyRow { id, private, created: time(created)?, retired: retired.map(time).transpose()? });
            }
            Ok(keys)
        })
    }

    /// Sign with a new key from now on; those that retired before `forget` are deleted.
    pub fn rotate_signing_key(&self, id: &str, private: &[u8], now: Millis, forget: Millis) -> Result<(), StoreError> {
        self.write(|transaction| {
            let retire = "UPDATE signing_keys SET retired_ms = ?1 WHERE retired_ms IS NULL";
            transaction.execute(retire, params![column(now)?])?;
            transaction.execute("DELETE FROM signing_keys WHERE retired_ms < ?1", params![column(forget)?])?;
            let insert = "INSERT INTO signing_keys (id, private, created_ms) VALUES (?1, ?2, ?3)";
            transaction.execute(insert, params![id, private, column(now)?])?;
            Ok(())
        })
    }
}

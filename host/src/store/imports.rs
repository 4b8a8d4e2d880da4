//! Imports: what resources say, a chunk in one transaction with how far the file was read.

use chartgate_model::{Millis, Record};
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;

use super::relationships::{SOURCE, put_row, raise, revision, to_column};
use super::{Bulk, Effect, Store, StoreError, records, validate};
use crate::derived::{Derived, Patch};
use crate::people;

/// How far a file was read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Position {
    /// lines read
    pub line: u64,
    /// bytes read
    pub offset: u64,
    /// bytes of the rejects file
    pub rejects: u64,
}

impl Store {
    /// How far a file was read by an import that did not end; files are told apart by the digest of their content.
    pub fn import_position(&self, tenant: &str, file: &str) -> Result<Option<Position>, StoreError> {
        validate::tenant(tenant)?;
        self.read(|transaction| {
            let sql = "SELECT line, offset, rejects FROM imports WHERE tenant = ?1 AND file = ?2";
            let row = transaction.query_row(sql, [tenant, file], |row| {
                Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?, row.get::<_, i64>(2)?))
            });
            let count = |value: i64| u64::try_from(value).map_err(|_| StoreError::Unreadable { column: "imports" });
            let position = row.optional()?.map(|(line, offset, rejects)| {
                Ok(Position { line: count(line)?, offset: count(offset)?, rejects: count(rejects)? })
            });
            position.transpose()
        })
    }

    /// Take over what some resources say, and note how far the file was read: both or, on any error, neither.
    pub fn import_chunk(
        &self,
        tenant: &str,
        file: &str,
        chunk: &[Derived],
        position: Position,
        now: Millis,
    ) -> Result<Bulk, StoreError> {
        validate::tenant(tenant)?;
        self.write(|transaction| {
            let mut bulk = Bulk::default();
            for derived in chunk {
                take_over(transaction, tenant, derived, now, &mut bulk)?;
            }
            raise(transaction, bulk.created + bulk.updated)?;
            bulk.revision = revision(transaction)?;
            let Position { line, offset, rejects } = position;
            transaction.execute(
                "INSERT OR REPLACE INTO imports (tenant, file, line, offset, rejects) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    tenant,
                    file,
                    to_column(line, "line")?,
                    to_column(offset, "offset")?,
                    to_column(rejects, "rejects")?
                ],
            )?;
            Ok(bulk)
        })
    }

    /// A file was read to its end: the next import of it begins anew.
    pub fn import_ended(&self, tenant: &str, file: &str) -> Result<(), StoreError> {
        self.write(|transaction| {
            transaction.execute("DELETE FROM imports WHERE tenant = ?1 AND file = ?2", [tenant, file])?;
            Ok(())
        })
    }
}

/// What a resource gave before and gives no more is removed, the rest is set.
fn take_over(
    transaction: &Transaction<'_>,
    tenant: &str,
    derived: &Derived,
    now: Millis,
    bulk: &mut Bulk,
) -> Result<(), StoreError> {
    let mut statement = transaction.prepare_cached(
        "SELECT user, patient, kind FROM relationships WHERE tenant = ?1 AND basis = ?2 AND basis <> ''",
    )?;
    let before = statement.query_map([tenant, &derived.origin], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let before: Vec<(String, String, String)> = before.collect::<Result<_, _>>()?;
    for (user, patient, kind) in before {
        let still = |given: &chartgate_model::Relationship| {
            given.user == user && given.patient == patient && given.kind == kind
        };
        if !derived.relationships.iter().any(still) {
            bulk.updated += transaction
                .prepare_cached(
                    "DELETE FROM relationships
                     WHERE tenant = ?1 AND user = ?2 AND patient = ?3 AND kind = ?4 AND basis = ?5",
                )?
                .execute([tenant, &user, &patient, &kind, &derived.origin])?;
        }
    }
    for given in &derived.relationships {
        count(bulk, put_row(transaction, tenant, given, now)??);
    }
    for patch in &derived.records {
        let record = patched(transaction, tenant, patch)?;
        count(bulk, records::put_row(transaction, tenant, &record, now)?);
    }
    Ok(())
}

/// A record with what a resource says of it; what it is silent about stays.
fn patched(transaction: &Transaction<'_>, tenant: &str, patch: &Patch) -> Result<Record, StoreError> {
    let before = records::one(transaction, tenant, patch.class, &patch.id)?;
    let mut members = before.map(|record| record.members).unwrap_or_default();
    for (name, value) in &patch.members {
        match value {
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    people::record(patch.class, &patch.id, SOURCE, Value::Object(members))
        .map_err(|_| StoreError::Unreadable { column: "body" })
}

fn count(bulk: &mut Bulk, effect: Effect) {
    match effect {
        Effect::Created => bulk.created += 1,
        Effect::Updated | Effect::Deleted => bulk.updated += 1,
        Effect::Unchanged => bulk.unchanged += 1,
    }
}

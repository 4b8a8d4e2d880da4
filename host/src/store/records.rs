//! Records of patients, users and clients.
//!
//! Rows are keyed by tenant, class and id. Each change raises the revision of the directory, as one of a relationship
//! does.

use chartgate_model::{Millis, Record, RecordClass};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde_json::{Map, Value};

use super::relationships::{MAX_PAGE, SOURCE, change, revision, to_column, to_limit};
use super::{Change, Effect, Store, StoreError, validate};

/// Some records, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPage {
    /// the records
    pub records: Vec<Record>,
    /// the id after which the next page begins; absent on the last
    pub next: Option<String>,
    /// revision of the directory they were read at
    pub revision: u64,
}

impl Store {
    /// Set a record: create it, or replace the one of the same tenant, class and id.
    ///
    /// It was checked by [`crate::people::record`].
    pub fn put_record(&self, tenant: &str, given: &Record, now: Millis) -> Result<Change, StoreError> {
        validate::tenant(tenant)?;
        self.write(|transaction| {
            let effect = put_row(transaction, tenant, given, now)?;
            change(transaction, effect)
        })
    }

    /// Forget a record.
    pub fn delete_record(&self, tenant: &str, class: RecordClass, id: &str) -> Result<Change, StoreError> {
        validate::tenant(tenant)?;
        self.write(|transaction| {
            let sql = "DELETE FROM records WHERE tenant = ?1 AND class = ?2 AND id = ?3";
            let rows = transaction.execute(sql, params![tenant, class.code(), id])?;
            change(transaction, if rows == 0 { Effect::Unchanged } else { Effect::Deleted })
        })
    }

    /// A page of at most `limit` records (and never more than [`MAX_PAGE`]) whose ids follow `after`.
    pub fn records(
        &self,
        tenant: &str,
        class: RecordClass,
        after: Option<&str>,
        limit: usize,
    ) -> Result<RecordPage, StoreError> {
        validate::tenant(tenant)?;
        let limit = limit.clamp(1, MAX_PAGE);
        self.read(|transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT id, body FROM records WHERE tenant = ?1 AND class = ?2 AND id > ?3 ORDER BY id LIMIT ?4",
            )?;
            let bound = params![tenant, class.code(), after.unwrap_or_default(), to_limit(limit)];
            let rows = statement.query_map(bound, |row| record(row, class))?;
            let mut records = rows.collect::<Result<Result<Vec<_>, _>, _>>()??;
            let more = records.len() > limit;
            records.truncate(limit);
            let next = records.last().filter(|_| more).map(|last| last.id.clone());
            Ok(RecordPage { records, next, revision: revision(transaction)? })
        })
    }

    /// What is known of each of some, of one class, and the revision it was read at.
    pub fn records_of<'i>(
        &self,
        tenant: &str,
        class: RecordClass,
        ids: impl IntoIterator<Item = &'i str>,
    ) -> Result<(Vec<Record>, u64), StoreError> {
        validate::tenant(tenant)?;
        self.read(|transaction| {
            let mut records = Vec::new();
            for id in ids {
                records.extend(one(transaction, tenant, class, id)?);
            }
            Ok((records, revision(transaction)?))
        })
    }
}

/// Write one record, unless it is so already.
pub(super) fn put_row(
    transaction: &Transaction<'_>,
    tenant: &str,
    given: &Record,
    now: Millis,
) -> Result<Effect, StoreError> {
    let effect = match one(transaction, tenant, given.class, &given.id)? {
        None => Effect::Created,
        Some(before) if before.members == given.members => return Ok(Effect::Unchanged),
        Some(_) => Effect::Updated,
    };
    let body = Value::Object(given.members.clone()).to_string();
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO records (tenant, class, id, body, updated_ms) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .execute(params![tenant, given.class.code(), given.id, body, to_column(now.0, "updated_ms")?])?;
    Ok(effect)
}

pub(super) fn one(
    transaction: &Transaction<'_>,
    tenant: &str,
    class: RecordClass,
    id: &str,
) -> Result<Option<Record>, StoreError> {
    let mut statement =
        transaction.prepare_cached("SELECT id, body FROM records WHERE tenant = ?1 AND class = ?2 AND id = ?3")?;
    statement.query_row(params![tenant, class.code(), id], |row| record(row, class)).optional()?.transpose()
}

fn record(row: &Row<'_>, class: RecordClass) -> Result<Result<Record, StoreError>, rusqlite::Error> {
    let (id, body): (String, String) = (row.get(0)?, row.get(1)?);
    let members: Result<Map<String, Value>, _> = serde_json::from_str(&body);
    Ok(members
        .map(|members| Record { class, id, source: SOURCE.to_owned(), members })
        .map_err(|_| StoreError::Unreadable { column: "body" }))
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;

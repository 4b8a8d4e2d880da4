//! Records of patients, users and clients.
//!
//! Rows are keyed by tenant, class, id and source: what was set by hand, and what was taken over from resources, stand
//! side by side, and neither ever overwrites the other. Each change raises the revision of the directory, as one of a relationship
//! does.

use chartgate_model::{Millis, Record, RecordClass};
use rusqlite::{OptionalExtension, Row, Transaction, params};
use serde_json::{Map, Value};

use super::relationships::{IMPORT, MAX_PAGE, change, revision, to_column, to_limit};
use super::{Change, Effect, Store, StoreError, validate};

/// Some records, in the order of their ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPage {
    /// the records
    pub records: Vec<Record>,
    /// where the next page begins; absent on the last
    pub next: Option<String>,
    /// revision of the directory they were read at
    pub revision: u64,
}

impl Store {
    /// Set a record: create it, or replace the one of the same tenant, class, id and source.
    ///
    /// It was checked by [`crate::people::record`].
    pub fn put_record(&self, tenant: &str, given: &Record, now: Millis) -> Result<Change, StoreError> {
        validate::tenant(tenant)?;
        self.write(|transaction| {
            let effect = put_row(transaction, tenant, given, now)?;
            change(transaction, effect)
        })
    }

    /// Forget a record of one source.
    pub fn delete_record(
        &self,
        tenant: &str,
        class: RecordClass,
        id: &str,
        source: &str,
    ) -> Result<Change, StoreError> {
        validate::tenant(tenant)?;
        self.write(|transaction| {
            let effect = delete_row(transaction, tenant, class, id, source)?;
            if source == IMPORT {
                // A file that was read half-way has to be read again.
                transaction.execute("DELETE FROM imports WHERE tenant = ?1", [tenant])?;
            }
            change(transaction, effect)
        })
    }

    /// A page of at most `limit` records (and never more than [`MAX_PAGE`]) behind the `next` of the page before.
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
                "SELECT id, body, source FROM records WHERE tenant = ?1 AND class = ?2 AND (id, source) > (?3, ?4)
                 ORDER BY id, source LIMIT ?5",
            )?;
            // No source has a slash in its name.
            let (source, id) = after.unwrap_or_default().split_once('/').unwrap_or_default();
            let bound = params![tenant, class.code(), id, source, to_limit(limit)];
            let rows = statement.query_map(bound, |row| record(row, class))?;
            let mut records = rows.collect::<Result<Result<Vec<_>, _>, _>>()??;
            let more = records.len() > limit;
            records.truncate(limit);
            let next = records.last().filter(|_| more).map(|last| format!("{}/{}", last.source, last.id));
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
                records.extend(all_of(transaction, tenant, class, id)?);
            }
            Ok((records, revision(transaction)?))
        })
    }

    /// The records of a practitioner's roles, by any source that names whose they are, and the revision they were
    /// read at.
    pub fn roles_of(&self, tenant: &str, practitioner: &str) -> Result<(Vec<Record>, u64), StoreError> {
        validate::tenant(tenant)?;
        self.read(|transaction| {
            let mut statement = transaction.prepare_cached(ROLES)?;
            let rows = statement.query_map([tenant, practitioner], |row| record(row, RecordClass::User))?;
            let records = rows.collect::<Result<Result<Vec<_>, _>, _>>()??;
            Ok((records, revision(transaction)?))
        })
    }
}

/// By the index of those alone; what it leaves out has to be said again.
const ROLES: &str = "SELECT id, body, source FROM records INDEXED BY records_of_practitioner
     WHERE tenant = ?1 AND class = 'user' AND body ->> 'practitioner' = ?2 AND body ->> 'practitioner' IS NOT NULL
     ORDER BY id, source";

/// Write one record, unless it is so already.
pub(super) fn put_row(
    transaction: &Transaction<'_>,
    tenant: &str,
    given: &Record,
    now: Millis,
) -> Result<Effect, StoreError> {
    let effect = match one(transaction, tenant, given.class, &given.id, &given.source)? {
        None => Effect::Created,
        Some(before) if before.members == given.members => return Ok(Effect::Unchanged),
        Some(_) => Effect::Updated,
    };
    let body = Value::Object(given.members.clone()).to_string();
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO records (tenant, class, id, source, body, updated_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![tenant, given.class.code(), given.id, given.source, body, to_column(now.0, "updated_ms")?])?;
    Ok(effect)
}

/// Take one record away.
pub(super) fn delete_row(
    transaction: &Transaction<'_>,
    tenant: &str,
    class: RecordClass,
    id: &str,
    source: &str,
) -> Result<Effect, StoreError> {
    let sql = "DELETE FROM records WHERE tenant = ?1 AND class = ?2 AND id = ?3 AND source = ?4";
    let rows = transaction.execute(sql, params![tenant, class.code(), id, source])?;
    Ok(if rows == 0 { Effect::Unchanged } else { Effect::Deleted })
}

fn all_of(
    transaction: &Transaction<'_>,
    tenant: &str,
    class: RecordClass,
    id: &str,
) -> Result<Vec<Record>, StoreError> {
    let sql = "SELECT id, body, source FROM records WHERE tenant = ?1 AND class = ?2 AND id = ?3 ORDER BY source";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map(params![tenant, class.code(), id], |row| record(row, class))?;
    rows.collect::<Result<Result<Vec<_>, _>, _>>()?
}

pub(super) fn one(
    transaction: &Transaction<'_>,
    tenant: &str,
    class: RecordClass,
    id: &str,
    source: &str,
) -> Result<Option<Record>, StoreError> {
    let sql = "SELECT id, body, source FROM records WHERE tenant = ?1 AND class = ?2 AND id = ?3 AND source = ?4";
    let mut statement = transaction.prepare_cached(sql)?;
    statement.query_row(params![tenant, class.code(), id, source], |row| record(row, class)).optional()?.transpose()
}

fn record(row: &Row<'_>, class: RecordClass) -> Result<Result<Record, StoreError>, rusqlite::Error> {
    let (id, body, source): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let members: Result<Map<String, Value>, _> = serde_json::from_str(&body);
    Ok(members
        .map(|members| Record { class, id, source, members })
        .map_err(|_| StoreError::Unreadable { column: "body" }))
}

#[cfg(test)]
#[path = "records_tests.rs"]
mod tests;

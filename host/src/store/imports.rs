//! Imports: what resources say, a chunk in one transaction with how far the file was read.

use chartgate_model::{Millis, Record, RecordClass, Relationship};
use rusqlite::{OptionalExtension, Transaction, params};
use serde_json::Value;

use super::relationships::{IMPORT, put_row, raise, revision, to_column};
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
    /// resources that were rejected
    pub rejected: u64,
}

impl Store {
    /// How far a file was read by an import that did not end; files are told apart by the digest of their content.
    pub fn import_position(&self, tenant: &str, file: &str) -> Result<Option<Position>, StoreError> {
        validate::tenant(tenant)?;
        self.read(|transaction| {
            let sql = "SELECT line, offset, rejects, rejected FROM imports WHERE tenant = ?1 AND file = ?2";
            let row = transaction.query_row(sql, [tenant, file], |row| {
                let count = |at| row.get::<_, i64>(at);
                Ok([count(0)?, count(1)?, count(2)?, count(3)?])
            });
            let count = |value: i64| u64::try_from(value).map_err(|_| StoreError::Unreadable { column: "imports" });
            let position = row.optional()?.map(|[line, offset, rejects, rejected]| {
                let (line, offset) = (count(line)?, count(offset)?);
                Ok(Position { line, offset, rejects: count(rejects)?, rejected: count(rejected)? })
            });
            position.transpose()
        })
    }

    /// Take over what some resources say, and note how far the file was read, or that it was read to its end: both
    /// or, on any error, neither.
    pub fn import_chunk(
        &self,
        tenant: &str,
        file: &str,
        chunk: &[Derived],
        position: Option<Position>,
        now: Millis,
    ) -> Result<Bulk, StoreError> {
        validate::tenant(tenant)?;
        self.write(|transaction| {
            let mut bulk = Bulk::default();
            for derived in chunk {
                take_over(transaction, tenant, derived, now, &mut bulk)?;
            }
            raise(transaction, bulk.created + bulk.updated)?;
            if bulk.created + bulk.updated > 0 {
                // What another file said before its position may have been changed by this one.
                transaction.execute("DELETE FROM imports WHERE tenant = ?1 AND file <> ?2", [tenant, file])?;
            }
            bulk.revision = revision(transaction)?;
            let Some(Position { line, offset, rejects, rejected }) = position else {
                transaction.execute("DELETE FROM imports WHERE tenant = ?1 AND file = ?2", [tenant, file])?;
                return Ok(bulk);
            };
            transaction.execute(
                "INSERT OR REPLACE INTO imports (tenant, file, line, offset, rejects, rejected)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
                params![
                    tenant,
                    file,
                    to_column(line, "line")?,
                    to_column(offset, "offset")?,
                    to_column(rejects, "rejects")?,
                    to_column(rejected, "rejected")?
                ],
            )?;
            Ok(bulk)
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
    let mut kept = Vec::new();
    for (key, status) in given_before(transaction, tenant, &derived.origin)? {
        if status != "active" {
            // SECURITY: whoever revoked or suspended it is not overruled by the resource it rests on.
            kept.push(key);
        } else if !derived.relationships.iter().any(|given| key.is_of(given)) {
            bulk.updated += transaction
                .prepare_cached(
                    "DELETE FROM relationships
                     WHERE tenant = ?1 AND user = ?2 AND patient = ?3 AND kind = ?4 AND basis = ?5",
                )?
                .execute([tenant, &key.user, &key.patient, &key.kind, &key.basis])?;
        }
    }
    for given in derived.relationships.iter().filter(|given| !kept.iter().any(|key| key.is_of(given))) {
        count(bulk, put_row(transaction, tenant, given, now)??);
    }
    for patch in &derived.records {
        let record = patched(transaction, tenant, patch, patch.is_own(&derived.origin))?;
        count(bulk, records::put_row(transaction, tenant, &record, now)?);
    }
    Ok(())
}

/// A row on some basis.
struct Key {
    user: String,
    patient: String,
    kind: String,
    basis: String,
}

impl Key {
    fn is_of(&self, given: &Relationship) -> bool {
        given.user == self.user
            && given.patient == self.patient
            && given.kind == self.kind
            && given.terms.basis == self.basis
    }
}

/// Two questions, since one with OR would look at every row of the tenant; so would the planner, who takes the tenant
/// for the better half of what it is told.
const GIVEN_BEFORE: &str = "SELECT user, patient, kind, basis, status FROM relationships
     INDEXED BY relationships_on_basis WHERE tenant = ?1 AND basis <> '' AND basis = ?2
     UNION ALL SELECT user, patient, kind, basis, status FROM relationships
     INDEXED BY relationships_on_basis WHERE tenant = ?1 AND basis <> '' AND basis >= ?2 || '#' AND basis < ?2 || '$'";

/// The rows a resource gave before, with their status: those on `Encounter/9`, and on `Encounter/9#2` and so on.
fn given_before(transaction: &Transaction<'_>, tenant: &str, origin: &str) -> Result<Vec<(Key, String)>, StoreError> {
    let mut statement = transaction.prepare_cached(GIVEN_BEFORE)?;
    let rows = statement.query_map([tenant, origin], |row| {
        Ok((Key { user: row.get(0)?, patient: row.get(1)?, kind: row.get(2)?, basis: row.get(3)? }, row.get(4)?))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// A record of imports with what a resource says of it; what it is silent about stays. What was set by hand is a record
/// of its own.
fn patched(transaction: &Transaction<'_>, tenant: &str, patch: &Patch, is_own: bool) -> Result<Record, StoreError> {
    let before = records::one(transaction, tenant, patch.class, &patch.id, IMPORT)?;
    // SECURITY: what somebody else's resource says of an account does not make it known.
    let is_new = before.is_none();
    let mut members = before.map(|record| record.members).unwrap_or_default();
    if is_own {
        // It can be read again.
        members.remove("closed");
        if members.get("status").is_some_and(|status| *status == "closed" || *status == "unknown") {
            members.remove("status");
        }
    } else if is_new && patch.class == RecordClass::User {
        members.insert("status".into(), "unknown".into());
    }
    let is_held = members.get("status").is_some_and(|status| *status == "suspended");
    for (name, value) in &patch.members {
        match value {
            _ if name == "status" && is_held => None,
            // SECURITY: they only close a provider's own chart, so one resource less never opens one.
            Value::Array(more) if name == "charts" => {
                let mut charts = members.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
                let new: Vec<Value> = more.iter().filter(|chart| !charts.contains(chart)).cloned().collect();
                charts.extend(new);
                members.insert(name.clone(), Value::Array(charts))
            }
            Value::Null => members.remove(name),
            value => members.insert(name.clone(), value.clone()),
        };
    }
    let taken = |members| people::record(patch.class, &patch.id, IMPORT, Value::Object(members));
    taken(members.clone()).or_else(|_| {
        // More charts of their own than can be kept.
        // SECURITY: the account is closed until somebody looks, since what is left out could be opened.
        if let Some(Value::Array(charts)) = members.get_mut("charts") {
            charts.truncate(people::CHARTS_MAX);
        }
        // No resource says that somebody is suspended, and none lifts it.
        members.insert("status".into(), "suspended".into());
        taken(members).map_err(|_| StoreError::Unreadable { column: "body" })
    })
}

fn count(bulk: &mut Bulk, effect: Effect) {
    match effect {
        Effect::Created => bulk.created += 1,
        Effect::Updated | Effect::Deleted => bulk.updated += 1,
        Effect::Unchanged => bulk.unchanged += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One resource costs the same among a thousand and among millions.
    #[test]
    fn what_a_resource_gave_before_is_found_by_its_basis() {
        let data = tempfile::tempdir().unwrap();
        let store = Store::open(data.path()).unwrap();
        let plan = store.read(|transaction| {
            let mut statement = transaction.prepare(&format!("EXPLAIN QUERY PLAN {GIVEN_BEFORE}"))?;
            let steps = statement.query_map(["default", "Encounter/9"], |row| row.get::<_, String>(3))?;
            Ok(steps.collect::<Result<Vec<_>, _>>()?)
        });
        let searches: Vec<String> = plan.unwrap().into_iter().filter(|step| step.contains("relationships")).collect();
        assert_eq!(searches.len(), 2, "{searches:?}");
        assert!(searches[0].ends_with("(tenant=? AND basis=?)"), "{searches:?}");
        assert!(searches[1].ends_with("(tenant=? AND basis>? AND basis<?)"), "{searches:?}");
    }
}

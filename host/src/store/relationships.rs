//! The directory: who is related to which patient, and how.
//!
//! Rows are keyed by tenant, user, patient, kind and basis. Each change raises the revision of the directory
//! in the same transaction, so an answer can say exactly which state of the directory it rests on.

use std::borrow::Cow;
use std::collections::HashSet;

use chartgate_model::{Millis, Relationship, Terms};
use rusqlite::{OptionalExtension, Row, Transaction, params};

use super::validate::{self, InvalidMember};
use super::{Store, StoreError};

/// What answers from here call themselves.
pub const SOURCE: &str = "directory";
/// The source of what was taken over from resources.
pub const IMPORT: &str = "import";
/// The most rows one page of [`Store::list`] holds.
pub const MAX_PAGE: usize = 1_000;

/// The columns of a row, for `concat!`.
macro_rules! columns {
    () => {
        "user, patient, kind, basis, level, status, via, start_ms, end_ms, exclude_types, exclude_labels, condition, \
         delegator"
    };
}

/// What a change did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// there was no such relationship
    Created,
    /// it was there and differed
    Updated,
    /// it was there and is gone
    Deleted,
    /// it was so already, or was never there: the revision stays
    Unchanged,
}

/// Outcome of one change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// revision of the directory after it
    pub revision: u64,
    /// what it did
    pub effect: Effect,
}

/// Outcome of a bulk change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bulk {
    /// revision of the directory after it
    pub revision: u64,
    /// rows that were not there
    pub created: usize,
    /// rows that differed
    pub updated: usize,
    /// rows that were so already
    pub unchanged: usize,
}

/// Which rows to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// only this user's, `Practitioner/17`
    pub user: Option<String>,
    /// only this patient's, a bare id
    pub patient: Option<String>,
}

/// Where a page ended. Its text form is `Type/id/patient/kind/basis`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    user: String,
    patient: String,
    kind: String,
    basis: String,
}

impl Cursor {
    /// Read the text form.
    pub fn parse(text: &str) -> Result<Self, InvalidMember> {
        let bad = || InvalidMember { member: "after", message: "not a cursor of an earlier page".into() };
        let mut parts = text.splitn(5, '/');
        let mut next = || parts.next().map(str::to_owned).ok_or_else(bad);
        let user = format!("{}/{}", next()?, next()?);
        let cursor = Self { user, patient: next()?, kind: next()?, basis: next()? };
        let Self { user, patient, kind, basis } = &cursor;
        let parts = [validate::user(user), validate::patient(patient), validate::kind(kind), validate::basis(basis)];
        if parts.iter().any(Result::is_err) { Err(bad()) } else { Ok(cursor) }
    }
}

impl std::fmt::Display for Cursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}/{}/{}", self.user, self.patient, self.kind, self.basis)
    }
}

/// Some rows, in the order of user, patient, kind and basis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// the rows
    pub relationships: Vec<Relationship>,
    /// where the next page begins; absent on the last
    pub next: Option<Cursor>,
    /// revision of the directory they were read at
    pub revision: u64,
}

impl Store {
    /// Set a relationship: create it, or replace the one of the same tenant, user, patient, kind and basis.
    pub fn put(&self, tenant: &str, given: &Relationship, now: Millis) -> Result<Change, StoreError> {
        validate::tenant(tenant)?;
        validate::relationship(given)?;
        validate::by_hand(given)?;
        self.write(|transaction| {
            let given = begun(transaction, tenant, given, now)?;
            let effect = put_row(transaction, tenant, &given, now)??;
            change(transaction, effect)
        })
    }

    /// Set many relationships in one transaction: all or, on any error, none. Two entries for the same
    /// user, patient, kind and basis are ambiguous and refused.
    pub fn put_many(&self, tenant: &str, given: &[Relationship], now: Millis) -> Result<Bulk, StoreError> {
        validate::tenant(tenant)?;
        let mut seen = HashSet::with_capacity(given.len());
        for (index, entry) in given.iter().enumerate() {
            let valid = validate::relationship(entry).and_then(|()| validate::by_hand(entry));
            valid.map_err(|source| StoreError::Entry { index, source })?;
            if !seen.insert((&entry.user, &entry.patient, &entry.kind, &entry.terms.basis)) {
                let source = InvalidMember { member: "kind", message: "an earlier entry sets the same".into() };
                return Err(StoreError::Entry { index, source });
            }
        }
        self.write(|transaction| {
            let mut bulk = Bulk::default();
            for (index, entry) in given.iter().enumerate() {
                let entry = begun(transaction, tenant, entry, now)?;
                let effect = put_row(transaction, tenant, &entry, now)?;
                match effect.map_err(|source| StoreError::Entry { index, source })? {
                    Effect::Created => bulk.created += 1,
                    Effect::Updated | Effect::Deleted => bulk.updated += 1,
                    Effect::Unchanged => bulk.unchanged += 1,
                }
            }
            raise(transaction, bulk.created + bulk.updated)?;
            bulk.revision = revision(transaction)?;
            Ok(bulk)
        })
    }

    /// Revoke a kind of relationship. The row stays, so that it goes on beating grants from elsewhere, those on other
    /// bases and those of other sources among them: it is the one without a basis, made where there is none yet. A
    /// delegation is revoked only where there is one: it has to say for whom.
    pub fn revoke(
        &self,
        tenant: &str,
        user: &str,
        patient: &str,
        kind: &str,
        now: Millis,
    ) -> Result<Change, StoreError> {
        validate::tenant(tenant)?;
        validate::user(user)?;
        validate::patient(patient)?;
        validate::kind(kind)?;
        let now = to_column(now.0, "updated_ms")?;
        self.write(|transaction| {
            // SECURITY: what is not ordinary never reaches a policy, so a revocation always is.
            let mut rows = transaction.execute(
                "UPDATE relationships SET status = 'revoked', via = 'ordinary', updated_ms = max(updated_ms, ?5)
                 WHERE tenant = ?1 AND user = ?2 AND patient = ?3 AND kind = ?4 AND basis = ''
                 AND (status <> 'revoked' OR via <> 'ordinary')",
                params![tenant, user, patient, kind, now],
            )?;
            if rows == 0 {
                // A delegation has to say for whom even where it is revoked.
                rows = transaction.execute(
                    "INSERT INTO relationships
                     SELECT tenant, user, patient, kind, '', 'full', 'revoked', 'ordinary', NULL, NULL, NULL, NULL, NULL,
                            delegator, ?5
                     FROM relationships WHERE tenant = ?1 AND user = ?2 AND patient = ?3 AND kind = ?4
                     ORDER BY basis LIMIT 1
                     ON CONFLICT DO NOTHING",
                    params![tenant, user, patient, kind, now],
                )?;
            }
            if rows > 0 {
                return change(transaction, Effect::Updated);
            }
            // What is held elsewhere, by a role or by the word of a FHIR server, is taken back here all the same.
            let made = transaction.execute(
                "INSERT INTO relationships (tenant, user, patient, kind, basis, level, status, via, updated_ms)
                 SELECT ?1, ?2, ?3, ?4, '', 'full', 'revoked', 'ordinary', ?5 WHERE ?4 <> 'delegation'
                 ON CONFLICT DO NOTHING",
                params![tenant, user, patient, kind, now],
            )?;
            change(transaction, if made == 0 { Effect::Unchanged } else { Effect::Created })
        })
    }

    /// Forget a relationship. Unlike [`Store::revoke`] nothing is left that beats grants from elsewhere.
    pub fn delete(
        &self,
        tenant: &str,
        user: &str,
        patient: &str,
        kind: &str,
        basis: &str,
    ) -> Result<Change, StoreError> {
        validate::tenant(tenant)?;
        self.write(|transaction| {
            let rows = transaction.execute(
                "DELETE FROM relationships
                 WHERE tenant = ?1 AND user = ?2 AND patient = ?3 AND kind = ?4 AND basis = ?5",
                params![tenant, user, patient, kind, basis],
            )?;
            change(transaction, if rows == 0 { Effect::Unchanged } else { Effect::Deleted })
        })
    }

    /// One relationship, whatever its status.
    pub fn get(
        &self,
        tenant: &str,
        user: &str,
        patient: &str,
        kind: &str,
        basis: &str,
    ) -> Result<Option<Relationship>, StoreError> {
        self.read(|transaction| one(transaction, tenant, user, patient, kind, basis))
    }

    /// A page of at most `limit` rows (and never more than [`MAX_PAGE`]) that follow `after`.
    pub fn list(
        &self,
        tenant: &str,
        filter: &Filter,
        after: Option<&Cursor>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        validate::tenant(tenant)?;
        let limit = limit.clamp(1, MAX_PAGE);
        let (user, patient, kind, basis) = after.map_or(("", "", "", ""), |c| (&c.user, &c.patient, &c.kind, &c.basis));
        self.read(|transaction| {
            let mut statement = transaction.prepare_cached(&list_sql(filter))?;
            let bound = (tenant, user, patient, kind, &filter.user, &filter.patient, to_limit(limit), basis);
            let rows = statement.query_map(bound, relationship)?;
            let mut relationships = rows.collect::<Result<Result<Vec<_>, _>, _>>()??;
            let more = relationships.len() > limit;
            relationships.truncate(limit);
            let next = relationships.last().filter(|_| more).map(|last| Cursor {
                user: last.user.clone(),
                patient: last.patient.clone(),
                kind: last.kind.clone(),
                basis: last.terms.basis.clone(),
            });
            Ok(Page { relationships, next, revision: revision(transaction)? })
        })
    }

    /// All relationships between a user and a patient, and the revision they were read at.
    pub fn between(&self, tenant: &str, user: &str, patient: &str) -> Result<(Vec<Relationship>, u64), StoreError> {
        self.read(|transaction| {
            let mut statement = transaction.prepare_cached(concat!(
                "SELECT ",
                columns!(),
                " FROM relationships WHERE tenant = ?1 AND user = ?2 AND patient = ?3 ORDER BY kind, basis"
            ))?;
            let rows = statement.query_map([tenant, user, patient], relationship)?;
            let relationships = rows.collect::<Result<Result<_, _>, _>>()??;
            Ok((relationships, revision(transaction)?))
        })
    }

    /// Relationships of a user, ordered by patient, at most `limit`; whether there are more; and the
    /// revision they were read at.
    ///
    /// SECURITY: a patient is listed with all rows or not at all. Cutting between two rows of one patient
    /// could keep a grant and lose the revocation that beats it.
    pub fn of_user(
        &self,
        tenant: &str,
        user: &str,
        limit: usize,
    ) -> Result<(Vec<Relationship>, bool, u64), StoreError> {
        self.read(|transaction| {
            let mut statement = transaction.prepare_cached(concat!(
                "SELECT ",
                columns!(),
                " FROM relationships WHERE tenant = ?1 AND user = ?2 ORDER BY patient, kind, basis LIMIT ?3"
            ))?;
            let rows = statement.query_map(params![tenant, user, to_limit(limit)], relationship)?;
            let mut relationships = rows.collect::<Result<Result<Vec<_>, _>, _>>()??;
            let truncated = relationships.len() > limit;
            if truncated && let Some(cut) = relationships.pop() {
                relationships.retain(|kept: &Relationship| kept.patient != cut.patient);
            }
            Ok((relationships, truncated, revision(transaction)?))
        })
    }

    /// The revision of the directory: how many changes it has seen.
    pub fn revision(&self) -> Result<u64, StoreError> {
        self.read(revision)
    }
}

/// Both filters are part of the text, so that SQLite picks the index that serves them.
fn list_sql(filter: &Filter) -> String {
    let user = if filter.user.is_some() { "user = ?5" } else { "?5 IS NULL" };
    let patient = if filter.patient.is_some() { "patient = ?6" } else { "?6 IS NULL" };
    format!(
        "SELECT {} FROM relationships
         WHERE tenant = ?1 AND (user, patient, kind, basis) > (?2, ?3, ?4, ?8) AND {user} AND {patient}
         ORDER BY user, patient, kind, basis LIMIT ?7",
        columns!()
    )
}

/// A grant by hand of authority over somebody begins when it is granted, where it does not say when.
///
/// SECURITY: what began in a patient's minority ends with it, so that it has to be known when it began.
fn begun<'g>(
    transaction: &Transaction<'_>,
    tenant: &str,
    given: &'g Relationship,
    now: Millis,
) -> Result<Cow<'g, Relationship>, StoreError> {
    let is_authority = matches!(given.kind.as_str(), "guardian" | "caregiver" | "agency");
    let is_over = given.end.is_some_and(|end| end <= now);
    if !is_authority || given.start.is_some() || given.status != "active" || is_over {
        return Ok(Cow::Borrowed(given));
    }
    let before = one(transaction, tenant, &given.user, &given.patient, &given.kind, &given.terms.basis)?;
    // One that goes on keeps its start: what is put again each night would never end otherwise.
    let goes_on = |before: &Relationship| before.status == "active" && before.end.is_none_or(|end| now < end);
    let start = before.filter(goes_on).and_then(|before| before.start);
    Ok(Cow::Owned(Relationship { start: Some(start.unwrap_or(now)), ..given.clone() }))
}

/// Write one row, unless it is so already. The inner error is the entry's own fault.
pub(super) fn put_row(
    transaction: &Transaction<'_>,
    tenant: &str,
    given: &Relationship,
    now: Millis,
) -> Result<Result<Effect, InvalidMember>, StoreError> {
    let before = one(transaction, tenant, &given.user, &given.patient, &given.kind, &given.terms.basis)?;
    let effect = match &before {
        None => Effect::Created,
        Some(before) if same(before, given) => return Ok(Ok(Effect::Unchanged)),
        // SECURITY: what is not ordinary never reaches a policy, so this would silently lift whatever
        // the ordinary row restricts: a revocation, an end, a lower level.
        Some(before) if !before.is_break_glass() && given.is_break_glass() => {
            let message = "would hide the ordinary relationship of the same kind, delete that first".to_owned();
            return Ok(Err(InvalidMember { member: "via", message }));
        }
        Some(_) => Effect::Updated,
    };
    let column = |instant: Option<Millis>, name| instant.map(|instant| to_column(instant.0, name)).transpose();
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO relationships
             (tenant, user, patient, kind, basis, level, status, via, start_ms, end_ms, exclude_types, exclude_labels,
              condition, delegator, updated_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
        )?
        .execute(params![
            tenant,
            given.user,
            given.patient,
            given.kind,
            given.terms.basis,
            given.level,
            given.status,
            given.via,
            column(given.start, "start_ms")?,
            column(given.end, "end_ms")?,
            words(&given.terms.exclude_types),
            words(&given.terms.exclude_labels),
            given.terms.condition,
            given.terms.delegator,
            to_column(now.0, "updated_ms")?,
        ])?;
    Ok(Ok(effect))
}

/// Equal in everything that is stored; who vouches for it is not.
fn same(stored: &Relationship, given: &Relationship) -> bool {
    *stored == Relationship { source: stored.source.clone(), ..given.clone() }
}

fn one(
    transaction: &Transaction<'_>,
    tenant: &str,
    user: &str,
    patient: &str,
    kind: &str,
    basis: &str,
) -> Result<Option<Relationship>, StoreError> {
    let mut statement = transaction.prepare_cached(concat!(
        "SELECT ",
        columns!(),
        " FROM relationships WHERE tenant = ?1 AND user = ?2 AND patient = ?3 AND kind = ?4 AND basis = ?5"
    ))?;
    statement.query_row([tenant, user, patient, kind, basis], relationship).optional()?.transpose()
}

fn relationship(row: &Row<'_>) -> Result<Result<Relationship, StoreError>, rusqlite::Error> {
    let (start, end): (Option<i64>, Option<i64>) = (row.get(7)?, row.get(8)?);
    let instant = |value: Option<i64>, column| value.map(|value| from_column(value, column).map(Millis)).transpose();
    let (start, end) = match (instant(start, "start_ms"), instant(end, "end_ms")) {
        (Ok(start), Ok(end)) => (start, end),
        (Err(error), _) | (_, Err(error)) => return Ok(Err(error)),
    };
    let basis: String = row.get(3)?;
    let source = if validate::is_resource(&basis) { IMPORT } else { SOURCE };
    Ok(Ok(Relationship {
        user: row.get(0)?,
        patient: row.get(1)?,
        kind: row.get(2)?,
        level: row.get(4)?,
        status: row.get(5)?,
        via: row.get(6)?,
        source: source.to_owned(),
        start,
        end,
        terms: Terms {
            basis,
            exclude_types: list(row.get(9)?),
            exclude_labels: list(row.get(10)?),
            condition: row.get(11)?,
            delegator: row.get(12)?,
        },
    }))
}

/// A list as a column holds it: words, none of which has a space.
fn words(list: &[String]) -> Option<String> {
    (!list.is_empty()).then(|| list.join(" "))
}

fn list(words: Option<String>) -> Vec<String> {
    words.map(|words| words.split(' ').map(str::to_owned).collect()).unwrap_or_default()
}

pub(super) fn change(transaction: &Transaction<'_>, effect: Effect) -> Result<Change, StoreError> {
    raise(transaction, usize::from(effect != Effect::Unchanged))?;
    Ok(Change { revision: revision(transaction)?, effect })
}

pub(super) fn raise(transaction: &Transaction<'_>, changes: usize) -> Result<(), StoreError> {
    if changes > 0 {
        let changes = i64::try_from(changes).map_err(|_| StoreError::Unreadable { column: "revision" })?;
        transaction.execute("UPDATE directory SET revision = revision + ?1 WHERE id = 1", [changes])?;
    }
    Ok(())
}

pub(super) fn revision(transaction: &Transaction<'_>) -> Result<u64, StoreError> {
    let mut statement = transaction.prepare_cached("SELECT revision FROM directory WHERE id = 1")?;
    from_column(statement.query_row([], |row| row.get(0))?, "revision")
}

fn from_column(value: i64, column: &'static str) -> Result<u64, StoreError> {
    u64::try_from(value).map_err(|_| StoreError::Unreadable { column })
}

pub(super) fn to_column(value: u64, column: &'static str) -> Result<i64, StoreError> {
    i64::try_from(value).map_err(|_| StoreError::Unreadable { column })
}

/// One row more than wanted tells whether there are more.
pub(super) fn to_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX).saturating_add(1)
}

#[cfg(test)]
#[path = "relationships_tests.rs"]
mod tests;

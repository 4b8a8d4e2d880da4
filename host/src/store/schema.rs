//! The tables, and how an older database becomes a current one.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use super::error::StoreError;

/// `CHGT`: marks a file as ours, so that another program's database is never migrated.
const APPLICATION_ID: i64 = 0x4348_4754;

/// Step `n` brings a database from `user_version` n to n + 1. Steps that were released never change.
///
/// The checks repeat what [`super::validate`] asks, because a hand-edited row must not reach a policy.
const MIGRATIONS: [&str; 4] = [
    "
    CREATE TABLE directory (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        revision INTEGER NOT NULL
    ) STRICT;
    INSERT INTO directory (id, revision) VALUES (1, 0);

    CREATE TABLE relationships (
        tenant TEXT NOT NULL,
        user TEXT NOT NULL,
        patient TEXT NOT NULL,
        kind TEXT NOT NULL,
        level TEXT NOT NULL CHECK (level IN ('full', 'limited', 'read-only')),
        status TEXT NOT NULL CHECK (status IN ('active', 'suspended', 'revoked')),
        via TEXT NOT NULL CHECK (via <> ''),
        start_ms INTEGER CHECK (start_ms >= 0),
        end_ms INTEGER CHECK (end_ms >= 0),
        updated_ms INTEGER NOT NULL CHECK (updated_ms >= 0),
        PRIMARY KEY (tenant, user, patient, kind),
        CHECK (start_ms < end_ms)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX relationships_of_patient ON relationships (tenant, patient, user, kind);

    CREATE TABLE rollout (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        revision INTEGER NOT NULL CHECK (revision > 0),
        active TEXT,
        previous TEXT,
        pins TEXT NOT NULL,
        activated_at_ms INTEGER NOT NULL CHECK (activated_at_ms >= 0)
    ) STRICT;
",
    // Relationships on several bases stand side by side, so the basis is part of the key.
    "
    ALTER TABLE relationships RENAME TO relationships_1;
    DROP INDEX relationships_of_patient;
    CREATE TABLE relationships (
        tenant TEXT NOT NULL,
        user TEXT NOT NULL,
        patient TEXT NOT NULL,
        kind TEXT NOT NULL,
        basis TEXT NOT NULL,
        level TEXT NOT NULL CHECK (level IN ('full', 'limited', 'read-only')),
        status TEXT NOT NULL CHECK (status IN ('active', 'suspended', 'revoked')),
        via TEXT NOT NULL CHECK (via <> ''),
        start_ms INTEGER CHECK (start_ms >= 0),
        end_ms INTEGER CHECK (end_ms >= 0),
        exclude_types TEXT CHECK (exclude_types <> ''),
        exclude_labels TEXT CHECK (exclude_labels <> ''),
        condition TEXT CHECK (condition IN ('incapacity', 'minority')),
        delegator TEXT CHECK (delegator <> ''),
        updated_ms INTEGER NOT NULL CHECK (updated_ms >= 0),
        PRIMARY KEY (tenant, user, patient, kind, basis),
        CHECK (start_ms < end_ms)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO relationships
        SELECT tenant, user, patient, kind, '', level, status, via, start_ms, end_ms, NULL, NULL, NULL, NULL, updated_ms
        FROM relationships_1;
    DROP TABLE relationships_1;
    CREATE INDEX relationships_of_patient ON relationships (tenant, patient, user, kind, basis);
    CREATE INDEX relationships_on_basis ON relationships (tenant, basis) WHERE basis <> '';

    CREATE TABLE records (
        tenant TEXT NOT NULL,
        class TEXT NOT NULL CHECK (class IN ('patient', 'user', 'client')),
        id TEXT NOT NULL,
        source TEXT NOT NULL CHECK (source IN ('directory', 'import')),
        body TEXT NOT NULL,
        updated_ms INTEGER NOT NULL CHECK (updated_ms >= 0),
        PRIMARY KEY (tenant, class, id, source)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE imports (
        tenant TEXT NOT NULL,
        file TEXT NOT NULL,
        line INTEGER NOT NULL CHECK (line >= 0),
        offset INTEGER NOT NULL CHECK (offset >= 0),
        rejects INTEGER NOT NULL CHECK (rejects >= 0),
        rejected INTEGER NOT NULL CHECK (rejected >= 0),
        PRIMARY KEY (tenant, file)
    ) STRICT, WITHOUT ROWID;
",
    // The authorization server. Whatever is a secret is here as its SHA-256 (passwords: Argon2id), except the
    // private keys it signs with.
    "
    CREATE TABLE clients (
        tenant TEXT NOT NULL,
        id TEXT NOT NULL,
        body TEXT NOT NULL,
        updated_ms INTEGER NOT NULL CHECK (updated_ms >= 0),
        PRIMARY KEY (tenant, id)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE accounts (
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        password TEXT NOT NULL,
        body TEXT NOT NULL,
        updated_ms INTEGER NOT NULL CHECK (updated_ms >= 0),
        PRIMARY KEY (tenant, name)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE labels (
        tenant TEXT NOT NULL,
        patient TEXT NOT NULL,
        label TEXT NOT NULL,
        PRIMARY KEY (tenant, patient)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE enrolments (
        tenant TEXT NOT NULL,
        code BLOB NOT NULL CHECK (length(code) = 32),
        body TEXT NOT NULL,
        failures INTEGER NOT NULL CHECK (failures >= 0),
        expires_ms INTEGER NOT NULL,
        used_ms INTEGER,
        PRIMARY KEY (tenant, code)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE sessions (
        id BLOB PRIMARY KEY CHECK (length(id) = 32),
        tenant TEXT NOT NULL,
        account TEXT,
        auth_ms INTEGER,
        csrf TEXT NOT NULL,
        expires_ms INTEGER NOT NULL,
        CHECK ((account IS NULL) = (auth_ms IS NULL))
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE flows (
        id BLOB PRIMARY KEY CHECK (length(id) = 32),
        session BLOB NOT NULL CHECK (length(session) = 32),
        body TEXT NOT NULL,
        expires_ms INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE launches (
        id BLOB PRIMARY KEY CHECK (length(id) = 32),
        tenant TEXT NOT NULL,
        client TEXT NOT NULL,
        body TEXT NOT NULL,
        expires_ms INTEGER NOT NULL,
        used_ms INTEGER
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE approvals (
        id TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        account TEXT NOT NULL,
        client TEXT NOT NULL,
        user TEXT NOT NULL,
        patient TEXT NOT NULL,
        body TEXT NOT NULL,
        approved_ms INTEGER NOT NULL,
        UNIQUE (tenant, account, client, user, patient)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX approvals_of_patient ON approvals (tenant, patient);

    CREATE TABLE grants (
        id TEXT PRIMARY KEY,
        approval TEXT NOT NULL,
        tenant TEXT NOT NULL,
        account TEXT NOT NULL,
        client TEXT NOT NULL,
        user TEXT NOT NULL,
        session BLOB,
        body TEXT NOT NULL,
        created_ms INTEGER NOT NULL,
        used_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL,
        revoked_ms INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX grants_of_approval ON grants (approval);
    CREATE INDEX grants_of_client ON grants (tenant, client);
    CREATE INDEX grants_of_account ON grants (tenant, account);

    CREATE TABLE codes (
        id BLOB PRIMARY KEY CHECK (length(id) = 32),
        grant_id TEXT NOT NULL,
        body TEXT NOT NULL,
        expires_ms INTEGER NOT NULL,
        used_ms INTEGER
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE refresh_tokens (
        id BLOB PRIMARY KEY CHECK (length(id) = 32),
        grant_id TEXT NOT NULL,
        expires_ms INTEGER NOT NULL,
        used_ms INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX refresh_tokens_of_grant ON refresh_tokens (grant_id);

    CREATE TABLE access_tokens (
        id BLOB PRIMARY KEY CHECK (length(id) = 32),
        grant_id TEXT NOT NULL,
        scope TEXT NOT NULL,
        issued_ms INTEGER NOT NULL,
        expires_ms INTEGER NOT NULL,
        revoked_ms INTEGER
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX access_tokens_of_grant ON access_tokens (grant_id);

    CREATE TABLE signing_keys (
        id TEXT PRIMARY KEY,
        private BLOB NOT NULL,
        created_ms INTEGER NOT NULL,
        retired_ms INTEGER
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE assertions (
        client TEXT NOT NULL,
        jti TEXT NOT NULL,
        expires_ms INTEGER NOT NULL,
        PRIMARY KEY (client, jti)
    ) STRICT, WITHOUT ROWID;
",
    // Whose role a PractitionerRole is; how long apps may go on with a session that nobody looks at; whom a token is
    // about; what this server keeps to itself.
    "
    CREATE INDEX records_of_practitioner ON records (tenant, class, body ->> 'practitioner', id, source)
        WHERE body ->> 'practitioner' IS NOT NULL;

    ALTER TABLE sessions ADD COLUMN online_ms INTEGER;
    ALTER TABLE access_tokens ADD COLUMN patient TEXT;
    CREATE TABLE secrets (
        name TEXT PRIMARY KEY,
        value BLOB NOT NULL CHECK (length(value) = 32)
    ) STRICT, WITHOUT ROWID;
",
];

/// The first step, for tests of the later ones.
#[cfg(test)]
pub(super) const FIRST: &str = MIGRATIONS[0];

/// The newest schema this host can read.
pub(super) const KNOWN_VERSION: i64 = MIGRATIONS.len() as i64;

/// Refuse a file of another program or a later host before anything in it is changed.
pub(super) fn check(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    version(connection, path).map(drop)
}

/// Make the database at `path` current. Two processes may try at once: the second finds the work done.
pub(super) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found = version(&transaction, path)?;
    let missing = usize::try_from(found).map_err(|_| StoreError::Unreadable { column: "user_version" })?;
    for step in MIGRATIONS.iter().skip(missing) {
        transaction.execute_batch(step)?;
    }
    if found < KNOWN_VERSION {
        transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
        transaction.pragma_update(None, "user_version", KNOWN_VERSION)?;
    }
    transaction.commit()?;
    Ok(())
}

/// The schema version found, provided that the database is ours or still empty.
fn version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (application, found) = (pragma("application_id")?, pragma("user_version")?);
    let tables: i64 = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    let fresh = application == 0 && found == 0 && tables == 0;
    if application != APPLICATION_ID && !fresh {
        return Err(StoreError::Foreign { path: path.to_owned() });
    }
    if found > KNOWN_VERSION {
        return Err(StoreError::NewerVersion { path: path.to_owned(), found, known: KNOWN_VERSION });
    }
    Ok(found)
}

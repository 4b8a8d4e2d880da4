//! Which release is live, kept so that a restart goes on where the host stopped.

use chartgate_model::{Millis, ReleasePin};
use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::validate::{self, InvalidMember, LAST_MS};
use super::{Store, StoreError};

/// The most pins a rollout may carry.
pub const MAX_PINS: usize = 1_000;

/// One caller of one tenant stays on a release for a while.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pin {
    /// name of the caller
    pub caller: String,
    /// the tenant
    pub tenant: String,
    /// digest of the release, `sha256:…`
    pub release: String,
    /// holds until here, exclusive, in milliseconds since 1970
    pub until_ms: u64,
}

/// What an administrator sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RolloutState {
    /// digest of the live release
    pub active: Option<String>,
    /// digest of the one before, for a rollback
    pub previous: Option<String>,
    /// exceptions
    pub pins: Vec<Pin>,
    /// when `active` became live, in milliseconds since 1970
    pub activated_at_ms: u64,
}

/// The state and how often it was set.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rollout {
    /// 0 until it is first set, then one more for each change
    pub revision: u64,
    /// what was set last
    pub state: RolloutState,
}

/// A change of the rollout did not happen.
#[derive(Debug, thiserror::Error)]
pub enum RolloutError {
    /// somebody else was faster
    #[error("the rollout is at revision {found}, not at {expected}")]
    Conflict {
        /// the revision the change was based on
        expected: u64,
        /// the revision in force
        found: u64,
    },
    /// the database failed, or refuses the state
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// The rollout in force; revision 0 and no release when none was ever set.
    pub fn load_rollout(&self) -> Result<Rollout, StoreError> {
        self.read(load)
    }

    /// Set the rollout, provided that it is still at `expected_revision`.
    pub fn save_rollout(&self, expected_revision: u64, new: &RolloutState) -> Result<Rollout, RolloutError> {
        check(new).map_err(StoreError::from)?;
        let pins = serde_json::to_string(&new.pins).map_err(|_| StoreError::Unreadable { column: "pins" })?;
        self.write(|transaction| {
            let found = load(transaction)?.revision;
            if found != expected_revision {
                return Err(RolloutError::Conflict { expected: expected_revision, found });
            }
            let number = |value: u64| i64::try_from(value).map_err(|_| StoreError::Unreadable { column: "revision" });
            let revision = found.saturating_add(1);
            transaction
                .execute(
                    "INSERT OR REPLACE INTO rollout (id, revision, active, previous, pins, activated_at_ms)
                     VALUES (1, ?1, ?2, ?3, ?4, ?5)",
                    params![number(revision)?, new.active, new.previous, pins, number(new.activated_at_ms)?],
                )
                .map_err(StoreError::from)?;
            Ok(Rollout { revision, state: new.clone() })
        })
    }
}

fn load(transaction: &Transaction<'_>) -> Result<Rollout, StoreError> {
    let mut statement = transaction
        .prepare_cached("SELECT revision, active, previous, pins, activated_at_ms FROM rollout WHERE id = 1")?;
    let row = statement.query_row([], |row| {
        Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?, row.get::<_, i64>(4)?))
    });
    let Some((revision, active, previous, pins, activated_at)) = row.optional()? else {
        return Ok(Rollout::default());
    };
    let number = |value: i64, column| u64::try_from(value).map_err(|_| StoreError::Unreadable { column });
    let state = RolloutState {
        active,
        previous,
        // SECURITY: pins that cannot be read are an error, not an empty list: that would move callers.
        pins: serde_json::from_str(&pins).map_err(|_| StoreError::Unreadable { column: "pins" })?,
        activated_at_ms: number(activated_at, "activated_at_ms")?,
    };
    check(&state)?;
    Ok(Rollout { revision: number(revision, "revision")?, state })
}

fn check(state: &RolloutState) -> Result<(), InvalidMember> {
    let refuse = |member, message: String| Err(InvalidMember { member, message });
    for (member, digest) in [("active", &state.active), ("previous", &state.previous)] {
        if let Some(digest) = digest.as_ref().filter(|digest| !is_digest(digest)) {
            return refuse(member, format!("`{digest}` is not a digest like `sha256:…`"));
        }
    }
    if state.pins.len() > MAX_PINS {
        return refuse("pins", format!("there are more than {MAX_PINS}"));
    }
    if state.activated_at_ms > LAST_MS {
        return refuse("activated_at", "not a time that can be stored".into());
    }
    for (index, pin) in state.pins.iter().enumerate() {
        validate::tenant(&pin.tenant)?;
        if pin.caller.is_empty() || pin.caller.len() > 256 {
            return refuse("pins.caller", "not a name of 1 to 256 bytes".into());
        }
        if !is_digest(&pin.release) {
            return refuse("pins.release", format!("`{}` is not a digest like `sha256:…`", pin.release));
        }
        let twice = |other: &Pin| other.caller == pin.caller && other.tenant == pin.tenant;
        if state.pins.iter().skip(index + 1).any(twice) {
            return refuse("pins", format!("`{}` is pinned twice in tenant `{}`", pin.caller, pin.tenant));
        }
    }
    Ok(())
}

fn is_digest(text: &str) -> bool {
    matches!(ReleasePin::parse(text), Some(ReleasePin::Digest(_)))
}

impl Pin {
    /// Whether it still holds at `now`.
    pub fn holds_at(&self, now: Millis) -> bool {
        now.0 < self.until_ms
    }
}

#[cfg(test)]
mod tests {
    use chartgate_model::Millis;
    use tempfile::TempDir;

    use super::{MAX_PINS, Pin, RolloutError, RolloutState};
    use crate::store::{FILE_NAME, Store, StoreError};

    fn open() -> (TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    fn pin(caller: &str) -> Pin {
        Pin { caller: caller.into(), tenant: "default".into(), release: digest('c'), until_ms: 9 }
    }

    fn state() -> RolloutState {
        RolloutState {
            active: Some(digest('a')),
            previous: Some(digest('b')),
            pins: vec![pin("gateway")],
            activated_at_ms: 5,
        }
    }

    #[test]
    fn before_anything_is_set_the_revision_is_zero_and_nothing_is_active() {
        let (_dir, store) = open();
        let rollout = store.load_rollout().unwrap();
        assert_eq!((rollout.revision, rollout.state), (0, RolloutState::default()));
    }

    #[test]
    fn what_is_saved_is_loaded_by_another_process() {
        let (dir, store) = open();
        let saved = store.save_rollout(0, &state()).unwrap();
        assert_eq!(saved.revision, 1);
        assert_eq!(Store::open(dir.path()).unwrap().load_rollout().unwrap(), saved);
        assert_eq!(saved.state, state());
    }

    #[test]
    fn a_change_based_on_another_revision_is_a_conflict_and_changes_nothing() {
        let (_dir, store) = open();
        store.save_rollout(0, &state()).unwrap();
        for expected in [0, 2] {
            let error = store.save_rollout(expected, &RolloutState::default()).unwrap_err();
            assert!(matches!(error, RolloutError::Conflict { found: 1, .. }), "{error}");
        }
        assert_eq!(store.load_rollout().unwrap().state, state());
    }

    #[test]
    fn malformed_states_are_refused() {
        let (_dir, store) = open();
        type Spoil = fn(&mut RolloutState);
        let table: [(&str, Spoil); 8] = [
            ("active", |s| s.active = Some("smart-access@1.0.0".into())),
            ("previous", |s| s.previous = Some("sha256:AB".into())),
            ("pins.release", |s| s.pins.iter_mut().for_each(|p| p.release.clear())),
            ("pins.caller", |s| s.pins.iter_mut().for_each(|p| p.caller.clear())),
            ("tenant", |s| s.pins.iter_mut().for_each(|p| p.tenant = "A".into())),
            ("pins", |s| s.pins.push(pin("gateway"))),
            ("pins", |s| s.pins = (0..=MAX_PINS).map(|n| pin(&n.to_string())).collect()),
            ("activated_at", |s| s.activated_at_ms = u64::MAX),
        ];
        for (member, change) in table {
            let mut bad = state();
            change(&mut bad);
            match store.save_rollout(0, &bad).unwrap_err() {
                RolloutError::Store(StoreError::Invalid(error)) => assert_eq!(error.member, member),
                other => panic!("{member}: {other:?}"),
            }
        }
        let most = RolloutState { pins: (0..MAX_PINS).map(|n| pin(&n.to_string())).collect(), ..state() };
        store.save_rollout(0, &most).unwrap();
    }

    #[test]
    fn unreadable_pins_are_an_error_and_not_an_empty_list() {
        let (dir, store) = open();
        store.save_rollout(0, &state()).unwrap();
        let other = rusqlite::Connection::open(dir.path().join(FILE_NAME)).unwrap();
        other.execute("UPDATE rollout SET pins = '{'", []).unwrap();
        assert!(matches!(store.load_rollout().unwrap_err(), StoreError::Unreadable { column: "pins" }));
    }

    #[test]
    fn a_pin_holds_until_just_before_its_end() {
        assert!(pin("a").holds_at(Millis(8)));
        assert!(!pin("a").holds_at(Millis(9)));
    }
}

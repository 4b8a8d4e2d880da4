//! The keys tokens are signed with: one signs, those before it are shown until nothing they signed counts.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use chartgate_model::Millis;
use serde_json::{Map, Value, json};

use super::StartError;
use crate::edge::Edge;
use crate::store::oauth::KeyRow;
use crate::store::{Store, StoreError};
use crate::tokens::{SigningError, SigningKey, signed};

/// How long a retired key is shown: longer than any token lives.
const SHOWN_MS: u64 = 2 * 24 * 60 * 60 * 1_000;

/// The keys, read once each.
#[derive(Debug, Default)]
pub(super) struct Keyring(Mutex<HashMap<String, Arc<SigningKey>>>);

impl Keyring {
    /// Open it; the first start makes the first key.
    pub(super) fn open(store: &Store, edge: &Edge, key_ms: u64) -> Result<Self, StartError> {
        let keyring = Self::default();
        keyring.renew(store, edge, key_ms)?;
        Ok(keyring)
    }

    /// Make a new key when there is none or the newest is old.
    pub(super) fn renew(&self, store: &Store, edge: &Edge, key_ms: u64) -> Result<(), StartError> {
        let now = (edge.now)();
        let newest = store.signing_keys()?.into_iter().next();
        if newest.is_none_or(|key| key.created.plus_ms(key_ms) <= now) {
            rotate(store, edge)?;
        }
        Ok(())
    }

    /// Sign with the newest key. Keys are looked up each time: another process may have made one.
    pub(super) fn sign(&self, store: &Store, kind: &str, claims: &Map<String, Value>) -> Result<String, KeyError> {
        let newest = store.signing_keys()?.into_iter().next().ok_or(KeyError::Signing(SigningError))?;
        Ok(self.read(&newest)?.sign(kind, claims)?)
    }

    /// The public halves, as a JWK set (RFC 7517).
    pub(super) fn public(&self, store: &Store) -> Result<Value, KeyError> {
        let keys = store.signing_keys()?;
        let keys = keys.iter().map(|row| Ok(self.read(row)?.public().clone()));
        Ok(json!({ "keys": keys.collect::<Result<Vec<Value>, SigningError>>()? }))
    }

    /// The claims of what was signed with one of the keys that are still shown.
    pub(super) fn signed(&self, store: &Store, token: &str) -> Result<Option<Map<String, Value>>, KeyError> {
        Ok(signed(token, &self.public(store)?))
    }

    fn read(&self, row: &KeyRow) -> Result<Arc<SigningKey>, SigningError> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(key) = known.get(&row.id) {
            return Ok(Arc::clone(key));
        }
        let key = Arc::new(SigningKey::read(&row.id, &row.private)?);
        known.insert(row.id.clone(), Arc::clone(&key));
        Ok(key)
    }
}

/// Nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum KeyError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Signing(#[from] SigningError),
}

impl From<KeyError> for super::error::OAuthError {
    fn from(error: KeyError) -> Self {
        tracing::error!(error = %crate::causes::chain(&error), "nothing can be signed");
        Self::failed()
    }
}

/// Sign with a new key from now on; answers its id.
pub(super) fn rotate(store: &Store, edge: &Edge) -> Result<String, StartError> {
    let (id, now) = ((edge.new_id)(), (edge.now)());
    let forget = Millis(now.0.saturating_sub(SHOWN_MS));
    store.rotate_signing_key(&id, &SigningKey::generate()?, now, forget)?;
    Ok(id)
}

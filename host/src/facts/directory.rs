//! The directory as a source of facts.

use std::collections::BTreeSet;
use std::sync::Arc;

use chartgate_model::RecordClass;

use crate::store::Store;
use crate::store::relationships::SOURCE;

use super::{FactError, FactSource, RecordsAnswer, SourceAnswer};

/// Relationships of one user a policy is shown at most: far beyond what one search can be narrowed to,
/// and small enough for the policy's memory.
pub const DEFAULT_OF_USER_LIMIT: usize = 1_000;

/// Answers from the embedded database, read anew each time.
#[derive(Debug, Clone)]
pub struct Directory {
    store: Arc<Store>,
    of_user_limit: usize,
}

impl Directory {
    /// The directory in `store`, listing at most `of_user_limit` relationships of a user.
    pub fn new(store: Arc<Store>, of_user_limit: usize) -> Self {
        Self { store, of_user_limit }
    }
}

fn stamp(revision: u64) -> String {
    format!("{SOURCE}@{revision}")
}

impl FactSource for Directory {
    fn between(&self, tenant: &str, user: &str, patient: &str) -> Result<SourceAnswer, FactError> {
        let (relationships, revision) = self.store.between(tenant, user, patient)?;
        Ok(SourceAnswer { relationships, truncated: false, stamp: stamp(revision) })
    }

    fn of_user(&self, tenant: &str, user: &str) -> Result<SourceAnswer, FactError> {
        let (relationships, truncated, revision) = self.store.of_user(tenant, user, self.of_user_limit)?;
        Ok(SourceAnswer { relationships, truncated, stamp: stamp(revision) })
    }

    fn roles(&self, tenant: &str, practitioner: &str) -> Result<RecordsAnswer, FactError> {
        let (records, revision) = self.store.roles_of(tenant, practitioner)?;
        Ok(RecordsAnswer { records, stamp: stamp(revision) })
    }

    fn records(&self, tenant: &str, class: RecordClass, ids: &BTreeSet<String>) -> Result<RecordsAnswer, FactError> {
        let (records, revision) = self.store.records_of(tenant, class, ids.iter().map(String::as_str))?;
        Ok(RecordsAnswer { records, stamp: stamp(revision) })
    }
}

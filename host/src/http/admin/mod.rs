//! `/admin/v1`: what administrators see and change. Every change is itself a record in the log.

pub mod records;
pub mod relationships;
pub mod releases;
pub mod rollout;
pub mod smart;

use std::net::SocketAddr;

use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;

use crate::audit::ChangeRecord;
use crate::audit::record::CHANGE_SCHEMA;
use crate::http::State;
use crate::http::caller::Administrator;
use crate::http::problem::Problem;
use crate::store::StoreError;
use crate::store::relationships::MAX_PAGE;

/// A change, for the record.
struct ChangeMade<'a> {
    action: &'a str,
    subject: &'a str,
    tenant: Option<&'a str>,
    before: Option<Value>,
    after: Option<Value>,
    revision: u64,
}

impl State {
    /// Who asks, if they have one of these roles.
    fn administrator(&self, headers: &HeaderMap, peer: SocketAddr, roles: &[&str]) -> Result<Administrator, Problem> {
        let administrator = self.people.administrator(headers, peer)?;
        administrator.needs(roles)?;
        Ok(administrator)
    }

    async fn record_change(&self, actor: &Administrator, change: ChangeMade<'_>) -> Result<(), Problem> {
        let record = ChangeRecord {
            action: change.action,
            actor: &actor.name,
            after: change.after.as_ref(),
            before: change.before.as_ref(),
            host_version: crate::VERSION,
            id: &(self.edge.new_id)(),
            revision: change.revision,
            schema: CHANGE_SCHEMA,
            subject: change.subject,
            tenant: change.tenant,
            time_ms: (self.edge.now)().0,
        };
        let failed = || {
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "log-failed", "the change is made, and could not be recorded")
        };
        let line = record.to_line().map_err(|_| failed())?;
        self.changes.append(line).await.map_err(|_| failed())
    }
}

/// The tenant where none is named.
fn default_tenant() -> String {
    "default".into()
}

/// Rows of a page: 100 where nothing is said.
fn page_limit(wanted: Option<usize>) -> Result<usize, Problem> {
    let limit = wanted.unwrap_or(100);
    if limit == 0 || limit > MAX_PAGE {
        return Err(Problem::member("limit", format!("has to be between 1 and {MAX_PAGE}")));
    }
    Ok(limit)
}

fn store_problem(error: StoreError) -> Problem {
    match error {
        StoreError::Invalid(invalid) => Problem::member(invalid.member, invalid.message),
        other => {
            tracing::error!(error = %other, "directory failed");
            Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "directory-failed",
                "the directory could not be read or written",
            )
        }
    }
}

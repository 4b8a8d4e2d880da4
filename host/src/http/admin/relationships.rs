//! `/admin/v1/relationships`: the directory. A change holds from the next decision on.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Query, State as Shared};
use axum::http::HeaderMap;
use chartgate_model::{Millis, Relationship, Terms};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::{ChangeMade, default_tenant, page_limit, store_problem};
use crate::http::State;
use crate::http::caller::ROLES;
use crate::http::decide::{read, read_json};
use crate::http::json;
use crate::http::problem::Problem;
use crate::http::wire::facts::{active, full, ordinary};
use crate::store::{Cursor, Effect, Filter, relationships};

/// Lines of one bulk request.
const BULK_LINES_MAX: usize = 10_000;

/// A relationship of the directory. Tenant, user, patient, kind and basis together are its key.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RelationshipBody {
    /// `default` when absent
    #[serde(default = "default_tenant")]
    pub tenant: String,
    /// `Practitioner/17`
    pub user: String,
    /// bare id
    pub patient: String,
    /// `treatment`, `care-team`, `guardian`, …
    pub kind: String,
    /// `full`, `limited`, `read-only`
    #[serde(default = "full")]
    pub level: String,
    /// `active`, `suspended`, `revoked`
    #[serde(default = "active")]
    pub status: String,
    /// `ordinary`
    #[serde(default = "ordinary")]
    pub via: String,
    /// holds from here, inclusive, RFC 3339
    pub start: Option<String>,
    /// holds until here, exclusive, RFC 3339
    pub end: Option<String>,
    /// what it rests on: a resource, a document; part of the key
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub basis: String,
    /// resource types it does not reach
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_types: Vec<String>,
    /// codes of security labels it does not reach
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude_labels: Vec<String>,
    /// `incapacity` or `minority` of the patient: it holds only then
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// of the kind `delegation`: for whom the user works, `Practitioner/12`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delegator: Option<String>,
}

impl RelationshipBody {
    /// The wire form of a relationship of a tenant.
    pub fn of(tenant: &str, relationship: &Relationship) -> Self {
        let Relationship { user, patient, kind, level, status, via, source: _, start, end, terms } =
            relationship.clone();
        let Terms { basis, exclude_types, exclude_labels, condition, delegator } = terms;
        let (start, end) = (start.map(Millis::to_rfc3339), end.map(Millis::to_rfc3339));
        Self {
            tenant: tenant.to_owned(),
            user,
            patient,
            kind,
            level,
            status,
            via,
            start,
            end,
            basis,
            exclude_types,
            exclude_labels,
            condition,
            delegator,
        }
    }

    /// The relationship, if its times can be read.
    pub fn read(self) -> Result<(String, Relationship), Problem> {
        let time = |member: &str, text: Option<String>| {
            text.map(|text| Millis::parse(&text).map_err(|error| Problem::member(member, error.to_string())))
                .transpose()
        };
        let Self { tenant, user, patient, kind, level, status, via, start, end, .. } = self;
        let Self { basis, exclude_types, exclude_labels, condition, delegator, .. } = self;
        let terms = Terms { basis, exclude_types, exclude_labels, condition, delegator };
        let (start, end) = (time("start", start)?, time("end", end)?);
        let source = relationships::SOURCE.into();
        Ok((tenant, Relationship { user, patient, kind, level, status, via, source, start, end, terms }))
    }
}

/// A page of the directory.
#[derive(Debug, Serialize, ToSchema)]
pub struct RelationshipPage {
    relationships: Vec<RelationshipBody>,
    /// give it as `after` to go on
    next: Option<String>,
    /// revision of the directory
    revision: u64,
}

/// What a change came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Changed {
    created: usize,
    updated: usize,
    unchanged: usize,
    /// revision of the directory after it
    revision: u64,
}

/// Which relationships.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Wanted {
    tenant: Option<String>,
    user: Option<String>,
    patient: Option<String>,
    /// the `next` of the page before
    after: Option<String>,
    /// rows of a page, 100 when absent
    limit: Option<usize>,
}

/// A page of the directory.
#[utoipa::path(get, path = "/admin/v1/relationships", tag = "administration", params(Wanted), responses((status = 200, body = RelationshipPage)))]
pub(in crate::http) async fn list(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<RelationshipPage>, Problem> {
    state.administrator(&headers, peer, &ROLES)?;
    let Query(wanted) = wanted.map_err(|error| Problem::member("query", error.body_text()))?;
    let tenant = wanted.tenant.unwrap_or_else(default_tenant);
    let limit = page_limit(wanted.limit)?;
    let after = wanted.after.as_deref().map(Cursor::parse).transpose();
    let after = after.map_err(|error| Problem::member("after", error.message))?;
    let filter = Filter { user: wanted.user, patient: wanted.patient };
    let page = state.store.list(&tenant, &filter, after.as_ref(), limit).map_err(store_problem)?;
    let relationships = page.relationships.iter().map(|row| RelationshipBody::of(&tenant, row)).collect();
    Ok(Json(RelationshipPage { relationships, next: page.next.map(|next| next.to_string()), revision: page.revision }))
}

/// Grant or change one relationship.
#[utoipa::path(put, path = "/admin/v1/relationships", tag = "administration", request_body = RelationshipBody, responses((status = 200, body = Changed)))]
pub(in crate::http) async fn put(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Changed>, Problem> {
    let actor = state.administrator(&headers, peer, &["operator"])?;
    let bytes = read_json(&headers, body, state.limits.body_bytes).await?;
    let (tenant, given) = line(&bytes)?.read()?;
    let before = state
        .store
        .get(&tenant, &given.user, &given.patient, &given.kind, &given.terms.basis)
        .map_err(store_problem)?;
    let change = state.store.put(&tenant, &given, (state.edge.now)()).map_err(store_problem)?;
    let made = ChangeMade {
        action: "relationship-put",
        subject: &subject(&given.user, &given.patient, &given.kind),
        tenant: Some(&tenant),
        before: before.and_then(|row| serde_json::to_value(RelationshipBody::of(&tenant, &row)).ok()),
        after: serde_json::to_value(RelationshipBody::of(&tenant, &given)).ok(),
        revision: change.revision,
    };
    state.record_change(&actor, made).await?;
    Ok(Json(changed(&change.effect, change.revision)))
}

/// The key of a relationship.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Key {
    tenant: Option<String>,
    user: String,
    patient: String,
    kind: String,
    /// none when absent
    basis: Option<String>,
}

/// Remove one relationship from the directory. To end access and keep the row, put `status: revoked`.
#[utoipa::path(delete, path = "/admin/v1/relationships", tag = "administration", params(Key), responses((status = 200, body = Changed)))]
pub(in crate::http) async fn delete(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    key: Result<Query<Key>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Changed>, Problem> {
    let actor = state.administrator(&headers, peer, &["operator"])?;
    let Query(key) = key.map_err(|error| Problem::member("query", error.body_text()))?;
    let tenant = key.tenant.unwrap_or_else(default_tenant);
    let basis = key.basis.as_deref().unwrap_or_default();
    let before = state.store.get(&tenant, &key.user, &key.patient, &key.kind, basis).map_err(store_problem)?;
    let change = state.store.delete(&tenant, &key.user, &key.patient, &key.kind, basis).map_err(store_problem)?;
    let made = ChangeMade {
        action: "relationship-delete",
        subject: &subject(&key.user, &key.patient, &key.kind),
        tenant: Some(&tenant),
        before: before.and_then(|row| serde_json::to_value(RelationshipBody::of(&tenant, &row)).ok()),
        after: None,
        revision: change.revision,
    };
    state.record_change(&actor, made).await?;
    Ok(Json(changed(&change.effect, change.revision)))
}

/// Many relationships of one tenant as NDJSON, all or none.
#[utoipa::path(put, path = "/admin/v1/relationships/bulk", tag = "administration",
    request_body(content = String, content_type = "application/x-ndjson"), responses((status = 200, body = Changed)))]
pub(in crate::http) async fn bulk(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Changed>, Problem> {
    let actor = state.administrator(&headers, peer, &["operator"])?;
    let bytes = read(body, state.limits.body_bytes).await?;
    let mut tenants = Vec::new();
    let mut rows = Vec::new();
    for (at, text) in bytes.split(|byte| *byte == b'\n').enumerate().filter(|(_, text)| !text.trim_ascii().is_empty()) {
        let in_line = |problem: Problem| Problem { detail: format!("line {}: {}", at + 1, problem.detail), ..problem };
        let (tenant, row) = line(text).and_then(RelationshipBody::read).map_err(in_line)?;
        crate::store::validate::relationship(&row)
            .map_err(|error| in_line(Problem::member(error.member, error.message)))?;
        tenants.push(tenant);
        rows.push(row);
    }
    let [first, rest @ ..] = tenants.as_slice() else { return Err(Problem::member("body", "has no lines")) };
    if rows.len() > BULK_LINES_MAX || rest.iter().any(|tenant| tenant != first) {
        return Err(Problem::member("body", format!("has to hold at most {BULK_LINES_MAX} lines of one tenant")));
    }
    let bulk = state.store.put_many(first, &rows, (state.edge.now)()).map_err(store_problem)?;
    let after =
        rows.iter().map(|row| serde_json::to_value(RelationshipBody::of(first, row))).collect::<Result<_, _>>().ok();
    let subject = format!("{} relationships", rows.len());
    let made = ChangeMade {
        action: "relationship-bulk",
        subject: &subject,
        tenant: Some(first),
        before: None,
        after,
        revision: bulk.revision,
    };
    state.record_change(&actor, made).await?;
    Ok(Json(Changed {
        created: bulk.created,
        updated: bulk.updated,
        unchanged: bulk.unchanged,
        revision: bulk.revision,
    }))
}

/// One relationship as JSON, read strictly.
pub(crate) fn line(bytes: &[u8]) -> Result<RelationshipBody, Problem> {
    let json::Object(row) = json::read(bytes, 4)?;
    Ok(row)
}

fn subject(user: &str, patient: &str, kind: &str) -> String {
    format!("relationships/{user}/{patient}/{kind}")
}

pub(super) fn changed(effect: &Effect, revision: u64) -> Changed {
    let count = |wanted: bool| usize::from(wanted);
    Changed {
        created: count(matches!(effect, Effect::Created)),
        updated: count(!matches!(effect, Effect::Created | Effect::Unchanged)),
        unchanged: count(matches!(effect, Effect::Unchanged)),
        revision,
    }
}

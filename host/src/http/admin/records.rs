//! `/admin/v1/patients`, `/admin/v1/users`, `/admin/v1/clients`: what is known of each. A change holds from the next
//! decision on.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, Query, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use chartgate_model::{Record, RecordClass};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa::{IntoParams, ToSchema};

use super::relationships::{Changed, changed};
use super::{ChangeMade, default_tenant, page_limit, store_problem};
use crate::http::State;
use crate::http::caller::ROLES;
use crate::http::decide::read_json;
use crate::http::json;
use crate::http::problem::Problem;
use crate::people;
use crate::store::relationships::{IMPORT, SOURCE};

/// A page of records: `patients`, `users` or `clients` as the request has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct RecordsPage {
    /// each as it was put, with its tenant
    #[schema(value_type = Vec<Object>)]
    records: Vec<Value>,
    /// give it as `after` to go on
    next: Option<String>,
    /// revision of the directory
    revision: u64,
}

/// Which records.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Wanted {
    tenant: Option<String>,
    /// only this one
    id: Option<String>,
    /// the `next` of the page before
    after: Option<String>,
    /// rows of a page, 100 when absent
    limit: Option<usize>,
}

/// A page of records, or one of them.
#[utoipa::path(get, path = "/admin/v1/{class}", tag = "administration",
    params(("class" = String, Path, description = "`patients`, `users` or `clients`"), Wanted),
    responses((status = 200, body = RecordsPage)))]
pub(in crate::http) async fn list(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(class): Path<String>,
    wanted: Result<Query<Wanted>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<RecordsPage>, Problem> {
    let class = of(&class)?;
    state.administrator(&headers, peer, &ROLES)?;
    let Query(wanted) = wanted.map_err(|error| Problem::member("query", error.body_text()))?;
    let tenant = wanted.tenant.unwrap_or_else(default_tenant);
    let limit = page_limit(wanted.limit)?;
    let (records, next, revision) = match wanted.id.as_deref() {
        Some(id) => {
            let (records, revision) = state.store.records_of(&tenant, class, [id]).map_err(store_problem)?;
            (records, None, revision)
        }
        None => {
            let page = state.store.records(&tenant, class, wanted.after.as_deref(), limit).map_err(store_problem)?;
            (page.records, page.next, page.revision)
        }
    };
    let records = records.iter().map(|record| told(&tenant, record)).collect();
    Ok(Json(RecordsPage { records, next, revision }))
}

/// Set what is known of one.
#[utoipa::path(put, path = "/admin/v1/{class}", tag = "administration",
    params(("class" = String, Path, description = "`patients`, `users` or `clients`")),
    request_body(content = Object, description = "PatientBody, UserBody or ClientBody, with its `tenant`"),
    responses((status = 200, body = Changed)))]
pub(in crate::http) async fn put(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(class): Path<String>,
    body: Body,
) -> Result<Json<Changed>, Problem> {
    let class = of(&class)?;
    let actor = state.administrator(&headers, peer, &["operator"])?;
    let bytes = read_json(&headers, body, state.limits.body_bytes).await?;
    let json::Object(mut members): json::Object<Map<String, Value>> = json::read(&bytes, 8)?;
    let tenant = match members.remove("tenant") {
        None => default_tenant(),
        Some(Value::String(tenant)) => tenant,
        Some(_) => return Err(Problem::member("tenant", "has to be a string")),
    };
    // What a GET told may be put again; what imports know is not set by hand.
    if members.remove("source").is_some_and(|source| source != SOURCE) {
        return Err(Problem::member("source", "is not `directory`: only imports set what imports know"));
    }
    let record = people::named(class, SOURCE, members).map_err(|error| Problem::member(error.member, error.message))?;
    let before = records_by(&state, &tenant, class, &record.id, SOURCE)?;
    let change = state.store.put_record(&tenant, &record, (state.edge.now)()).map_err(store_problem)?;
    let made = ChangeMade {
        action: "record-put",
        subject: &format!("{}/{}", class.code(), record.id),
        tenant: Some(&tenant),
        before: before.as_ref().map(|before| told(&tenant, before)),
        after: Some(told(&tenant, &record)),
        revision: change.revision,
    };
    state.record_change(&actor, made).await?;
    Ok(Json(changed(&change.effect, change.revision)))
}

/// Of whom.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct Key {
    tenant: Option<String>,
    id: String,
    /// `directory` (what was set by hand) when absent, or `import`
    source: Option<String>,
}

/// Forget what is known of one.
#[utoipa::path(delete, path = "/admin/v1/{class}", tag = "administration",
    params(("class" = String, Path, description = "`patients`, `users` or `clients`"), Key),
    responses((status = 200, body = Changed)))]
pub(in crate::http) async fn delete(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(class): Path<String>,
    key: Result<Query<Key>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<Changed>, Problem> {
    let class = of(&class)?;
    let actor = state.administrator(&headers, peer, &["operator"])?;
    let Query(key) = key.map_err(|error| Problem::member("query", error.body_text()))?;
    let tenant = key.tenant.unwrap_or_else(default_tenant);
    let source = key.source.as_deref().unwrap_or(SOURCE);
    if ![SOURCE, IMPORT].contains(&source) {
        return Err(Problem::member("source", "is neither `directory` nor `import`"));
    }
    let before = records_by(&state, &tenant, class, &key.id, source)?;
    let change = state.store.delete_record(&tenant, class, &key.id, source).map_err(store_problem)?;
    let made = ChangeMade {
        action: "record-delete",
        subject: &format!("{}/{}", class.code(), key.id),
        tenant: Some(&tenant),
        before: before.as_ref().map(|before| told(&tenant, before)),
        after: None,
        revision: change.revision,
    };
    state.record_change(&actor, made).await?;
    Ok(Json(changed(&change.effect, change.revision)))
}

/// What one source knows of one.
fn records_by(
    state: &State,
    tenant: &str,
    class: RecordClass,
    id: &str,
    source: &str,
) -> Result<Option<Record>, Problem> {
    let (records, _) = state.store.records_of(tenant, class, [id]).map_err(store_problem)?;
    Ok(records.into_iter().find(|record| record.source == source))
}

/// The class a path names, in the plural.
fn of(path: &str) -> Result<RecordClass, Problem> {
    let class = path.strip_suffix('s').and_then(RecordClass::from_code);
    class.ok_or_else(|| Problem::new(StatusCode::NOT_FOUND, "no-route", "there is nothing at this path"))
}

/// A record as it was put, and by whom: `directory` is by hand, `import` from resources.
pub(crate) fn told(tenant: &str, record: &Record) -> Value {
    let mut members = record.members.clone();
    members.insert("source".into(), json!(record.source));
    members.insert("tenant".into(), json!(tenant));
    members.insert(record.class.code().into(), json!(record.id));
    Value::Object(members)
}

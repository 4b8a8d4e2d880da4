//! `/admin/v1/smart`: apps, accounts, codes to enrol with and signing keys of the authorization server.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{ConnectInfo, Path, State as Shared};
use axum::http::{HeaderMap, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ChangeMade;
use crate::http::State;
use crate::http::caller::{Administrator, ROLES};
use crate::http::decide::read_json;
use crate::http::json;
use crate::http::launches::problem;
use crate::http::problem::Problem;
use crate::smart::account::{Account, Identity};
use crate::smart::admin::{NewClient, Registrar};
use crate::smart::{Enrolment, Server};

/// Somebody who asks, and the server.
struct Asked<'a> {
    actor: Administrator,
    server: &'a Arc<Server>,
}

impl<'a> Asked<'a> {
    fn of(state: &'a State, headers: &HeaderMap, peer: SocketAddr, roles: &[&str]) -> Result<Self, Problem> {
        let actor = state.administrator(headers, peer, roles)?;
        let none = || Problem::new(StatusCode::NOT_FOUND, "no-route", "this host is no authorization server");
        Ok(Self { actor, server: state.smart.as_ref().ok_or_else(none)? })
    }

    fn registrar(&self) -> Registrar<'a> {
        self.server.registrar()
    }

    /// Put a change on record. What is secret is not in it.
    async fn changed(&self, state: &State, action: &str, subject: &str, after: Option<Value>) -> Result<(), Problem> {
        let tenant = Some(self.server.settings().tenant.as_str());
        state.record_change(&self.actor, ChangeMade { action, subject, tenant, before: None, after, revision: 0 }).await
    }
}

/// All apps.
#[utoipa::path(get, path = "/admin/v1/smart/clients", tag = "administration",
    responses((status = 200, body = Object, description = "`clients`, without their secrets")))]
pub(in crate::http) async fn clients(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::of(&state, &headers, peer, &ROLES)?;
    let clients = asked.registrar().clients().map_err(|error| problem(&error))?;
    Ok(Json(json!({ "clients": clients })))
}

/// Register an app; its secret is told this once.
#[utoipa::path(post, path = "/admin/v1/smart/clients", tag = "administration",
    request_body(content = Object, description = "`id`?, `name`, `kind`, `redirect_uris`, `scope`, `auth`, `jwks`?, \
        `jwks_uri`?, `issuer_only`?, `secret_days`?, `launch_uri`?, `origins`?, `introspect`?, `policy_uri`?"),
    responses((status = 201, body = Object, description = "`client`, `client_secret`"), (status = 409, body = Problem)))]
pub(in crate::http) async fn add_client(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = Asked::of(&state, &headers, peer, &["operator"])?;
    let bytes = read_json(&headers, body, state.limits.body_bytes).await?;
    let json::Object(new): json::Object<NewClient> = json::read(&bytes, 16)?;
    let (client, secret) = asked.registrar().add_client(new).map_err(|error| problem(&error))?;
    asked.changed(&state, "client-add", &format!("clients/{}", client.id), Some(json!(client))).await?;
    let told = json!({ "client": client, "client_secret": secret.as_ref().map(|secret| secret.text()) });
    Ok((StatusCode::CREATED, Json(told)))
}

/// Take an app away, with everything it was granted.
#[utoipa::path(delete, path = "/admin/v1/smart/clients/{id}", tag = "administration",
    params(("id" = String, Path, description = "OAuth client identifier")),
    responses((status = 204), (status = 404, body = Problem)))]
pub(in crate::http) async fn remove_client(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    let asked = Asked::of(&state, &headers, peer, &["operator"])?;
    asked.registrar().remove_client(&id).map_err(|error| problem(&error))?;
    asked.changed(&state, "client-remove", &format!("clients/{id}"), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// How long a new secret lives, and those before it.
#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, default)]
pub(in crate::http) struct Rotation {
    secret_days: Option<u64>,
    grace_hours: u64,
}

/// Give an app a new secret, told this once.
#[utoipa::path(post, path = "/admin/v1/smart/clients/{id}/secret", tag = "administration",
    params(("id" = String, Path, description = "OAuth client identifier")), request_body = Rotation,
    responses((status = 201, body = Object, description = "`client_secret`"), (status = 404, body = Problem)))]
pub(in crate::http) async fn rotate_client(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(id): Path<String>,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = Asked::of(&state, &headers, peer, &["operator"])?;
    let bytes = read_json(&headers, body, state.limits.body_bytes).await?;
    let json::Object(Rotation { secret_days, grace_hours }) = json::read(&bytes, 4)?;
    let secret = asked.registrar().rotate_client(&id, secret_days, grace_hours).map_err(|error| problem(&error))?;
    asked.changed(&state, "client-rotate", &format!("clients/{id}"), None).await?;
    Ok((StatusCode::CREATED, Json(json!({ "client_secret": secret.text() }))))
}

/// All accounts.
#[utoipa::path(get, path = "/admin/v1/smart/users", tag = "administration",
    responses((status = 200, body = Object, description = "`users`, without their passwords")))]
pub(in crate::http) async fn users(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<Json<Value>, Problem> {
    let asked = Asked::of(&state, &headers, peer, &ROLES)?;
    let accounts = asked.registrar().accounts().map_err(|error| problem(&error))?;
    let rows: Vec<Value> = accounts.iter().map(|(name, account)| json!({ "name": name, "account": account })).collect();
    Ok(Json(json!({ "users": rows })))
}

/// An account to make.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewAccount {
    name: String,
    password: String,
    label: String,
    identities: Vec<Identity>,
}

/// Make an account.
#[utoipa::path(post, path = "/admin/v1/smart/users", tag = "administration",
    request_body(content = Object, description = "`name`, `password`, `label`, `identities` [{`kind`, `user`}]"),
    responses((status = 201, body = Object, description = "`name`, `account`"), (status = 409, body = Problem)))]
pub(in crate::http) async fn add_user(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = Asked::of(&state, &headers, peer, &["operator"])?;
    let bytes = read_json(&headers, body, state.limits.body_bytes).await?;
    let json::Object(new): json::Object<NewAccount> = json::read(&bytes, 8)?;
    let account = Account { label: new.label, identities: new.identities, closed: false };
    let (server, given) = (Arc::clone(asked.server), account.clone());
    let made = move || server.registrar().add_account(&new.name, &new.password, &given);
    let made = tokio::task::spawn_blocking(made).await;
    let failed = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "the account was not made");
    let name = made.map_err(failed)?.map_err(|error| problem(&error))?;
    asked.changed(&state, "user-add", &format!("accounts/{name}"), Some(json!(account))).await?;
    Ok((StatusCode::CREATED, Json(json!({ "name": name, "account": account }))))
}

/// Take an account away, with its sessions and grants.
#[utoipa::path(delete, path = "/admin/v1/smart/users/{name}", tag = "administration",
    params(("name" = String, Path, description = "what somebody signs in with")),
    responses((status = 204), (status = 404, body = Problem)))]
pub(in crate::http) async fn remove_user(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    let asked = Asked::of(&state, &headers, peer, &["operator"])?;
    asked.registrar().remove_account(&name).map_err(|error| problem(&error))?;
    asked.changed(&state, "user-remove", &format!("accounts/{name}"), None).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Whom a code is for, and for how long.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct NewEnrolment {
    label: String,
    identities: Vec<Identity>,
    family_name: String,
    birth_date: String,
    hours: Option<u64>,
}

/// A code by which one person makes their own account, told this once.
#[utoipa::path(post, path = "/admin/v1/smart/enrolments", tag = "administration",
    request_body(content = Object, description = "`label`, `identities`, `family_name`, `birth_date`, `hours`? (72)"),
    responses((status = 201, body = Object, description = "`code`, `expires`")))]
pub(in crate::http) async fn enrol(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = Asked::of(&state, &headers, peer, &["operator"])?;
    let bytes = read_json(&headers, body, state.limits.body_bytes).await?;
    let json::Object(new): json::Object<NewEnrolment> = json::read(&bytes, 8)?;
    let NewEnrolment { label, identities, family_name, birth_date, hours } = new;
    let enrolment = Enrolment { label, identities, family_name, birth_date };
    let hours = hours.unwrap_or(72).min(24 * 90);
    let (code, expires) = asked.registrar().enrolment(&enrolment, hours).map_err(|error| problem(&error))?;
    let users: Vec<&str> = enrolment.identities.iter().map(|identity| identity.user.as_str()).collect();
    asked.changed(&state, "user-invite", &format!("enrolments/{}", users.join(" ")), None).await?;
    Ok((StatusCode::CREATED, Json(json!({ "code": code.text(), "expires": expires.to_string() }))))
}

/// Sign with a new key from now on; those before it are shown until nothing they signed counts.
#[utoipa::path(post, path = "/admin/v1/smart/keys", tag = "administration",
    responses((status = 201, body = Object, description = "`kid`")))]
pub(in crate::http) async fn rotate_key(
    Shared(state): Shared<Arc<State>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let asked = Asked::of(&state, &headers, peer, &["operator"])?;
    let server = Arc::clone(asked.server);
    let made = tokio::task::spawn_blocking(move || server.rotate_key()).await;
    let failed = || Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", "no key was made");
    let kid = made.map_err(|_| failed())?.map_err(|_| failed())?;
    asked.changed(&state, "key-rotate", &format!("keys/{kid}"), None).await?;
    Ok((StatusCode::CREATED, Json(json!({ "kid": kid }))))
}

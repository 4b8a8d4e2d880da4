//! `chartgate client`: the apps of the authorization server, straight in its database.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::Ended;
use super::directory::{Place, record};
use crate::edge::Edge;
use crate::smart::admin::{NewClient, Registrar};
use crate::smart::client::ClientKind;
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Register an app; its secret is printed once
    Add(Box<Add>),
    /// List apps
    List(Place),
    /// Give an app a new secret
    Rotate(Rotate),
    /// Take an app away, with everything it was granted
    Remove(One),
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// What people know it by
    name: String,
    /// Whom it serves: `patient` or `provider`
    #[arg(long)]
    kind: String,
    /// Where people are sent back to; may be repeated
    #[arg(long = "redirect-uri", value_name = "URI", required = true)]
    redirect_uris: Vec<String>,
    /// The most it may ask for
    #[arg(long)]
    scope: String,
    /// `none`, `client_secret_basic`, `client_secret_post` or `private_key_jwt`
    #[arg(long, default_value = "none")]
    auth: String,
    /// OAuth client identifier; drawn when absent
    #[arg(long)]
    id: Option<String>,
    /// File with its public keys, a JWK set
    #[arg(long)]
    jwks: Option<PathBuf>,
    /// URL of its public keys
    #[arg(long)]
    jwks_uri: Option<String>,
    /// Its assertions may name the issuer only
    #[arg(long)]
    issuer_only: bool,
    /// Days its secret lives
    #[arg(long)]
    secret_days: Option<u64>,
    /// Where an EHR opens it
    #[arg(long)]
    launch_uri: Option<String>,
    /// A browser origin it calls from, besides those of its redirect URIs; may be repeated
    #[arg(long = "origin")]
    origins: Vec<String>,
    /// It may ask about any token
    #[arg(long)]
    introspect: bool,
    /// URL of what it does with data
    #[arg(long)]
    policy_uri: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct Rotate {
    /// OAuth client identifier
    id: String,
    /// Days the new secret lives
    #[arg(long)]
    secret_days: Option<u64>,
    /// Hours the secrets before it go on
    #[arg(long, default_value_t = 24)]
    grace_hours: u64,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// OAuth client identifier
    id: String,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(verb: Verb) -> anyhow::Result<Ended> {
    match verb {
        Verb::Add(add) => self::add(*add),
        Verb::List(place) => list(&place),
        Verb::Rotate(rotate) => self::rotate(&rotate),
        Verb::Remove(one) => remove(&one),
    }
}

fn add(given: Add) -> anyhow::Result<Ended> {
    let kind = match given.kind.as_str() {
        "patient" => ClientKind::Patient,
        "provider" => ClientKind::Provider,
        other => anyhow::bail!("`--kind` is `patient` or `provider`, not `{other}`"),
    };
    let jwks = given.jwks.map(|file| {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read `{}`", file.display()))?;
        serde_json::from_str(&text).with_context(|| format!("`{}` is no JSON", file.display()))
    });
    let new = NewClient {
        id: given.id,
        name: given.name,
        kind,
        redirect_uris: given.redirect_uris,
        scope: given.scope,
        auth: given.auth,
        jwks: jwks.transpose()?,
        jwks_uri: given.jwks_uri,
        issuer_only: given.issuer_only,
        secret_days: given.secret_days,
        launch_uri: given.launch_uri,
        origins: given.origins,
        introspect: given.introspect,
        policy_uri: given.policy_uri,
    };
    let place = given.place;
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let (client, secret) = registrar(&store, &edge, &place).add_client(new)?;
    changes(&place, &edge, "client-add", &format!("clients/{}", client.id), None)?;
    let secret = secret.as_ref().map(|secret| secret.text());
    let mut lines = vec![format!("client {}", client.id)];
    lines.extend(secret.map(|secret| format!("secret {secret}   (it is shown this once)")));
    if client.auth.method() == "client_secret_post" {
        lines.push("it can authenticate only where the host has `smart.secret_post = true`".into());
    }
    print(&place, &json!({ "client": client, "client_secret": secret }), &lines)?;
    Ok(Ended::Done)
}

fn list(place: &Place) -> anyhow::Result<Ended> {
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let clients = registrar(&store, &edge, place).clients()?;
    let line = |client: &crate::smart::client::Client| {
        format!("{}  {}  {}  {}", client.id, client.auth.method(), client.name, client.redirect_uris.join(" "))
    };
    print(place, &json!({ "clients": clients }), &clients.iter().map(line).collect::<Vec<_>>())?;
    Ok(Ended::Done)
}

fn rotate(given: &Rotate) -> anyhow::Result<Ended> {
    let place = &given.place;
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let secret = registrar(&store, &edge, place).rotate_client(&given.id, given.secret_days, given.grace_hours)?;
    changes(place, &edge, "client-rotate", &format!("clients/{}", given.id), None)?;
    let line = format!("secret {}   (it is shown this once)", secret.text());
    print(place, &json!({ "client_secret": secret.text() }), &[line])?;
    Ok(Ended::Done)
}

fn remove(one: &One) -> anyhow::Result<Ended> {
    let (store, edge) = (Store::open(&one.place.data)?, Edge::system());
    registrar(&store, &edge, &one.place).remove_client(&one.id)?;
    changes(&one.place, &edge, "client-remove", &format!("clients/{}", one.id), None)?;
    print(&one.place, &json!({ "removed": one.id }), &[format!("removed {}", one.id)])?;
    Ok(Ended::Done)
}

pub(super) fn registrar<'a>(store: &'a Store, edge: &'a Edge, place: &'a Place) -> Registrar<'a> {
    // What the host's configuration says is not known here.
    Registrar { store, edge, tenant: &place.tenant, post: true }
}

/// Put a change on record. What is secret is not in it.
pub(super) fn changes(
    place: &Place,
    edge: &Edge,
    action: &str,
    subject: &str,
    after: Option<serde_json::Value>,
) -> anyhow::Result<()> {
    record(place, edge, action, subject, (None, after), 0)
}

/// As JSON, or in lines for people.
pub(super) fn print(place: &Place, whole: &serde_json::Value, lines: &[String]) -> anyhow::Result<()> {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    match place.json {
        true => writeln!(out, "{whole}")?,
        false => lines.iter().try_for_each(|line| writeln!(out, "{line}"))?,
    }
    Ok(())
}

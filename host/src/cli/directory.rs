//! `chartgate directory`: relationships, straight in the database. A running host sees a change at its
//! next decision.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use chartgate_model::{Millis, Relationship};
use clap::Subcommand;
use serde_json::{Value, json};

use super::Ended;
use crate::audit::record::CHANGE_SCHEMA;
use crate::audit::{ChangeRecord, DecisionLog, LogOptions};
use crate::edge::Edge;
use crate::http::admin::relationships::RelationshipBody;
use crate::store::{Effect, Filter, Store, relationships};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Grant a relationship, or change one
    Grant(Grant),
    /// Revoke a relationship; its row stays and says so
    Revoke(Revoke),
    /// List relationships
    List(List),
}

#[derive(Debug, clap::Args)]
struct Place {
    /// Folder of the database
    #[arg(long, default_value = "data")]
    data: PathBuf,
    /// Tenant
    #[arg(long, default_value = "default")]
    tenant: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Grant {
    /// `Practitioner/17`
    user: String,
    /// Bare id of the patient
    patient: String,
    /// `treatment`, `care-team`, `guardian`, …
    kind: String,
    /// `full` or `read-only`
    #[arg(long, default_value = "full")]
    level: String,
    /// Holds from here, RFC 3339
    #[arg(long)]
    start: Option<String>,
    /// Holds until here, RFC 3339
    #[arg(long)]
    end: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct Revoke {
    /// `Practitioner/17`
    user: String,
    /// Bare id of the patient
    patient: String,
    /// `treatment`, `care-team`, `guardian`, …
    kind: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only of this user
    #[arg(long)]
    user: Option<String>,
    /// Only of this patient
    #[arg(long)]
    patient: Option<String>,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(verb: Verb) -> anyhow::Result<Ended> {
    match verb {
        Verb::Grant(grant) => self::grant(&grant),
        Verb::Revoke(revoke) => self::revoke(&revoke),
        Verb::List(list) => self::list(&list),
    }
}

fn grant(grant: &Grant) -> anyhow::Result<Ended> {
    let Grant { user, patient, kind, level, start, end, place } = grant;
    let time = |text: &Option<String>| text.as_deref().map(Millis::parse).transpose();
    let relationship = Relationship {
        user: user.clone(),
        patient: patient.clone(),
        kind: kind.clone(),
        level: level.clone(),
        status: "active".into(),
        via: "ordinary".into(),
        source: relationships::SOURCE.into(),
        start: time(start).context("--start")?,
        end: time(end).context("--end")?,
    };
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let before = store.get(&place.tenant, user, patient, kind)?;
    let change = store.put(&place.tenant, &relationship, (edge.now)())?;
    finish("relationship-put", place, &edge, &store, (user, patient, kind), before, change.effect, change.revision)
}

fn revoke(revoke: &Revoke) -> anyhow::Result<Ended> {
    let Revoke { user, patient, kind, place } = revoke;
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let Some(before) = store.get(&place.tenant, user, patient, kind)? else {
        eprintln!("chartgate: there is no {kind} relationship of {user} to patient {patient}");
        return Ok(Ended::No);
    };
    let change = store.revoke(&place.tenant, user, patient, kind, (edge.now)())?;
    finish(
        "relationship-revoke",
        place,
        &edge,
        &store,
        (user, patient, kind),
        Some(before),
        change.effect,
        change.revision,
    )
}

#[expect(clippy::too_many_arguments, reason = "the parts of one change record")]
fn finish(
    action: &str,
    place: &Place,
    edge: &Edge,
    store: &Store,
    key: (&str, &str, &str),
    before: Option<Relationship>,
    effect: Effect,
    revision: u64,
) -> anyhow::Result<Ended> {
    let (user, patient, kind) = key;
    let wire = |row: &Relationship| json!(RelationshipBody::of(&place.tenant, row));
    let after = store.get(&place.tenant, user, patient, kind)?;
    record(
        &place.data,
        edge,
        action,
        &place.tenant,
        key,
        before.as_ref().map(wire),
        after.as_ref().map(wire),
        revision,
    )?;
    let effect = format!("{effect:?}").to_lowercase();
    if place.json {
        println!("{}", json!({ "effect": effect, "revision": revision, "relationship": after.as_ref().map(wire) }));
    } else {
        println!("{effect}: {kind} of {user} to patient {patient} (revision {revision})");
    }
    Ok(Ended::Done)
}

#[expect(clippy::too_many_arguments, reason = "the parts of one change record")]
fn record(
    data: &Path,
    edge: &Edge,
    action: &str,
    tenant: &str,
    key: (&str, &str, &str),
    before: Option<Value>,
    after: Option<Value>,
    revision: u64,
) -> anyhow::Result<()> {
    let (user, patient, kind) = key;
    let record = ChangeRecord {
        action,
        actor: "cli",
        after: after.as_ref(),
        before: before.as_ref(),
        host_version: crate::VERSION,
        id: &(edge.new_id)(),
        revision,
        schema: CHANGE_SCHEMA,
        subject: &format!("relationships/{user}/{patient}/{kind}"),
        tenant: Some(tenant),
        time_ms: (edge.now)().0,
    };
    let log = DecisionLog::open(&data.join("log"), LogOptions::default(), &format!("{}-cli", (edge.new_id)()))?;
    log.append_blocking(record.to_line()?)?;
    log.close();
    Ok(())
}

fn list(list: &List) -> anyhow::Result<Ended> {
    let place = &list.place;
    let store = Store::open(&place.data)?;
    let filter = Filter { user: list.user.clone(), patient: list.patient.clone() };
    let mut after = None;
    loop {
        let page = store.list(&place.tenant, &filter, after.as_ref(), relationships::MAX_PAGE)?;
        for row in &page.relationships {
            let wire = RelationshipBody::of(&place.tenant, row);
            if place.json {
                println!("{}", json!(wire));
            } else {
                let until = wire.end.as_deref().unwrap_or("open");
                println!(
                    "{:<24} {:<20} {:<12} {:<10} {:<10} until {until}",
                    wire.user, wire.patient, wire.kind, wire.level, wire.status
                );
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(Ended::Done),
        }
    }
}

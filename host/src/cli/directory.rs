//! `chartgate directory`: relationships and records, straight in the database. A running host sees a change at its
//! next decision.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use chartgate_model::{Millis, Relationship, Terms};
use clap::Subcommand;
use serde_json::{Value, json};

use super::Ended;
use crate::audit::record::CHANGE_SCHEMA;
use crate::audit::{ChangeRecord, DecisionLog, LogOptions};
use crate::edge::Edge;
use crate::http::admin::relationships::RelationshipBody;
use crate::store::{Change, Filter, Store, StoreError, relationships};

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Grant a relationship, or change one
    Grant(Grant),
    /// Revoke a relationship; its row stays and says so
    Revoke(Revoke),
    /// List relationships
    List(List),
    /// Take over what FHIR resources say about people
    Import(super::import::Files),
    /// Set what is known of a patient, a user or a client
    Set(super::records::Set),
    /// Show what is known of one
    Show(super::records::Shown),
    /// Forget what is known of one
    Forget(super::records::One),
}

#[derive(Debug, clap::Args)]
pub(super) struct Place {
    /// Folder of the database
    #[arg(long, default_value = "data")]
    pub(super) data: PathBuf,
    /// Tenant
    #[arg(long, default_value = "default")]
    pub(super) tenant: String,
    /// Print JSON
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Grant {
    /// `Practitioner/17`
    user: String,
    /// Bare id of the patient
    patient: String,
    /// `treatment`, `care-team`, `guardian`, …
    kind: String,
    /// `full`, `limited` (fewer types, no sensitive labels) or `read-only`
    #[arg(long, default_value = "full")]
    level: String,
    /// Holds from here, RFC 3339
    #[arg(long)]
    start: Option<String>,
    /// Holds until here, RFC 3339
    #[arg(long)]
    end: Option<String>,
    /// A resource type it does not reach; may be repeated
    #[arg(long = "exclude-type", value_name = "TYPE")]
    exclude_types: Vec<String>,
    /// The code of a security label it does not reach; may be repeated
    #[arg(long = "exclude-label", value_name = "CODE")]
    exclude_labels: Vec<String>,
    /// Holds only under `incapacity` or `minority` of the patient
    #[arg(long)]
    condition: Option<String>,
    /// For a `delegation`: for whom the user works, `Practitioner/12`
    #[arg(long)]
    delegator: Option<String>,
    /// What it rests on: a document; relationships on several bases stand side by side
    #[arg(long, default_value = "")]
    basis: String,
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
        Verb::Import(files) => super::import::run(&files),
        Verb::Set(set) => super::records::set(&set),
        Verb::Show(one) => super::records::show(&one),
        Verb::Forget(one) => super::records::forget(&one),
    }
}

fn grant(grant: &Grant) -> anyhow::Result<Ended> {
    let Grant { user, patient, kind, level, start, end, place, basis, .. } = grant;
    let Grant { exclude_types, exclude_labels, condition, delegator, .. } = grant;
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
        terms: Terms {
            basis: basis.clone(),
            exclude_types: exclude_types.clone(),
            exclude_labels: exclude_labels.clone(),
            condition: condition.clone(),
            delegator: delegator.clone(),
        },
    };
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let key = Key { user, patient, kind, basis };
    let before = key.get(&store, &place.tenant)?;
    let change = store.put(&place.tenant, &relationship, (edge.now)())?;
    key.finish("relationship-put", place, &edge, &store, before, change)
}

fn revoke(revoke: &Revoke) -> anyhow::Result<Ended> {
    let Revoke { user, patient, kind, place } = revoke;
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let (all, _) = store.between(&place.tenant, user, patient)?;
    if all.iter().all(|row| row.kind != *kind) {
        eprintln!("chartgate: there is no {kind} relationship of {user} to patient {patient} here");
        // One has to say for whom it was.
        if kind == "delegation" {
            return Ok(Ended::No);
        }
        eprintln!("chartgate: it is revoked all the same, whatever roles or FHIR servers say");
    }
    let key = Key { user, patient, kind, basis: "" };
    let before = key.get(&store, &place.tenant)?;
    let change = store.revoke(&place.tenant, user, patient, kind, (edge.now)())?;
    key.finish("relationship-revoke", place, &edge, &store, before, change)
}

/// Which relationship.
struct Key<'a> {
    user: &'a str,
    patient: &'a str,
    kind: &'a str,
    basis: &'a str,
}

impl Key<'_> {
    fn get(&self, store: &Store, tenant: &str) -> Result<Option<Relationship>, StoreError> {
        store.get(tenant, self.user, self.patient, self.kind, self.basis)
    }

    /// Record a change and tell of it.
    fn finish(
        &self,
        action: &str,
        place: &Place,
        edge: &Edge,
        store: &Store,
        before: Option<Relationship>,
        change: Change,
    ) -> anyhow::Result<Ended> {
        let Self { user, patient, kind, .. } = self;
        let wire = |row: &Relationship| json!(RelationshipBody::of(&place.tenant, row));
        let after = self.get(store, &place.tenant)?.as_ref().map(wire);
        let subject = format!("relationships/{user}/{patient}/{kind}");
        record(place, edge, action, &subject, (before.as_ref().map(wire), after.clone()), change.revision)?;
        let effect = format!("{:?}", change.effect).to_lowercase();
        if place.json {
            println!("{}", json!({ "effect": effect, "revision": change.revision, "relationship": after }));
        } else {
            println!("{effect}: {kind} of {user} to patient {patient} (revision {})", change.revision);
        }
        Ok(Ended::Done)
    }
}

/// Write a change, from what to what, into the log.
pub(super) fn record(
    place: &Place,
    edge: &Edge,
    action: &str,
    subject: &str,
    (before, after): (Option<Value>, Option<Value>),
    revision: u64,
) -> anyhow::Result<()> {
    let record = ChangeRecord {
        action,
        actor: "cli",
        after: after.as_ref(),
        before: before.as_ref(),
        host_version: crate::VERSION,
        id: &(edge.new_id)(),
        revision,
        schema: CHANGE_SCHEMA,
        subject,
        tenant: Some(&place.tenant),
        time_ms: (edge.now)().0,
    };
    let log = DecisionLog::open(&place.data.join("log"), LogOptions::default(), &format!("{}-cli", (edge.new_id)()))?;
    log.append_blocking(record.to_line()?)?;
    log.close();
    Ok(())
}

fn list(list: &List) -> anyhow::Result<Ended> {
    let place = &list.place;
    let store = Store::open(&place.data)?;
    let filter = Filter { user: list.user.clone(), patient: list.patient.clone() };
    let mut out = std::io::stdout().lock();
    let mut after = None;
    loop {
        let page = store.list(&place.tenant, &filter, after.as_ref(), relationships::MAX_PAGE)?;
        for row in &page.relationships {
            let wire = RelationshipBody::of(&place.tenant, row);
            let until = wire.end.as_deref().unwrap_or("open");
            let line = match place.json {
                true => json!(wire).to_string(),
                false => format!(
                    "{:<24} {:<20} {:<12} {:<10} {:<10} until {until}",
                    wire.user, wire.patient, wire.kind, wire.level, wire.status
                ),
            };
            // Who reads no further has seen enough.
            if writeln!(out, "{line}").is_err() {
                return Ok(Ended::Done);
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(Ended::Done),
        }
    }
}

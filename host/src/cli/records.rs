//! `chartgate directory set · show · forget`: what is known of patients, users and clients.

use std::io::Read as _;

use anyhow::Context as _;
use chartgate_model::{Record, RecordClass, strict};
use serde_json::{Value, json};

use super::Ended;
use super::directory::{Place, record};
use crate::edge::Edge;
use crate::http::admin::records::told;
use crate::people;
use crate::store::relationships::{IMPORT, SOURCE};
use crate::store::{Change, Store};

/// Nesting of a record.
const DEPTH_MAX: usize = 8;

#[derive(Debug, clap::Args)]
pub(super) struct Set {
    /// `patient`, `user` or `client`
    class: String,
    /// Bare id of the patient, `Practitioner/17`, or id of the client
    id: String,
    /// Its members as a JSON object, in place of all it had; from standard input when absent
    members: Option<String>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// `patient`, `user` or `client`
    class: String,
    /// Bare id of the patient, `Practitioner/17`, or id of the client
    id: String,
    /// Of which source: `directory`, what was set by hand, or `import`
    #[arg(long, default_value = SOURCE, value_parser = [SOURCE, IMPORT])]
    source: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct Shown {
    /// `patient`, `user` or `client`
    class: String,
    /// Bare id of the patient, `Practitioner/17`, or id of the client
    id: String,
    #[command(flatten)]
    place: Place,
}

pub(super) fn set(set: &Set) -> anyhow::Result<Ended> {
    let Set { id, place, .. } = set;
    let class = class(&set.class)?;
    let mut text = String::new();
    let text = match &set.members {
        Some(text) => text,
        None => {
            std::io::stdin().read_to_string(&mut text).context("reading standard input")?;
            &text
        }
    };
    strict::check(text.as_bytes(), DEPTH_MAX).context("the members")?;
    let members = serde_json::from_str(text).context("the members")?;
    let given = people::record(class, id, SOURCE, members)?;
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let before = get(&store, place, class, id, SOURCE)?;
    let change = store.put_record(&place.tenant, &given, (edge.now)())?;
    finish("record-put", place, &edge, &given, before, Some(&given), change)
}

pub(super) fn show(one: &Shown) -> anyhow::Result<Ended> {
    let Shown { id, place, .. } = one;
    let class = class(&one.class)?;
    let (records, _) = Store::open(&place.data)?.records_of(&place.tenant, class, [id.as_str()])?;
    records.iter().for_each(|record| println!("{}", told(&place.tenant, record)));
    if records.is_empty() { Ok(nobody(class, id)) } else { Ok(Ended::Done) }
}

pub(super) fn forget(one: &One) -> anyhow::Result<Ended> {
    let One { id, place, source, .. } = one;
    let class = class(&one.class)?;
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let Some(before) = get(&store, place, class, id, source)? else { return Ok(nobody(class, id)) };
    let change = store.delete_record(&place.tenant, class, id, source)?;
    finish("record-delete", place, &edge, &before.clone(), Some(before), None, change)
}

fn class(code: &str) -> anyhow::Result<RecordClass> {
    RecordClass::from_code(code).with_context(|| format!("`{code}` is none of patient, user, client"))
}

fn get(store: &Store, place: &Place, class: RecordClass, id: &str, source: &str) -> anyhow::Result<Option<Record>> {
    let (records, _) = store.records_of(&place.tenant, class, [id])?;
    Ok(records.into_iter().find(|record| record.source == source))
}

fn nobody(class: RecordClass, id: &str) -> Ended {
    eprintln!("chartgate: nothing is known of {} {id}", class.code());
    Ended::No
}

fn finish(
    action: &str,
    place: &Place,
    edge: &Edge,
    of: &Record,
    before: Option<Record>,
    after: Option<&Record>,
    change: Change,
) -> anyhow::Result<Ended> {
    let wire = |record: &Record| told(&place.tenant, record);
    let subject = format!("{}/{}", of.class.code(), of.id);
    let after: Option<Value> = after.map(wire);
    record(place, edge, action, &subject, (before.as_ref().map(wire), after.clone()), change.revision)?;
    let effect = format!("{:?}", change.effect).to_lowercase();
    if place.json {
        println!("{}", json!({ "effect": effect, "revision": change.revision, "record": after }));
    } else {
        println!("{effect}: what is known of {} {} (revision {})", of.class.code(), of.id, change.revision);
    }
    Ok(Ended::Done)
}

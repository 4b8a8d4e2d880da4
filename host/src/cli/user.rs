//! `chartgate user`: local accounts of the authorization server, straight in its database.

use std::io::BufRead as _;

use anyhow::Context as _;
use clap::Subcommand;
use serde_json::json;

use super::Ended;
use super::client::{changes, print, registrar};
use super::directory::Place;
use crate::edge::Edge;
use crate::smart::Enrolment;
use crate::smart::account::{Account, Identity};
use crate::store::Store;

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Make an account; its password is read from standard input
    Add(Add),
    /// A code by which one person makes their own account
    Invite(Invite),
    /// List accounts
    List(Place),
    /// Set a new password, read from standard input; all sessions and grants end
    Password(One),
    /// Nobody can sign in with it any more; all sessions and grants end
    Close(One),
    /// It can be used again
    Reopen(One),
    /// Take an account away
    Remove(One),
    /// What people call a patient, for the pages
    Label(Label),
}

#[derive(Debug, clap::Args)]
pub(super) struct Add {
    /// What somebody signs in with
    name: String,
    /// What people call them
    #[arg(long)]
    label: String,
    /// As whom they may act, `patient=Patient/123`, `proxy=RelatedPerson/9`, `provider=Practitioner/17`; may be
    /// repeated
    #[arg(long = "as", value_name = "ROLE=USER")]
    identities: Vec<Identity>,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct Invite {
    /// What people call them
    #[arg(long)]
    label: String,
    /// As whom they may act; may be repeated
    #[arg(long = "as", value_name = "ROLE=USER")]
    identities: Vec<Identity>,
    /// Family name they have to know
    #[arg(long)]
    family_name: String,
    /// Birth date they have to know, `1984-02-29`
    #[arg(long)]
    birth_date: String,
    /// Hours the code is good for
    #[arg(long, default_value_t = 72)]
    hours: u64,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// What somebody signs in with
    name: String,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, clap::Args)]
pub(super) struct Label {
    /// Bare id of the patient
    patient: String,
    /// What people call them
    label: String,
    #[command(flatten)]
    place: Place,
}

pub(super) fn run(verb: Verb) -> anyhow::Result<Ended> {
    match verb {
        Verb::Add(add) => self::add(add),
        Verb::Invite(invite) => self::invite(invite),
        Verb::List(place) => list(&place),
        Verb::Password(one) => {
            let password = password()?;
            change(&one, "user-password", Some(&password), |_| {})
        }
        Verb::Close(one) => change(&one, "user-close", None, |account| account.closed = true),
        Verb::Reopen(one) => change(&one, "user-reopen", None, |account| account.closed = false),
        Verb::Remove(one) => remove(&one),
        Verb::Label(label) => self::label(&label),
    }
}

/// SECURITY: never an argument, which every program on the machine can read.
fn password() -> anyhow::Result<String> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line).context("cannot read the password from standard input")?;
    let password = line.trim_end_matches(['\r', '\n']);
    anyhow::ensure!(!password.is_empty(), "the password is read from standard input, and nothing came");
    Ok(password.to_owned())
}

fn add(given: Add) -> anyhow::Result<Ended> {
    let password = password()?;
    let place = given.place;
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let account = Account { label: given.label, identities: given.identities, closed: false };
    let name = registrar(&store, &edge, &place).add_account(&given.name, &password, &account)?;
    changes(&place, &edge, "user-add", &format!("accounts/{name}"), Some(serde_json::to_value(&account)?))?;
    print(&place, &json!({ "name": name, "account": account }), &[format!("user {name}")])?;
    Ok(Ended::Done)
}

fn invite(given: Invite) -> anyhow::Result<Ended> {
    let place = given.place;
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let enrolment = Enrolment {
        label: given.label,
        identities: given.identities,
        family_name: given.family_name,
        birth_date: given.birth_date,
    };
    let (code, expires) = registrar(&store, &edge, &place).enrolment(&enrolment, given.hours)?;
    let users: Vec<&str> = enrolment.identities.iter().map(|identity| identity.user.as_str()).collect();
    changes(&place, &edge, "user-invite", &format!("enrolments/{}", users.join(" ")), None)?;
    let line = format!("code {}   until {expires}   (it is shown this once)", code.text());
    print(&place, &json!({ "code": code.text(), "expires": expires.to_string() }), &[line])?;
    Ok(Ended::Done)
}

fn list(place: &Place) -> anyhow::Result<Ended> {
    let (store, edge) = (Store::open(&place.data)?, Edge::system());
    let accounts = registrar(&store, &edge, place).accounts()?;
    let line = |(name, account): &(String, Account)| {
        let users: Vec<&str> = account.identities.iter().map(|identity| identity.user.as_str()).collect();
        format!("{name}  {}  {}{}", account.label, users.join(" "), if account.closed { "  closed" } else { "" })
    };
    let lines: Vec<String> = accounts.iter().map(line).collect();
    let rows: Vec<_> = accounts.iter().map(|(name, account)| json!({ "name": name, "account": account })).collect();
    print(place, &json!({ "users": rows }), &lines)?;
    Ok(Ended::Done)
}

fn change(one: &One, action: &str, password: Option<&str>, change: impl FnOnce(&mut Account)) -> anyhow::Result<Ended> {
    let (store, edge) = (Store::open(&one.place.data)?, Edge::system());
    registrar(&store, &edge, &one.place).change_account(&one.name, password, change)?;
    changes(&one.place, &edge, action, &format!("accounts/{}", one.name), None)?;
    print(&one.place, &json!({ "changed": one.name }), &[format!("changed {}", one.name)])?;
    Ok(Ended::Done)
}

fn remove(one: &One) -> anyhow::Result<Ended> {
    let (store, edge) = (Store::open(&one.place.data)?, Edge::system());
    registrar(&store, &edge, &one.place).remove_account(&one.name)?;
    changes(&one.place, &edge, "user-remove", &format!("accounts/{}", one.name), None)?;
    print(&one.place, &json!({ "removed": one.name }), &[format!("removed {}", one.name)])?;
    Ok(Ended::Done)
}

fn label(given: &Label) -> anyhow::Result<Ended> {
    let store = Store::open(&given.place.data)?;
    anyhow::ensure!((1..=120).contains(&given.label.chars().count()), "a label is 1 to 120 characters");
    store.put_label(&given.place.tenant, &given.patient, &given.label)?;
    print(
        &given.place,
        &json!({ "patient": given.patient, "label": given.label }),
        std::slice::from_ref(&given.label),
    )?;
    Ok(Ended::Done)
}

//! The component against a second opinion: many generated requests, each judged by both.
//!
//! `CHARTGATE_ORACLE_DECISIONS` and `CHARTGATE_ORACLE_SEED` ask for more or others,
//! `CHARTGATE_ORACLE_COMPONENT` names another component than that of this checkout, and
//! `CHARTGATE_ORACLE_CASES` a file of cases, one a line, to judge in place of generated ones.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use chartgate_model::{DecisionRequest, Interaction, Record, RecordClass, Relationship, SubjectKind};
use chartgate_runtime::LoadedPolicy;
use chartgate_tests::host::{Guest, admitted};
use chartgate_tests::oracle::case::{Case, Found, Read};
use chartgate_tests::oracle::generate::{Dice, case};
use chartgate_tests::oracle::{Opinion, judge};
use serde_json::{Value, json};

/// Decisions of a run, unless the environment says otherwise.
const DECISIONS: u64 = 20_000;
/// Seed of a run, unless the environment says otherwise.
const SEED: u64 = 20_261_124;
/// Disagreements that are told in full.
const TOLD_MAX: usize = 20;
/// Cases within which a rule that is forgotten has to be noticed.
const NOTICED_WITHIN: usize = 120_000;

/// How often each outcome came up for an interaction.
#[derive(Debug, Default, Clone, Copy)]
struct Count {
    permits: u64,
    denies: u64,
    unjudged: u64,
}

impl Count {
    fn add(&mut self, opinion: &Opinion) {
        match opinion {
            Opinion::Permit { .. } => self.permits += 1,
            Opinion::Deny => self.denies += 1,
            Opinion::Unjudged(_) => self.unjudged += 1,
        }
    }

    fn print(self, name: &str) {
        println!("{name:>18} {:>8} permits {:>8} denies {:>6} unjudged", self.permits, self.denies, self.unjudged);
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

fn component() -> LoadedPolicy {
    let given = std::env::var("CHARTGATE_ORACLE_COMPONENT").map(|path| std::fs::read(path).unwrap());
    admitted(&given.unwrap_or_else(|_| Guest::Rules.component().to_vec()))
}

/// Where the component differs, with everything needed to ask again.
fn disagreement(case: &Case, opinion: &Opinion, found: &Result<Found, String>) -> Option<String> {
    let told = |what: &str, found: String| {
        let case = serde_json::to_string(case).unwrap();
        format!("{what}\n  wanted {opinion:?}\n  found  {found}\n  case   {case}")
    };
    match found {
        Err(error) => Some(told("no answer", error.clone())),
        Ok(found) => found.differs(opinion).map(|what| told(what, format!("{found:?}"))),
    }
}

/// The next case that the host would let pass.
fn next(dice: &mut Dice) -> (Case, Read) {
    for _ in 0..1_000 {
        let case = case(dice);
        if let Ok(read) = case.read() {
            return (case, read);
        }
    }
    panic!("a thousand cases in a row are malformed");
}

/// The cases of a run: those of the file named, or so many generated ones.
fn cases() -> Box<dyn Iterator<Item = (Case, Read)>> {
    if let Ok(path) = std::env::var("CHARTGATE_ORACLE_CASES") {
        let text = std::fs::read_to_string(path).unwrap();
        let cases: Vec<Case> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        return Box::new(cases.into_iter().map(|case| {
            let read = case.read().unwrap_or_else(|member| panic!("the host refuses the case: {member}"));
            (case, read)
        }));
    }
    let mut dice = Dice::new(setting("CHARTGATE_ORACLE_SEED", SEED));
    Box::new((0..setting("CHARTGATE_ORACLE_DECISIONS", DECISIONS)).map(move |_| next(&mut dice)))
}

#[test]
fn the_component_decides_as_the_second_opinion_does() {
    let policy = component();
    let mut counts: BTreeMap<&str, Count> = BTreeMap::new();
    let (mut all, mut wrong, mut told) = (Count::default(), 0_u64, Vec::new());
    for (case, read) in cases() {
        let opinion = judge(&read.request, &case.settings, &read.relationships, &read.records);
        counts.entry(read.request.request.interaction.code()).or_default().add(&opinion);
        all.add(&opinion);
        if let Some(text) = disagreement(&case, &opinion, &case.through(&policy, &read)) {
            wrong += 1;
            if told.len() < TOLD_MAX {
                told.push(text);
            }
        }
    }
    for (interaction, count) in &counts {
        count.print(interaction);
    }
    all.print("all");
    assert!(wrong == 0, "{wrong} decisions differ, the first {}:\n\n{}", told.len(), told.join("\n\n"));
}

#[test]
fn the_generated_cases_are_permitted_often_and_hardly_ever_left_unjudged() {
    let mut dice = Dice::new(SEED);
    let (mut all, mut plain) = (Count::default(), Count::default());
    for _ in 0..5_000 {
        let (case, read) = next(&mut dice);
        let opinion = judge(&read.request, &case.settings, &read.relationships, &read.records);
        all.add(&opinion);
        use Interaction::{Operation, SearchSystem, SearchType};
        if !matches!(read.request.request.interaction, SearchType | SearchSystem | Operation) {
            plain.add(&opinion);
        }
    }
    assert!((1_000..=2_750).contains(&all.permits), "{all:?}");
    assert!(all.unjudged <= 50 && plain.unjudged == 0, "{all:?} {plain:?}");
}

/// What the oracle is told about a case.
#[derive(Clone)]
struct Heard {
    request: DecisionRequest,
    settings: Value,
    relationships: Vec<Relationship>,
    records: Vec<Record>,
}

impl Heard {
    fn of(case: &Case, read: &Read) -> Self {
        let (relationships, records) = (read.relationships.clone(), read.records.clone());
        Self { request: read.request.clone(), settings: case.settings.clone(), relationships, records }
    }

    fn judged(&self) -> Opinion {
        judge(&self.request, &self.settings, &self.relationships, &self.records)
    }

    /// Never heard of a member of any record.
    fn without(&mut self, member: &str) {
        for record in &mut self.records {
            record.members.remove(member);
        }
    }

    /// Change what is said of the user who asks.
    fn users<T>(&mut self, mut change: impl FnMut(&mut Record) -> T) {
        let id = self.request.subject.user.clone();
        for record in self.records.iter_mut().filter(|record| record.class == RecordClass::User && record.id == id) {
            change(record);
        }
    }

    /// Change what is said of other users.
    fn others<T>(&mut self, mut change: impl FnMut(&mut Record) -> T) {
        let id = self.request.subject.user.clone();
        for record in self.records.iter_mut().filter(|record| record.class == RecordClass::User && record.id != id) {
            change(record);
        }
    }

    /// What the records of the user who asks say, lists as one.
    fn listed(&self, member: &str) -> Value {
        let mut all = BTreeSet::new();
        for record in self.where_said(member).filter(|record| record.class == RecordClass::User) {
            if record.id == self.request.subject.user {
                let said = record.members[member].as_array();
                all.extend(said.map_or(vec![record.members[member].to_string()], |list| {
                    list.iter().map(Value::to_string).collect()
                }));
            }
        }
        all.into_iter().map(|text| serde_json::from_str::<Value>(&text).unwrap()).collect()
    }

    fn where_said(&self, member: &str) -> impl Iterator<Item = &Record> {
        self.records.iter().filter(move |record| record.members.contains_key(member))
    }

    /// Charts that were merged into others.
    fn merged(&self) -> BTreeSet<String> {
        self.where_said("merged_into").map(|record| record.id.clone()).collect()
    }

    fn delegators(&self) -> BTreeSet<String> {
        self.relationships.iter().filter_map(|entry| entry.terms.delegator.clone()).collect()
    }

    /// Let every record of a patient have one of the birth dates of all of them, which are given from early to late.
    fn born(&mut self, choose: fn(&BTreeSet<String>) -> Option<&String>) {
        let mut born: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for record in self.where_said("birth_date") {
            let date = record.members["birth_date"].as_str().unwrap_or_default();
            born.entry(record.id.clone()).or_default().insert(date.to_owned());
        }
        for record in self.records.iter_mut().filter(|record| record.members.contains_key("birth_date")) {
            if let Some(date) = born.get(&record.id).and_then(choose) {
                record.members.insert("birth_date".into(), json!(date));
            }
        }
    }

    fn each(&mut self, change: impl FnMut(&mut Relationship)) {
        self.relationships.iter_mut().for_each(change);
    }
}

/// A rule forgotten: what the oracle is told, changed.
struct Twist {
    name: &'static str,
    change: fn(&mut Heard),
}

/// The rules whose loss has to be noticed.
const TWISTS: &[Twist] = &[
    Twist { name: "writes have to be on", change: |heard| heard.settings["writes"] = json!(true) },
    Twist { name: "roles confer nothing", change: |heard| heard.settings["role_membership"] = json!(true) },
    Twist { name: "system clients have to be on", change: |heard| heard.settings["system_clients"] = json!(true) },
    Twist {
        name: "filters bind",
        change: |heard| {
            let bare = |token: &str| token.split('?').next().unwrap_or_default().to_owned();
            let scope = &mut heard.request.subject.scope;
            *scope = scope.split(' ').map(bare).collect::<Vec<_>>().join(" ");
        },
    },
    Twist { name: "letters are told apart", change: |heard| scope(heard, ".rs", ".cruds") },
    Twist { name: "patient/ is not user/", change: |heard| scope(heard, "patient/", "user/") },
    Twist { name: "user/ is not patient/", change: |heard| scope(heard, "user/", "patient/") },
    Twist { name: "the launch patient is needed", change: |heard| heard.request.subject.patient = Some("123".into()) },
    Twist {
        name: "an end is not part of the time",
        change: |heard| heard.each(|entry| entry.end = entry.end.map(|end| end.plus_ms(1))),
    },
    Twist {
        name: "a start is part of the time",
        change: |heard| heard.each(|entry| entry.start = entry.start.map(|start| start.plus_ms(1))),
    },
    Twist { name: "revoked kills", change: |heard| heard.relationships.retain(|entry| entry.status != "revoked") },
    Twist { name: "suspended kills", change: |heard| heard.relationships.retain(|entry| entry.status != "suspended") },
    Twist { name: "kinds are told apart", change: |heard| heard.each(|entry| entry.kind = "guardian".into()) },
    Twist { name: "levels count", change: |heard| heard.each(|entry| entry.level = "full".into()) },
    Twist { name: "every source counts", change: |heard| heard.each(|entry| entry.source = "one".into()) },
    Twist { name: "other ways confer nothing", change: |heard| heard.each(|entry| entry.via = "ordinary".into()) },
    Twist {
        name: "obligations have to be declared",
        change: |heard| {
            heard.request.obligations =
                ["search-narrowing", "response-filter", "if-match", "return-minimal"].map(str::to_owned).to_vec();
        },
    },
    Twist { name: "types are left out", change: |heard| heard.each(|entry| entry.terms.exclude_types.clear()) },
    Twist { name: "labels are left out", change: |heard| heard.each(|entry| entry.terms.exclude_labels.clear()) },
    Twist {
        name: "targets are looked at",
        change: |heard| {
            for stored in heard.request.stored.iter_mut().filter(|stored| stored.key.starts_with("Provenance/")) {
                let Some(bytes) = &stored.content else { continue };
                let mut content: Value = serde_json::from_slice(bytes).unwrap();
                if let Some(targets) = content.get_mut("target").and_then(Value::as_array_mut) {
                    targets
                        .retain(|target| target["reference"].as_str().is_some_and(|text| text.starts_with("Patient/")));
                }
                stored.content = Some(serde_json::to_vec(&content).unwrap());
            }
        },
    },
    Twist { name: "conditions count", change: |heard| heard.each(|entry| entry.terms.condition = None) },
    Twist {
        name: "a delegator has to have access",
        change: |heard| heard.relationships.retain(|entry| entry.user == heard.request.subject.user),
    },
    Twist {
        name: "windows are as wide as they are",
        change: |heard| heard.settings["encounter_window_days"] = json!(31),
    },
    Twist { name: "people have to be known", change: |heard| heard.settings["require_patient_records"] = json!(false) },
    Twist { name: "users have to be known", change: |heard| heard.settings["require_provider_records"] = json!(false) },
    Twist {
        name: "a provider's own chart is closed",
        change: |heard| heard.settings["own_chart_for_providers"] = json!(true),
    },
    Twist { name: "majority comes with years", change: |heard| heard.settings["age_of_majority"] = json!(30) },
    Twist { name: "access begins at an age", change: |heard| heard.settings["own_access_from_age"] = json!(0) },
    Twist { name: "limited access begins at an age", change: |heard| heard.settings["limited_from_age"] = json!(18) },
    Twist { name: "what is read ages", change: |heard| heard.without("as_of") },
    Twist { name: "merged charts lead on", change: |heard| heard.without("merged_into") },
    Twist { name: "restrictions count", change: |heard| heard.without("restriction") },
    Twist { name: "test data is apart", change: |heard| heard.without("test") },
    Twist { name: "the deceased are left alone", change: |heard| heard.without("deceased") },
    Twist { name: "a chart has to be in use", change: |heard| heard.without("active") },
    Twist { name: "apps may be blocked", change: |heard| heard.without("app_access_blocked") },
    Twist { name: "the emancipated are adults", change: |heard| heard.without("emancipated") },
    Twist { name: "incapacity is documented", change: |heard| heard.without("incapacitated") },
    Twist { name: "zones count", change: |heard| heard.without("zone") },
    Twist { name: "birth dates count", change: |heard| heard.without("birth_date") },
    Twist { name: "roles are said", change: |heard| heard.without("roles") },
    Twist { name: "charts are said", change: |heard| heard.without("charts") },
    Twist { name: "users end", change: |heard| heard.without("end") },
    Twist { name: "users start", change: |heard| heard.without("start") },
    Twist { name: "clients have a kind", change: |heard| heard.without("kind") },
    Twist {
        name: "users and clients are active",
        change: |heard| {
            for record in heard.records.iter_mut().filter(|record| record.class != RecordClass::Patient) {
                record.members.insert("status".into(), json!("active"));
            }
        },
    },
    Twist {
        name: "a linked chart is the patient's own",
        change: |heard| {
            if heard.request.subject.kind == SubjectKind::Patient {
                heard.without("charts");
            }
        },
    },
    Twist {
        name: "every record has to list a linked chart",
        change: |heard| {
            if heard.request.subject.kind == SubjectKind::Patient {
                let all = heard.listed("charts");
                heard.users(|record| record.members.insert("charts".into(), all.clone()));
            }
        },
    },
    Twist {
        name: "a provider's own chart is closed by what was merged into it",
        change: |heard| {
            let merged: Vec<Value> = heard.merged().into_iter().map(Value::from).collect();
            let provides = heard.request.subject.kind == SubjectKind::Provider;
            heard.users(|record| {
                if let Some(Value::Array(charts)) = record.members.get_mut("charts").filter(|_| provides) {
                    charts.retain(|chart| !merged.contains(chart));
                }
            });
        },
    },
    Twist {
        name: "any delegator will do",
        change: |heard| {
            let first = heard.relationships.iter().find_map(|entry| entry.terms.delegator.clone());
            heard.relationships.retain(|entry| entry.terms.delegator.is_none() || entry.terms.delegator == first);
        },
    },
    Twist { name: "the first delegator counts", change: |heard| heard.relationships.reverse() },
    Twist {
        name: "a revoked delegation ends those of others",
        change: |heard| {
            let revoked: Vec<_> = heard.relationships.iter().filter(|entry| entry.status == "revoked").collect();
            let revoked: Vec<_> = revoked.into_iter().map(|entry| entry.terms.delegator.clone()).collect();
            heard
                .relationships
                .retain(|entry| entry.terms.delegator.is_none() || !revoked.contains(&entry.terms.delegator));
        },
    },
    Twist {
        name: "a restricted chart is closed to delegators",
        change: |heard| {
            let delegators = heard.delegators();
            for record in &mut heard.records {
                if let Some(allow) = record.members.get_mut("restriction").and_then(|one| one["allow"].as_array_mut()) {
                    allow.extend(delegators.iter().cloned().map(Value::from));
                }
            }
        },
    },
    Twist {
        name: "their own chart is closed to delegators",
        change: |heard| heard.others(|record| record.members.remove("charts")),
    },
    Twist {
        name: "delegators are test where patients are",
        change: |heard| {
            let mine = heard.listed("test");
            heard.others(|record| record.members.insert("test".into(), json!(mine == json!([true]))));
        },
    },
    Twist { name: "majority may have come by any record", change: |heard| heard.born(BTreeSet::last) },
    Twist { name: "majority is certain by every record", change: |heard| heard.born(BTreeSet::first) },
    Twist {
        name: "emancipation replaces no birth date",
        change: |heard| {
            let is_free = |record: &&mut Record| record.members.get("emancipated") == Some(&json!(true));
            for record in heard.records.iter_mut().filter(is_free) {
                record.members.entry("birth_date").or_insert(json!("1980"));
            }
        },
    },
    Twist {
        name: "emancipation is denied by no record",
        change: |heard| {
            let free: Vec<String> = heard.where_said("emancipated").map(|record| record.id.clone()).collect();
            for record in heard.records.iter_mut().filter(|record| free.contains(&record.id)) {
                record.members.insert("emancipated".into(), json!(true));
            }
        },
    },
    Twist {
        name: "what is read on the way ages",
        change: |heard| {
            for record in heard.records.iter_mut().filter(|record| record.members.contains_key("merged_into")) {
                record.members.remove("as_of");
            }
        },
    },
    Twist {
        name: "the record that stands for a user may be closed",
        change: |heard| {
            let scope = &mut heard.request.subject.scope;
            let has = |token: &str| scope.split(' ').any(|one| one == token);
            let asked = format!("Patient/{}", heard.request.request.id.as_deref().unwrap_or_default());
            if has("openid") && has("fhirUser") && asked == heard.request.subject.user {
                *scope = "openid fhirUser".into();
                heard.settings["require_patient_records"] = json!(false);
                heard.records.retain(|record| record.class != RecordClass::Patient);
            }
        },
    },
    Twist {
        name: "every record counts",
        change: |heard| {
            let mut seen = BTreeSet::new();
            heard.records.retain(|record| seen.insert((record.class.code(), record.id.clone())));
        },
    },
];

fn scope(heard: &mut Heard, old: &str, new: &str) {
    heard.request.subject.scope = heard.request.subject.scope.replace(old, new);
}

/// A check that cannot fail is none: an oracle that forgets a rule has to disagree with the component.
#[test]
fn an_oracle_that_forgets_a_rule_disagrees() {
    let policy = component();
    let mut dice = Dice::new(SEED);
    let mut left: Vec<&Twist> = TWISTS.iter().collect();
    for _ in 0..NOTICED_WITHIN {
        let (case, read) = next(&mut dice);
        let Ok(found) = case.through(&policy, &read) else { continue };
        if found.differs(&judge(&read.request, &case.settings, &read.relationships, &read.records)).is_some() {
            continue;
        }
        left.retain(|twist| {
            let mut heard = Heard::of(&case, &read);
            (twist.change)(&mut heard);
            found.differs(&heard.judged()).is_none()
        });
        if left.is_empty() {
            return;
        }
    }
    panic!("nobody would notice that: {:?}", left.iter().map(|twist| twist.name).collect::<Vec<_>>());
}

/// The plainest thing there is to get wrong: somebody else's record, permitted.
#[test]
fn a_permit_for_a_strangers_record_is_a_disagreement() {
    let case: Case = serde_json::from_value(json!({
        "settings": {}, "fhir_version": "4.0.1", "now": "2026-11-24T10:00:00Z", "directory": [],
        "records": [{ "class": "patient", "id": "123", "source": "directory", "members": { "birth_date": "1980" } }],
        "ask": {
            "request": { "method": "GET", "url": "/Observation/9" },
            "subject": { "user": "Patient/123", "scope": "patient/Observation.rs", "patient": "123" },
            "stored": { "Observation/9": { "resourceType": "Observation", "id": "9", "subject": { "reference": "Patient/124" } } },
        },
    }))
    .unwrap();
    let read = case.read().unwrap();
    let opinion = judge(&read.request, &case.settings, &read.relationships, &read.records);
    let found = case.through(&component(), &read).unwrap();
    assert_eq!(found.differs(&opinion), None);
    let permitted = Found { permitted: true, ..found };
    assert_eq!(permitted.differs(&opinion), Some("permitted, not denied"));
}

//! A clinic: its people, their charts and a year of encounters. Equal seeds give equal clinics.

use std::collections::{BTreeMap, BTreeSet};

use chartgate::facts::{FactError, FactSource, RecordsAnswer, SourceAnswer};
use chartgate_model::{Millis, Record, RecordClass, Relationship, SubjectKind, Terms};
use serde_json::{Value, json};

use super::generate::Dice;

/// Users there are.
pub const USERS: usize = 200;
/// Patients there are.
pub const PATIENTS: usize = 5_000;
/// The client everybody uses.
pub const CLIENT: &str = "clinic-app";
/// Physicians, and nurses who work for them; the others of the providers look after wards.
const PHYSICIANS: usize = 60;
const NURSES: usize = 30;
const WARDS: usize = 20;
/// Patients with an account of their own; the rest of the users are proxies.
const PORTAL: usize = 40;
const ZONES: [&str; 6] =
    ["Europe/Berlin", "Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Pacific/Auckland", "UTC"];
const DAY_MS: u64 = 86_400_000;

/// A user in their one role.
#[derive(Debug, Clone)]
pub struct User {
    /// the role
    pub kind: SubjectKind,
    /// `Practitioner/d7`
    pub id: String,
}

/// What is known around one chart.
#[derive(Debug, Clone, Default)]
pub struct Chart {
    /// relationships to it and to the charts it was merged into
    pub relationships: Vec<Relationship>,
    /// records of all these, and of everybody with a relationship
    pub records: Vec<Record>,
}

/// The clinic.
#[derive(Debug)]
pub struct Clinic {
    /// everybody who may ask
    pub users: Vec<User>,
    /// the ids of all charts
    pub patients: Vec<String>,
    now: Millis,
    relationships: BTreeMap<String, Vec<Relationship>>,
    records: BTreeMap<(&'static str, String), Vec<Record>>,
}

impl Clinic {
    /// The clinic of a seed at a time.
    pub fn new(seed: u64, now: Millis) -> Self {
        let mut dice = Dice::new(seed);
        let patients = (0..PATIENTS).map(|n| format!("p{n}")).collect();
        let (relationships, records) = (BTreeMap::new(), BTreeMap::new());
        let mut clinic = Self { users: Vec::new(), patients, now, relationships, records };
        clinic.know(RecordClass::Client, CLIENT, json!({}));
        clinic.employ(&mut dice);
        for n in 0..PATIENTS {
            clinic.admit(&mut dice, n);
        }
        for n in 0..PATIENTS {
            clinic.treat(&mut dice, n);
        }
        clinic.delegate(&mut dice);
        clinic.enrol(&mut dice);
        clinic
    }

    /// What is known around a chart.
    pub fn chart(&self, patient: &str) -> Chart {
        let mut chart = Chart::default();
        let (mut id, mut seen) = (patient.to_owned(), BTreeSet::new());
        while seen.insert(id.clone()) {
            chart.relationships.extend(self.relationships.get(&id).into_iter().flatten().cloned());
            let records = self.of(RecordClass::Patient, &id);
            let into = records.iter().find_map(|record| record.members.get("merged_into")?.as_str().map(str::to_owned));
            chart.records.extend(records);
            id = into.unwrap_or(id);
        }
        let delegators = chart.relationships.iter().filter_map(|entry| entry.terms.delegator.clone());
        let people: BTreeSet<String> = delegators.collect();
        for user in &people {
            chart.records.extend(self.of(RecordClass::User, user));
        }
        chart.records.extend(self.of(RecordClass::Client, CLIENT));
        chart
    }

    /// The records of one.
    pub fn of(&self, class: RecordClass, id: &str) -> Vec<Record> {
        self.records.get(&(class.code(), id.to_owned())).cloned().unwrap_or_default()
    }

    /// Every user and chart with a relationship, each user's own chart, and whatever was merged into either.
    pub fn related(&self) -> Vec<(usize, usize)> {
        let user_at: BTreeMap<&str, usize> =
            self.users.iter().enumerate().map(|(at, one)| (one.id.as_str(), at)).collect();
        let patient_at: BTreeMap<&str, usize> =
            self.patients.iter().enumerate().map(|(at, id)| (id.as_str(), at)).collect();
        let mut pairs = BTreeSet::new();
        for entry in self.relationships.values().flatten() {
            pairs.extend(
                user_at.get(entry.user.as_str()).zip(patient_at.get(entry.patient.as_str())).map(|(u, p)| (*u, *p)),
            );
        }
        for (at, user) in self.users.iter().enumerate() {
            for record in self.of(RecordClass::User, &user.id) {
                let charts = record.members.get("charts").and_then(Value::as_array).cloned().unwrap_or_default();
                let linked = charts.iter().filter_map(|chart| patient_at.get(chart.as_str()?));
                pairs.extend(linked.map(|chart| (at, *chart)));
            }
            pairs.extend(user.id.strip_prefix("Patient/").and_then(|own| patient_at.get(own)).map(|own| (at, *own)));
        }
        let merged = |into: usize| {
            let same = |id: &&String| {
                self.of(RecordClass::Patient, id)
                    .iter()
                    .any(|one| one.members.get("merged_into") == Some(&json!(self.patients[into])))
            };
            self.patients.get(into + 1).filter(same).map(|_| into + 1)
        };
        let old: Vec<(usize, usize)> =
            pairs.iter().filter_map(|(user, patient)| Some((*user, merged(*patient)?))).collect();
        pairs.extend(old);
        pairs.into_iter().collect()
    }

    fn know(&mut self, class: RecordClass, id: &str, members: Value) {
        let record = chartgate::people::record(class, id, "directory", members).unwrap();
        self.records.entry((class.code(), id.to_owned())).or_default().push(record);
    }

    fn join(&mut self, kind: SubjectKind, id: String, members: Value) {
        self.know(RecordClass::User, &id, members);
        self.users.push(User { kind, id });
    }

    /// Physicians, nurses and wards; a few have left or are suspended, a few are patients here themselves.
    fn employ(&mut self, dice: &mut Dice) {
        for (letter, count) in [("d", PHYSICIANS), ("n", NURSES), ("w", WARDS)] {
            for n in 0..count {
                let mut members = json!({ "roles": ["provider"], "start": "2015-01-01T00:00:00Z" });
                match dice.below(25) {
                    0 => members["status"] = json!("suspended"),
                    1 => members["end"] = json!("2026-10-01T00:00:00Z"),
                    2 => members["end"] = json!("2026-12-01T00:00:00Z"),
                    // Of the patients whose family doctor they are.
                    3..=5 => members["charts"] = json!([format!("p{}", n + PHYSICIANS * dice.below(80))]),
                    6 => members["test"] = json!(true),
                    _ => {}
                }
                self.join(SubjectKind::Provider, format!("Practitioner/{letter}{n}"), members);
            }
        }
    }

    /// A patient of any age, now and then an unusual one.
    fn admit(&mut self, dice: &mut Dice, n: usize) {
        let year = 2026 - dice.below(96);
        let birth_date = match dice.below(20) {
            0 => format!("{year}"),
            1 => format!("{year}-{:02}", 1 + dice.below(11)),
            _ => format!("{year}-{:02}-{:02}", 1 + dice.below(11), 1 + dice.below(28)),
        };
        let mut members = json!({ "birth_date": birth_date });
        if dice.percent(95) {
            members["zone"] = json!(dice.text(&ZONES));
        }
        match dice.below(100) {
            0 | 1 => {
                let allow = format!("Practitioner/d{}", dice.below(PHYSICIANS));
                members["restriction"] = json!({ "allow": [allow] });
            }
            2 => members["restriction"] = json!({ "allow": [], "until": "2026-11-01T00:00:00Z" }),
            3 => members["test"] = json!(true),
            4 | 5 => members["deceased"] = json!(true),
            6 if year > 2008 && year < 2014 => members["emancipated"] = json!(true),
            7 => members["app_access_blocked"] = json!(true),
            8 => members["active"] = json!(false),
            9 => members["incapacitated"] = json!(true),
            10 | 11 if n > 0 => members["merged_into"] = json!(format!("p{}", n - 1)),
            _ => {}
        }
        self.know(RecordClass::Patient, &self.patients[n].clone(), members);
    }

    /// A family doctor, a care team, a ward, and the encounters of a year.
    fn treat(&mut self, dice: &mut Dice, n: usize) {
        let physician = |dice: &mut Dice| format!("Practitioner/d{}", dice.below(PHYSICIANS));
        let patient = self.patients[n].clone();
        let own = format!("Practitioner/d{}", n % PHYSICIANS);
        if dice.percent(80) {
            self.relate(dice, &own, &patient, "primary-care", None);
        }
        for _ in 0..dice.below(6) {
            let start = self.now.0 - DAY_MS * 335 + dice.below(400) as u64 * DAY_MS + dice.below(86_400_000) as u64;
            let end = start + (1 + dice.below(5 * 24)) as u64 * 3_600_000;
            let (user, kind) = (physician(dice), if start > self.now.0 { "appointment" } else { "encounter" });
            self.relate(dice, &user, &patient, kind, Some((start, end)));
        }
        if dice.percent(15) {
            let user = physician(dice);
            self.relate(dice, &user, &patient, "care-team", None);
        }
        if dice.percent(25) {
            let user = format!("Practitioner/w{}", dice.below(WARDS));
            let kind = dice.text(&["department", "department", "treatment", "coverage"]);
            let start = self.now.0 - dice.below(20) as u64 * DAY_MS;
            self.relate(dice, &user, &patient, &kind, Some((start, start + 14 * DAY_MS)));
        }
    }

    /// Each nurse works for two physicians: for every third patient of either, and for some of them for both.
    fn delegate(&mut self, dice: &mut Dice) {
        for n in (0..PATIENTS).filter(|n| n % 3 == 0) {
            let physician = n % PHYSICIANS;
            let nurse = format!("Practitioner/n{}", physician % NURSES);
            let mut delegators = vec![physician];
            if dice.percent(40) {
                delegators.insert(dice.below(2), (physician + NURSES) % PHYSICIANS);
            }
            for delegator in delegators {
                self.work_for(dice, &nurse, &format!("Practitioner/d{delegator}"), n);
            }
        }
    }

    /// A delegation, until the end of a shift now and then; the physician may have no access of their own.
    fn work_for(&mut self, dice: &mut Dice, nurse: &str, physician: &str, n: usize) {
        let patient = self.patients[n].clone();
        let start = self.now.0 - DAY_MS;
        let shift = dice.percent(30).then(|| (start, start + 2 * DAY_MS + dice.below(86_400_000) as u64));
        self.relate(dice, nurse, &patient, "delegation", shift);
        let entry = self.relationships.get_mut(&patient).and_then(|all| all.last_mut()).unwrap();
        entry.terms.delegator = Some(physician.to_owned());
        if dice.percent(40) {
            self.relate(dice, physician, &patient, "treatment", None);
        }
    }

    /// Patients with an account of their own, and those who act for others.
    fn enrol(&mut self, dice: &mut Dice) {
        for _ in 0..PORTAL {
            let own = self.patients[self.fresh(dice)].clone();
            let mut charts = vec![own.clone()];
            let into =
                self.of(RecordClass::Patient, &own).iter().find_map(|one| one.members.get("merged_into").cloned());
            charts.extend(into.iter().filter_map(Value::as_str).filter(|_| dice.percent(60)).map(str::to_owned));
            if dice.percent(30) {
                charts.push(self.patients[dice.below(PATIENTS)].clone());
            }
            self.join(
                SubjectKind::Patient,
                format!("Patient/{own}"),
                json!({ "roles": ["patient"], "charts": charts }),
            );
        }
        for n in self.users.len()..USERS {
            let user = format!("RelatedPerson/r{n}");
            self.join(SubjectKind::Proxy, user.clone(), json!({ "roles": ["proxy", "patient"] }));
            for _ in 0..=dice.below(12) {
                let kind = dice.text(&[
                    "parent",
                    "parent",
                    "guardian",
                    "health-care-agent",
                    "executor",
                    "caregiver",
                    "agency",
                ]);
                let patient = self.patients[self.fitting(dice, &kind)].clone();
                self.relate(dice, &user, &patient, &kind, None);
            }
        }
    }

    /// A patient without an account.
    fn fresh(&self, dice: &mut Dice) -> usize {
        loop {
            let at = dice.below(PATIENTS);
            if self.users.iter().all(|user| user.id != format!("Patient/p{at}")) {
                return at;
            }
        }
    }

    /// A patient for whom somebody acts in this way, most of the time.
    fn fitting(&self, dice: &mut Dice, kind: &str) -> usize {
        for _ in 0..200 {
            let at = dice.below(PATIENTS);
            let record = &self.of(RecordClass::Patient, &self.patients[at])[0].members;
            let is_dead = record.contains_key("deceased");
            let fits = match kind {
                "executor" => is_dead,
                "parent" => !is_dead && record["birth_date"].as_str() > Some("2005"),
                _ => !is_dead,
            };
            if fits || dice.percent(3) {
                return at;
            }
        }
        dice.below(PATIENTS)
    }

    /// A relationship, now and then one that gives less.
    fn relate(&mut self, dice: &mut Dice, user: &str, patient: &str, kind: &str, period: Option<(u64, u64)>) {
        let (mut status, mut level, mut terms) = ("active", "full", Terms::default());
        match dice.below(60) {
            0 => status = "suspended",
            1 => status = "revoked",
            2 => level = "limited",
            3 => level = "read-only",
            4 => terms.exclude_types = vec![dice.text(&["Observation", "Condition"])],
            5 => terms.exclude_labels = vec![dice.text(&["PSY", "N"])],
            6 => terms.condition = Some(dice.text(&["incapacity", "minority"])),
            _ => {}
        }
        let entry = Relationship {
            user: user.into(),
            patient: patient.into(),
            kind: kind.into(),
            level: level.into(),
            status: status.into(),
            via: "ordinary".into(),
            source: "directory".into(),
            start: period.map(|(start, _)| Millis(start)),
            end: period.map(|(_, end)| Millis(end)),
            terms,
        };
        self.relationships.entry(patient.to_owned()).or_default().push(entry);
    }

    fn answer(&self, entries: impl Iterator<Item = Relationship>) -> SourceAnswer {
        SourceAnswer { relationships: entries.collect(), truncated: false, stamp: "clinic".into() }
    }
}

impl FactSource for Clinic {
    fn between(&self, _tenant: &str, user: &str, patient: &str) -> Result<SourceAnswer, FactError> {
        let to_patient = self.relationships.get(patient).into_iter().flatten();
        Ok(self.answer(to_patient.filter(|entry| entry.user == user).cloned()))
    }

    fn of_user(&self, _tenant: &str, user: &str) -> Result<SourceAnswer, FactError> {
        let all = self.relationships.values().flatten();
        Ok(self.answer(all.filter(|entry| entry.user == user).cloned()))
    }

    fn roles(&self, _tenant: &str, practitioner: &str) -> Result<RecordsAnswer, FactError> {
        let named = |record: &&Record| record.members.get("practitioner").is_some_and(|named| named == practitioner);
        let records = self.records.values().flatten().filter(named).cloned().collect();
        Ok(RecordsAnswer { records, stamp: "clinic".into() })
    }

    fn records(&self, _tenant: &str, class: RecordClass, ids: &BTreeSet<String>) -> Result<RecordsAnswer, FactError> {
        let records = ids.iter().flat_map(|id| self.of(class, id)).collect();
        Ok(RecordsAnswer { records, stamp: "clinic".into() })
    }
}

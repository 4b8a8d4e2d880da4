//! What is known of patients, users and clients: most of it ordinary, some of it not.

use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::{Draft, PATIENTS, people};
use crate::oracle::case::Told;

/// Sources of records; the last is the caller.
const SOURCES: [&str; 3] = ["directory", "registry", "caller"];
const ZONES: [&str; 9] = [
    "UTC",
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Pacific/Honolulu",
    "Pacific/Kiritimati",
    "Asia/Kathmandu",
    "Etc/GMT+12",
    "Pacific/Auckland",
];
/// Years of birth at which an age of the settings is reached in the year of the decision.
const YEARS: [u16; 6] = [2014, 2014, 2008, 2008, 2013, 2005];
/// Days around the day of the decision, and a leap day.
const DAYS: [&str; 9] = ["-11-23", "-11-24", "-11-24", "-11-25", "-11", "-12", "-10", "", "-02-28"];
/// Clients there are.
pub(super) const CLIENT: &str = "app";

impl Draft {
    /// Let somebody know everybody concerned.
    pub(super) fn know(&mut self, dice: &mut Dice) {
        if dice.percent(40) {
            let kind = match self.kind {
                "provider" | "system" => self.kind,
                _ => "patient",
            };
            let members = if dice.percent(50) { json!({ "kind": kind }) } else { json!({}) };
            self.say(dice, "client", CLIENT, &members);
        }
        if self.kind != "system" && dice.percent(if self.kind == "provider" { 98 } else { 60 }) {
            let mut members = if dice.percent(40) { json!({ "roles": [self.kind] }) } else { json!({}) };
            self.link(dice, &mut members);
            self.say(dice, "user", &self.user.clone(), &members);
            if members["charts"].is_array() && dice.percent(20) {
                let (class, id) = ("user".into(), self.user.clone());
                self.records.push(Told { class, id, source: "hr".into(), members: json!({ "charts": PATIENTS[..2] }) });
            }
        }
        for patient in PATIENTS {
            if patient == self.chart || dice.percent(90) {
                let members = self.ordinary(dice, patient);
                self.say(dice, "patient", patient, &members);
            }
        }
        self.delegators(dice);
        self.roles(dice);
        self.merge(dice);
    }

    /// Providers at work in a role, some of whose relationships are to the role.
    fn roles(&mut self, dice: &mut Dice) {
        let user = self.user.clone();
        if self.kind != "provider" || !dice.percent(30) {
            return;
        }
        let practitioner = if user.starts_with("Practitioner/") { user.as_str() } else { "Practitioner/17" };
        let role = if user.starts_with("PractitionerRole/") { user.as_str() } else { "PractitionerRole/4" };
        if user.starts_with("Person/") {
            return;
        }
        if dice.percent(80) {
            self.say(dice, "user", practitioner, &json!({}));
        }
        self.say(dice, "user", role, &json!({ "practitioner": practitioner }));
        let (practitioner, role) = (practitioner.to_owned(), role.to_owned());
        for one in self.relationships.iter_mut().filter(|one| one.user == practitioner && dice.percent(70)) {
            one.user.clone_from(&role);
        }
        match dice.below(6) {
            0 => {
                let status = dice.text(&["inactive", "suspended"]);
                self.members(dice, "user", &role).insert("status".into(), json!(status));
            }
            1 | 2 => {
                let (name, time) = (dice.text(&["start", "end"]), dice.text(&people::TIMES));
                let _ = period(self.members(dice, "user", &role), &name, &time);
            }
            3 => {
                let source = dice.text(&SOURCES);
                let members = json!({ "practitioner": "Practitioner/18" });
                self.records.push(Told { class: "user".into(), id: role, source, members });
            }
            _ => {}
        }
        if dice.percent(20) {
            let mut other = people::live(dice, "provider", &practitioner, &self.chart.clone());
            other.status = dice.text(&["suspended", "revoked"]);
            self.relationships.push(other);
        }
    }

    /// An account that is linked to several charts of one human, at times without any relationship.
    fn link(&mut self, dice: &mut Dice, members: &mut Value) {
        if self.kind == "patient" && self.user != format!("Patient/{}", self.patient) && dice.percent(25) {
            members["charts"] = json!([dice.text(&PATIENTS), self.chart]);
            if dice.percent(50) {
                let (user, chart) = (self.user.clone(), self.chart.clone());
                self.relationships.retain(|one| one.user != user || one.patient != chart);
            }
        }
    }

    /// A patient as the relationships to them need one.
    fn ordinary(&self, dice: &mut Dice, patient: &str) -> Value {
        let related = |kind: &str| self.relationships.iter().any(|one| one.patient == patient && one.kind == kind);
        let conditional = |condition| {
            self.relationships.iter().any(|one| one.patient == patient && one.condition.as_deref() == condition)
        };
        let is_child = related("parent") || conditional(Some("minority")) || dice.percent(8);
        let year = match is_child {
            true if dice.percent(25) => 2009 + dice.below(5),
            true => 2015 + dice.below(10),
            false => 1930 + dice.below(75),
        };
        let mut members = json!({ "birth_date": format!("{year}{}", dice.text(&["-03-01", "-07-15", "-06", ""])) });
        if dice.percent(85) {
            members["zone"] = json!(dice.text(&ZONES));
        }
        if related("executor") {
            members["deceased"] = json!(true);
        }
        if conditional(Some("incapacity")) {
            members["incapacitated"] = json!(true);
        }
        members
    }

    /// A record by one source, and at times by another too.
    fn say(&mut self, dice: &mut Dice, class: &str, id: &str, members: &Value) {
        let first = dice.below(SOURCES.len());
        for more in 0..dice.weighted(&[(82, 1), (15, 2), (3, 3)]) {
            let source = SOURCES[(first + more) % SOURCES.len()];
            let mut members = members.clone();
            if source != "directory" && dice.percent(20) {
                members["as_of"] = json!(dice.text(&["2026-11-24T09:59:30Z", "2026-11-24T09:59:00Z", super::NOW]));
            }
            self.records.push(Told { class: class.into(), id: id.into(), source: source.into(), members });
        }
    }

    /// Let the delegators be known, and reach the patients themselves.
    fn delegators(&mut self, dice: &mut Dice) {
        let delegations: Vec<_> = self.relationships.iter().filter(|one| one.kind == "delegation").cloned().collect();
        for delegation in delegations {
            let delegator = delegation.delegator.unwrap_or_default();
            if !self.records.iter().any(|record| record.class == "user" && record.id == delegator) {
                let members = if dice.percent(40) { json!({ "roles": ["provider"] }) } else { json!({}) };
                self.say(dice, "user", &delegator, &members);
            }
            for _ in 0..=dice.below(2) {
                let mut own = people::live(dice, "provider", &delegator, &delegation.patient);
                if own.kind != "delegation" || dice.percent(10) {
                    if dice.percent(10) {
                        people::spoil(dice, &mut own);
                    }
                    self.relationships.push(own);
                }
            }
        }
    }

    /// The charts that were merged on the way from the patient named to the one that is left.
    fn merge(&mut self, dice: &mut Dice) {
        if self.patient == self.chart {
            return;
        }
        let steps = dice.weighted(&[(70, 1), (15, 2), (8, 5), (4, 6), (3, 4)]);
        let mut into = self.chart.clone();
        for step in (0..steps).rev() {
            let id = if step == 0 { self.patient.clone() } else { format!("m-{step}") };
            self.say(dice, "patient", &id, &json!({ "merged_into": into }));
            into = id;
        }
        let own = format!("Patient/{}", self.patient);
        if self.user == own && dice.percent(85) {
            self.records.retain(|record| record.id != own);
            self.say(dice, "user", &own, &json!({ "charts": [self.chart, self.patient] }));
        }
    }

    /// The members of a record, one that is made where there is none.
    fn members(&mut self, dice: &mut Dice, class: &str, id: &str) -> &mut Map<String, Value> {
        let here: Vec<usize> = (0..self.records.len())
            .filter(|at| self.records[*at].class == class && self.records[*at].id == id)
            .collect();
        let at = match here.is_empty() {
            false => *dice.pick(&here),
            true => {
                let source = dice.text(&SOURCES);
                self.records.push(Told { class: class.into(), id: id.into(), source, members: json!({}) });
                self.records.len() - 1
            }
        };
        self.records[at].members.as_object_mut().unwrap()
    }

    /// Another source that has another birth date.
    fn contradict(&mut self, dice: &mut Dice, patient: &str) {
        let known = self.records.iter().find(|told| told.class == "patient" && told.id == patient).cloned();
        let Some(mut told) = known else { return };
        told.source = "registry".into();
        let year = dice.pick(&[2017, 2014, 2012, 2008, 2006]);
        told.members["birth_date"] = json!(format!("{year}{}", dice.text(&DAYS)));
        self.records.push(told);
    }

    /// Emancipated by most records, and not by some.
    fn emancipate(&mut self, dice: &mut Dice, patient: &str) {
        for told in self.records.iter_mut().filter(|told| told.class == "patient" && told.id == patient) {
            told.members["emancipated"] = json!(dice.percent(75));
        }
    }

    fn forget(&mut self, class: &str, id: &str) {
        self.records.retain(|record| record.class != class || record.id != id);
    }
}

/// Change one thing that is known.
pub(super) fn spoil(dice: &mut Dice, draft: &mut Draft) {
    let delegators: Vec<String> = draft.relationships.iter().filter_map(|one| one.delegator.clone()).collect();
    if !delegators.is_empty() && dice.percent(35) {
        return delegator(dice, draft, &delegators);
    }
    if draft.patient != draft.chart && dice.percent(35) {
        return on_the_way(dice, draft);
    }
    match dice.below(20) {
        0..=8 => patient(dice, draft),
        9..=11 => age(dice, draft),
        12..=14 => user(dice, draft),
        15 | 16 => client(dice, draft),
        17 => stale(dice, draft),
        _ => merged(dice, draft),
    }
}

/// Something that closes a chart to those for whom the user works.
fn delegator(dice: &mut Dice, draft: &mut Draft, delegators: &[String]) {
    let (chart, one) = (draft.chart.clone(), dice.pick(delegators).clone());
    match dice.below(5) {
        0 | 1 => {
            let let_in = delegators.iter().filter(|_| dice.percent(50)).cloned();
            let allow: Vec<String> = let_in.chain([draft.user.clone()]).collect();
            draft.members(dice, "patient", &chart).insert("restriction".into(), json!({ "allow": allow }));
        }
        2 => {
            let charts = json!([if dice.percent(50) { &draft.patient } else { &draft.chart }]);
            draft.members(dice, "user", &one).insert("charts".into(), charts);
        }
        _ => {
            draft.members(dice, "user", &one).insert("test".into(), json!(true));
        }
    }
}

fn patient(dice: &mut Dice, draft: &mut Draft) {
    let id = if dice.percent(85) { draft.chart.clone() } else { dice.text(&PATIENTS) };
    let user = draft.user.clone();
    let flag = dice.text(&["test", "app_access_blocked", "emancipated", "incapacitated", "deceased"]);
    match dice.below(10) {
        0 => draft.forget("patient", &id),
        1..=3 => {
            let allow = match dice.below(4) {
                0 if !user.is_empty() => json!([user, "Practitioner/99"]),
                1 => json!(["Practitioner/17"]),
                _ => json!([]),
            };
            let mut restriction = json!({ "allow": allow });
            if dice.percent(40) {
                restriction["until"] = json!(dice.text(&people::TIMES));
            }
            draft.members(dice, "patient", &id).insert("restriction".into(), restriction);
        }
        4 => {
            draft.members(dice, "patient", &id).insert("active".into(), json!(false));
        }
        5 => {
            let told = draft.members(dice, "patient", &id).remove("deceased").is_none();
            draft.members(dice, "patient", &id).insert("deceased".into(), json!(told));
        }
        6 => {
            for record in &mut draft.records {
                if record.id == id || (record.class == "user" && dice.percent(85)) {
                    record.members["test"] = json!(true);
                }
            }
        }
        _ => {
            draft.members(dice, "patient", &id).insert(flag, json!(true));
        }
    }
}

/// An age just about reached, or one that nobody knows.
fn age(dice: &mut Dice, draft: &mut Draft) {
    let chart = draft.chart.clone();
    let (year, day) = (*dice.pick(&YEARS), dice.text(&DAYS));
    if dice.percent(15) {
        draft.now = dice.text(&["2026-02-28T23:59:59.999Z", "2026-03-01T00:00:00Z", "2026-02-28T12:00:00Z"]);
        let year = dice.text(&["2008", "2008", "2014"]);
        let born = if year == "2008" { "2008-02-29".to_owned() } else { format!("{year}-03-01") };
        let zone = dice.text(&["UTC", "UTC", "Etc/GMT+12"]);
        let members = draft.members(dice, "patient", &chart);
        members.insert("birth_date".into(), json!(born));
        members.insert("zone".into(), json!(zone));
        return;
    }
    let zone = dice.text(&ZONES);
    let one = dice.percent(30);
    if dice.percent(10) {
        for told in draft.records.iter_mut().filter(|told| told.class == "patient" && told.id == chart) {
            told.members.as_object_mut().unwrap().remove("birth_date");
        }
        if dice.percent(60) {
            draft.emancipate(dice, &chart);
        }
        return;
    }
    if dice.percent(30) {
        draft.contradict(dice, &chart);
    }
    if dice.percent(18) {
        draft.emancipate(dice, &chart);
    }
    for record in draft.records.iter_mut().filter(|record| record.class == "patient" && record.id == chart) {
        record.members["birth_date"] = json!(format!("{year}{day}"));
        record.members["zone"] = json!(zone);
        if dice.percent(20) {
            record.members.as_object_mut().unwrap().remove("zone");
        }
        if one {
            break;
        }
    }
    if dice.percent(25) {
        draft.now = dice.text(&["2026-11-24T09:59:59.999Z", "2026-11-24T10:00:00.001Z", "2026-11-24T05:00:00Z"]);
    }
}

fn user(dice: &mut Dice, draft: &mut Draft) {
    let delegators: Vec<String> = draft.relationships.iter().filter_map(|one| one.delegator.clone()).collect();
    let id = match delegators.is_empty() || dice.percent(50) {
        true => draft.user.clone(),
        false => dice.pick(&delegators).clone(),
    };
    if id.is_empty() {
        return;
    }
    if dice.percent(12) {
        return draft.forget("user", &id);
    }
    let chart = draft.chart.clone();
    let named = draft.patient.clone();
    let (status, roles) = (dice.text(&["suspended", "inactive"]), [dice.text(&["patient", "proxy", "provider"])]);
    let (choice, time) = (dice.below(10), dice.text(&people::TIMES));
    let members = draft.members(dice, "user", &id);
    match choice {
        0 => members.insert("status".into(), json!(status)),
        1 | 2 => period(members, "start", &time),
        3 | 4 => period(members, "end", &time),
        5 => members.insert("roles".into(), json!(roles)),
        6 => members.insert("roles".into(), json!([])),
        7 | 8 => members.insert("charts".into(), json!([chart, named])),
        _ => members.insert("test".into(), json!(true)),
    };
}

fn client(dice: &mut Dice, draft: &mut Draft) {
    let (status, kind) = (dice.text(&["suspended", "revoked"]), dice.text(&["patient", "provider", "system"]));
    let (choice, time) = (dice.below(6), dice.text(&people::TIMES));
    let members = draft.members(dice, "client", CLIENT);
    match choice {
        0 => members.insert("status".into(), json!(status)),
        1 | 2 => members.insert("kind".into(), json!(kind)),
        3 => period(members, "start", &time),
        4 => period(members, "end", &time),
        _ => members.insert("test".into(), json!(true)),
    };
}

/// One end of a period, and no other that it would cross.
fn period(members: &mut Map<String, Value>, name: &str, time: &str) -> Option<Value> {
    members.remove("start");
    members.remove("end");
    members.insert(name.into(), json!(time))
}

/// A record that was read a while ago.
fn stale(dice: &mut Dice, draft: &mut Draft) {
    let old: Vec<usize> = (0..draft.records.len()).filter(|at| draft.records[*at].source != "directory").collect();
    if old.is_empty() {
        return patient(dice, draft);
    }
    let at = *dice.pick(&old);
    let ahead = ["2026-11-24T10:01:00Z", "2026-11-24T10:01:00.001Z"];
    if dice.percent(30) {
        draft.records[at].members["as_of"] = json!(dice.text(&ahead));
        return;
    }
    let times = ["2026-11-24T09:59:00Z", "2026-11-24T09:58:59.999Z", "2026-11-24T09:58:30Z", "2020-01-01T00:00:00Z"];
    draft.records[at].members["as_of"] = json!(dice.text(&times));
}

/// Something about a chart that was merged: it is the user's own, or was read a while ago.
fn on_the_way(dice: &mut Dice, draft: &mut Draft) {
    let merged = |told: &&mut Told| told.class == "patient" && told.members["merged_into"].is_string();
    let mut way: Vec<&mut Told> = draft.records.iter_mut().filter(merged).collect();
    let at = dice.below(way.len());
    let id = way[at].id.clone();
    // What was taken back before the charts became one.
    match dice.below(8) {
        0 => {
            let allow = json!([dice.text(&["Practitioner/99", "Practitioner/17", "RelatedPerson/5"])]);
            way[at].members["restriction"] = json!({ "allow": allow });
            return;
        }
        1 => {
            way[at].members["app_access_blocked"] = json!(true);
            return;
        }
        2 | 3 => {
            let mut known = people::live(dice, draft.kind, &draft.user, &id);
            known.status = dice.text(&["active", "suspended", "revoked"]);
            draft.relationships.push(known);
            return;
        }
        _ => {}
    }
    if draft.kind == "provider" && dice.percent(60) {
        let user = draft.user.clone();
        draft.members(dice, "user", &user).insert("charts".into(), json!([id]));
    } else {
        way[at].source = "registry".into();
        way[at].members["as_of"] = json!(dice.text(&["2026-11-24T09:58:59.999Z", "2026-11-24T09:58:30Z"]));
    }
}

/// Charts that were merged into one another.
fn merged(dice: &mut Dice, draft: &mut Draft) {
    let from = if dice.percent(60) { draft.patient.clone() } else { dice.text(&PATIENTS) };
    let into = match dice.below(4) {
        0 => draft.chart.clone(),
        1 => "nobody-knows".into(),
        _ => dice.text(&PATIENTS),
    };
    if from != into {
        draft.members(dice, "patient", &from).insert("merged_into".into(), json!(into));
    }
}

/// Settings of the people's rules, changed.
pub(super) fn setting(dice: &mut Dice, settings: &mut Value) {
    let labels = |dice: &mut Dice| match dice.below(4) {
        0 => json!([]),
        1 => json!(["N"]),
        _ => json!(["HIV", "PSY"]),
    };
    let (name, value) = match dice.below(18) {
        0 => ("require_patient_records", json!(false)),
        1 => ("require_provider_records", json!(false)),
        2 => ("require_portal_user_records", json!(true)),
        3 => ("require_client_records", json!(true)),
        4 => ("own_chart_for_providers", json!(true)),
        5 => ("fact_age_max_s", json!(90 * dice.below(2))),
        6 => ("encounter_window_days", json!(dice.below(2))),
        7 => ("appointment_window_days", json!(dice.below(2))),
        8 => ("age_of_majority", json!(*dice.pick(&[16, 19, 21]))),
        9 => ("limited_from_age", json!(*dice.pick(&[10, 13, 16]))),
        10 => ("own_access_from_age", json!(*dice.pick(&[0, 13, 18]))),
        11 | 12 => ("limited_types", json!(dice.pick(&[&["Observation", "Patient"][..], &[], &["Condition"]]))),
        13 => ("limited_hidden_labels", labels(dice)),
        14 => ("hidden_labels_from_patients", labels(dice)),
        15 => ("hidden_labels_from_proxies", labels(dice)),
        _ => ("hidden_labels_from_providers", labels(dice)),
    };
    settings[name] = value;
}

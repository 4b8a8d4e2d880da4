//! Who reaches which chart, and until when: the rules of `policy/PEOPLE.md`.

mod age;
mod gate;
mod kinds;
mod records;

use std::collections::{BTreeMap, BTreeSet};

use chartgate_model::{Millis, Record, RecordClass, Relationship, Subject, SubjectKind};
use serde_json::Value;

use super::reference::is_id;

/// Codes hidden from limited standings, where the settings do not say.
const LIMITED_LABELS: [&str; 15] =
    ["BH", "ETH", "ETHUD", "HIV", "MH", "OPIOIDUD", "PREGNANT", "PSY", "PSYTHPN", "R", "SDV", "SEX", "STD", "SUD", "V"];
/// Types a limited standing reaches, where the settings do not say.
const LIMITED_TYPES: [&str; 9] = [
    "AllergyIntolerance",
    "Appointment",
    "AppointmentResponse",
    "CareTeam",
    "Coverage",
    "Immunization",
    "ImmunizationRecommendation",
    "Patient",
    "RelatedPerson",
];

/// What is known about people, and who asks.
#[derive(Clone, Copy)]
pub struct People<'a> {
    /// who asks
    pub subject: &'a Subject,
    /// the time of the decision
    pub now: Millis,
    /// settings of the release
    pub settings: &'a Value,
    /// all relationships there are, with their sources
    pub relationships: &'a [Relationship],
    /// all records there are, with their sources
    pub records: &'a [Record],
}

/// On what somebody reaches a patient, and how far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Standing {
    /// when it ends
    pub end: Option<Millis>,
    /// only some types
    limited: bool,
    /// not these types
    exclude_types: BTreeSet<String>,
    /// not what has one of these codes
    hidden: BTreeSet<String>,
}

/// Patients as they are named, with every standing towards each, the first one first.
pub type Reach = BTreeMap<String, Vec<Standing>>;

/// Whether the kind of a subject fits who the user is.
pub fn fits(subject: &Subject, system_clients: bool) -> bool {
    let types: &[&str] = match subject.kind {
        SubjectKind::Patient => &["Patient"],
        SubjectKind::Proxy => &["RelatedPerson", "Person", "Patient"],
        SubjectKind::Provider => &["Practitioner", "PractitionerRole", "Person"],
        SubjectKind::System => return subject.user.is_empty() && subject.patient.is_none() && system_clients,
    };
    match subject.user.split_once('/') {
        Some((kind, id)) => types.contains(&kind) && is_id(id),
        None => false,
    }
}

impl Standing {
    /// Whether a type is within it.
    pub fn reaches(&self, kind: &str, settings: &Value) -> bool {
        let listed = || match settings["limited_types"].as_array() {
            Some(types) => types.iter().any(|one| one == kind),
            None => LIMITED_TYPES.contains(&kind),
        };
        !self.exclude_types.contains(kind) && (!self.limited || listed())
    }

    /// Whether any label at all could hide a resource.
    pub fn hides(&self) -> bool {
        !self.hidden.is_empty()
    }

    /// Whether the labels of a resource hide it.
    pub fn is_hidden(&self, resource: &Value) -> bool {
        let labels = match &resource["meta"]["security"] {
            Value::Null => return false,
            Value::Array(labels) => labels.as_slice(),
            other => std::slice::from_ref(other),
        };
        let told = |label: &Value| label["code"].as_str().is_none_or(|code| self.hidden.contains(code));
        self.hides() && labels.iter().any(told)
    }
}

impl People<'_> {
    /// Every patient the user reaches, of those the user's relationships and charts name.
    pub fn reached(&self, writing: bool) -> Reach {
        let counted = self.counted(&self.subject.user);
        let of_user = self.relationships.iter().filter(|entry| counted.iter().any(|(user, _)| *user == entry.user));
        let mut named: BTreeSet<String> = of_user.map(|entry| entry.patient.clone()).collect();
        named.extend(self.own_chart().map(str::to_owned));
        let known = self.of(RecordClass::User, &self.subject.user);
        named.extend(known.iter().flat_map(|record| strings(record, "charts")));
        named
            .into_iter()
            .map(|id| (id.clone(), self.standings(&id, writing)))
            .filter(|(_, all)| !all.is_empty())
            .collect()
    }

    /// The chart a patient is by identity.
    fn own_chart(&self) -> Option<&str> {
        self.subject.user.strip_prefix("Patient/").filter(|_| self.subject.kind == SubjectKind::Patient)
    }

    /// On what the user reaches a patient, however the patient is named.
    pub fn standings(&self, named: &str, writing: bool) -> Vec<Standing> {
        let Some(way) = self.way(named) else { return Vec::new() };
        let patient = &way[way.len() - 1];
        let records = self.of(RecordClass::Patient, patient);
        if records.is_empty() && self.on("require_patient_records", true) {
            return Vec::new();
        }
        let is_self = self.is_self(patient);
        // The user's own id is named, and was merged into a chart that is not said to be the user's.
        let is_lost = !is_self && self.own_chart() == Some(named);
        let is_blocked = self.is_blocked(&way);
        let is_own = self.subject.kind == SubjectKind::Provider && self.is_own_chart_of(&self.subject.user, &way);
        if is_lost || is_blocked || is_own || !self.is_test_equal(&records) {
            return Vec::new();
        }
        let is_for_themselves =
            self.subject.kind == SubjectKind::Proxy && self.subject.user == format!("Patient/{patient}");
        if is_for_themselves {
            return Vec::new();
        }
        let mut standings = match is_self {
            true => self.by_identity(&records).into_iter().collect(),
            false => self.related(&way, &records, writing),
        };
        if !is_self && self.is_restricted_for(&self.subject.user, &way) {
            standings.clear();
        }
        for standing in &mut standings {
            self.hide(standing);
        }
        standings
    }

    /// Whether a chart that is left is that of the patient who asks: by identity, or every record that speaks of charts says so.
    fn is_self(&self, survivor: &str) -> bool {
        let known = self.of(RecordClass::User, &self.subject.user);
        let speak: Vec<_> = known.iter().filter(|record| record.members.contains_key("charts")).collect();
        let lists = |record: &&Record| strings(record, "charts").iter().any(|chart| chart == survivor);
        self.subject.kind == SubjectKind::Patient
            && (self.own_chart() == Some(survivor) || (!speak.is_empty() && speak.iter().all(|record| lists(record))))
    }

    /// Somebody's access to themself.
    fn by_identity(&self, records: &[&Record]) -> Option<Standing> {
        (self.is_open_to_apps(records, false) && self.is_old_enough(records)).then(Standing::default)
    }

    /// Whether the record that stands for the user is open to them: where it is a chart, the chart has to be.
    pub fn is_own_record_open(&self) -> bool {
        let Some(own) = self.subject.user.strip_prefix("Patient/") else { return true };
        let Some(way) = self.way(own) else { return false };
        let records = self.of(RecordClass::Patient, &way[way.len() - 1]);
        let is_known = !records.is_empty() || !self.on("require_patient_records", true);
        is_known && !self.is_blocked(&way) && self.is_test_equal(&records) && self.by_identity(&records).is_some()
    }

    /// Whether a chart is on a way, or may have gone where one on it is, by any record.
    fn leads_to(&self, chart: &str, way: &[String]) -> bool {
        let (mut at, mut seen) = (vec![chart.to_owned()], BTreeSet::new());
        while let Some(id) = at.pop() {
            if way.contains(&id) {
                return true;
            }
            if seen.insert(id.clone()) {
                let records = self.of(RecordClass::Patient, &id);
                at.extend(
                    records.iter().filter_map(|record| record.members.get("merged_into")?.as_str()).map(str::to_owned),
                );
            }
        }
        false
    }

    /// Whether a provider must not see a chart because it is, or once was, their own.
    fn is_own_chart_of(&self, user: &str, way: &[String]) -> bool {
        !self.on("own_chart_for_providers", false)
            && self.own_charts(user).iter().any(|chart| self.leads_to(chart, way))
    }

    /// Made-up users see made-up patients through made-up apps, and real ones real ones.
    fn is_test_equal(&self, patient: &[&Record]) -> bool {
        let user = is_test(&self.of(RecordClass::User, &self.subject.user));
        let client = self.of(RecordClass::Client, &self.subject.client);
        is_test(patient) == user && (client.is_empty() || is_test(&client) == user)
    }

    /// Whether a practice keeps apps of patients and proxies away from a chart, or kept them from what became of it.
    fn is_blocked(&self, way: &[String]) -> bool {
        self.is_portal() && self.on_way(way).iter().any(|record| flag(record, "app_access_blocked"))
    }

    fn is_portal(&self) -> bool {
        matches!(self.subject.kind, SubjectKind::Patient | SubjectKind::Proxy)
    }

    /// Whether the chart may be opened by a patient or a proxy.
    fn is_open_to_apps(&self, records: &[&Record], executor: bool) -> bool {
        let any = |name: &str| records.iter().any(|record| flag(record, name));
        let inactive = records.iter().any(|record| record.members.get("active") == Some(&Value::Bool(false)));
        !self.is_portal() || !(inactive || (any("deceased") && !executor))
    }

    /// Whether a restriction that has not ended leaves a user out.
    fn is_restricted_for(&self, user: &str, way: &[String]) -> bool {
        self.on_way(way).iter().filter_map(|record| record.members.get("restriction")).any(|restriction| {
            let until = restriction["until"].as_str().map(|until| Millis::parse(until).unwrap());
            let allowed = restriction["allow"].as_array().unwrap().iter().any(|one| one == user);
            until.is_none_or(|until| until > self.now) && !allowed
        })
    }

    /// Add the labels that are hidden whatever the relationship says.
    fn hide(&self, standing: &mut Standing) {
        let list = match self.subject.kind {
            SubjectKind::Patient => "hidden_labels_from_patients",
            SubjectKind::Proxy => "hidden_labels_from_proxies",
            SubjectKind::Provider => "hidden_labels_from_providers",
            SubjectKind::System => return,
        };
        standing.hidden.extend(self.list(list).unwrap_or_default());
        if standing.limited {
            let usual = || LIMITED_LABELS.map(str::to_owned).to_vec();
            standing.hidden.extend(self.list("limited_hidden_labels").unwrap_or_else(usual));
        }
    }

    /// A setting that is on or off.
    fn on(&self, name: &str, otherwise: bool) -> bool {
        self.settings[name].as_bool().unwrap_or(otherwise)
    }

    /// A setting that is a number.
    fn number(&self, name: &str, otherwise: u64) -> u64 {
        self.settings[name].as_u64().unwrap_or(otherwise)
    }

    /// A setting that is a list.
    fn list(&self, name: &str) -> Option<Vec<String>> {
        let list = self.settings[name].as_array()?;
        Some(list.iter().filter_map(Value::as_str).map(str::to_owned).collect())
    }
}

/// A flag of a record.
fn flag(record: &Record, name: &str) -> bool {
    record.members.get(name) == Some(&Value::Bool(true))
}

/// Whether any record says it is test data.
fn is_test(records: &[&Record]) -> bool {
    records.iter().any(|record| flag(record, "test"))
}

/// A list of a record.
fn strings(record: &Record, name: &str) -> Vec<String> {
    let list = record.members.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The earlier of two ends, where none is never.
pub fn earlier(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn later(one: Option<Millis>, other: Option<Millis>) -> Option<Millis> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.max(other)),
        _ => None,
    }
}

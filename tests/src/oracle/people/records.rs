//! Records, and the chart that is left of several.

use std::collections::BTreeSet;

use chartgate_model::{Millis, Record, RecordClass};
use serde_json::Value;

use super::People;

/// Steps from one chart into another at the most.
const STEPS_MAX: usize = 5;
/// Seconds a record may be old, where the settings do not say.
const AGE_MAX_S: u64 = 60;

impl<'a> People<'a> {
    /// The records of one, of every source; of a role those of whoever plays it, too.
    pub(super) fn of(&self, class: RecordClass, id: &str) -> Vec<&'a Record> {
        let named = self.practitioners(class, id);
        let is_theirs =
            |record: &&Record| record.class == class && (record.id == id || named.contains(&record.id.as_str()));
        self.records.iter().filter(is_theirs).collect()
    }

    /// Whose role it is.
    fn practitioners(&self, class: RecordClass, id: &str) -> BTreeSet<&'a str> {
        let own = self.records.iter().filter(|record| record.class == class && record.id == id);
        own.filter_map(|record| text(record, "practitioner")).collect()
    }

    /// Everybody whose relationships count for a user, and from when until when; `None`: only where they take away.
    pub(super) fn counted(&self, user: &str) -> Vec<(String, Option<Times>)> {
        let mut all = vec![(user.to_owned(), Some((None, None)))];
        let named = self.practitioners(RecordClass::User, user);
        all.extend(named.into_iter().map(|practitioner| (practitioner.to_owned(), None)));
        let plays = |record: &&Record| user.starts_with("Practitioner/") && text(record, "practitioner") == Some(user);
        let roles: BTreeSet<&str> = self.records.iter().filter(plays).map(|record| record.id.as_str()).collect();
        all.extend(roles.into_iter().map(|role| (role.to_owned(), self.tenure(role))));
        all
    }

    /// When a role is played, by everything known of it.
    fn tenure(&self, role: &str) -> Option<Times> {
        let own: Vec<&Record> =
            self.records.iter().filter(|record| record.class == RecordClass::User && record.id == role).collect();
        let is_played = own.iter().all(|record| record.members["status"] == "active");
        let is_of_one = self.practitioners(RecordClass::User, role).len() == 1;
        let start = own.iter().filter_map(|record| instant(record, "start")).max();
        let end = own.iter().filter_map(|record| instant(record, "end")).min();
        (is_played && is_of_one).then_some((start, end))
    }

    /// The records of every chart on a way.
    pub(super) fn on_way(&self, way: &[String]) -> Vec<&'a Record> {
        way.iter().flat_map(|chart| self.of(RecordClass::Patient, chart)).collect()
    }

    /// Whether a record was read too long ago, or will be.
    pub(super) fn is_stale(&self, record: &Record) -> bool {
        let most = self.number("fact_age_max_s", AGE_MAX_S) * 1000;
        instant(record, "as_of").is_some_and(|read| read.0.abs_diff(self.now.0) > most)
    }

    /// The chart a patient's was merged into in the end; `None` where nobody can tell, or the records are too old.
    pub fn survivor(&self, id: &str) -> Option<String> {
        self.way(id)?.pop()
    }

    /// The charts on the way from a patient as named to the one that is left, which is the last.
    pub(super) fn way(&self, id: &str) -> Option<Vec<String>> {
        let mut way = vec![id.to_owned()];
        while way.len() <= STEPS_MAX + 1 {
            let chart = way.last()?;
            let records = self.of(RecordClass::Patient, chart);
            if (records.is_empty() && way.len() > 1) || records.iter().any(|record| self.is_stale(record)) {
                return None;
            }
            let into: BTreeSet<&str> = records.iter().filter_map(|record| text(record, "merged_into")).collect();
            match into.into_iter().collect::<Vec<_>>().as_slice() {
                [] => return Some(way),
                [into] if !way.iter().any(|chart| chart == into) => way.push((*into).to_owned()),
                _ => return None,
            }
        }
        None
    }
}

/// From when until when.
pub(super) type Times = (Option<Millis>, Option<Millis>);

/// A time in a record.
pub(super) fn instant(record: &Record, name: &str) -> Option<Millis> {
    record.members.get(name).and_then(Value::as_str).map(|text| Millis::parse(text).unwrap())
}

fn text<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    record.members.get(name).and_then(Value::as_str)
}

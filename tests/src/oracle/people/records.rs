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
    pub(super) fn counted(&self, user: &str) -> Vec<(String, Option<Role>)> {
        let mut all = vec![(user.to_owned(), Some(Role::default()))];
        for practitioner in self.practitioners(RecordClass::User, user) {
            all.push((practitioner.to_owned(), None));
            let others = self.roles(practitioner).into_iter().filter(|role| *role != user);
            all.extend(others.map(|role| (role.to_owned(), None)));
        }
        all.extend(self.roles(user).into_iter().map(|role| (role.to_owned(), self.tenure(role))));
        all
    }

    /// The roles of a practitioner.
    fn roles(&self, user: &str) -> BTreeSet<&'a str> {
        let plays = |record: &&Record| user.starts_with("Practitioner/") && text(record, "practitioner") == Some(user);
        self.records.iter().filter(plays).map(|record| record.id.as_str()).collect()
    }

    /// Every chart that is somebody's own, by what is known of them and of the roles of the same human.
    pub(super) fn own_charts(&self, user: &str) -> Vec<String> {
        let mut humans = self.practitioners(RecordClass::User, user);
        humans.insert(self.records.iter().find(|record| record.id == user).map_or("", |record| record.id.as_str()));
        let roles: BTreeSet<&str> = humans.iter().flat_map(|human| self.roles(human)).collect();
        let known = self.of(RecordClass::User, user);
        let of_roles = self
            .records
            .iter()
            .filter(|record| record.class == RecordClass::User && roles.contains(record.id.as_str()));
        known.into_iter().chain(of_roles).flat_map(|record| super::strings(record, "charts")).collect()
    }

    /// When a role is played, by everything known of it; `None` where it is not, or not now.
    fn tenure(&self, role: &str) -> Option<Role> {
        let all = self.records.iter().filter(|record| record.class == RecordClass::User && record.id == role);
        let own: Vec<&Record> = all.filter(|record| record.members["status"] != "unknown").collect();
        let is_played = own.iter().all(|record| record.members["status"] == "active");
        let stale = own.iter().any(|record| self.is_stale(record));
        let is_of_one = self.practitioners(RecordClass::User, role).len() == 1;
        let start = own.iter().filter_map(|record| instant(record, "start")).max();
        let end = own.iter().filter_map(|record| instant(record, "end")).min();
        let is_now = start.is_none_or(|start| start <= self.now) && end.is_none_or(|end| self.now < end);
        (is_played && is_of_one && is_now).then_some(Role { times: (start, end), stale })
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

/// How a role lasts, and whether that was read too long ago.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Role {
    pub(super) times: Times,
    pub(super) stale: bool,
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

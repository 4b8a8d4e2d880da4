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
    /// The records of one, of every source.
    pub(super) fn of(&self, class: RecordClass, id: &str) -> Vec<&'a Record> {
        self.records.iter().filter(|record| record.class == class && record.id == id).collect()
    }

    /// Whether a record was read too long ago.
    pub(super) fn is_stale(&self, record: &Record) -> bool {
        let oldest = self.now.0.saturating_sub(self.number("fact_age_max_s", AGE_MAX_S) * 1000);
        instant(record, "as_of").is_some_and(|read| read.0 < oldest)
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

/// A time in a record.
pub(super) fn instant(record: &Record, name: &str) -> Option<Millis> {
    record.members.get(name).and_then(Value::as_str).map(|text| Millis::parse(text).unwrap())
}

fn text<'a>(record: &'a Record, name: &str) -> Option<&'a str> {
    record.members.get(name).and_then(Value::as_str)
}

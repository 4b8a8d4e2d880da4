//! Roles: a `PractitionerRole` is a `Practitioner` at work somewhere, for a time. FHIR names either where somebody cares
//! for a patient, and both may sign in.
//!
//! What is told of a role counts for whoever plays it, as long as the role lasts; what is taken away from either is
//! taken away from both. One level is followed, and no more is needed: a role is nobody's practitioner.

use std::collections::{BTreeMap, BTreeSet};

use chartgate_model::{Millis, Record};
use serde_json::{Map, Value};

/// Roles of one practitioner: beyond these, nobody can tell what they may see.
pub(super) const ROLES_MAX: usize = 100;

/// For how long a relationship to a role counts; bounds that no window widens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tenure {
    /// inclusive
    pub(super) start: Option<Millis>,
    /// exclusive
    pub(super) end: Option<Millis>,
    /// when the oldest of what says so was read
    pub(super) as_of: Option<Millis>,
}

impl Tenure {
    /// Whether the role is played at a time. One that has ended, or not begun, says nothing.
    pub(super) fn holds(self, now: Millis) -> bool {
        self.start.is_none_or(|start| start <= now) && self.end.is_none_or(|end| now < end)
    }
}

/// How far the relationships of another record of the same human count for a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Share {
    /// as long as the role lasts
    During(Tenure),
    /// only what takes access away
    Against,
}

/// Whether a user may play roles, or be one.
pub(super) fn is_practitioner(user: &str) -> bool {
    user.starts_with("Practitioner/")
}

/// The same, of a role.
pub(super) fn is_role(user: &str) -> bool {
    user.starts_with("PractitionerRole/")
}

/// The practitioners that records of a role name.
pub(super) fn practitioners(records: &[Record]) -> BTreeSet<String> {
    records.iter().filter_map(practitioner).map(str::to_owned).collect()
}

fn practitioner(record: &Record) -> Option<&str> {
    record.members.get("practitioner")?.as_str()
}

/// The roles that are a practitioner's by every record that says whose they are, each with what counts of it.
pub(super) fn shares(user: &str, records: &[Record]) -> BTreeMap<String, Share> {
    let mut of_role: BTreeMap<&str, Vec<&Record>> = BTreeMap::new();
    records.iter().for_each(|record| of_role.entry(&record.id).or_default().push(record));
    let shares = of_role.into_iter().filter_map(|(role, records)| {
        let mut named = records.iter().filter_map(|record| practitioner(record)).peekable();
        let share = match named.peek()? {
            _ if named.all(|named| named == user) => tenure(&records).map_or(Share::Against, Share::During),
            // Two sources, two practitioners: the role gives neither anything.
            _ => Share::Against,
        };
        Some((role.to_owned(), share))
    });
    shares.collect()
}

/// How long a role lasts by all of its records; nothing where one of them says that it is not played.
fn tenure(records: &[&Record]) -> Option<Tenure> {
    let mut all = Tenure::default();
    for Record { members, .. } in records {
        // A record without a status is an active one (`people::UserRecord`); one of status `unknown` says nothing of it.
        match members.get("status").and_then(Value::as_str) {
            None | Some("active") => {}
            Some("unknown") => continue,
            Some(_) => return None,
        }
        let time = |name: &str| match members.get(name) {
            None => Some(None),
            Some(Value::String(text)) => Millis::parse(text).ok().map(Some),
            Some(_) => None,
        };
        all.start = all.start.max(time("start")?);
        all.end = all.end.into_iter().chain(time("end")?).min();
        all.as_of = all.as_of.into_iter().chain(time("as_of")?).min();
    }
    Some(all)
}

/// The charts that are told of other roles, as records that only close them.
pub(super) fn charts_of(records: Vec<Record>) -> impl Iterator<Item = Record> {
    records.into_iter().filter_map(|mut record| {
        let charts = record.members.remove("charts")?;
        let mut members =
            Map::from_iter([("status".to_owned(), Value::from("unknown")), ("charts".to_owned(), charts)]);
        members.extend(record.members.remove("as_of").map(|read| ("as_of".to_owned(), read)));
        Some(Record { members, ..record })
    })
}

#[cfg(test)]
mod tests {
    use chartgate_model::RecordClass;
    use serde_json::json;

    use super::*;

    fn role(source: &str, members: Value) -> Record {
        crate::people::record(RecordClass::User, "PractitionerRole/9", source, members).unwrap()
    }

    fn share(records: &[Record]) -> Option<Share> {
        shares("Practitioner/17", records).remove("PractitionerRole/9")
    }

    fn at(text: &str) -> Option<Millis> {
        Some(Millis::parse(text).unwrap())
    }

    #[test]
    fn a_role_lasts_as_long_as_every_record_says() {
        let own = json!({ "practitioner": "Practitioner/17", "start": "2026-01-01T00:00:00Z" });
        let by_hand = json!({ "start": "2025-01-01T00:00:00Z", "end": "2026-12-01T00:00:00Z" });
        let (start, end) = (at("2026-01-01T00:00:00Z"), at("2026-12-01T00:00:00Z"));
        let during = |start, end| Some(Share::During(Tenure { start, end, as_of: None }));
        assert_eq!(share(&[role("import", own.clone())]), during(start, None));
        let both = [role("directory", by_hand), role("import", own.clone())];
        assert_eq!(share(&both), during(start, end));
        let aside = json!({ "status": "unknown", "charts": ["7"] });
        assert_eq!(share(&[role("directory", aside), role("import", own)]), during(start, None));
    }

    #[test]
    fn a_role_nobody_plays_only_takes_away() {
        let own = json!({ "practitioner": "Practitioner/17" });
        for status in ["inactive", "suspended", "closed"] {
            let both = [role("directory", json!({ "status": status })), role("import", own.clone())];
            assert_eq!(share(&both), Some(Share::Against), "{status}");
        }
    }

    #[test]
    fn a_role_of_two_is_no_bodys() {
        let [one, other] = ["Practitioner/17", "Practitioner/18"].map(|by| json!({ "practitioner": by }));
        assert_eq!(share(&[role("directory", one), role("import", other)]), Some(Share::Against));
        assert_eq!(share(&[role("import", json!({}))]), None);
    }
}

//! Relationships: which kinds are live, and what each gives.

use std::collections::BTreeSet;

use chartgate_model::{Millis, Record, RecordClass, Relationship, SubjectKind};

use super::records::{Role, Times};
use super::{People, Standing, earlier, flag, is_test, later};

const DAY_MS: u64 = 86_400_000;
/// Kinds that count for patients and proxies, and for providers.
const PORTAL_KINDS: [&str; 6] = ["parent", "guardian", "caregiver", "agency", "health-care-agent", "executor"];
const PROVIDER_KINDS: [&str; 8] =
    ["treatment", "encounter", "care-team", "primary-care", "appointment", "department", "coverage", "delegation"];

const DELEGATION: &str = "delegation";

/// A relationship, and when it holds at the most.
#[derive(Clone, Copy)]
struct Entry<'a> {
    known: &'a Relationship,
    role: Role,
}

/// Whose relationship is looked at, and for what.
#[derive(Clone, Copy)]
struct Asked<'a> {
    user: &'a str,
    /// the chart, and those on the way to it
    way: &'a [String],
    records: &'a [&'a Record],
    writing: bool,
}

impl People<'_> {
    /// What the user's relationships to a patient give, the first kind first.
    pub(super) fn related(&self, way: &[String], records: &[&Record], writing: bool) -> Vec<Standing> {
        let asked = Asked { user: &self.subject.user, way, records, writing };
        let kinds: &[&str] = match self.subject.kind {
            SubjectKind::Patient | SubjectKind::Proxy => &PORTAL_KINDS,
            SubjectKind::Provider => &PROVIDER_KINDS,
            SubjectKind::System => &[],
        };
        self.chosen(asked, kinds).or_else(|| self.delegated(asked)).into_iter().collect()
    }

    /// Of several kinds that are live the first that leaves nothing out counts, or else the first.
    fn chosen(&self, asked: Asked<'_>, kinds: &[&str]) -> Option<Standing> {
        let plain = kinds.iter().filter(|kind| **kind != DELEGATION);
        let live: Vec<Standing> = plain.filter_map(|kind| self.of_kind(asked, kind)).collect();
        live.iter().find(|standing| standing.leaves_nothing_out()).or(live.first()).cloned()
    }

    fn of_kind(&self, asked: Asked<'_>, kind: &str) -> Option<Standing> {
        let entries = self.of_one_kind(asked, kind)?;
        self.of_entries(asked, kind, &entries)
    }

    /// What entries of one kind give.
    fn of_entries(&self, asked: Asked<'_>, kind: &str, entries: &[Entry<'_>]) -> Option<Standing> {
        let (in_force, end) = self.in_force(asked, entries)?;
        if asked.writing && in_force.iter().any(|entry| entry.level == "read-only") {
            return None;
        }
        let mut standing = Standing { end, ..Standing::default() };
        for entry in &in_force {
            standing.limited |= entry.level == "limited";
            standing.exclude_types.extend(entry.terms.exclude_types.iter().cloned());
            standing.hidden.extend(entry.terms.exclude_labels.iter().cloned());
        }
        self.conditions(asked.records, &in_force, &mut standing)?;
        self.standing_of_kind(kind, asked.records, &mut standing)?;
        self.is_open_to_apps(asked.records, kind == "executor").then_some(standing)
    }

    /// The entries of a kind, unless one of them is revoked or one of any kind suspended.
    fn of_one_kind(&self, asked: Asked<'_>, kind: &str) -> Option<Vec<Entry<'_>>> {
        let counted = self.counted(asked.user);
        let shared =
            |entry: &Relationship| counted.iter().find(|(user, _)| *user == entry.user).map(|(_, times)| *times);
        let (mut live, mut is_over) = (Vec::new(), false);
        let ordinary = self.relationships.iter().filter(|entry| entry.via == "ordinary");
        let mut ordinary: Vec<&Relationship> = ordinary.collect();
        ordinary.sort_by_key(|entry| counted.iter().position(|(user, _)| *user == entry.user));
        for known in ordinary {
            let Some(times) = shared(known).filter(|_| asked.way.contains(&known.patient)) else { continue };
            is_over |= known.status == "suspended" || (known.status == "revoked" && known.kind == kind);
            if let (Some(role), true) = (times, asked.way.last() == Some(&known.patient) && known.kind == kind) {
                live.push(Entry { known, role });
            }
        }
        (!is_over).then_some(live)
    }

    /// Those of the entries that are in force, and when they end; `None` where a source has none that is. Encounters and
    /// appointments of other times say nothing about now.
    fn in_force<'e>(&self, asked: Asked<'_>, entries: &[Entry<'e>]) -> Option<(Vec<&'e Relationship>, Option<Millis>)> {
        let sources: BTreeSet<&str> = entries.iter().map(|entry| entry.known.source.as_str()).collect();
        let (mut in_force, mut first) = (Vec::new(), None);
        for source in &sources {
            let mut last: Option<Option<Millis>> = None;
            let stale = entries.iter().any(|entry| entry.known.source == *source && entry.role.stale);
            for entry in entries.iter().filter(|entry| entry.known.source == *source && !entry.role.stale) {
                let (start, end) = self.period(entry);
                let Some(until) = self.outlives_minority(asked, entry.known) else { continue };
                let end = earlier(end, until);
                if start.is_none_or(|start| start <= self.now) && end.is_none_or(|end| self.now < end) {
                    in_force.push(entry.known);
                    last = Some(last.map_or(end, |known| later(known, end)));
                }
            }
            let is_event = entries.iter().any(|entry| matches!(entry.known.kind.as_str(), "encounter" | "appointment"));
            match last {
                Some(last) => first = earlier(first, last),
                None if is_event && !stale => {}
                None => return None,
            }
        }
        (!in_force.is_empty()).then_some((in_force, first))
    }

    /// `None` where authority over a minor has outlived the minority; else when it would.
    fn outlives_minority(&self, asked: Asked<'_>, entry: &Relationship) -> Option<Option<Millis>> {
        let is_for_minors = ["guardian", "caregiver", "agency"].contains(&entry.kind.as_str());
        if !is_for_minors || entry.terms.condition.as_deref() == Some("incapacity") {
            return Some(None);
        }
        match self.minor_until(asked.records) {
            Some(until) => Some(until),
            None => {
                let began_in_it = entry.start.is_some_and(|start| self.was_minor(asked.records, start));
                (!began_in_it).then_some(None)
            }
        }
    }

    /// When an entry holds.
    fn period(&self, entry: &Entry<'_>) -> Times {
        let Entry { known: entry, role } = entry;
        let days = match entry.kind.as_str() {
            "encounter" => self.number("encounter_window_days", 30),
            "appointment" => self.number("appointment_window_days", 30),
            _ => 0,
        };
        let start = entry.start.map(|start| Millis(start.0.saturating_sub(days * DAY_MS)));
        let end = entry.end.map(|end| Millis(end.0.saturating_add(days * DAY_MS)));
        (start.max(role.times.0), earlier(end, role.times.1))
    }

    fn conditions(&self, records: &[&Record], entries: &[&Relationship], standing: &mut Standing) -> Option<()> {
        for entry in entries {
            match entry.terms.condition.as_deref() {
                None => {}
                Some("incapacity") => is_said(records, "incapacitated")?,
                Some("minority") => standing.end = earlier(standing.end, self.minor_until(records)?),
                Some(_) => return None,
            }
        }
        Some(())
    }

    /// What a kind needs besides, and how it is cut.
    fn standing_of_kind(&self, kind: &str, records: &[&Record], standing: &mut Standing) -> Option<()> {
        if kind == "executor" {
            is_said(records, "deceased")?;
        }
        if !["parent", "guardian", "caregiver", "agency"].contains(&kind) {
            return Some(());
        }
        if !records.is_empty() && records.iter().all(|record| !record.members.contains_key("birth_date")) {
            return None;
        }
        if kind == "parent" {
            standing.end = earlier(standing.end, self.minor_until(records)?);
        }
        let (limited, begins) = self.band(records);
        standing.limited |= limited;
        standing.end = earlier(standing.end, begins);
        Some(())
    }

    /// What is left of the first delegation that holds, in the order in which the delegators are named.
    fn delegated(&self, asked: Asked<'_>) -> Option<Standing> {
        if self.subject.kind != SubjectKind::Provider {
            return None;
        }
        let entries = self.of_one_kind(asked, DELEGATION)?;
        let mut delegators: Vec<Option<&str>> = Vec::new();
        for entry in &entries {
            let delegator = entry.known.terms.delegator.as_deref();
            if !delegators.contains(&delegator) {
                delegators.push(delegator);
            }
        }
        delegators.into_iter().find_map(|delegator| {
            let theirs = entries.iter().filter(|entry| entry.known.terms.delegator.as_deref() == delegator);
            let own = self.of_entries(asked, DELEGATION, &theirs.copied().collect::<Vec<_>>())?;
            Some(own.join(&self.of_delegator(asked, delegator?)?))
        })
    }

    /// What a delegator has to give.
    fn of_delegator(&self, asked: Asked<'_>, delegator: &str) -> Option<Standing> {
        let kind = delegator.split('/').next().unwrap_or_default();
        let known = self.of(RecordClass::User, delegator);
        let is_provider = ["Practitioner", "PractitionerRole", "Person"].contains(&kind);
        if delegator == asked.user || !is_provider || known.is_empty() {
            return None;
        }
        let is_closed = self.is_restricted_for(delegator, asked.way)
            || self.is_own_chart_of(delegator, asked.way)
            || is_test(&known) != is_test(asked.records);
        if is_closed {
            return None;
        }
        let until = self.acting(delegator, "provider")?;
        let theirs = self.chosen(Asked { user: delegator, ..asked }, &PROVIDER_KINDS)?;
        Some(Standing { end: earlier(theirs.end, until), ..theirs })
    }
}

impl Standing {
    fn leaves_nothing_out(&self) -> bool {
        !self.limited && self.exclude_types.is_empty() && self.hidden.is_empty()
    }

    fn join(&self, other: &Self) -> Self {
        Self {
            end: earlier(self.end, other.end),
            limited: self.limited || other.limited,
            exclude_types: self.exclude_types.union(&other.exclude_types).cloned().collect(),
            hidden: self.hidden.union(&other.hidden).cloned().collect(),
        }
    }
}

/// Whether a flag is said by somebody, and denied by nobody.
pub(super) fn is_said(records: &[&Record], name: &str) -> Option<()> {
    let denied = records.iter().any(|record| record.members.get(name) == Some(&serde_json::Value::Bool(false)));
    (!denied && records.iter().any(|record| flag(record, name))).then_some(())
}

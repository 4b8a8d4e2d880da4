//! Which relationships are live, and how far they reach.
//!
//! A relationship confers access only when its kind fits the user's role, it is active, the time of
//! the decision lies in `[start, end)`, what it rests on is so, and nobody who speaks of it says
//! otherwise: revoked or suspended anywhere beats a grant anywhere.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::chart::{Chart, Minority};
use crate::access::record::{Readings, flag, instant, required, texts};
use crate::json::{Json, Malformed, Value};
use crate::reason::Reason;
use crate::rule::Rule;
use crate::settings::Settings;
use crate::types::SubjectKind;

const DAY_MS: u64 = 86_400_000;
/// The kind by which somebody works for another user.
const DELEGATION: &str = "delegation";
/// The only kind of proxies that acts for somebody who died.
const EXECUTOR: &str = "executor";
/// The kind that ends when the patient comes of age.
const PARENT: &str = "parent";
/// Kinds that speak for a minor: limited when the minor is old enough for some privacy, and over with the minority
/// they began in.
const FOR_MINORS: [&str; 4] = [PARENT, "guardian", "caregiver", "agency"];

/// One relationship fact.
#[derive(Debug, Clone)]
pub(crate) struct Entry<'a> {
    pub(crate) patient: Cow<'a, str>,
    kind: Cow<'a, str>,
    level: Cow<'a, str>,
    status: Status,
    source: Cow<'a, str>,
    start_ms: Option<u64>,
    end_ms: Option<u64>,
    /// of one to a role: how long it lasts
    role_start_ms: Option<u64>,
    role_end_ms: Option<u64>,
    /// when the oldest of what says so was read
    role_read: Readings,
    exclude_types: Vec<Cow<'a, str>>,
    exclude_labels: Vec<Cow<'a, str>>,
    condition: Option<Condition>,
    delegator: Option<Cow<'a, str>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Active,
    Suspended,
    Revoked,
}

/// What a relationship waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Condition {
    /// the patient is documented as incapacitated
    Incapacity,
    /// the patient is a minor
    Minority,
}

/// The relationships of a user, as one fact gives them.
#[derive(Debug, Clone)]
pub(crate) struct Entries<'a> {
    pub(crate) list: Vec<Entry<'a>>,
    /// the source knows more than it says
    pub(crate) truncated: bool,
}

impl Entry<'_> {
    /// It takes access away, whatever others grant.
    pub(crate) fn is_against(&self) -> bool {
        self.status != Status::Active
    }
}

impl<'a> Entries<'a> {
    /// Those about one patient.
    pub(crate) fn about(&self, patient: &str) -> &[Entry<'a>] {
        let start = self.list.partition_point(|entry| *entry.patient < *patient);
        let found = self.list.get(start..).unwrap_or_default();
        found.get(..found.partition_point(|entry| entry.patient == patient)).unwrap_or_default()
    }
}

/// What a live relationship gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) reason: Reason,
    /// when it ends, milliseconds since 1970
    pub(crate) end_ms: Option<u64>,
    pub(crate) limits: Limits,
}

/// What a standing does not reach.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Limits {
    /// the types and labels of the limited level
    pub(crate) limited: bool,
    pub(crate) types: Vec<String>,
    pub(crate) labels: Vec<String>,
}

impl Limits {
    const NONE: Self = Self { limited: false, types: Vec::new(), labels: Vec::new() };

    /// Take on the limits of another: what either does not reach, both together do not.
    pub(crate) fn join(&mut self, other: &Self) {
        self.limited |= other.limited;
        let add = |all: &mut Vec<String>, more: &[String]| {
            more.iter().for_each(|text| {
                if !all.contains(text) {
                    all.push(text.clone())
                }
            });
        };
        add(&mut self.types, &other.types);
        add(&mut self.labels, &other.labels);
    }
}

impl Standing {
    /// A client without a user: its scopes are all it needs.
    pub(crate) const SYSTEM: Self = Self::by(Reason::SystemClient);

    /// Without an end or a limit.
    pub(crate) const fn by(reason: Reason) -> Self {
        Self { reason, end_ms: None, limits: Limits::NONE }
    }

    /// Both have to hold: the earlier end, the limits of both.
    pub(crate) fn and(mut self, other: &Self) -> Self {
        self.limits.join(&other.limits);
        self.until(other.end_ms)
    }

    /// No longer than this, where there is an end.
    pub(crate) fn until(mut self, end_ms: Option<u64>) -> Self {
        self.end_ms = self.end_ms.into_iter().chain(end_ms).min();
        self
    }
}

/// By what right a user reaches a patient.
#[derive(Debug)]
pub(crate) enum Right<'e> {
    /// their own
    Own(Standing),
    /// that of users they work for, no more than this of each: `Practitioner/12`
    Delegated(Vec<(&'e str, Standing)>),
}

impl Right<'_> {
    /// What is delegated has the limits of the delegator, which are not known yet.
    fn is_unlimited(&self) -> bool {
        matches!(self, Self::Own(standing) if standing.limits == Limits::NONE)
    }
}

/// What a relationship is judged by.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'x> {
    pub(crate) role: SubjectKind,
    pub(crate) now_ms: u64,
    pub(crate) writing: bool,
    pub(crate) settings: &'x Settings,
    /// the patient's
    pub(crate) chart: &'x Chart<'x>,
}

/// Read a relationship fact.
pub(crate) fn parse(bytes: &[u8]) -> Result<Entries<'_>, Malformed> {
    let json = Json::parse(bytes)?;
    let root = json.root();
    let truncated = flag(root, "truncated")?.unwrap_or(false);
    let entries = root.get("entries")?.filter(|entries| entries.is_array()).ok_or(Malformed)?;
    let mut list = Vec::new();
    for value in entries.elements() {
        // SECURITY: whatever did not come about in the ordinary way (break-glass) does not count for
        // apps. The host drops such facts too.
        if required(value, "via")? == "ordinary" {
            list.push(entry(value)?);
        }
    }
    // By patient, so that one is found without looking at all.
    list.sort_by(|one, other| one.patient.cmp(&other.patient));
    Ok(Entries { list, truncated })
}

fn entry<'a>(value: Value<'_, 'a>) -> Result<Entry<'a>, Malformed> {
    let status = match &*required(value, "status")? {
        "active" => Status::Active,
        "suspended" => Status::Suspended,
        "revoked" => Status::Revoked,
        _ => return Err(Malformed),
    };
    let condition = match value.get_string("condition")?.as_deref() {
        None => None,
        Some("incapacity") => Some(Condition::Incapacity),
        Some("minority") => Some(Condition::Minority),
        Some(_) => return Err(Malformed),
    };
    Ok(Entry {
        patient: required(value, "patient")?,
        kind: required(value, "kind")?,
        level: required(value, "level")?,
        status,
        source: required(value, "source")?,
        start_ms: instant(value, "start_ms")?,
        end_ms: instant(value, "end_ms")?,
        role_start_ms: instant(value, "role_start_ms")?,
        role_end_ms: instant(value, "role_end_ms")?,
        role_read: instant(value, "role_as_of_ms")?.into_iter().collect(),
        exclude_types: texts(value, "exclude_types")?.unwrap_or_default(),
        exclude_labels: texts(value, "exclude_labels")?.unwrap_or_default(),
        condition,
        delegator: value.get_string("delegator")?,
    })
}

/// The kinds that give a role access, and the reason each permits for.
fn kinds(role: SubjectKind) -> &'static [(&'static str, Reason)] {
    match role {
        SubjectKind::Patient | SubjectKind::Proxy => &[
            (PARENT, Reason::Parent),
            ("guardian", Reason::Guardian),
            ("caregiver", Reason::Caregiver),
            ("agency", Reason::Agency),
            ("health-care-agent", Reason::HealthCareAgent),
            (EXECUTOR, Reason::Executor),
        ],
        SubjectKind::Provider => &[
            ("treatment", Reason::Treatment),
            ("encounter", Reason::Encounter),
            ("care-team", Reason::CareTeam),
            ("primary-care", Reason::PrimaryCare),
            ("appointment", Reason::Appointment),
            ("department", Reason::Department),
            ("coverage", Reason::Coverage),
            (DELEGATION, Reason::Delegation),
        ],
        SubjectKind::System => &[],
    }
}

/// What the entries about one patient give a user: the first live kind without limits, or else the first live one.
pub(crate) fn right<'e>(entries: &[&'e Entry<'e>], asking: Asking<'_>) -> Result<Right<'e>, Reason> {
    if entries.is_empty() {
        return Err(Reason::NoRelationship);
    }
    if entries.iter().any(|entry| entry.status == Status::Suspended) {
        return Err(Reason::RelationshipSuspended);
    }
    let mut failure = Reason::RelationshipKindMismatch;
    let (mut limited, mut stale) = (None, None);
    for (kind, reason) in kinds(asking.role) {
        let of_kind = entries.iter().copied().filter(|entry| entry.kind == *kind);
        let right = match *kind {
            DELEGATION => delegated(of_kind, *reason, asking),
            kind => standing(of_kind, kind, *reason, asking).map(|standing| standing.map(Right::Own)),
        };
        match right {
            Ok(Some(right)) if right.is_unlimited() => return Ok(right),
            Ok(Some(right)) => limited = limited.or(Some(right)),
            Ok(None) => {}
            Err(Reason::FactStale) => stale = Some(Reason::FactStale),
            Err(reason) => failure = failure.max(reason),
        }
    }
    // What was read too long ago says nothing of why.
    limited.ok_or(stale.unwrap_or(failure))
}

/// What the entries of one kind come to; `None` when there is none.
fn standing<'e>(
    entries: impl Iterator<Item = &'e Entry<'e>> + Clone,
    kind: &str,
    reason: Reason,
    asking: Asking<'_>,
) -> Result<Option<Standing>, Reason> {
    let live = live(entries, asking, window_ms(kind, asking.settings))?;
    live.map(|live| live.borne(kind, reason, asking)).transpose()
}

/// Each delegation is judged by itself: somebody may work for several. One that is revoked ends them all.
fn delegated<'e>(
    entries: impl Iterator<Item = &'e Entry<'e>> + Clone,
    reason: Reason,
    asking: Asking<'_>,
) -> Result<Option<Right<'e>>, Reason> {
    if entries.clone().any(|entry| entry.status == Status::Revoked) {
        return Err(Reason::RelationshipRevoked);
    }
    let mut delegators: Vec<&'e str> = Vec::new();
    for entry in entries.clone() {
        let delegator = entry.delegator.as_deref().ok_or(Reason::DelegatorWithoutAccess)?;
        if !delegators.contains(&delegator) {
            delegators.push(delegator);
        }
    }
    let (mut all, mut failure) = (Vec::new(), None);
    for delegator in delegators {
        let of_one = entries.clone().filter(|entry| entry.delegator.as_deref() == Some(delegator));
        match standing(of_one, DELEGATION, reason, asking) {
            Ok(standing) => all.extend(standing.map(|standing| (delegator, standing))),
            Err(reason) => failure = failure.max(Some(reason)),
        }
    }
    match failure {
        Some(reason) if all.is_empty() => Err(reason),
        _ => Ok((!all.is_empty()).then_some(Right::Delegated(all))),
    }
}

/// How much longer than its period a kind counts, before and after.
///
/// Those that do are events: each stands for itself. The others are one state, of which an end is a statement too.
fn window_ms(kind: &str, settings: &Settings) -> Option<u64> {
    match kind {
        "encounter" => Some(settings.encounter_window_days * DAY_MS),
        "appointment" => Some(settings.appointment_window_days * DAY_MS),
        _ => None,
    }
}

/// What the live entries of one kind come to.
struct Live {
    end_ms: Option<u64>,
    limits: Limits,
    incapacity: bool,
    minority: bool,
}

impl Live {
    const EMPTY: Self = Self { end_ms: None, limits: Limits::NONE, incapacity: false, minority: false };

    fn take_on(&mut self, entry: &Entry<'_>) {
        let owned = |list: &[Cow<'_, str>]| list.iter().map(|text| String::from(&**text)).collect();
        self.limits.join(&Limits {
            limited: entry.level == "limited",
            types: owned(&entry.exclude_types),
            labels: owned(&entry.exclude_labels),
        });
        self.incapacity |= entry.condition == Some(Condition::Incapacity);
        self.minority |= entry.condition == Some(Condition::Minority);
    }

    /// What it rests on is so, and its limits are those of the patient's age.
    fn borne(mut self, kind: &str, reason: Reason, asking: Asking<'_>) -> Result<Standing, Reason> {
        let Asking { chart, settings, now_ms, role, .. } = asking;
        if role != SubjectKind::Provider && kind != EXECUTOR && chart.is_deceased() {
            Rule::Chart.refuse(Reason::PatientDeceased)?;
        }
        let unmet =
            (self.incapacity && !chart.is_surely_incapacitated()) || (kind == EXECUTOR && !chart.is_surely_deceased());
        if unmet {
            Rule::Condition.refuse(Reason::ConditionNotMet)?;
        }
        if self.minority || FOR_MINORS.contains(&kind) {
            let minority = chart.minority(settings, now_ms);
            self.aged(kind, minority)?;
        }
        Ok(Standing { reason, end_ms: self.end_ms, limits: self.limits })
    }

    fn aged(&mut self, kind: &str, minority: Result<Minority, Reason>) -> Result<(), Reason> {
        let Minority { over, limited, end_ms, change_ms } = match minority {
            Ok(minority) => minority,
            Err(reason) => return Rule::Age.refuse(reason),
        };
        match over {
            Some(reason) if kind == PARENT => Rule::Age.refuse(reason)?,
            Some(_) if self.minority => Rule::Condition.refuse(Reason::ConditionNotMet)?,
            _ => {}
        }
        let for_minors = FOR_MINORS.contains(&kind);
        self.limits.limited |= for_minors && limited && Rule::Age.enforced();
        let ends = end_ms.filter(|_| kind == PARENT || self.minority);
        let changes = change_ms.filter(|_| for_minors);
        self.end_ms = self.end_ms.into_iter().chain(ends).chain(changes).min();
        Ok(())
    }
}

/// `None` when there is no entry. Every source that speaks of the relationship has to hold it live; the earliest of the
/// ends they give is its end. Of events (kinds with a window) only those of now speak.
fn live<'e>(
    entries: impl Iterator<Item = &'e Entry<'e>> + Clone,
    asking: Asking<'_>,
    window_ms: Option<u64>,
) -> Result<Option<Live>, Reason> {
    if entries.clone().any(|entry| entry.status == Status::Revoked) {
        return Err(Reason::RelationshipRevoked);
    }
    let mut all: Option<Live> = None;
    let (mut held, mut elsewhen) = (false, None);
    for entry in entries.clone() {
        let live = all.get_or_insert(Live::EMPTY);
        let (mut failure, mut stale) = (Reason::NoRelationship, None);
        let mut source_end: Option<Option<u64>> = None;
        for one in entries.clone().filter(|other| other.source == entry.source) {
            match holds(one, asking, window_ms.unwrap_or(0)) {
                // The latest end of one source: it may record several periods.
                Ok(end_ms) => {
                    source_end = Some(source_end.map_or(end_ms, |known| known.zip(end_ms).map(|(a, b)| a.max(b))));
                    live.take_on(one);
                }
                // One restriction in force beats every other period of the source.
                Err(reason @ (Reason::RelationshipLevelUnsupported | Reason::RelationshipReadOnly)) => {
                    return Err(reason);
                }
                Err(Reason::FactStale) => stale = Some(Reason::FactStale),
                Err(reason) => failure = failure.max(reason),
            }
        }
        let Some(source_end) = source_end else {
            let failure = stale.unwrap_or(failure);
            // What happened at another time does not speak against what happens now.
            if window_ms.is_some() && matches!(failure, Reason::RelationshipEnded | Reason::RelationshipNotStarted) {
                elsewhen = elsewhen.max(Some(failure));
                continue;
            }
            return Err(failure);
        };
        held = true;
        live.end_ms = live.end_ms.into_iter().chain(source_end).min();
    }
    match elsewhen {
        Some(failure) if !held => Err(failure),
        _ => Ok(all),
    }
}

/// Whether one active entry holds now, and until when.
fn holds(entry: &Entry<'_>, asking: Asking<'_>, window_ms: u64) -> Result<Option<u64>, Reason> {
    if entry.role_read.is_apart(asking.now_ms, asking.settings.fact_age_max_s * 1_000) {
        Rule::FactAge.refuse(Reason::FactStale)?;
    }
    // What is widened is the event. Nobody plays a role a day longer.
    let start_ms = entry.start_ms.map(|start| start.saturating_sub(window_ms)).max(entry.role_start_ms);
    let end_ms = entry.end_ms.map(|end| end.saturating_add(window_ms));
    let end_ms = end_ms.into_iter().chain(entry.role_end_ms).min();
    if start_ms.is_some_and(|start| asking.now_ms < start) {
        return Err(Reason::RelationshipNotStarted);
    }
    if end_ms.is_some_and(|end| end <= asking.now_ms) {
        return Err(Reason::RelationshipEnded);
    }
    let end_ms = end_ms.into_iter().chain(minority_of(entry, asking)?).min();
    match &*entry.level {
        "full" | "limited" => Ok(end_ms),
        "read-only" if asking.writing => Err(Reason::RelationshipReadOnly),
        "read-only" => Ok(end_ms),
        _ => Err(Reason::RelationshipLevelUnsupported),
    }
}

/// When one that began in the patient's minority ends with it; nothing where it is not so.
///
/// SECURITY: who was given authority over a child was not given authority over the adult. What is to outlast the
/// minority is granted anew, or for an adult who cannot decide.
fn minority_of(entry: &Entry<'_>, asking: Asking<'_>) -> Result<Option<u64>, Reason> {
    let Asking { chart, settings, now_ms, .. } = asking;
    let ends = FOR_MINORS.contains(&&*entry.kind) && entry.kind != PARENT;
    if !ends || entry.condition == Some(Condition::Incapacity) || !Rule::Age.enforced() {
        return Ok(None);
    }
    // An age nobody knows is judged with the kind.
    let Ok(Minority { over, end_ms, .. }) = chart.minority(settings, now_ms) else { return Ok(None) };
    match (over, entry.start_ms) {
        (None, _) => Ok(end_ms),
        (Some(over), Some(start)) if chart.was_minor(settings, start) => Err(over),
        (Some(_), _) => Ok(None),
    }
}

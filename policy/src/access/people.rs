//! What is known about the people of one request, and by what right the user reaches a patient.
//!
//! Facts are asked for together: what lacks one goes on to say what else it will need.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::cell::{OnceCell, RefCell};
use core::ops::Deref;

use crate::access::actor::{Actor, CLIENT, Refusals, USER, kind_of_client, role_of_user};
use crate::access::chart::{Chart, Charts};
use crate::access::reach::{Circle, Failures, Stop};
use crate::access::relationship::{Asking, Entries, Limits, Right, Standing, parse, right};
use crate::json::Malformed;
use crate::reason::Reason;
use crate::reference::split_local;
use crate::rule::{Rule, Trace};
use crate::settings::{Names, Settings};
use crate::tables::{Class, ResourceType};
use crate::types::{Request, SubjectKind};

/// What is known about the people of one request.
pub(crate) struct People<'r, 'a> {
    pub(crate) request: &'r Request<'a>,
    settings: &'r Settings,
    /// the type asked about
    pub(crate) on: Option<&'static ResourceType>,
    user: Actor<'a>,
    client: Actor<'a>,
    /// the user's whole list, read when it is first looked at
    list: OnceCell<Result<Option<Entries<'a>>, Stop>>,
    /// the charts of everybody on that list
    listed_charts: OnceCell<Result<Option<Charts<'a>>, Stop>>,
    /// whole lists of those the user works for
    delegators: RefCell<Vec<(String, Rc<Entries<'a>>)>>,
    width: Width,
}

/// Read for this question, or for all.
enum Read<'x, T> {
    Now(T),
    Before(&'x T),
    Shared(Rc<T>),
}

impl<T> Deref for Read<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        match self {
            Self::Now(read) => read,
            Self::Before(read) => read,
            Self::Shared(read) => read,
        }
    }
}

/// How many patients a question is about: facts are asked for one by one, or as whole lists.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Width {
    One,
    All,
}

impl<'r, 'a> People<'r, 'a> {
    pub(crate) fn new(request: &'r Request<'a>, settings: &'r Settings) -> Self {
        Self {
            request,
            settings,
            on: None,
            user: Actor::UNKNOWN,
            client: Actor::UNKNOWN,
            list: OnceCell::new(),
            listed_charts: OnceCell::new(),
            delegators: RefCell::default(),
            width: Width::One,
        }
    }

    /// Whether client and user may act at all in the role of the request, and until when.
    ///
    /// Where facts lack, the rest of the walk goes on as if nobody knew of the two, to see what else is needed:
    /// the caller answers `needs` whatever comes of it.
    pub(crate) fn who_asks(&mut self, trace: &mut Trace) -> Result<Option<u64>, Stop> {
        let Request { subject, .. } = self.request;
        let is_system = subject.kind == SubjectKind::System;
        let client = match is_client_id(subject.client) {
            true => self.actor(&format!("client/{}", subject.client)),
            false => Ok(Actor::UNKNOWN),
        };
        let client_end = client.and_then(|client| {
            let required = self.settings.require_client_records.then_some(Reason::ClientUnknown);
            let end_ms = self.acts(&client, kind_of_client(subject.kind), &CLIENT, required);
            self.client = client;
            step(trace, Rule::Client, subject.client, &end_ms);
            end_ms.or_else(|reason| Rule::Client.refuse(reason).map(|()| None)).map_err(Stop::Deny)
        });
        if let (Err(Stop::Deny(_)), _) | (_, true) = (&client_end, is_system) {
            return client_end;
        }
        let user = self.actor(&format!("user/{}", subject.user));
        let user_end = user.and_then(|user| {
            let required = match subject.kind {
                SubjectKind::Provider => self.settings.require_provider_records,
                _ => self.settings.require_portal_user_records,
            };
            let end_ms = self.acts(&user, role_of_user(subject.kind), &USER, required.then_some(Reason::UserUnknown));
            self.user = user;
            step(trace, Rule::User, subject.user, &end_ms);
            end_ms.or_else(|reason| Rule::User.refuse(reason).map(|()| None)).map_err(Stop::Deny)
        });
        match (client_end, user_end) {
            (Ok(client), Ok(user)) => Ok(client.into_iter().chain(user).min()),
            (Err(Stop::Needs(one)), Err(Stop::Needs(other))) => Err(Stop::Needs([one, other].concat())),
            (_, Err(stop)) | (Err(stop), _) => Err(stop),
        }
    }

    /// Whether what is known of an actor lets them act, and until when.
    fn acts(
        &self,
        actor: &Actor<'_>,
        role: &str,
        refusals: &Refusals,
        required: Option<Reason>,
    ) -> Result<Option<u64>, Reason> {
        if let Some(unknown) = required.filter(|_| actor.is_unknown()) {
            return Err(unknown);
        }
        self.fresh(actor.oldest_ms())?;
        actor.acts(role, self.request.now_ms, refusals)
    }

    /// SECURITY: what was true a while ago may have been taken back since.
    fn fresh(&self, oldest_ms: Option<u64>) -> Result<(), Reason> {
        let max_ms = self.settings.fact_age_max_s * 1_000;
        match oldest_ms.is_some_and(|read| read.saturating_add(max_ms) < self.request.now_ms) {
            true => Rule::FactAge.refuse(Reason::FactStale),
            false => Ok(()),
        }
    }

    /// By what right the user reaches a patient: themselves, or a live relationship; and that nothing known of
    /// the patient stands against it.
    pub(crate) fn standing(&self, patient: &str, writing: bool, trace: &mut Trace) -> Result<Standing, Stop> {
        let verdict = self.judged(patient, writing, self.width, trace);
        let user = self.request.subject.user;
        let line = |reason: Reason| match reason {
            Reason::SelfAccess => format!("Patient/{patient} is the user"),
            _ => format!("{user} to Patient/{patient}: {}", reason.code()),
        };
        match &verdict {
            Ok(standing) => trace.pass(Rule::Relationship, || line(standing.reason)),
            Err(Stop::Deny(reason)) => trace.fail(Rule::Relationship, || line(*reason)),
            Err(Stop::Needs(_)) => trace.need(Rule::Relationship, || format!("{user} to Patient/{patient}")),
        }
        verdict
    }

    fn judged(&self, patient: &str, writing: bool, width: Width, trace: &mut Trace) -> Result<Standing, Stop> {
        let charts = match self.charts(patient, width) {
            Err(Stop::Needs(keys)) => return Err(self.also_related(keys, patient)),
            charts => charts?,
        };
        let chart = self.survivor(&charts, patient)?;
        if chart.is_unknown() && self.settings.require_patient_records {
            Rule::Chart.refuse(Reason::PatientUnknown)?;
        }
        self.fresh(chart.oldest_ms())?;
        self.not_own_chart(&chart)?;
        let standing = match self.as_self(&chart, patient)? {
            Some(own) => own,
            None => match self.by_relationship(&chart, writing, width) {
                Err(Stop::Deny(_)) if !Rule::Relationship.enforced() => Standing::by(Reason::Treatment),
                verdict => verdict?,
            },
        };
        if chart.patient != patient {
            trace.pass(Rule::Merge, || format!("Patient/{patient} was merged into Patient/{}", chart.patient));
        }
        self.open(&chart, &standing)?;
        self.reaches_type(&standing.limits)?;
        Ok(standing)
    }

    /// What else will be asked for about a patient nothing is known of yet.
    fn also_related(&self, keys: Vec<String>, patient: &str) -> Stop {
        let mut all = Failures::default();
        all.add(Stop::Needs(keys));
        let is_self = self.request.subject.user.strip_prefix("Patient/") == Some(patient);
        if let (false, Err(more)) = (is_self, self.entries(self.request.subject.user, patient, Width::One).map(drop)) {
            all.add(more);
        }
        all.into_stop(Reason::FactMissing)
    }

    fn survivor<'c>(&self, charts: &'c Charts<'_>, patient: &'c str) -> Result<Chart<'c>, Reason> {
        charts.survivor(patient).or_else(|reason| {
            Rule::Merge.refuse(reason)?;
            Ok(Chart::unknown(patient))
        })
    }

    /// Whether the record that stands for the user, where it is a chart, may be opened by them.
    pub(crate) fn own_record(&self, patient: &str) -> Result<(), Stop> {
        let charts = self.charts(patient, Width::One)?;
        let chart = self.survivor(&charts, patient)?;
        if chart.is_unknown() && self.settings.require_patient_records {
            Rule::Chart.refuse(Reason::PatientUnknown)?;
        }
        self.fresh(chart.oldest_ms())?;
        Ok(self.open(&chart, &Standing::by(Reason::SelfAccess))?)
    }

    /// Whether two ids stand for one chart.
    pub(crate) fn are_one(&self, one: &str, other: &str) -> Result<bool, Stop> {
        if one == other {
            return Ok(true);
        }
        let mut needs = Failures::default();
        let mut survivors = Vec::new();
        for patient in [one, other] {
            let survivor =
                self.charts(patient, self.width).and_then(|charts| Ok(self.survivor(&charts, patient)?.patient));
            match survivor {
                Ok(survivor) => survivors.push(survivor),
                Err(needed @ Stop::Needs(_)) => needs.add(needed),
                Err(deny) => return Err(deny),
            }
        }
        match survivors.as_slice() {
            [one, other] => Ok(one == other),
            _ => Err(needs.into_stop(Reason::FactMissing)),
        }
    }

    fn not_own_chart(&self, chart: &Chart<'_>) -> Result<(), Reason> {
        let is_provider = self.request.subject.kind == SubjectKind::Provider;
        let own = is_provider && self.is_chart_of(&self.user, chart);
        if own && !self.settings.own_chart_for_providers { Rule::OwnChart.refuse(Reason::OwnChart) } else { Ok(()) }
    }

    /// The chart, or one that was merged into it, is somebody's own by any record.
    fn is_chart_of(&self, actor: &Actor<'_>, chart: &Chart<'_>) -> bool {
        chart.names().iter().any(|name| actor.may_be(name))
    }

    /// The patient is the user. Where the user's chart was merged into another, somebody has to have said that
    /// the other is theirs too.
    fn as_self(&self, chart: &Chart<'_>, patient: &str) -> Result<Option<Standing>, Reason> {
        let subject = &self.request.subject;
        let Some(own) = subject.user.strip_prefix("Patient/").filter(|_| subject.kind == SubjectKind::Patient) else {
            return Ok(None);
        };
        if chart.patient == own || self.user.is_surely(&chart.patient) {
            return Ok(Some(Standing::by(Reason::SelfAccess)));
        }
        if patient == own { Rule::Merge.refuse(Reason::ChartMerged).map(|()| None) } else { Ok(None) }
    }

    fn by_relationship(&self, chart: &Chart<'_>, writing: bool, width: Width) -> Result<Standing, Stop> {
        let Request { subject, now_ms, .. } = *self.request;
        let asking = Asking { role: subject.kind, now_ms, writing, settings: self.settings, chart };
        let entries = self.entries(subject.user, &chart.patient, width)?;
        match right(entries.about(&chart.patient), asking)? {
            Right::Own(standing) => Ok(standing),
            Right::Delegated(all) => {
                let mut failures = Failures::default();
                for (delegator, standing) in all {
                    match self.of_delegator(delegator, asking, width) {
                        Ok(theirs) => return Ok(standing.and(&theirs)),
                        Err(Stop::Deny(reason)) => match Rule::Delegation.refuse(reason) {
                            Ok(()) => return Ok(standing),
                            Err(reason) => failures.add(reason.into()),
                        },
                        Err(needs) => failures.add(needs),
                    }
                }
                Err(failures.into_stop(Reason::DelegatorWithoutAccess))
            }
        }
    }

    /// What somebody's delegator has, who may act for themselves now.
    fn of_delegator(&self, delegator: &str, asking: Asking<'_>, width: Width) -> Result<Standing, Stop> {
        let refuse = || Stop::Deny(Reason::DelegatorWithoutAccess);
        let types = ["Practitioner", "PractitionerRole", "Person"];
        let is_provider = split_local(delegator).is_some_and(|(name, _)| types.contains(&name));
        if !is_provider || delegator == self.request.subject.user {
            return Err(refuse());
        }
        let actor = self.actor(&format!("user/{delegator}"));
        let entries = self.entries(delegator, &asking.chart.patient, width);
        let (actor, entries) = match (actor, entries) {
            (Ok(actor), Ok(entries)) => (actor, entries),
            (actor, entries) => {
                let mut all = Failures::default();
                [actor.err(), entries.err()].into_iter().flatten().for_each(|stop| all.add(stop));
                return Err(all.into_stop(Reason::FactMissing));
            }
        };
        self.fresh(actor.oldest_ms())?;
        let role = role_of_user(SubjectKind::Provider);
        let end_ms = self.acts(&actor, role, &USER, Some(Reason::UserUnknown)).map_err(|_| refuse())?;
        // What is closed to the delegator is closed to whoever works for them.
        let chart = asking.chart;
        let own = self.is_chart_of(&actor, chart) && !self.settings.own_chart_for_providers;
        let apart = actor.is_test() != Some(chart.is_test());
        if own || apart || !chart.admits(delegator, asking.now_ms) {
            return Err(refuse());
        }
        match right(entries.about(&asking.chart.patient), asking) {
            Ok(Right::Own(standing)) => Ok(standing.and(&Standing { end_ms, ..Standing::SYSTEM })),
            _ => Err(refuse()),
        }
    }

    /// Nothing known of the chart stands against a standing.
    fn open(&self, chart: &Chart<'_>, standing: &Standing) -> Result<(), Reason> {
        let Request { subject, now_ms, .. } = self.request;
        let user_is_test = self.user.is_test().unwrap_or(false);
        let client_is_test = self.client.is_test().unwrap_or(user_is_test);
        if chart.is_test() != user_is_test || client_is_test != user_is_test {
            Rule::TestData.refuse(Reason::TestMismatch)?;
        }
        let is_self = standing.reason == Reason::SelfAccess;
        if subject.kind != SubjectKind::Provider {
            chart.open_to_portal().or_else(|reason| Rule::Chart.refuse(reason))?;
        }
        if is_self && chart.is_deceased() {
            Rule::Chart.refuse(Reason::PatientDeceased)?;
        }
        if is_self && !chart.is_old_enough(self.settings, *now_ms) {
            Rule::Age.refuse(Reason::PatientTooYoung)?;
        }
        if !is_self && !chart.admits(subject.user, *now_ms) {
            Rule::Restriction.refuse(Reason::ChartRestricted)?;
        }
        Ok(())
    }

    /// A standing reaches the type asked about. What belongs to no patient is not asked about.
    fn reaches_type(&self, limits: &Limits) -> Result<(), Reason> {
        let Some(on) = self.on.filter(|on| on.class == Class::Patient) else { return Ok(()) };
        if limits.limited && !self.settings.is_limited_type(on.name) {
            Rule::Level.refuse(Reason::TypeNotInLevel)?;
        }
        if limits.types.iter().any(|excluded| excluded == on.name) {
            Rule::Level.refuse(Reason::TypeExcluded)?;
        }
        Ok(())
    }

    /// Whether some label may hide a resource from a standing.
    pub(crate) fn may_hide(&self, standing: &Standing) -> bool {
        let Standing { limits, .. } = standing;
        let of_level = limits.limited && !self.settings.limited_hidden_labels().is_empty();
        Rule::Labels.enforced() && (of_level || !limits.labels.is_empty() || !self.hidden_from_role().is_empty())
    }

    /// Whether a label hides a resource from a standing.
    pub(crate) fn hides(&self, standing: &Standing, label: &str) -> bool {
        let Standing { limits, .. } = standing;
        let of_level = limits.limited && self.settings.limited_hidden_labels().contains(label);
        of_level || limits.labels.iter().any(|hidden| hidden == label) || self.hidden_from_role().contains(label)
    }

    fn hidden_from_role(&self) -> Names<'_> {
        match self.request.subject.kind {
            SubjectKind::Patient => self.settings.hidden_labels_from_patients(),
            SubjectKind::Proxy => self.settings.hidden_labels_from_proxies(),
            SubjectKind::Provider => self.settings.hidden_labels_from_providers(),
            SubjectKind::System => Names::NONE,
        }
    }

    /// Everybody a `user/` clause reaches.
    pub(crate) fn circle(&self, limit: usize, trace: &mut Trace) -> Result<Circle, Stop> {
        let user = self.request.subject.user;
        let own = user.strip_prefix("Patient/").filter(|_| self.request.subject.kind == SubjectKind::Patient);
        let mut ids: Vec<&str> = own.into_iter().chain(self.user.charts()).collect();
        let listed = match self.listed() {
            Err(needs @ Stop::Needs(_)) => {
                let mut all = Failures::default();
                all.add(needs);
                ids.iter().filter_map(|id| self.charts(id, Width::One).err()).for_each(|stop| all.add(stop));
                return Err(all.into_stop(Reason::FactMissing));
            }
            listed => listed?,
        };
        ids.extend(listed.list.iter().map(|entry| &*entry.patient));
        ids.sort_unstable();
        ids.dedup();
        let mut patients = Vec::new();
        let mut needs = Failures::default();
        for id in ids {
            match self.judged(id, false, Width::All, trace) {
                Ok(standing) => patients.push((id.to_string(), standing)),
                Err(Stop::Deny(_)) => {}
                Err(needed) => needs.add(needed),
            }
        }
        if let needs @ Stop::Needs(_) = needs.into_stop(Reason::NoRelationship) {
            return Err(needs);
        }
        if listed.truncated || patients.len() > limit {
            trace.pass(Rule::Relationship, || format!("{user} reaches more than {limit} patients"));
            return Ok(Circle::Unbounded);
        }
        trace.pass(Rule::Relationship, || format!("{user} reaches {} patients", patients.len()));
        Ok(Circle::Patients(patients))
    }

    /// The user's whole list of relationships is at hand, and serves from here on.
    pub(crate) fn whole_list(&mut self) -> Result<(), Stop> {
        self.width = Width::All;
        // Of a list cut off nobody can tell who is not on it.
        if self.listed()?.truncated { Err(Reason::FactMissing.into()) } else { Ok(()) }
    }

    /// The user's whole list, and with it the charts of all on it.
    fn listed(&self) -> Result<&Entries<'a>, Stop> {
        let user = self.request.subject.user;
        let mut keys = Vec::new();
        let entries = self.all()?;
        if entries.is_none() {
            keys.push(format!("relationships/{user}"));
        }
        if self.all_charts()?.is_none() {
            keys.push(format!("patients/{user}"));
        }
        match entries {
            Some(entries) if keys.is_empty() => Ok(entries),
            _ => self.need(keys),
        }
    }

    fn all(&self) -> Result<Option<&Entries<'a>>, Stop> {
        let read = || self.fact(&format!("relationships/{}", self.request.subject.user), parse);
        self.list.get_or_init(read).as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    fn all_charts(&self) -> Result<Option<&Charts<'a>>, Stop> {
        let read = || self.fact(&format!("patients/{}", self.request.subject.user), Charts::parse);
        self.listed_charts.get_or_init(read).as_ref().map(Option::as_ref).map_err(Clone::clone)
    }

    /// The records of a patient and of those it was merged into.
    fn charts(&self, patient: &str, width: Width) -> Result<Read<'_, Charts<'a>>, Stop> {
        let key = format!("patient/{patient}");
        if let Some(charts) = self.fact(&key, Charts::parse)? {
            return Ok(Read::Now(charts));
        }
        match self.all_charts()? {
            Some(charts) if charts.knows(patient) => Ok(Read::Before(charts)),
            // Everybody on the user's list is among these who is known at all. The user need not be.
            Some(_) if width == Width::All && !self.user_is(patient) => Ok(Read::Now(Charts::EMPTY)),
            _ => self.need(Vec::from([key])),
        }
    }

    fn user_is(&self, patient: &str) -> bool {
        self.request.subject.user.strip_prefix("Patient/") == Some(patient) || self.user.may_be(patient)
    }

    /// Relationships between a user and a patient.
    fn entries(&self, user: &str, patient: &str, width: Width) -> Result<Read<'_, Entries<'a>>, Stop> {
        let key = format!("relationships/{user}/{patient}");
        if let Some(entries) = self.fact(&key, parse)? {
            return Ok(Read::Now(entries));
        }
        // Not asked for this patient alone; the whole list serves, if it is whole.
        let list = match user == self.request.subject.user {
            true => self.all()?.map(Read::Before),
            false => self.all_of(user)?.map(Read::Shared),
        };
        match list {
            Some(entries) if !entries.truncated || width == Width::All => Ok(entries),
            _ if width == Width::All => self.need(Vec::from([format!("relationships/{user}")])),
            _ => self.need(Vec::from([key])),
        }
    }

    /// The whole list of somebody the user works for, read once for all patients.
    fn all_of(&self, delegator: &str) -> Result<Option<Rc<Entries<'a>>>, Stop> {
        if let Some((_, read)) = self.delegators.borrow().iter().find(|(user, _)| user == delegator) {
            return Ok(Some(Rc::clone(read)));
        }
        let read = self.fact(&format!("relationships/{delegator}"), parse)?.map(Rc::new);
        if let Some(read) = &read {
            self.delegators.borrow_mut().push((delegator.to_string(), Rc::clone(read)));
        }
        Ok(read)
    }

    fn actor(&self, key: &str) -> Result<Actor<'a>, Stop> {
        match self.fact(key, Actor::parse)? {
            Some(actor) => Ok(actor),
            None => self.need(Vec::from([key.to_string()])),
        }
    }

    fn fact<T>(&self, key: &str, read: impl Fn(&'a [u8]) -> Result<T, Malformed>) -> Result<Option<T>, Stop> {
        let Some(fact) = self.request.facts.iter().find(|fact| fact.key == key) else { return Ok(None) };
        read(fact.value).map(Some).map_err(|_| Stop::Deny(Reason::FactsInvalid))
    }

    fn need<T>(&self, keys: Vec<String>) -> Result<T, Stop> {
        Err(if self.request.facts_final { Stop::Deny(Reason::FactMissing) } else { Stop::Needs(keys) })
    }
}

/// What can be the id of a client anybody knows (RFC 6749, appendix A.1, without spaces).
fn is_client_id(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn step(trace: &mut Trace, rule: Rule, who: &str, verdict: &Result<Option<u64>, Reason>) {
    match verdict {
        Ok(_) if who.is_empty() => {}
        Ok(_) => trace.pass(rule, || who.to_string()),
        Err(reason) => trace.fail(rule, || format!("{who}: {}", reason.code())),
    }
}

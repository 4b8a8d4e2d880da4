//! By what right the user reaches a patient, and that nothing known of the patient stands against it.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::actor::{Actor, USER};
use crate::access::chart::{Chart, Charts};
use crate::access::known::{Read, Width};
use crate::access::people::People;
use crate::access::reach::{Failures, Stop};
use crate::access::relationship::{Asking, Entries, Entry, Limits, Right, Standing, right};
use crate::reason::Reason;
use crate::reference::split_local;
use crate::rule::{Rule, Trace};
use crate::settings::Names;
use crate::tables::Class;
use crate::types::{Request, SubjectKind};

/// The entries about a chart, and those about charts that led there which take access away.
///
/// SECURITY: a merge does not undo what was revoked or suspended before it.
fn in_sum<'e>(all: &'e [Read<'_, Entries<'e>>], chart: &Chart<'_>) -> Vec<&'e Entry<'e>> {
    let about = all.iter().zip(chart.names()).flat_map(|(entries, name)| entries.about(name));
    about.filter(|entry| entry.is_against() || *entry.patient == *chart.patient).collect()
}

impl<'a> People<'_, 'a> {
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

    pub(super) fn judged(
        &self,
        patient: &str,
        writing: bool,
        width: Width,
        trace: &mut Trace,
    ) -> Result<Standing, Stop> {
        let charts = match self.charts(patient, width) {
            Err(Stop::Needs(keys)) => return Err(self.also_related(keys, patient)),
            charts => charts?,
        };
        let chart = self.known_chart(&charts, patient)?;
        if let Err(stop) = self.not_own_chart(&chart) {
            return Err(match stop {
                Stop::Needs(keys) => self.also_related(keys, &chart.patient),
                deny => deny,
            });
        }
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

    /// The chart a patient's data belong to now, by what is known lately.
    fn survivor<'c>(&self, charts: &'c Charts<'_>, patient: &'c str) -> Result<Chart<'c>, Reason> {
        let chart = charts.survivor(patient).or_else(|reason| {
            Rule::Merge.refuse(reason)?;
            Ok(Chart::unknown(patient))
        })?;
        self.fresh(chart.read())?;
        Ok(chart)
    }

    /// The same, of somebody who is known if that is required.
    fn known_chart<'c>(&self, charts: &'c Charts<'_>, patient: &'c str) -> Result<Chart<'c>, Reason> {
        let chart = self.survivor(charts, patient)?;
        if chart.is_unknown() && self.settings.require_patient_records {
            Rule::Chart.refuse(Reason::PatientUnknown)?;
        }
        Ok(chart)
    }

    /// Whether the record that stands for the user, where it is a chart, may be opened by them.
    pub(crate) fn own_record(&self, patient: &str) -> Result<(), Stop> {
        let charts = self.charts(patient, Width::One)?;
        let chart = self.known_chart(&charts, patient)?;
        Ok(self.open(&chart, &Standing::by(Reason::SelfAccess))?)
    }

    /// The id of the chart a patient on the user's list has now.
    pub(crate) fn called(&self, patient: &str) -> Result<String, Stop> {
        let charts = self.charts(patient, Width::All)?;
        Ok(self.survivor(&charts, patient)?.patient)
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

    fn not_own_chart(&self, chart: &Chart<'_>) -> Result<(), Stop> {
        if self.request.subject.kind != SubjectKind::Provider || self.settings.own_chart_for_providers {
            return Ok(());
        }
        if self.is_own_chart(&self.user, chart)? { Ok(Rule::OwnChart.refuse(Reason::OwnChart)?) } else { Ok(()) }
    }

    /// The chart, or one that was merged into it, is a user's own by any record: what names it, or where it went.
    fn is_own_chart(&self, user: &Actor<'_>, chart: &Chart<'_>) -> Result<bool, Stop> {
        if chart.names().iter().any(|name| user.may_be(name)) {
            return Ok(true);
        }
        let mut needs = Failures::default();
        for own in user.charts() {
            match self.charts(own, Width::One) {
                // SECURITY: where it went for certain is not asked: it may be theirs.
                Ok(charts) if charts.may_lead(own, chart.names()) => return Ok(true),
                Ok(_) => {}
                Err(stop) => needs.add(stop),
            }
        }
        if needs.is_empty() { Ok(false) } else { Err(needs.into_stop(Reason::FactMissing)) }
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
        // SECURITY: nobody acts for themselves to be older than they are.
        if subject.kind == SubjectKind::Proxy && subject.user.strip_prefix("Patient/") == Some(&*chart.patient) {
            Rule::Relationship.refuse(Reason::NoRelationship)?;
        }
        let asking = Asking { role: subject.kind, now_ms, writing, settings: self.settings, chart };
        let entries = self.towards(subject.user, chart, width)?;
        match right(&in_sum(&entries, chart), asking)? {
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

    /// Relationships of a user to a chart and to those that led there, the chart's own last.
    fn towards<'x>(&'x self, user: &str, chart: &Chart<'_>, width: Width) -> Result<Vec<Read<'x, Entries<'a>>>, Stop> {
        let mut needs = Failures::default();
        let mut all = Vec::new();
        for name in chart.names() {
            match self.entries(user, name, width) {
                Ok(entries) => all.push(entries),
                Err(stop) => needs.add(stop),
            }
        }
        if needs.is_empty() { Ok(all) } else { Err(needs.into_stop(Reason::FactMissing)) }
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
        let entries = self.towards(delegator, asking.chart, width);
        let (actor, entries) = match (actor, entries) {
            (Ok(actor), Ok(entries)) => (actor, entries),
            (actor, entries) => {
                let mut all = Failures::default();
                [actor.err(), entries.err()].into_iter().flatten().for_each(|stop| all.add(stop));
                return Err(all.into_stop(Reason::FactMissing));
            }
        };
        self.fresh(actor.read())?;
        let role = SubjectKind::Provider.name();
        let end_ms = self.acts(&actor, role, &USER, Some(Reason::UserUnknown)).map_err(|_| refuse())?;
        // What is closed to the delegator is closed to whoever works for them.
        let chart = asking.chart;
        let own = !self.settings.own_chart_for_providers && self.is_own_chart(&actor, chart)?;
        let apart = actor.is_test() != Some(chart.is_test());
        if own || apart || !chart.admits(delegator, asking.now_ms) {
            return Err(refuse());
        }
        match right(&in_sum(&entries, chart), asking) {
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
}

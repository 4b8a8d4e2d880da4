//! What is known about the people of one request: whether client and user may act, and whom the user reaches.

use alloc::format;
use alloc::rc::Rc;
use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::cell::{OnceCell, RefCell};

use crate::access::actor::{Actor, CLIENT, Refusals, USER, kind_of_client};
use crate::access::chart::Charts;
use crate::access::known::Width;
use crate::access::reach::{Circle, Failures, Stop};
use crate::access::record::Readings;
use crate::access::relationship::Entries;
use crate::reason::Reason;
use crate::rule::{Rule, Trace};
use crate::settings::Settings;
use crate::tables::ResourceType;
use crate::types::{Request, SubjectKind};

/// Facts that are asked for to list everybody: beyond these, the list is as good as endless. A little less than what
/// one answer may ask for.
const NEEDS_MAX: usize = 100;

/// What is known about the people of one request.
pub(crate) struct People<'r, 'a> {
    pub(crate) request: &'r Request<'a>,
    pub(super) settings: &'r Settings,
    /// the type asked about
    pub(crate) on: Option<&'static ResourceType>,
    pub(super) user: Actor<'a>,
    pub(super) client: Actor<'a>,
    /// the user's whole list, read when it is first looked at
    pub(super) list: OnceCell<Result<Option<Entries<'a>>, Stop>>,
    /// the charts of everybody on that list
    pub(super) listed_charts: OnceCell<Result<Option<Charts<'a>>, Stop>>,
    /// whole lists of those the user works for
    pub(super) delegators: RefCell<Vec<(String, Rc<Entries<'a>>)>>,
    pub(super) width: Width,
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
            let end_ms = self.acts(&user, subject.kind.name(), &USER, required.then_some(Reason::UserUnknown));
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
    pub(super) fn acts(
        &self,
        actor: &Actor<'_>,
        role: &str,
        refusals: &Refusals,
        required: Option<Reason>,
    ) -> Result<Option<u64>, Reason> {
        if let Some(unknown) = required.filter(|_| actor.is_unknown()) {
            return Err(unknown);
        }
        self.fresh(actor.read())?;
        actor.acts(role, self.request.now_ms, refusals)
    }

    /// SECURITY: what was true a while ago may have been taken back since.
    /// What is to be read in a while would be fresh until then, and longer.
    pub(super) fn fresh(&self, read: Readings) -> Result<(), Reason> {
        match read.is_apart(self.request.now_ms, self.settings.fact_age_max_s * 1_000) {
            true => Rule::FactAge.refuse(Reason::FactStale),
            false => Ok(()),
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
        let too_many = match needs.into_stop(Reason::NoRelationship) {
            Stop::Needs(keys) if keys.len() > NEEDS_MAX => true,
            needs @ Stop::Needs(_) => return Err(needs),
            Stop::Deny(_) => false,
        };
        // Of somebody the user works for, only a part of the list is at hand.
        let is_partial = self.delegators.borrow().iter().any(|(_, list)| list.truncated);
        if too_many || is_partial || listed.truncated || patients.len() > limit {
            trace.pass(Rule::Relationship, || format!("{user} reaches more than {limit} patients"));
            return Ok(Circle::Unbounded);
        }
        trace.pass(Rule::Relationship, || format!("{user} reaches {} patients", patients.len()));
        Ok(Circle::Patients(patients))
    }
}

/// What can be the id of a client anybody knows (RFC 6749, appendix A.1, without spaces).
pub(crate) fn is_client_id(text: &str) -> bool {
    (1..=256).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
}

fn step(trace: &mut Trace, rule: Rule, who: &str, verdict: &Result<Option<u64>, Reason>) {
    match verdict {
        Ok(_) if who.is_empty() => {}
        Ok(_) => trace.pass(rule, || who.to_string()),
        Err(reason) => trace.fail(rule, || format!("{who}: {}", reason.code())),
    }
}

//! The walk: every decision passes these rules in this order.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::people::People;
use crate::access::provenance::{Beside, stored_beside, targets_asked};
use crate::access::reach::Stop;
use crate::access::{subject, write};
use crate::interaction::{Action, Form, action};
use crate::json::Json;
use crate::reason::Reason;
use crate::rule::{Rule, Trace};
use crate::scope::{Clause, Context, Letters, covering, has_plain};
use crate::search::filter::Filter;
use crate::search::system::of_types;
use crate::settings::Settings;
use crate::tables::{Class, ResourceType, Version, version};
use crate::types::{Decision, Interaction, Obligation, Outcome, Request, Subject, SubjectKind};

/// A yes in the making.
pub(crate) struct Permit {
    pub(crate) reason: Reason,
    pub(crate) obligations: Vec<Obligation>,
    pub(crate) expires_at_ms: Option<u64>,
}

impl Permit {
    pub(crate) fn by(reason: Reason, expires_at_ms: Option<u64>) -> Self {
        Self { reason, obligations: Vec::new(), expires_at_ms }
    }
}

/// One decision under way.
pub(crate) struct Walk<'r, 'a> {
    pub(crate) request: &'r Request<'a>,
    pub(crate) version: &'static Version,
    pub(crate) settings: &'r Settings,
    pub(crate) people: People<'r, 'a>,
    /// the searches of one type each that a search over types comes down to
    pub(crate) of_types: &'r [Request<'a>],
    /// the resource asked about, where it came with the question
    pub(crate) at_hand: Option<&'a [u8]>,
    /// the same, where it was read already
    pub(crate) parsed: Option<&'r Json<'a>>,
    /// what came along with it
    pub(crate) beside: &'r [Beside<'a>],
    /// reads of the targets of a Provenance asked about; `None` where they cannot be told
    pub(crate) targets: Option<&'r [Request<'a>]>,
    pub(crate) trace: Trace,
}

/// Judge one interaction.
pub fn decide(request: &Request<'_>) -> Decision {
    let mut trace = Trace::new(request.explain);
    let outcome = match prepare(request, &mut trace) {
        Ok(Some((version, settings))) => {
            let of_types = of_types(request);
            let beside = stored_beside(request);
            let targets = targets_asked(request);
            let people = People::new(request, &settings);
            let settings = &settings;
            let (of_types, beside, targets) = (&*of_types, &*beside, targets.as_deref());
            let mut walk = Walk {
                request,
                version,
                settings,
                people,
                of_types,
                at_hand: None,
                parsed: None,
                beside,
                targets,
                trace,
            };
            let verdict = walk.judge();
            trace = walk.trace;
            verdict
        }
        Ok(None) => Ok(Permit::by(Reason::Public, None)),
        Err(reason) => Err(Stop::Deny(reason)),
    };
    let outcome = match outcome {
        Ok(Permit { reason, obligations, expires_at_ms }) => Outcome::Permit { reason, obligations, expires_at_ms },
        Err(Stop::Needs(keys)) => Outcome::Needs(keys),
        Err(Stop::Deny(reason)) => Outcome::Deny { reason },
    };
    Decision { outcome, trace: trace.into_steps() }
}

/// What has to hold before anything is judged; `None` for what is public.
pub(crate) fn prepare(
    request: &Request<'_>,
    trace: &mut Trace,
) -> Result<Option<(&'static Version, Settings)>, Reason> {
    let settings = Settings::parse(request.settings).map_err(|_| {
        trace.fail(Rule::Settings, || String::from("the settings cannot be read"));
        Reason::SettingsInvalid
    });
    let settings = settings.or_else(|reason| Rule::Settings.refuse(reason).map(|()| Settings::default()))?;
    let Some(version) = version(request.fhir_version) else {
        trace.fail(Rule::FhirVersion, || String::from(request.fhir_version));
        Rule::FhirVersion.refuse(Reason::FhirVersionUnsupported)?;
        return Ok(None);
    };
    trace.pass(Rule::FhirVersion, || String::from(version.number));
    if request.interaction == Interaction::Capabilities {
        return Ok(None);
    }
    if let Err(reason) = subject::check(&request.subject, &settings) {
        trace.fail(Rule::Subject, || format!("a {} cannot be `{}`", request.subject.kind.name(), request.subject.user));
        Rule::Subject.refuse(reason)?;
    }
    Ok(Some((version, settings)))
}

impl<'a> Walk<'_, 'a> {
    fn judge(&mut self) -> Result<Permit, Stop> {
        let on = self.resource_type()?;
        let action = self.action()?;
        let own_record = self.is_own_user_record();
        // A search over types is covered by each of them.
        let clauses =
            if own_record || action.form == Form::SearchTypes { Vec::new() } else { self.covered(on, action)? };
        self.people.on = on;
        let asks = self.people.who_asks(&mut self.trace);
        if let Err(Stop::Deny(reason)) = asks {
            return Err(reason.into());
        }
        let verdict = match on {
            Some(on) if own_record => self.own_record(on, action),
            Some(on) => self.on_type(on, action, clauses),
            None if action.form == Form::SearchTypes => self.search_types(),
            None => self.history(None, &clauses),
        };
        match (asks, verdict) {
            (Ok(end_ms), Ok(mut permit)) => {
                permit.expires_at_ms = permit.expires_at_ms.into_iter().chain(end_ms).min();
                Ok(permit)
            }
            (Err(Stop::Needs(keys)), Err(Stop::Needs(more))) => Err(Stop::Needs([keys, more].concat())),
            // SECURITY: a verdict reached without knowing who asks is none.
            (Err(needs), _) => Err(needs),
            (Ok(_), denied) => denied,
        }
    }

    /// A read of one resource that is at hand, by one letter, once it is known who asks.
    pub(crate) fn read(&mut self, letter: Letters) -> Result<Permit, Stop> {
        let action = Action::of(Form::Instance, letter);
        let on = self.resource_type()?.ok_or(Reason::RequestMalformed)?;
        self.people.on = Some(on);
        // A row of a search is found by searching, whoever it stands for.
        if letter == Letters::R && self.is_own_user_record() {
            return self.own_record(on, action);
        }
        let clauses = self.covered(Some(on), action)?;
        self.on_type(on, action, clauses)
    }

    /// The record that stands for the user. One that is a chart is theirs to read while it is open, or by their other
    /// scopes.
    fn own_record(&mut self, on: &'static ResourceType, action: Action) -> Result<Permit, Stop> {
        if on.name != "Patient" {
            return Ok(Permit::by(Reason::OwnUserRecord, None));
        }
        match self.people.own_record(self.request.id.unwrap_or_default()) {
            Ok(()) => Ok(Permit::by(Reason::OwnUserRecord, None)),
            Err(Stop::Deny(closed)) => {
                self.trace.fail(Rule::OwnUserRecord, || String::from(closed.code()));
                match self.covered(Some(on), action) {
                    Ok(clauses) => self.on_type(on, action, clauses),
                    Err(_) => Err(closed.into()),
                }
            }
            Err(needs) => Err(needs),
        }
    }

    /// What the request and the scopes alone decide.
    pub(crate) fn covered(
        &mut self,
        on: Option<&'static ResourceType>,
        action: Action,
    ) -> Result<Vec<Clause<'a>>, Reason> {
        let clauses = self.scope(on, action)?;
        self.writes(action)?;
        if let Some(on) = on {
            self.class(on, action)?;
        }
        Ok(clauses)
    }

    pub(crate) fn on_type(
        &mut self,
        on: &'static ResourceType,
        action: Action,
        clauses: Vec<Clause<'a>>,
    ) -> Result<Permit, Stop> {
        match action.form {
            Form::Instance | Form::InstanceHistory | Form::Everything | Form::Document => {
                self.instance(on, action.form, &clauses)
            }
            Form::Search => self.search(on, &clauses),
            Form::SearchTypes => self.search_types(),
            Form::History => self.history(Some(on), &clauses),
            Form::Lookup => {
                // Nothing is there to judge a filter by, and a clause without its filter would be wider.
                let unfiltered: Vec<_> = clauses.into_iter().filter(|clause| clause.filter.is_empty()).collect();
                self.directory(on, &unfiltered)
            }
            Form::Create | Form::Update | Form::Delete => self.write(on, action.form, &clauses),
        }
    }

    /// The type exists; `None` at system level.
    fn resource_type(&mut self) -> Result<Option<&'static ResourceType>, Reason> {
        let name = self.request.resource_type;
        if name.is_empty() {
            return Ok(None);
        }
        let found = self.version.resource_type(name);
        if found.is_none() {
            self.trace.fail(Rule::ResourceType, || format!("`{name}`"));
        }
        match found {
            Some(on) => Ok(Some(on)),
            None => Rule::ResourceType.refuse(Reason::ResourceTypeUnknown).map(|()| None),
        }
    }

    fn action(&mut self) -> Result<Action, Reason> {
        let action = action(self.request);
        match &action {
            Ok(action) => self.trace.pass(Rule::Interaction, || {
                format!("needs {} on {}", action.letters.spelt(), of_type(self.request.resource_type))
            }),
            Err(reason) => self.trace.fail(Rule::Interaction, || String::from(reason.text())),
        }
        action.or_else(|reason| Rule::Interaction.refuse(reason).map(|()| Action::of(Form::Search, Letters::S)))
    }

    /// With `openid fhirUser` a token may read the one resource that stands for its user (OpenID
    /// Connect scopes of SMART App Launch 2.2).
    fn is_own_user_record(&mut self) -> bool {
        let Request { subject, interaction, resource_type, id, .. } = self.request;
        let asked = id.zip(subject.user.split_once('/')).is_some_and(|(id, user)| user == (resource_type, id));
        let granted = *interaction == Interaction::Read
            && asked
            && has_plain(subject.scope, "openid")
            && has_plain(subject.scope, "fhirUser")
            && Rule::OwnUserRecord.enforced();
        if granted {
            self.trace.pass(Rule::OwnUserRecord, || String::from("openid fhirUser"));
        }
        granted
    }

    /// Some clause covers the type for every letter; those for the letter content is judged by.
    fn scope(&mut self, on: Option<&'static ResourceType>, action: Action) -> Result<Vec<Clause<'a>>, Reason> {
        let mut clauses = Vec::new();
        for letter in action.letters.each() {
            let mut covers = self.clauses(on, letter)?;
            if covers.is_empty() {
                self.trace
                    .fail(Rule::Scope, || format!("no granted scope covers `{}` of {}", letter.spelt(), name_of(on)));
                Rule::Scope.refuse(Reason::ScopeInsufficient)?;
                covers.push(Clause { text: "", context: Context::User, filter: Filter::default() });
            }
            if letter == action.letter {
                clauses = covers;
            }
        }
        for clause in &clauses {
            self.trace.pass(Rule::Scope, || String::from(clause.text));
        }
        Ok(clauses)
    }

    /// The clauses that cover a type and a letter, of the context that fits who asks.
    ///
    /// SECURITY: `system/` speaks of a client's own rights and never serves a user's token, and a client
    /// without a user never acts by `patient/` or `user/`.
    pub(crate) fn clauses(
        &mut self,
        on: Option<&'static ResourceType>,
        letter: Letters,
    ) -> Result<Vec<Clause<'a>>, Reason> {
        let Subject { kind, scope, .. } = self.request.subject;
        let covers = covering(scope, self.version, on, letter);
        let fits = |clause: &Clause<'_>| (clause.context == Context::System) == (kind == SubjectKind::System);
        if covers.is_empty() || covers.iter().any(fits) {
            let fitting = |clause: &Clause<'_>| fits(clause) || !Rule::Context.enforced();
            return Ok(covers.into_iter().filter(fitting).collect());
        }
        for clause in &covers {
            self.trace.fail(Rule::Context, || format!("{} does not speak of a {}", clause.text, kind.name()));
        }
        Rule::Context.refuse(Reason::ContextMismatch)?;
        Ok(covers)
    }

    fn writes(&mut self, action: Action) -> Result<(), Reason> {
        if action.letter.writes() && !self.settings.writes {
            self.trace.fail(Rule::Writes, || String::from("settings.writes is false"));
            Rule::Writes.refuse(Reason::WritesDisabled)?;
        }
        Ok(())
    }

    /// The type is one whose data this policy has a rule for.
    fn class(&mut self, on: &'static ResourceType, action: Action) -> Result<(), Reason> {
        let verdict = if on.class == Class::Unruled {
            Err(Reason::TypeNotRuled)
        } else if action.letter.writes()
            && (!write::writable(on, action.form) || write::kept_from_apps(on, self.settings))
        {
            Err(Reason::TypeNotWritable)
        } else {
            Ok(())
        };
        match verdict {
            Ok(()) => self.trace.pass(Rule::Class, || format!("{} is {}", on.name, on.class.name())),
            Err(reason) => self.trace.fail(Rule::Class, || format!("{}: {}", on.name, reason.text())),
        }
        verdict.or_else(|reason| Rule::Class.refuse(reason))
    }

    /// Attach an obligation.
    ///
    /// SECURITY: a permit whose obligation the caller cannot carry out is a deny, never a permit
    /// without it.
    pub(crate) fn oblige(&mut self, permit: &mut Permit, id: &'static str, parameters: String) -> Result<(), Stop> {
        if !self.request.declares(id) {
            return Err(Reason::ObligationNotSupported.into());
        }
        permit.obligations.push(Obligation { id, parameters });
        Ok(())
    }
}

fn name_of(on: Option<&ResourceType>) -> &'static str {
    on.map_or("every type", |on| on.name)
}

fn of_type(name: &str) -> &str {
    if name.is_empty() { "every type" } else { name }
}

//! One resource judged: a read, a version, an operation on an instance, and each image of a write.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::provenance::PROVENANCE;
use crate::access::reach::{Failures, Reach, Stop};
use crate::access::relationship::Standing;
use crate::compartment::{Membership, contained, membership, own_chart};
use crate::decide::{Permit, Walk};
use crate::interaction::Form;
use crate::json::{Json, Malformed, Value};
use crate::reason::Reason;
use crate::rule::Rule;
use crate::scope::{Clause, Letters};
use crate::search::parameters::{counts, masks};
use crate::search::path;
use crate::tables::{Class, ResourceType};
use crate::types::SubjectKind;

/// Patients a resource or a search may name before what is known of them is asked for all together.
pub(crate) const NAMED_MAX: usize = 32;

/// The reason of a permit that rests on the type alone.
pub(crate) fn type_reason(on: &ResourceType) -> Option<Reason> {
    match on.class {
        Class::Shared => Some(Reason::SharedDirectory),
        Class::Definitional => Some(Reason::Definitional),
        Class::Patient | Class::Unruled => None,
    }
}

/// What is known of a stored resource.
pub(crate) enum Image<'a> {
    Content(&'a [u8]),
    /// the server was asked and has none
    Absent,
    /// it was not supplied, and will not be
    Withheld,
}

/// Security labels of a resource; `None` for one without a code.
pub(super) type Labels = Vec<Option<String>>;

/// What a resource says of itself that decides who sees it.
pub(super) struct Named<'m> {
    pub(super) members: &'m Membership,
    pub(super) labels: &'m Labels,
}

impl<'a> Walk<'_, 'a> {
    /// `read`, `vread`, instance history and instance operations.
    pub(crate) fn instance(
        &mut self,
        on: &'static ResourceType,
        form: Form,
        clauses: &[Clause<'a>],
    ) -> Result<Permit, Stop> {
        let id = self.request.id.ok_or(Reason::RequestMalformed)?;
        let unfiltered: Vec<Clause<'a>> = clauses.iter().filter(|clause| clause.filter.is_empty()).cloned().collect();
        let anybodys = on.class != Class::Patient || self.is_system();
        if matches!(form, Form::Everything | Form::Document) {
            self.everything_asked()?;
        }
        if form == Form::Everything {
            let standing = self.by_id(clauses, id)?;
            return self.filtered(standing);
        }
        // A document brings along what its type's scope does not cover.
        if !unfiltered.is_empty() && anybodys && form != Form::Document {
            match self.directory(on, &unfiltered) {
                Err(Stop::Deny(_)) if unfiltered.len() < clauses.len() => {}
                verdict => return verdict,
            }
        }
        if !unfiltered.is_empty() && on.name == "Patient" {
            // Whose record it is stands in the URL: no content needed.
            match self.by_id(&unfiltered, id) {
                Err(Stop::Deny(_)) if unfiltered.len() < clauses.len() => {}
                // Its labels do not stand in the URL.
                Ok(standing) if self.people.may_hide(&standing) => {}
                verdict => return verdict.map(|standing| Permit::by(standing.reason, standing.end_ms)),
            }
        }
        if form == Form::InstanceHistory {
            // Each version is a resource of its own: the current one says nothing of the others.
            let standing = self.unseen_standing(on, id, clauses)?;
            return self.filtered(standing);
        }
        match self.stored_or_filtered(on, id, clauses)? {
            Image::Absent => {
                self.trace.fail(Rule::Content, || format!("{}/{id} is not there", on.name));
                self.unseen(Reason::ContentAbsent, clauses)
            }
            Image::Content(bytes) => {
                let standing = self.image(bytes, on, Some(id), Letters::R, clauses)?;
                if form == Form::Document {
                    return self.filtered(standing);
                }
                Ok(Permit::by(type_reason(on).unwrap_or(standing.reason), standing.end_ms))
            }
            Image::Withheld if self.request.declares("response-filter") => {
                let standing = self.unseen_standing(on, id, clauses)?;
                self.filtered(standing)
            }
            Image::Withheld => self.unseen(Reason::ContentMissing, clauses),
        }
    }

    /// The stored resource. Where the answer may be filtered instead, the facts that takes are asked for
    /// along with it: when it turns out that it cannot be had, it is too late to ask.
    fn stored_or_filtered(&mut self, on: &ResourceType, id: &str, clauses: &[Clause<'a>]) -> Result<Image<'a>, Stop> {
        match self.stored(on, id) {
            Err(Stop::Needs(mut keys)) if self.request.declares("response-filter") => {
                if let Err(Stop::Needs(more)) = self.unseen_standing(on, id, clauses) {
                    keys.extend(more);
                }
                Err(Stop::Needs(keys))
            }
            stored => stored,
        }
    }

    /// What there is to stand on without the content: of a Patient, its id says whose chart it is.
    fn unseen_standing(&mut self, on: &ResourceType, id: &str, clauses: &[Clause<'a>]) -> Result<Standing, Stop> {
        if on.name == "Patient" { self.by_id(clauses, id) } else { self.by_scope(clauses) }
    }

    /// What was not seen is not judged, so it is refused.
    fn unseen(&mut self, reason: Reason, clauses: &[Clause<'a>]) -> Result<Permit, Stop> {
        Rule::Content.refuse(reason)?;
        let standing = self.by_scope(clauses)?;
        Ok(Permit::by(standing.reason, standing.end_ms))
    }

    /// Nobody's relationships count: a client acts by its own scopes. [`Walk::clauses`] has left it
    /// `system/` clauses only.
    pub(crate) fn is_system(&self) -> bool {
        self.request.subject.kind == SubjectKind::System
    }

    /// Where whose data it is does not count: the clause has to be alive, nothing more.
    pub(crate) fn directory(&mut self, on: &ResourceType, clauses: &[Clause<'a>]) -> Result<Permit, Stop> {
        let standing = self.by_scope(clauses)?;
        Ok(Permit::by(type_reason(on).unwrap_or(standing.reason), standing.end_ms))
    }

    /// Some clause is alive: `user/` always, `patient/` while the user may reach the launch patient.
    pub(crate) fn by_scope(&mut self, clauses: &[Clause<'a>]) -> Result<Standing, Stop> {
        let mut failures = Failures::default();
        for clause in clauses {
            let verdict = match self.people.reach(clause, &mut self.trace) {
                Ok(Reach::Anybody) => Ok(Standing::SYSTEM),
                Ok(Reach::OfUser) => Ok(Standing::by(Reason::PermittedPatients)),
                Ok(Reach::Launch(patient)) => self.people.standing(patient, false, &mut self.trace),
                Err(reason) => Err(reason.into()),
            };
            match verdict {
                Ok(standing) => return Ok(standing),
                Err(stop) => failures.add(stop),
            }
        }
        Err(failures.into_stop(Reason::ScopeInsufficient))
    }

    /// A clause reaches the patient whose id stands in the URL.
    fn by_id(&mut self, clauses: &[Clause<'a>], id: &str) -> Result<Standing, Stop> {
        let named = own_chart(id);
        let mut failures = Failures::default();
        for clause in clauses {
            match self.people.reaches(clause, &named.patient, false, &mut self.trace) {
                Ok(standing) => {
                    self.trace.pass(Rule::Compartment, || format!("Patient/{id} is that patient's own record"));
                    return Ok(standing);
                }
                Err(stop) => failures.add(stop),
            }
        }
        Err(failures.into_stop(Reason::ScopeInsufficient))
    }

    /// `$everything` and `$document` take the parameters of `$everything` only (FHIR R4, Patient, operation everything):
    /// a document that is kept (`persist`) would be written.
    fn everything_asked(&mut self) -> Result<(), Reason> {
        let known = |name| matches!(name, "start" | "end" | "_since" | "_type" | "_count" | "_format" | "_pretty");
        match self.request.parameters.iter().find(|parameter| !known(parameter.name)) {
            Some(parameter) => {
                self.trace.fail(Rule::SearchParameters, || format!("`{}`", parameter.name));
                Rule::SearchParameters.refuse(Reason::SearchParameterRefused)
            }
            None => Ok(()),
        }
    }

    /// A permit that rests on the caller judging each resource of the answer.
    pub(crate) fn filtered(&mut self, standing: Standing) -> Result<Permit, Stop> {
        if self.request.parameters.iter().any(|parameter| counts(parameter) || masks(parameter)) {
            self.trace.fail(Rule::Narrowing, || {
                String::from(
                    "a count would tell of what is out of reach, and what has members left out cannot be judged",
                )
            });
            Rule::Narrowing.refuse(Reason::SearchNotNarrowable)?;
        }
        let mut permit = Permit::by(standing.reason, standing.end_ms);
        self.oblige(&mut permit, "response-filter", String::from("{}"))?;
        Ok(permit)
    }

    /// The stored resource the request names.
    pub(crate) fn stored(&mut self, on: &ResourceType, id: &str) -> Result<Image<'a>, Stop> {
        if let Some(bytes) = self.at_hand {
            return Ok(Image::Content(bytes));
        }
        let key = match self.request.version {
            Some(version) => format!("{}/{id}/_history/{version}", on.name),
            None => format!("{}/{id}", on.name),
        };
        match self.request.stored.iter().find(|stored| stored.key == key) {
            Some(stored) => Ok(stored.content.map_or(Image::Absent, Image::Content)),
            None if self.request.facts_final => Ok(Image::Withheld),
            None => {
                self.trace.need(Rule::Content, || key.clone());
                Err(Stop::Needs(Vec::from([format!("resource/{key}")])))
            }
        }
    }

    /// Judge one image of a resource by one letter: some clause reaches a patient it names and its
    /// granular filter matches.
    pub(crate) fn image(
        &mut self,
        bytes: &[u8],
        on: &'static ResourceType,
        id: Option<&str>,
        letter: Letters,
        clauses: &[Clause<'a>],
    ) -> Result<Standing, Stop> {
        let malformed = |_: Malformed| Stop::Deny(Reason::ContentMalformed);
        let read;
        let json = match self.parsed {
            Some(json) => json,
            None => {
                read = Json::parse(bytes).map_err(malformed)?;
                &read
            }
        };
        let resource = json.root();
        self.names_itself(resource, on, id)?;
        self.is_whole(resource)?;
        let mut members =
            membership(resource, on, self.request.id, self.request.base, self.settings).map_err(malformed)?;
        // The other classes, Patients and clients of their own right are judged without what is in them.
        if on.class == Class::Patient && on.name != "Patient" && !self.is_system() {
            contained(resource, self.version, self.request.base, self.settings, &mut members).map_err(malformed)?;
        }
        self.knows_all_of(&members)?;
        let labels = labels(resource).map_err(malformed)?;
        let mut failures = Failures::default();
        for clause in clauses {
            let matches = clause.filter.matches(resource, self.request.base).map_err(malformed)?;
            if !clause.filter.is_empty() {
                self.granular_step(clause, matches);
            }
            let verdict = match matches || !Rule::Granular.enforced() {
                true => self.by_membership(clause, on, &Named { members: &members, labels: &labels }, letter.writes()),
                false => Err(Reason::GranularMismatch.into()),
            };
            match verdict {
                Ok(standing) => return Ok(standing),
                Err(stop) => failures.add(stop),
            }
        }
        Err(failures.into_stop(Reason::ScopeInsufficient))
    }

    /// A resource that says of itself that members were left out (FHIR R4, Search, `_summary`: the tag
    /// `SUBSETTED`) cannot be judged by those it shows.
    fn is_whole(&mut self, resource: Value<'_, '_>) -> Result<(), Stop> {
        let mut whole = true;
        let seen = path::visit(resource, "meta.tag.code", &[], &mut |code| {
            whole &= code.string().transpose()?.is_none_or(|code| code != "SUBSETTED");
            Ok(())
        });
        if seen.is_ok() && whole {
            return Ok(());
        }
        self.trace.fail(Rule::Body, || String::from("the resource has members left out"));
        Ok(Rule::Body.refuse(Reason::ContentMalformed)?)
    }

    /// Where very many patients are named, the user's whole list is asked for and not each of them.
    fn knows_all_of(&mut self, members: &Membership) -> Result<(), Stop> {
        if members.named.len() + members.within.len() <= NAMED_MAX || self.is_system() {
            return Ok(());
        }
        self.people.whole_list()
    }

    fn granular_step(&mut self, clause: &Clause<'_>, matches: bool) {
        let detail = || String::from(clause.text);
        if matches { self.trace.pass(Rule::Granular, detail) } else { self.trace.fail(Rule::Granular, detail) }
    }

    /// The content is of the type and id asked for.
    fn names_itself(&mut self, resource: Value<'_, '_>, on: &ResourceType, id: Option<&str>) -> Result<(), Stop> {
        let text = |name| resource.get_string(name).map_err(|_| Stop::Deny(Reason::ContentMalformed));
        let same_type = text("resourceType")?.as_deref() == Some(on.name);
        let same_id = match id {
            Some(id) => text("id")?.as_deref() == Some(id),
            None => true,
        };
        if !(same_type && same_id) {
            self.trace.fail(Rule::Body, || format!("the content is not {}/{}", on.name, id.unwrap_or("(new)")));
            Rule::Body.refuse(Reason::BodyMismatch)?;
        }
        Ok(())
    }

    /// A clause reaches a patient by a parameter that confers access; for exclusive types, every
    /// patient the resource names.
    fn by_membership(
        &mut self,
        clause: &Clause<'a>,
        on: &'static ResourceType,
        named: &Named<'_>,
        writing: bool,
    ) -> Result<Standing, Stop> {
        if on.class != Class::Patient || self.is_system() {
            return self.by_scope(core::slice::from_ref(clause));
        }
        let conferred = self.conferred(clause, named, writing);
        let conferred =
            if on.name == PROVENANCE && !writing { self.about(clause, named, conferred) } else { conferred };
        match conferred {
            verdict if !on.exclusive && named.members.within.is_empty() => verdict,
            Ok(standing) => self.exclusively(clause, on, named, writing, standing),
            // Everybody is asked about at once: rounds are few, and a write has two images.
            Err(needs @ Stop::Needs(_)) => {
                let mut all = Failures::default();
                all.add(needs);
                if let Err(more @ Stop::Needs(_)) = self.exclusively(clause, on, named, writing, Standing::SYSTEM) {
                    all.add(more);
                }
                Err(all.into_stop(Reason::NotInCompartment))
            }
            denied => denied,
        }
    }

    /// A Provenance, by the patients it names if it names any, and by each target that is none.
    fn about(
        &mut self,
        clause: &Clause<'a>,
        named: &Named<'_>,
        conferred: Result<Standing, Stop>,
    ) -> Result<Standing, Stop> {
        let names_nobody = named.members.named.is_empty() && !named.members.unclear;
        let own = match conferred {
            Ok(standing) => Some(standing),
            Err(Stop::Deny(Reason::NotInCompartment)) if names_nobody => None,
            failed => return failed,
        };
        let targets = self.by_targets(clause, named.labels)?;
        let standing = match (own, targets.standing) {
            (Some(own), Some(of_targets)) => own.and(&of_targets),
            (Some(standing), None) | (None, Some(standing)) => standing,
            (None, None) => return Err(Reason::NotInCompartment.into()),
        };
        Ok(standing.until(targets.end_ms))
    }

    pub(super) fn conferred(&mut self, clause: &Clause<'a>, all: &Named<'_>, writing: bool) -> Result<Standing, Stop> {
        let mut failures = Failures::default();
        for named in &all.members.named {
            let confers = if writing { named.write } else { named.read };
            let line = || format!("{} names Patient/{}", named.parameter, named.patient);
            if !confers && Rule::Compartment.enforced() {
                self.trace.fail(Rule::Compartment, || format!("{}, which confers nothing", line()));
                continue;
            }
            self.trace.pass(Rule::Compartment, line);
            match self.sees(clause, &named.patient, writing, all.labels) {
                Ok(standing) => return Ok(standing),
                Err(stop) => failures.add(stop),
            }
        }
        Err(failures.into_stop(Reason::NotInCompartment))
    }

    /// A clause reaches a patient, and no label of the resource hides it from that standing.
    fn sees(&mut self, clause: &Clause<'a>, patient: &str, writing: bool, labels: &Labels) -> Result<Standing, Stop> {
        let standing = self.people.reaches(clause, patient, writing, &mut self.trace)?;
        if self.people.may_hide(&standing)
            && let Some(label) =
                labels.iter().find(|label| label.as_deref().is_none_or(|code| self.people.hides(&standing, code)))
        {
            let label = label.as_deref().unwrap_or("(without a code)");
            self.trace.fail(Rule::Labels, || format!("{label} is hidden from {}", standing.reason.code()));
            Rule::Labels.refuse(Reason::LabelHidden)?;
        }
        Ok(standing)
    }

    /// Everybody is in reach whom a resource of an exclusive type names, or one that is contained in any.
    fn exclusively(
        &mut self,
        clause: &Clause<'a>,
        on: &'static ResourceType,
        all: &Named<'_>,
        writing: bool,
        mut standing: Standing,
    ) -> Result<Standing, Stop> {
        let mut failures = Failures::default();
        let own = all.members.named.iter().filter(|_| on.exclusive);
        for named in own.chain(&all.members.within) {
            match self.sees(clause, &named.patient, writing, all.labels) {
                Ok(other) => standing = standing.and(&other),
                Err(Stop::Deny(_)) => failures.add(Stop::Deny(Reason::OtherPatient)),
                Err(needs) => failures.add(needs),
            }
        }
        if on.exclusive && all.members.unclear {
            failures.add(Stop::Deny(Reason::OtherPatient));
        }
        match failures.into_stop(Reason::SelfAccess) {
            Stop::Deny(Reason::OtherPatient) => {
                self.trace.fail(Rule::Exclusive, || String::from("the resource names a patient out of reach"));
                Rule::Exclusive.refuse(Reason::OtherPatient)?;
                Ok(standing)
            }
            Stop::Deny(_) => Ok(standing),
            needs => Err(needs),
        }
    }
}

/// The security labels of a resource (FHIR R4, Resource, `meta.security`).
pub(super) fn labels(resource: Value<'_, '_>) -> Result<Labels, Malformed> {
    let mut labels = Vec::new();
    for path in ["meta.security", "contained.meta.security"] {
        path::visit(resource, path, &[], &mut |label| {
            labels.push(label.get_string("code")?.map(String::from));
            Ok(())
        })?;
    }
    Ok(labels)
}

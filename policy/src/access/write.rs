//! Writes: the stored image and the result are both judged, so that nothing is moved out of or into
//! somebody's reach.

use alloc::format;
use alloc::string::String;

use crate::access::instance::Image;
use crate::access::reach::Stop;
use crate::decide::{Permit, Walk};
use crate::interaction::Form;
use crate::json::{Json, Malformed, Value, push_quoted};
use crate::reason::Reason;
use crate::rule::Rule;
use crate::scope::{Clause, Letters};
use crate::search::narrow::{Can, Searched};
use crate::settings::Settings;
use crate::tables::{Class, ResourceType};
use crate::types::{Interaction, Obligation};

/// Types that say who takes care of a patient: where relationships are read from the FHIR server, writing one grants
/// access.
const CARE_TYPES: [&str; 2] = ["Appointment", "Encounter"];
/// Members of a Patient that decide who may see the chart.
const PATIENT_FACTS: [&str; 13] = [
    "active",
    "_active",
    "birthDate",
    "_birthDate",
    "deceasedBoolean",
    "_deceasedBoolean",
    "deceasedDateTime",
    "_deceasedDateTime",
    "generalPractitioner",
    "implicitRules",
    "_implicitRules",
    "link",
    "modifierExtension",
];

/// Apps write patient data only, and never what confers access to it: nobody grants themselves a
/// relationship, and no app registers or removes patients. Whatever the release says.
pub(crate) fn writable(on: &ResourceType, form: Form) -> bool {
    let patient_record = on.name == "Patient" && matches!(form, Form::Create | Form::Delete);
    let confers_write = on.name == "Patient" || on.members.iter().any(|member| member.write);
    on.class == Class::Patient && confers_write && !patient_record
}

/// Whether the release keeps apps from writing a type that says who takes care of a patient.
pub(crate) fn kept_from_apps(on: &ResourceType, settings: &Settings) -> bool {
    CARE_TYPES.contains(&on.name) && !settings.writable_care_types.iter().any(|name| name == on.name)
}

impl<'a> Walk<'_, 'a> {
    pub(crate) fn write(
        &mut self,
        on: &'static ResourceType,
        form: Form,
        clauses: &[Clause<'a>],
    ) -> Result<Permit, Stop> {
        let criteria = if self.request.conditional { self.criteria_of_write(on, form)? } else { None };
        // A create with criteria writes nothing but what is sent.
        if self.request.conditional && form != Form::Create && !self.request.resolved {
            return Err(Reason::ConditionalUnsupported.into());
        }
        let mut permit = match form {
            Form::Create => self.create(on, clauses)?,
            Form::Delete => self.delete(on, clauses)?,
            _ => self.update(on, clauses)?,
        };
        permit.obligations.extend(criteria);
        // What is validated is not answered with.
        let answers = form != Form::Delete && self.request.interaction != Interaction::Operation;
        if self.request.returns_representation && answers {
            self.returns(on, form, &mut permit)?;
        }
        Ok(permit)
    }

    /// The criteria find nobody out of reach: whether they find something is told by the status.
    ///
    /// SECURITY: what is not a create was looked up by the criteria as they stand, so these have to stay in reach.
    fn criteria_of_write(&mut self, on: &'static ResourceType, form: Form) -> Result<Option<Obligation>, Stop> {
        let clauses = self.clauses(Some(on), Letters::S)?;
        let narrow = form == Form::Create && self.request.declares("search-narrowing");
        let can = Can { narrow, unite: false, filter: false };
        let searched = self.searched(on, &clauses, can).map_err(|stop| match stop {
            Stop::Deny(Reason::ObligationNotSupported) if form != Form::Create => Reason::SearchNotNarrowable.into(),
            stop => stop,
        });
        let Searched { searches, .. } = searched?;
        let mut criteria = Permit::by(Reason::PermittedPatients, None);
        if let [one] = searches.as_slice() {
            self.narrow(&mut criteria, one)?;
        }
        Ok(criteria.obligations.pop())
    }

    fn create(&mut self, on: &'static ResourceType, clauses: &[Clause<'a>]) -> Result<Permit, Stop> {
        let body = self.request.body.ok_or(Reason::RequestMalformed)?;
        self.refers_plainly(body)?;
        let standing = self.image(body, on, None, Letters::C, clauses)?;
        Ok(Permit::by(standing.reason, standing.end_ms))
    }

    fn update(&mut self, on: &'static ResourceType, clauses: &[Clause<'a>]) -> Result<Permit, Stop> {
        let is_patch = self.request.interaction == Interaction::Patch;
        let id = match self.request.id {
            Some(id) => id,
            None if self.request.conditional => return self.update_of_nothing(on, clauses),
            None => return Err(Reason::RequestMalformed.into()),
        };
        let after = match self.request.body {
            Some([]) if is_patch => return Err(Reason::PatchInapplicable.into()),
            Some(body) => body,
            // SECURITY: an unseen result is not judged.
            None => return Err(self.unpatched(on, id)),
        };
        self.refers_plainly(after)?;
        let named = self.id_of_sent(after, id)?;
        let result = self.image(after, on, named, Letters::U, clauses)?;
        match self.stored(on, id)? {
            // No app registers patients, by whatever form.
            Image::Absent if on.name == "Patient" || is_patch => Err(Reason::ContentAbsent.into()),
            // Update-as-create belongs to `u` (SMART App Launch 2.2).
            Image::Absent => Ok(Permit::by(result.reason, result.end_ms)),
            Image::Withheld => Err(Reason::ContentMissing.into()),
            Image::Content(bytes) => {
                let before = self.image(bytes, on, Some(id), Letters::U, clauses)?;
                self.keeps_facts(on, bytes, after)?;
                let mut end_ms = before.end_ms.into_iter().chain(result.end_ms).min();
                if self.request.reads_stored {
                    let readers = self.clauses(Some(on), Letters::R)?;
                    let read = self.image(bytes, on, Some(id), Letters::R, &readers)?;
                    end_ms = end_ms.into_iter().chain(read.end_ms).min();
                }
                let mut permit = Permit::by(before.reason, end_ms);
                self.if_match(bytes, &mut permit)?;
                Ok(permit)
            }
        }
    }

    /// An update whose criteria find nothing creates what is sent.
    fn update_of_nothing(&mut self, on: &'static ResourceType, clauses: &[Clause<'a>]) -> Result<Permit, Stop> {
        if on.name == "Patient" || self.request.interaction == Interaction::Patch {
            return Err(Reason::ContentAbsent.into());
        }
        let body = self.request.body.ok_or(Reason::RequestMalformed)?;
        self.refers_plainly(body)?;
        // SECURITY: an id in what is sent would be the id of what is written, and nobody looked at that.
        if id_of(body).map_err(|_| Reason::ContentMalformed)?.is_some() {
            return Err(Reason::BodyMismatch.into());
        }
        let result = self.image(body, on, None, Letters::U, clauses)?;
        Ok(Permit::by(result.reason, result.end_ms))
    }

    /// What is sent by criteria may leave out its id, and may not name another.
    fn id_of_sent<'i>(&self, sent: &[u8], id: &'i str) -> Result<Option<&'i str>, Reason> {
        let by_criteria = self.request.conditional && id_of(sent).map_err(|_| Reason::ContentMalformed)?.is_none();
        Ok((!by_criteria).then_some(id))
    }

    /// Why a patch whose result is not at hand is not judged: what it is for has to be fetched first.
    fn unpatched(&mut self, on: &'static ResourceType, id: &str) -> Stop {
        match self.stored(on, id) {
            Err(needs) => needs,
            Ok(Image::Absent) => Reason::ContentAbsent.into(),
            Ok(Image::Withheld) => Reason::ContentMissing.into(),
            Ok(Image::Content(_)) => Reason::RequestMalformed.into(),
        }
    }

    fn delete(&mut self, on: &'static ResourceType, clauses: &[Clause<'a>]) -> Result<Permit, Stop> {
        let Some(id) = self.request.id else {
            let nothing = if self.request.conditional { Reason::ContentAbsent } else { Reason::RequestMalformed };
            return Err(nothing.into());
        };
        match self.stored(on, id)? {
            Image::Absent => Err(Reason::ContentAbsent.into()),
            Image::Withheld => Err(Reason::ContentMissing.into()),
            Image::Content(bytes) => {
                let standing = self.image(bytes, on, Some(id), Letters::D, clauses)?;
                let mut permit = Permit::by(standing.reason, standing.end_ms);
                self.if_match(bytes, &mut permit)?;
                Ok(permit)
            }
        }
    }

    /// No reference is left to the server to look up (FHIR R4, RESTful API, "Conditional References"): what it finds,
    /// and whether it finds anything, was judged by nobody.
    fn refers_plainly(&mut self, sent: &[u8]) -> Result<(), Reason> {
        let mut plain = true;
        let json = Json::parse(sent).map_err(|_| Reason::ContentMalformed)?;
        let seen = json.root().each_named("reference", &mut |reference| {
            plain &= reference.string().transpose()?.is_none_or(|text| !text.contains('?'));
            Ok(())
        });
        seen.map_err(|_| Reason::ContentMalformed)?;
        if plain {
            return Ok(());
        }
        self.trace.fail(Rule::Reference, || String::from("a reference by criteria"));
        Rule::Reference.refuse(Reason::ReferenceUnresolved)
    }

    /// An update leaves what rules go by: the labels of every resource, and what is known of a patient.
    fn keeps_facts(&mut self, on: &ResourceType, before: &[u8], after: &[u8]) -> Result<(), Reason> {
        let is_patient = on.name == "Patient";
        let of_patient = PATIENT_FACTS.iter().filter(|_| is_patient);
        let changed = changed(before, after, of_patient.copied()).map_err(|_| Reason::ContentMalformed)?;
        let modified = |image| modifiers(image).map_err(|_| Reason::ContentMalformed);
        // SECURITY: a chart whose resource is modified in a way nobody understands is closed to all.
        let is_modified = is_patient && modified(after)? > modified(before)?;
        match changed.or(is_modified.then_some("modifierExtension")) {
            Some(name) => {
                self.trace.fail(Rule::Protected, || format!("`{name}` would change"));
                Rule::Protected.refuse(Reason::FactsProtected)
            }
            None => Ok(()),
        }
    }

    /// Tie the write to the version that was judged, where the server keeps versions.
    fn if_match(&mut self, stored: &[u8], permit: &mut Permit) -> Result<(), Stop> {
        let malformed = |_| Stop::Deny(Reason::ContentMalformed);
        let json = Json::parse(stored).map_err(malformed)?;
        let meta = json.root().get("meta").map_err(malformed)?;
        let version = meta.map_or(Ok(None), |meta: Value<'_, '_>| meta.get_string("versionId")).map_err(malformed)?;
        let Some(version) = version.filter(|_| Rule::IfMatch.enforced()) else { return Ok(()) };
        let mut parameters = String::from("{\"version\":");
        push_quoted(&mut parameters, &version);
        parameters.push('}');
        self.trace.pass(Rule::IfMatch, || format!("version {version}"));
        self.oblige(permit, "if-match", parameters)
    }

    /// An answer that carries the resource is a read: without the right to read, it must not.
    fn returns(&mut self, on: &'static ResourceType, form: Form, permit: &mut Permit) -> Result<(), Stop> {
        // SECURITY: where its criteria find something, a create answers with that, and nobody has seen it.
        if form == Form::Create && self.request.conditional && Rule::ReturnMinimal.enforced() {
            return self.oblige(permit, "return-minimal", String::from("{}"));
        }
        let readers = self.clauses(Some(on), Letters::R).unwrap_or_default();
        let body = self.request.body.ok_or(Reason::RequestMalformed)?;
        match self.image(body, on, None, Letters::R, &readers) {
            Ok(_) => Ok(()),
            Err(Stop::Needs(keys)) => Err(Stop::Needs(keys)),
            Err(Stop::Deny(_)) if Rule::ReturnMinimal.enforced() => {
                self.oblige(permit, "return-minimal", String::from("{}"))
            }
            Err(Stop::Deny(_)) => Ok(()),
        }
    }
}

fn id_of(sent: &[u8]) -> Result<Option<String>, Malformed> {
    Ok(Json::parse(sent)?.root().get_string("id")?.map(String::from))
}

/// The first of these members, or the labels, in which two images differ.
fn changed<'n>(
    before: &[u8],
    after: &[u8],
    names: impl Iterator<Item = &'n str>,
) -> Result<Option<&'n str>, Malformed> {
    let (before, after) = (Json::parse(before)?, Json::parse(after)?);
    let pairs = names.map(|name| Ok((name, before.root().get(name)?, after.root().get(name)?)));
    let labels = Ok(("meta.security", security(&before)?, security(&after)?));
    for pair in core::iter::once(labels).chain(pairs) {
        let (name, before, after) = pair?;
        let same = match (before, after) {
            (None, None) => true,
            (Some(before), Some(after)) => before.says_the_same(after)?,
            _ => false,
        };
        if !same {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// How many elements of a resource say that their meaning is turned round.
fn modifiers(image: &[u8]) -> Result<usize, Malformed> {
    let mut count = 0;
    Json::parse(image)?.root().each_named("modifierExtension", &mut |_| {
        count += 1;
        Ok(())
    })?;
    Ok(count)
}

/// The labels of a resource, where it has any.
fn security<'j, 'a>(json: &'j Json<'a>) -> Result<Option<Value<'j, 'a>>, Malformed> {
    let labels = json.root().get("meta")?.map_or(Ok(None), |meta| meta.get("security"))?;
    Ok(labels.filter(|labels| labels.elements().next().is_some() || !labels.is_array()))
}

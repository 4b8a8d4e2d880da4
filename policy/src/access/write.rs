//! Writes: the stored image and the result are both judged, so that nothing is moved out of or into
//! somebody's reach.

use alloc::format;
use alloc::string::String;

use crate::access::instance::Image;
use crate::access::reach::Stop;
use crate::decide::{Permit, Walk};
use crate::interaction::Form;
use crate::json::{Json, Value, push_quoted};
use crate::reason::Reason;
use crate::rule::Rule;
use crate::scope::{Clause, Letters};
use crate::tables::{Class, ResourceType};
use crate::types::Interaction;

/// Apps write patient data only, and never what confers access to it: nobody grants themselves a
/// relationship, and no app registers or removes patients.
pub(crate) fn writable(on: &ResourceType, form: Form) -> bool {
    let patient_record = on.name == "Patient" && matches!(form, Form::Create | Form::Delete);
    let confers_write = on.name == "Patient" || on.members.iter().any(|member| member.write);
    on.class == Class::Patient && confers_write && !patient_record
}

impl<'a> Walk<'_, 'a> {
    pub(crate) fn write(
        &mut self,
        on: &'static ResourceType,
        form: Form,
        clauses: &[Clause<'a>],
    ) -> Result<Permit, Stop> {
        if self.request.conditional {
            return Err(Reason::ConditionalUnsupported.into());
        }
        if self.request.interaction == Interaction::Patch {
            // The result of a patch is not known here, and an unseen result is not judged.
            return Err(Reason::InteractionUnsupported.into());
        }
        let mut permit = match form {
            Form::Create => self.create(on, clauses)?,
            Form::Delete => self.delete(on, clauses)?,
            _ => self.update(on, clauses)?,
        };
        if self.request.returns_representation && form != Form::Delete {
            self.returns(on, &mut permit)?;
        }
        Ok(permit)
    }

    fn create(&mut self, on: &'static ResourceType, clauses: &[Clause<'a>]) -> Result<Permit, Stop> {
        let body = self.request.body.ok_or(Reason::RequestMalformed)?;
        let standing = self.image(body, on, None, Letters::C, clauses)?;
        Ok(Permit::by(standing.reason, standing.end_ms))
    }

    fn update(&mut self, on: &'static ResourceType, clauses: &[Clause<'a>]) -> Result<Permit, Stop> {
        let (Some(id), Some(body)) = (self.request.id, self.request.body) else {
            return Err(Reason::RequestMalformed.into());
        };
        let after = self.image(body, on, Some(id), Letters::U, clauses)?;
        match self.stored(on, id)? {
            // No app registers patients, by whatever form.
            Image::Absent if on.name == "Patient" => Err(Reason::ContentAbsent.into()),
            // Update-as-create belongs to `u` (SMART App Launch 2.2).
            Image::Absent => Ok(Permit::by(after.reason, after.end_ms)),
            Image::Withheld => Err(Reason::ContentMissing.into()),
            Image::Content(bytes) => {
                let before = self.image(bytes, on, Some(id), Letters::U, clauses)?;
                let end_ms = before.end_ms.into_iter().chain(after.end_ms).min();
                let mut permit = Permit::by(before.reason, end_ms);
                self.if_match(bytes, &mut permit)?;
                Ok(permit)
            }
        }
    }

    fn delete(&mut self, on: &'static ResourceType, clauses: &[Clause<'a>]) -> Result<Permit, Stop> {
        let id = self.request.id.ok_or(Reason::RequestMalformed)?;
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
    fn returns(&mut self, on: &'static ResourceType, permit: &mut Permit) -> Result<(), Stop> {
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

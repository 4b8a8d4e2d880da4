//! The user fits the role: one role per request, never the union of one person's roles.

use crate::reason::Reason;
use crate::reference::split_local;
use crate::settings::Settings;
use crate::types::{Subject, SubjectKind};

/// A `Person` stands for somebody who has no other resource, so it fits proxies and providers; a
/// patient in their own right is a Patient. A patient's own record may also act for others (proxy).
///
/// A client without a user has no user at all: with one, it would be unclear whose rights count.
pub(crate) fn check(subject: &Subject<'_>, settings: &Settings) -> Result<(), Reason> {
    if subject.kind == SubjectKind::System {
        return match (settings.system_clients, subject.user.is_empty() && subject.patient.is_none()) {
            (false, _) => Err(Reason::SystemNotEnabled),
            (true, false) => Err(Reason::SubjectInvalid),
            (true, true) => Ok(()),
        };
    }
    let Some((resource_type, _)) = split_local(subject.user) else { return Err(Reason::SubjectInvalid) };
    let fits = match subject.kind {
        SubjectKind::Patient => resource_type == "Patient",
        SubjectKind::Proxy => matches!(resource_type, "RelatedPerson" | "Person" | "Patient"),
        SubjectKind::Provider => matches!(resource_type, "Practitioner" | "PractitionerRole" | "Person"),
        SubjectKind::System => false,
    };
    if fits { Ok(()) } else { Err(Reason::SubjectInvalid) }
}

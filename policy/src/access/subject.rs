//! The user fits the role: one role per request, never the union of one person's roles.

use crate::reason::Reason;
use crate::reference::split_local;
use crate::types::{Subject, SubjectKind};

/// A `Person` stands for somebody who has no other resource, so it fits proxies and providers; a
/// patient in their own right is a Patient. A patient's own record may also act for others (proxy).
pub(crate) fn check(subject: &Subject<'_>) -> Result<(), Reason> {
    if subject.kind == SubjectKind::System {
        return Err(Reason::SystemNotEnabled);
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

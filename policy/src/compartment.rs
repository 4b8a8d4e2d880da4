//! Whose record a resource is: the patients it names, by which parameter, and what that confers.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use crate::json::{Malformed, Value};
use crate::reference::{Target, is_type, target};
use crate::search::path;
use crate::settings::Settings;
use crate::tables::{Class, ResourceType, Version};

/// What `Reference.type` is relative to (FHIR R4, References, section 2.3.0).
const DEFINITIONS: &str = "http://hl7.org/fhir/StructureDefinition/";

/// A patient named by a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Named {
    pub(crate) patient: String,
    /// the compartment parameter, `_id` for the Patient resource itself
    pub(crate) parameter: &'static str,
    pub(crate) read: bool,
    pub(crate) write: bool,
}

/// The patients of one resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Membership {
    pub(crate) named: Vec<Named>,
    /// a compartment parameter holds something that could be a patient and cannot be told:
    /// identifier only, contained, another base
    pub(crate) unclear: bool,
    /// patients whose record a contained resource is: it says more than the one that contains it
    pub(crate) within: Vec<Named>,
}

/// Read the membership of a resource; `id` is the one it will have where it says none.
///
/// SECURITY: only literal, typed references of this base count. Identifier-only, display-only,
/// contained, `urn:` and foreign references never confer anything.
pub(crate) fn membership(
    resource: Value<'_, '_>,
    on: &'static ResourceType,
    id: Option<&str>,
    base: &str,
    settings: &Settings,
) -> Result<Membership, Malformed> {
    let mut membership = Membership::default();
    if on.name == "Patient" {
        let own = resource.get_string("id")?;
        membership.named.push(own_chart(own.as_deref().or(id).ok_or(Malformed)?));
    }
    for member in on.members {
        let mut values = 0;
        for path in member.paths {
            path::visit(resource, path, &[], &mut |value| {
                values += 1;
                match named_patient(value, base)? {
                    Reference::Patient(patient) => membership.named.push(Named {
                        patient,
                        parameter: member.parameter,
                        // A Patient's links point at other people's charts: never a role of the owner.
                        read: member.read || (settings.role_membership && on.name != "Patient"),
                        write: member.write,
                    }),
                    Reference::NoPatient => {}
                    Reference::Unclear => membership.unclear = true,
                }
                Ok(())
            })?;
        }
        // SECURITY: whose record it is stands in one place, but in types that may be about several and are
        // exclusive. A server given two may keep either.
        if member.read && values > 1 && !on.exclusive {
            return Err(Malformed);
        }
    }
    Ok(membership)
}

/// Read whose records are contained. One of a type nobody knows is not judged, and neither is what contains it.
///
/// A contained Patient is nobody's chart: its id means something inside of its container only.
pub(crate) fn contained(
    resource: Value<'_, '_>,
    version: &'static Version,
    base: &str,
    settings: &Settings,
    membership_of_container: &mut Membership,
) -> Result<(), Malformed> {
    let Some(contained) = resource.get("contained")? else { return Ok(()) };
    if !contained.is_array() {
        return Err(Malformed);
    }
    for one in contained.elements() {
        let name = one.get_string("resourceType")?.ok_or(Malformed)?;
        let on = version.resource_type(&name).ok_or(Malformed)?;
        if on.class == Class::Patient && on.name != "Patient" {
            let named = membership(one, on, None, base, settings)?.named;
            membership_of_container.within.extend(named.into_iter().filter(|named| named.read));
        }
    }
    Ok(())
}

/// A Patient resource is the record of the patient it is.
pub(crate) fn own_chart(id: &str) -> Named {
    Named { patient: id.to_string(), parameter: "_id", read: true, write: true }
}

enum Reference {
    Patient(String),
    NoPatient,
    Unclear,
}

fn named_patient(value: Value<'_, '_>, base: &str) -> Result<Reference, Malformed> {
    if !value.is_object() {
        return Err(Malformed);
    }
    let Some(reference) = value.get_string("reference")? else {
        let declared = value.get_string("type")?;
        let other = |text: &str| {
            let name = text.strip_prefix(DEFINITIONS).unwrap_or(text);
            is_type(name) && name != "Patient"
        };
        return Ok(if declared.as_deref().is_some_and(other) { Reference::NoPatient } else { Reference::Unclear });
    };
    Ok(match target(&reference, base) {
        Target::Local { resource_type: "Patient", id } => Reference::Patient(id.to_string()),
        Target::Local { .. } | Target::Elsewhere { maybe_patient: false } => Reference::NoPatient,
        Target::Elsewhere { maybe_patient: true } => Reference::Unclear,
    })
}

//! Grants to proxies: a Consent that permits somebody to act for the patient.
//!
//! Only what a Consent says plainly is taken over. One that is not active gives nothing; one with a provision that
//! would be lost is rejected, since what is left of it would be wider.

use chartgate_model::Relationship;
use serde_json::Value;

use super::read::{Resource, codes, instant, list, period, text};
use super::{Reject, relationship};

/// Code systems of roles: v3-RoleCode, v3-RoleClass.
const ROLES: &str = "http://terminology.hl7.org/CodeSystem/v3-Role";
/// What a Consent is for.
const SCOPES: &str = "http://terminology.hl7.org/CodeSystem/consentscope";
/// Roles of an actor and the kinds they stand for (v3-RoleCode, v3-RoleClass).
const KINDS: [(&str, &str); 14] = [
    ("GUARD", "guardian"),
    ("GUADLTM", "guardian"),
    ("HPOWATT", "health-care-agent"),
    ("DPOWATT", "health-care-agent"),
    ("POWATT", "health-care-agent"),
    ("EXCEST", "executor"),
    ("EXEC", "executor"),
    ("PRN", "parent"),
    ("MTH", "parent"),
    ("FTH", "parent"),
    ("NMTH", "parent"),
    ("NFTH", "parent"),
    ("CAREGIVER", "caregiver"),
    ("RESPRSN", "caregiver"),
];

pub(super) fn consent(consent: &Resource<'_>) -> Result<Vec<Relationship>, Reject> {
    if consent.status()? != "active" {
        return Ok(Vec::new());
    }
    about_privacy(consent.value)?;
    let patient = consent.patient("patient")?;
    let provision = consent.value.get("provision").ok_or(Reject::Missing("provision"))?;
    if text(provision, "type")? != Some("permit") {
        return Err(Reject::Unsupported("provision.type"));
    }
    let when = period(provision.get("period"), consent.reading)?;
    let given = consent.text("dateTime")?.map(|text| {
        let instant = instant(text, false, consent.reading);
        instant.ok_or(Reject::Element { element: "dateTime", expected: "a dateTime" })
    });
    // It holds from when it was given, where it does not say from when.
    let given = given.transpose()?.filter(|given| when.end.is_none_or(|end| *given < end));
    only(provision, &["type", "period", "actor", "provision", "id", "extension"])?;
    let mut excluded = Excluded::default();
    for inner in list(provision, "provision")? {
        excluded.take(inner)?;
    }
    let mut grants = Vec::new();
    for actor in list(provision, "actor")? {
        let (user, kind) = proxy(consent, actor)?;
        if user.strip_prefix("Patient/") == Some(patient) {
            let expected = "somebody else than the patient";
            return Err(Reject::Element { element: "provision.actor.reference", expected });
        }
        let mut grant = relationship(&user, patient, kind, &consent.origin());
        (grant.start, grant.end) = (when.start.or(given), when.end);
        grant.terms.condition = condition(kind, grant.start.is_some());
        grant.terms.exclude_types.clone_from(&excluded.types);
        grant.terms.exclude_labels.clone_from(&excluded.labels);
        grants.push(grant);
    }
    if grants.is_empty() { Err(Reject::Missing("provision.actor")) } else { Ok(grants) }
}

/// What the authority waits for, as far as the Consent leaves it open.
///
/// SECURITY: a power of attorney for health care is for when the patient cannot decide. Who was given a child to care
/// for need not have been given the adult, and when it was given is not known.
fn condition(kind: &str, has_start: bool) -> Option<String> {
    match kind {
        "health-care-agent" => Some("incapacity".to_owned()),
        "guardian" | "caregiver" if !has_start => Some("minority".to_owned()),
        _ => None,
    }
}

/// It is about who may see the record, and nobody says that it was not so meant. A consent to research or to treatment
/// makes nobody a proxy.
fn about_privacy(consent: &Value) -> Result<(), Reject> {
    if let Some(scope) = consent.get("scope") {
        let mut codings = codes_of(list(scope, "coding")?, SCOPES);
        if !codings.any(|code| code == "patient-privacy") {
            return Err(Reject::Unsupported("scope"));
        }
    }
    let verified = list(consent, "verification")?.iter().map(|one| one.get("verified"));
    if verified.into_iter().any(|verified| verified == Some(&Value::Bool(false))) {
        return Err(Reject::Unsupported("verification"));
    }
    Ok(())
}

/// The codes of a system, or of none: the code of another system means something else.
fn codes_of<'v>(codings: &'v [Value], system: &'static str) -> impl Iterator<Item = &'v str> {
    let of_system = move |coding: &&Value| {
        coding.get("system").is_none_or(|known| known.as_str().is_some_and(|known| known.starts_with(system)))
    };
    codings.iter().filter(of_system).filter_map(|coding| coding.get("code")?.as_str())
}

/// Who is granted what.
fn proxy<'a>(consent: &Resource<'a>, actor: &'a Value) -> Result<(String, &'static str), Reject> {
    let named = consent.local(actor.get("reference"));
    let Some((of, id)) = named.filter(|(of, _)| matches!(*of, "RelatedPerson" | "Patient" | "Person")) else {
        let expected = "a local reference to a RelatedPerson, a Person or a Patient";
        return Err(Reject::Element { element: "provision.actor.reference", expected });
    };
    let role = actor.get("role").map(|role| list(role, "coding")).transpose()?.unwrap_or_default();
    let known = codes_of(role, ROLES).find_map(|code| KINDS.iter().find(|(known, _)| *known == code));
    let (_, kind) = known.ok_or(Reject::Unsupported("provision.actor.role"))?;
    Ok((format!("{of}/{id}"), kind))
}

/// What inner provisions take away.
#[derive(Default)]
struct Excluded {
    types: Vec<String>,
    labels: Vec<String>,
}

impl Excluded {
    /// A deny of resource types or of labels, and of nothing narrower: of a deny of both together only a part of
    /// each would be denied.
    fn take(&mut self, inner: &Value) -> Result<(), Reject> {
        if text(inner, "type")? != Some("deny") {
            return Err(Reject::Unsupported("provision.provision.type"));
        }
        only(inner, &["type", "class", "resourceType", "securityLabel", "id", "extension"])?;
        let (types, labels) =
            ([list(inner, "class")?, list(inner, "resourceType")?].concat(), list(inner, "securityLabel")?);
        if types.is_empty() == labels.is_empty() {
            return Err(Reject::Unsupported("provision.provision"));
        }
        let all = |codings: &[Value]| -> Vec<String> { codes(codings).map(str::to_owned).collect() };
        if all(&types).len() != types.len() || all(labels).len() != labels.len() {
            return Err(Reject::Missing("provision.provision.code"));
        }
        self.types.extend(all(&types));
        self.labels.extend(all(labels));
        Ok(())
    }
}

/// An element nobody here understands could take something away.
fn only(value: &Value, known: &[&str]) -> Result<(), Reject> {
    let members = value.as_object().ok_or(Reject::Element { element: "provision", expected: "an object" })?;
    if members.keys().all(|name| known.contains(&name.as_str())) {
        Ok(())
    } else {
        Err(Reject::Unsupported("provision"))
    }
}

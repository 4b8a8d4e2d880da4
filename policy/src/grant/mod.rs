//! Which scopes an app may hold for a user: asked when it is approved, when its code is exchanged, at every refresh.
//!
//! A grant says what, never who: whom a token reaches is judged at each request anew. What is decided here is that
//! client and user may act at all, that the patient in context is one the user reaches, and that nothing is granted
//! that no request could be permitted by.
//!
//! INVARIANT: what is granted are tokens of what was asked, spelled and ordered as they were.

mod scopes;
mod types;

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::access::people::{People, is_client_id};
use crate::access::reach::{Circle, Failures, Stop};
use crate::access::subject;
use crate::reason::Reason;
use crate::reference::is_id;
use crate::rule::{Rule, Trace};
use crate::settings::Settings;
use crate::tables::{Version, version};
use crate::types::{Request, Subject, SubjectKind};

use scopes::Kept;
pub use types::{GrantDecision, GrantOutcome, GrantRequest};

/// Patients listed to choose from; beyond these one has to be named.
const CHOICES_MAX: usize = 100;

/// Judge one grant.
pub fn grant(request: &GrantRequest<'_>) -> GrantDecision {
    let mut trace = Trace::new(request.explain);
    let outcome = match judge(request, &mut trace) {
        Ok(outcome) => outcome,
        Err(Stop::Needs(keys)) => GrantOutcome::Needs(keys),
        Err(Stop::Deny(reason)) => GrantOutcome::Deny { reason },
    };
    GrantDecision { outcome, trace: trace.into_steps() }
}

fn judge(asked: &GrantRequest<'_>, trace: &mut Trace) -> Result<GrantOutcome, Stop> {
    let (version, settings) = prepare(asked, trace)?;
    let request = as_read(asked);
    fits(&request.subject, &settings, trace)?;
    let kept = keep(asked.scope, version, trace)?;
    let mut people = People::new(&request, &settings);
    people.on = version.resource_type("Patient");
    let asks = people.who_asks(trace);
    if let Err(Stop::Deny(reason)) = asks {
        return Err(reason.into());
    }
    let patient = asked.patient.filter(|_| kept.in_context);
    match patient {
        Some(id) => {
            let standing = in_context(&people, id, trace);
            let (end_ms, of_patient_ms) = both(asks, standing)?;
            Ok(granted(&kept, Some(id), end_ms.into_iter().chain(of_patient_ms).min()))
        }
        None if kept.needs_patient => {
            let circle = people.circle(CHOICES_MAX, trace);
            choose(&people, both(asks, circle)?.1)
        }
        None => Ok(granted(&kept, None, asks?)),
    }
}

/// What has to hold before anything is judged.
fn prepare(asked: &GrantRequest<'_>, trace: &mut Trace) -> Result<(&'static Version, Settings), Reason> {
    let settings = Settings::parse(asked.settings).map_err(|_| {
        trace.fail(Rule::Settings, || String::from("the settings cannot be read"));
        Reason::SettingsInvalid
    })?;
    let Some(version) = version(asked.fhir_version) else {
        trace.fail(Rule::FhirVersion, || String::from(asked.fhir_version));
        return Err(Reason::FhirVersionUnsupported);
    };
    trace.pass(Rule::FhirVersion, || String::from(version.number));
    Ok((version, settings))
}

/// Somebody asks who can approve anything, for an app that has a name.
fn fits(subject: &Subject<'_>, settings: &Settings, trace: &mut Trace) -> Result<(), Reason> {
    // SECURITY: a client without a user has no user who could approve anything.
    let verdict = match subject.kind {
        SubjectKind::System => Err(Reason::SystemNotEnabled),
        _ => subject::check(subject, settings),
    };
    if verdict.is_err() {
        trace.fail(Rule::Subject, || format!("a {} cannot be `{}`", subject.kind.name(), subject.user));
    }
    verdict?;
    // SECURITY: what is granted to nobody could be used by anybody.
    if !is_client_id(subject.client) {
        trace.fail(Rule::Client, || format!("`{}` is no client", subject.client));
        return Err(Reason::ClientUnknown);
    }
    Ok(())
}

/// The scopes that can be granted at all, if something can be done with them.
fn keep<'a>(scope: &'a str, version: &'static Version, trace: &mut Trace) -> Result<Kept<'a>, Reason> {
    let kept = Kept::of(scope, version);
    // What tells nothing but that somebody is there is worth nothing.
    if !kept.is_useful {
        trace.fail(Rule::Scope, || String::from("no record could be reached by it, and no user known"));
        return Err(Reason::NothingGranted);
    }
    trace.pass(Rule::Scope, || kept.granted(true).join(" "));
    Ok(kept)
}

/// A patient in context is one whose own record the user could read now; the end of that.
fn in_context(people: &People<'_, '_>, id: &str, trace: &mut Trace) -> Result<Option<u64>, Stop> {
    if !is_id(id) {
        trace.fail(Rule::LaunchPatient, || String::from(Reason::LaunchPatientInvalid.code()));
        return Err(Reason::LaunchPatientInvalid.into());
    }
    Ok(people.standing(id, false, trace)?.end_ms)
}

/// What lacks facts on either side asks for all of them; who asks comes first.
fn both<A, B>(asks: Result<A, Stop>, then: Result<B, Stop>) -> Result<(A, B), Stop> {
    match (asks, then) {
        (Err(Stop::Needs(keys)), Err(Stop::Needs(more))) => {
            let mut all = Failures::default();
            [keys, more].into_iter().for_each(|keys| all.add(Stop::Needs(keys)));
            Err(all.into_stop(Reason::FactMissing))
        }
        // SECURITY: a verdict reached without knowing who asks is none.
        (asks, then) => Ok((asks?, then?)),
    }
}

fn granted(kept: &Kept<'_>, patient: Option<&str>, expires_at_ms: Option<u64>) -> GrantOutcome {
    let scope = kept.granted(patient.is_some()).join(" ");
    GrantOutcome::Grant { scope, patient: patient.map(ToString::to_string), expires_at_ms }
}

/// Whom the user may choose from, each by the id the chart has now: two that were merged are one.
fn choose(people: &People<'_, '_>, circle: Circle) -> Result<GrantOutcome, Stop> {
    let Circle::Patients(reached) = circle else {
        return Ok(GrantOutcome::Choose { patients: Vec::new(), more: true });
    };
    let mut patients = reached.iter().map(|(id, _)| people.called(id)).collect::<Result<Vec<_>, _>>()?;
    patients.sort_unstable();
    patients.dedup();
    match patients.is_empty() {
        true => Err(Reason::NoPatientInReach.into()),
        false => Ok(GrantOutcome::Choose { patients, more: false }),
    }
}

/// The question whether a user reaches a patient, as the rules of access read it.
fn as_read<'a>(asked: &GrantRequest<'a>) -> Request<'a> {
    let subject = Subject {
        kind: asked.kind,
        user: asked.user,
        client: asked.client,
        scope: asked.scope,
        patient: asked.patient,
        encounter: None,
    };
    Request {
        fhir_version: asked.fhir_version,
        base: asked.base,
        now_ms: asked.now_ms,
        facts: asked.facts.clone(),
        facts_final: asked.facts_final,
        settings: asked.settings,
        explain: asked.explain,
        ..Request::read(subject, "Patient", asked.patient)
    }
}

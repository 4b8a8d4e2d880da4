//! Which scopes an app may hold for a user: asked when it is approved, when its code is exchanged, at every refresh.
//!
//! A grant says what, never who: whom a token reaches is judged at each request anew. What is decided here is that
//! client and user may act at all, that the patient in context is one the user reaches, and that nothing is granted
//! that no request could be permitted by.
//!
//! INVARIANT: what is granted are tokens of what was asked, spelled and ordered as they were.

use alloc::string::String;
use alloc::vec::Vec;

use crate::access::people::People;
use crate::access::reach::{Circle, Stop};
use crate::access::subject;
use crate::reason::Reason;
use crate::reference::is_id;
use crate::rule::{Rule, Trace};
use crate::scope::{Context, grantable, has_plain};
use crate::settings::Settings;
use crate::tables::{Version, version};
use crate::types::{Fact, Interaction, Request, Subject, SubjectKind, TraceStep};

/// Patients listed to choose from; beyond these one has to be named.
const CHOICES_MAX: usize = 100;

/// `grant.request`
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "documented in wit/grant.wit")]
pub struct GrantRequest<'a> {
    pub fhir_version: &'a str,
    pub base: &'a str,
    pub now_ms: u64,
    pub kind: SubjectKind,
    pub user: &'a str,
    pub client: &'a str,
    pub scope: &'a str,
    pub patient: Option<&'a str>,
    pub facts: Vec<Fact<'a>>,
    pub facts_final: bool,
    pub settings: &'a [u8],
    pub explain: bool,
}

/// What is decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrantOutcome {
    /// this much is granted
    Grant {
        /// some of the scopes asked for
        scope: String,
        /// the patient in context
        patient: Option<String>,
        /// when the first thing it rests on ends
        expires_at_ms: Option<u64>,
    },
    /// a patient has to be named
    Choose {
        /// whom the user may choose from
        patients: Vec<String>,
        /// there are more than can be listed
        more: bool,
    },
    /// nothing
    Deny {
        /// which rule refuses
        reason: Reason,
    },
    /// ask again with these facts
    Needs(Vec<String>),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantDecision {
    /// what is decided
    pub outcome: GrantOutcome,
    /// the rules in the order walked; empty unless explained
    pub trace: Vec<TraceStep>,
}

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
    let settings = Settings::parse(asked.settings).map_err(|_| Reason::SettingsInvalid)?;
    let version = version(asked.fhir_version).ok_or(Reason::FhirVersionUnsupported)?;
    let request = as_read(asked);
    // SECURITY: a client without a user has no user who could approve anything.
    if asked.kind == SubjectKind::System {
        return Err(Reason::SystemNotEnabled.into());
    }
    subject::check(&request.subject, &settings)?;
    let kept = Kept::of(asked.scope, version);
    trace.pass(Rule::Scope, || kept.tokens.join(" "));
    let mut people = People::new(&request, &settings);
    let asks = people.who_asks(trace);
    if let Err(Stop::Deny(reason)) = asks {
        return Err(reason.into());
    }
    let patient = asked.patient.filter(|_| kept.in_context);
    let standing = match patient {
        Some(id) if !is_id(id) => return Err(Reason::LaunchPatientInvalid.into()),
        Some(id) => Some(people.standing(id, false, trace)),
        None if kept.needs_patient => {
            let circle = people.circle(CHOICES_MAX, trace);
            asks?;
            return choose(circle?);
        }
        None => None,
    };
    let (end_ms, standing) = match (asks, standing) {
        (Err(Stop::Needs(keys)), Some(Err(Stop::Needs(more)))) => return Err(Stop::Needs([keys, more].concat())),
        (asks, standing) => (asks?, standing.transpose()?),
    };
    let tokens = kept.granted(patient.is_some());
    // What tells nothing but who somebody is is worth something only to an app that asks who they are.
    if !tokens.iter().any(|token| *token == "openid" || grantable(token, version).is_some()) {
        return Err(Reason::NothingGranted.into());
    }
    let ends = standing.and_then(|standing| standing.end_ms);
    Ok(GrantOutcome::Grant {
        scope: tokens.join(" "),
        patient: patient.map(ToString::to_string),
        expires_at_ms: end_ms.into_iter().chain(ends).min(),
    })
}

fn choose(circle: Circle) -> Result<GrantOutcome, Stop> {
    match circle {
        Circle::Patients(patients) if patients.is_empty() => Err(Reason::NoRelationship.into()),
        Circle::Patients(patients) => {
            Ok(GrantOutcome::Choose { patients: patients.into_iter().map(|(id, _)| id).collect(), more: false })
        }
        Circle::Unbounded => Ok(GrantOutcome::Choose { patients: Vec::new(), more: true }),
    }
}

/// The tokens that can be granted at all.
struct Kept<'a> {
    tokens: Vec<&'a str>,
    /// some speak of one patient's records, or ask who the patient is
    needs_patient: bool,
    /// a patient may be in context
    in_context: bool,
}

impl<'a> Kept<'a> {
    fn of(scope: &'a str, version: &'static Version) -> Self {
        let mut tokens: Vec<&str> = Vec::new();
        for token in scope.split(' ').filter(|token| can_be_granted(token, scope, version)) {
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        let of_patient = |token: &&str| grantable(token, version) == Some(Context::Patient);
        let needs_patient = tokens.iter().any(|token| of_patient(token) || *token == "launch/patient");
        let in_context = needs_patient || tokens.contains(&"launch");
        Self { tokens, needs_patient, in_context }
    }

    /// Those that go with a patient in context, or without one: an encounter is somebody's.
    fn granted(&self, has_patient: bool) -> Vec<&'a str> {
        let fits = |token: &&&str| has_patient || !token.starts_with("launch/");
        self.tokens.iter().filter(fits).copied().collect()
    }
}

/// Whether a token means something here. What does not is left out, never repaired.
fn can_be_granted(token: &str, scope: &str, version: &'static Version) -> bool {
    match token {
        "openid" | "launch" | "offline_access" | "online_access" => true,
        "fhirUser" | "profile" => has_plain(scope, "openid"),
        _ if token.starts_with("launch/") => is_launch(token),
        _ if token.starts_with("__") => token.len() > 2 && token.bytes().all(|b| b.is_ascii_graphic()),
        // SECURITY: `system/` speaks of a client's own rights, and no user can give those away.
        _ => grantable(token, version).is_some_and(|context| context != Context::System),
    }
}

/// `launch/encounter`, with a role perhaps.
fn is_launch(token: &str) -> bool {
    let kind = token.strip_prefix("launch/").unwrap_or_default();
    let (kind, role) = kind.split_once("?role=").unwrap_or((kind, "x"));
    !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase()) && !role.is_empty()
}

/// The question whether a user reaches a patient, as the rules of access read it.
fn as_read<'a>(asked: &GrantRequest<'a>) -> Request<'a> {
    Request {
        fhir_version: asked.fhir_version,
        base: asked.base,
        now_ms: asked.now_ms,
        subject: Subject {
            kind: asked.kind,
            user: asked.user,
            client: asked.client,
            scope: asked.scope,
            patient: asked.patient,
            encounter: None,
        },
        interaction: Interaction::Read,
        resource_type: "Patient",
        id: asked.patient,
        version: None,
        operation: None,
        compartment: None,
        parameters: Vec::new(),
        conditional: false,
        returns_representation: false,
        body: None,
        stored: Vec::new(),
        facts: asked.facts.clone(),
        facts_final: asked.facts_final,
        obligations: Vec::new(),
        settings: asked.settings,
        explain: asked.explain,
    }
}

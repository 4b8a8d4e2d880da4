//! Which letters an interaction needs (SMART App Launch 2.2, "Scopes for requesting FHIR Resources"),
//! and in which form it is judged.

use crate::reason::Reason;
use crate::scope::Letters;
use crate::types::{Interaction, Request};

/// How a request is judged once its scopes are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// one stored resource, or one version of it
    Instance,
    /// one resource through all its versions
    InstanceHistory,
    /// one patient and everything about them
    Everything,
    /// rows of one type
    Search,
    /// changes of a type, or of everything
    History,
    /// no resource of anybody: terminology
    Lookup,
    Create,
    Update,
    Delete,
}

/// What a request comes down to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Action {
    pub(crate) form: Form,
    /// every one of these has to be granted
    pub(crate) letters: Letters,
    /// the one by which content is judged
    pub(crate) letter: Letters,
}

impl Action {
    pub(crate) fn of(form: Form, letter: Letters) -> Self {
        Self { form, letters: letter, letter }
    }
}

/// The letters and the form of a request.
pub(crate) fn action(request: &Request<'_>) -> Result<Action, Reason> {
    use Interaction as I;
    let mut action = match request.interaction {
        I::Read | I::Vread => Action::of(Form::Instance, Letters::R),
        I::HistoryInstance => Action::of(Form::InstanceHistory, Letters::R),
        I::HistoryType | I::HistorySystem => Action::of(Form::History, Letters::S),
        I::SearchType => Action::of(Form::Search, Letters::S),
        I::Create => Action::of(Form::Create, Letters::C),
        I::Update | I::Patch => Action::of(Form::Update, Letters::U),
        I::Delete => Action::of(Form::Delete, Letters::D),
        I::Operation => operation(request)?,
        I::SearchSystem | I::Batch | I::Transaction | I::Capabilities => return Err(Reason::InteractionUnsupported),
    };
    if request.conditional {
        // The criteria search before anything is written.
        action.letters = action.letters.with(Letters::S);
    }
    has_its_members(request, action.form)?;
    Ok(action)
}

/// Operations this policy knows; every other one is refused. SMART defines none, so each is read as
/// the interactions it comes down to.
fn operation(request: &Request<'_>) -> Result<Action, Reason> {
    let name = request.operation.unwrap_or_default();
    let at_instance = request.id.is_some();
    let action = match (request.resource_type, at_instance, name) {
        ("Patient", true, "everything") => Action::of(Form::Everything, Letters::R),
        (_, true, "meta") if request.body.is_none() => Action::of(Form::Instance, Letters::R),
        ("Observation", false, "lastn") | ("DocumentReference", false, "docref") => {
            Action::of(Form::Search, Letters::S)
        }
        ("ValueSet", _, "expand" | "validate-code")
        | ("CodeSystem", _, "lookup" | "validate-code" | "subsumes")
        | ("ConceptMap", _, "translate") => Action::of(Form::Lookup, Letters::R),
        _ => return Err(Reason::OperationUnsupported),
    };
    // Parameters in a body are not judged, so a search by operation has to carry them in its URL.
    if matches!(action.form, Form::Search | Form::Everything) && request.body.is_some() {
        return Err(Reason::OperationUnsupported);
    }
    Ok(action)
}

/// The parser upstream gives every form its members; a request without them is not judged.
fn has_its_members(request: &Request<'_>, form: Form) -> Result<(), Reason> {
    let has_target = request.id.is_some() || request.conditional;
    let complete = match form {
        Form::Instance => {
            request.id.is_some() && (request.interaction != Interaction::Vread || request.version.is_some())
        }
        Form::InstanceHistory | Form::Everything => request.id.is_some(),
        Form::Create => request.body.is_some(),
        Form::Update => request.body.is_some() && has_target,
        Form::Delete => has_target,
        Form::Search | Form::History | Form::Lookup => true,
    };
    let typed = request.interaction == Interaction::HistorySystem || !request.resource_type.is_empty();
    if complete && typed { Ok(()) } else { Err(Reason::RequestMalformed) }
}

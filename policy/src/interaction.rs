//! Which letters an interaction needs (SMART App Launch 2.2, "Scopes for requesting FHIR Resources"),
//! and in which form it is judged.

use crate::json::Json;
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
    /// one resource and what it refers to
    Document,
    /// rows of one type
    Search,
    /// rows of several types
    SearchTypes,
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
        I::SearchSystem => Action::of(Form::SearchTypes, Letters::S),
        I::Batch | I::Transaction | I::Capabilities => return Err(Reason::InteractionUnsupported),
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
///
/// | operation | on | comes down to |
/// | --- | --- | --- |
/// | `$everything` | a Patient | reading the chart, each resource of the answer judged |
/// | `$everything` | an Encounter | reading it, each resource of the answer judged |
/// | `$document` | a Composition | reading it, each resource of the answer judged |
/// | `$meta` | any resource | reading it |
/// | `$lastn`, `$docref` | Observation, DocumentReference | a search of the type, by `GET` |
/// | `$validate` | a type | creating what is sent, though nothing comes of it |
/// | `$expand`, `$validate-code`, `$lookup`, `$subsumes`, `$translate` | terminology | reading the type |
///
/// Known and refused, because what they touch or tell cannot be judged by the resource they stand behind:
/// `$everything` of every Patient, `$export` (its files are handed out later, to whoever asks), `$graphql`, `$match`
/// and `$member-match` (they tell who exists), `$merge` and `$meta-add` and `$meta-delete` (they change who may see
/// what), `$diff`, `$stats`, `$apply`, `$evaluate-measure`, `$process-message`, `$populate`, `$convert`.
fn operation(request: &Request<'_>) -> Result<Action, Reason> {
    let name = request.operation.unwrap_or_default();
    let at_instance = request.id.is_some();
    let action = match (request.resource_type, at_instance, name) {
        ("Patient", true, "everything") => Action::of(Form::Everything, Letters::R),
        ("Encounter", true, "everything") | ("Composition", true, "document") => Action::of(Form::Document, Letters::R),
        (_, true, "meta") if request.body.is_none() => Action::of(Form::Instance, Letters::R),
        ("Observation", false, "lastn") | ("DocumentReference", false, "docref") => {
            Action::of(Form::Search, Letters::S)
        }
        // A type that is known is asked about; a resource in a Parameters is not of that type, and so refused.
        (on, false, "validate") if !on.is_empty() && request.body.is_some() => Action::of(Form::Create, Letters::C),
        ("ValueSet", _, "expand" | "validate-code")
        | ("CodeSystem", _, "lookup" | "validate-code" | "subsumes")
        | ("ConceptMap", _, "translate") => Action::of(Form::Lookup, Letters::R),
        _ => return Err(Reason::OperationUnsupported),
    };
    // Parameters in a body are not judged, so a search by operation has to carry them in its URL.
    if matches!(action.form, Form::Search | Form::Everything | Form::Document) && request.body.is_some() {
        return Err(Reason::OperationUnsupported);
    }
    if action.form == Form::Lookup && request.body.is_some_and(|body| !asks_of(body, request.resource_type)) {
        return Err(Reason::OperationUnsupported);
    }
    Ok(action)
}

/// Whether what is sent along is the parameters of an operation, or the one that is a resource of its type.
///
/// SECURITY: anything else could only be meant for something else than a lookup.
fn asks_of(body: &[u8], resource_type: &str) -> bool {
    let Ok(json) = Json::parse(body) else { return false };
    let sent = json.root().get_string("resourceType").ok().flatten();
    sent.is_some_and(|sent| sent == "Parameters" || sent == resource_type)
}

/// The parser upstream gives every form its members; a request without them is not judged.
fn has_its_members(request: &Request<'_>, form: Form) -> Result<(), Reason> {
    let has_target = request.id.is_some() || request.conditional;
    let complete = match form {
        Form::Instance => {
            request.id.is_some() && (request.interaction != Interaction::Vread || request.version.is_some())
        }
        Form::InstanceHistory | Form::Everything | Form::Document => request.id.is_some(),
        Form::Create => request.body.is_some(),
        // The result of a patch is not there before what is stored is.
        Form::Update => (request.body.is_some() || request.interaction == Interaction::Patch) && has_target,
        Form::Delete => has_target,
        Form::Search | Form::SearchTypes | Form::History | Form::Lookup => true,
    };
    let whole_server = matches!(request.interaction, Interaction::HistorySystem | Interaction::SearchSystem);
    let typed = whole_server || !request.resource_type.is_empty();
    if complete && typed { Ok(()) } else { Err(Reason::RequestMalformed) }
}

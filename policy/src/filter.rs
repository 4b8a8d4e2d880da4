//! What may leave: the resources of an answer, each judged as a read of it.
//!
//! INVARIANT: a resource is kept exactly when [`crate::decide`] would permit a read of it, by the letter that fits how
//! it came into the answer: both walk the same way. No resource speaks for another, but for the targets of a Provenance.

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use crate::access::people::People;
use crate::access::provenance::{Beside, PROVENANCE, targets};
use crate::access::reach::{Failures, Stop};
use crate::decide::{Walk, prepare};
use crate::interaction::{Form, action};
use crate::json::{Json, Malformed};
use crate::reason::Reason;
use crate::reference::{is_id, is_type};
use crate::rule::Trace;
use crate::scope::Letters;
use crate::types::{FilterOutcome, Item, ItemMode, Request, SubjectKind};

/// Facts that are asked for one by one; where it takes more, the user's whole list is asked for.
const KEYS_MAX: usize = 100;
/// Targets of Provenances that are followed in one answer.
const TARGETS_MAX: usize = 512;

/// Judge the resources of an answer to a request.
pub fn filter<'a>(request: &Request<'a>, items: &[Item<'a>]) -> FilterOutcome {
    match judged(request, items) {
        Ok(verdicts) => FilterOutcome::Verdicts(verdicts),
        Err(Stop::Deny(reason)) => FilterOutcome::Deny(reason),
        Err(Stop::Needs(keys)) => FilterOutcome::Needs(keys),
    }
}

fn judged<'a>(request: &Request<'a>, items: &[Item<'a>]) -> Result<Vec<Option<Reason>>, Stop> {
    let mut trace = Trace::new(false);
    // What is public is no resource of anybody, and has no answer to look at.
    let (version, settings) = prepare(request, &mut trace)?.ok_or(Reason::InteractionUnsupported)?;
    let texts: Vec<Result<Json<'a>, Malformed>> = items.iter().map(|item| Json::parse(item.content)).collect();
    let reads: Vec<Result<Request<'a>, Reason>> = texts.iter().map(|text| read_of(request, text)).collect();
    let beside: Vec<Beside<'a>> = reads.iter().zip(items).filter_map(|(read, item)| beside(read, item)).collect();
    let mut left = TARGETS_MAX;
    let targets: Vec<Option<Vec<Request<'a>>>> =
        reads.iter().zip(items).map(|(read, item)| targets_of(read, item, &mut left)).collect();
    let letter = letter_of(request);
    let mut people = People::new(request, &settings);
    let mut needs = Failures::default();
    match people.who_asks(&mut trace) {
        Ok(_) => {}
        Err(deny @ Stop::Deny(_)) => return Err(deny),
        Err(needed) => needs.add(needed),
    }
    people.use_whole_list();
    let mut verdicts = Vec::with_capacity(items.len());
    for (((item, text), read), targets) in items.iter().zip(&texts).zip(&reads).zip(&targets) {
        let read = match read {
            Ok(read) => read,
            Err(reason) => {
                verdicts.push(Some(*reason));
                continue;
            }
        };
        let (at_hand, parsed) = (Some(item.content), text.as_ref().ok());
        let (settings, beside, targets) = (&settings, &*beside, targets.as_deref());
        let mut walk =
            Walk { request: read, version, settings, people, of_types: &[], at_hand, parsed, beside, targets, trace };
        let verdict = walk.read(item.letter(letter));
        Walk { people, trace, .. } = walk;
        match verdict {
            Ok(_) => verdicts.push(None),
            Err(Stop::Deny(reason)) => verdicts.push(Some(reason)),
            Err(needed) => needs.add(needed),
        }
    }
    match needs.into_stop(Reason::FactMissing) {
        Stop::Needs(keys) => Err(Stop::Needs(together(keys, request))),
        Stop::Deny(_) => Ok(verdicts),
    }
}

/// The read that stands for an item: of the resource it says it is.
///
/// SECURITY: a type or an id that is spelt with escapes is none; nobody writes one so.
fn read_of<'a>(request: &Request<'a>, text: &Result<Json<'a>, Malformed>) -> Result<Request<'a>, Reason> {
    let json = text.as_ref().map_err(|_| Reason::ContentMalformed)?;
    let text = |name| match json.root().get_string(name) {
        Ok(Some(Cow::Borrowed(text))) => Ok(text),
        _ => Err(Reason::ContentMalformed),
    };
    let (resource_type, id) = (text("resourceType")?, text("id")?);
    if !is_type(resource_type) || !is_id(id) {
        return Err(Reason::ContentMalformed);
    }
    Ok(request.reading(resource_type, id))
}

/// What an item is to the others of its answer.
fn beside<'a>(read: &Result<Request<'a>, Reason>, item: &Item<'a>) -> Option<Beside<'a>> {
    let read = read.as_ref().ok()?;
    Some(Beside { resource_type: read.resource_type, id: read.id?, content: Some(item.content) })
}

/// The targets of an item that is a Provenance, as many as are followed in all.
fn targets_of<'a>(read: &Result<Request<'a>, Reason>, item: &Item<'a>, left: &mut usize) -> Option<Vec<Request<'a>>> {
    let Some(read) = read.as_ref().ok().filter(|read| read.resource_type == PROVENANCE) else {
        return Some(Vec::new());
    };
    let targets = targets(read, item.content)?;
    *left = left.checked_sub(targets.len())?;
    Some(targets)
}

/// The letter by which a request reads what it asks for.
fn letter_of(request: &Request<'_>) -> Letters {
    match action(request) {
        Ok(action) if matches!(action.form, Form::Search | Form::SearchTypes | Form::History) => Letters::S,
        _ => Letters::R,
    }
}

impl Item<'_> {
    /// Rows of a search are searched for; what comes along with them is read.
    fn letter(&self, of_request: Letters) -> Letters {
        match self.mode {
            ItemMode::Match | ItemMode::History => of_request,
            ItemMode::Include => Letters::R,
        }
    }
}

/// Facts about very many patients are asked for as the lists they stand on.
fn together(mut keys: Vec<String>, request: &Request<'_>) -> Vec<String> {
    if keys.len() <= KEYS_MAX {
        return keys;
    }
    let lists = [format!("relationships/{}", request.subject.user), format!("patients/{}", request.subject.user)];
    let at_hand = |key: &String| request.facts.iter().any(|fact| fact.key == *key);
    if request.subject.kind == SubjectKind::System || lists.iter().all(at_hand) {
        keys.truncate(KEYS_MAX);
        return keys;
    }
    let about_people = |key: &String| key.starts_with("patient/") || key.starts_with("relationships/");
    keys.retain(|key| !about_people(key));
    keys.truncate(KEYS_MAX - lists.len());
    keys.extend(lists);
    keys
}

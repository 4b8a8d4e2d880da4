//! The patients a request speaks of, found without reading it: a guess at what the policy will ask for.
//!
//! What is found here decides nothing. A patient too many costs a look into the directory, one too few a second
//! policy call.

use chartgate_model::{FhirRequest, Item, Stored};

use crate::store::validate::is_id;

/// Patients that are found at the most: a text that names more is about something else.
const NAMED_MAX: usize = 8;
/// The same for the resources of an answer, of one policy call.
const OF_ITEMS_MAX: usize = 64;
const REFERENCE: &str = "Patient/";

/// Ids of the patients in the URL, the parameters, the body and the stored content, in this order, each once.
pub(super) fn named_patients<'a>(asked: &'a FhirRequest, stored: &'a [Stored]) -> Vec<&'a str> {
    let mut found = Vec::new();
    if let Some(id) = asked.id.as_deref().filter(|_| asked.resource_type == "Patient") {
        add(&mut found, id);
    }
    if let Some((_, id)) = asked.compartment.as_ref().filter(|(resource_type, _)| resource_type == "Patient") {
        add(&mut found, id);
    }
    for parameter in &asked.parameters {
        let is_bare = matches!(parameter.name.as_str(), "patient" | "subject" | "beneficiary" | "actor")
            || parameter.name.ends_with(":Patient")
            || (parameter.name == "_id" && asked.resource_type == "Patient");
        if is_bare {
            parameter.value.split(',').for_each(|id| add(&mut found, id));
        }
        in_text(&mut found, &parameter.value);
    }
    let stored = stored.iter().filter_map(|stored| stored.content.as_deref());
    for content in asked.body.as_deref().into_iter().chain(stored) {
        in_text(&mut found, std::str::from_utf8(content).unwrap_or_default());
    }
    found
}

/// Ids of patients the resources of an answer speak of, each once, as many as are worth asking for one by one.
pub(super) fn patients_of_items<'a>(items: &[Item<'a>]) -> Vec<&'a str> {
    let mut found: Vec<&'a str> = Vec::new();
    for item in items {
        let text = std::str::from_utf8(item.content).unwrap_or_default();
        let mut of_item = Vec::new();
        if text.contains("\"Patient\"") {
            of_item.extend(own_id(text));
        }
        in_text(&mut of_item, text);
        for id in of_item {
            if found.len() >= OF_ITEMS_MAX {
                return found;
            }
            if !found.contains(&id) {
                found.push(id);
            }
        }
    }
    found
}

/// The id of a resource, as far as the eye can tell.
fn own_id(text: &str) -> Option<&str> {
    #[derive(serde::Deserialize)]
    struct Own<'t> {
        #[serde(borrow)]
        id: Option<&'t str>,
    }
    serde_json::from_str::<Own<'_>>(text).ok()?.id.filter(|id| is_id(id))
}

fn in_text<'a>(found: &mut Vec<&'a str>, text: &'a str) {
    // JSON may write a slash as `\/`.
    let references = [REFERENCE, r"Patient\/"].into_iter();
    let found_at = references.flat_map(|start| text.match_indices(start).map(|(at, start)| at + start.len()));
    for at in found_at {
        if found.len() >= NAMED_MAX {
            return;
        }
        let id = text.get(at..).unwrap_or_default();
        let end = id.find(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.').unwrap_or(id.len());
        add(found, id.get(..end).unwrap_or_default());
    }
}

fn add<'a>(found: &mut Vec<&'a str>, id: &'a str) {
    if found.len() < NAMED_MAX && is_id(id) && !found.contains(&id) {
        found.push(id);
    }
}

#[cfg(test)]
#[path = "named_tests.rs"]
mod tests;

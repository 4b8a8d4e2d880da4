//! Several searches made one answer: each resource once, whichever search found it.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

/// Entries of all searches together.
const ENTRIES_MAX: usize = 5_000;

/// What several searches found, as far as they were run.
#[derive(Default)]
pub(crate) struct Union {
    entries: Vec<Box<RawValue>>,
    /// type and id of a resource: its place, and whether it was asked for or came along
    places: HashMap<(String, String), (usize, bool)>,
    bytes: usize,
    /// rows of all searches together; nothing where one of them does not say
    total: Option<u64>,
    begun: Begun,
}

/// How far the search under way is read.
#[derive(Default, PartialEq)]
enum Begun {
    #[default]
    Nothing,
    First,
    Further,
}

/// Why they make no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnionError {
    #[error("one of the answers is no searchset")]
    NoBundle,
    #[error("the searches find more than one answer can hold: ask for less")]
    TooMuch,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle {
    resource_type: String,
    r#type: String,
    total: Option<u64>,
    #[serde(default)]
    link: Vec<Link>,
    #[serde(default)]
    entry: Vec<Box<RawValue>>,
}

#[derive(Deserialize)]
struct Link {
    relation: String,
    url: String,
}

#[derive(Deserialize)]
struct Entry {
    resource: Option<Resource>,
    search: Option<Search>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Resource {
    resource_type: String,
    #[serde(default)]
    id: String,
}

#[derive(Deserialize)]
struct Search {
    mode: Option<String>,
}

impl Union {
    /// Begin with another search.
    pub(crate) fn begin(&mut self) {
        if self.begun == Begun::Nothing {
            self.total = Some(0);
        }
        self.begun = Begun::First;
    }

    /// Take in a page of one search; answers the link to its next, where there is one. `most_bytes` is for all of them.
    pub(crate) fn add(&mut self, page: &[u8], most_bytes: usize) -> Result<Option<String>, UnionError> {
        let bundle: Bundle = serde_json::from_slice(page).map_err(|_| UnionError::NoBundle)?;
        if bundle.resource_type != "Bundle" || bundle.r#type != "searchset" {
            return Err(UnionError::NoBundle);
        }
        if self.begun != Begun::Further {
            self.total = self.total.zip(bundle.total).map(|(all, more)| all.saturating_add(more));
            self.begun = Begun::Further;
        }
        for raw in bundle.entry {
            let entry: Entry = serde_json::from_str(raw.get()).map_err(|_| UnionError::NoBundle)?;
            let Some(resource) = entry.resource else { continue };
            // Words of one search about itself say nothing of all of them.
            if resource.resource_type == "OperationOutcome" {
                continue;
            }
            let is_match = entry.search.and_then(|search| search.mode).is_none_or(|mode| mode == "match");
            self.put((resource.resource_type, resource.id), is_match, raw);
        }
        if self.entries.len() > ENTRIES_MAX || self.bytes > most_bytes {
            return Err(UnionError::TooMuch);
        }
        Ok(bundle.link.into_iter().find(|link| link.relation == "next").map(|link| link.url))
    }

    fn put(&mut self, key: (String, String), is_match: bool, raw: Box<RawValue>) {
        match self.places.get_mut(&key) {
            Some((_, true)) => {}
            Some((_, false)) if !is_match => {}
            Some((place, known)) => {
                *known = true;
                if let Some(entry) = self.entries.get_mut(*place) {
                    *entry = raw;
                }
            }
            None => {
                self.bytes += raw.get().len();
                self.places.insert(key, (self.entries.len(), is_match));
                self.entries.push(raw);
            }
        }
    }

    /// One searchset of it all, with their number where no row can be found by two of the searches.
    pub(crate) fn bundle(self, counts: bool) -> Vec<u8> {
        let mut bundle = match self.total.filter(|_| counts) {
            Some(total) => json!({ "resourceType": "Bundle", "type": "searchset", "total": total }),
            None => json!({ "resourceType": "Bundle", "type": "searchset" }),
        }
        .to_string();
        if !self.entries.is_empty() {
            let entries: Vec<&str> = self.entries.iter().map(|entry| entry.get()).collect();
            bundle.pop();
            bundle.push_str(&format!(",\"entry\":[{}]}}", entries.join(",")));
        }
        bundle.into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn page(entries: &[(&str, &str)], next: Option<&str>) -> Vec<u8> {
        let entry = |(id, mode): &(&str, &str)| json!({ "resource": { "resourceType": "Observation", "id": id }, "search": { "mode": mode } });
        let link: Vec<Value> = next.iter().map(|url| json!({ "relation": "next", "url": url })).collect();
        let entries: Vec<Value> = entries.iter().map(entry).collect();
        json!({ "resourceType": "Bundle", "type": "searchset", "link": link, "entry": entries })
            .to_string()
            .into_bytes()
    }

    #[test]
    fn each_resource_is_there_once_and_as_asked_for_where_it_was() {
        let mut union = Union::default();
        assert_eq!(union.add(&page(&[("1", "match"), ("2", "include")], Some("n")), 10_000), Ok(Some("n".into())));
        assert_eq!(union.add(&page(&[("2", "match"), ("1", "include"), ("3", "match")], None), 10_000), Ok(None));
        let bundle: Value = serde_json::from_slice(&union.bundle(false)).unwrap();
        let told: Vec<_> = bundle["entry"]
            .as_array()
            .unwrap()
            .iter()
            .map(|entry| (entry["resource"]["id"].clone(), entry["search"]["mode"].clone()))
            .collect();
        assert_eq!(told, [("1", "match"), ("2", "match"), ("3", "match")].map(|(id, mode)| (json!(id), json!(mode))));
    }

    #[test]
    fn totals_are_added_up_where_every_search_has_one() {
        let counted = |total: Option<u64>| {
            let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset" });
            if let Some(total) = total {
                bundle["total"] = json!(total);
            }
            bundle.to_string().into_bytes()
        };
        for (totals, wanted) in [([Some(2), Some(3)], Some(5)), ([Some(2), None], None)] {
            let mut union = Union::default();
            for total in totals {
                union.begin();
                union.add(&counted(total), 100).unwrap();
                // A further page says the same number again.
                union.add(&counted(total), 100).unwrap();
            }
            let bundle: Value = serde_json::from_slice(&union.bundle(true)).unwrap();
            assert_eq!(bundle.get("total").and_then(Value::as_u64), wanted);
        }
    }

    #[test]
    fn nothing_found_is_a_bundle_without_entries() {
        let mut union = Union::default();
        assert_eq!(union.add(&page(&[], None), 10), Ok(None));
        assert_eq!(union.bundle(false), br#"{"resourceType":"Bundle","type":"searchset"}"#);
    }

    #[test]
    fn what_is_no_searchset_or_too_much_is_refused() {
        let history = br#"{"resourceType":"Bundle","type":"history"}"#;
        assert_eq!(Union::default().add(history, 10), Err(UnionError::NoBundle));
        assert_eq!(Union::default().add(b"{", 10), Err(UnionError::NoBundle));
        let one = page(&[("1", "match")], None);
        let entry = 73;
        assert!(Union::default().add(&one, entry + 10).is_ok());
        assert_eq!(Union::default().add(&one, 20), Err(UnionError::TooMuch));
    }
}

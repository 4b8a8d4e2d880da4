//! Taking a bundle apart, and putting it together again without what is hidden (FHIR R4, Bundle).
//!
//! SECURITY: what is not known to say nothing of the entries that are gone is left out: totals, signatures, links with
//! the number of the last page, words of the server. Only the members named here are carried over.

use chartgate_model::{Item, ItemMode};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// Members of a bundle that are carried over; `link` and `entry` are made anew.
pub(super) const OF_BUNDLE: [&str; 7] = ["resourceType", "id", "meta", "language", "identifier", "type", "timestamp"];
/// Members of an entry that are carried over; `response` is made anew.
const OF_ENTRY: [&str; 4] = ["fullUrl", "resource", "search", "request"];
/// Members of an entry's response that are carried over.
pub(super) const OF_RESPONSE: [&str; 4] = ["status", "location", "etag", "lastModified"];
/// Links that do not count: that of the last page tells how many there are.
const LINKS: [&str; 5] = ["self", "first", "previous", "prev", "next"];

/// Something that is no bundle this host takes apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct BundleError {
    /// the member at fault, below the bundle; empty for itself
    pub member: String,
    /// what is wrong with it
    pub message: &'static str,
}

pub(super) fn wrong<T>(member: impl Into<String>, message: &'static str) -> Result<T, BundleError> {
    Err(BundleError { member: member.into(), message })
}

/// An object, its members as they are and in their order.
pub(crate) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    pub(crate) fn read(raw: &'a RawValue, member: &str) -> Result<Self, BundleError> {
        match serde_json::from_str(raw.get()) {
            Ok(members) => Ok(members),
            Err(_) => wrong(member, "has to be an object"),
        }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, raw)| *raw)
    }

    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&String, &&'a RawValue)> {
        self.0.iter().map(|(name, raw)| (name, raw))
    }

    /// The same with another value for a member, or without it; one that is not there comes last.
    pub(crate) fn with(mut self, name: &str, value: Option<&'a RawValue>) -> Self {
        let place = self.0.iter().position(|(known, _)| known == name);
        match (place.and_then(|at| self.0.get_mut(at)), value) {
            (Some((_, raw)), Some(value)) => *raw = value,
            (Some(_), None) => self.0.retain(|(known, _)| known != name),
            (None, Some(value)) => self.0.push((name.to_owned(), value)),
            (None, None) => {}
        }
        self
    }

    pub(crate) fn only(self, names: &[&str]) -> Self {
        Self(self.0.into_iter().filter(|(name, _)| names.contains(&name.as_str())).collect())
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Visitor)
    }
}

impl Serialize for Members<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, raw)| (name, raw)))
    }
}

/// The kinds of bundles that answers come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Searchset,
    History,
    Document,
}

/// A bundle that was taken apart.
pub struct Bundle<'a> {
    members: Members<'a>,
    links: Vec<&'a RawValue>,
    entries: Vec<Entry<'a>>,
}

struct Entry<'a> {
    members: Members<'a>,
    response: Option<Members<'a>>,
    content: Content<'a>,
}

enum Content<'a> {
    /// to be judged
    Resource(ItemMode, &'a RawValue),
    /// words of the server about the answer, brought down to what they are about
    Outcome(Value),
    /// no resource to be judged by: a deletion in a history
    Nothing,
}

impl<'a> Bundle<'a> {
    /// Take a bundle apart.
    pub fn read(raw: &'a RawValue) -> Result<Self, BundleError> {
        let members = Members::read(raw, "")?;
        if members.text("resourceType").as_deref() != Some("Bundle") {
            return wrong("resourceType", "has to be `Bundle`");
        }
        let kind = match members.text("type").as_deref() {
            Some("searchset") => Kind::Searchset,
            Some("history") => Kind::History,
            Some("document") => Kind::Document,
            _ => {
                return wrong(
                    "type",
                    "has to be `searchset`, `history`, `document`, `batch-response` or `transaction-response`",
                );
            }
        };
        let list = |name: &str| -> Result<Vec<&'a RawValue>, BundleError> {
            match members.get(name).map(|raw| serde_json::from_str(raw.get())) {
                None => Ok(Vec::new()),
                Some(Ok(list)) => Ok(list),
                Some(Err(_)) => wrong(name, "has to be a list"),
            }
        };
        let entry = |(at, raw): (usize, &'a RawValue)| Entry::read(raw, kind, at);
        let entries = list("entry")?.into_iter().enumerate().map(entry).collect::<Result<_, _>>()?;
        let says_nothing = |raw: &&RawValue| {
            let relation = Members::read(raw, "link").ok().and_then(|link| link.text("relation"));
            relation.is_some_and(|relation| LINKS.contains(&relation.as_str()))
        };
        let links = list("link")?.into_iter().filter(says_nothing).collect();
        Ok(Self { members: members.only(&OF_BUNDLE), links, entries })
    }

    /// The resources to be judged, in order.
    pub fn items(&self) -> Vec<Item<'a>> {
        let item = |entry: &Entry<'a>| match entry.content {
            Content::Resource(mode, raw) => Some(Item { mode, content: raw.get().as_bytes() }),
            Content::Outcome(_) | Content::Nothing => None,
        };
        self.entries.iter().filter_map(item).collect()
    }

    /// Put it together again: with those resources only whose verdict, in the order of [`Self::items`], is to keep
    /// them. Answers the text, and how many entries are gone.
    pub fn without(&self, mut kept: impl Iterator<Item = bool>) -> Result<(Box<RawValue>, usize), serde_json::Error> {
        let stays = |entry: &&Entry<'a>| match &entry.content {
            Content::Resource(..) => kept.next().unwrap_or(false),
            Content::Outcome(_) => true,
            Content::Nothing => false,
        };
        let entries: Vec<&Entry<'a>> = self.entries.iter().filter(stays).collect();
        let gone = self.entries.len() - entries.len();
        let written = serde_json::value::to_raw_value(&Written { of: self, entries: &entries })?;
        Ok((written, gone))
    }
}

/// A bundle with some of its entries; FHIR knows no empty lists.
struct Written<'w, 'a> {
    of: &'w Bundle<'a>,
    entries: &'w [&'w Entry<'a>],
}

impl Serialize for Written<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, raw) in &self.of.members.0 {
            map.serialize_entry(name, raw)?;
        }
        if !self.of.links.is_empty() {
            map.serialize_entry("link", &self.of.links)?;
        }
        if !self.entries.is_empty() {
            map.serialize_entry("entry", self.entries)?;
        }
        map.end()
    }
}

impl<'a> Entry<'a> {
    fn read(raw: &'a RawValue, kind: Kind, at: usize) -> Result<Self, BundleError> {
        let member = |name: &str| format!("entry[{at}]{name}");
        let members = Members::read(raw, &member(""))?;
        let content = match members.get("resource") {
            None => Content::Nothing,
            Some(resource) => {
                let about = Members::read(resource, &member(".resource"))?;
                if about.text("resourceType").as_deref() == Some("OperationOutcome") {
                    Content::Outcome(reduced(resource))
                } else {
                    Content::Resource(mode(&members, kind, &member(".search"))?, resource)
                }
            }
        };
        let response = members.get("response").map(|raw| Members::read(raw, &member(".response"))).transpose()?;
        let response = response.map(|response| response.only(&OF_RESPONSE));
        Ok(Self { members: members.only(&OF_ENTRY), response, content })
    }
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, raw) in &self.members.0 {
            match &self.content {
                Content::Outcome(outcome) if name == "resource" => map.serialize_entry(name, outcome)?,
                _ => map.serialize_entry(name, raw)?,
            }
        }
        if let Some(response) = &self.response {
            map.serialize_entry("response", response)?;
        }
        map.end()
    }
}

/// What came along with what was asked for is told apart by the server; where it does not say, a row was asked for.
fn mode(entry: &Members<'_>, kind: Kind, member: &str) -> Result<ItemMode, BundleError> {
    let said = entry.get("search").map(|raw| Members::read(raw, member)).transpose()?;
    let said = said.and_then(|search| search.text("mode"));
    Ok(match (kind, said.as_deref()) {
        (Kind::History, _) => ItemMode::History,
        (Kind::Searchset, None | Some("match")) => ItemMode::Match,
        (Kind::Searchset | Kind::Document, _) => ItemMode::Include,
    })
}

/// How bad, and of which kind: an outcome's words may name what is hidden.
fn reduced(outcome: &RawValue) -> Value {
    let read: Value = serde_json::from_str(outcome.get()).unwrap_or_default();
    let issues = read.get("issue").and_then(Value::as_array).into_iter().flatten();
    let issue = |issue: &Value| {
        let kept =
            ["severity", "code"].into_iter().filter_map(|name| Some((name.to_owned(), issue.get(name)?.clone())));
        let kept: Map<String, Value> = kept.filter(|(_, value)| value.is_string()).collect();
        Value::Object(kept)
    };
    serde_json::json!({ "resourceType": "OperationOutcome", "issue": issues.map(issue).collect::<Vec<_>>() })
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;

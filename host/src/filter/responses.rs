//! The answer to a batch or a transaction: taken apart, and put together again with what is left of each entry.

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::bundle::{BundleError, Members, OF_BUNDLE, OF_RESPONSE, wrong};

/// A bundle of answers, one for each entry of the request.
pub struct Responses<'a> {
    members: Members<'a>,
    entries: Vec<Response<'a>>,
}

struct Response<'a> {
    full_url: Option<&'a RawValue>,
    resource: Option<&'a RawValue>,
    response: Option<Members<'a>>,
}

/// What is left of one answer.
pub enum Left {
    /// that something was done, and nothing of what was answered with
    Done,
    /// this resource or bundle
    Content(Box<RawValue>),
    /// what the client is told in its place: a status, and an OperationOutcome
    Denied(u16, &'static RawValue),
}

impl<'a> Responses<'a> {
    /// Take it apart; `None` for a bundle that answers no batch and no transaction.
    pub fn read(raw: &'a RawValue) -> Result<Option<Self>, BundleError> {
        let members = Members::read(raw, "")?;
        if members.text("resourceType").as_deref() != Some("Bundle") {
            return wrong("resourceType", "has to be `Bundle`");
        }
        if !matches!(members.text("type").as_deref(), Some("batch-response" | "transaction-response")) {
            return Ok(None);
        }
        let list = members.get("entry").map(|raw| serde_json::from_str::<Vec<&'a RawValue>>(raw.get()));
        let Ok(list) = list.transpose() else { return wrong("entry", "has to be a list") };
        let entry = |(at, raw): (usize, &'a RawValue)| {
            let member = |name: &str| format!("entry[{at}]{name}");
            let members = Members::read(raw, &member(""))?;
            let response = members.get("response").map(|raw| Members::read(raw, &member(".response"))).transpose()?;
            Ok(Response {
                full_url: members.get("fullUrl"),
                resource: members.get("resource"),
                response: response.map(|response| response.only(&OF_RESPONSE)),
            })
        };
        let entries = list.unwrap_or_default().into_iter().enumerate().map(entry).collect::<Result<_, _>>()?;
        Ok(Some(Self { members: members.only(&OF_BUNDLE), entries }))
    }

    /// What each entry was answered with.
    pub fn resources(&self) -> impl ExactSizeIterator<Item = Option<&'a RawValue>> {
        self.entries.iter().map(|entry| entry.resource)
    }

    /// Put it together again with what is left of each entry, in order.
    pub fn with(&self, left: &[Left]) -> Result<Box<RawValue>, serde_json::Error> {
        serde_json::value::to_raw_value(&Written { of: self, left })
    }
}

struct Written<'w, 'a> {
    of: &'w Responses<'a>,
    left: &'w [Left],
}

impl Serialize for Written<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, raw) in self.of.members.iter() {
            map.serialize_entry(name, raw)?;
        }
        let entries: Vec<WrittenEntry<'_, '_>> =
            self.of.entries.iter().zip(self.left).map(|(of, left)| WrittenEntry { of, left }).collect();
        if !entries.is_empty() {
            map.serialize_entry("entry", &entries)?;
        }
        map.end()
    }
}

struct WrittenEntry<'w, 'a> {
    of: &'w Response<'a>,
    left: &'w Left,
}

impl Serialize for WrittenEntry<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let Left::Denied(status, outcome) = self.left {
            map.serialize_entry("response", &serde_json::json!({ "status": status.to_string(), "outcome": outcome }))?;
            return map.end();
        }
        if let Some(full_url) = self.of.full_url {
            map.serialize_entry("fullUrl", full_url)?;
        }
        if let Left::Content(content) = self.left {
            map.serialize_entry("resource", content)?;
        }
        if let Some(response) = &self.of.response {
            map.serialize_entry("response", response)?;
        }
        map.end()
    }
}

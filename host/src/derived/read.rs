//! Elements of resources, read strictly.

use chartgate_model::Millis;
use serde_json::Value;

use super::{Reading, Reject};
use crate::people;
use crate::store::validate::is_id;

/// The security label of test data (v3-ActReason).
const TEST: &str = "HTEST";

/// A resource and how to read it.
pub(super) struct Resource<'a> {
    pub(super) kind: &'a str,
    pub(super) id: &'a str,
    pub(super) value: &'a Value,
    pub(super) reading: &'a Reading,
}

/// When something holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Period {
    /// inclusive
    pub(super) start: Option<Millis>,
    /// exclusive
    pub(super) end: Option<Millis>,
}

impl<'a> Resource<'a> {
    pub(super) fn new(value: &'a Value, reading: &'a Reading) -> Result<Self, Reject> {
        let text = |name: &str| value.get(name).and_then(Value::as_str);
        match (text("resourceType"), text("id")) {
            (Some(kind), Some(id)) if is_id(id) => Ok(Self { kind, id, value, reading }),
            _ => Err(Reject::NotAResource),
        }
    }

    /// `Encounter/9`
    pub(super) fn origin(&self) -> String {
        format!("{}/{}", self.kind, self.id)
    }

    pub(super) fn text(&self, element: &'static str) -> Result<Option<&'a str>, Reject> {
        text(self.value, element)
    }

    /// The status, which has to be there.
    pub(super) fn status(&self) -> Result<&'a str, Reject> {
        self.text("status")?.ok_or(Reject::Missing("status"))
    }

    pub(super) fn flag(&self, element: &'static str) -> Result<Option<bool>, Reject> {
        match self.value.get(element) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(Reject::Element { element, expected: "true or false" }),
        }
    }

    /// Test data by its security label.
    pub(super) fn is_test(&self) -> Result<bool, Reject> {
        let Some(meta) = self.value.get("meta") else { return Ok(false) };
        Ok(codes(list(meta, "security")?).any(|code| code == TEST))
    }

    pub(super) fn period(&self, element: &'static str) -> Result<Period, Reject> {
        period(self.value.get(element), self.reading)
    }

    /// Type and id of the local resource a Reference names; `None` for everything else.
    pub(super) fn local(&self, reference: Option<&'a Value>) -> Option<(&'a str, &'a str)> {
        let text = reference?.get("reference")?.as_str()?;
        let base = self.reading.base.as_deref();
        let below = base.and_then(|base| text.strip_prefix(base)).and_then(|rest| rest.strip_prefix('/'));
        let (kind, rest) = below.unwrap_or(text).split_once('/')?;
        // A version is one of the resource.
        let id = match rest.split_once("/_history/") {
            Some((id, version)) if is_id(version) => id,
            _ => rest,
        };
        (kind.bytes().all(|b| b.is_ascii_alphabetic()) && is_id(id)).then_some((kind, id))
    }

    /// The patient an element names.
    pub(super) fn patient(&self, element: &'static str) -> Result<&'a str, Reject> {
        let reference = self.value.get(element).ok_or(Reject::Missing(element))?;
        match self.local(Some(reference)) {
            Some(("Patient", id)) => Ok(id),
            _ => Err(Reject::Element { element, expected: "a local reference to a Patient" }),
        }
    }
}

pub(super) fn text<'v>(value: &'v Value, element: &'static str) -> Result<Option<&'v str>, Reject> {
    match value.get(element) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Reject::Element { element, expected: "a string" }),
    }
}

/// The elements of a list, none where there is none.
pub(super) fn list<'v>(value: &'v Value, element: &'static str) -> Result<&'v [Value], Reject> {
    match value.get(element) {
        None => Ok(&[]),
        Some(Value::Array(list)) => Ok(list),
        Some(_) => Err(Reject::Element { element, expected: "a list" }),
    }
}

/// The codes of a list of codings.
pub(super) fn codes(codings: &[Value]) -> impl Iterator<Item = &str> {
    codings.iter().filter_map(|coding| coding.get("code")?.as_str())
}

/// A Period. An end of low precision includes all of its day, month or year (FHIR R4, data type `Period`).
pub(super) fn period(value: Option<&Value>, reading: &Reading) -> Result<Period, Reject> {
    let Some(value) = value else { return Ok(Period::default()) };
    if !value.is_object() {
        return Err(Reject::Element { element: "period", expected: "an object" });
    }
    let at = |name, late, expected| {
        let text = value.get(name).map(|text| text.as_str().unwrap_or_default());
        text.map(|text| instant(text, late, reading).ok_or(Reject::Element { element: name, expected })).transpose()
    };
    let (start, end) = (at("start", false, "a dateTime")?, at("end", true, "a dateTime")?);
    match (start, end) {
        // What happened at once took a moment.
        (Some(start), Some(end)) if start == end => Ok(Period { start: Some(start), end: Some(end.plus_ms(1)) }),
        (Some(start), Some(end)) if start > end => {
            Err(Reject::Element { element: "period", expected: "a period that ends after it starts" })
        }
        _ => Ok(Period { start, end }),
    }
}

/// When a dateTime begins or, `late`, ends.
pub(super) fn instant(text: &str, late: bool, reading: &Reading) -> Option<Millis> {
    if text.contains('T') {
        return Millis::parse(text).ok();
    }
    let (first, next) = people::partial_date(text)?;
    let date = if late { next } else { first };
    let midnight = reading.zone.to_timestamp(date.to_datetime(jiff::civil::Time::midnight())).ok()?;
    // Times here begin in 1970: what was before that began then, and has ended.
    Some(Millis(u64::try_from(midnight.as_millisecond()).unwrap_or(0)))
}

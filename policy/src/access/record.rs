//! Members of records about people, read strictly: what is there and cannot be read makes the fact malformed.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::json::{Malformed, Value};

pub(crate) fn required<'a>(value: Value<'_, 'a>, name: &str) -> Result<Cow<'a, str>, Malformed> {
    value.get_string(name)?.ok_or(Malformed)
}

/// A number of milliseconds since 1970.
pub(crate) fn instant(value: Value<'_, '_>, name: &str) -> Result<Option<u64>, Malformed> {
    number(value, name)
}

pub(crate) fn number<T: core::str::FromStr>(value: Value<'_, '_>, name: &str) -> Result<Option<T>, Malformed> {
    match value.get(name)?.map(|value| value.literal().ok_or(Malformed)).transpose()? {
        None | Some("null") => Ok(None),
        Some(text) => text.parse().map(Some).map_err(|_| Malformed),
    }
}

/// `true` or `false`; absent where the record does not say.
pub(crate) fn flag(value: Value<'_, '_>, name: &str) -> Result<Option<bool>, Malformed> {
    match value.get(name)?.map(Value::literal) {
        None => Ok(None),
        Some(Some("true")) => Ok(Some(true)),
        Some(Some("false")) => Ok(Some(false)),
        Some(_) => Err(Malformed),
    }
}

/// A list of strings; absent where the record does not say.
pub(crate) fn texts<'a>(value: Value<'_, 'a>, name: &str) -> Result<Option<Vec<Cow<'a, str>>>, Malformed> {
    match value.get(name)? {
        None => Ok(None),
        Some(list) if list.is_array() => {
            list.elements().map(|item| item.string().ok_or(Malformed)?).collect::<Result<_, _>>().map(Some)
        }
        Some(_) => Err(Malformed),
    }
}

/// When records were read, the first and the last, milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Readings {
    first_and_last_ms: Option<(u64, u64)>,
}

impl Readings {
    /// Whether one of them lies further from a time than allowed, before or behind it.
    pub(crate) fn is_apart(self, at_ms: u64, by_ms: u64) -> bool {
        self.first_and_last_ms
            .is_some_and(|(first, last)| first.saturating_add(by_ms) < at_ms || last > at_ms.saturating_add(by_ms))
    }
}

impl Extend<u64> for Readings {
    fn extend<T: IntoIterator<Item = u64>>(&mut self, read: T) {
        for at in read {
            let (first, last) = self.first_and_last_ms.unwrap_or((at, at));
            self.first_and_last_ms = Some((first.min(at), last.max(at)));
        }
    }
}

impl FromIterator<u64> for Readings {
    fn from_iter<T: IntoIterator<Item = u64>>(read: T) -> Self {
        let mut all = Self::default();
        all.extend(read);
        all
    }
}

/// The records of a fact.
pub(crate) fn records<'j, 'a>(root: Value<'j, 'a>) -> Result<impl Iterator<Item = Value<'j, 'a>>, Malformed> {
    let records = root.get("records")?.filter(|records| records.is_array()).ok_or(Malformed)?;
    Ok(records.elements())
}

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

/// The records of a fact.
pub(crate) fn records<'j, 'a>(root: Value<'j, 'a>) -> Result<impl Iterator<Item = Value<'j, 'a>>, Malformed> {
    let records = root.get("records")?.filter(|records| records.is_array()).ok_or(Malformed)?;
    Ok(records.elements())
}

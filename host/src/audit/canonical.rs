//! One spelling for each record: members sorted, no spaces, so that equal records are equal bytes.

use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::Value;

/// A JSON value that serialises with its members sorted, whatever order its map keeps.
#[derive(Debug, Clone, Copy)]
pub struct Canonical<'a>(pub &'a Value);

impl Serialize for Canonical<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Array(items) => {
                let mut sequence = serializer.serialize_seq(Some(items.len()))?;
                items.iter().try_for_each(|item| sequence.serialize_element(&Canonical(item)))?;
                sequence.end()
            }
            Value::Object(members) => {
                let mut sorted: Vec<_> = members.iter().collect();
                sorted.sort_by_key(|(name, _)| *name);
                let mut map = serializer.serialize_map(Some(sorted.len()))?;
                sorted.into_iter().try_for_each(|(name, value)| map.serialize_entry(name, &Canonical(value)))?;
                map.end()
            }
            plain => plain.serialize(serializer),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Canonical;

    #[test]
    fn members_are_sorted_at_every_depth_and_items_keep_their_order() {
        let value = json!({"b": [{"d": 1, "c": null}, 2], "a": "é\n"});
        let text = serde_json::to_string(&Canonical(&value)).unwrap();
        assert_eq!(text, r#"{"a":"é\n","b":[{"c":null,"d":1},2]}"#);
    }
}

//! A record as a policy reads it: times in milliseconds, a zone as its offset, nothing that is as usual.

use chartgate_model::{Millis, Record, RecordClass};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::zone;

/// Members that are times, and how a policy calls them.
const TIMES: [(&str, &str); 3] = [("start", "start_ms"), ("end", "end_ms"), ("as_of", "as_of_ms")];

/// One record of a fact. The record was checked when it was taken in: a time or a zone that cannot be read after all
/// is an error, and never a record without it.
pub fn encode(record: &Record, now: Millis) -> Option<Value> {
    let mut members = record.members.clone();
    for (name, in_ms) in TIMES {
        if let Some(time) = members.remove(name) {
            members.insert(in_ms.into(), json!(millis(&time)?));
        }
    }
    if let Some(name) = members.remove("zone") {
        offset(name.as_str()?, now, &mut members)?;
    }
    if let Some(Value::Object(restriction)) = members.get_mut("restriction")
        && let Some(until) = restriction.remove("until")
    {
        restriction.insert("until_ms".into(), json!(millis(&until)?));
    }
    members.remove("practitioner");
    if members.remove("closed") == Some(Value::Bool(true)) {
        members.insert("active".into(), json!(false));
    }
    if members.get("status") == Some(&json!("closed")) {
        members.insert("status".into(), json!("inactive"));
    }
    if record.class == RecordClass::Patient {
        members.insert("patient".into(), json!(record.id));
    }
    members.insert("source".into(), json!(record.source));
    Some(Value::Object(members))
}

fn millis(time: &Value) -> Option<u64> {
    Millis::parse(time.as_str()?).ok().map(|time| time.0)
}

/// How far the clocks of a zone are ahead of UTC now, and when that changes.
fn offset(name: &str, now: Millis, members: &mut Map<String, Value>) -> Option<()> {
    let zone = zone(name)?;
    let now = Timestamp::from_millisecond(i64::try_from(now.0).ok()?).ok()?;
    members.insert("utc_offset_s".into(), json!(zone.to_offset(now).seconds()));
    if let Some(next) = zone.following(now).next() {
        members.insert("offset_until_ms".into(), json!(u64::try_from(next.timestamp().as_millisecond()).ok()?));
    }
    Some(())
}

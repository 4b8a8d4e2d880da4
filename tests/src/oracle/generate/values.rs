//! Content and filter values of each type of search parameter, from pools small enough to meet often.

use serde_json::{Value, json};

use super::dice::Dice;
use crate::oracle::case::BASE;

const SYSTEMS: [&str; 2] = ["http://s.example/a", "http://s.example/b"];
const CODES: [&str; 5] = ["a", "b", "A", "x,y", "p|q"];
const DATES: [&str; 16] = [
    "2023",
    "2024",
    "2024-05",
    "2024-05-05",
    "2024-05-06",
    "2024-02-29",
    "2024-12-31",
    "2024-05-05T10:00:00Z",
    "2024-05-05T10:00:00.500Z",
    "2024-05-05T12:00:00+02:00",
    "2024-05-05T23:59:59-01:00",
    "2024-05-05T10:00:30",
    "2024-05-05T00:00:00Z",
    "2025-01-01T00:00:00Z",
    "2024-05-05T24:00:00Z",
    "2024-02-30",
];
const WANTED_DATES: [&str; 11] = [
    "2024",
    "2024-05",
    "2024-05-05",
    "2024-05-05T10:00",
    "2024-05-05T10:00Z",
    "2024-05-05T10:00:00Z",
    "2024-05-05T12:00:00+02:00",
    "2024-05-05T10:00:00.5Z",
    "2024-12-31",
    "2025",
    "2024-05-05T00:00",
];
const PREFIXES: [&str; 12] = ["", "", "", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap"];
const NUMBERS: [&str; 11] = ["5", "5.4", "5.45", "5.35", "5.44", "5.40", "100", "99.5", "0", "-5", "100.5"];
const UNITS: [&str; 2] = ["mg", "kg"];
const TEXTS: [&str; 6] = ["Smith", "smi", "Smyth", "Ärger", "ärg", "O, Brien"];
const URIS: [&str; 4] = ["http://u.example/x", "http://u.example/X", "http://u.example/x|1", "urn:oid:1.2.3"];
const ELSEWHERE: &str = "https://other.example/fhir";

/// A value of content: its JSON and the suffix of a choice element that holds it.
pub(super) fn content(dice: &mut Dice, kind: &str, tag: Option<&str>, targets: &[String]) -> (Value, &'static str) {
    match (kind, tag) {
        (_, Some("Quantity" | "Age")) => (quantity(dice), "Quantity"),
        ("quantity", None) if dice.percent(10) => (json!({ "value": number(dice), "currency": "EUR" }), "Money"),
        (_, Some("Period")) => (period(dice), "Period"),
        (_, Some("boolean")) => (json!(dice.percent(50)), "Boolean"),
        (_, Some("CodeableConcept")) => (concept(dice), "CodeableConcept"),
        (_, Some("Range")) => (json!({ "low": quantity(dice) }), "Range"),
        (_, Some("SampledData")) => (json!({ "origin": quantity(dice), "dimensions": 1 }), "SampledData"),
        ("token", _) => token(dice),
        ("date", Some(_)) => (json!(dice.text(&DATES)), "DateTime"),
        ("date", None) => match dice.below(8) {
            0..=4 => (json!(dice.text(&DATES)), "DateTime"),
            5 | 6 => (period(dice), "Period"),
            _ => (json!({ "event": [dice.text(&DATES)] }), "Timing"),
        },
        ("number", _) => (number(dice), "Decimal"),
        ("quantity", _) => (quantity(dice), "Quantity"),
        ("string", _) => text(dice),
        ("uri", _) => (json!(dice.text(&URIS)), "Uri"),
        ("reference", Some("canonical" | "uri")) => (json!(dice.text(&URIS)), "Canonical"),
        _ => (json!({ "reference": literal(dice, targets) }), "Reference"),
    }
}

fn number(dice: &mut Dice) -> Value {
    serde_json::from_str(&dice.text(&NUMBERS)).unwrap()
}

fn quantity(dice: &mut Dice) -> Value {
    let mut quantity = json!({ "value": number(dice) });
    if dice.percent(70) {
        quantity["system"] = json!(dice.text(&SYSTEMS));
        quantity["code"] = json!(dice.text(&UNITS));
    }
    if dice.percent(30) {
        quantity["unit"] = json!(dice.text(&UNITS));
    }
    if dice.percent(8) {
        quantity["comparator"] = json!(">");
    }
    quantity
}

fn period(dice: &mut Dice) -> Value {
    let mut period = json!({});
    if dice.percent(75) {
        period["start"] = json!(dice.text(&DATES));
    }
    if dice.percent(65) {
        period["end"] = json!(dice.text(&DATES));
    }
    period
}

fn coding(dice: &mut Dice) -> Value {
    let mut coding = json!({ "code": dice.text(&CODES) });
    if dice.percent(70) {
        coding["system"] = json!(dice.text(&SYSTEMS));
    }
    coding
}

fn concept(dice: &mut Dice) -> Value {
    let codings: Vec<Value> = (0..=dice.below(2)).map(|_| coding(dice)).collect();
    json!({ "coding": codings, "text": "a" })
}

fn token(dice: &mut Dice) -> (Value, &'static str) {
    match dice.below(10) {
        0..=3 => (concept(dice), "CodeableConcept"),
        4 | 5 => (json!(dice.text(&CODES)), "Code"),
        6 => (coding(dice), "Coding"),
        7 => (json!(dice.percent(50)), "Boolean"),
        8 => (json!([{ "use": "home", "system": dice.text(&SYSTEMS), "value": dice.text(&CODES) }]), "Identifier"),
        _ => (json!([{ "value": dice.text(&CODES) }]), "Identifier"),
    }
}

fn text(dice: &mut Dice) -> (Value, &'static str) {
    let text = dice.text(&TEXTS);
    let part = dice.text(&["family", "city", "text", "country", "use"]);
    let list = dice.text(&["given", "prefix", "suffix", "line"]);
    match dice.below(6) {
        0..=2 => (json!(text), "String"),
        3 => (json!([{ part: text }]), "HumanName"),
        4 => (json!([{ list: ["zzz", text] }]), "HumanName"),
        _ => (json!({ "coding": [{ "code": "a" }], "text": text }), "CodeableConcept"),
    }
}

fn literal(dice: &mut Dice, targets: &[String]) -> String {
    let kind = if targets.is_empty() { "Encounter" } else { dice.pick(targets) };
    match dice.below(8) {
        0..=3 => format!("{kind}/{}", dice.text(&["1", "2"])),
        4 => format!("{kind}/1/_history/2"),
        5 => format!("{BASE}/{kind}/1"),
        6 => format!("{ELSEWHERE}/{kind}/1"),
        _ => "#1".into(),
    }
}

/// A filter value, now and then one that cannot be judged.
pub(super) fn wanted(dice: &mut Dice, kind: &str, targets: &[String]) -> String {
    let one = |dice: &mut Dice| match kind {
        "token" => wanted_token(dice),
        "date" => format!("{}{}", dice.pick(&PREFIXES), dice.pick(&WANTED_DATES)),
        "number" => format!("{}{}", dice.pick(&PREFIXES), dice.pick(&NUMBERS)),
        "quantity" => wanted_quantity(dice),
        "string" => escaped(&dice.text(&TEXTS)),
        "uri" => dice.text(&URIS),
        _ => wanted_reference(dice, targets),
    };
    let mut value = one(dice);
    if dice.percent(20) {
        value = format!("{value},{}", one(dice));
    }
    match dice.below(50) {
        0 => dice.text(&["|", "a,,b", ",a", "a|b|c", "a\\x", "a\\", "2024-13", "ge", "5|mg", "5||", "2024-05-05T10"]),
        _ => value,
    }
}

fn wanted_token(dice: &mut Dice) -> String {
    let (system, code) = (dice.text(&SYSTEMS), escaped(&dice.text(&CODES)));
    match dice.below(10) {
        0..=4 => code,
        5 | 6 => format!("{system}|{code}"),
        7 => format!("|{code}"),
        8 => format!("{system}|"),
        _ => dice.text(&["true", "false", "home"]),
    }
}

fn wanted_quantity(dice: &mut Dice) -> String {
    let number = format!("{}{}", dice.pick(&PREFIXES), dice.pick(&NUMBERS));
    match dice.below(4) {
        0 | 1 => number,
        2 => format!("{number}|{}|{}", dice.pick(&SYSTEMS), dice.pick(&UNITS)),
        _ => format!("{number}||{}", dice.pick(&UNITS)),
    }
}

fn wanted_reference(dice: &mut Dice, targets: &[String]) -> String {
    let kind = if targets.is_empty() { "Encounter" } else { dice.pick(targets) };
    match dice.below(8) {
        0..=3 => format!("{kind}/{}", dice.text(&["1", "2"])),
        4 => format!("{BASE}/{kind}/1"),
        5 => format!("{ELSEWHERE}/{kind}/1"),
        6 => "1".into(),
        _ => dice.text(&["http://u.example/x", "http://u.example/x|1", "http://u.example/y"]),
    }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace(',', "\\,").replace('|', "\\|")
}

/// A value as it stands in a scope token: what is not allowed there is percent-encoded, and now and then
/// what need not be.
pub(super) fn encoded(dice: &mut Dice, value: &str) -> String {
    let mut text = String::new();
    for byte in value.bytes() {
        let must = !byte.is_ascii_graphic() || b"\"\\%&".contains(&byte);
        if must || (b"|,=".contains(&byte) && dice.percent(10)) {
            text.push_str(&format!("%{byte:02X}"));
        } else {
            text.push(char::from(byte));
        }
    }
    text
}

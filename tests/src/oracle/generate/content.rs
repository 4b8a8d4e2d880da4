//! Resources that name a patient, with values that filters look at.

use serde_json::{Map, Value, json};

use super::dice::Dice;
use super::values;
use crate::oracle::case::BASE;
use crate::oracle::definitions::{Definitions, Parameter};
use crate::oracle::fhirpath::{Expression, Sketch};

/// Elements that are lists in FHIR, of those that name people.
const LISTS: [&str; 13] = [
    "participant",
    "performer",
    "recipient",
    "author",
    "attester",
    "member",
    "agent",
    "entity",
    "payor",
    "activity",
    "action",
    "link",
    "contact",
];
/// Elements that are choices where the definitions name them without a type.
const CHOICES: [&str; 13] = [
    "effective",
    "value",
    "onset",
    "abatement",
    "occurrence",
    "performed",
    "occurred",
    "medication",
    "item",
    "timing",
    "scheduled",
    "allowed",
    "serviced",
];

/// A search parameter that can be used in a filter, with a value.
pub(super) type Pair = (String, String);

/// A resource about a patient.
pub(super) fn resource(dice: &mut Dice, definitions: &Definitions, kind: &str, id: &str, patient: &str) -> Value {
    let mut resource = json!({ "resourceType": kind, "id": id });
    if kind != "Patient" {
        for code in definitions.about(kind) {
            name(definitions, kind, &code, json!({ "reference": format!("Patient/{patient}") }), &mut resource);
        }
    }
    if dice.percent(30) {
        resource["meta"] = json!({ "versionId": dice.text(&["1", "2"]), "lastUpdated": "2024-05-05T10:00:00Z" });
    }
    if dice.percent(12) {
        resource["meta"]["security"] = labels(dice);
    }
    if dice.percent(4) {
        resource["contained"] = contained(dice, patient);
    }
    resource
}

/// Resources within another, most of them about the same patient or nobody.
fn contained(dice: &mut Dice, patient: &str) -> Value {
    let subject = json!({ "reference": format!("Patient/{patient}") });
    match dice.below(8) {
        0 => json!([{ "resourceType": "Condition", "subject": { "reference": "Patient/125" } }]),
        1 => json!([{ "resourceType": "Nonsense" }]),
        2 => {
            json!([{ "resourceType": "Observation", "subject": subject, "performer": [{ "reference": "Patient/124" }] }])
        }
        3 => json!({ "resourceType": "Condition" }),
        4 => json!([{ "resourceType": "Organization" }, { "resourceType": "Condition", "subject": subject }]),
        _ => json!([{ "resourceType": "Patient", "id": "p" }, { "resourceType": "Condition", "subject": subject }]),
    }
}

/// Security labels, most of them of those that may be hidden.
fn labels(dice: &mut Dice) -> Value {
    let system = "http://terminology.hl7.org/CodeSystem/v3-ActCode";
    let code = dice.text(&["HIV", "PSY", "N", "R", "hiv"]);
    match dice.below(8) {
        0 => json!([]),
        1 => json!([{ "system": system }]),
        2 => json!([{ "code": "N" }, { "code": code }]),
        _ => json!([{ "system": system, "code": code }]),
    }
}

/// Put a reference where a compartment parameter looks; more than one where there is a list.
pub(super) fn name(definitions: &Definitions, kind: &str, code: &str, reference: Value, resource: &mut Value) {
    let Some(expression) = expression(definitions, kind, code) else { return };
    if let Some(sketch) = expression.sketches().into_iter().next() {
        let is_list = matches!(sketch.last(), Some(Sketch::Element(name, _)) if is_list(kind, name));
        place(kind, &sketch, if is_list { json!([reference]) } else { reference }, resource);
    }
}

fn expression(definitions: &Definitions, kind: &str, code: &str) -> Option<Expression> {
    Expression::parse(&definitions.parameter(kind, code)?.expression, kind)
}

fn is_list(kind: &str, name: &str) -> bool {
    LISTS.contains(&name)
        || matches!((kind, name), ("Account", "subject") | ("Schedule", "actor") | ("Provenance", "target"))
}

/// Write content along a sketch; a list that is there gets one more entry, anything else is overwritten.
fn place(kind: &str, sketch: &[Sketch], content: Value, into: &mut Value) {
    if sketch.is_empty() {
        return merge(into, content);
    }
    let Some(members) = into.as_object_mut() else { return };
    match sketch {
        [] => {}
        [Sketch::Beside(name, value), rest @ ..] => {
            members.insert(name.clone(), json!(value));
            place(kind, rest, content, into);
        }
        [Sketch::Element(name, _)] => match (members.get_mut(name), content) {
            (Some(Value::Array(there)), Value::Array(more)) => there.extend(more),
            (_, content) => {
                members.insert(name.clone(), content);
            }
        },
        [Sketch::Element(name, _), rest @ ..] => {
            let mut inner = Value::Object(Map::new());
            place(kind, rest, content, &mut inner);
            match members.get_mut(name) {
                Some(Value::Array(there)) => there.push(inner),
                Some(there @ Value::Object(_)) if !is_list(kind, name) => merge(there, inner),
                _ => {
                    members.insert(name.clone(), if is_list(kind, name) { json!([inner]) } else { inner });
                }
            }
        }
    }
}

fn merge(there: &mut Value, more: Value) {
    if let (Value::Object(there), Value::Object(more)) = (there, more) {
        there.extend(more);
    }
}

/// Write a value some filter looks at, and make a filter for it.
pub(super) fn judged(dice: &mut Dice, definitions: &Definitions, kind: &str, resource: &mut Value) -> Option<Pair> {
    let parameters: Vec<&Parameter> = definitions.parameters_of(kind).collect();
    if parameters.is_empty() {
        return None;
    }
    let parameter = *dice.pick(&parameters);
    let naming = definitions.about(kind).contains(&parameter.code) || definitions.roles(kind).contains(&parameter.code);
    let (code, targets) = (parameter.code.clone(), &parameter.target);
    let expression = expression(definitions, kind, &code)?;
    if code == "deceased" {
        let (flag, date) = (("deceasedBoolean", json!(dice.percent(50))), ("deceasedDateTime", json!("2024")));
        let (name, value) = if dice.percent(50) { flag } else { date };
        resource[name] = value;
    } else if !naming && code != "patient" && code != "subject" {
        let sketches = expression.sketches();
        let mut sketch = dice.pick(&sketches).clone();
        if let Some(Sketch::Element(name, tag)) = sketch.last_mut() {
            let (content, suffix) = values::content(dice, &parameter.kind, tag.as_deref(), targets);
            let suffix = if parameter.kind == "string" { "String" } else { suffix };
            let is_choice = parameter.kind != "string" || content.is_string();
            if tag.is_none() && is_choice && kind != "Coverage" && CHOICES.contains(&name.as_str()) {
                name.push_str(suffix);
            }
            place(kind, &sketch, content, resource);
        }
    }
    let value = match naming || code == "patient" || code == "subject" {
        true => format!("Patient/{}", dice.text(&["123", "124"])),
        false => values::wanted(dice, &parameter.kind, targets),
    };
    Some((code, value))
}

/// References in every form, most of them to the patient.
pub(super) fn reference(dice: &mut Dice, patient: &str) -> Value {
    let text = |text: String| json!({ "reference": text });
    match dice.below(22) {
        0 | 1 => text(format!("Patient/{patient}/_history/3")),
        2 | 3 => text(format!("{BASE}/Patient/{patient}")),
        4 => text(format!("{BASE}/Patient/{patient}/_history/3")),
        5 => text(format!("https://other.example/fhir/Patient/{patient}")),
        6 => text(format!("http://ehr.example/fhir/Patient/{patient}")),
        7 => text(format!("#{patient}")),
        8 => json!({ "type": "Patient", "identifier": { "value": patient } }),
        9 => text("urn:uuid:6a1d7d3c-6f4f-4f31-9d43-6f2f3a1e0b0a".into()),
        10 => json!({ "display": patient }),
        11 => text(format!("Group/{patient}")),
        12 => text(format!("patient/{patient}")),
        13 => text(format!("/Patient/{patient}")),
        14 => text(format!("Patient/{patient}/")),
        15 => text(format!("Patient?_id={patient}")),
        16 => text(patient.to_owned()),
        17 => text("Practitioner/7".into()),
        18 => {
            let kind = dice.text(&["Practitioner", "Practitioner", "http://hl7.org/fhir/StructureDefinition/Patient"]);
            json!({ "type": kind, "identifier": { "value": "7" } })
        }
        19 => text("https://other.example/fhir/Practitioner/7".into()),
        20 => text("Patient/124".into()),
        _ => json!({ "type": dice.text(&["Group", "Patient"]), "reference": format!("Patient/{patient}") }),
    }
}

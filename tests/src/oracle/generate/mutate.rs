//! One thing wrong with a consistent case.

use serde_json::{Value, json};

use super::dice::Dice;
use super::{Draft, PATIENTS, content, people, records, scopes};

/// Change one thing.
pub(super) fn one(dice: &mut Dice, draft: &mut Draft) {
    match dice.below(30) {
        20..=28 => records::spoil(dice, draft),
        29 => records::setting(dice, &mut draft.settings),
        0..=3 => relationship(dice, draft),
        4 | 5 => launch(dice, draft),
        6..=8 => scopes::spoil(dice, &mut draft.scopes),
        9..=11 => reference(dice, draft),
        12 | 13 => stored(dice, draft),
        14 => body(dice, draft),
        15 => subject(dice, draft),
        16 => settings(dice, draft),
        17 => draft.obligations.retain(|_| dice.percent(40)),
        18 => search(dice, draft),
        _ => draft.fhir_version = dice.text(&["4.0.1", "4.3.0", "5.0.0", "4.0.0", "3.0.2", "6.0.0"]),
    }
}

fn relationship(dice: &mut Dice, draft: &mut Draft) {
    if draft.relationships.is_empty() || dice.percent(30) {
        let mut more = people::live(dice, draft.kind, &draft.user, &draft.chart);
        people::spoil(dice, &mut more);
        return draft.relationships.push(more);
    }
    let at = dice.below(draft.relationships.len());
    match dice.below(8) {
        0 => {
            draft.relationships.remove(at);
        }
        1 => {
            draft.relationships[at].user = dice.text(&["Practitioner/18", "RelatedPerson/6", "Patient/123", "Person/9"])
        }
        _ => people::spoil(dice, &mut draft.relationships[at]),
    }
}

fn launch(dice: &mut Dice, draft: &mut Draft) {
    let long = "x".repeat(65);
    draft.launch = match dice.below(4) {
        0 => None,
        1 | 2 => Some(dice.text(&PATIENTS)),
        _ => {
            let malformed =
                ["", "Patient/123", "123 ", "*", "..", "https://other.example/fhir/Patient/123", "[\"123\"]"];
            Some(if dice.percent(10) { long } else { dice.text(&malformed) })
        }
    };
}

/// Name somebody else, or the patient in another form, in the content.
fn reference(dice: &mut Dice, draft: &mut Draft) {
    let mut codes = draft.definitions.about(&draft.resource_type);
    if dice.percent(35) {
        codes.extend(draft.definitions.roles(&draft.resource_type));
    }
    if codes.is_empty() || draft.resource_type == "Patient" {
        draft.id = dice.text(&PATIENTS);
        if let Some(stored @ Value::Object(_)) = &mut draft.stored {
            stored["id"] = json!(draft.id);
        }
        return;
    }
    let code = dice.pick(&codes).clone();
    let reference = content::reference(dice, &draft.patient);
    let both = dice.percent(50);
    if (both || dice.percent(50)) && draft.body.is_object() {
        content::name(draft.definitions, &draft.resource_type, &code, reference.clone(), &mut draft.body);
    }
    if let (true, Some(stored @ Value::Object(_))) = (both || dice.percent(50), &mut draft.stored) {
        content::name(draft.definitions, &draft.resource_type, &code, reference, stored);
    }
}

fn stored(dice: &mut Dice, draft: &mut Draft) {
    match dice.below(4) {
        0 => draft.stored = None,
        1 => draft.stored = Some(Value::Null),
        _ => {
            let mut filters = draft.stored.take().filter(Value::is_object);
            if let Some(resource) = &mut filters {
                content::judged(dice, draft.definitions, &draft.resource_type, resource);
            }
            draft.stored = filters;
        }
    }
}

fn body(dice: &mut Dice, draft: &mut Draft) {
    if !draft.body.is_object() {
        return;
    }
    match dice.below(5) {
        0 => draft.body["id"] = json!("other"),
        1 => draft.body["resourceType"] = json!(dice.text(&["Observation", "Condition", "Patient"])),
        2 => {
            draft.body.as_object_mut().unwrap().remove("id");
        }
        _ => {
            content::judged(dice, draft.definitions, &draft.resource_type, &mut draft.body);
        }
    }
}

fn subject(dice: &mut Dice, draft: &mut Draft) {
    match dice.below(3) {
        0 => draft.kind = *dice.pick(&["patient", "proxy", "provider", "system"]),
        1 => draft.user = dice.text(&["Patient/123", "Patient/124", "RelatedPerson/5", "Person/9", "Practitioner/17"]),
        _ => {
            (draft.kind, draft.user) = people::subject(dice);
        }
    }
}

fn settings(dice: &mut Dice, draft: &mut Draft) {
    let name = dice.text(&["writes", "role_membership", "system_clients"]);
    let before = draft.settings[&name].as_bool().unwrap_or(false);
    draft.settings[&name] = json!(!before);
}

fn search(dice: &mut Dice, draft: &mut Draft) {
    let more = [
        ("_text", "a"),
        ("_content", "a"),
        ("_has:Observation:patient:code", "a"),
        ("subject.name", "a"),
        ("nonsense", "a"),
        ("_list", "1"),
        ("_filter", "code eq a"),
        ("_query", "a"),
        ("_include", "Observation:subject"),
        ("patient:not", "124"),
        ("patient", "Practitioner/1,124"),
        ("patient", "123,"),
        ("subject", "123"),
        ("_sort", "-date"),
        ("subject", "Group/1"),
    ];
    if dice.percent(70) {
        let (name, value) = *dice.pick(&more);
        draft.parameters.push((name.into(), value.into()));
    } else {
        draft.compartment =
            Some((dice.text(&["Patient", "Patient", "Practitioner", "Encounter"]), dice.text(&PATIENTS)));
    }
}

//! Requests to ask about: consistent ones that come out as permits, and the same with one thing wrong.

mod content;
mod dice;
mod fill;
mod mutate;
mod people;
mod records;
mod request;
mod scopes;
mod values;

use serde_json::{Value, json};

use super::case::{Case, Known, Told};
use super::definitions::{self, Class, Definitions};
pub use dice::Dice;

/// The time of every decision.
const NOW: &str = "2026-11-24T10:00:00Z";
/// Patients there are.
const PATIENTS: [&str; 5] = ["123", "124", "125", "p-3", "P.4"];
/// A chart that was merged into that of a patient.
const MERGED: &str = "old-1";
/// Obligations there are.
const OBLIGATIONS: [&str; 5] = ["search-narrowing", "search-union", "response-filter", "if-match", "return-minimal"];
/// Types most of what happens is about.
const USUAL: [&str; 14] = [
    "Observation",
    "Observation",
    "Observation",
    "Condition",
    "Encounter",
    "MedicationRequest",
    "Immunization",
    "Appointment",
    "Communication",
    "Procedure",
    "Coverage",
    "DiagnosticReport",
    "Provenance",
    "CareTeam",
];
/// Types for which a scope is enough, and types nobody is let near.
const OPEN: [&str; 6] = ["Organization", "Practitioner", "Location", "Slot", "ValueSet", "Questionnaire"];
const REFUSED: [&str; 8] = ["Group", "Person", "AuditEvent", "Bundle", "Binary", "Subscription", "Linkage", "Nonsense"];

/// What is asked, before it is put into words.
struct Draft {
    definitions: &'static Definitions,
    settings: Value,
    fhir_version: String,
    kind: &'static str,
    user: String,
    launch: Option<String>,
    scopes: Vec<String>,
    relationships: Vec<Known>,
    records: Vec<Told>,
    now: String,
    interaction: &'static str,
    resource_type: String,
    id: String,
    /// the patient as the request and the content name them
    patient: String,
    /// the chart that is left of theirs
    chart: String,
    /// absent: not fetched; null: not there
    stored: Option<Value>,
    /// what was fetched besides
    beside: Vec<Value>,
    body: Value,
    headers: Value,
    parameters: Vec<(String, String)>,
    compartment: Option<(String, String)>,
    /// what criteria find
    matches: Option<Vec<String>>,
    obligations: Vec<String>,
}

/// One case.
pub fn case(dice: &mut Dice) -> Case {
    let mut draft = draft(dice);
    match dice.below(100) {
        0..=34 => {}
        35..=84 => mutate::one(dice, &mut draft),
        _ => {
            mutate::one(dice, &mut draft);
            mutate::one(dice, &mut draft);
        }
    }
    draft.into_case(dice)
}

/// A search that is consistent, and resources it is run over: of its types, about anybody there is.
pub fn search(dice: &mut Dice) -> (Case, Vec<Value>) {
    loop {
        let mut draft = draft(dice);
        if !matches!(draft.interaction, "search-type" | "search-system") {
            continue;
        }
        draft.obligations = OBLIGATIONS.map(str::to_owned).to_vec();
        let (definitions, mut resources) = (draft.definitions, Vec::new());
        for at in 0..24 {
            let kind = if at % 3 == 0 { dice.text(&USUAL) } else { draft.resource_type.clone() };
            let patient = dice.text(&PATIENTS);
            let id = if kind == "Patient" { patient.clone() } else { format!("r{at}") };
            let mut resource = content::resource(dice, definitions, &kind, &id, &patient);
            for _ in 0..dice.below(3) {
                content::judged(dice, definitions, &kind, &mut resource);
            }
            resources.push(resource);
        }
        // One of the kind that the search was made for.
        resources.extend(draft.stored.clone().filter(Value::is_object));
        return (draft.into_case(dice), resources);
    }
}

/// A case that is consistent: the scope, the relationship and the content fit the request.
fn draft(dice: &mut Dice) -> Draft {
    let (fhir_version, definitions) = version(dice);
    let (kind, user) = people::subject(dice);
    let own = user.strip_prefix("Patient/").filter(|_| kind == "patient" && dice.percent(60));
    let mut patient = own.map_or_else(|| dice.text(&PATIENTS), str::to_owned);
    let chart = patient.clone();
    let mut user = user;
    if dice.percent(8) {
        if own_is(&user, &patient) && dice.percent(60) {
            user = format!("Patient/{MERGED}");
        }
        patient = MERGED.into();
    }
    let mut interaction = interaction(dice);
    let mut resource_type = resource_type(dice, definitions, interaction);
    let mut id = if resource_type == "Patient" { patient.clone() } else { dice.text(&["9", "obs-1"]) };
    let stands_for_user = user.split_once('/').filter(|_| dice.percent(3));
    if let Some((of, own)) = stands_for_user {
        (interaction, resource_type, id) = ("read", of.to_owned(), own.to_owned());
    }
    let is_own_record = stands_for_user.is_some();
    let mut draft = Draft {
        definitions,
        settings: settings(dice, kind, interaction),
        fhir_version,
        kind,
        user,
        launch: None,
        scopes: Vec::new(),
        relationships: Vec::new(),
        records: Vec::new(),
        now: NOW.into(),
        interaction,
        resource_type,
        id,
        patient,
        chart,
        stored: None,
        beside: Vec::new(),
        body: Value::Null,
        headers: json!({}),
        parameters: Vec::new(),
        compartment: None,
        matches: None,
        obligations: obligations(dice),
    };
    draft.relate(dice);
    draft.know(dice);
    let filters = draft.fill(dice);
    draft.grant(dice, &filters);
    if is_own_record {
        draft.scopes.retain(|_| dice.percent(20));
        draft.scopes.push("openid fhirUser".into());
    }
    draft.ask(dice, &filters);
    draft
}

fn own_is(user: &str, patient: &str) -> bool {
    user.strip_prefix("Patient/") == Some(patient)
}

fn version(dice: &mut Dice) -> (String, &'static Definitions) {
    let version = dice.weighted(&[(70, "4.0.1"), (15, "4.3.0"), (15, "5.0.0")]);
    let definitions = definitions::of_version(version).or_else(|| definitions::of_version("4.0.1"));
    (version.to_owned(), definitions.unwrap())
}

fn interaction(dice: &mut Dice) -> &'static str {
    dice.weighted(&[
        (26, "read"),
        (7, "vread"),
        (4, "history-instance"),
        (3, "history-type"),
        (1, "history-system"),
        (26, "search-type"),
        (5, "search-system"),
        (11, "create"),
        (11, "update"),
        (5, "delete"),
        (5, "patch"),
        (5, "operation"),
        (1, "batch"),
        (5, "conditional"),
        (1, "capabilities"),
    ])
}

fn resource_type(dice: &mut Dice, definitions: &Definitions, interaction: &str) -> String {
    let is_write = matches!(interaction, "create" | "update" | "patch" | "conditional" | "delete");
    match dice.below(100) {
        0..=44 => dice.text(&USUAL),
        45..=76 => {
            let records = definitions.types_of(Class::Record);
            (*dice.pick(&records)).to_owned()
        }
        77..=86 => "Patient".into(),
        87..=96 if !is_write || dice.percent(20) => dice.text(&OPEN),
        _ if dice.percent(30) => dice.text(&REFUSED),
        _ => "Observation".into(),
    }
}

fn settings(dice: &mut Dice, kind: &str, interaction: &str) -> Value {
    let mut settings = json!({});
    if matches!(interaction, "create" | "update" | "patch" | "conditional" | "delete") || dice.percent(10) {
        settings["writes"] = json!(true);
    }
    if dice.percent(70) {
        settings["writable_care_types"] = json!(["Appointment", "Encounter"]);
    }
    if kind == "system" {
        settings["system_clients"] = json!(true);
    }
    if dice.percent(20) {
        settings["role_membership"] = json!(true);
    }
    if dice.percent(5) {
        settings["narrowing_patients_max"] = json!(1 + dice.below(2));
    }
    if dice.percent(12) {
        records::setting(dice, &mut settings);
    }
    settings
}

fn obligations(dice: &mut Dice) -> Vec<String> {
    match dice.below(10) {
        0..=6 => OBLIGATIONS.map(str::to_owned).to_vec(),
        7 => Vec::new(),
        _ => OBLIGATIONS.iter().filter(|_| dice.percent(60)).map(|id| (*id).to_owned()).collect(),
    }
}

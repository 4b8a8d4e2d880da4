//! What makes a draft consistent: relationships, content, scopes, parameters.

use serde_json::{Value, json};

use super::dice::Dice;
use super::{Draft, PATIENTS, content, people, scopes, values};
use crate::oracle::case::BASE;
use crate::oracle::definitions::Class;
use crate::oracle::search::pin_codes;

impl Draft {
    /// Let the user reach the patient, and perhaps others.
    pub(super) fn relate(&mut self, dice: &mut Dice) {
        let is_self = self.kind == "patient" && self.user == format!("Patient/{}", self.patient);
        if self.kind != "system" && !is_self {
            for _ in 0..=dice.below(2) {
                self.relationships.push(people::live(dice, self.kind, &self.user, &self.chart));
            }
            self.delegate_again(dice);
        }
        for _ in 0..dice.weighted(&[(60, 0), (25, 1), (15, 2)]) {
            self.relationships.push(people::any(dice, self.kind, &self.user));
        }
        if self.kind != "system" && dice.percent(60) {
            self.launch = Some(if dice.percent(70) { &self.patient } else { &self.chart }.clone());
        }
    }

    /// Let users who work for somebody work for others too.
    fn delegate_again(&mut self, dice: &mut Dice) {
        let delegations: Vec<_> = self.relationships.iter().filter(|one| one.delegator.is_some()).cloned().collect();
        for delegation in delegations {
            if dice.percent(50) {
                let mut other = people::live(dice, self.kind, &self.user, &self.chart);
                (other.kind, other.delegator) = (delegation.kind, Some(people::delegator(dice)));
                match dice.below(8) {
                    0 => other.status = "revoked".into(),
                    1 => people::spoil(dice, &mut other),
                    _ => {}
                }
                self.relationships.insert(dice.below(self.relationships.len() + 1), other);
            }
        }
    }

    /// Make the content, and filters that look at it.
    pub(super) fn fill(&mut self, dice: &mut Dice) -> Vec<content::Pair> {
        let (definitions, kind) = (self.definitions, self.resource_type.clone());
        let mut resource = content::resource(dice, definitions, &kind, &self.id, &self.patient);
        let mut filters = Vec::new();
        for _ in 0..dice.weighted(&[(50, 0), (38, 1), (12, 2)]) {
            filters.extend(content::judged(dice, definitions, &kind, &mut resource));
        }
        let roles = definitions.roles(&kind);
        if !roles.is_empty() && kind != "Patient" && dice.percent(30) {
            let code = dice.pick(&roles).clone();
            let reference = content::reference(dice, &self.patient);
            content::name(definitions, &kind, &code, reference, &mut resource);
        }
        if kind == "Provenance" && dice.percent(60) {
            self.speak_of(dice, &mut resource);
        }
        self.body = resource.clone();
        self.stored = Some(resource);
        filters
    }

    /// Let a Provenance speak of more than the patient, or of something else; most of it is at hand and the patient's.
    fn speak_of(&mut self, dice: &mut Dice, provenance: &mut Value) {
        let mut targets = Vec::new();
        for at in 0..=dice.below(2) {
            let kind = dice.weighted(&[
                (50, "Observation"),
                (15, "Communication"),
                (15, "Encounter"),
                (14, "Practitioner"),
                (3, "Group"),
                (3, "Provenance"),
            ]);
            let id = format!("t{at}");
            let version = if dice.percent(4) { "/_history/1" } else { "" };
            targets.push(json!({ "reference": format!("{kind}/{id}{version}") }));
            let patient = if dice.percent(85) { self.patient.clone() } else { dice.text(&PATIENTS) };
            if dice.percent(93) {
                self.beside.push(content::resource(dice, self.definitions, kind, &id, &patient));
            }
        }
        if dice.percent(3) {
            targets.push(dice.pick(&[json!({ "identifier": { "value": "x" } }), json!("x"), json!({})]).clone());
        }
        match provenance["target"].as_array_mut().filter(|_| dice.percent(40)) {
            Some(there) => there.extend(targets),
            None => provenance["target"] = Value::Array(targets),
        }
    }

    /// Give the scope that fits, and others beside it.
    pub(super) fn grant(&mut self, dice: &mut Dice, filters: &[content::Pair]) {
        let context = match (self.kind, &self.launch) {
            ("system", _) => "system",
            (_, Some(_)) => *dice.pick(&["patient", "patient", "user"]),
            _ => "user",
        };
        let letter = match self.interaction {
            "create" | "validate" => 'c',
            "update" | "patch" => 'u',
            "delete" => 'd',
            "search-type" | "search-system" | "history-type" | "history-system" => 's',
            _ => 'r',
        };
        let kind = if self.interaction == "history-system" { "*" } else { self.resource_type.as_str() };
        let filters = if kind == "*" { &[] } else { filters };
        self.scopes.push(scopes::clause(dice, context, kind, letter, filters));
        if dice.percent(15) && !filters.is_empty() {
            let (name, _) = &filters[0];
            let parameter = self.definitions.parameter(kind, name).unwrap();
            let other = (name.clone(), values::wanted(dice, &parameter.kind, &parameter.target));
            self.scopes.push(scopes::clause(dice, context, kind, letter, &[other]));
        }
        if !self.beside.is_empty() && dice.percent(85) {
            let context = if context == "patient" && dice.percent(85) { "patient" } else { "user" };
            let kind = dice.text(&["*", "*", "*", "Observation", "Communication", "Practitioner"]);
            self.scopes.push(scopes::clause(dice, context, &kind, 'r', &[]));
        }
        for _ in 0..dice.weighted(&[(55, 0), (30, 1), (15, 2)]) {
            let stray = scopes::stray(dice, kind);
            self.scopes.insert(dice.below(self.scopes.len() + 1), stray);
        }
    }

    /// Ask for it.
    pub(super) fn ask(&mut self, dice: &mut Dice, filters: &[content::Pair]) {
        match self.interaction {
            "search-type" | "search-system" => self.search(dice, filters),
            "conditional" => self.criteria(dice, filters),
            "create" if dice.percent(70) => {
                self.body.as_object_mut().unwrap().remove("id");
            }
            "update" if dice.percent(15) => self.stored = Some(Value::Null),
            "read" | "vread" if dice.percent(15) => self.stored = None,
            "vread" => {
                if let Some(stored) = &mut self.stored {
                    stored["meta"]["versionId"] = json!("2");
                }
            }
            _ => {}
        }
        if matches!(self.interaction, "create" | "update" | "delete") && dice.percent(40) {
            let wish = dice.text(&["minimal", "representation", "OperationOutcome"]);
            self.headers["prefer"] = json!(format!("return={wish}"));
        }
    }

    /// Criteria of a write, most of them about the patient, and which form of it they are for.
    fn criteria(&mut self, dice: &mut Dice, filters: &[content::Pair]) {
        self.search(dice, filters);
        self.compartment = None;
        self.parameters.retain(|(name, _)| !name.starts_with('_') || name == "_id");
        if self.parameters.is_empty() {
            self.parameters.push(("_id".into(), self.id.clone()));
        }
        let context = self.scopes.first().and_then(|scope| scope.split('/').next()).unwrap_or("user").to_owned();
        if dice.percent(85) {
            self.scopes.push(format!("{context}/{}.cuds", self.resource_type));
        }
    }

    fn search(&mut self, dice: &mut Dice, filters: &[content::Pair]) {
        if self.resource_type == "Nonsense" {
            return;
        }
        let codes = pin_codes(self.definitions, &self.resource_type);
        let is_open = self.definitions.class(&self.resource_type) == Class::Open;
        for _ in 0..dice.weighted(&[(40, 0), (52, 1), (8, 2)]) {
            if !codes.is_empty() && !is_open {
                let code = dice.pick(&codes).clone();
                let value = self.pin(dice, &code);
                self.parameters.push((code, value));
            }
        }
        if dice.percent(30) {
            self.parameters.extend(filters.iter().cloned());
        }
        if dice.percent(50) {
            let mut scratch = json!({});
            self.parameters.extend(content::judged(dice, self.definitions, &self.resource_type, &mut scratch));
        }
        if dice.percent(40) {
            let (name, value) = dice.weighted(&[
                (3, ("_count", "10")),
                (2, ("_id", "9")),
                (1, ("_lastUpdated", "ge2024")),
                (1, ("_summary", "count")),
                (1, ("_total", "accurate")),
                (1, ("_elements", "status")),
                (1, ("_format", "json")),
                (1, ("_tag", "http://t|x")),
            ]);
            if !codes.iter().any(|code| code == name) {
                self.parameters.push((name.into(), value.into()));
            }
        }
        if self.definitions.class(&self.resource_type) == Class::Record && dice.percent(10) {
            self.compartment = Some(("Patient".into(), self.patient.clone()));
        }
    }

    /// A value that confines a search to patients.
    fn pin(&self, dice: &mut Dice, code: &str) -> String {
        let one_target =
            self.definitions.parameter(&self.resource_type, code).is_some_and(|known| known.target.len() == 1);
        let one = |dice: &mut Dice| {
            let id = if dice.percent(75) { self.patient.clone() } else { dice.text(&PATIENTS) };
            match dice.below(6) {
                _ if code == "_id" => id,
                0 => format!("{}/Patient/{id}", BASE),
                1..=3 if one_target => id,
                _ => format!("Patient/{id}"),
            }
        };
        let mut value = one(dice);
        for _ in 0..dice.weighted(&[(75, 0), (20, 1), (5, 2)]) {
            value = format!("{value},{}", one(dice));
        }
        value
    }
}

//! Searches of one type: refused, run as they are, narrowed, or filtered row by row.

use std::collections::BTreeSet;

use chartgate_model::{Interaction, Millis, SubjectKind};

use super::definitions::{Class, Definitions};
use super::fhirpath::Expression;
use super::people::{Reach, Standing, earlier};
use super::reference::{self, Literal};
use super::scope::Context;
use super::{Bound, Ends, Narrowed, Opinion, World, permit};

/// Parameters that shape the answer.
const RESULT: [&str; 6] = ["_count", "_summary", "_total", "_elements", "_format", "_pretty"];
/// Parameters that reach other resources into the answer, or shape it in ways we do not follow.
const INTRICATE: [&str; 3] = ["_include", "_revinclude", "_sort"];
/// Patients a narrowed search may name, where the settings do not say.
const PATIENTS_MAX: u64 = 100;

/// What is left of a clause once the search's own pins are taken into account.
#[derive(Clone)]
struct Part {
    /// `None`: everybody
    reach: Option<Reach>,
    pairs: Vec<(String, String)>,
}

/// Parameters by which a search of a type is confined to patients.
pub fn pin_codes(definitions: &Definitions, kind: &str) -> Vec<String> {
    if kind == "Patient" {
        return vec!["_id".into()];
    }
    let mut codes = definitions.about(kind);
    let elements = |code: &str| {
        let found =
            definitions.parameter(kind, code).and_then(|parameter| Expression::parse(&parameter.expression, kind));
        found.map(|expression| expression.elements()).unwrap_or_default()
    };
    let about: Vec<_> = codes.iter().flat_map(|code| elements(code)).collect();
    let own = elements("patient");
    if !own.is_empty() && own.iter().all(|path| about.contains(path)) && !codes.iter().any(|code| code == "patient") {
        codes.push("patient".into());
    }
    codes
}

/// The patients a value of such a parameter names, and whether it names nothing else and each by a full
/// reference; a bare id will do for `patient` and `_id`.
pub fn pinned(kind: &str, code: &str, value: &str, base: &str) -> (BTreeSet<String>, bool) {
    let (mut patients, mut clean) = (BTreeSet::new(), true);
    for one in value.split(',') {
        match reference::read(one, base) {
            _ if reference::is_id(one) => {
                patients.insert(one.to_owned());
                clean &= code == "patient" || code == "_id";
            }
            Literal::Local { kind: of, id } if of == "Patient" && kind != "Patient" => {
                patients.insert(id);
            }
            _ => clean = false,
        }
    }
    (patients, clean)
}

/// A parameter with the alternatives of its value in order and once each.
pub fn normal(name: &str, value: &str) -> (String, String) {
    let alternatives: BTreeSet<&str> = value.split(',').collect();
    (name.to_owned(), alternatives.into_iter().collect::<Vec<_>>().join(","))
}

/// Whether a parameter of Patient is one that people are told apart by, with values that tell them apart.
fn looks_for(name: &str, value: &str) -> bool {
    const TELLING: [&str; 8] = ["identifier", "name", "family", "given", "phonetic", "telecom", "phone", "email"];
    let mut alternatives = value.split(',');
    match name {
        "birthdate" | "birthdate:exact" => {
            alternatives.all(|one| one.bytes().next().is_some_and(|b| b.is_ascii_digit()))
        }
        _ if TELLING.iter().any(|telling| name == *telling || name == format!("{telling}:exact")) => {
            alternatives.all(|one| !one.is_empty() && !one.ends_with('|'))
        }
        _ => false,
    }
}

impl World<'_> {
    pub(super) fn search(&self) -> Opinion {
        let request = &self.request.request;
        let kind = request.resource_type.as_str();
        let class = self.definitions.class(kind);
        if class == Class::Refused || request.compartment.as_ref().is_some_and(|(of, _)| of != "Patient") {
            return Opinion::Deny;
        }
        if let Some(opinion) = self.refused_or_intricate(kind) {
            return opinion;
        }
        match class {
            Class::Open => self.search_open(kind),
            _ => self.search_records(kind),
        }
    }

    /// A search over types: each of them is a search of its own.
    pub(super) fn search_types(&self) -> Opinion {
        let asked = &self.request.request;
        let named: Vec<&str> =
            asked.parameters.iter().filter(|one| one.name == "_type").map(|one| one.value.as_str()).collect();
        let [named] = named.as_slice() else { return Opinion::Deny };
        let types: Vec<&str> = named.split(',').collect();
        if !types.iter().all(|kind| self.definitions.has_type(kind)) {
            return Opinion::Deny;
        }
        let unites = self.can("search-union");
        let opinion = |kind: &&str| {
            let mut one = self.request.clone();
            one.request.interaction = Interaction::SearchType;
            one.request.resource_type = (*kind).to_owned();
            one.request.parameters.retain(|parameter| parameter.name != "_type");
            one.obligations.retain(|id| id == "response-filter" || id == "search-union");
            if unites {
                one.obligations.push("search-narrowing".into());
            }
            self.of_another(&one, |world| world.search())
        };
        let opinions: Vec<Opinion> = types.iter().map(opinion).collect();
        if opinions.iter().any(|opinion| matches!(opinion, Opinion::Unjudged(_))) {
            return Opinion::Unjudged("search over types");
        }
        let permitted: Vec<(&BTreeSet<String>, &Ends)> = opinions
            .iter()
            .filter_map(|opinion| match opinion {
                Opinion::Permit { obligations, ends, .. } => Some((obligations, ends)),
                _ => None,
            })
            .collect();
        let all = permitted.len() == opinions.len();
        if permitted.is_empty() || !(all || (unites && !self.is_shaped())) {
            return Opinion::Deny;
        }
        let mut ends: Ends = [None].into();
        for (_, of_one) in &permitted {
            ends = ends.iter().flat_map(|end| of_one.iter().map(|other| earlier(*end, *other))).collect();
        }
        let any = |id: &str| permitted.iter().any(|(obligations, _)| obligations.contains(id));
        let mut obligations = Vec::new();
        if !all || any("search-narrowing") || any("search-union") {
            obligations.push("search-union");
        }
        if any("response-filter") {
            obligations.push("response-filter");
        }
        self.permit_with(&obligations, ends)
    }

    /// Parameters we do not follow, and those nobody may use.
    fn refused_or_intricate(&self, kind: &str) -> Option<Opinion> {
        let mut intricate = false;
        for parameter in &self.request.request.parameters {
            let (name, modified) = match parameter.name.split_once([':', '.']) {
                Some((name, _)) => (name, true),
                None => (parameter.name.as_str(), false),
            };
            if RESULT.contains(&name) && !modified {
                continue;
            }
            if parameter.name.contains('.') || name == "_has" {
                if !self.looks_at_ones_own(kind, name) {
                    return Some(Opinion::Deny);
                }
                intricate = true;
                continue;
            }
            intricate |= modified || INTRICATE.contains(&name);
            let known = self.definitions.parameter(kind, name).is_some();
            if !known && !INTRICATE.contains(&name) {
                return Some(Opinion::Deny);
            }
        }
        intricate.then_some(Opinion::Unjudged("search with includes, an order or modifiers"))
    }

    /// Whether a parameter that looks at another resource stays with the patient.
    fn looks_at_ones_own(&self, kind: &str, name: &str) -> bool {
        match name {
            "_has" => kind == "Patient",
            _ => self.definitions.parameter(kind, name).is_some_and(|known| known.target == ["Patient"]),
        }
    }

    fn search_open(&self, kind: &str) -> Opinion {
        let mut parts = Vec::new();
        let (mut free, mut ends) = (Ends::new(), Ends::new());
        for live in self.live(kind, 's', false) {
            // A patient's compartment tells of that patient, whatever the type of its rows.
            let end = match (&self.request.request.compartment, &live.bound) {
                (Some((_, id)), Bound::User | Bound::Launch { .. }) => match self.within(&live, kind, id).first() {
                    Some(standing) => [standing.end].into(),
                    None => continue,
                },
                _ => self.open_end(&live),
            };
            if live.filters.is_empty() {
                free.extend(end.clone());
            }
            ends.extend(end);
            parts.push(Part { reach: None, pairs: live.pairs });
        }
        if !free.is_empty() {
            return permit(free);
        }
        if parts.is_empty() { Opinion::Deny } else { self.confine(kind, parts, ends) }
    }

    fn search_records(&self, kind: &str) -> Opinion {
        let (mut pins, _) = self.pins(kind);
        if let Some((_, id)) = &self.request.request.compartment {
            pins = both(pins, [id.clone()].into());
        }
        let is_system = self.request.subject.kind == SubjectKind::System;
        if !is_system && pins.as_ref().is_some_and(|pins| pins.len() as u64 > self.patients_max()) {
            return Opinion::Deny;
        }
        let mut parts = Vec::new();
        // A provider who names nobody has to look for somebody.
        let leafs_through = kind == "Patient"
            && self.request.subject.kind == SubjectKind::Provider
            && pins.is_none()
            && !self.request.request.parameters.iter().any(|parameter| looks_for(&parameter.name, &parameter.value));
        for live in self.live(kind, 's', false) {
            if leafs_through && live.context == Context::User {
                continue;
            }
            let reach = match live.bound {
                Bound::All => None,
                _ => Some(self.reach(&live, kind, pins.as_ref())).filter(|reach| !reach.is_empty()),
            };
            if reach.is_none() && !is_system {
                continue;
            }
            parts.push(Part { reach, pairs: live.pairs });
        }
        if parts.is_empty() {
            return Opinion::Deny;
        }
        let mut ends: Ends = parts.iter().map(|part| end_of(part.reach.as_ref())).collect();
        ends.insert(parts.iter().map(|part| end_of(part.reach.as_ref())).fold(None, earlier));
        self.confine(kind, parts, ends)
    }

    /// The patients the search's parameters name, and for each that says so by itself, those to which it
    /// surely confines the search.
    ///
    /// The compartment is not among them: a resource may be in one by a role and about somebody else.
    fn pins(&self, kind: &str) -> (Option<BTreeSet<String>>, Vec<BTreeSet<String>>) {
        let codes = pin_codes(self.definitions, kind);
        let (mut pins, mut sure) = (None, Vec::new());
        for parameter in &self.request.request.parameters {
            if codes.contains(&parameter.name) {
                let base = &self.request.base.url;
                let (named, is_clean) = pinned(kind, &parameter.name, &parameter.value, base);
                if is_clean {
                    sure.push(named.clone());
                }
                pins = both(pins, named);
            }
        }
        (pins, sure)
    }

    /// Confine the search to what the clauses leave.
    fn confine(&self, kind: &str, parts: Vec<Part>, ends: Ends) -> Opinion {
        let satisfied = parts.iter().any(|part| self.satisfies(kind, part));
        let Some(part) = merged(parts.clone()) else {
            if satisfied {
                return Opinion::Unjudged("search that one of several clauses permits as it is");
            }
            let fits = |reach: &Reach| reach.len() as u64 <= self.patients_max();
            let can_unite = parts.iter().all(|part| part.reach.as_ref().is_none_or(fits));
            if !(can_unite && self.can("search-union") && !self.is_counted()) {
                return self.filtered(&["response-filter"], ends);
            }
            let is_exclusive =
                parts.iter().any(|part| part.reach.is_some()) && self.definitions.listed("exclusive", kind);
            let standings = parts.iter().flat_map(|part| part.reach.iter().flatten());
            let hides = standings.into_iter().any(|(_, standings)| standings.iter().all(Standing::hides));
            let is_filtered = is_exclusive || hides;
            return self
                .filtered(if is_filtered { &["search-union", "response-filter"] } else { &["search-union"] }, ends);
        };
        if satisfied && !self.satisfies(kind, &part) {
            return Opinion::Unjudged("search that one of several clauses permits as it is");
        }
        let is_open = self.definitions.class(kind) == Class::Open;
        let ends: Ends = if is_open { ends } else { [end_of(part.reach.as_ref())].into() };
        let (codes, base) = (pin_codes(self.definitions, kind), &self.request.base.url);
        let asked = &self.request.request.parameters;
        let is_exclusive = part.reach.is_some() && self.definitions.listed("exclusive", kind);
        let hides = part.reach.iter().flatten().any(|(_, standings)| standings.iter().all(Standing::hides));
        let is_filtered = is_exclusive || hides;
        if self.satisfies(kind, &part) {
            return self.filtered(if is_filtered { &["response-filter"] } else { &[] }, ends);
        }
        let fits = part.reach.as_ref().is_none_or(|reach| reach.len() as u64 <= self.patients_max());
        if !fits || !self.can("search-narrowing") {
            return self.filtered(&["response-filter"], ends);
        }
        let mut patients: Option<BTreeSet<String>> = part.reach.map(|reach| reach.into_keys().collect());
        let mut parameters = BTreeSet::new();
        let given = asked.iter().map(|given| (given.name.clone(), given.value.clone()));
        for (name, value) in given.chain(part.pairs) {
            if !is_open && codes.contains(&name) {
                patients = both(patients, pinned(kind, &name, &value, base).0);
            } else {
                parameters.insert(normal(&name, &value));
            }
        }
        let ids: &[&str] = if is_filtered { &["search-narrowing", "response-filter"] } else { &["search-narrowing"] };
        match self.filtered(ids, ends) {
            Opinion::Permit { obligations, ends, .. } => {
                Opinion::Permit { obligations, narrowed: Some(Narrowed { patients, parameters }), ends }
            }
            other => other,
        }
    }

    /// Whether the search asks for nothing but what a clause leaves.
    fn satisfies(&self, kind: &str, part: &Part) -> bool {
        let asked = &self.request.request.parameters;
        let has = |pair: &(String, String)| asked.iter().any(|given| given.name == pair.0 && given.value == pair.1);
        let (_, sure) = self.pins(kind);
        let confined = match (&part.reach, sure) {
            (None, _) => true,
            (Some(reach), sure) => sure.iter().any(|pin| pin.iter().all(|id| reach.contains_key(id))),
        };
        confined && part.pairs.iter().all(has)
    }

    /// Whether a number of rows is asked for.
    fn is_counted(&self) -> bool {
        self.request.request.parameters.iter().any(|given| match given.name.as_str() {
            "_summary" => given.value == "count",
            "_total" => given.value != "none",
            "_count" => given.value == "0",
            _ => false,
        })
    }

    /// Rows with members left out cannot be judged, and a count tells of rows that are taken away.
    fn is_shaped(&self) -> bool {
        let left_out = |name: &str, value: &str| name == "_elements" || (name == "_summary" && value != "false");
        self.is_counted() || self.request.request.parameters.iter().any(|given| left_out(&given.name, &given.value))
    }

    /// A permit, unless rows were to be taken away from an answer that counts them. Where every row is
    /// judged again, the permit itself need not end.
    fn filtered(&self, obligations: &[&str], mut ends: Ends) -> Opinion {
        if obligations == ["response-filter"] {
            ends.insert(None);
        }
        if self.is_shaped() && obligations.contains(&"response-filter") {
            return Opinion::Deny;
        }
        self.permit_with(obligations, ends)
    }

    fn patients_max(&self) -> u64 {
        self.settings["narrowing_patients_max"].as_u64().unwrap_or(PATIENTS_MAX)
    }
}

fn both(one: Option<BTreeSet<String>>, other: BTreeSet<String>) -> Option<BTreeSet<String>> {
    Some(match one {
        Some(one) => one.intersection(&other).cloned().collect(),
        None => other,
    })
}

fn end_of(reach: Option<&Reach>) -> Option<Millis> {
    let first = |standings: &Vec<Standing>| standings.first().and_then(|standing| standing.end);
    reach.into_iter().flatten().map(|(_, standings)| first(standings)).fold(None, earlier)
}

/// The clauses as one, where one search can say it: one covers the others, or they differ in the value of their
/// only filter alone.
fn merged(parts: Vec<Part>) -> Option<Part> {
    let mut left: Vec<Part> = Vec::new();
    for (at, part) in parts.iter().enumerate() {
        let earlier_twin = |other: usize| other < at || !covers(part, &parts[other]);
        let covered = (0..parts.len()).any(|other| other != at && covers(&parts[other], part) && earlier_twin(other));
        if !covered {
            left.push(part.clone());
        }
    }
    let mut rest = left.into_iter();
    let mut one = rest.next()?;
    for next in rest {
        if same_patients(&one, &next) && one.pairs.len() == 1 && next.pairs.len() == 1 {
            let ((name, value), (other, more)) = (&one.pairs[0], &next.pairs[0]);
            if name != other {
                return None;
            }
            one.pairs = vec![(name.clone(), format!("{value},{more}"))];
        } else {
            return None;
        }
    }
    Some(one)
}

fn same_patients(one: &Part, other: &Part) -> bool {
    one.reach.as_ref().map(|reach| reach.keys().collect::<Vec<_>>())
        == other.reach.as_ref().map(|reach| reach.keys().collect::<Vec<_>>())
}

/// Whether a clause leaves everything another one leaves.
fn covers(one: &Part, other: &Part) -> bool {
    let patients = match (&one.reach, &other.reach) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(one), Some(other)) => other.keys().all(|id| one.contains_key(id)),
    };
    patients && one.pairs.iter().all(|pair| other.pairs.contains(pair))
}

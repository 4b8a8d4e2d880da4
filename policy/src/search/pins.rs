//! Patients a search names by itself: `patient=1,2`, `subject=Patient/1`, `_id=1` on Patient, or the
//! compartment in its path.

use alloc::string::String;
use alloc::vec::Vec;

use crate::access::relationship::Standing;
use crate::reason::Reason;
use crate::reference::{Target, is_id, target};
use crate::tables::ResourceType;
use crate::types::Request;

/// What a search pins.
pub(crate) struct Pins<'a> {
    /// patients every row must belong to; `None` when the search names none
    pub(crate) patients: Option<Vec<&'a str>>,
    /// positions of the parameters a narrowing replaces
    pub(crate) replaced: Vec<usize>,
    /// the patients of each pin that keeps every row to its own by itself
    sufficient: Vec<Vec<&'a str>>,
}

impl<'a> Pins<'a> {
    /// Read the pins of a search.
    ///
    /// SECURITY: a parameter with a modifier never pins (`patient:not=1`), and neither does one that
    /// names a role: `performer=Patient/1` returns other people's rows.
    pub(crate) fn read(request: &Request<'a>, on: &'static ResourceType) -> Result<Self, Reason> {
        let mut pins = Self { patients: None, replaced: Vec::new(), sufficient: Vec::new() };
        match request.compartment {
            // Rows are in a compartment by any of its parameters, roles among them.
            Some(("Patient", id)) => pins.also(Vec::from([id])),
            Some(_) => return Err(Reason::CompartmentUnsupported),
            None => {}
        }
        for (at, parameter) in request.parameters.iter().enumerate() {
            if !pins_patients(on, parameter.name) {
                continue;
            }
            let values: Vec<&str> = parameter.value.split(',').collect();
            let only_patients = parameter.name == "_id" || (parameter.name == on.narrow_by && on.narrow_by_bare_id);
            let patients: Vec<&str> = values.iter().filter_map(|value| patient(value, request.base)).collect();
            // A Group or an unreadable value beside the patient, or a bare id that could be another type's:
            // rewritten, so that only the patient is left.
            let plain = |value: &&str| only_patients || !is_id(value);
            if patients.len() == values.len() && values.iter().all(plain) {
                pins.sufficient.push(patients.clone());
            }
            pins.replaced.push(at);
            pins.also(patients);
        }
        Ok(pins)
    }

    /// Every row must also belong to one of these.
    fn also(&mut self, mut patients: Vec<&'a str>) {
        patients.sort_unstable();
        patients.dedup();
        self.patients = Some(match self.patients.take() {
            None => patients,
            Some(known) => known.into_iter().filter(|id| patients.contains(id)).collect(),
        });
    }

    /// The search returns rows of these patients only, as it stands.
    ///
    /// SECURITY: one pin has to do it alone. Two that overlap in a permitted patient need not: a row in
    /// the compartment of one (as its performer) and about a stranger is in both.
    pub(crate) fn exactly(&self, permitted: &[(String, Standing)]) -> bool {
        let within = |id: &&str| permitted.iter().any(|(known, _)| known == id);
        self.sufficient.iter().any(|pin| pin.iter().all(within))
    }
}

/// Whether a parameter says whose rows are meant.
pub(super) fn pins_patients(on: &ResourceType, name: &str) -> bool {
    let confers = || on.members.iter().any(|member| member.parameter == name && member.read);
    // A Patient's `link` names other charts; only its id says which patient it is.
    name == on.narrow_by || (on.name != "Patient" && confers())
}

fn patient<'a>(value: &'a str, base: &str) -> Option<&'a str> {
    if is_id(value) {
        return Some(value);
    }
    match target(value, base) {
        Target::Local { resource_type: "Patient", id } => Some(id),
        _ => None,
    }
}

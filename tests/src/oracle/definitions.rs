//! The official definitions and the rulings, read from `policy/definitions` when first needed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::OnceLock;

use serde_json::Value;

/// FHIR versions there may be definitions for, the folder of each, and the folder of its rulings.
const VERSIONS: [(&str, &str, &str); 3] = [("4.0.1", "r4", "r4"), ("4.3.0", "r4b", "r4"), ("5.0.0", "r5", "r5")];

/// A search parameter.
#[derive(Debug)]
pub struct Parameter {
    /// types it is for, `Resource` and `DomainResource` among them
    pub base: Vec<String>,
    /// `category`
    pub code: String,
    /// `token`
    pub kind: String,
    /// its FHIRPath
    pub expression: String,
    /// types a reference may be to
    pub target: Vec<String>,
}

/// Everything that is defined for one FHIR version.
#[derive(Debug)]
pub struct Definitions {
    types: BTreeSet<String>,
    compartment: BTreeMap<String, Vec<String>>,
    parameters: Vec<Parameter>,
    overlay: Value,
}

/// How a type is ruled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// the patient's own resource
    Patient,
    /// somebody's record
    Record,
    /// directory and definitions: a scope is enough
    Open,
    /// refused to all
    Refused,
}

/// The definitions for a FHIR version; `None` when there are none.
pub fn of_version(version: &str) -> Option<&'static Definitions> {
    static LOADED: [OnceLock<Option<Definitions>>; 3] = [OnceLock::new(), OnceLock::new(), OnceLock::new()];
    let (slot, (_, folder, overlay)) = LOADED.iter().zip(VERSIONS).find(|(_, known)| known.0 == version)?;
    slot.get_or_init(|| load(folder, overlay)).as_ref()
}

fn load(folder: &str, overlay: &str) -> Option<Definitions> {
    let root = crate::workspace_root().join("policy/definitions");
    let read = |folder: &str, file: &str| json(&root.join(folder).join(file));
    let compartment = read(folder, "patient-compartment.json")?;
    let parameters = read(folder, "search-parameters.json")?;
    Some(Definitions {
        types: strings(&read(folder, "resource-types.json")?["resourceTypes"]).into_iter().collect(),
        compartment: compartment["patient"].as_object()?.iter().map(|(k, v)| (k.clone(), strings(v))).collect(),
        parameters: parameters["searchParameters"].as_array()?.iter().filter_map(parameter).collect(),
        overlay: read(overlay, "overlay.json")?,
    })
}

fn json(path: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(path).ok()?).ok()
}

fn strings(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `None` where nobody can say what it looks at: without an expression, and `_in`, whose expression is the id and
/// which means the lists a resource is on.
fn parameter(given: &Value) -> Option<Parameter> {
    let text = |name: &str| given[name].as_str().map(str::to_owned);
    let parameter = Parameter {
        base: strings(&given["base"]),
        code: text("code").unwrap_or_default(),
        kind: text("type").unwrap_or_default(),
        expression: text("expression")?,
        target: strings(&given["target"]),
    };
    Some(parameter).filter(|parameter| parameter.code != "_in")
}

impl Definitions {
    /// Whether the version has this type.
    pub fn has_type(&self, kind: &str) -> bool {
        self.types.contains(kind)
    }

    /// The search parameter of a type, its common ones included.
    pub fn parameter(&self, kind: &str, code: &str) -> Option<&Parameter> {
        let common = |base: &String| base == kind || base == "Resource" || base == "DomainResource";
        self.parameters.iter().find(|parameter| parameter.code == code && parameter.base.iter().any(common))
    }

    /// All search parameters of a type with their own base, for the generator.
    pub fn parameters_of<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Parameter> {
        self.parameters.iter().filter(move |parameter| parameter.base.iter().any(|base| base == kind))
    }

    /// Whether a list of the rulings names a type.
    pub fn listed(&self, list: &str, kind: &str) -> bool {
        strings(&self.overlay[list]).iter().any(|listed| listed == kind)
    }

    /// How a type is ruled.
    pub fn class(&self, kind: &str) -> Class {
        if !self.has_type(kind) {
            Class::Refused
        } else if kind == "Patient" {
            Class::Patient
        } else if self.listed("shared", kind) || self.listed("definitional", kind) {
            Class::Open
        } else if self.listed("none", kind) || self.about(kind).is_empty() {
            Class::Refused
        } else {
            Class::Record
        }
    }

    /// Every type of a class, for the generator.
    pub fn types_of(&self, class: Class) -> Vec<&str> {
        self.types.iter().map(String::as_str).filter(|kind| self.class(kind) == class).collect()
    }

    /// Parameters that say whose record a resource is.
    pub fn about(&self, kind: &str) -> Vec<String> {
        let mut codes = strings(&self.overlay["about"][kind]);
        codes.extend(strings(&self.overlay["extra"][kind]));
        codes
    }

    /// The other parameters of the compartment: somebody's role.
    pub fn roles(&self, kind: &str) -> Vec<String> {
        let about = self.about(kind);
        let codes = self.compartment.get(kind).cloned().unwrap_or_default();
        codes.into_iter().filter(|code| !about.contains(code)).collect()
    }
}

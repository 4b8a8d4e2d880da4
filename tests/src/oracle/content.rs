//! Whom a resource names, and through which parameters.

use serde_json::Value;

use super::definitions::Definitions;
use super::fhirpath::Expression;
use super::reference::{self, Literal};

/// The patients a resource names.
#[derive(Debug, Default)]
pub struct Named {
    /// those whose record it is
    pub about: Vec<String>,
    /// those with a role in it
    pub roles: Vec<String>,
    /// somebody is named who could be a patient, and nobody can tell which
    pub unclear: bool,
    /// something stands where a reference belongs
    pub malformed: bool,
}

/// Read them off a resource.
pub fn named(definitions: &Definitions, kind: &str, resource: &Value, base: &str) -> Named {
    let mut named = Named::default();
    for code in definitions.about(kind) {
        let patients = named.collect(definitions, kind, &code, resource, base);
        named.about.extend(patients);
    }
    for code in definitions.roles(kind) {
        let patients = named.collect(definitions, kind, &code, resource, base);
        named.roles.extend(patients);
    }
    named
}

impl Named {
    fn collect(
        &mut self,
        definitions: &Definitions,
        of: &str,
        code: &str,
        resource: &Value,
        base: &str,
    ) -> Vec<String> {
        let expression = definitions.parameter(of, code).map(|parameter| parameter.expression.as_str());
        let Some(expression) = expression.and_then(|text| Expression::parse(text, of)) else { return Vec::new() };
        let mut patients = Vec::new();
        for node in expression.find(resource, base, true) {
            // `subscriberId` is an element of its own and no spelling of `subscriber`.
            if node.tag.is_some_and(|tag| tag != "Reference") {
                continue;
            }
            self.malformed |= !node.value.is_object();
            let text = node.value.get("reference").and_then(Value::as_str);
            match text.map(|text| reference::read(text, base)) {
                Some(Literal::Local { kind, id }) if kind == "Patient" => patients.push(id),
                Some(Literal::Local { .. }) => {}
                Some(Literal::Foreign(Some(kind))) if kind != "Patient" && definitions.has_type(&kind) => {}
                Some(_) => self.unclear = true,
                None => self.unclear |= !is_somebody_else(definitions, node.value),
            }
        }
        patients
    }
}

/// Whether a reference without a literal says itself that it is to another type.
fn is_somebody_else(definitions: &Definitions, reference: &Value) -> bool {
    let kind = reference.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| kind != "Patient" && definitions.has_type(kind))
}

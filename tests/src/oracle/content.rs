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
}

/// Read them off a resource.
pub fn named(definitions: &Definitions, kind: &str, resource: &Value, base: &str) -> Named {
    let mut named = Named::default();
    for code in definitions.about(kind) {
        collect(definitions, kind, &code, resource, base, &mut named.about, &mut named.unclear);
    }
    for code in definitions.roles(kind) {
        collect(definitions, kind, &code, resource, base, &mut named.roles, &mut named.unclear);
    }
    named
}

fn collect(
    definitions: &Definitions,
    kind: &str,
    code: &str,
    resource: &Value,
    base: &str,
    patients: &mut Vec<String>,
    unclear: &mut bool,
) {
    let expression = definitions.parameter(kind, code).and_then(|parameter| parameter.expression.as_deref());
    let Some(expression) = expression.and_then(|text| Expression::parse(text, kind)) else { return };
    for node in expression.find(resource, base, true) {
        let text = node.value.get("reference").and_then(Value::as_str);
        match text.map(|text| reference::read(text, base)) {
            Some(Literal::Local { kind, id }) if kind == "Patient" => patients.push(id),
            Some(Literal::Local { .. }) => {}
            Some(Literal::Foreign(Some(kind))) if kind != "Patient" && definitions.has_type(&kind) => {}
            Some(_) => *unclear = true,
            None => *unclear |= !is_somebody_else(definitions, node.value),
        }
    }
}

/// Whether a reference without a literal says itself that it is to another type.
fn is_somebody_else(definitions: &Definitions, reference: &Value) -> bool {
    let kind = reference.get("type").and_then(Value::as_str);
    kind.is_some_and(|kind| kind != "Patient" && definitions.has_type(kind))
}

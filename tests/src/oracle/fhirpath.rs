//! The few constructs of FHIRPath that search parameters are made of, over plain JSON.

use serde_json::Value;

use super::reference::{self, Literal};

/// Data types that may be the suffix of a choice element, as they are spelt there.
const SUFFIXES: [&str; 40] = [
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "Base64Binary",
    "Boolean",
    "Canonical",
    "Code",
    "CodeableConcept",
    "CodeableReference",
    "Coding",
    "ContactPoint",
    "Count",
    "Date",
    "DateTime",
    "Decimal",
    "Distance",
    "Duration",
    "Expression",
    "HumanName",
    "Id",
    "Identifier",
    "Instant",
    "Integer",
    "Markdown",
    "Money",
    "Oid",
    "Period",
    "PositiveInt",
    "Quantity",
    "Range",
    "Ratio",
    "Reference",
    "SampledData",
    "String",
    "Time",
    "Timing",
    "UnsignedInt",
    "Uri",
    "Url",
];

/// A value an expression found.
#[derive(Debug, Clone, Copy)]
pub struct Node<'a> {
    /// the JSON
    pub value: &'a Value,
    /// its type where a choice element says it, `DateTime`
    pub tag: Option<&'a str>,
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Field(String),
    OfType(String),
    Resolves(String),
    Equals(String, String),
    /// `x.exists() and x != false`
    Truthy,
}

/// One alternative of an expression.
#[derive(Debug)]
struct Path(Vec<Step>);

/// An expression, cut to what is about one type.
#[derive(Debug)]
pub struct Expression(Vec<Path>);

impl Expression {
    /// Read it for a type; `None` when a part about that type has a construct we do not know.
    pub fn parse(text: &str, kind: &str) -> Option<Self> {
        let mut paths = Vec::new();
        for part in split(text, '|') {
            let part = part.trim();
            let root: String = part.trim_start_matches('(').chars().take_while(char::is_ascii_alphabetic).collect();
            if root == kind || root == "Resource" || root == "DomainResource" {
                paths.push(Path(path(part)?));
            } else if root.starts_with(|c: char| c.is_ascii_lowercase()) {
                // A few parameters of one type leave the type away: `value.ofType(string)`.
                paths.push(Path(path(&format!("{kind}.{part}"))?));
            }
        }
        (!paths.is_empty()).then_some(Self(paths))
    }

    /// Every value it finds; with `raw`, references count whatever they resolve to.
    pub fn find<'a>(&self, resource: &'a Value, base: &str, raw: bool) -> Vec<Node<'a>> {
        let mut found = Vec::new();
        for Path(steps) in &self.0 {
            let mut nodes = vec![Node { value: resource, tag: None }];
            for (at, step) in steps.iter().enumerate() {
                // A choice element ends a path, or its type is asked for; on the way it has one name.
                let passing = matches!(steps.get(at + 1), Some(Step::Field(_)));
                nodes = nodes.into_iter().flat_map(|node| apply(step, node, base, raw, passing)).collect();
            }
            found.extend(nodes);
        }
        found
    }

    /// How to write content that each alternative finds.
    pub fn sketches(&self) -> Vec<Vec<Sketch>> {
        self.0.iter().map(|Path(steps)| sketch(steps)).collect()
    }

    /// The element names of each alternative, without conditions.
    pub fn elements(&self) -> Vec<Vec<String>> {
        let names = |Path(steps): &Path| {
            let field = |step: &Step| if let Step::Field(name) = step { Some(name.clone()) } else { None };
            steps.iter().filter_map(field).collect()
        };
        self.0.iter().map(names).collect()
    }
}

/// A piece of content to write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sketch {
    /// an element, `valueQuantity`, with its type where the expression says it
    Element(String, Option<String>),
    /// a member beside the next element
    Beside(String, String),
}

fn sketch(steps: &[Step]) -> Vec<Sketch> {
    let mut sketch = Vec::new();
    for step in steps {
        match step {
            Step::Field(name) => sketch.push(Sketch::Element(name.clone(), None)),
            Step::Equals(name, value) => sketch.push(Sketch::Beside(name.clone(), value.clone())),
            Step::OfType(kind) => {
                if let Some(Sketch::Element(name, tag)) = sketch.last_mut() {
                    let mut letters = kind.chars();
                    name.extend(letters.next().map(|first| first.to_ascii_uppercase()));
                    name.push_str(letters.as_str());
                    *tag = Some(kind.clone());
                }
            }
            Step::Resolves(_) | Step::Truthy => {}
        }
    }
    sketch
}

/// Split where the separator stands outside parentheses and quotes.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut depth, mut quoted, mut start) = (0, false, 0);
    let mut parts = Vec::new();
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth -= 1,
            _ if c == separator && depth == 0 && !quoted => {
                parts.push(text.get(start..at).unwrap_or_default());
                start = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

fn path(text: &str) -> Option<Vec<Step>> {
    if let Some((left, right)) = text.split_once(".exists() and ") {
        let mut steps = path(left)?;
        steps.push(Step::Truthy);
        return (right == format!("{left} != false")).then_some(steps);
    }
    if let Some((left, kind)) = text.split_once(" as ").filter(|_| !text.starts_with('(')) {
        let mut steps = path(left)?;
        steps.push(Step::OfType(kind.trim().to_owned()));
        return Some(steps);
    }
    let mut steps = Vec::new();
    for (at, token) in split(text, '.').into_iter().enumerate() {
        match token.strip_prefix('(').and_then(|inner| inner.strip_suffix(')')) {
            Some(inner) if at == 0 => steps.extend(path(inner.trim())?),
            _ if at == 0 => {}
            _ => steps.push(step(token)?),
        }
    }
    Some(steps)
}

fn step(token: &str) -> Option<Step> {
    let call = |name: &str| token.strip_prefix(name)?.strip_prefix('(')?.strip_suffix(')');
    if let Some(kind) = call("as").or_else(|| call("ofType")) {
        return Some(Step::OfType(kind.trim().to_owned()));
    }
    if let Some(condition) = call("where") {
        if let Some(kind) = condition.strip_prefix("resolve() is ") {
            return Some(Step::Resolves(kind.trim().to_owned()));
        }
        let (name, value) = condition.split_once('=')?;
        let value = value.trim().strip_prefix('\'')?.strip_suffix('\'')?;
        return is_name(name.trim()).then(|| Step::Equals(name.trim().to_owned(), value.to_owned()));
    }
    is_name(token).then(|| Step::Field(token.to_owned()))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric())
}

fn apply<'a>(step: &Step, node: Node<'a>, base: &str, raw: bool, passing: bool) -> Vec<Node<'a>> {
    let keep = |condition: bool| if condition { vec![node] } else { Vec::new() };
    match step {
        Step::Field(name) => field(node.value, name, passing),
        Step::OfType(kind) => keep(node.tag.is_some_and(|tag| tag.eq_ignore_ascii_case(kind))),
        Step::Equals(name, value) => keep(node.value.get(name).and_then(Value::as_str) == Some(value)),
        Step::Resolves(kind) => {
            let literal = node.value.get("reference").and_then(Value::as_str).map(|text| reference::read(text, base));
            keep(raw || matches!(literal, Some(Literal::Local { kind: found, .. }) if found == *kind))
        }
        Step::Truthy => keep(*node.value != Value::Bool(false)),
    }
}

fn field<'a>(value: &'a Value, name: &str, passing: bool) -> Vec<Node<'a>> {
    let Some(object) = value.as_object() else { return Vec::new() };
    if let Some(value) = object.get(name) {
        return flat(value, None);
    }
    let mut found = Vec::new();
    for (key, value) in object.iter().filter(|_| !passing) {
        if let Some(suffix) = key.strip_prefix(name)
            && SUFFIXES.contains(&suffix)
        {
            found.extend(flat(value, Some(suffix)));
        }
    }
    found
}

fn flat<'a>(value: &'a Value, tag: Option<&'a str>) -> Vec<Node<'a>> {
    match value {
        Value::Array(items) => items.iter().map(|value| Node { value, tag }).collect(),
        _ => vec![Node { value, tag }],
    }
}

/// Whether an expression is the one question we answer with yes or no: `x.exists() and x != false`.
pub fn is_question(text: &str) -> bool {
    text.contains(".exists() and ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Expression;

    fn found(text: &str, kind: &str, resource: &Value) -> usize {
        Expression::parse(text, kind).unwrap().find(resource, "https://ehr.example/fhir", false).len()
    }

    #[test]
    fn choices_are_found_by_their_type() {
        let observation = json!({ "valueQuantity": { "value": 1 }, "effectiveDateTime": "2024", "valueSet": "no" });
        for (expression, count) in [
            ("Observation.effective", 1),
            ("Observation.value", 1),
            ("(Observation.value as Quantity)", 1),
            ("(Observation.value as string)", 0),
            ("Observation.value.ofType(Quantity)", 1),
            ("(Observation.value as Quantity) | (Observation.value as SampledData)", 1),
            ("Patient.name | Observation.effective", 1),
        ] {
            assert_eq!(found(expression, "Observation", &observation), count, "{expression}");
        }
    }

    #[test]
    fn conditions_hold_entries_back() {
        let patient = json!({
            "telecom": [{ "system": "phone", "value": "1" }, { "system": "email", "value": "2" }],
            "link": [{ "other": { "reference": "Patient/1" } }, { "other": { "reference": "RelatedPerson/1" } }],
        });
        assert_eq!(found("Patient.telecom.where(system='phone')", "Patient", &patient), 1);
        assert_eq!(found("Patient.link.other.where(resolve() is Patient)", "Patient", &patient), 1);
    }

    #[test]
    fn what_is_not_known_is_not_judged() {
        for text in ["Patient.extension('x').value", "Bundle.entry[0].resource", "Patient.name.first()"] {
            assert!(
                Expression::parse(text, "Patient").is_none() && Expression::parse(text, "Bundle").is_none(),
                "{text}"
            );
        }
    }
}

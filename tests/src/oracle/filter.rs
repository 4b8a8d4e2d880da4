//! Whether a resource matches one `name=value` of a granular scope (FHIR R4, Search, section 3.1.1).

use serde_json::Value;

use super::definitions::{Definitions, Parameter};
use super::fhirpath::{Expression, is_question};
use super::value::{date, number, reference, text, token};

/// A filter that can be judged.
pub struct Filter {
    expression: Expression,
    is_question: bool,
    wanted: Wanted,
}

/// What a value has to be: any of these.
enum Wanted {
    Token(Vec<token::Token>),
    Date(Vec<date::Date>),
    Number(Vec<number::Number>),
    Quantity(Vec<number::Quantity>),
    Text(Vec<String>),
    Uri(Vec<String>),
    Reference(Vec<reference::Target>),
}

impl Filter {
    /// Read it; `None` when it cannot be judged.
    pub fn parse(definitions: &Definitions, kind: &str, name: &str, value: &str, base: &str) -> Option<Self> {
        let parameter = definitions.parameter(kind, name)?;
        let text = &parameter.expression;
        let wanted = wanted(parameter, value, base)?;
        Some(Self { expression: Expression::parse(text, kind)?, is_question: is_question(text), wanted })
    }

    /// Whether any value of the resource is any of those wanted.
    pub fn matches(&self, resource: &Value, base: &str) -> bool {
        let nodes = self.expression.find(resource, base, false);
        if self.is_question {
            let answer = Value::Bool(!nodes.is_empty());
            return matches!(&self.wanted, Wanted::Token(any) if any.iter().any(|one| one.matches(&answer)));
        }
        nodes.iter().any(|node| match &self.wanted {
            Wanted::Token(any) => any.iter().any(|one| one.matches(node.value)),
            // A timing is no date, however it is written.
            Wanted::Date(any) => node.tag != Some("Timing") && any.iter().any(|one| one.matches(node.value)),
            Wanted::Number(any) => any.iter().any(|one| one.matches(node.value)),
            Wanted::Quantity(any) => any.iter().any(|one| one.matches(node.value)),
            Wanted::Text(any) => any.iter().any(|one| text::matches(one, node)),
            Wanted::Uri(any) => any.iter().any(|one| node.value.as_str() == Some(one)),
            Wanted::Reference(any) => any.iter().any(|one| one.matches(node.value, base)),
        })
    }
}

fn wanted(parameter: &Parameter, value: &str, base: &str) -> Option<Wanted> {
    Some(match parameter.kind.as_str() {
        "token" => Wanted::Token(each(fields(value, true)?, |fields| token::Token::read(&fields))?),
        "date" => Wanted::Date(each(fields(value, true)?, |fields| date::Date::read(only(&fields)?))?),
        "number" => Wanted::Number(each(fields(value, true)?, |fields| number::Number::read(only(&fields)?))?),
        "quantity" => Wanted::Quantity(each(fields(value, true)?, |fields| number::Quantity::read(&fields))?),
        "string" => Wanted::Text(each(fields(value, true)?, |fields| Some(only(&fields)?.to_owned()))?),
        "uri" => Wanted::Uri(each(fields(value, false)?, |fields| Some(only(&fields)?.to_owned()))?),
        "reference" => Wanted::Reference(each(fields(value, false)?, |fields| {
            reference::Target::read(only(&fields)?, &parameter.target, base)
        })?),
        _ => return None,
    })
}

fn each<T>(alternatives: Vec<Vec<String>>, read: impl Fn(Vec<String>) -> Option<T>) -> Option<Vec<T>> {
    alternatives.into_iter().map(read).collect()
}

fn only(fields: &[String]) -> Option<&str> {
    match fields {
        [one] => Some(one),
        _ => None,
    }
}

/// The alternatives of a value and, with `pipes`, the fields of each; escapes are undone. `None` for an
/// unknown escape or an empty alternative.
pub fn fields(value: &str, pipes: bool) -> Option<Vec<Vec<String>>> {
    let mut alternatives = vec![vec![String::new()]];
    let mut rest = value.chars();
    while let Some(c) = rest.next() {
        let fields = alternatives.last_mut()?;
        match c {
            ',' => alternatives.push(vec![String::new()]),
            '|' if pipes => fields.push(String::new()),
            '\\' => {
                let escaped = rest.next().filter(|c| matches!(c, ',' | '|' | '$' | '\\'))?;
                fields.last_mut()?.push(escaped);
            }
            _ => fields.last_mut()?.push(c),
        }
    }
    let is_empty = |fields: &Vec<String>| fields.iter().all(String::is_empty);
    (!alternatives.iter().any(is_empty)).then_some(alternatives)
}

//! Paths of search parameters in a resource: what is left of the FHIRPath expressions of the official
//! definitions once they are compiled (`tests/src/tables.rs`).
//!
//! | path | FHIRPath |
//! | --- | --- |
//! | `code` | `code`, and every `value[x]` spelling of a type the parameter's kind can judge |
//! | `component.valueQuantity` | `component.value as Quantity` |
//! | `telecom[system=email]` | `telecom.where(system='email')` |
//! | `subject>Patient` | `subject.where(resolve() is Patient)`; the target is for the caller to judge |
//! | `deceased?` | `deceased.exists() and deceased != false` |

use alloc::string::String;

use crate::json::{Malformed, Value};

/// Visit every value a path stands for, arrays on the way spread out. `types` are the suffixes of a
/// choice element (`value[x]`) that are worth looking at.
pub(crate) fn visit<'j, 'a>(
    value: Value<'j, 'a>,
    path: &str,
    types: &[&str],
    found: &mut dyn FnMut(Value<'j, 'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if value.is_array() {
        return value.elements().try_for_each(|element| visit(element, path, types, found));
    }
    if path.is_empty() {
        return found(value);
    }
    let (step, rest) = path.split_once('.').unwrap_or((path, ""));
    if let Some((name, condition)) = step.split_once('[') {
        let condition = condition.trim_end_matches(']');
        return match value.get(name)? {
            Some(next) => where_equal(next, condition, rest, types, found),
            None => Ok(()),
        };
    }
    if let Some(next) = value.get(step)? {
        return visit(next, rest, types, found);
    }
    if rest.is_empty() {
        let mut name = String::from(step);
        for suffix in types {
            name.truncate(step.len());
            name.push_str(suffix);
            if let Some(next) = value.get(&name)? {
                visit(next, "", types, found)?;
            }
        }
    }
    Ok(())
}

/// The elements whose member has this value.
fn where_equal<'j, 'a>(
    value: Value<'j, 'a>,
    condition: &str,
    rest: &str,
    types: &[&str],
    found: &mut dyn FnMut(Value<'j, 'a>) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    if value.is_array() {
        return value.elements().try_for_each(|element| where_equal(element, condition, rest, types, found));
    }
    let (name, wanted) = condition.split_once('=').unwrap_or_default();
    match value.get(name)?.and_then(Value::string).transpose()? {
        Some(text) if text == wanted => visit(value, rest, types, found),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::{String, ToString as _};
    use alloc::vec::Vec;

    use super::visit;
    use crate::json::Json;

    fn found(path: &str, types: &[&str]) -> Vec<String> {
        let text = r#"{"code":"a","valueInteger":1,"valueString":"s","telecom":[{"system":"email","value":"e"},
            {"system":"phone","value":"p"},{"system":{},"value":"x"}],"part":[{"code":"b"},{"code":["c","d"]}]}"#;
        let json = Json::parse(text.as_bytes()).unwrap();
        let mut list = Vec::new();
        visit(json.root(), path, types, &mut |value| {
            let text = value.string().and_then(Result::ok).map(|text| text.to_string());
            list.push(text.or(value.literal().map(str::to_string)).unwrap_or_default());
            Ok(())
        })
        .unwrap();
        list
    }

    #[test]
    fn a_path_reaches_every_repetition() {
        assert_eq!(found("part.code", &[]), ["b", "c", "d"]);
        assert_eq!(found("telecom[system=email].value", &[]), ["e"]);
        assert_eq!(found("telecom[system=fax].value", &[]), [""; 0]);
        assert_eq!(found("nothing.code", &[]), [""; 0]);
    }

    #[test]
    fn a_choice_element_is_found_under_the_types_asked_for_only() {
        assert_eq!(found("value", &["String", "Integer"]), ["s", "1"]);
        assert_eq!(found("value", &["Quantity"]), [""; 0]);
        assert_eq!(found("code", &["String"]), ["a"]);
        assert_eq!(found("valueString", &[]), ["s"]);
    }
}

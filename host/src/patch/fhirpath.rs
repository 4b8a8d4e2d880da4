//! FHIRPath Patch (FHIR R4, FHIRPath Patch), as far as there is no doubt about its result: paths of element names and
//! indexes, values of one piece.

use serde_json::{Map, Value};

use super::{DEPTH_MAX, OPERATIONS_MAX};

/// Elements that are choices of types (FHIR R4 and R5), by their names without the type.
const CHOICES: [&str; 32] = [
    "abatement",
    "allowed",
    "answer",
    "asNeeded",
    "collected",
    "content",
    "deceased",
    "detail",
    "diagnosis",
    "dose",
    "due",
    "effective",
    "entity",
    "fastingStatus",
    "identified",
    "item",
    "location",
    "medication",
    "minimumVolume",
    "multipleBirth",
    "occurred",
    "occurrence",
    "onset",
    "performed",
    "product",
    "rate",
    "reported",
    "scheduled",
    "serviced",
    "start",
    "timing",
    "value",
];
/// Types that the names of choices end with.
const TYPES: [&str; 30] = [
    "Address",
    "Age",
    "Annotation",
    "Attachment",
    "Boolean",
    "Canonical",
    "Code",
    "CodeableConcept",
    "CodeableReference",
    "Coding",
    "Date",
    "DateTime",
    "Decimal",
    "Duration",
    "HumanName",
    "Identifier",
    "Instant",
    "Integer",
    "Money",
    "Period",
    "Quantity",
    "Range",
    "Ratio",
    "Reference",
    "SampledData",
    "String",
    "Time",
    "Timing",
    "Uri",
    "Url",
];

/// What a resource would be afterwards.
///
/// SECURITY: what is added under two names, because it may be a choice, stands there under one of them. A later
/// operation could speak of the other, and do nothing at the server.
pub(super) fn apply(mut resource: Value, parameters: &Value) -> Option<Value> {
    let operations = parameters.get("parameter")?.as_array().filter(|all| all.len() <= OPERATIONS_MAX)?;
    let mut doubtful: Vec<String> = Vec::new();
    for operation in operations {
        if operation.get("name")?.as_str()? != "operation" {
            return None;
        }
        let operation = Operation::read(operation.get("part")?)?;
        let touches =
            |name: &str| doubtful.iter().any(|added| added.starts_with(name) || name.starts_with(added.as_str()));
        let path = operation.text("path")?;
        let mut names = path.split(['.', '[', ']']).skip(1).chain(operation.text("name"));
        if names.any(|name| !name.is_empty() && touches(name)) {
            return None;
        }
        if one(&mut resource, &operation)? == Named::Twice {
            doubtful.push(operation.text("name")?.to_owned());
        }
    }
    Some(resource)
}

/// How what an operation speaks of is named afterwards.
#[derive(PartialEq)]
enum Named {
    Once,
    Twice,
}

/// One operation, its parts by name, each there once.
struct Operation<'a> {
    parts: Map<String, Value>,
    value: Option<(&'a str, &'a Value)>,
}

impl<'a> Operation<'a> {
    fn read(parts: &'a Value) -> Option<Self> {
        let mut operation = Self { parts: Map::new(), value: None };
        for part in parts.as_array()? {
            let name = part.get("name")?.as_str()?;
            let mut values = part.as_object()?.iter().filter(|(key, _)| *key != "name");
            // Parts of parts, extensions of values: of more than one piece.
            let ((key, value), None) = (values.next()?, values.next()) else { return None };
            let kind = key.strip_prefix("value")?;
            if name == "value" {
                if operation.value.replace((kind, value)).is_some() {
                    return None;
                }
            } else if operation.parts.insert(name.to_owned(), value.clone()).is_some() {
                return None;
            }
        }
        Some(operation)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.parts.get(name)?.as_str()
    }

    fn index(&self, name: &str) -> Option<usize> {
        usize::try_from(self.parts.get(name)?.as_u64()?).ok()
    }
}

fn one(resource: &mut Value, operation: &Operation<'_>) -> Option<Named> {
    let steps = steps(operation.text("path")?, resource.get("resourceType")?.as_str()?)?;
    if steps.len() > DEPTH_MAX {
        return None;
    }
    match operation.text("type")? {
        "add" => {
            let (kind, value) = operation.value?;
            add(find(resource, &steps)?.as_object_mut()?, operation.text("name")?, kind, value)
        }
        "replace" => {
            *find(resource, &steps)? = operation.value?.1.clone();
            Some(Named::Once)
        }
        "delete" => delete(resource, &steps).map(|()| Named::Once),
        "insert" => {
            let list = list(resource, &steps)?;
            let at = operation.index("index").filter(|at| *at <= list.len())?;
            list.insert(at, operation.value?.1.clone());
            Some(Named::Once)
        }
        "move" => {
            let list = list(resource, &steps)?;
            let (from, to) = (operation.index("source")?, operation.index("destination")?);
            if from >= list.len() || to >= list.len() {
                return None;
            }
            let moved = list.remove(from);
            list.insert(to, moved);
            Some(Named::Once)
        }
        _ => None,
    }
}

/// `Patient.name[0].given`: element names, each with an index where it has one.
fn steps<'p>(path: &'p str, resource_type: &str) -> Option<Vec<(&'p str, Option<usize>)>> {
    let mut steps = path.split('.');
    if steps.next()? != resource_type {
        return None;
    }
    let step = |step: &'p str| {
        let (name, index) = match step.strip_suffix(']') {
            Some(inner) => {
                let (name, index) = inner.split_once('[')?;
                let digits = index.bytes().all(|b| b.is_ascii_digit());
                (name, Some(index.parse().ok().filter(|_| digits)?))
            }
            None => (step, None),
        };
        let named = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric());
        named.then_some((name, index))
    };
    steps.map(step).collect()
}

/// The one element a path leads to.
fn find<'v>(resource: &'v mut Value, steps: &[(&str, Option<usize>)]) -> Option<&'v mut Value> {
    let mut at = resource;
    for (name, index) in steps {
        at = element(at.as_object_mut()?, name)?;
        at = if at.is_array() {
            let list = at.as_array_mut()?;
            // FHIRPath takes all of them where no index says which.
            let only = (list.len() == 1).then_some(0);
            list.get_mut(index.or(only)?)?
        } else if index.is_none_or(|index| index == 0) {
            at
        } else {
            return None;
        };
    }
    Some(at)
}

/// The list a path leads to.
fn list<'v>(resource: &'v mut Value, steps: &[(&str, Option<usize>)]) -> Option<&'v mut Vec<Value>> {
    let ((name, None), before) = steps.split_last()? else { return None };
    element(find(resource, before)?.as_object_mut()?, name)?.as_array_mut()
}

/// An element by its name in FHIRPath; a choice (`value[x]`) by the name it has there, without its type.
fn element<'v>(parent: &'v mut Map<String, Value>, name: &str) -> Option<&'v mut Value> {
    let key = key_of(parent, name)?;
    parent.get_mut(&key)
}

/// The name an element has there.
fn key_of(parent: &Map<String, Value>, name: &str) -> Option<String> {
    if parent.contains_key(name) {
        return Some(name.to_owned());
    }
    let is_choice = |key: &str| CHOICES.contains(&name) && key.strip_prefix(name).is_some_and(|of| TYPES.contains(&of));
    let mut choices: Vec<String> = parent.keys().filter(|key| is_choice(key)).cloned().collect();
    let (Some(only), None) = (choices.pop(), choices.pop()) else { return None };
    Some(only)
}

/// Add to a list, or what is not there yet.
///
/// SECURITY: whether an element is a choice stands in definitions that are not at hand. So it is judged under both
/// names it can have.
fn add(parent: &mut Map<String, Value>, name: &str, kind: &str, value: &Value) -> Option<Named> {
    let named = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    if !(named && name.bytes().all(|b| b.is_ascii_alphanumeric())) {
        return None;
    }
    match parent.get_mut(name) {
        Some(Value::Array(list)) => {
            list.push(value.clone());
            Some(Named::Once)
        }
        Some(_) => None,
        None => {
            let typed = format!("{name}{kind}");
            if parent.contains_key(&typed) || parent.contains_key(&format!("_{name}")) {
                return None;
            }
            parent.insert(typed, value.clone());
            parent.insert(name.to_owned(), value.clone());
            Some(Named::Twice)
        }
    }
}

/// Take away the one element a path leads to, where there is one.
fn delete(resource: &mut Value, steps: &[(&str, Option<usize>)]) -> Option<()> {
    let ((name, index), before) = steps.split_last()?;
    let parent = find(resource, before)?.as_object_mut()?;
    // What stands beside a value under its other name would stay.
    if parent.keys().any(|key| key.strip_prefix('_').is_some_and(|key| key.starts_with(name))) {
        return None;
    }
    let there = element(parent, name)?;
    match (there, index) {
        (Value::Array(list), Some(index)) if *index < list.len() => {
            list.remove(*index);
            return Some(());
        }
        (Value::Array(list), None) if list.len() == 1 => {}
        (Value::Array(_), _) | (_, Some(1..)) => return None,
        _ => {}
    }
    let key = key_of(parent, name)?;
    parent.remove(&key);
    Some(())
}

//! A small FHIR server of made-up records, for demos: it reads and searches, and knows nothing of who may.
//!
//! It stands behind the same proxy as any FHIR server: see `crate::proxy`.

use serde_json::{Value, json};

/// One resource a line.
const RESOURCES: &str = include_str!("resources.ndjson");

/// Made-up records.
#[derive(Debug)]
pub struct Sandbox {
    base: String,
    resources: Vec<Value>,
}

/// A search this server cannot do: the parameter.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the sandbox does not search by `{0}`")]
pub struct Unsearchable(pub String);

/// Parameters that say how to answer, and not what to find.
const OF_RESULT: [&str; 6] = ["_count", "_sort", "_format", "_total", "_summary", "_elements"];

impl Sandbox {
    /// All of them, for the base at `base`.
    pub fn new(base: &str) -> Result<Self, serde_json::Error> {
        let resources = RESOURCES.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
        Ok(Self { base: base.to_owned(), resources })
    }

    /// One resource.
    pub fn read(&self, resource_type: &str, id: &str) -> Option<&Value> {
        self.resources.iter().find(|resource| is(resource, resource_type) && text(resource, "id") == Some(id))
    }

    /// All that match every parameter, as a bundle.
    pub fn search(&self, resource_type: &str, parameters: &[(String, String)]) -> Result<Value, Unsearchable> {
        let mut found = Vec::new();
        for resource in self.resources.iter().filter(|resource| is(resource, resource_type)) {
            let mut matches = true;
            for (name, value) in parameters.iter().filter(|(name, _)| !OF_RESULT.contains(&name.as_str())) {
                matches &= value.split(',').map(|one| has(resource, name, one)).try_fold(false, |a, b| Ok(a | b?))?;
            }
            if matches {
                let url = format!("{}/{resource_type}/{}", self.base, text(resource, "id").unwrap_or_default());
                found.push(json!({ "fullUrl": url, "resource": resource, "search": { "mode": "match" } }));
            }
        }
        let total = found.len();
        Ok(json!({ "resourceType": "Bundle", "type": "searchset", "total": total, "entry": found }))
    }

    /// What this server can do (FHIR R4, CapabilityStatement).
    pub fn capabilities(&self) -> Value {
        let of_type = |kind| json!({ "type": kind, "interaction": [{ "code": "read" }, { "code": "search-type" }] });
        let types: Vec<Value> = self.types().into_iter().map(of_type).collect();
        json!({
            "resourceType": "CapabilityStatement", "status": "active", "date": "2026-01-01", "kind": "instance",
            "fhirVersion": "4.0.1", "format": ["json"],
            "implementation": { "description": "A sandbox of made-up records" },
            "rest": [{ "mode": "server", "resource": types }]
        })
    }

    /// The types there are, once each.
    fn types(&self) -> Vec<&str> {
        let mut types: Vec<&str> =
            self.resources.iter().filter_map(|resource| text(resource, "resourceType")).collect();
        types.sort_unstable();
        types.dedup();
        types
    }
}

fn text<'a>(resource: &'a Value, member: &str) -> Option<&'a str> {
    resource.get(member).and_then(Value::as_str)
}

fn is(resource: &Value, resource_type: &str) -> bool {
    text(resource, "resourceType") == Some(resource_type)
}

/// Whether a resource matches one value of one parameter.
fn has(resource: &Value, name: &str, value: &str) -> Result<bool, Unsearchable> {
    let plain = name.split(':').next().unwrap_or(name);
    Ok(match plain {
        "_id" => text(resource, "id") == Some(value),
        "patient" | "subject" => ["patient", "subject"].iter().any(|member| refers(resource.get(member), value)),
        "category" => tokens(resource.get("category"), value),
        "code" => tokens(resource.get("code"), value),
        "status" => text(resource, "status") == Some(value),
        "birthdate" => text(resource, "birthDate") == Some(value),
        "family" | "name" | "given" => names(resource, value),
        "identifier" => resource.get("identifier").and_then(Value::as_array).into_iter().flatten().any(|identifier| {
            let (system, code) = value.rsplit_once('|').map_or((None, value), |(system, code)| (Some(system), code));
            text(identifier, "value") == Some(code)
                && system.is_none_or(|system| text(identifier, "system") == Some(system))
        }),
        _ => return Err(Unsearchable(name.to_owned())),
    })
}

fn refers(element: Option<&Value>, value: &str) -> bool {
    let reference = element.and_then(|element| text(element, "reference")).unwrap_or_default();
    reference == value || reference.strip_prefix("Patient/") == Some(value)
}

/// `system|code`, `code`: any coding of any concept.
fn tokens(element: Option<&Value>, value: &str) -> bool {
    let concepts = match element {
        Some(Value::Array(concepts)) => concepts.iter().collect(),
        Some(concept) => vec![concept],
        None => Vec::new(),
    };
    let codings =
        concepts.into_iter().filter_map(|concept| concept.get("coding")).filter_map(Value::as_array).flatten();
    let (system, code) = value.split_once('|').map_or((None, value), |(system, code)| (Some(system), code));
    codings.into_iter().any(|coding| {
        text(coding, "code") == Some(code) && system.is_none_or(|system| text(coding, "system") == Some(system))
    })
}

fn names(resource: &Value, value: &str) -> bool {
    let value = value.to_lowercase();
    let names = resource.get("name").and_then(Value::as_array).into_iter().flatten();
    names.into_iter().any(|name| {
        let given = name.get("given").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
        text(name, "family").into_iter().chain(given).any(|part| part.to_lowercase().starts_with(&value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(resource_type: &str, query: &[(&str, &str)]) -> Result<usize, Unsearchable> {
        let query: Vec<_> = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let bundle = Sandbox::new("https://x").unwrap().search(resource_type, &query)?;
        Ok(bundle["entry"].as_array().unwrap().len())
    }

    #[test]
    fn every_parameter_has_to_match_and_any_of_its_values() {
        assert_eq!(count("Observation", &[("patient", "123")]), Ok(4));
        assert_eq!(count("Observation", &[("patient", "123,Patient/124"), ("category", "laboratory")]), Ok(2));
        let system = "http://terminology.hl7.org/CodeSystem/observation-category|vital-signs";
        assert_eq!(count("Observation", &[("subject", "Patient/124"), ("category", system)]), Ok(2));
        assert_eq!(count("Patient", &[("family", "exam"), ("birthdate", "2018-06-01"), ("_count", "5")]), Ok(1));
        assert_eq!(count("Patient", &[("identifier", "urn:example:chart|C-123")]), Ok(1));
    }

    #[test]
    fn what_it_cannot_search_by_it_refuses() {
        assert_eq!(count("Observation", &[("date", "2026")]), Err(Unsearchable("date".into())));
    }
}

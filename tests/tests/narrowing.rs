//! Rewritten searches over a store: they find what a filter would keep of the original search, and nothing else.
//!
//! The store is a plain one: it looks at every resource and takes each parameter as the second opinion takes it.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::collections::{BTreeMap, BTreeSet};

use chartgate_model::parse::{ParseLimits, RawRequest, RenderedRequest, parse};
use chartgate_model::{DecisionRequest, FhirBase, FhirRequest, FilterOutcome, Item, ItemMode};
use chartgate_tests::host::Guest;
use chartgate_tests::oracle::case::{BASE, Case, Read};
use chartgate_tests::oracle::definitions::{self, Definitions};
use chartgate_tests::oracle::filter::Filter;
use chartgate_tests::oracle::generate::{Dice, search};
use chartgate_tests::oracle::{content, search::pin_codes};
use serde_json::Value;

const SEED: u64 = 20_261_128;
/// Searches that are permitted and run, unless the environment says otherwise.
const SEARCHES: u64 = 1_000;
/// Parameters that shape an answer and never say what is in it.
const SHAPE: [&str; 6] = ["_count", "_summary", "_total", "_elements", "_format", "_pretty"];

/// Rows by their type and id; `None` where a parameter is beyond this store.
fn run(definitions: &Definitions, store: &[Value], request: &FhirRequest) -> Option<BTreeSet<String>> {
    let types: Vec<&str> = match request.resource_type.as_str() {
        "" => request.parameters.iter().find(|one| one.name == "_type")?.value.split(',').collect(),
        kind => vec![kind],
    };
    let mut rows = BTreeSet::new();
    for kind in types {
        let mut filters = Vec::new();
        for parameter in request.parameters.iter().filter(|one| one.name != "_type") {
            if !SHAPE.contains(&parameter.name.as_str()) {
                filters.push(wanted(definitions, kind, &parameter.name, &parameter.value)?);
            }
        }
        let of_kind = store.iter().filter(|resource| resource["resourceType"] == kind);
        let fits = |resource: &&Value| {
            let in_compartment =
                request.compartment.as_ref().is_none_or(|(_, id)| is_in(definitions, kind, resource, id));
            in_compartment && filters.iter().all(|filter| filter.matches(resource, BASE))
        };
        rows.extend(of_kind.filter(fits).map(key));
    }
    Some(rows)
}

/// A bare id of a parameter that names patients is a Patient's.
fn wanted(definitions: &Definitions, kind: &str, name: &str, value: &str) -> Option<Filter> {
    let names_patients = pin_codes(definitions, kind).iter().any(|code| code == name) && name != "_id";
    let full = |one: &str| if one.contains('/') { one.to_owned() } else { format!("Patient/{one}") };
    let value = match names_patients {
        true => value.split(',').map(full).collect::<Vec<_>>().join(","),
        false => value.to_owned(),
    };
    Filter::parse(definitions, kind, name, &value, BASE)
}

fn is_in(definitions: &Definitions, kind: &str, resource: &Value, patient: &str) -> bool {
    let named = content::named(definitions, kind, resource, BASE);
    named.about.iter().chain(&named.roles).any(|id| id == patient)
}

fn key(resource: &Value) -> String {
    format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap_or_default())
}

fn read_back(rendered: &RenderedRequest, request: &DecisionRequest) -> FhirRequest {
    let base = FhirBase { url: BASE.into(), ..request.base.clone() };
    let headers = match rendered.body {
        Some(_) => vec![("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
        None => Vec::new(),
    };
    let (method, url, body) = (rendered.method, &rendered.url, rendered.body.as_deref().map(str::as_bytes));
    let limits = ParseLimits { url_bytes: 1 << 20, ..ParseLimits::default() };
    parse(&RawRequest { method, url, headers: &headers, body }, &base, &limits).unwrap()
}

/// What a filter keeps of some rows.
fn kept(case: &Case, read: &Read, store: &[Value], rows: &BTreeSet<String>) -> BTreeSet<String> {
    let texts: BTreeMap<String, String> =
        store.iter().filter(|resource| rows.contains(&key(resource))).map(|one| (key(one), one.to_string())).collect();
    let items: Vec<Item<'_>> =
        texts.values().map(|text| Item { mode: ItemMode::Match, content: text.as_bytes() }).collect();
    match case.filtered(Guest::Rules.policy(), read, &items).unwrap() {
        FilterOutcome::Verdicts(verdicts) => {
            texts.keys().zip(verdicts).filter(|(_, verdict)| verdict.is_none()).map(|(key, _)| key.clone()).collect()
        }
        _ => BTreeSet::new(),
    }
}

#[test]
fn rewritten_searches_find_what_a_filter_keeps_and_nothing_else() {
    let wanted: u64 = std::env::var("CHARTGATE_SEARCHES").map_or(SEARCHES, |text| text.parse().unwrap());
    let (mut dice, mut ran, mut rewritten, mut united, mut found) = (Dice::new(SEED), 0, 0, 0, 0);
    while ran < wanted {
        let (case, mut store) = search(&mut dice);
        let Ok(read) = case.read() else { continue };
        // Who is named in a role is nobody a search can be narrowed to.
        if case.settings["role_membership"] == true {
            continue;
        }
        // A row is judged by what it contains, which no search asks for.
        for resource in &mut store {
            resource.as_object_mut().unwrap().remove("contained");
        }
        let mut seen = BTreeSet::new();
        store.retain(|resource| seen.insert(key(resource)));
        // Rows that still name a chart that was merged into another: nothing says which charts those are.
        store.retain(|resource| !resource.to_string().contains("old-1"));
        let Some(definitions) = definitions::of_version(&read.request.base.version) else { continue };
        let Some(original) = run(definitions, &store, &read.request.request) else { continue };
        let told = || serde_json::to_string(&case).unwrap();
        let decided = case.through(Guest::Rules.policy(), &read).unwrap();
        let keeps = kept(&case, &read, &store, &original);
        if !decided.permitted {
            continue;
        }
        let requests: Vec<FhirRequest> = decided.requests.iter().map(|one| read_back(one, &read.request)).collect();
        let mut rows = BTreeSet::new();
        for request in &requests {
            rows.extend(run(definitions, &store, request).unwrap());
        }
        let rows = if requests.is_empty() { original.clone() } else { rows };
        assert!(rows.is_subset(&original), "wider than the original: {rows:?} {original:?} {}", told());
        let rows = if decided.ids.contains("response-filter") { kept(&case, &read, &store, &rows) } else { rows };
        assert_eq!(rows, keeps, "not what a filter keeps: {:?} {}", decided.obligations, told());
        ran += 1;
        rewritten += u64::from(!requests.is_empty());
        united += u64::from(requests.len() > 1);
        found += u64::from(!rows.is_empty());
    }
    println!("{ran} searches, {rewritten} rewritten, {united} of them united, {found} found something");
    assert!(rewritten > wanted / 5 && united > wanted / 100 && found > wanted / 5, "{rewritten} {united} {found}");
}

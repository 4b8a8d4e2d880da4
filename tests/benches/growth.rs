//! How costs grow: with scopes, with content, with the directory; and what a start and a swap take.
//!
//! Ratios of one run; absolute figures stand beside them as context.

#![allow(clippy::indexing_slicing, reason = "the sizes measured are counted in this file")]

mod support;

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::ensure;
use chartgate::store::Store;
use chartgate_model::{
    DecisionRequest, Fact, FhirRequest, Interaction, Millis, Outcome, PolicyInput, Relationship, Stored, Terms,
};
use chartgate_runtime::admission::admit;
use chartgate_runtime::release::invariants;
use chartgate_runtime::{LoadedPolicy, PolicyLimits, Runtime, RuntimeLimits};
use chartgate_tests::host::requests::read;
use chartgate_tests::host::{Guest, World};
use serde_json::json;
use support::{decision, facts, median, verdict};

/// Calls between two looks at the clock.
const BATCH: u32 = 50;
/// Batches of each size, in turns with the others.
const BATCHES: usize = 60;
/// Rows of the large directory, where `CHARTGATE_BENCH_ROWS` does not say otherwise.
const ROWS: u32 = 1_000_000;
/// Rows of the small one.
const FEW_ROWS: u32 = 1_000;
/// Rows written at once.
const CHUNK: u32 = 10_000;
/// Starts, and swaps, of which the median counts.
const TIMES: usize = 9;

fn main() -> anyhow::Result<()> {
    let policy = load(None)?;
    println!("a decision by its scopes and its content, in process:");
    scopes(&policy)?;
    content(&policy)?;
    println!("a decision by whom the user is related to, in process:");
    relationships(&policy)?;
    println!("a question to the directory:");
    directory()?;
    println!("a release, loaded and swapped:");
    cold_starts()?;
    swaps()
}

fn limits() -> RuntimeLimits {
    RuntimeLimits { deadline_ms: 60_000, ..RuntimeLimits::default() }
}

fn load(cache: Option<&std::path::Path>) -> anyhow::Result<LoadedPolicy> {
    let asked = PolicyLimits { fuel: limits().fuel, memory_bytes: limits().memory_bytes };
    Ok(admit(&Runtime::with_cache(limits(), cache)?, Guest::Rules.component(), asked)?)
}

/// Microseconds of one decision of each request, measured in turns.
fn times(policy: &LoadedPolicy, requests: &[DecisionRequest]) -> anyhow::Result<Vec<f64>> {
    let asked: Vec<_> = requests.iter().map(|request| (request.clone(), facts())).collect();
    times_with(policy, &asked)
}

/// The same, each with facts of its own.
fn times_with(policy: &LoadedPolicy, asked: &[(DecisionRequest, Vec<Fact>)]) -> anyhow::Result<Vec<f64>> {
    let mut found = vec![Vec::new(); asked.len()];
    for _ in 0..BATCHES {
        for ((request, facts), found) in asked.iter().zip(&mut found) {
            let input =
                PolicyInput { decision: request, stored: &request.stored, facts, facts_final: false, settings: b"{}" };
            let started = Instant::now();
            for _ in 0..BATCH {
                let called = black_box(policy.decide(&input)?);
                ensure!(matches!(called.decision.outcome, Outcome::Permit { .. }), "{:?}", called.decision);
            }
            found.push(started.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
        }
    }
    Ok(found.iter().map(|found| median(found)).collect())
}

fn scopes(policy: &LoadedPolicy) -> anyhow::Result<()> {
    let types =
        ["Patient", "Encounter", "Condition", "Procedure", "Immunization", "Goal", "CarePlan", "Device", "Coverage"];
    let with = |count: usize| {
        let others = (1..count).map(|n| format!("user/{}.rs?_tag=t{n}", types[n % types.len()]));
        let scope = others.chain(["user/Observation.rs".to_owned()]).collect::<Vec<_>>().join(" ");
        let mut request = decision();
        request.subject.scope = scope;
        request
    };
    let found = times(policy, &[with(1), with(10), with(100)])?;
    println!("    1, 10, 100 scopes: {:.1}, {:.1}, {:.1} us", found[0], found[1], found[2]);
    verdict("10 scopes over 1", found[1] / found[0], "<= 2", found[1] / found[0] <= 2.0);
    verdict("100 scopes over 1", found[2] / found[0], "<= 10", found[2] / found[0] <= 10.0);
    Ok(())
}

fn content(policy: &LoadedPolicy) -> anyhow::Result<()> {
    let with = |bytes: usize| {
        let mut request = decision();
        let component = json!({ "code": { "coding": [{ "system": "http://loinc.org", "code": "8480-6" }] },
            "valueQuantity": { "value": 120, "unit": "mmHg", "system": "http://unitsofmeasure.org", "code": "mm[Hg]" } });
        let count = bytes / component.to_string().len();
        let content = json!({ "resourceType": "Observation", "id": "9", "subject": { "reference": "Patient/123" },
            "component": vec![component; count] });
        request.stored = vec![Stored { key: "Observation/9".into(), content: Some(content.to_string().into_bytes()) }];
        request
    };
    let found = times(policy, &[with(1 << 10), with(10 << 10), with(100 << 10)])?;
    println!("    1, 10, 100 KB of content: {:.1}, {:.1}, {:.1} us", found[0], found[1], found[2]);
    let growth = (found[2] - found[0]) / (found[1] - found[0]) / 11.0;
    verdict("100 KB over 10 KB, against a straight line", growth, "<= 1.5", growth <= 1.5);
    Ok(())
}

/// A search that names no patient, by a user who is related to some: everybody is judged, one by one.
fn relationships(policy: &LoadedPolicy) -> anyhow::Result<()> {
    let with = |count: usize| {
        let mut request = decision();
        request.request = FhirRequest::new(Interaction::SearchType, "Observation", None);
        request.stored.clear();
        let entries: Vec<_> = (0..count)
            .map(|n| json!({ "patient": format!("p{n:04}"), "kind": "treatment", "level": "full", "status": "active", "via": "ordinary", "source": "directory" }))
            .collect();
        let records: Vec<_> = (0..count)
            .map(|n| json!({ "patient": format!("p{n:04}"), "birth_date": "1968-04-12", "source": "directory" }))
            .collect();
        let fact =
            |key: &str, value: serde_json::Value| Fact { key: key.into(), value: value.to_string().into_bytes() };
        let mut facts = facts();
        facts.push(fact("relationships/Practitioner/17", json!({ "entries": entries, "truncated": false })));
        facts.push(fact("patients/Practitioner/17", json!({ "records": records })));
        (request, facts)
    };
    let found = times_with(policy, &[with(1), with(10), with(1_000)])?;
    println!("    1, 10, 1,000 relationships: {:.1}, {:.1}, {:.1} us", found[0], found[1], found[2]);
    let growth = (found[2] - found[0]) / (found[1] - found[0]) / 111.0;
    verdict("1,000 relationships over 10, against a straight line", growth, "<= 1.5", growth <= 1.5);
    Ok(())
}

fn relationship(row: u32) -> Relationship {
    Relationship {
        user: format!("Practitioner/{}", row / 100),
        patient: format!("p{row}"),
        kind: "treatment".into(),
        level: "full".into(),
        status: "active".into(),
        via: "ordinary".into(),
        source: "directory".into(),
        start: None,
        end: None,
        terms: Terms::default(),
    }
}

fn directory() -> anyhow::Result<()> {
    let rows = std::env::var("CHARTGATE_BENCH_ROWS").ok().map_or(Ok(ROWS), |rows| rows.parse())?;
    let mut stores = Vec::new();
    for rows in [rows, FEW_ROWS] {
        let folder = tempfile::tempdir()?;
        let store = Store::open(folder.path())?;
        for chunk in 0..rows / CHUNK.min(rows) {
            let first = chunk * CHUNK;
            let given: Vec<Relationship> = (first..first + CHUNK.min(rows)).map(relationship).collect();
            store.put_many("default", &given, Millis(1))?;
        }
        stores.push((folder, store, rows));
    }
    let mut found = vec![Vec::new(); stores.len()];
    for batch in 0..200u32 {
        for ((_, store, rows), found) in stores.iter().zip(&mut found) {
            let started = Instant::now();
            for n in 0..BATCH {
                // Spread over the whole table, so that the large one is not asked for one page again and again.
                let row = (batch * BATCH + n).wrapping_mul(2_654_435_761) % rows;
                let (entries, _) =
                    store.between("default", &format!("Practitioner/{}", row / 100), &format!("p{row}"))?;
                ensure!(entries.len() == 1, "row {row} is not there");
            }
            found.push(started.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH));
        }
    }
    let (large, small) = (median(&found[0]), median(&found[1]));
    println!("    {rows} and {FEW_ROWS} rows: {large:.1}, {small:.1} us");
    verdict(&format!("{rows} rows over {FEW_ROWS}"), large / small, "<= 2", large / small <= 2.0);
    Ok(())
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}

/// From nothing to a release that can decide, with and without what an earlier start compiled.
fn cold_starts() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let cache = folder.path().join("compiled");
    Guest::Rules.component();
    let mut trials = Vec::new();
    let mut timed = |cache: Option<&std::path::Path>| -> anyhow::Result<f64> {
        let started = Instant::now();
        let policy = black_box(load(cache)?);
        let compiled = started.elapsed();
        invariants::check(&policy, b"{}")?;
        trials.push(milliseconds(started.elapsed() - compiled));
        Ok(milliseconds(started.elapsed()))
    };
    timed(Some(&cache))?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..TIMES {
        without.push(timed(None)?);
        with.push(timed(Some(&cache))?);
    }
    let (with, without) = (median(&with), median(&without));
    let trials = median(&trials);
    println!(
        "    cold start without and with what was compiled before: {without:.0}, {with:.0} ms, of which trials {trials:.0} ms"
    );
    verdict("a start with the compiled release over one without", with / without, "< 1", with < without);
    Ok(())
}

/// From sending the change to the first answer by the new release, over HTTP.
fn swaps() -> anyhow::Result<()> {
    let world = World::new();
    let releases = [world.add(Guest::Rules, "0.1.0", "{}"), world.add(Guest::Rules, "0.2.0", r#"{"writes":true}"#)];
    let host = world.start();
    let (mut swaps, mut answers) = (Vec::new(), Vec::new());
    for n in 0..TIMES {
        let version = ["0.1.0", "0.2.0"][n % 2];
        let started = Instant::now();
        let answer = host.roll_out(&json!({ "active": format!("smart-access@{version}") }));
        ensure!(answer.status == 200, "{}", answer.text);
        while host.decide(&read()).header("chartgate-policy") != releases[n % 2] {}
        swaps.push(milliseconds(started.elapsed()));
        let asked = Instant::now();
        host.decide(&read());
        answers.push(milliseconds(asked.elapsed()));
    }
    println!(
        "    from PUT rollout to the first answer by the new release: {:.1} ms, of which an answer is {:.1} ms",
        median(&swaps),
        median(&answers)
    );
    Ok(())
}

//! What an answer costs to filter, and a transaction to decide: for each entry, as they grow.
//!
//! Ratios of one run; absolute figures stand beside them as context.

#![allow(clippy::indexing_slicing, reason = "the sizes measured are counted in this file")]

mod support;

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use chartgate::filter::bundle::Bundle;
use chartgate_model::{DecisionRequest, FhirRequest, FilterOutcome, Interaction, Item, PolicyInput};
use chartgate_runtime::admission::admit;
use chartgate_runtime::{LoadedPolicy, PolicyLimits, Runtime, RuntimeLimits};
use chartgate_tests::host::{EHR, Guest, World};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use support::{OBSERVATION, decision, facts, median, verdict};

/// Entries of the answers that are filtered.
const SIZES: [usize; 3] = [10, 1_000, 10_000];
/// How often each is measured, in turns with the others.
const TIMES: usize = 7;
/// The most resources of one call.
const CHUNK: usize = 128;
/// Entries of the transactions.
const ENTRIES: [usize; 3] = [50, 500, 5_000];

fn main() -> anyhow::Result<()> {
    println!("an answer, filtered in process:");
    filtered()?;
    println!("a transaction, over HTTP:");
    transactions()
}

fn bundle(entries: usize) -> String {
    let observation: Value = serde_json::from_str(OBSERVATION).unwrap_or_default();
    let entry = |n: usize| {
        let mut resource = observation.clone();
        resource["id"] = json!(format!("o{n}"));
        json!({ "fullUrl": format!("https://fhir.example/r4/Observation/o{n}"), "resource": resource, "search": { "mode": "match" } })
    };
    let entries: Vec<Value> = (0..entries).map(entry).collect();
    json!({ "resourceType": "Bundle", "type": "searchset", "total": entries.len(), "entry": entries }).to_string()
}

fn searched() -> DecisionRequest {
    let request = FhirRequest::new(Interaction::SearchType, "Observation", None);
    DecisionRequest { request, stored: Vec::new(), ..decision() }
}

/// Taken apart, judged, put together again: all but the way over the wire and the record.
fn filter(policy: &LoadedPolicy, text: &str) -> anyhow::Result<usize> {
    let raw: &RawValue = serde_json::from_str(text)?;
    let taken = Bundle::read(raw)?;
    let (request, facts) = (searched(), facts());
    let mut kept = Vec::new();
    for chunk in taken.items().chunks(CHUNK) {
        let chunk: Vec<Item<'_>> = chunk.to_vec();
        let input = PolicyInput { decision: &request, stored: &[], facts: &facts, facts_final: true, settings: b"{}" };
        match policy.filter(&input, &chunk)?.0 {
            FilterOutcome::Verdicts(verdicts) => kept.extend(verdicts.into_iter().map(|verdict| verdict.is_none())),
            other => anyhow::bail!("{other:?}"),
        }
    }
    let count = kept.iter().filter(|kept| **kept).count();
    black_box(taken.without(kept.into_iter())?);
    Ok(count)
}

fn filtered() -> anyhow::Result<()> {
    let limits = RuntimeLimits { deadline_ms: 60_000, ..RuntimeLimits::default() };
    let asked = PolicyLimits { fuel: limits.fuel, memory_bytes: limits.memory_bytes };
    let policy = admit(&Runtime::with_cache(limits, None)?, Guest::Rules.component(), asked)?;
    let texts = SIZES.map(bundle);
    let (mut judged, mut parsed) = (vec![Vec::new(); SIZES.len()], vec![Vec::new(); SIZES.len()]);
    for _ in 0..TIMES {
        for (at, text) in texts.iter().enumerate() {
            // Small ones often enough that the clock sees them.
            let often = (1_000 / SIZES[at]).max(1);
            let each = |started: Instant| started.elapsed().as_secs_f64() * 1e6 / (often * SIZES[at]) as f64;
            let started = Instant::now();
            for _ in 0..often {
                ensure!(filter(&policy, text)? == SIZES[at], "something is hidden");
            }
            judged[at].push(each(started));
            let started = Instant::now();
            for _ in 0..often {
                black_box(serde_json::from_str::<Value>(text)?);
            }
            parsed[at].push(each(started));
        }
    }
    let judged: Vec<f64> = judged.iter().map(|times| median(times)).collect();
    let parsed: Vec<f64> = parsed.iter().map(|times| median(times)).collect();
    println!("    10, 1,000, 10,000 entries: {:.1}, {:.1}, {:.1} us each", judged[0], judged[1], judged[2]);
    println!("    parsed natively: {:.1}, {:.1}, {:.1} us each", parsed[0], parsed[1], parsed[2]);
    let growth = judged[2] / judged[1];
    verdict("an entry of 10,000 over one of 1,000", growth, "<= 1.5", growth <= 1.5);
    let cost = judged[1] / parsed[1];
    verdict("an entry filtered over one parsed natively", cost, "<= 5", cost <= 5.0);
    Ok(())
}

fn transactions() -> anyhow::Result<()> {
    let mut world = World::new();
    world.add(Guest::Rules, "0.1.0", r#"{"writes":true}"#);
    world.more = "[limits]\ndeadline_ms = 60000\n[log]\ndurability = \"fsync\"\n".into();
    let host = world.start();
    let body = |entries: usize| {
        let resource =
            json!({ "resourceType": "Observation", "status": "final", "subject": { "reference": "Patient/1" } });
        let entry = json!({ "resource": resource, "request": { "method": "POST", "url": "Observation" } });
        json!({
            "request": {
                "method": "POST", "url": "/",
                "headers": { "content-type": "application/fhir+json", "prefer": "return=minimal" },
                "body": { "resourceType": "Bundle", "type": "transaction", "entry": vec![entry; entries] },
            },
            "subject": { "user": "Patient/1", "client": "phr", "patient": "1", "scope": "patient/*.cruds" },
            "facts": { "patients": [{ "patient": "1", "birth_date": "1980-01-01" }] },
        })
    };
    let mut each = Vec::new();
    for entries in ENTRIES {
        let body = body(entries);
        let mut times = Vec::new();
        for _ in 0..3 {
            let started = Instant::now();
            let answer = host.decide_as(EHR, &body);
            times.push(started.elapsed().as_secs_f64() * 1e6 / entries as f64);
            ensure!(answer.status == 200 && answer.json()["decision"] == "permit", "{}", answer.text);
        }
        each.push(median(&times));
    }
    let whole = each.last().context("no transaction was measured")? * ENTRIES[2] as f64 / 1e6;
    println!(
        "    50, 500, 5,000 entries: {:.0}, {:.0}, {:.0} us each, the last {whole:.2} s in all",
        each[0], each[1], each[2]
    );
    let growth = each[2] / each[1];
    verdict("an entry of 5,000 over one of 500", growth, "<= 1.5", growth <= 1.5);
    Ok(())
}

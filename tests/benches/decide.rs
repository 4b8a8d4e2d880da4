//! The policy call in process: what the rules cost over an empty policy, and how it scales.
//!
//! Everything is a ratio of two things measured in turns in this one process, since a machine's speed
//! drifts by more than what is to be found out. Absolute figures stand beside them as context.
//!
//! `decide calls policy|fixture N` makes N calls and nothing else, for counting system calls.

mod support;

use std::hint::black_box;
use std::path::Path;
use std::process::Command;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use chartgate_model::{Outcome, PolicyInput};
use chartgate_runtime::admission::admit;
use chartgate_runtime::release::componentize;
use chartgate_runtime::{LoadedPolicy, PolicyLimits, Runtime, RuntimeLimits};
use sha2::{Digest as _, Sha256};
use support::{decision, facts, median, span, verdict};

/// Calls between two looks at the clock.
const BATCH: u32 = 200;
/// Pairs of batches of the rules' cost.
const PAIRS: usize = 400;
/// Rounds of the scaling measurement.
const ROUNDS: usize = 15;
/// How long one round runs one kind of work.
const SLICE: Duration = Duration::from_millis(200);
/// Calls by whose number the two counted runs differ.
const COUNTED: u64 = 10_000;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let load = Loaded::new()?;
    match words.as_slice() {
        [] => report(&load),
        ["calls", which, count] => load.calls(which, count.parse()?),
        _ => bail!("usage: decide [calls policy|fixture N]"),
    }
}

/// Both policies under the limits of a host.
struct Loaded {
    policy: LoadedPolicy,
    fixture: LoadedPolicy,
}

impl Loaded {
    fn new() -> anyhow::Result<Self> {
        // The deadline is far away: it costs the same, and a busy machine must not end the run.
        let limits = RuntimeLimits { deadline_ms: 10_000, ..RuntimeLimits::default() };
        let asked = PolicyLimits { fuel: limits.fuel, memory_bytes: limits.memory_bytes };
        let runtime = Runtime::new(limits)?;
        let guests = support::root().join("target/guest");
        let load = |file: &str| -> anyhow::Result<LoadedPolicy> {
            let module = read(&guests.join(file))?;
            Ok(admit(&runtime, &componentize(&module)?, asked)?)
        };
        let loaded = Self { policy: load("policy.wasm")?, fixture: load("fixture.wasm")? };
        loaded.check()?;
        Ok(loaded)
    }

    /// A benchmark of a denied request would measure the wrong thing.
    fn check(&self) -> anyhow::Result<()> {
        let reason = |policy: &LoadedPolicy| match with_input(|input| Ok(policy.decide(input)?))?.decision.outcome {
            Outcome::Permit { reason, .. } => Ok(format!("permit {reason}")),
            Outcome::Deny { reason, .. } => Ok(format!("deny {reason}")),
            Outcome::Needs(keys) => bail!("needs {keys:?}"),
        };
        let (policy, fixture) = (reason(&self.policy)?, reason(&self.fixture)?);
        ensure!(policy == "permit relationship-treatment", "the policy answers {policy}");
        ensure!(fixture == "deny fixture-deny", "the fixture answers {fixture}");
        Ok(())
    }

    fn calls(&self, which: &str, count: u64) -> anyhow::Result<()> {
        let policy = match which {
            "policy" => &self.policy,
            "fixture" => &self.fixture,
            other => bail!("`{other}` is neither policy nor fixture"),
        };
        with_input(|input| {
            for _ in 0..count {
                black_box(policy.decide(input)?);
            }
            Ok(())
        })
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(path).with_context(|| format!("cannot read `{}`: run tests/bench", path.display()))
}

/// The same input for whoever decides: the fixture denies because no setting tells it otherwise.
fn with_input<T>(run: impl FnOnce(&PolicyInput<'_>) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let (decision, facts) = (decision(), facts());
    run(&PolicyInput {
        decision: &decision,
        stored: &decision.stored,
        facts: &facts,
        facts_final: false,
        settings: b"{}",
    })
}

fn report(load: &Loaded) -> anyhow::Result<()> {
    println!("in process: 10 scopes, {} bytes of Observation, one relationship", support::OBSERVATION.len());
    rules_over_empty(load)?;
    system_calls()?;
    scaling(load)
}

/// What the rules cost over a policy that takes the same input and denies.
fn rules_over_empty(load: &Loaded) -> anyhow::Result<()> {
    let batch = |policy: &LoadedPolicy| {
        with_input(|input| {
            let started = Instant::now();
            for _ in 0..BATCH {
                black_box(policy.decide(input)?);
            }
            Ok(started.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH))
        })
    };
    let (mut policy, mut fixture, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let (p, f) = (batch(&load.policy)?, batch(&load.fixture)?);
        policy.push(p);
        fixture.push(f);
        ratios.push(p / f);
    }
    let ratio = median(&ratios);
    verdict("fresh instance, the rules over an empty policy", ratio, "<= 3.0", ratio <= 3.0);
    println!(
        "    context: rules {:.2} us, empty {:.2} us a decision; fuel {}",
        median(&policy),
        median(&fixture),
        with_input(|input| Ok(load.policy.decide(input)?.fuel_used))?
    );
    Ok(())
}

/// System calls a decision, from two runs that differ only in how many they make.
fn system_calls() -> anyhow::Result<()> {
    if Command::new("strace").arg("-V").output().is_err() {
        println!("system calls a decision: strace is not here");
        return Ok(());
    }
    for which in ["policy", "fixture"] {
        let (few, many) = (count_system_calls(which, 1_000)?, count_system_calls(which, 1_000 + COUNTED)?);
        #[expect(clippy::cast_precision_loss, reason = "small counts")]
        let each = many.saturating_sub(few) as f64 / COUNTED as f64;
        verdict(&format!("system calls a decision, {which}"), each, "0.00", each < 0.005);
    }
    Ok(())
}

/// Of the deciding thread alone: the ticker of the deadlines has a thread of its own.
fn count_system_calls(which: &str, count: u64) -> anyhow::Result<u64> {
    let table = tempfile::NamedTempFile::new()?;
    let status = Command::new("strace")
        .args(["-c", "-o"])
        .arg(table.path())
        .arg(std::env::current_exe()?)
        .args(["calls", which, &count.to_string()])
        .status()?;
    ensure!(status.success(), "the counted run failed");
    let text = std::fs::read_to_string(table.path())?;
    let total = text.lines().find(|line| line.trim_end().ends_with(" total")).context("strace wrote no total")?;
    Ok(total.split_whitespace().nth(3).context("strace wrote another table")?.parse()?)
}

/// Decisions with two threads over one, beside work that shares nothing at all.
fn scaling(load: &Loaded) -> anyhow::Result<()> {
    let decide = || {
        with_input(|input| {
            black_box(load.policy.decide(input)?);
            Ok(())
        })
    };
    let block = [7u8; 4096];
    let hash = || {
        black_box(Sha256::digest(black_box(block)));
        Ok(())
    };
    let (mut gains, mut controls, mut ratios, mut rates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (d1, h1) = (throughput(1, &decide)?, throughput(1, &hash)?);
        let (d2, h2) = (throughput(2, &decide)?, throughput(2, &hash)?);
        gains.push(d2 / d1);
        controls.push(h2 / h1);
        ratios.push((d2 / d1) / (h2 / h1));
        rates.push(d2);
    }
    let ratio = median(&ratios);
    verdict("two threads over one, against work that shares nothing", ratio, ">= 0.85", ratio >= 0.85);
    let (low, high) = span(&ratios);
    println!(
        "    context: decisions x{:.2}, SHA-256 x{:.2}; ratio {low:.2} to {high:.2}; {:.0} decisions/s with two threads",
        median(&gains),
        median(&controls),
        median(&rates)
    );
    Ok(())
}

/// Runs a second of so many threads that do nothing else, for one slice.
fn throughput(threads: usize, work: &(impl Fn() -> anyhow::Result<()> + Sync)) -> anyhow::Result<f64> {
    let (barrier, stop) = (Barrier::new(threads + 1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let one = || -> anyhow::Result<u32> {
            // The first calls of a thread touch fresh memory.
            (0..50).try_for_each(|_| work())?;
            barrier.wait();
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                (0..16).try_for_each(|_| work())?;
                count += 16;
            }
            Ok(count)
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        barrier.wait();
        let started = Instant::now();
        std::thread::sleep(SLICE);
        stop.store(true, Ordering::Relaxed);
        let mut sum = 0;
        for thread in running {
            sum += thread.join().map_err(|_| anyhow::anyhow!("a thread panicked"))??;
        }
        Ok(f64::from(sum) / started.elapsed().as_secs_f64())
    })
}

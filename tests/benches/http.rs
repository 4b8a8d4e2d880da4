//! `/v1/decide` over HTTP against a route that reads the same bodies and answers as many bytes.
//!
//! Both run on the same HTTP stack with the same settings; the load is put on them in turns. The host
//! is the release binary with its defaults: every record is synced to the disk before its answer.
//!
//! `http noop PORT BYTES` is that other route.

mod support;

#[path = "http/bodies.rs"]
mod bodies;
#[path = "http/noop.rs"]
mod noop;
#[path = "http/server.rs"]
mod server;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, bail, ensure};
use server::Server;
use support::{median, span, verdict};

/// Connections kept open.
const CONNECTIONS: &str = "64";
/// How long one run lasts.
const RUN: &str = "5s";
/// Pairs of runs of one case.
const ROUNDS: usize = 3;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        [] => report(),
        ["noop", port, bytes] => noop::serve(port.parse()?, bytes.parse()?),
        _ => bail!("usage: http [noop PORT BYTES]"),
    }
}

fn report() -> anyhow::Result<()> {
    let scratch = tempfile::tempdir_in(support::root().join("target"))?;
    let bodies = bodies::Bodies::write(scratch.path())?;
    let host = Server::host(scratch.path(), &bodies.jwks)?;
    println!("over HTTP: {CONNECTIONS} connections, every record synced, {ROUNDS} rounds of {RUN} each in turns");
    for (name, file) in [("vouched subject", &bodies.vouched), ("token signed with RS256", &bodies.signed)] {
        let answer = host.ask(file)?;
        let noop = Server::noop(answer.len())?;
        case(name, &host, &noop, file, answer.len())?;
    }
    Ok(())
}

fn case(name: &str, host: &Server, noop: &Server, bodies: &Path, bytes: usize) -> anyhow::Result<()> {
    for server in [noop, host] {
        load(server, bodies, "1s")?;
    }
    let (mut ratios, mut noops, mut hosts) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let (without, with) = (load(noop, bodies, RUN)?, load(host, bodies, RUN)?);
        ratios.push(with.rate / without.rate);
        noops.push(without);
        hosts.push(with);
    }
    let ratio = median(&ratios);
    verdict(&format!("{name}: requests/s over a route that does nothing"), ratio, ">= 0.50", ratio >= 0.5);
    let (low, high) = span(&ratios);
    println!("    context: ratio {low:.2} to {high:.2}; answers of {bytes} bytes");
    for (which, runs) in [("decide", &hosts), ("nothing", &noops)] {
        let of = |part: fn(&Load) -> f64| median(&runs.iter().map(part).collect::<Vec<_>>());
        let (rate, p99, cpu) = (of(|run| run.rate), of(|run| run.p99_ms), of(|run| run.cpu_us));
        println!("    context: {which:<7} {rate:>7.0} requests/s, p99 {p99:.2} ms, {cpu:.1} us of CPU a request");
    }
    Ok(())
}

/// What one run came to.
struct Load {
    /// answers a second
    rate: f64,
    /// 99 % are faster
    p99_ms: f64,
    /// of the server alone
    cpu_us: f64,
}

fn load(server: &Server, bodies: &Path, length: &str) -> anyhow::Result<Load> {
    let before = server.cpu_us()?;
    let output = Command::new("wrk")
        .args(["-t", "1", "-c", CONNECTIONS, "-d", length, "-s"])
        .arg(support::root().join("tests/benches/http.lua"))
        .args([&server.url(), "--"])
        .arg(bodies)
        .arg(server::API_KEY)
        .output()
        .context("wrk does not start: run tests/bench")?;
    let text = String::from_utf8(output.stdout)?;
    let line = text.lines().find_map(|line| line.strip_prefix("RESULT ")).context("wrk failed")?;
    let figures = line.split(' ').map(str::parse).collect::<Result<Vec<f64>, _>>()?;
    let [requests, us, p99_us, bad] = figures.as_slice() else { bail!("wrk says `{line}`") };
    // An answer that is no decision would be counted as one.
    ensure!(*bad == 0.0, "{bad} of {requests} requests failed");
    let cpu_us = (server.cpu_us()? - before) / requests;
    Ok(Load { rate: requests / us * 1e6, p99_ms: p99_us / 1e3, cpu_us })
}

//! The authorization server over HTTP: code flows, refreshes and introspections a second, against a route of the same
//! host that does nothing (`/livez`). The load is put on them in turns.
//!
//! A code flow is two requests: an app that was approved before is sent back with a code, and exchanges it. Each of
//! them asks the policy and writes its record to the disk before it answers.

mod support;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use chartgate_tests::smart::{App, Browser, Clinic};
use support::median;

/// Threads that ask at once.
const THREADS: usize = 8;
/// How long one run lasts.
const RUN: Duration = Duration::from_secs(4);
/// Rounds of all cases.
const ROUNDS: usize = 3;
/// Flows somebody begins at one address: fewer than may begin at once.
const FLOWS: usize = 200;
const SCOPE: &str = "openid fhirUser launch/patient offline_access patient/*.rs";

/// What one thread has to ask with.
struct Asker<'a> {
    clinic: &'a Clinic,
    app: &'a App,
    browser: Browser,
    flows: usize,
    refresh: String,
    access: String,
}

impl Asker<'_> {
    /// The same person from another address: at one of them flows are counted.
    fn move_on(&mut self) {
        let cookies = self.browser.cookies().clone();
        self.browser = self.clinic.browser();
        *self.browser.cookies() = cookies;
    }
}

type Case = (&'static str, usize, fn(&mut Asker<'_>));

const CASES: [Case; 4] = [
    ("nothing", 1, |asker| {
        let answer = asker.clinic.host.admin("GET", "/livez", &[], "");
        assert_eq!(answer.status, 200);
    }),
    ("introspection", 1, |asker| {
        let answer = asker.app.post("/oauth/introspect", &[("token", &asker.access)]);
        assert!(answer.status == 200 && answer.text.contains("\"active\":true"), "{}", answer.text);
    }),
    ("refresh", 1, |asker| assert_eq!(asker.app.refresh(&asker.refresh).status, 200)),
    ("code flow", 2, |asker| {
        asker.flows += 1;
        if asker.flows.is_multiple_of(FLOWS) {
            asker.move_on();
        }
        let code = asker.app.authorize(&mut asker.browser, SCOPE).must("code");
        assert_eq!(asker.app.exchange(&code).status, 200);
    }),
];

fn main() {
    let clinic = Clinic::start("");
    // One that can be told apart, so that an approval is remembered and a refresh token is renewed.
    let app = clinic.register("client_secret_basic", |body| body["introspect"] = true.into());
    let mut askers: Vec<Asker<'_>> = (0..THREADS)
        .map(|_| {
            let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
            let tokens = app.tokens(&app.code(&mut browser, &account, SCOPE));
            let (refresh, access) = (tokens.text("refresh_token").to_owned(), tokens.access().to_owned());
            Asker { clinic: &clinic, app: &app, browser, flows: 0, refresh, access }
        })
        .collect();
    println!(
        "the authorization server: {THREADS} threads, every record synced, {ROUNDS} rounds of {RUN:?} each in turns"
    );
    let mut rates = vec![Vec::new(); CASES.len()];
    for _ in 0..ROUNDS {
        for (case, rates) in CASES.iter().zip(&mut rates) {
            rates.push(rate(case, &mut askers));
        }
    }
    let of_nothing = rates.first().cloned().unwrap_or_default();
    for ((name, requests, _), rates) in CASES.iter().zip(&rates) {
        let ratios: Vec<f64> = rates.iter().zip(&of_nothing).map(|(rate, nothing)| rate / nothing).collect();
        let (rate, ratio) = (median(rates), median(&ratios));
        println!("    context: {name:<14} {rate:>7.0} a second, {requests} request(s) each, {ratio:.2} of nothing");
    }
}

/// How many of a case are done a second.
fn rate((_, _, run): &Case, askers: &mut [Asker<'_>]) -> f64 {
    let (done, over) = (AtomicU64::new(0), AtomicBool::new(false));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for asker in askers {
            let (done, over) = (&done, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    run(asker);
                    done.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(RUN);
        over.store(true, Ordering::Relaxed);
    });
    #[expect(clippy::cast_precision_loss, reason = "a count of some thousands")]
    let count = done.load(Ordering::Relaxed) as f64;
    count / started.elapsed().as_secs_f64()
}

//! The power goes off between any two steps: no code and no refresh token is ever spent twice, and what was taken back
//! stays taken back.
//!
//! `CHARTGATE_SMART_KILLS=200` kills more often than a usual run.

use std::cell::Cell;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chartgate_tests::smart::{App, Browser, Clinic, Tokens};

/// What an app has been told so far.
#[derive(Default)]
struct Told {
    /// codes, and whether they were exchanged
    codes: Vec<(String, bool)>,
    /// refresh tokens that a newer one took the place of
    used: Vec<String>,
    /// the newest refresh token
    newest: Option<String>,
    /// access tokens that were taken back
    revoked: Vec<String>,
    /// how often each step was met: a code, its tokens, a refresh, a revocation
    met: [usize; 4],
}

thread_local!(static QUIET: Cell<bool> = const { Cell::new(false) });

#[test]
fn killed_between_any_two_steps_nothing_is_spent_twice_and_nothing_comes_back() {
    let kills: u64 = std::env::var("CHARTGATE_SMART_KILLS").map_or(20, |number| number.parse().unwrap());
    let mut clinic = Clinic::start("");
    let app = clinic.public_app();
    let account = clinic.account(&["patient=Patient/123"]);
    let mut told = Told::default();
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if !QUIET.get() {
            usual(info)
        }
    }));
    for round in 0..kills {
        let mut browser = clinic.browser();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let id = clinic.host.id();
            let done = &done;
            scope.spawn(move || {
                // A little later each time, so that every step is met: a walk takes some hundred milliseconds.
                std::thread::sleep(Duration::from_millis(20 + round * 61 % 900));
                let killed = Command::new("kill").args(["-KILL", &id.to_string()]).status().unwrap();
                assert!(killed.success());
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                let walk = std::panic::AssertUnwindSafe(|| walk(&app, &mut browser, &account, &mut told));
                // Its host may be gone: what it was told until then is what counts.
                QUIET.set(true);
                let _ = std::panic::catch_unwind(walk);
                QUIET.set(false);
            }
        });
        clinic.restart();
        check(&clinic, &app, &mut told);
    }
    assert!(told.met.iter().all(|met| *met > 0), "the walks did not get far enough to tell anything: {:?}", told.met);
}

/// A code, its tokens, a refresh, a revocation; each noted as soon as it is known.
fn walk(app: &App, browser: &mut Browser, account: &str, told: &mut Told) {
    let code = app.code(browser, account, "offline_access openid launch/patient patient/*.rs");
    told.codes.push((code.clone(), false));
    told.met[0] += 1;
    let tokens = app.tokens(&code);
    told.codes.last_mut().unwrap().1 = true;
    told.met[1] += 1;
    let first = tokens.text("refresh_token").to_owned();
    told.newest = Some(first.clone());
    let answer = app.refresh(&first);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let next = Tokens(answer.json());
    told.used.push(first);
    told.met[2] += 1;
    told.newest = Some(next.text("refresh_token").to_owned());
    let revoked = app.post("/oauth/revoke", &[("token", tokens.access())]);
    assert_eq!(revoked.status, 200);
    told.revoked.push(tokens.access().to_owned());
    told.met[3] += 1;
}

/// After each start: what was spent is spent.
fn check(clinic: &Clinic, app: &App, told: &mut Told) {
    for token in told.revoked.drain(..) {
        let (decision, reason) = clinic.read(&token, "123");
        assert_eq!((decision.as_str(), reason.as_str()), ("deny", "token-inactive"), "a revocation was lost");
    }
    // Of a code that was exchanged, or may have been when the answer was lost, nothing more can be had than once.
    for (code, exchanged) in told.codes.drain(..) {
        let (first, second) = (app.exchange(&code).status, app.exchange(&code).status);
        assert_eq!(second, 400, "a code was spent twice");
        assert!(!exchanged || first == 400, "a code was spent before and again");
    }
    // The codes' replay has ended their grants, and with them every refresh token.
    for token in told.used.drain(..).chain(told.newest.take()) {
        assert_eq!(app.refresh(&token).status, 400, "a refresh token outlived its grant");
    }
}

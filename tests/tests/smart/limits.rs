//! What ends, and when: time is moved by making what is kept older.

use std::time::Duration;

use chartgate_tests::smart::{App, Clinic, Tokens};
use sha2::{Digest as _, Sha256};

use crate::clinic;

const SCOPE: &str = "openid launch/patient offline_access patient/Patient.rs patient/Observation.rs";

/// Make a row older by so many seconds.
fn age(clinic: &Clinic, table: &str, column: &str, secret: &str, seconds: i64) {
    let database = rusqlite::Connection::open(clinic.world.data().join("chartgate.db")).unwrap();
    database.busy_timeout(Duration::from_secs(30)).unwrap();
    let sql = format!("UPDATE {table} SET {column} = {column} - ?2 * 1000 WHERE id = ?1");
    let digest: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
    assert_eq!(database.execute(&sql, (digest, seconds)).unwrap(), 1, "{table}");
}

fn code(app: &App) -> String {
    let (mut browser, account) = (clinic().browser(), clinic().account(&["patient=Patient/123"]));
    app.code(&mut browser, &account, SCOPE)
}

fn tokens(app: &App) -> Tokens {
    app.tokens(&code(app))
}

/// SMART App Launch 2.2: about a minute.
#[test]
fn a_code_is_good_for_a_minute() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let in_time = code(&app);
    age(clinic, "codes", "expires_ms", &in_time, 30);
    assert_eq!(app.exchange(&in_time).status, 200);
    let late = code(&app);
    age(clinic, "codes", "expires_ms", &late, 60);
    let answer = app.exchange(&late);
    assert_eq!((answer.status, answer.json()["error"].as_str()), (400, Some("invalid_grant")));
}

/// Whoever lost the answer on the way may ask again, for half a minute; later it is a theft.
#[test]
fn the_answer_to_a_refresh_can_be_had_again_for_half_a_minute() {
    let (clinic, app) = (clinic(), clinic().public_app());
    for (seconds, again) in [(20, true), (31, false)] {
        let first = tokens(&app);
        let next = Tokens(app.refresh(first.text("refresh_token")).json());
        age(clinic, "refresh_tokens", "used_ms", first.text("refresh_token"), seconds);
        let repeated = app.refresh(first.text("refresh_token"));
        assert_eq!(repeated.status, if again { 200 } else { 400 }, "{}", repeated.text);
        if again {
            assert_eq!(repeated.json()["refresh_token"], next.0["refresh_token"]);
        }
        let after = clinic.read(next.access(), "123");
        assert_eq!(after.0, if again { "permit" } else { "deny" }, "{after:?}");
        assert_eq!(app.refresh(next.text("refresh_token")).status, if again { 200 } else { 400 });
    }
}

/// ONC asks for three months; it is a hundred days here.
#[test]
fn a_refresh_token_lives_for_a_hundred_days() {
    const DAY: i64 = 24 * 60 * 60;
    let (clinic, app) = (clinic(), clinic().public_app());
    for (days, status) in [(99, 200), (100, 400)] {
        let tokens = tokens(&app);
        age(clinic, "refresh_tokens", "expires_ms", tokens.text("refresh_token"), days * DAY);
        assert_eq!(app.refresh(tokens.text("refresh_token")).status, status, "{days}");
    }
}

#[test]
fn an_access_token_ends_with_its_hour() {
    let (clinic, app) = (clinic(), clinic().public_app());
    for (seconds, decision) in [(3_500, "permit"), (3_600, "deny")] {
        let tokens = tokens(&app);
        age(clinic, "access_tokens", "expires_ms", tokens.access(), seconds);
        assert_eq!(clinic.read(tokens.access(), "123").0, decision, "{seconds}");
    }
}

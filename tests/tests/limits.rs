//! Each configurable limit as a caller meets it: what is just inside is decided, what is just outside
//! is refused, by a status, a code and a member of its own.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use chartgate_tests::host::requests::{observation, read, search, with};
use chartgate_tests::host::{Answer, EHR, Guest, Host, PLAIN, World, run};
use serde_json::{Value, json};

/// Decisions here are never cut short by a busy machine.
const PATIENT: &str = "deadline_ms = 60000";

/// A host with the rules of this checkout and these limits.
fn limited(limits: &str) -> (World, Host) {
    let world = World::with_rules_and(&format!("[limits]\n{PATIENT}\n{limits}\n"));
    let host = world.start();
    (world, host)
}

/// Status, code and member of a refusal.
fn refusal(answer: &Answer) -> (u16, String, String) {
    let (status, member) = answer.problem();
    (status, answer.json()["code"].as_str().unwrap().to_owned(), member)
}

fn invalid(member: &str) -> (u16, String, String) {
    (400, "request-invalid".into(), member.into())
}

/// The release could not decide, for this reason: the client is told to come again.
fn is_undecided(answer: &Answer, reason: &str) {
    assert_eq!(answer.verdict(), ("indeterminate".into(), reason.into()));
    assert_eq!((answer.denial_status(), &answer.decided()["denial"]["headers"]["Retry-After"]), (503, &json!("1")));
    assert!(answer.header("chartgate-policy").starts_with("sha256:"));
}

#[test]
fn a_decision_may_use_exactly_its_fuel_and_not_one_unit_less() {
    let (mut world, host) = limited("");
    // More than what a release is tried with takes, or the host would not even start.
    let large = with(&read(), "/stored/Observation~19/note", json!(vec![json!({ "text": "long" }); 3000]));
    let fuel = world.record(&host.decide(&large).decided()["id"])["fuel_used"].as_u64().unwrap();
    drop(host);
    world.more = format!("[limits]\n{PATIENT}\nfuel = {fuel}\n");
    let host = world.start();
    let answer = host.decide(&large);
    assert_eq!(answer.verdict().0, "permit");
    assert_eq!(world.record(&answer.decided()["id"])["fuel_used"], fuel);
    drop(host);
    world.more = format!("[limits]\n{PATIENT}\nfuel = {}\n", fuel - 1);
    let host = world.start();
    let answer = host.decide(&large);
    is_undecided(&answer, "policy-fuel-exhausted");
    let record = world.record(&answer.decided()["id"]);
    assert_eq!(
        (&record["outcome"]["reason"], &record["deterministic"]),
        (&json!("policy-fuel-exhausted"), &json!(true))
    );
}

/// Wall time has no exact edge: the same endless loop meets whichever of the two limits comes first.
#[test]
fn a_loop_meets_its_deadline_unless_its_fuel_ends_first() {
    let mut world = World::new();
    world.add(Guest::Fixture, "0.1.0", r#"{"behave":"loop"}"#);
    let table = [
        ("fuel = 1125899906842624\ndeadline_ms = 20", "policy-deadline-exceeded", false),
        ("fuel = 1000000\ndeadline_ms = 60000", "policy-fuel-exhausted", true),
    ];
    for (limits, reason, deterministic) in table {
        world.more = format!("[limits]\n{limits}\n");
        let host = world.start();
        let answer = host.decide(&read());
        is_undecided(&answer, reason);
        assert_eq!(world.record(&answer.decided()["id"])["deterministic"], deterministic);
    }
}

/// An observation with this many things in it for the rules to list.
fn crowded(things: usize) -> Value {
    let list = vec!["0"; things].join(",");
    let text = observation("123").to_string().replacen('{', &format!(r#"{{"extension":[{list}],"#), 1);
    with(&read(), "/stored/Observation~19", json!(text))
}

#[test]
fn the_largest_content_that_fits_the_memory_is_judged_and_a_larger_one_is_refused() {
    let (world, host) = limited("memory_bytes = 8388608\nfuel = 1125899906842624");
    // Between one that certainly fits and one that certainly does not.
    let (mut fits, mut bursts) = (1, 1 << 19);
    assert_eq!(host.decide(&crowded(fits)).verdict().0, "permit");
    is_undecided(&host.decide(&crowded(bursts)), "policy-memory-exceeded");
    while bursts - fits > 1 {
        let middle = fits.midpoint(bursts);
        let answer = host.decide(&crowded(middle));
        match answer.verdict().0.as_str() {
            "permit" => fits = middle,
            _ => {
                is_undecided(&answer, "policy-memory-exceeded");
                bursts = middle;
            }
        }
    }
    assert!(fits > 1_000, "it is about memory: {fits}");
    // There is no wrong answer in between, and the host is none the worse for it.
    assert_eq!(host.decide(&crowded(fits)).verdict().0, "permit");
    let answer = host.decide(&crowded(fits + 1));
    is_undecided(&answer, "policy-memory-exceeded");
    assert_eq!(world.record(&answer.decided()["id"])["deterministic"], true);
}

#[test]
fn a_release_that_may_grow_past_the_memory_limit_is_not_started_with() {
    let (page, declared) = (65_536, 8 << 20);
    let (_world, host) = limited(&format!("memory_bytes = {declared}"));
    assert_eq!(host.decide(&read()).verdict().0, "permit");
    let less = World::with_rules_and(&format!("[limits]\nmemory_bytes = {}\n", declared - page));
    let ended = run(&mut less.serve(), "");
    assert_eq!(ended.code, Some(2));
    let words = format!("its memory may grow to {declared} bytes, at most {} are allowed", declared - page);
    assert!(ended.stderr.contains(&words), "{}", ended.stderr);
    let odd = World::with_rules_and(&format!("[limits]\nmemory_bytes = {}\n", declared + 1));
    let ended = run(&mut odd.serve(), "");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("memory_bytes"), "{}", ended.stderr);
}

#[test]
fn a_body_is_taken_up_to_its_last_byte() {
    let body = read().to_string();
    let (world, host) = limited(&format!("body_bytes = {}", body.len()));
    assert_eq!(host.decide_text(&[], &body).verdict().0, "permit");
    let over = host.decide_text(&[], &format!("{body} "));
    assert_eq!(refusal(&over), (413, "body-too-large".into(), String::new()));
    // Also when nobody said beforehand how long it will be.
    let chunked = |body: &str| {
        let mut connection = TcpStream::connect(host.public).unwrap();
        let head = format!(
            "POST /v1/decide HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {EHR}\r\nconnection: close\r\n\
             transfer-encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
            body.len()
        );
        connection.write_all(head.as_bytes()).unwrap();
        std::io::read_to_string(&mut connection).unwrap()
    };
    assert!(chunked(&body).starts_with("HTTP/1.1 200 "));
    assert!(chunked(&format!("{body} ")).starts_with("HTTP/1.1 413 "));
    assert_eq!(world.log_lines().len(), 2, "what was refused is no decision");
}

#[test]
fn a_url_is_taken_up_to_its_last_byte() {
    let (world, host) = limited("url_bytes = 64");
    let padded = |start: &str, bytes: usize| format!("{start}{}", "x".repeat(bytes - start.len()));
    let ask = |url: &str| host.decide(&with(&search(), "/request/url", json!(url)));
    assert_eq!(ask(&padded("/Observation?code=", 64)).verdict().0, "permit");
    assert_eq!(refusal(&ask(&padded("/Observation?code=", 65))), invalid("request.url"));
    assert_eq!(refusal(&ask(&"%".repeat(65))), invalid("request.url"));
    // A form stands for a URL.
    let form = |bytes: usize| {
        host.decide(&with(
            &search(),
            "/request",
            json!({
                "method": "POST", "url": "/Observation/_search", "body": padded("code=", bytes),
                "headers": { "content-type": "application/x-www-form-urlencoded" },
            }),
        ))
    };
    assert_eq!(form(64).verdict().0, "permit");
    assert_eq!(refusal(&form(65)), invalid("request.body"));
    assert_eq!(world.log_lines().len(), 2, "what was refused is no decision");
}

#[test]
fn parameters_are_taken_up_to_the_last_one() {
    let (_world, host) = limited("parameters = 3");
    let form = |query: &str, body: &str| {
        host.decide(&with(
            &search(),
            "/request",
            json!({
                "method": "POST", "url": format!("/Observation/_search?{query}"), "body": body,
                "headers": { "content-type": "application/x-www-form-urlencoded" },
            }),
        ))
    };
    let ask = |url: &str| host.decide(&with(&search(), "/request/url", json!(url)));
    assert_eq!(ask("/Observation?code=a&code=b&code=c").verdict().0, "permit");
    assert_eq!(refusal(&ask("/Observation?code=a&code=b&code=c&code=d")), invalid("request.url"));
    assert_eq!(form("status=final", "code=b&code=c").verdict().0, "permit");
    assert_eq!(refusal(&form("status=final", "code=b&code=c&code=d")), invalid("request.body"));
}

#[test]
fn a_scope_is_taken_up_to_its_last_byte() {
    let (_world, host) = limited("scope_bytes = 64");
    let ask = |bytes: usize| {
        let scope = format!("user/Observation.rs {}", "x".repeat(bytes - 20));
        host.decide(&with(&read(), "/subject/scope", json!(scope)))
    };
    assert_eq!(ask(64).verdict().0, "permit");
    assert_eq!(refusal(&ask(65)), invalid("subject.scope"));
}

/// A request that holds its place: the host has asked for a body that has not come yet.
struct Held(TcpStream);

impl Held {
    fn at(host: &Host) -> Self {
        let mut connection = TcpStream::connect(host.public).unwrap();
        let length = read().to_string().len();
        let head = format!(
            "POST /v1/decide HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {EHR}\r\nconnection: close\r\n\
             content-length: {length}\r\nexpect: 100-continue\r\n\r\n"
        );
        connection.write_all(head.as_bytes()).unwrap();
        // The go-ahead is sent when the body is wanted, and by then the request is in its place.
        let go_ahead = b"HTTP/1.1 100 Continue\r\n\r\n";
        let mut bytes = vec![0; go_ahead.len()];
        connection.read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, go_ahead);
        Self(connection)
    }

    /// Send the body; answers the whole response.
    fn go_on(mut self) -> String {
        self.0.write_all(read().to_string().as_bytes()).unwrap();
        std::io::read_to_string(&mut self.0).unwrap()
    }
}

#[test]
fn as_many_decisions_as_there_are_places_are_under_way() {
    let (world, host) = limited("concurrent_decisions = 2");
    let one = Held::at(&host);
    assert_eq!(host.decide(&read()).verdict().0, "permit", "the second place is free");
    let two = Held::at(&host);
    let full = host.decide(&read());
    assert_eq!(refusal(&full), (503, "overloaded".into(), String::new()));
    assert_eq!(full.header("retry-after"), "1");
    let live = host.client().send("GET", host.operations, "/livez", &[], "");
    assert_eq!(live.status, 200, "health is not a decision");
    // Who has a place keeps it, and leaves it to the next.
    let answer = one.go_on();
    assert!(answer.starts_with("HTTP/1.1 200 ") && answer.contains(r#""decision":"permit""#), "{answer}");
    assert_eq!(host.decide(&read()).verdict().0, "permit");
    drop(two);
    assert_eq!(world.log_lines().len(), 3, "what was refused is no decision");
}

#[test]
fn who_hangs_up_leaves_their_place() {
    let (_world, host) = limited("concurrent_decisions = 1");
    let held = Held::at(&host);
    assert_eq!(host.decide(&read()).problem().0, 503);
    drop(held);
    while host.decide(&read()).status == 503 {
        std::thread::yield_now();
    }
    assert_eq!(host.decide(&read()).verdict().0, "permit");
}

#[test]
fn a_caller_may_send_its_rate_at_once_and_no_more() {
    let (world, host) = limited("caller_rate_per_s = 5");
    let mut permitted = 0;
    let refused = loop {
        let answer = host.decide(&read());
        match answer.status {
            200 => permitted += 1,
            _ => break answer,
        }
    };
    assert!(permitted >= 5, "{permitted}");
    assert_eq!(refusal(&refused), (429, "rate-exceeded".into(), String::new()));
    assert_eq!(refused.header("retry-after"), "1");
    // Everybody has a rate of their own: this one is told what is wrong with its request.
    let other = host.decide_as(PLAIN, &read());
    assert_eq!(refusal(&other), (403, "right-missing".into(), "subject".into()));
    while host.decide(&read()).status == 429 {
        std::thread::yield_now();
    }
    assert!(world.log_lines().len() > permitted, "the rate comes back, and what was refused is no decision");
}

//! Records: complete enough to decide again, written one way only, and on the disk before the answer
//! leaves; without a record there is no permit.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "a failure here is a failed test")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use chartgate_model::{Basis, Outcome};
use chartgate_runtime::Called;
use chartgate_runtime::release::Registry;
use chartgate_tests::host::requests::{
    observation, read, read_by_directory, read_own, relationship, search, with, without,
};
use chartgate_tests::host::{Answer, EHR, Guest, Host, Replay, World};
use serde_json::{Value, json};

/// No decision here is cut short by a busy machine.
const LIMITS: &str = "[limits]\nfuel = 50000000\ndeadline_ms = 60000\n";
/// What every decision record has, sorted.
const MEMBERS: [&str; 18] = [
    "break_glass",
    "caller",
    "deterministic",
    "engine_version",
    "face",
    "fact_sources",
    "fuel_used",
    "host_version",
    "id",
    "input",
    "outcome",
    "release",
    "rounds",
    "schema",
    "simulate",
    "tenant",
    "time_ms",
    "token_expires_ms",
];

/// A world whose rules may write, with some people in the directory.
fn world(more: &str) -> World {
    let mut world = World::new();
    world.more = format!("{LIMITS}{more}");
    world.add(Guest::Rules, "0.1.0", r#"{"writes":true}"#);
    for patient in ["123", "127"] {
        let granted = world.directory(&["grant", "Practitioner/17", patient, "treatment"]);
        assert_eq!(granted.code, Some(0), "{}", granted.stderr);
    }
    world
}

/// A request with another FHIR request in it, and every scope there is.
fn asking(method: &str, url: &str, body: Option<Value>) -> Value {
    let request = match body {
        Some(body) => json!({
            "method": method, "url": url, "body": body,
            "headers": { "Content-Type": "application/fhir+json", "Prefer": "return=minimal" },
        }),
        None => json!({ "method": method, "url": url }),
    };
    let all = json!(["search-narrowing", "response-filter", "if-match", "return-minimal"]);
    with(&with(&with(&read(), "/request", request), "/obligations", all), "/subject/scope", json!("user/*.cruds"))
}

fn form() -> Value {
    with(
        &search(),
        "/request",
        json!({
            "method": "POST", "url": "/Observation/_search?status=final", "body": "category=laboratory&code=a%7Cb",
            "headers": { "content-type": "application/x-www-form-urlencoded" },
        }),
    )
}

/// Numbers, escapes and blanks that would not survive being read and written again.
fn odd_content() -> Value {
    let text = "{ \"resourceType\":\"Observation\", \"id\":\"9\",\"valueQuantity\":{\"value\":1.10e0},\r\n\
                \"subject\":{\"reference\":\"Patient\\/123\"}, \"note\":[{\"text\":\"\\u00e9 é \\ud83d\\ude00\"}] }";
    with(&read(), "/stored/Observation~19", json!(text))
}

/// The decisions on record, each with its line.
fn decisions(world: &World) -> Vec<(String, Value)> {
    let records = world.log_lines().into_iter().map(|line| {
        let record: Value = serde_json::from_str(&line).unwrap();
        (line, record)
    });
    records.filter(|(_, record)| record["schema"] == "chartgate-decision/1").collect()
}

/// Every kind of question, and most ways in which it is answered.
fn questions() -> Vec<Value> {
    let stored = with(&observation("123"), "/meta/versionId", json!("3"));
    let updating = asking("PUT", "/Observation/9", Some(observation("123")));
    let mut all = vec![
        read(),
        read_by_directory(),
        read_own(),
        search(),
        form(),
        odd_content(),
        without(&search(), "/facts"),
        without(&search(), "/obligations"),
        with(&search(), "/request/url", json!("/Observation?patient=123&category=laboratory")),
        with(&read(), "/explain", json!(true)),
        with(&read(), "/subject/encounter", json!("e-1")),
        with(&with(&read(), "/simulate", json!(true)), "/at", json!("2001-01-01T00:00:00Z")),
        with(&read(), "/tenant", json!("clinic-2")),
        with(&read_by_directory(), "/tenant", json!("clinic-2")),
        with(&read(), "/subject/scope", json!("user/Condition.rs")),
        with(&read(), "/subject/scope", json!("user/Observation.rs?category=laboratory")),
        with(&read(), "/subject/client", json!("\"é\\\u{1f600} \u{2028}")),
        with(&read(), "/stored/Observation~19", observation("124")),
        with(&read(), "/stored/Observation~19", json!(null)),
        with(&read(), "/stored/Observation~19", json!({ "resourceType": "Observation", "id": "9" })),
        without(&read(), "/stored"),
        with(&read(), "/facts/relationships/0/end", json!("2001-01-01T00:00:00Z")),
        with(&read(), "/facts/relationships/0/end", json!("2999-01-01T00:00:00Z")),
        with(&read(), "/facts/relationships/0/via", json!("break-glass")),
        with(
            &search(),
            "/facts/relationships",
            json!(["123", "124"].map(|patient| relationship("Practitioner/17", patient))),
        ),
        with(&updating, "/stored/Observation~19", stored.clone()),
        with(&without(&updating, "/obligations"), "/stored/Observation~19", stored),
        with(&updating, "/stored/Observation~19", observation("124")),
        without(&asking("POST", "/Observation", Some(without(&observation("123"), "/id"))), "/stored"),
        with(&asking("DELETE", "/Observation/9", None), "/stored/Observation~19/meta", json!({ "versionId": "3" })),
    ];
    for url in [
        "/Observation/9/_history/2",
        "/Observation/9/_history",
        "/Observation/_history",
        "/_history",
        "/metadata",
        "/Patient/123",
        "/Patient/123/Observation",
        "/Patient/123/$everything",
        "/Practitioner?name=a",
        "/?_type=Observation",
    ] {
        all.push(without(&asking("GET", url, None), "/stored"));
    }
    all
}

/// The record agrees with the answer, and deciding it again agrees with the record.
fn is_decided_again(answer: &Answer, record: &Value, releases: &Registry) {
    let (json, outcome) = (answer.decided(), &record["outcome"]);
    let decision = if record["simulate"] == true { &json["would"] } else { &json["decision"] };
    assert_eq!((&outcome["decision"], &outcome["reason"]), (decision, &json["reason"]["code"]));
    assert_eq!((&outcome["text"], &outcome["needs"]), (&json["reason"]["text"], &json["needs"]));
    assert_eq!((&record["release"]["digest"], &record["deterministic"]), (&json["policy"]["digest"], &json!(true)));
    let replay = Replay::of(record);
    match replay.run(releases) {
        Ok(Called { decision, fuel_used }) => {
            assert_eq!(json!(fuel_used), record["fuel_used"]);
            assert_eq!(json!(decision.text), outcome["text"]);
            assert_eq!(in_words(&decision.outcome), recorded(outcome));
            // A second time is no different.
            assert_eq!(replay.run(releases).unwrap().fuel_used, fuel_used);
        }
        Err(error) => {
            assert_eq!((&outcome["decision"], &outcome["reason"]), (&json!("indeterminate"), &json!(error.reason())));
            assert!(error.is_replayable());
        }
    }
}

/// Decision, reason and whatever comes with it.
fn in_words(outcome: &Outcome) -> (String, String, Value) {
    match outcome {
        Outcome::Permit { reason, obligations, .. } => {
            let obligation = |o: &chartgate_model::Obligation| json!({ "id": o.id, "parameters": String::from_utf8(o.parameters.clone()).unwrap() });
            ("permit".into(), reason.clone(), obligations.iter().map(obligation).collect())
        }
        Outcome::Deny { reason, basis } => {
            let basis = if *basis == Basis::Request { "request" } else { "content" };
            ("deny".into(), reason.clone(), json!(basis))
        }
        Outcome::Needs(needs) => panic!("a record's last call needs no more: {needs:?}"),
    }
}

fn recorded(outcome: &Value) -> (String, String, Value) {
    let (decision, reason) = (outcome["decision"].as_str().unwrap(), outcome["reason"].as_str().unwrap());
    let more = if decision == "permit" { &outcome["obligations"] } else { &outcome["basis"] };
    (decision.into(), reason.into(), more.clone())
}

#[test]
fn every_decision_can_be_made_again_from_its_record() {
    let world = world("");
    let host = world.start();
    let releases = world.registry();
    let (mut outcomes, mut obligations) = (BTreeSet::new(), BTreeSet::new());
    for question in questions() {
        let answer = host.decide(&question);
        assert_eq!(answer.status, 200, "{question}: {}", answer.text);
        let record = world.record(&answer.decided()["id"]);
        assert_eq!(record["token_expires_ms"], Value::Null);
        is_decided_again(&answer, &record, &releases);
        let (decision, reason, _) = recorded(&record["outcome"]);
        outcomes.insert(format!("{decision} {reason}"));
        for obligation in record["outcome"]["obligations"].as_array().unwrap() {
            obligations.insert(obligation["id"].to_string());
        }
    }
    assert!(outcomes.len() >= 12, "the questions are different: {outcomes:#?}");
    assert!(obligations.len() >= 2, "{obligations:?}");
}

#[test]
fn what_a_broken_release_did_can_be_done_again() {
    let world = world("");
    let behaviours = ["trap", "hog", "loop", "garbage", "garbage-obligation", "needs", "needs-many", "huge", "permit"];
    let releases = behaviours.iter().enumerate().map(|(n, behaviour)| {
        world.add(Guest::Fixture, &format!("0.1.{n}"), &json!({ "behave": behaviour }).to_string())
    });
    let releases: Vec<String> = releases.collect();
    let (host, registry) = (world.start(), world.registry());
    for digest in releases {
        assert_eq!(host.roll_out(&json!({ "active": digest })).status, 200);
        let answer = host.decide(&read());
        let record = world.record(&answer.decided()["id"]);
        is_decided_again(&answer, &record, &registry);
    }
}

#[test]
fn a_record_says_when_the_token_ends() {
    let world = world("");
    let host = world.start();
    let ending = with(&read(), "/subject/expires", json!("2100-01-01T00:00:00Z"));
    let record = world.record(&host.decide(&ending).decided()["id"]);
    assert_eq!(record["token_expires_ms"], json!(4_102_444_800_000u64));
}

#[test]
fn a_replay_is_about_the_input_of_its_record() {
    let world = world("");
    let (host, releases) = (world.start(), world.registry());
    let record = world.record(&host.decide(&read()).decided()["id"]);
    let permits = |record: &Value| {
        let called = Replay::of(record).run(&releases).unwrap();
        matches!(called.decision.outcome, Outcome::Permit { .. })
    };
    assert!(permits(&record));
    let changes = [
        ("/input/subject/scope", json!("user/Condition.rs")),
        ("/input/subject/user", json!("Practitioner/18")),
        ("/input/stored", json!([])),
        ("/input/stored/0/content", json!(observation("124").to_string())),
        ("/input/facts", json!([])),
        ("/input/interaction", json!("delete")),
        ("/input/fhir_version", json!("6.0.0")),
    ];
    for (pointer, value) in changes {
        assert!(!permits(&with(&record, pointer, value)), "{pointer}");
    }
}

/// A key set with the public key of RFC 7517, appendix A.1: it signs nothing here.
fn with_tokens(world: &mut World) {
    let file = world.path("jwks.json");
    let key = json!({ "kty": "EC", "crv": "P-256", "kid": "k1", "use": "sig",
        "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4", "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM" });
    std::fs::write(&file, json!({ "keys": [key] }).to_string()).unwrap();
    world.more += &format!(
        "[[tokens]]\ntenants = [\"default\"]\nissuer = \"https://login.example\"\naudiences = [\"a\"]\njwks_file = {file:?}\n"
    );
}

fn bad_token() -> Value {
    with(&without(&read(), "/subject"), "/request/headers/authorization", json!("Bearer a.b.c"))
}

#[test]
fn a_denial_without_a_policy_is_on_record_as_what_it_is() {
    let mut world = world("");
    with_tokens(&mut world);
    let host = world.start();
    let ended = with(&read(), "/subject/expires", json!("2001-01-01T00:00:00Z"));
    for (question, reason) in [(bad_token(), "token-malformed"), (ended, "token-expired")] {
        let answer = host.decide(&question);
        assert_eq!(answer.verdict(), ("deny".into(), reason.into()));
        let record = world.record(&answer.decided()["id"]);
        assert_eq!((&record["outcome"]["decision"], &record["outcome"]["reason"]), (&json!("deny"), &json!(reason)));
        let asked = (&record["input"], &record["release"], &record["rounds"], &record["fuel_used"]);
        assert_eq!(asked, (&Value::Null, &Value::Null, &json!(0), &json!(0)));
        assert_eq!((&record["caller"], &record["tenant"]), (&json!("ehr"), &json!("default")));
    }
}

/// The text again, from its parts: members sorted, nothing between them.
fn canonical(value: &Value) -> String {
    match value {
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            let sorted: BTreeMap<_, _> = members.iter().collect();
            let member = |(name, value): (&String, &Value)| format!("{}:{}", json!(name), canonical(value));
            format!("{{{}}}", sorted.into_iter().map(member).collect::<Vec<_>>().join(","))
        }
        plain => plain.to_string(),
    }
}

#[test]
fn records_are_one_canonical_json_line_each() {
    let mut world = world("");
    with_tokens(&mut world);
    let host = world.start();
    let questions: Vec<Value> = questions().into_iter().chain([bad_token()]).collect();
    for question in &questions {
        assert_eq!(host.decide(question).status, 200);
    }
    assert_eq!(host.roll_out(&json!({ "active": "smart-access@0.1.0" })).status, 200);
    assert_eq!(host.stop(), Some(0));
    let lines = world.log_lines();
    assert_eq!(decisions(&world).len(), questions.len(), "one for each answer");
    assert_eq!(world.changes().len(), 3, "one for each change");
    for line in &lines {
        let record: Value = serde_json::from_str(line).unwrap();
        assert_eq!(*line, canonical(&record));
        let members: Vec<&String> = record.as_object().unwrap().keys().collect();
        if record["schema"] == "chartgate-decision/1" {
            assert_eq!(members.into_iter().collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>(), MEMBERS);
        }
    }
    for file in std::fs::read_dir(world.data().join("log")).unwrap() {
        let bytes = std::fs::read(file.unwrap().path()).unwrap();
        assert!(bytes.is_empty() || bytes.ends_with(b"\n"), "no line is left open");
        assert!(!bytes.contains(&b'\r'));
    }
}

#[test]
fn identifiers_are_those_of_the_answers_and_in_the_order_of_time() {
    let world = world("");
    let host = world.start();
    let answered: Vec<String> =
        (0..20).map(|_| host.decide(&read()).decided()["id"].as_str().unwrap().to_owned()).collect();
    let records: Vec<Value> = decisions(&world).into_iter().map(|(_, record)| record).collect();
    let of = |name: &str| records.iter().map(|record| record[name].clone()).collect::<Vec<_>>();
    assert_eq!(of("id"), answered.iter().map(|id| json!(id)).collect::<Vec<_>>());
    let times: Vec<u64> = of("time_ms").iter().map(|time| time.as_u64().unwrap()).collect();
    assert!(times.is_sorted());
    assert_eq!(answered.iter().collect::<BTreeSet<_>>().len(), 20);
}

/// Kill the host: it gets no chance to write anything any more.
fn kill(mut host: Host) {
    let sent = Command::new("kill").args(["-KILL", &host.id().to_string()]).status().unwrap();
    assert!(sent.success());
    assert_eq!(host.wait(), None, "a signal ended it");
}

#[test]
fn a_record_is_there_before_its_answer() {
    for durability in ["fsync", "buffered"] {
        let world = world(&format!("[log]\ndurability = {durability:?}\n"));
        let host = world.start();
        let permit = host.decide(&read());
        assert_eq!(world.record(&permit.decided()["id"])["outcome"]["decision"], "permit", "while the host runs");
        let deny = host.decide(&without(&read(), "/stored"));
        kill(host);
        for (answer, decision) in [(permit, "permit"), (deny, "deny")] {
            assert_eq!(world.record(&answer.decided()["id"])["outcome"]["decision"], decision, "{durability}");
        }
    }
}

/// Ask on a connection of its own; answers the decision's id, or nothing when the host is gone.
fn asked_id(host: SocketAddr, body: &str) -> Option<Value> {
    let mut connection = TcpStream::connect(host).ok()?;
    let head = format!(
        "POST /v1/decide HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {EHR}\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    connection.write_all(head.as_bytes()).ok()?;
    let answer = std::io::read_to_string(&mut connection).ok()?;
    let answer: Value = serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()?;
    assert_eq!(answer["decision"], "permit");
    Some(answer["id"].clone())
}

#[test]
fn whatever_was_answered_before_a_kill_is_on_record() {
    let world = world("");
    let host = world.start();
    let (public, body, count) = (host.public, read().to_string(), AtomicUsize::new(0));
    let until_the_end = || {
        let counted = |id| (count.fetch_add(1, Ordering::Relaxed), id).1;
        std::iter::from_fn(|| asked_id(public, &body)).map(counted).collect::<Vec<_>>()
    };
    let answered: Vec<Value> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(until_the_end)).collect();
        while count.load(Ordering::Relaxed) < 50 {
            std::thread::yield_now();
        }
        // In the middle of it.
        kill(host);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(answered.len() >= 50);
    let recorded: Vec<Value> = decisions(&world).into_iter().map(|(_, record)| record["id"].clone()).collect();
    for id in &answered {
        assert!(recorded.contains(id), "{id} was answered and is not on record");
    }
    // The next host writes files of its own and leaves those alone.
    let host = world.start();
    assert_eq!(host.decide(&read()).verdict().0, "permit");
    assert_eq!(decisions(&world).len(), recorded.len() + 1);
}

/// A host whose files can be kept from growing while it runs. The signal that comes with that is
/// ignored: a full disk has none either.
fn start_on_a_small_disk(world: &World) -> Host {
    let serve = world.serve();
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(serve.get_program()).args(serve.get_args());
    command.current_dir(serve.get_current_dir().unwrap());
    for (name, _) in serve.get_envs().filter(|(_, value)| value.is_none()) {
        command.env_remove(name);
    }
    world.start_by(command)
}

/// From now on a file of the host may have so many bytes and no more.
fn disk_holds(host: &Host, bytes: &str) {
    let limit = format!("--fsize={bytes}:");
    let set = Command::new("prlimit").args(["--pid", &host.id().to_string(), &limit]).status().unwrap();
    assert!(set.success());
}

#[test]
fn what_cannot_be_recorded_is_not_permitted() {
    let mut world = world("");
    with_tokens(&mut world);
    let host = start_on_a_small_disk(&world);
    assert_eq!(host.decide(&read()).verdict().0, "permit");
    disk_holds(&host, "0");
    for question in [read(), search(), without(&read(), "/stored"), with(&read(), "/explain", json!(true))] {
        let answer = host.decide(&question);
        assert_eq!(answer.verdict(), ("indeterminate".into(), "log-failed".into()));
        let json = answer.decided();
        assert_eq!((&json["obligations"], &json["needs"], json.get("expires_at")), (&json!([]), &json!([]), None));
        assert_eq!(answer.denial_status(), 503);
    }
    let refused = host.decide(&bad_token());
    assert_eq!((refused.problem().0, refused.json()["code"].as_str()), (503, Some("log-failed")));
    assert_eq!(host.client().send("GET", host.operations, "/livez", &[], "").status, 200);
    assert!(
        host.stderr().iter().any(|line| line.contains("the decision log cannot be written")),
        "{:?}",
        host.stderr()
    );
    assert_eq!(decisions(&world).len(), 1, "only the permit is on record");
    // There is room again.
    disk_holds(&host, "unlimited");
    let answer = host.decide(&read());
    assert_eq!(answer.verdict().0, "permit");
    assert_eq!(world.record(&answer.decided()["id"])["outcome"]["decision"], "permit");
    assert_eq!(decisions(&world).len(), 2);
}

#[test]
fn a_record_that_fits_in_part_is_taken_back() {
    let world = world("");
    let host = start_on_a_small_disk(&world);
    assert_eq!(host.decide(&read()).verdict().0, "permit");
    let line = decisions(&world)[0].0.len();
    disk_holds(&host, &(line + line / 2).to_string());
    let answer = host.decide(&read());
    assert_eq!(answer.verdict(), ("indeterminate".into(), "log-failed".into()));
    // The next record goes to a file of its own, where there is room for one.
    let answer = host.decide(&read());
    assert_eq!(answer.verdict().0, "permit");
    kill(host);
    assert_eq!(decisions(&world).len(), 2);
    let mut lines = chartgate::audit::read_lines(&world.data().join("log")).unwrap();
    assert!(lines.by_ref().all(|line| line.is_ok()));
    assert_eq!(lines.torn(), 0, "no torn line is left");
}

#[test]
fn without_a_log_nothing_starts() {
    let world = World::with_rules();
    std::fs::write(world.data().join("log"), "in the way").unwrap();
    let ended = chartgate_tests::host::run(&mut world.serve(), "");
    assert_eq!(ended.code, Some(2));
    assert!(ended.stderr.contains("cannot open the decision log"), "{}", ended.stderr);
}

//! Unhappy starts, the end, and the offline verb: exit codes, and what an operator reads.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::fs;
use std::io::Write as _;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use chartgate_tests::host::requests::{observation, read, search, with};
use chartgate_tests::host::{Ended, Guest, World, chartgate, run};
use serde_json::{Value, json};

/// The start fails with exit code 2 and says why in one line that holds all these words.
fn fails(world: &World, words: &[&str]) {
    fails_with(world, &[], words);
}

fn fails_with(world: &World, arguments: &[&str], words: &[&str]) {
    let ended = run(world.serve().args(arguments), "");
    refused(&ended, words);
}

fn refused(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.starts_with("chartgate: "), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
    for word in words {
        assert!(ended.stderr.contains(word), "no {word:?} in {}", ended.stderr);
    }
}

#[test]
fn a_port_that_is_taken_is_named() {
    let world = World::with_rules();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    fails_with(&world, &["--public", &address], &["cannot listen on", &address]);
    fails_with(&world, &["--operations", &address], &["cannot listen on", &address]);
}

#[test]
fn an_address_beyond_loopback_is_named() {
    let world = World::with_rules();
    for (flag, member) in [("--public", "listen.public"), ("--operations", "listen.operations")] {
        fails_with(&world, &[flag, "0.0.0.0:0"], &[member, "0.0.0.0:0", "loopback"]);
    }
}

#[test]
fn a_trusted_key_that_cannot_be_used_is_named() {
    let world = World::with_rules();
    let config = world.config();
    let text = fs::read_to_string(&config).unwrap();
    let start = |file: &Path| {
        let keys = format!("trusted_keys = [{file:?}]");
        let text: Vec<&str> =
            text.lines().map(|line| if line.starts_with("trusted_keys") { keys.as_str() } else { line }).collect();
        let other = world.path("other.toml");
        fs::write(&other, text.join("\n")).unwrap();
        run(chartgate().arg("serve").arg("--config").arg(other), "")
    };
    refused(&start(&world.path("no-such.pub")), &["cannot read the trusted key", "no-such.pub"]);
    refused(&start(&world.path("keys")), &["cannot read the trusted key", "keys"]);
    fs::write(world.path("odd.pub"), "untrusted comment: odd\nnot a key\n").unwrap();
    refused(&start(&world.path("odd.pub")), &["odd.pub", "not a minisign public key"]);
    let none = text.lines().filter(|line| !line.starts_with("trusted_keys")).collect::<Vec<_>>().join("\n");
    let other = world.path("none.toml");
    fs::write(&other, none).unwrap();
    refused(&run(chartgate().arg("serve").arg("--config").arg(other), ""), &["policies.trusted_keys"]);
}

#[test]
fn a_damaged_database_is_named_and_left_alone() {
    let world = World::with_rules();
    let file = world.data().join("chartgate.db");
    let text = "not a database at all, ".repeat(100);
    fs::write(&file, &text).unwrap();
    fails(&world, &["chartgate.db"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
}

#[test]
fn a_data_folder_that_is_none_is_named() {
    let world = World::with_rules();
    fs::write(world.path("file"), "x").unwrap();
    let file = world.path("file");
    fails_with(&world, &["--data", &file.display().to_string()], &[&file.display().to_string()]);
    fails_with(&world, &["--data", &file.join("below").display().to_string()], &["file"]);
}

#[test]
fn without_a_release_nothing_starts() {
    fails(&World::new(), &["no usable policy release"]);
    let world = World::with_rules();
    fails_with(&world, &["--policies", "/no/such/folder"], &["/no/such/folder"]);
    let chosen = World::with_rules();
    fs::write(chosen.path("data/keep"), "").unwrap();
    let ended = run(chosen.serve().env("CHARTGATE_POLICIES__INITIAL", "smart-access@3.0.0"), "");
    refused(&ended, &["smart-access@3.0.0"]);
}

#[test]
fn a_release_that_was_refused_is_named_with_its_reason() {
    let world = World::with_rules();
    fs::remove_dir_all(world.path("keys")).unwrap();
    fs::create_dir(world.path("keys")).unwrap();
    fails(&world, &["no usable policy release", "smart-access/0.1.0", "signed by none of the 1 trusted keys"]);
    let tampered = World::with_rules();
    fs::write(tampered.policies().join("smart-access/0.1.0/policy.wasm"), "x").unwrap();
    fails(&tampered, &["smart-access/0.1.0", "its component has 1 bytes"]);
}

#[test]
fn every_mistake_of_the_configuration_is_named_at_once() {
    let mut world = World::with_rules();
    world.more = "[limits]\nfule = 1\nfuel = 0\n[log]\ndurabilty = \"fsync\"\n[proxy]\nupstream = \"x\"\n".into();
    world.more += &World::caller("ehr", "other", &["A B"], &["fly"]);
    let words =
        ["`limits.fule`", "limits.fuel", "`log.durabilty`", "`proxy.upstream`", "`fly`", "tenants", "used once"];
    fails(&world, &words);
    assert_eq!(fs::read_dir(world.data()).unwrap().count(), 0, "nothing was begun");
}

#[test]
fn a_configuration_that_cannot_be_read_is_named() {
    let world = World::with_rules();
    let serve = |file: &Path| run(chartgate().arg("serve").arg("--config").arg(file), "");
    refused(&serve(&world.path("none.toml")), &["none.toml"]);
    fs::write(world.path("broken.toml"), "[listen\npublic = 1\n").unwrap();
    refused(&serve(&world.path("broken.toml")), &["configuration"]);
    let ended = run(world.serve().env("CHARTGATE_LIMITS__FULE", "1"), "");
    refused(&ended, &["`limits.fule`"]);
    let ended = run(world.serve().env("CHARTGATE_LIMITS__FUEL", "much"), "");
    refused(&ended, &["fuel"]);
}

#[test]
fn token_keys_that_cannot_be_used_are_named() {
    let tokens = |file: &Path, more: &str| {
        World::with_rules_and(&format!(
            "[[tokens]]\ntenants = [\"default\"]\nissuer = \"https://login.example\"\naudiences = [\"a\"]\njwks_file = {file:?}\n{more}"
        ))
    };
    fails(&tokens(Path::new("/no/such/jwks.json"), ""), &["tokens[0].jwks_file", "/no/such/jwks.json"]);
    let folder = World::new();
    let file = folder.path("jwks.json");
    for (text, word) in [("{}", "jwks.json"), (r#"{"keys":[{"kty":"oct","k":"AA"}]}"#, "symmetric")] {
        fs::write(&file, text).unwrap();
        fails(&tokens(&file, ""), &["jwks.json", word]);
    }
    fails(&tokens(&file, "algorithms = [\"HS256\"]"), &["HS256"]);
}

#[test]
fn a_host_that_is_told_to_stop_drains_and_ends_well() {
    let world = World::with_rules();
    let mut host = world.start();
    assert_eq!(host.decide(&read()).status, 200);
    // A request that has begun is answered, though the host is told to stop in the middle of it.
    let body = read().to_string();
    let (first, rest) = body.split_at(20);
    let mut connection = TcpStream::connect(host.public).unwrap();
    let head = format!(
        "POST /v1/decide HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ehr-key\r\ncontent-length: {}\r\n\r\n{first}",
        body.len()
    );
    connection.write_all(head.as_bytes()).unwrap();
    // Another connection's answer: by now the host has taken up the first one too.
    assert_eq!(host.decide(&read()).status, 200);
    host.terminate();
    while TcpStream::connect(host.public).is_ok() {
        std::thread::yield_now();
    }
    connection.write_all(rest.as_bytes()).unwrap();
    let answer = std::io::read_to_string(&mut connection).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("\"permit\""), "{answer}");
    assert_eq!(host.wait(), Some(0));
    assert!(host.stderr().iter().any(|line| line.contains("drained")), "{:?}", host.stderr());
    assert_eq!(world.log_lines().len(), 3, "every answer is on record");
}

#[test]
fn a_ready_host_answers_on_both_listeners() {
    let world = World::with_rules();
    let host = world.start();
    let get = |path: &str| host.client().send("GET", host.operations, path, &[], "");
    assert_eq!(get("/livez").status, 200);
    let ready = get("/readyz");
    assert_eq!((ready.status, &ready.json()["release"]), (200, &json!("smart-access@0.1.0")));
    assert_eq!(host.decide(&read()).status, 200);
    let metrics = get("/metrics").text;
    assert!(metrics.contains("chartgate_decisions_total{") && metrics.contains("decision=\"permit\""), "{metrics}");
    assert!(host.stderr().iter().all(|line| !line.contains('\u{1b}')), "no colours in a file");
}

/// `chartgate decide` with these releases and this standard input.
fn decide(world: &World, arguments: &[&str], input: &str) -> Ended {
    let mut command = chartgate();
    command.arg("decide").arg("--config").arg(world.config()).args(arguments);
    run(&mut command, input)
}

fn lines(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn about(patient: &str) -> String {
    with(&read(), "/stored/Observation~19", observation(patient)).to_string()
}

#[test]
fn offline_answers_come_in_order_with_errors_in_their_places() {
    let world = World::with_rules();
    let good = decide(&world, &[], &format!("{}\n{}\n{}", about("123"), about("124"), search()));
    assert_eq!((good.code, good.stderr.as_str()), (Some(0), ""), "a deny is an answer");
    let decisions: Vec<Value> = lines(&good).iter().map(|line| line["decision"].clone()).collect();
    assert_eq!(decisions, ["permit", "deny", "permit"]);

    let input = format!("{}\n{{\"request\":\n\n{}\r\n[]\n{}\n", about("124"), about("123"), about("124"));
    let mixed = decide(&world, &[], &input);
    assert_eq!(mixed.code, Some(1), "{}", mixed.stderr);
    let lines = lines(&mixed);
    let kinds: Vec<&str> = lines.iter().map(|line| line["decision"].as_str().unwrap_or("error")).collect();
    assert_eq!(kinds, ["deny", "error", "permit", "error", "deny"]);
    assert_eq!(lines[1]["error"]["status"], 400);
}

#[test]
fn an_offline_line_is_as_long_as_a_body_and_no_longer() {
    let long = about("123");
    let world = World::with_rules_and(&format!("[limits]\nbody_bytes = {}\n", long.len()));
    let short = |patient: &str| json!({ "line": patient }).to_string();
    for ending in ["\n", "\r\n", ""] {
        let inside = decide(&world, &[], &format!("{long}{ending}"));
        assert_eq!((inside.code, lines(&inside).len()), (Some(0), 1), "{ending:?}");
        let outside = decide(&world, &[], &format!("{long} {ending}"));
        assert_eq!((outside.code, lines(&outside).len()), (Some(1), 1), "{ending:?}");
    }
    // One line stays one line, wherever its blanks are.
    for gap in [1, 2, 3, 1_000, 100_000] {
        let input = format!("{long}{}{long}\n{long}\n{}\n", " ".repeat(gap), short("x"));
        let ended = decide(&world, &[], &input);
        let kinds: Vec<bool> = lines(&ended).iter().map(|line| line["decision"] == "permit").collect();
        assert_eq!(kinds, [false, true, false], "{gap}");
    }
}

#[test]
fn an_offline_line_that_holds_an_answer_is_filtered_and_a_bundle_is_decided_by_its_entries() {
    let world = World::with_rules();
    let ask = |url: &str| {
        json!({
            "request": { "method": "GET", "url": url },
            "subject": { "user": "Patient/1", "client": "phr", "patient": "1", "scope": "patient/*.rs" },
            "facts": { "patients": [{ "patient": "1", "birth_date": "1980-01-01" }] },
            "obligations": ["search-narrowing", "response-filter", "batch-entries"],
        })
    };
    let observation = |id: &str, patient: &str| json!({ "resourceType": "Observation", "id": id, "subject": { "reference": format!("Patient/{patient}") } });
    let entries = json!([{ "resource": observation("1", "1") }, { "resource": observation("2", "2") }]);
    let bundle = json!({ "resourceType": "Bundle", "type": "searchset", "entry": entries });
    let filter = json!({ "decide": ask("/Observation?patient=1"), "bundle": bundle });
    let denied = json!({ "decide": ask("/Observation?patient=2"), "bundle": bundle });
    let one = json!({ "decide": ask("/Observation/1"), "resource": observation("1", "1") });
    let bound = json!({ "binding": "x", "bundle": bundle });
    let mut batch = ask("/");
    batch["request"] = json!({
        "method": "POST", "url": "/", "headers": { "content-type": "application/fhir+json" },
        "body": { "resourceType": "Bundle", "type": "batch", "entry": [
            { "request": { "method": "GET", "url": "Patient/1" } }, { "request": { "method": "GET", "url": "Patient/2" } },
        ] },
    });
    let input = [filter, denied, one, bound, batch].map(|line| line.to_string()).join("\n");
    let ended = decide(&world, &[], &input);
    let lines = lines(&ended);
    assert_eq!((ended.code, lines.len()), (Some(1), 5), "{}", ended.stdout);
    assert_eq!((&lines[0]["removed"], lines[0]["bundle"]["entry"].as_array().unwrap().len()), (&json!(1), 1));
    assert_eq!(lines[1]["decision"], "deny");
    assert_eq!(lines[2]["resource"], observation("1", "1"));
    assert_eq!(lines[3]["error"]["member"], "binding");
    let told: Vec<&str> =
        lines[4]["entries"].as_array().unwrap().iter().filter_map(|it| it["decision"].as_str()).collect();
    assert_eq!(told, ["permit", "deny"]);
}

#[test]
fn nothing_to_decide_is_decided() {
    let world = World::with_rules();
    for input in ["", "\n", "\n \n\n"] {
        let ended = decide(&world, &[], input);
        assert_eq!((ended.code, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "", ""));
    }
}

#[test]
fn offline_decisions_name_their_release_and_know_the_directory() {
    let world = World::with_rules();
    let old = lines(&decide(&world, &[], &about("123")))[0]["policy"]["digest"].clone();
    let new = world.add(Guest::Rules, "0.2.0", r#"{"writes":true}"#);
    let by = |arguments: &[&str]| lines(&decide(&world, arguments, &about("123")))[0]["policy"]["digest"].clone();
    assert_eq!(by(&[]), json!(new));
    assert_eq!(by(&["--policy", "smart-access@0.1.0"]), old);
    for pin in ["smart-access@9.0.0", "latest"] {
        refused(&decide(&world, &["--policy", pin], ""), &[pin]);
    }
    refused(&decide(&world, &["/no/such/file"], ""), &["/no/such/file"]);
    refused(&decide(&world, &["--data", "/no/such/folder"], ""), &["/no/such/folder"]);

    let told = chartgate_tests::host::requests::without(&read(), "/facts").to_string();
    let data = world.data().display().to_string();
    assert_eq!(world.directory(&["grant", "Practitioner/17", "123", "treatment"]).code, Some(0));
    let decision = |arguments: &[&str]| lines(&decide(&world, arguments, &told))[0]["decision"].clone();
    assert_eq!((decision(&["--data", &data]), decision(&[])), (json!("permit"), json!("deny")));
}

#[test]
fn compiled_releases_are_kept_for_the_next_start_and_are_nobody_elses_to_write() {
    let world = World::with_rules();
    let compiled = world.path("data/compiled");
    drop(world.start());
    assert!(!compiled.exists(), "nothing is kept unless it is asked for");
    let start = || {
        let mut command = world.serve();
        command.env("CHARTGATE_POLICIES__COMPILED_CACHE", "true");
        command
    };
    for _ in 0..2 {
        let host = world.start_by(start());
        assert_eq!(host.decide(&read()).verdict().0, "permit");
        assert_eq!(fs::metadata(&compiled).unwrap().permissions().mode() & 0o777, 0o700);
    }
    fs::set_permissions(&compiled, fs::Permissions::from_mode(0o777)).unwrap();
    refused(&run(&mut start(), ""), &["compiled", "others can write to it"]);
}

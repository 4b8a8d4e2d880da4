//! The proxy in front of HAPI FHIR: a read, a search and a create through it, against the same straight to the server,
//! one by one and in turns. Then what memory it takes to refuse an answer of 100 MB.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed measurement")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use chartgate_tests::host::Client;
use chartgate_tests::servers::{FhirServer, Make, records};
use chartgate_tests::smart::Clinic;
use serde_json::json;

/// Requests of each kind, each way.
const REQUESTS: usize = 400;
/// Before they count.
const WARM_UP: usize = 100;
/// Bytes of the answer that is too long.
const LONG: usize = 100 << 20;

struct Case {
    name: &'static str,
    method: &'static str,
    path: &'static str,
    body: String,
    status: u16,
}

fn main() {
    let server = FhirServer::start(Make::Hapi);
    let all = records::all();
    server.load(&all);
    let clinic = Clinic::in_front_of(&server.url(), r#"{"writes":true}"#, "");
    let bearer = bearer(&clinic);
    let create = json!({ "resourceType": "Observation", "status": "final", "code": { "text": "bench" },
        "subject": { "reference": "Patient/p1" } });
    let cases = [
        Case { name: "read", method: "GET", path: "/Observation/lab-p1", body: String::new(), status: 200 },
        Case { name: "search", method: "GET", path: "/Condition?patient=p1", body: String::new(), status: 200 },
        Case { name: "create", method: "POST", path: "/Observation", body: create.to_string(), status: 201 },
    ];
    println!("the proxy: HAPI FHIR 8.8.0, {} resources, {REQUESTS} of each in turns, one at a time", all.len());
    let client = Client::new();
    let direct: SocketAddr = server.url().trim_start_matches("http://").trim_end_matches("/fhir").parse().unwrap();
    for case in &cases {
        let ask = |at: SocketAddr, bearer: Option<&str>| {
            let mut headers = vec![("accept", "application/fhir+json"), ("content-type", "application/fhir+json")];
            headers.extend(bearer.map(|bearer| ("authorization", bearer)));
            let since = Instant::now();
            let answer = client.send(case.method, at, &format!("/fhir{}", case.path), &headers, case.body.clone());
            let took = since.elapsed();
            assert_eq!(answer.status, case.status, "{}", answer.text);
            took
        };
        let (mut straight, mut proxied) = (Vec::new(), Vec::new());
        for at in 0..WARM_UP + REQUESTS {
            let pair = (ask(direct, None), ask(clinic.host.public, Some(&bearer)));
            if at >= WARM_UP {
                straight.push(pair.0);
                proxied.push(pair.1);
            }
        }
        straight.sort_unstable();
        proxied.sort_unstable();
        let of = |times: &[Duration], part: usize| times[times.len() * part / 100].as_secs_f64() * 1e3;
        println!(
            "{:>7}: p50 {:.2} ms straight, {:.2} ms proxied (+{:.2}, {:.2} times); p99 {:.2} and {:.2} (+{:.2})",
            case.name,
            of(&straight, 50),
            of(&proxied, 50),
            of(&proxied, 50) - of(&straight, 50),
            of(&proxied, 50) / of(&straight, 50),
            of(&straight, 99),
            of(&proxied, 99),
            of(&proxied, 99) - of(&straight, 99),
        );
    }
    memory();
}

fn bearer(clinic: &Clinic) -> String {
    let app = clinic.public_app();
    let account = clinic.account(&["patient=Patient/p1"]);
    let tokens = app.tokens(&app.code(&mut clinic.browser(), &account, "launch/patient patient/*.cruds"));
    format!("Bearer {}", tokens.access())
}

/// A server whose every answer is too long.
fn memory() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/fhir", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || {
                let _ = stream.read(&mut [0; 4096]);
                let head =
                    format!("HTTP/1.1 200 OK\r\ncontent-type: application/fhir+json\r\ncontent-length: {LONG}\r\n\r\n");
                let chunk = vec![b' '; 1 << 20];
                let _ = stream.write_all(head.as_bytes());
                for _ in 0..LONG >> 20 {
                    if stream.write_all(&chunk).is_err() {
                        return;
                    }
                }
            });
        }
    });
    let clinic = Clinic::in_front_of(&url, "{}", "");
    let bearer = bearer(&clinic);
    let before = resident(clinic.host.id());
    for _ in 0..5 {
        let headers = [("authorization", bearer.as_str())];
        let answer = Client::new().send("GET", clinic.host.public, "/fhir/Condition?patient=p1", &headers, "");
        assert_eq!(answer.status, 502, "{}", answer.text);
    }
    println!("an answer of 100 MB is refused; at most {} MB resident, {before} before", resident(clinic.host.id()));
}

/// The most megabytes a process ever had in memory.
fn resident(process: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1_024
}

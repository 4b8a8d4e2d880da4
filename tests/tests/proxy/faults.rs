//! A server that fails, and a proxy that does: nothing leaks, nothing hangs past its limit, and afterwards all is well.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use chartgate_tests::host::{Answer, Client};
use chartgate_tests::servers::{FhirServer, Make, link};
use chartgate_tests::smart::Clinic;
use serde_json::{Value, json};

/// What a whole answer of the server may take.
const TIMEOUT: Duration = Duration::from_millis(1_500);
/// A machine busy with other tests adds to it.
const SLACK: Duration = Duration::from_secs(10);

fn clinic(upstream: &str) -> Clinic {
    Clinic::in_front_of(upstream, "{}", &format!("timeout_ms = {}\nanswer_bytes = 65536", TIMEOUT.as_millis()))
}

/// The header of a patient's token.
fn bearer(clinic: &Clinic, patient: &str) -> String {
    let app = clinic.public_app();
    let account = clinic.account(&[&format!("patient=Patient/{patient}")]);
    let mut browser = clinic.browser();
    let tokens = app.tokens(&app.code(&mut browser, &account, "launch/patient patient/*.rs"));
    format!("Bearer {}", tokens.access())
}

fn get(client: &Client, at: SocketAddr, bearer: &str, path: &str) -> Answer {
    client.send("GET", at, &format!("/fhir{path}"), &[("authorization", bearer)], "")
}

fn records() -> Vec<Value> {
    let observation = |id: String, patient: &str| {
        json!({ "resourceType": "Observation", "id": id, "status": "final", "code": { "text": "secret" },
            "subject": { "reference": format!("Patient/{patient}") } })
    };
    (0..8).flat_map(|at| [observation(format!("own{at}"), "p1"), observation(format!("other{at}"), "p2")]).collect()
}

#[test]
fn a_server_that_is_killed_paused_and_restarted_under_load() {
    let mut server = FhirServer::start(Make::Sekmet);
    server.load(&records());
    let mut clinic = clinic(&server.url());
    let bearer = bearer(&clinic, "p1");
    let at = clinic.host.public;
    let (done, good, failed) = (AtomicBool::new(false), AtomicU32::new(0), AtomicU32::new(0));
    let ask = |paths: [&str; 3]| {
        let client = Client::new();
        while !done.load(Ordering::Relaxed) {
            for path in paths {
                let since = Instant::now();
                let answer = get(&client, at, &bearer, path);
                let took = since.elapsed();
                assert!(took < TIMEOUT + SLACK, "{path}: {took:?}");
                match answer.status {
                    200 if path.starts_with("/Observation?") => {
                        assert!(!answer.text.contains("other"), "a leak: {}", answer.text);
                        good.fetch_add(1, Ordering::Relaxed);
                    }
                    200 => {
                        assert_eq!(path, "/Observation/own0", "a leak: {}", answer.text);
                        good.fetch_add(1, Ordering::Relaxed);
                    }
                    // After a restart it is empty.
                    404 => assert!(!answer.text.contains("secret")),
                    502 | 504 => {
                        assert!(!answer.text.contains("secret") && answer.text.contains("OperationOutcome"));
                        failed.fetch_add(1, Ordering::Relaxed);
                    }
                    status => panic!("{path}: {status} {}", answer.text),
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| ask(["/Observation/own0", "/Observation/other0", "/Observation?_count=3"]));
        }
        let until = |count: &AtomicU32, more: u32| {
            let (since, goal) = (Instant::now(), count.load(Ordering::Relaxed) + more);
            while count.load(Ordering::Relaxed) < goal {
                if since.elapsed() > Duration::from_secs(120) {
                    done.store(true, Ordering::Relaxed);
                    panic!("nothing happens any more");
                }
                std::thread::sleep(Duration::from_millis(10));
            }
        };
        until(&good, 20);
        for _ in 0..2 {
            server.pause();
            until(&failed, 3);
            server.resume();
            until(&good, 10);
            server.kill();
            until(&failed, 10);
            server.run();
            server.load(&records());
            until(&good, 10);
        }
        done.store(true, Ordering::Relaxed);
    });

    // The proxy itself: what it had given out counts on, and pages begin anew.
    let client = Client::new();
    let first = get(&client, at, &bearer, "/Observation?_count=3");
    assert_eq!(first.status, 200, "{}", first.text);
    let page = link(&first.json(), "next").unwrap().strip_prefix(clinic.base()).unwrap().to_owned();
    assert_eq!(get(&client, at, &bearer, &page).status, 200);
    clinic.host.kill();
    clinic.restart();
    let at = clinic.host.public;
    assert_eq!(get(&client, at, &bearer, "/Observation/own0").status, 200);
    assert_eq!(get(&client, at, &bearer, "/Observation/other0").status, 404);
    assert_eq!(get(&client, at, &bearer, &page).status, 410);
}

/// A server that answers each id in its own wrong way. No real one does.
fn liar() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/fhir", listener.local_addr().unwrap());
    let base = url.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let base = base.clone();
            std::thread::spawn(move || lie(stream, &base));
        }
    });
    url
}

fn lie(mut stream: TcpStream, base: &str) {
    let mut asked = Vec::new();
    let mut byte = [0];
    while !asked.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        asked.extend_from_slice(&byte);
    }
    let asked = String::from_utf8_lossy(&asked).into_owned();
    let case = asked.split([' ', '?']).nth(1).and_then(|path| path.rsplit('/').next()).unwrap_or_default().to_owned();
    let own = |id: &str| {
        format!(
            "{{\"resourceType\":\"Observation\",\"id\":\"{id}\",\"subject\":{{\"reference\":\"Patient/p1\"}},\"note\":\"secret\"}}"
        )
    };
    let told = |status: &str, media: &str, more: &str, body: &str| {
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {}\r\n{more}connection: close\r\n\r\n{body}",
            body.len()
        )
    };
    let json = "application/fhir+json";
    let bundle = |next: &str, patient: &str| {
        format!(
            "{{\"resourceType\":\"Bundle\",\"type\":\"searchset\",\"total\":7,\"link\":[{{\"relation\":\"next\",\"url\":\"{next}\"}}],\
            \"entry\":[{{\"resource\":{{\"resourceType\":\"Condition\",\"id\":\"c\",\"subject\":{{\"reference\":\"Patient/{patient}\"}},\"note\":\"secret\"}}}}]}}"
        )
    };
    let answer = match case.as_str() {
        "fine" => told("200 OK", json, "", &own("fine")),
        "html" => told("200 OK", "text/html", "", "<p>secret</p>"),
        "xml" => told("200 OK", "application/fhir+xml", "", "<Observation>secret</Observation>"),
        "broken" => told("200 OK", json, "", &own("broken")[..40]),
        "twice" => {
            told("200 OK", json, "", &own("twice").replace("{\"resourceType\"", "{\"id\":\"twice\",\"resourceType\""))
        }
        "empty" => told("200 OK", json, "", ""),
        "another" => told("200 OK", json, "", &own("other")),
        "packed" => told("200 OK", json, "content-encoding: gzip\r\n", &own("packed")),
        "moved" => told("302 Found", json, "location: http://127.0.0.1:9/secret\r\n", &own("moved")),
        "failed" => told("500 Internal Server Error", json, "", "{\"text\":\"secret\"}"),
        "login" => told("401 Unauthorized", json, "www-authenticate: Basic realm=secret\r\n", "{\"text\":\"secret\"}"),
        "short" => told("200 OK", json, "", &own("short")).replace("content-length: ", "content-length: 9"),
        "long" => told("200 OK", json, "", &format!("{{\"note\":\"{}\"}}", "secret ".repeat(20_000))),
        "silent" => {
            std::thread::sleep(TIMEOUT * 4);
            String::new()
        }
        "slow" => {
            let text = told("200 OK", json, "", &own("slow"));
            for byte in text.bytes() {
                if stream.write_all(&[byte]).is_err() {
                    return;
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            String::new()
        }
        "shut" => String::new(),
        "Condition" => told("200 OK", json, "", &bundle(&format!("{base}?page=2"), "p2")),
        "Goal" => told("200 OK", json, "", &bundle("http://127.0.0.1:9/fhir?page=2", "p1")),
        "Procedure" => told("200 OK", json, "", &bundle(&format!("{base}/../admin"), "p1")),
        "Immunization" => told("200 OK", json, "", &bundle(&format!("{base}/$purge"), "p1")),
        _ => told("404 Not Found", json, "", "{}"),
    };
    let _ = stream.write_all(answer.as_bytes());
}

#[test]
fn a_server_that_lies() {
    let clinic = clinic(&liar());
    let bearer = bearer(&clinic, "p1");
    let (client, at) = (Client::new(), clinic.host.public);
    let fine = get(&client, at, &bearer, "/Observation/fine");
    assert_eq!(fine.status, 200, "{}", fine.text);
    let rows = [
        ("html", 502),
        ("xml", 502),
        ("broken", 502),
        ("twice", 502),
        ("empty", 502),
        ("another", 502),
        ("packed", 502),
        ("moved", 502),
        ("failed", 502),
        ("login", 502),
        ("short", 502),
        ("long", 502),
        ("shut", 502),
        ("silent", 504),
        ("slow", 504),
        ("absent", 404),
    ];
    for (case, status) in rows {
        let since = Instant::now();
        let answer = get(&client, at, &bearer, &format!("/Observation/{case}"));
        assert!(since.elapsed() < TIMEOUT + SLACK, "{case}: {:?}", since.elapsed());
        assert_eq!(answer.status, status, "{case}: {}", answer.text);
        let told = format!("{} {:?}", answer.text, answer.headers);
        assert!(!told.contains("secret") && answer.text.contains("OperationOutcome"), "{case}: {told}");
    }
    // A row nobody asked for is taken out, and the number with it; its next page is asked for here.
    let rows = get(&client, at, &bearer, "/Condition?patient=p1");
    assert_eq!(rows.status, 200, "{}", rows.text);
    let bundle = rows.json();
    assert_eq!((bundle.get("entry"), bundle.get("total")), (None, None));
    assert!(link(&bundle, "next").unwrap().starts_with(clinic.base()));
    // Links that lead elsewhere, out of the base, or to do something.
    for path in ["/Goal?patient=p1", "/Procedure?patient=p1", "/Immunization?patient=p1"] {
        let answer = get(&client, at, &bearer, path);
        assert_eq!(answer.status, 502, "{path}: {}", answer.text);
        assert!(!answer.text.contains("secret"));
    }
}

#[test]
fn a_server_that_is_not_there() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let clinic = clinic(&format!("http://{nobody}/fhir"));
    let bearer = bearer(&clinic, "p1");
    let client = Client::new();
    let rows =
        [("/Patient/p1", 502), ("/metadata", 502), ("/Observation", 502), ("/Group/g", 403), ("/Nonsense/x", 403)];
    for (path, status) in rows {
        let answer = get(&client, clinic.host.public, &bearer, path);
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
    // Where the server is does not show.
    let answer = get(&client, clinic.host.public, &bearer, "/Patient/p1");
    assert!(!answer.text.contains(&nobody.to_string()));
}

//! FHIR servers of others, run as they come: what they are and in which version is in `tests/servers`.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test support: a failure is a failed test")]
#![allow(clippy::indexing_slicing, reason = "test support: a missing member is a failed test")]

pub mod records;

use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::host::{Answer, Client};
use crate::tools::{Folder, INSTALL_PATIENCE, free_port, installed, wait};

/// Generous: only a server that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(180);

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Make {
    /// HAPI FHIR, the JPA server with an embedded database (Java)
    Hapi,
    /// SEKMET, a simulator of a hospital with a store of its own (Python)
    Sekmet,
}

/// A running FHIR server, with nothing in it and nothing in front of it. Dropping it kills it.
pub struct FhirServer {
    make: Make,
    port: u16,
    running: Option<Running>,
    scratch: tempfile::TempDir,
    client: Client,
}

struct Running {
    child: Child,
    /// kills the server when this process is gone
    guard: Child,
}

impl FhirServer {
    /// Start one.
    pub fn start(make: Make) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let mut server = Self { make, port: free_port(), running: None, scratch, client: Client::new() };
        server.run();
        server
    }

    /// Start it at the port it had; what it held is gone.
    pub fn run(&mut self) {
        let mut command = match self.make {
            Make::Hapi => hapi(self.port),
            Make::Sekmet => sekmet(self.port, self.scratch.path()),
        };
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let guard = Command::new("sh")
            .args(["-c", "read -r line; kill -KILL \"$0\"", &child.id().to_string()])
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        self.running = Some(Running { child, guard });
        let since = Instant::now();
        while !self.is_ready() {
            assert!(since.elapsed() < PATIENCE, "{:?} is not ready", self.make);
            std::thread::sleep(Duration::from_millis(100));
        }
        println!("{:?} was ready after {:?}", self.make, since.elapsed());
    }

    fn is_ready(&mut self) -> bool {
        let ended = self.running.as_mut().and_then(|running| running.child.try_wait().unwrap());
        assert!(ended.is_none(), "{:?} ended: {ended:?}", self.make);
        std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok()
            && self.client.try_get(&format!("{}/metadata", self.url())).is_some_and(|status| status == 200)
    }

    /// End it at once.
    pub fn kill(&mut self) {
        if let Some(Running { mut child, mut guard }) = self.running.take() {
            let _ = child.kill();
            let _ = child.wait();
            let _ = guard.kill();
            let _ = guard.wait();
        }
    }

    /// Let it do nothing until [`Self::resume`].
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Let it go on.
    pub fn resume(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, signal: &str) {
        let running = self.running.as_ref().unwrap();
        assert!(Command::new("kill").args([signal, &running.child.id().to_string()]).status().unwrap().success());
    }

    /// Its FHIR base.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.port)
    }

    /// Ask it directly.
    pub fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Answer {
        let at = std::net::SocketAddr::from(([127, 0, 0, 1], self.port));
        let mut all = vec![("accept", "application/fhir+json")];
        if !body.is_empty() {
            all.push(("content-type", "application/fhir+json"));
        }
        all.extend_from_slice(headers);
        self.client.send(method, at, &format!("/fhir{path}"), &all, body)
    }

    /// Put resources into it, past everything.
    pub fn load(&self, resources: &[Value]) {
        for chunk in resources.chunks(100) {
            let bundle = records::transaction(chunk);
            let answer = self.send("POST", "/", &[], &bundle.to_string());
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    }

    /// Everything a search finds, all pages of it: its matches, and what came along.
    pub fn search(&self, path: &str) -> Found {
        let mut found = Found::default();
        let mut next = Some(path.to_owned());
        while let Some(path) = next.take() {
            let answer = self.send("GET", &path, &[], "");
            assert_eq!(answer.status, 200, "{path}: {}", answer.text);
            let bundle = answer.json();
            found.add(&bundle);
            next = link(&bundle, "next").map(|url| url.strip_prefix(&self.url()).unwrap().to_owned());
        }
        found
    }
}

impl Drop for FhirServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a search finds.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Found {
    /// what was asked for
    pub matches: Vec<Value>,
    /// what came along
    pub included: Vec<Value>,
}

impl Found {
    /// Take in a page.
    pub fn add(&mut self, bundle: &Value) {
        for entry in bundle["entry"].as_array().into_iter().flatten() {
            let Some(resource) = entry.get("resource") else { continue };
            match entry["search"]["mode"].as_str() {
                None | Some("match") => self.matches.push(resource.clone()),
                Some("include") => self.included.push(resource.clone()),
                Some(_) => {}
            }
        }
    }
}

/// A link of a bundle.
pub fn link<'b>(bundle: &'b Value, relation: &str) -> Option<&'b str> {
    let links = bundle["link"].as_array()?;
    links.iter().find(|link| link["relation"] == relation)?["url"].as_str()
}

fn folder(make: Make) -> &'static Folder {
    static HAPI: OnceLock<Folder> = OnceLock::new();
    static SEKMET: OnceLock<Folder> = OnceLock::new();
    match make {
        Make::Hapi => HAPI.get_or_init(|| Folder::of("servers/hapi")),
        Make::Sekmet => SEKMET.get_or_init(|| Folder::of("servers/sekmet")),
    }
}

fn hapi(port: u16) -> Command {
    let folder = folder(Make::Hapi);
    let sources = ["pom.xml", "src/main/java/fhir/Config.java", "src/main/java/fhir/FhirServer.java"];
    let wanted: String = sources.map(|file| std::fs::read_to_string(folder.path().join(file)).unwrap()).concat();
    folder.once("target", &wanted, || {
        let mut maven = Command::new(installed("mvn"));
        let goals = ["-q", "-B", "compile", "dependency:copy-dependencies", "-DoutputDirectory=target/lib"];
        wait("mvn", maven.args(goals).current_dir(folder.path()), INSTALL_PATIENCE);
    });
    let mut command = Command::new(installed("java"));
    command.args([
        "-Xmx512m",
        "-XX:TieredStopAtLevel=1",
        "-XX:+UseSerialGC",
        "-cp",
        "target/classes:target/lib/*",
        "fhir.FhirServer",
    ]);
    command.arg(port.to_string()).current_dir(folder.path());
    command
}

fn sekmet(port: u16, scratch: &std::path::Path) -> Command {
    let folder = folder(Make::Sekmet);
    let settings = format!(
        "base_url: http://127.0.0.1:{port}/fhir\nhost: 127.0.0.1\nport: {port}\ndata_dir: {scratch:?}\ndb_path: \":memory:\"\n\
         log_inbound: false\nsimulator: {{enabled: false, auto: []}}\nserver_auth: {{types: [none]}}\n\
         validation: {{inbound: \"off\"}}\n"
    );
    let file = scratch.join("settings.yaml");
    std::fs::write(&file, settings).unwrap();
    let mut command = Command::new(folder.python().with_file_name("sekmet"));
    command.arg("serve").arg("--config").arg(file).args(["--host", "127.0.0.1", "--port", &port.to_string()]);
    for name in ["SEKMET_BASE_URL", "SEKMET_DB", "SEKMET_PORT", "SEKMET_PUBLIC_URL", "SEKMET_CONFIG"] {
        command.env_remove(name);
    }
    command.current_dir(scratch);
    command
}

//! The processes under load.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use chartgate_runtime::sha256;

use super::bodies::{CLINICIANS, ISSUER, PATIENT};
use crate::support::{BASE, root};

/// The caller's key; it opens nothing but these two processes.
pub(super) const API_KEY: &str = "bench-only-caller-key";
/// How long a process may take to listen.
const START: Duration = Duration::from_secs(30);
/// Of the kernel's accounting, fixed at 100 a second on Linux.
const US_PER_TICK: f64 = 10_000.0;

/// A process that answers `/v1/decide`. It ends with this value.
pub(super) struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Server {
    /// The host: a release of the sources as they are, a directory, a configuration.
    pub(super) fn host(folder: &Path, jwks: &Path) -> anyhow::Result<Self> {
        let key = release(folder)?;
        let data = folder.join("data");
        let directory = |arguments: &[&str]| {
            chartgate(Command::new(binary()).arg("directory").args(arguments).arg("--data").arg(&data))
        };
        directory(&["set", "patient", PATIENT, r#"{"birth_date":"1968-04-12","zone":"America/New_York"}"#])?;
        for n in 1..=CLINICIANS {
            let user = format!("Practitioner/{n}");
            directory(&["set", "user", &user, r#"{"roles":["provider"]}"#])?;
            directory(&["grant", &user, PATIENT, "treatment"])?;
        }
        let (port, operations) = (free_port()?, free_port()?);
        let file = folder.join("chartgate.toml");
        std::fs::write(&file, configuration(folder, &key, jwks, port, operations)?)?;
        Self::start(Command::new(binary()).args(["serve", "--config"]).arg(file), port)
    }

    /// The route that answers so many bytes and nothing else.
    pub(super) fn noop(bytes: usize) -> anyhow::Result<Self> {
        let port = free_port()?;
        Self::start(Command::new(std::env::current_exe()?).args(["noop", &port.to_string(), &bytes.to_string()]), port)
    }

    fn start(command: &mut Command, port: u16) -> anyhow::Result<Self> {
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        let mut server = Self { child, port };
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err() {
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status}");
            }
            ensure!(started.elapsed() < START, "the server does not listen");
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(server)
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Send the first body of a file; answers the body of the permit it has to be.
    pub(super) fn ask(&self, bodies: &Path) -> anyhow::Result<String> {
        let text = std::fs::read_to_string(bodies)?;
        let body = text.lines().next().context("no bodies")?;
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        write!(
            stream,
            "POST /v1/decide HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nAuthorization: Bearer {API_KEY}\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (_, answer) = answer.split_once("\r\n\r\n").context("no answer")?;
        ensure!(answer.starts_with(r#"{"decision":"permit","#), "not a permit: {answer}");
        Ok(answer.to_owned())
    }

    /// CPU time used so far, in microseconds.
    pub(super) fn cpu_us(&self) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The name of the process may hold spaces; it ends at the last parenthesis.
        let (_, fields) = text.rsplit_once(") ").context("no process accounting")?;
        let ticks = fields.split(' ').skip(11).take(2).map(str::parse).collect::<Result<Vec<f64>, _>>()?;
        Ok(ticks.iter().sum::<f64>() * US_PER_TICK)
    }
}

fn binary() -> PathBuf {
    root().join("target/release/chartgate")
}

fn chartgate(command: &mut Command) -> anyhow::Result<()> {
    let output = command.current_dir(root()).output().context("no release binary: run tests/bench")?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Ok(())
}

/// A release of the component in `target/guest`, signed by a key nobody keeps; answers its public half.
fn release(folder: &Path) -> anyhow::Result<PathBuf> {
    let (policies, vectors, key) = (folder.join("policies"), folder.join("vectors"), folder.join("bench.pub"));
    for made in [&policies, &vectors] {
        std::fs::create_dir(made)?;
    }
    let module = root().join("target/guest/policy.wasm");
    let mut build = Command::new(binary());
    build.args(["policy", "build", "--version", "0.0.1", "--sequence", "1", "--policies"]).arg(&policies);
    chartgate(build.arg("--vectors").arg(&vectors).arg("--module").arg(module))?;
    let built = policies.join("smart-access/0.0.1");
    chartgate(Command::new(binary()).args(["policy", "sign"]).arg(built).arg("--fresh-key").arg(&key))?;
    Ok(key)
}

fn configuration(folder: &Path, key: &Path, jwks: &Path, port: u16, operations: u16) -> anyhow::Result<String> {
    let mut text = String::new();
    writeln!(text, "[listen]\npublic = \"127.0.0.1:{port}\"\noperations = \"127.0.0.1:{operations}\"")?;
    writeln!(text, "[data]\ndir = {:?}", folder.join("data"))?;
    writeln!(text, "[policies]\ndir = {:?}\ntrusted_keys = [{key:?}]", folder.join("policies"))?;
    writeln!(text, "[fhir.default]\nurl = \"{BASE}\"\nversion = \"4.0.1\"")?;
    writeln!(
        text,
        "[[tokens]]\ntenants = [\"default\"]\nissuer = \"{ISSUER}\"\naudiences = [\"{BASE}\"]\njwks_file = {jwks:?}"
    )?;
    writeln!(text, "algorithms = [\"RS256\"]")?;
    let digest = sha256(API_KEY.as_bytes());
    let digest = digest.strip_prefix("sha256:").unwrap_or(&digest);
    writeln!(text, "[[callers]]\nname = \"bench\"\ntenants = [\"default\"]\nmay = [\"decide\", \"vouch-subject\"]")?;
    writeln!(text, "auth = {{ api_key_sha256 = \"{digest}\" }}")?;
    Ok(text)
}

/// A port nobody listens on at this moment.
fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

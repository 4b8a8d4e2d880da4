//! Running the binary: a host in the background, or a command to its end.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::client::Client;

/// Generous: only a host that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(120);

/// A process that came to its end.
#[derive(Debug)]
pub struct Ended {
    /// exit code; `None` when a signal ended it
    pub code: Option<i32>,
    /// standard output
    pub stdout: String,
    /// standard error
    pub stderr: String,
}

/// Run a command to its end with this standard input.
pub fn run(command: &mut Command, input: &str) -> Ended {
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut child = child;
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_owned();
    let writer = std::thread::spawn(move || {
        // A process that ends without reading everything closes the pipe.
        let _ = stdin.write_all(input.as_bytes());
    });
    let (stdout, stderr) = (collect(child.stdout.take().unwrap()), collect(child.stderr.take().unwrap()));
    let code = wait(&mut child);
    writer.join().unwrap();
    Ended { code, stdout: stdout.join().unwrap(), stderr: stderr.join().unwrap() }
}

fn collect(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

/// Wait for the end; a process that hangs is killed and fails the test.
fn wait(child: &mut Child) -> Option<i32> {
    let since = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if since.elapsed() > PATIENCE {
            let _ = child.kill();
            panic!("the process did not end");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A running host. Dropping it kills it.
pub struct Host {
    child: Child,
    guard: Child,
    /// the address for decisions
    pub public: SocketAddr,
    /// the address for operations
    pub operations: SocketAddr,
    stderr: Arc<Mutex<Vec<String>>>,
    client: Client,
}

impl Host {
    pub(super) fn start(mut command: Command, root: &Path) -> Self {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().expect("spawn chartgate");
        // A host kept in a static is never dropped: when this process is gone, the guard reads the
        // end of its input and clears away.
        let guard = Command::new("sh")
            .args(["-c", "read -r line; kill -KILL \"$0\"; rm -rf \"$1\"", &child.id().to_string()])
            .arg(root)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stderr = Arc::new(Mutex::new(Vec::new()));
        let lines = follow(child.stderr.take().unwrap(), Arc::clone(&stderr));
        let (public, operations) = match ready(&lines) {
            Some(addresses) => addresses,
            None => {
                let _ = child.kill();
                panic!("the host is not ready: {:#?}", stderr.lock().unwrap());
            }
        };
        Self { child, guard, public, operations, stderr, client: Client::new() }
    }

    /// Its client, with connections of its own.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote to standard error so far, line by line.
    pub fn stderr(&self) -> Vec<String> {
        self.stderr.lock().unwrap().clone()
    }

    /// Send SIGTERM.
    pub fn terminate(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// End it at once, as a power cut would; its folder stays.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
    }

    /// Send SIGTERM and wait for the end; answers the exit code.
    pub fn stop(mut self) -> Option<i32> {
        self.terminate();
        self.wait()
    }

    /// Wait for the end; answers the exit code.
    pub fn wait(&mut self) -> Option<i32> {
        wait(&mut self.child)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // First the guard: it would kill whoever has the number later.
        let _ = self.guard.kill();
        let _ = self.guard.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn follow(from: impl std::io::Read + Send + 'static, all: Arc<Mutex<Vec<String>>>) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            all.lock().unwrap().push(line.clone());
            // Nobody listens once the host is ready.
            let _ = sender.send(line);
        }
    });
    lines
}

/// The addresses of the line `… ready public=… operations=…`.
fn ready(lines: &Receiver<String>) -> Option<(SocketAddr, SocketAddr)> {
    loop {
        let line = match lines.recv_timeout(PATIENCE) {
            Ok(line) => line,
            Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return None,
        };
        let address = |name: &str| line.split(' ').find_map(|word| word.strip_prefix(name)?.parse().ok());
        if let (true, Some(public), Some(operations)) =
            (line.contains(" ready "), address("public="), address("operations="))
        {
            return Some((public, operations));
        }
    }
}

//! Bringing other people's clients here, and running them.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use chartgate_tests::workspace_root;

/// Generous: only a script that hangs meets it.
const PATIENCE: Duration = Duration::from_secs(300);
/// So is this: what is not here yet comes over the network.
const INSTALL_PATIENCE: Duration = Duration::from_secs(900);

/// A script of Node's.
pub(crate) fn node(script: &str) -> Command {
    static MODULES: OnceLock<()> = OnceLock::new();
    let folder = folder();
    MODULES.get_or_init(|| {
        let lock = std::fs::read_to_string(folder.join("package-lock.json")).unwrap();
        once("node_modules", &lock, || {
            let mut npm = Command::new(installed("npm"));
            npm.args(["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]);
            wait("npm ci", npm.current_dir(&folder), INSTALL_PATIENCE);
        });
    });
    let mut command = Command::new(installed("node"));
    command.arg(script).current_dir(folder);
    command
}

/// A script of Python's.
pub(crate) fn python(script: &str) -> Command {
    static VENV: OnceLock<()> = OnceLock::new();
    let folder = folder();
    let python = folder.join("venv/bin/python");
    VENV.get_or_init(|| {
        let wanted = std::fs::read_to_string(folder.join("requirements.txt")).unwrap();
        once("venv", &wanted, || {
            let mut venv = Command::new(installed("python3"));
            wait(
                "python3 -m venv",
                venv.args(["-m", "venv", "--clear", "venv"]).current_dir(&folder),
                INSTALL_PATIENCE,
            );
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]);
            wait("pip install", pip.current_dir(&folder), INSTALL_PATIENCE);
        });
    });
    let mut command = Command::new(python);
    command.arg(script).current_dir(folder);
    command
}

/// A program of Rust's, of a workspace of its own: what it needs is nothing the product is built with.
pub(crate) fn cargo(package: &str) -> Command {
    let folder = folder();
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--target-dir"]).arg(folder.join("target"));
    wait("cargo build", build.current_dir(folder.join(package)), INSTALL_PATIENCE);
    let mut command = Command::new(folder.join("target/debug").join(format!("chartgate-test-client-{package}")));
    command.current_dir(folder);
    command
}

/// Run it to its end; it fails the test with all it said unless that is a good one.
pub(crate) fn run(mut command: Command, settings: Vec<(&str, String)>) {
    let name = format!("{command:?}");
    command.envs(settings).env("NO_PROXY", "127.0.0.1,localhost").env("no_proxy", "127.0.0.1,localhost");
    wait(&name, &mut command, PATIENCE);
}

/// The file of the keys that apps of this test have.
pub(crate) fn keys() -> PathBuf {
    let file = folder().join("keys.json");
    let made = node("keys.mjs").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    std::fs::write(&file, made.stdout).unwrap();
    file
}

/// A port nobody listens at, for now.
pub(crate) fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The scripts, as they are now, where what they need can lie beside them.
fn folder() -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap().join("clients");
        copy(&workspace_root().join("tests/clients"), &folder);
        folder
    };
    FOLDER.get_or_init(make).clone()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            // What stays as it was is not built again.
            false if std::fs::read(&to).ok() == std::fs::read(entry.path()).ok() => {}
            false => drop(std::fs::copy(entry.path(), &to).unwrap()),
        }
    }
}

/// Install something, unless it is there as it is wanted.
fn once(name: &str, wanted: &str, install: impl FnOnce()) {
    let stamp = folder().join(format!("{name}.installed"));
    if std::fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
        return;
    }
    install();
    std::fs::write(stamp, wanted).unwrap();
}

/// The path of a program `tests/run` installs.
pub(crate) fn installed(program: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers are not on everybody's path.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|file| file.is_file());
    found
        .and_then(|file| file.to_str().map(str::to_owned))
        .unwrap_or_else(|| panic!("no `{program}` here: `tests/run` installs what these tests need"))
}

fn wait(name: &str, command: &mut Command, patience: Duration) {
    // A group of its own: what it starts and ends there is none of this test's processes.
    command.process_group(0);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (stdout, stderr) = (follow(child.stdout.take().unwrap()), follow(child.stderr.take().unwrap()));
    let since = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if since.elapsed() > patience {
            // It may have started others, and ends them when it is asked to go.
            let asked = Command::new("kill").args(["-TERM", "--", &format!("-{}", child.id())]).status();
            std::thread::sleep(Duration::from_secs(if asked.is_ok() { 5 } else { 0 }));
            let _ = child.kill();
            break child.wait().unwrap();
        }
        std::thread::sleep(Duration::from_millis(20));
    };
    let said = format!("{}{}", stdout.join().unwrap(), stderr.join().unwrap());
    println!("{name}, {} s:\n{said}", since.elapsed().as_secs());
    assert!(status.success(), "{name} ended with {status} after {} s:\n{said}", since.elapsed().as_secs());
}

fn follow(mut from: impl std::io::Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut all = Vec::new();
        let _ = from.read_to_end(&mut all);
        String::from_utf8_lossy(&all).into_owned()
    })
}

//! Bringing other people's programs here, and running them.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test support: a failure is a failed test")]

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::workspace_root;

/// Generous: only a script that hangs meets it.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// So is this: what is not here yet comes over the network.
pub const INSTALL_PATIENCE: Duration = Duration::from_secs(900);

/// A folder of files of others, copied to where what they need can lie beside them.
pub struct Folder(PathBuf);

impl Folder {
    /// That of this name below `tests/`.
    pub fn of(name: &str) -> Self {
        let folder = crate::host::target_folder().join(name);
        copy(&workspace_root().join("tests").join(name), &folder);
        Self(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Install something, unless it is there as it is wanted.
    pub fn once(&self, name: &str, wanted: &str, install: impl FnOnce()) {
        let lock = std::fs::File::create(self.0.join(format!("{name}.lock"))).unwrap();
        lock.lock().unwrap();
        let stamp = self.0.join(format!("{name}.installed"));
        if std::fs::read_to_string(&stamp).is_ok_and(|there| there == wanted) {
            return;
        }
        install();
        std::fs::write(stamp, wanted).unwrap();
    }

    /// The Python of an environment with what `requirements.txt` names.
    pub fn python(&self) -> PathBuf {
        let python = self.0.join("venv/bin/python");
        let wanted = std::fs::read_to_string(self.0.join("requirements.txt")).unwrap();
        self.once("venv", &wanted, || {
            let mut venv = Command::new(installed("python3"));
            venv.args(["-m", "venv", "--clear", "venv"]).current_dir(&self.0);
            wait("python3 -m venv", &mut venv, INSTALL_PATIENCE);
            let mut pip = Command::new(&python);
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]);
            wait("pip install", pip.current_dir(&self.0), INSTALL_PATIENCE);
        });
        python
    }
}

/// A port nobody listens at, for now.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
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

/// The path of a program `tests/run` installs.
pub fn installed(program: &str) -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Servers are not on everybody's path.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    let found = folders.map(|folder| folder.join(program)).find(|file| file.is_file());
    found
        .and_then(|file| file.to_str().map(str::to_owned))
        .unwrap_or_else(|| panic!("no `{program}` here: `tests/run` installs what these tests need"))
}

/// Run a command to its end; one that fails or takes longer than this fails the test with all it said.
pub fn wait(name: &str, command: &mut Command, patience: Duration) {
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

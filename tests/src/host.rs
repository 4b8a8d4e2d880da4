//! The real binary, run as an operator runs it: a folder of releases, a data folder, a configuration
//! file and free ports, all made for one test and gone with it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "test support: a failure is a failed test")]
#![allow(clippy::indexing_slicing, reason = "test support: a missing member is a failed test")]

mod client;
mod log;
mod process;
mod releases;
mod replay;
pub mod requests;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicU64;

use tempfile::TempDir;

pub use client::{Answer, Client};
pub use process::{Ended, Host, run};
pub use releases::{Guest, Shelved, admitted};
pub use replay::Replay;

/// API key of the caller `ehr`, who may do everything in the tenants `default` and `clinic-2`.
pub const EHR: &str = "ehr-key";
/// API key of the caller `plain`, who may only decide, in the tenant `default`.
pub const PLAIN: &str = "plain-key";
/// API key of the administrator `olga`, an operator.
pub const OPERATOR: &str = "operator-key";
/// API key of the administrator `paul`, a publisher.
pub const PUBLISHER: &str = "publisher-key";
/// API key of the administrator `anna`, an auditor.
pub const AUDITOR: &str = "auditor-key";
/// URL of the FHIR base `default`, where a world has no other.
pub const BASE: &str = "https://ehr.example/fhir";

/// Everything one host needs, in a scratch folder.
pub struct World {
    root: TempDir,
    /// further TOML tables of the configuration file
    pub more: String,
    /// URL of the FHIR base `default`
    pub base: String,
    demo: bool,
    port: u16,
    releases: AtomicU64,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// No releases yet.
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["policies", "shelf", "keys", "data"] {
            std::fs::create_dir(root.path().join(folder)).unwrap();
        }
        Self { root, more: String::new(), base: BASE.into(), demo: false, port: 0, releases: AtomicU64::new(0) }
    }

    /// With the release `smart-access@0.1.0`: the rules of this checkout in their strict settings.
    pub fn with_rules() -> Self {
        let world = Self::new();
        world.add(Guest::Rules, "0.1.0", "{}");
        world
    }

    /// The same with further tables of configuration.
    pub fn with_rules_and(more: &str) -> Self {
        Self { more: more.to_owned(), ..Self::with_rules() }
    }

    /// The same, started with `--demo`.
    pub fn demo() -> Self {
        Self { demo: true, ..Self::with_rules() }
    }

    /// The same as an authorization server, with further members of its table; answers its issuer, too.
    pub fn smart(more: &str) -> (Self, String) {
        Self::smart_by("{}", more)
    }

    /// The same by rules with these settings.
    pub fn smart_by(settings: &str, more: &str) -> (Self, String) {
        // An issuer has to be known before the host listens: somebody else may take the port in between, and then
        // the host does not start.
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let issuer = format!("http://127.0.0.1:{port}");
        let mut world = Self { port, ..Self::new() };
        world.add(Guest::Rules, "0.1.0", settings);
        world.more = format!("[smart]\nissuer = {issuer:?}\nbehind_proxy = true\nallow_private = true\n{more}\n");
        (world, issuer)
    }

    /// The same, whose base is the sandbox of a demo at its own address.
    pub fn smart_sandbox(more: &str) -> (Self, String) {
        let (world, issuer) = Self::smart(more);
        (Self { base: format!("{issuer}/fhir"), demo: true, ..world }, issuer)
    }

    /// The same at a port that has to be known before the host listens.
    pub fn at(self, port: u16) -> Self {
        Self { port, ..self }
    }

    /// A path in the scratch folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// The folder of releases.
    pub fn policies(&self) -> PathBuf {
        self.path("policies")
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// A new caller's table, for [`Self::more`].
    pub fn caller(name: &str, key: &str, tenants: &[&str], may: &[&str]) -> String {
        let hash = chartgate_runtime::sha256(key.as_bytes());
        let hash = hash.trim_start_matches("sha256:");
        format!(
            "[[callers]]\nname = {name:?}\nauth = {{ api_key_sha256 = {hash:?} }}\ntenants = {tenants:?}\nmay = {may:?}\n"
        )
    }

    /// The configuration file, written anew.
    pub fn config(&self) -> PathBuf {
        let file = self.path("chartgate.toml");
        let all = ["decide", "vouch-subject", "vouch-facts", "explain", "simulate", "introspect", "launch"];
        let mut text = format!(
            "[listen]\npublic = \"127.0.0.1:{}\"\noperations = \"127.0.0.1:0\"\n[data]\ndir = {:?}\n[policies]\ndir = {:?}\n\
             trusted_keys = {:?}\n[fhir.default]\nurl = {:?}\nversion = \"4.0.1\"\n",
            self.port,
            self.data(),
            self.policies(),
            self.keys(),
            self.base,
        );
        text += &Self::caller("ehr", EHR, &["default", "clinic-2"], &all);
        text += &Self::caller("plain", PLAIN, &["default"], &["decide"]);
        for (name, key, role) in
            [("olga", OPERATOR, "operator"), ("paul", PUBLISHER, "publisher"), ("anna", AUDITOR, "auditor")]
        {
            let hash = chartgate_runtime::sha256(key.as_bytes());
            let hash = hash.trim_start_matches("sha256:");
            text += &format!(
                "[[administrators]]\nname = {name:?}\nauth = {{ api_key_sha256 = {hash:?} }}\nroles = [{role:?}]\n"
            );
        }
        // A machine that is busy with other tests must not end anybody's policy call.
        if !self.more.contains("[limits]") {
            text += "[limits]\ndeadline_ms = 60000\n";
        }
        text += &self.more;
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Public keys of everything signed so far, plus one, so that there is always a key to trust.
    fn keys(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> =
            std::fs::read_dir(self.path("keys")).unwrap().map(|entry| entry.unwrap().path()).collect();
        if files.is_empty() {
            let (key, _) = chartgate_runtime::release::sign_with_fresh_key(b"nothing", "nothing").unwrap();
            let file = self.path("keys/nobody.pub");
            std::fs::write(&file, key).unwrap();
            files.push(file);
        }
        files.sort();
        files
    }

    /// The binary with the arguments of this world's `serve`.
    pub fn serve(&self) -> Command {
        let mut command = chartgate();
        command.arg("serve").arg("--config").arg(self.config()).current_dir(self.root.path());
        if self.demo {
            command.arg("--demo");
        }
        command
    }

    /// `chartgate directory VERB… --data …`
    pub fn directory(&self, arguments: &[&str]) -> Ended {
        run(chartgate().arg("directory").args(arguments).arg("--data").arg(self.data()), "")
    }

    /// Start the host and wait until it is ready.
    pub fn start(&self) -> Host {
        self.start_by(self.serve())
    }

    /// The same by a command of the test's own, made from [`Self::serve`].
    pub fn start_by(&self, command: Command) -> Host {
        Host::start(command, self.root.path())
    }
}

/// The folder cargo builds into, and whether it is that of the release profile.
fn target() -> (PathBuf, bool) {
    let this = std::env::current_exe().unwrap();
    let folder = this.ancestors().find(|folder| folder.ends_with("deps")).and_then(Path::parent).unwrap();
    (folder.to_owned(), folder.ends_with("release"))
}

/// The folder cargo builds into, for all profiles.
pub fn target_folder() -> PathBuf {
    target().0.parent().unwrap().to_owned()
}

/// The product's binary, built when it is not up to date.
pub fn chartgate() -> Command {
    static BUILT: std::sync::OnceLock<PathBuf> = std::sync::OnceLock::new();
    let binary = BUILT.get_or_init(|| {
        let (folder, release) = target();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--locked", "-p", "chartgate", "--bin", "chartgate", "--target-dir"]);
        cargo.arg(folder.parent().unwrap()).current_dir(crate::workspace_root());
        let built = cargo.args(release.then_some("--release")).status().unwrap();
        assert!(built.success(), "chartgate does not build");
        folder.join("chartgate")
    });
    let mut command = Command::new(binary);
    // The settings of whoever runs the tests must not reach the host.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CHARTGATE_") {
            command.env_remove(name);
        }
    }
    command
}

//! Bringing other people's clients here, and running them.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use chartgate_tests::tools::{Folder, INSTALL_PATIENCE, PATIENCE, installed, wait};

/// The scripts, as they are now.
fn scripts() -> &'static Folder {
    static FOLDER: OnceLock<Folder> = OnceLock::new();
    FOLDER.get_or_init(|| Folder::of("clients"))
}

/// A script of Node's.
pub(crate) fn node(script: &str) -> Command {
    static MODULES: OnceLock<()> = OnceLock::new();
    let folder = scripts().path();
    MODULES.get_or_init(|| {
        let lock = std::fs::read_to_string(folder.join("package-lock.json")).unwrap();
        scripts().once("node_modules", &lock, || {
            let mut npm = Command::new(installed("npm"));
            npm.args(["ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund"]);
            wait("npm ci", npm.current_dir(folder), INSTALL_PATIENCE);
        });
    });
    let mut command = Command::new(installed("node"));
    command.arg(script).current_dir(folder);
    command
}

/// A script of Python's.
pub(crate) fn python(script: &str) -> Command {
    let mut command = Command::new(scripts().python());
    command.arg(script).current_dir(scripts().path());
    command
}

/// A program of Rust's, of a workspace of its own: what it needs is nothing the product is built with.
pub(crate) fn cargo(package: &str) -> Command {
    let folder = scripts().path();
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
    let file = scripts().path().join("keys.json");
    let made = node("keys.mjs").output().unwrap();
    assert!(made.status.success(), "{made:?}");
    std::fs::write(&file, made.stdout).unwrap();
    file
}

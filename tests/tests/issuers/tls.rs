//! Keys over TLS: only from a server whose certificate stands for the URL and under an authority of the machine.
//! The server is OpenSSL's.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use chartgate_tests::host::World;
use tempfile::TempDir;

use super::{ISSUER, Key, ask, claims, is_unknown, key_set, reason};

const UNAVAILABLE: &str = "token-keys-unavailable";

/// A server on 127.0.0.1 with a certificate for one name.
struct Server {
    folder: TempDir,
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
    fn new(name: &str, keys: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        authority(folder.path(), "ca");
        let request =
            ["req", "-x509", "-CA", "ca.pem", "-CAkey", "ca.key", "-subj", "/CN=issuer", "-out", "server.pem"];
        let name = format!("subjectAltName={name}");
        let names = ["-addext", &name, "-addext", "basicConstraints=critical,CA:FALSE"];
        openssl(folder.path(), &[&request[..], &names, &NEW_KEY, &["-keyout", "server.key"]].concat());
        std::fs::write(folder.path().join("jwks"), keys).unwrap();
        let mut child = Command::new("openssl")
            .args(["s_server", "-accept", "127.0.0.1:0", "-cert", "server.pem", "-key", "server.key", "-WWW"])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let port =
            lines.find_map(|line| line.unwrap().strip_prefix("ACCEPT ")?.rsplit_once(':')?.1.parse().ok()).unwrap();
        // Somebody has to read on, or the server stops when the pipe is full.
        std::thread::spawn(move || lines.for_each(drop));
        Self { folder, child, port }
    }

    /// What a host says of a good token when it trusts one authority and asks under a name.
    fn asked_as(&self, name: &str, trusted: &Path, check: impl FnOnce(&World, &chartgate_tests::host::Host)) {
        let world = World::with_rules_and(&format!(
            "[[tokens]]\ntenants = [\"default\"]\nissuer = {ISSUER:?}\naudiences = [\"https://ehr.example/fhir\"]\n\
             jwks_url = \"https://{name}:{}/jwks\"\nallow_private = true\n",
            self.port
        ));
        let mut command = world.serve();
        command.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR");
        check(&world, &world.start_by(command));
    }
}

const NEW_KEY: [&str; 5] = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

fn openssl(folder: &Path, arguments: &[&str]) {
    let output = Command::new("openssl").args(arguments).current_dir(folder).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A new authority; answers its certificate.
fn authority(folder: &Path, name: &str) -> PathBuf {
    let (certificate, key) = (format!("{name}.pem"), format!("{name}.key"));
    let request = ["req", "-x509", "-subj", "/CN=authority", "-out", &certificate, "-keyout", &key];
    openssl(folder, &[&request[..], &NEW_KEY].concat());
    folder.join(certificate)
}

#[test]
fn keys_come_only_from_a_server_that_is_who_it_should_be() {
    let key = Key::new("k1");
    let token = key.sign(&claims(ISSUER));
    let (named, other) = (["127.0.0.1", "localhost"], ["localhost", "127.0.0.1"]);
    for ((certified, name), other) in ["IP:127.0.0.1", "DNS:localhost"].into_iter().zip(named).zip(other) {
        let server = Server::new(certified, &key_set(&[&key]));
        let ours = server.folder.path().join("ca.pem");
        let theirs = authority(server.folder.path(), "theirs");
        server.asked_as(name, &theirs, |world, host| is_unknown(world, &ask(host, &token), UNAVAILABLE));
        server.asked_as(other, &ours, |world, host| is_unknown(world, &ask(host, &token), UNAVAILABLE));
        server.asked_as(name, &ours, |_, host| assert_eq!(reason(host, &token), "relationship-treatment", "{name}"));
    }
}

//! Releases made for one test, each signed by a key of its own.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use chartgate_runtime::release::manifest::{Limits, Source, Toolchain};
use chartgate_runtime::release::{
    COMPONENT_FILE, Draft, MANIFEST_FILE, Manifest, Registry, SIGNATURE_FILE, TrustedKeys, componentize,
    sign_with_fresh_key, write_release, write_signature,
};
use chartgate_runtime::{LoadedPolicy, PolicyLimits, Runtime, RuntimeLimits};
use serde_json::{Value, json};

use super::World;

/// Far more than any decision needs: where a test wants a limit, the host sets it.
const FUEL: u64 = 1 << 50;
/// As much as the guests can address.
const MEMORY_BYTES: u64 = 8 << 20;

/// Which component a release has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Guest {
    /// the rules of this checkout
    Rules,
    /// the guest that does what its settings say
    Fixture,
}

/// A signed release that the host cannot see yet.
#[derive(Debug, Clone)]
pub struct Shelved {
    /// its folder on the shelf
    pub folder: PathBuf,
    /// `smart-access`
    pub name: String,
    /// `0.1.0`
    pub version: String,
    /// its identity
    pub digest: String,
}

impl Shelved {
    /// `name@version`
    pub fn pin(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

/// A component on one lane, with limits that no test of rules meets.
pub fn admitted(component: &[u8]) -> LoadedPolicy {
    let runtime = Runtime::new(RuntimeLimits { lanes: 1, deadline_ms: 60_000, ..RuntimeLimits::default() }).unwrap();
    let limits = PolicyLimits { fuel: u64::MAX >> 1, memory_bytes: 8 << 20 };
    chartgate_runtime::admission::admit(&runtime, component, limits).unwrap()
}

impl Guest {
    /// The name of its releases.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rules => "smart-access",
            Self::Fixture => "fixture",
        }
    }

    /// Its component, built once from the sources of this checkout.
    pub fn component(self) -> &'static [u8] {
        static COMPONENTS: [OnceLock<Vec<u8>>; 2] = [OnceLock::new(), OnceLock::new()];
        let build = || componentize(&self.module()).unwrap();
        match self {
            Self::Rules => COMPONENTS[0].get_or_init(build),
            Self::Fixture => COMPONENTS[1].get_or_init(build),
        }
    }

    /// Its component, admitted once for each test binary.
    pub fn policy(self) -> &'static LoadedPolicy {
        static POLICIES: [OnceLock<LoadedPolicy>; 2] = [OnceLock::new(), OnceLock::new()];
        let admit = || admitted(self.component());
        match self {
            Self::Rules => POLICIES[0].get_or_init(admit),
            Self::Fixture => POLICIES[1].get_or_init(admit),
        }
    }

    fn module(self) -> Vec<u8> {
        let root = crate::workspace_root().canonicalize().unwrap();
        let (file, crate_folder) = match self {
            Self::Rules => ("policy", "policy"),
            Self::Fixture => ("fixture", "tests/guest"),
        };
        let module = root.join("target/guest").join(format!("{file}.wasm"));
        std::fs::create_dir_all(root.join("target/guest")).unwrap();
        // Several test binaries may come here at once: one builds, the others find it built.
        let lock = File::create(root.join("target/guest").join(format!("{file}.lock"))).unwrap();
        lock.lock().unwrap();
        let newest = [crate_folder, "wit", "policy/build"].map(|part| newest(&root.join(part)));
        let built = std::fs::metadata(&module).and_then(|data| data.modified()).ok();
        if built.is_none_or(|built| newest.into_iter().any(|source| source > built)) {
            let manifest = root.join(crate_folder).join("Cargo.toml");
            let mut command = Command::new(root.join("policy/build"));
            if self == Self::Fixture {
                command.arg("--manifest-path").arg(manifest);
            }
            let status = command.arg(&module).env_remove("CARGO_TARGET_DIR").env_remove("RUSTFLAGS").status().unwrap();
            assert!(status.success(), "policy/build failed");
        }
        std::fs::read(&module).unwrap()
    }
}

fn newest(path: &Path) -> SystemTime {
    let own = std::fs::metadata(path).unwrap();
    if !own.is_dir() {
        return own.modified().unwrap();
    }
    let within = std::fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    within.filter(|path| !path.ends_with("target")).map(|path| newest(&path)).max().unwrap_or(SystemTime::UNIX_EPOCH)
}

/// An engine for writing and replaying releases, with the host's widest limits.
pub(super) fn runtime() -> &'static Arc<Runtime> {
    static RUNTIME: OnceLock<Arc<Runtime>> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        Runtime::new(RuntimeLimits { lanes: 1, deadline_ms: 60_000, fuel: FUEL, ..RuntimeLimits::default() }).unwrap()
    })
}

/// Settings of a release. For the rules nobody has to be known, where the settings do not say otherwise: most tests
/// are about the host, and bring relationships and nothing else.
fn settings_of(guest: Guest, settings: &str) -> String {
    if guest != Guest::Rules {
        return settings.to_owned();
    }
    let Ok(Value::Object(mut members)) = serde_json::from_str(settings) else { return settings.to_owned() };
    for required in ["require_patient_records", "require_provider_records"] {
        members.entry(required).or_insert(Value::Bool(false));
    }
    Value::Object(members).to_string()
}

impl World {
    /// Write, sign and publish a release; answers its digest.
    pub fn add(&self, guest: Guest, version: &str, settings: &str) -> String {
        let shelved = self.shelve(guest, version, settings);
        self.put(&shelved);
        shelved.digest
    }

    /// Write and sign a release where the host does not look. Hosts started from now on trust its key.
    pub fn shelve(&self, guest: Guest, version: &str, settings: &str) -> Shelved {
        let settings = settings_of(guest, settings);
        let sequence = self.releases.fetch_add(1, Ordering::Relaxed) + 1;
        let draft = Draft {
            name: guest.name(),
            version,
            settings: settings.as_bytes(),
            limits: Limits { fuel: FUEL, memory_bytes: MEMORY_BYTES },
            sequence,
            source: Source { commit: "0".repeat(40), dirty: false },
            toolchain: Toolchain { rustc: "rustc".into(), wit_component: "0".into(), wasmtime: None },
            vectors: None,
            vector_count: 0,
            base: None,
        };
        let shelf = self.path("shelf").join(sequence.to_string());
        let written = write_release(&shelf, runtime(), guest.component(), &draft).unwrap();
        self.sign(&written.folder, &written.manifest_bytes);
        let (name, version) = (guest.name().to_owned(), version.to_owned());
        Shelved { folder: written.folder, name, version, digest: written.digest }
    }

    /// Publish a release from the shelf, at once and whole.
    pub fn put(&self, shelved: &Shelved) -> PathBuf {
        let parent = self.policies().join(&shelved.name);
        std::fs::create_dir_all(&parent).unwrap();
        let folder = parent.join(&shelved.version);
        std::fs::rename(&shelved.folder, &folder).unwrap();
        folder
    }

    /// Replace the component of a shelved release and let `change` edit its manifest; then sign anew.
    pub fn remake(&self, shelved: &Shelved, component: &[u8], change: impl FnOnce(&mut Value)) -> Shelved {
        std::fs::write(shelved.folder.join(COMPONENT_FILE), component).unwrap();
        let bytes = std::fs::read(shelved.folder.join(MANIFEST_FILE)).unwrap();
        let mut manifest: Value = serde_json::from_slice(&bytes).unwrap();
        let digest = chartgate_runtime::sha256(component);
        manifest["component"] = json!({ "sha256": digest.trim_start_matches("sha256:"), "size": component.len() });
        change(&mut manifest);
        let bytes = serde_json::to_vec_pretty(&manifest).unwrap();
        std::fs::write(shelved.folder.join(MANIFEST_FILE), &bytes).unwrap();
        std::fs::remove_file(shelved.folder.join(SIGNATURE_FILE)).unwrap();
        self.sign(&shelved.folder, &bytes);
        Shelved { digest: Manifest::identity(&bytes), ..shelved.clone() }
    }

    fn sign(&self, folder: &Path, manifest: &[u8]) {
        let (key, signature) = sign_with_fresh_key(manifest, "test").unwrap();
        write_signature(folder, &signature).unwrap();
        let files = std::fs::read_dir(self.path("keys")).unwrap().count();
        std::fs::write(self.path("keys").join(format!("key-{files}.pub")), key).unwrap();
    }

    /// The releases of this world, loaded by the test itself.
    pub fn registry(&self) -> Registry {
        let keys = TrustedKeys::from_files(&self.keys()).unwrap();
        Registry::open(Arc::clone(runtime()), &self.policies(), keys).unwrap()
    }
}

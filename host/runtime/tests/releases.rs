//! A release from its writing to its being looked up, and every way to spoil one.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "tests")]

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chartgate_model::ReleasePin;
use chartgate_runtime::release::manifest::{Base, Limits, Source, Toolchain};
use chartgate_runtime::release::{
    Draft, LookupError, ManifestError, Registry, ReleaseError, SignatureError, TrustedKeys, VerifiedFolder, WriteError,
    Written, sign_with_fresh_key, write_release, write_signature,
};
use common::{call_with, denied, fixture_component, shared_runtime};

/// A policies folder with keys beside it.
struct House {
    root: tempfile::TempDir,
}

impl House {
    fn new() -> Self {
        let house = Self { root: tempfile::tempdir().unwrap() };
        fs::create_dir(house.policies()).unwrap();
        fs::create_dir(house.policies().join("keys")).unwrap();
        house
    }

    fn policies(&self) -> PathBuf {
        self.root.path().join("policies")
    }

    fn keys(&self) -> TrustedKeys {
        TrustedKeys::from_dir(&self.policies().join("keys")).unwrap()
    }

    fn vectors(&self) -> PathBuf {
        let folder = self.root.path().join("vectors");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("basic.jsonl"), "{\"expect\":\"deny\"}\n").unwrap();
        folder
    }

    /// Sign, and trust the key under the release's name.
    fn sign(&self, written: &Written) {
        let (public, signature) = sign_with_fresh_key(&written.manifest_bytes, "test").unwrap();
        write_signature(&written.folder, &signature).unwrap();
        fs::write(self.policies().join("keys").join(format!("{}.pub", &written.digest[7..23])), public).unwrap();
    }

    fn write(&self, draft: &Draft<'_>) -> Written {
        write_release(&self.policies(), shared_runtime(), fixture_component(), draft).unwrap()
    }

    /// A signed release `fixture@1.0.0` with vectors.
    fn release(&self) -> Written {
        let vectors = self.vectors();
        let written = self.write(&Draft { vectors: Some(&vectors), vector_count: 1, ..draft("1.0.0") });
        self.sign(&written);
        written
    }

    fn open(&self) -> Registry {
        Registry::open(Arc::clone(shared_runtime()), &self.policies(), self.keys()).unwrap()
    }

    fn read(&self, folder: &Path) -> Result<VerifiedFolder, ReleaseError> {
        VerifiedFolder::read(folder, &self.keys(), 4 << 20)
    }
}

fn draft(version: &str) -> Draft<'_> {
    Draft {
        name: "fixture",
        version,
        settings: br#"{"behave":"deny"}"#,
        limits: Limits { fuel: 1_000_000, memory_bytes: 8 << 20 },
        sequence: 1,
        source: Source { commit: "0".repeat(40), dirty: false },
        toolchain: Toolchain { rustc: "rustc".into(), wit_component: "0".into(), wasmtime: None },
        vectors: None,
        vector_count: 0,
        base: None,
    }
}

fn pin(text: &str) -> ReleasePin {
    ReleasePin::parse(text).unwrap()
}

fn flip_first_byte(path: &Path) {
    let mut bytes = fs::read(path).unwrap();
    bytes[0] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_written_and_signed_release_is_found_by_version_and_by_digest() {
    let house = House::new();
    let written = house.release();
    let registry = house.open();
    assert!(registry.refused().is_empty(), "{:?}", registry.refused());
    let release = registry.get(&pin("fixture@1.0.0")).unwrap();
    assert_eq!(release.digest, written.digest);
    assert_eq!(registry.get(&pin(&written.digest)).unwrap().digest, written.digest);
    assert_eq!(release.settings, br#"{"behave":"deny"}"#);
    assert_eq!(release.manifest.vectors.files, 1);
    assert_eq!(release.policy.limits.fuel, 1_000_000);
    assert_eq!(denied(call_with(&release.policy, "deny", &[], false)), "fixture-deny");
}

#[test]
fn an_unknown_release_is_told_from_a_refused_one() {
    let house = House::new();
    let written = house.release();
    house.write(&draft("1.1.0"));
    let registry = house.open();
    assert!(matches!(registry.get(&pin("fixture@2.0.0")), Err(LookupError::Unknown { .. })));
    let digest = format!("sha256:{}", "0".repeat(64));
    assert!(matches!(registry.get(&pin(&digest)), Err(LookupError::Unknown { .. })));
    let Err(LookupError::Refused { error, .. }) = registry.get(&pin("fixture@1.1.0")) else { panic!() };
    assert!(matches!(*error, ReleaseError::Unsigned));
    assert!(registry.get(&pin(&written.digest)).is_ok());
}

#[test]
fn a_flipped_byte_is_found_wherever_it_is() {
    let house = House::new();
    let folder = house.release().folder;
    assert!(house.read(&folder).is_ok());
    type Check = fn(&ReleaseError) -> bool;
    let cases: [(&str, Check); 4] = [
        ("manifest.json", |e| matches!(e, ReleaseError::Signature(SignatureError::Mismatch { .. }))),
        ("manifest.json.minisig", |e| matches!(e, ReleaseError::Signature(SignatureError::Malformed))),
        ("policy.wasm", |e| matches!(e, ReleaseError::Component { .. })),
        ("vectors/basic.jsonl", |e| matches!(e, ReleaseError::Vectors { .. })),
    ];
    for (file, expected) in cases {
        let path = folder.join(file);
        flip_first_byte(&path);
        let found = house.read(&folder).unwrap_err();
        assert!(expected(&found), "{file}: {found:?}");
        flip_first_byte(&path);
    }
    assert!(house.read(&folder).is_ok());
}

#[test]
fn every_bit_of_a_component_counts() {
    let house = House::new();
    let folder = house.release().folder;
    let path = folder.join("policy.wasm");
    let good = fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(997) {
        let mut bad = good.clone();
        bad[at] ^= 0x80;
        fs::write(&path, bad).unwrap();
        assert!(matches!(house.read(&folder), Err(ReleaseError::Component { .. })), "{at}");
    }
    fs::write(&path, &good[..good.len() - 1]).unwrap();
    assert!(matches!(house.read(&folder), Err(ReleaseError::Component { .. })));
}

#[test]
fn a_signature_of_another_key_is_unknown_and_without_keys_nothing_opens() {
    let house = House::new();
    let folder = house.release().folder;
    let (other, _) = sign_with_fresh_key(b"", "x").unwrap();
    let keys = TrustedKeys::from_texts([("other", other.as_str())]).unwrap();
    let found = VerifiedFolder::read(&folder, &keys, 4 << 20).unwrap_err();
    assert!(matches!(found, ReleaseError::Signature(SignatureError::UnknownKey { .. })));
    for entry in fs::read_dir(house.policies().join("keys")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    let none = TrustedKeys::from_dir(&house.policies().join("keys"));
    assert!(matches!(none, Err(SignatureError::NoKeys)));
}

#[test]
fn a_vector_more_or_less_is_found() {
    let house = House::new();
    let folder = house.release().folder;
    fs::write(folder.join("vectors/more.jsonl"), "").unwrap();
    assert!(matches!(house.read(&folder), Err(ReleaseError::Vectors { found_files: 2, .. })));
    fs::remove_dir_all(folder.join("vectors")).unwrap();
    assert!(matches!(house.read(&folder), Err(ReleaseError::Vectors { found_files: 0, .. })));
}

#[test]
fn a_signed_manifest_with_an_unknown_member_is_refused() {
    let house = House::new();
    let mut written = house.write(&draft("1.0.0"));
    let text = String::from_utf8(written.manifest_bytes.clone()).unwrap();
    written.manifest_bytes = text.replacen('{', "{\"extra\":1,", 1).into_bytes();
    fs::write(written.folder.join("manifest.json"), &written.manifest_bytes).unwrap();
    house.sign(&written);
    let found = house.read(&written.folder).unwrap_err();
    assert!(matches!(found, ReleaseError::Manifest(ManifestError::Members(_))), "{found:?}");
}

#[test]
fn a_signed_release_in_another_place_is_refused() {
    let house = House::new();
    let folder = house.release().folder;
    let version = folder.with_file_name("1.0.1");
    fs::rename(&folder, &version).unwrap();
    let Err(ReleaseError::Place { folder: place, manifest }) = house.read(&version) else { panic!() };
    assert_eq!((place.as_str(), manifest.as_str()), ("fixture/1.0.1", "fixture/1.0.0"));
    let other = house.policies().join("other");
    fs::create_dir(&other).unwrap();
    fs::rename(&version, other.join("1.0.0")).unwrap();
    assert!(matches!(house.read(&other.join("1.0.0")), Err(ReleaseError::Place { .. })));
}

#[test]
fn something_that_belongs_to_no_release_is_refused() {
    let house = House::new();
    let folder = house.release().folder;
    fs::write(folder.join("policy.cwasm"), "").unwrap();
    assert!(matches!(house.read(&folder), Err(ReleaseError::Unexpected { .. })));
}

#[cfg(unix)]
#[test]
fn a_link_is_refused_in_every_place() {
    use std::os::unix::fs::symlink;
    let house = House::new();
    let folder = house.release().folder;
    let outside = house.root.path().join("outside");
    for part in ["manifest.json", "manifest.json.minisig", "policy.wasm", "vectors"] {
        fs::rename(folder.join(part), &outside).unwrap();
        symlink(&outside, folder.join(part)).unwrap();
        assert!(house.read(&folder).is_err(), "{part}");
        fs::remove_file(folder.join(part)).unwrap();
        fs::rename(&outside, folder.join(part)).unwrap();
    }
    assert!(house.read(&folder).is_ok());
    fs::rename(&folder, &outside).unwrap();
    symlink(&outside, &folder).unwrap();
    assert!(matches!(house.read(&folder), Err(ReleaseError::File { .. })));
    let registry = house.open();
    assert!(registry.releases().is_empty());
    assert_eq!(registry.refused().len(), 1);
}

#[test]
fn a_component_too_large_for_the_host_is_not_read() {
    let house = House::new();
    let folder = house.release().folder;
    let size = fixture_component().len();
    assert!(VerifiedFolder::read(&folder, &house.keys(), size).is_ok());
    let found = VerifiedFolder::read(&folder, &house.keys(), size - 1).unwrap_err();
    assert!(matches!(found, ReleaseError::File { .. }));
}

#[test]
fn a_reload_finds_what_is_new_and_keeps_what_was_good() {
    let house = House::new();
    let first = house.release();
    let second = house.write(&draft("1.1.0"));
    house.sign(&second);
    fs::rename(&second.folder, house.root.path().join("later")).unwrap();
    let registry = house.open();
    assert_eq!(registry.releases().len(), 1);
    fs::rename(house.root.path().join("later"), &second.folder).unwrap();
    assert_eq!(registry.reload().unwrap().added, std::slice::from_ref(&second.digest));

    flip_first_byte(&first.folder.join("policy.wasm"));
    let reloaded = registry.reload().unwrap();
    assert!(reloaded.added.is_empty());
    assert_eq!(reloaded.refused.len(), 1);
    assert_eq!(registry.get(&pin("fixture@1.0.0")).unwrap().digest, first.digest);

    fs::remove_dir_all(&first.folder).unwrap();
    assert!(registry.reload().unwrap().refused.is_empty());
    assert!(registry.get(&pin(&first.digest)).is_ok());
}

#[test]
fn the_same_version_with_another_digest_never_replaces_the_first() {
    let house = House::new();
    let first = house.release();
    // The registry holds its keys from the start: both releases are signed before it opens.
    fs::rename(&first.folder, house.root.path().join("first")).unwrap();
    let second = house.write(&Draft { sequence: 2, ..draft("1.0.0") });
    house.sign(&second);
    fs::rename(&second.folder, house.root.path().join("second")).unwrap();
    fs::rename(house.root.path().join("first"), &first.folder).unwrap();
    let registry = house.open();
    fs::remove_dir_all(&first.folder).unwrap();
    fs::rename(house.root.path().join("second"), &second.folder).unwrap();
    let reloaded = registry.reload().unwrap();
    assert!(reloaded.added.is_empty());
    let ReleaseError::Changed { known, found, .. } = &*reloaded.refused[0].error else { panic!() };
    assert_eq!((known, found), (&first.digest, &second.digest));
    assert_eq!(registry.get(&pin("fixture@1.0.0")).unwrap().digest, first.digest);
}

#[test]
fn a_release_that_permits_what_none_may_is_neither_written_nor_served() {
    let house = House::new();
    for (version, behaviour, says) in [
        ("1.0.0", "permit-anybody", "it permits read of Observation in FHIR 4.0.1 without a user"),
        (
            "1.0.1",
            "permit-break-glass",
            "it permits read of Observation in FHIR 4.0.1 by a relationship that came about by break-glass",
        ),
        ("1.0.2", "trap-always", "it fails on read of Observation in FHIR 4.0.1"),
    ] {
        let settings = json(behaviour);
        let bad = Draft { settings: settings.as_bytes(), ..draft(version) };
        let error = write_release(&house.policies(), shared_runtime(), fixture_component(), &bad).unwrap_err();
        let WriteError::Invariant(error) = error else { panic!("{error}") };
        assert_eq!(error.to_string(), says);

        // Whoever signs by other means than ours gets no further. One letter makes a good word of a bad one.
        let good = settings.replace(behaviour, &format!("x{}", &behaviour[1..]));
        let mut written = house.write(&Draft { settings: good.as_bytes(), ..draft(version) });
        let manifest = String::from_utf8(written.manifest_bytes).unwrap().replace(&good, &settings);
        written.manifest_bytes = manifest.into_bytes();
        fs::write(written.folder.join("manifest.json"), &written.manifest_bytes).unwrap();
        house.sign(&written);
        let refused = house.open().refused();
        let ReleaseError::Invariant(error) = &*refused.last().unwrap().error else { panic!("{refused:?}") };
        assert_eq!(error.to_string(), says);
    }
    assert_eq!(house.open().releases().len(), 0);
}

fn json(behaviour: &str) -> String {
    format!(r#"{{"behave":"{behaviour}"}}"#)
}

#[test]
fn a_release_on_a_base_has_its_component_and_its_own_settings() {
    let house = House::new();
    let base = house.release();
    let base = Base { name: "fixture".into(), version: "1.0.0".into(), digest: base.digest };
    // It sorts before its base, and is loaded after it all the same.
    let written = house.write(&Draft {
        name: "clinic",
        settings: br#"{"behave":"permit"}"#,
        base: Some(base.clone()),
        ..draft("0.1.0")
    });
    assert!(!written.folder.join("policy.wasm").exists());
    house.sign(&written);
    let registry = house.open();
    assert!(registry.refused().is_empty(), "{:?}", registry.refused());
    let release = registry.get(&pin("clinic@0.1.0")).unwrap();
    let of_base = registry.get(&pin(&base.digest)).unwrap();
    assert_eq!(release.component_digest, of_base.component_digest);
    assert!(Arc::ptr_eq(&release.policy, &of_base.policy));
    assert_eq!(release.settings, br#"{"behave":"permit"}"#);
    assert_ne!(release.digest, of_base.digest);

    fs::write(written.folder.join("policy.wasm"), fixture_component()).unwrap();
    assert!(matches!(house.read(&written.folder), Err(ReleaseError::ComponentBesideBase)));
}

#[test]
fn a_base_must_be_there_and_be_the_one_meant() {
    let house = House::new();
    let real = house.release();
    let base =
        |name: &str, version: &str, digest: String| Some(Base { name: name.into(), version: version.into(), digest });
    let absent = format!("sha256:{}", "0".repeat(64));
    for (version, base) in [
        ("0.1.0", base("fixture", "1.0.0", absent)),
        ("0.2.0", base("fixture", "1.0.1", real.digest.clone())),
        ("0.3.0", base("fixture", "1.0.0", real.digest.clone())),
    ] {
        house.sign(&house.write(&Draft { name: "clinic", base, ..draft(version) }));
    }
    let based = house.open().get(&pin("clinic@0.3.0")).unwrap().digest.clone();
    house.sign(&house.write(&Draft { name: "clinic", base: base("clinic", "0.3.0", based), ..draft("0.4.0") }));

    let registry = house.open();
    let error = |version: &str| registry.get(&pin(&format!("clinic@{version}"))).unwrap_err();
    let refused = |version| match error(version) {
        LookupError::Refused { error, .. } => error,
        other => panic!("{other}"),
    };
    assert!(matches!(*refused("0.1.0"), ReleaseError::BaseUnknown { .. }));
    assert!(matches!(*refused("0.2.0"), ReleaseError::Base { .. }));
    assert!(registry.get(&pin("clinic@0.3.0")).is_ok());
    assert!(matches!(*refused("0.4.0"), ReleaseError::Base { .. }));
}

#[test]
fn a_manifest_that_promises_another_fhir_version_is_refused() {
    let house = House::new();
    let mut written = house.write(&draft("1.0.0"));
    let text = String::from_utf8(written.manifest_bytes.clone()).unwrap();
    written.manifest_bytes = text.replace("\"4.0.1\"", "\"5.0.0\"").into_bytes();
    fs::write(written.folder.join("manifest.json"), &written.manifest_bytes).unwrap();
    house.sign(&written);
    let refused = house.open().refused();
    assert!(matches!(&*refused[0].error, ReleaseError::Description { member: "fhir_versions", .. }));
}

#[test]
fn a_release_is_written_whole_once_and_never_again() {
    let house = House::new();
    let written = house.release();
    let again = write_release(&house.policies(), shared_runtime(), fixture_component(), &draft("1.0.0"));
    assert!(matches!(again, Err(WriteError::Exists { .. })));
    assert!(matches!(write_signature(&written.folder, "x"), Err(WriteError::Exists { .. })));
    let bad = Draft { settings: b"[]", ..draft("2.0.0") };
    let refused = write_release(&house.policies(), shared_runtime(), fixture_component(), &bad);
    assert!(matches!(refused, Err(WriteError::Manifest(_))));
    assert!(!house.policies().join("fixture/2.0.0").exists());
    let names: Vec<_> =
        fs::read_dir(house.policies().join("fixture")).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["1.0.0"]);
}

#[test]
fn releases_are_listed_in_the_order_of_their_versions() {
    let house = House::new();
    for version in ["1.10.0", "1.9.0", "1.10.0-rc.1"] {
        house.sign(&house.write(&draft(version)));
    }
    let versions: Vec<String> = house.open().releases().iter().map(|release| release.version.clone()).collect();
    assert_eq!(versions, ["1.9.0", "1.10.0-rc.1", "1.10.0"]);
}

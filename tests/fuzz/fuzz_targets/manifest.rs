//! Release manifests of any kind.
//!
//! What is read leaves no room: a member more, a member twice or a required one less is refused, and what
//! is written back says the same. The input is the manifest.
#![no_main]

use chartgate_fuzz::mutate::{self, Words};
use chartgate_model::strict;
use chartgate_runtime::release::Manifest;
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::Value;

const WORDS: Words<'static> = Words {
    names: &["base", "dirty", "wasmtime", "digest", "name", "version", "settings", "sequence", "writes", "x"],
    values: &[
        "null",
        "true",
        "0",
        "1",
        "-1",
        "1.5",
        "18446744073709551615",
        "\"\"",
        "\"keys\"",
        "\"smart-access\"",
        "\"1.0.0-rc.1\"",
        "\"1.0.0+b\"",
        "\"4.3.0\"",
        "\"a:b/c@1.0.0\"",
        "\"chartgate-release/1\"",
        "\"../up\"",
        "{}",
        "[]",
        "\"0000000000000000000000000000000000000000\"",
        "{\"writes\":true}",
        "{\"name\":\"a\",\"version\":\"1.0.0\",\"digest\":\"sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\"}",
    ],
};

/// Members that may be left out.
const OPTIONAL: [&str; 3] = ["/base", "/source/dirty", "/toolchain/wasmtime"];

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::json(data, size, max_size, seed, 0..size, WORDS)
});

fuzz_target!(|data: &[u8]| {
    let Ok(manifest) = Manifest::parse(data) else { return };
    assert_eq!(strict::check(data, 32), Ok(()));

    let identity = Manifest::identity(data);
    assert_eq!(identity, Manifest::identity(data));
    let digits = identity.strip_prefix("sha256:").unwrap_or_default();
    assert!(digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()), "{identity}");

    let written = manifest.to_bytes().expect("what was read can be written");
    let again = Manifest::parse(&written).expect("what was written can be read");
    assert_eq!(again.to_bytes().ok().as_deref(), Some(written.as_slice()));
    assert_eq!(again.settings_bytes(), manifest.settings_bytes(), "settings keep their bytes");

    // Bytes that differ are another release, even where they say the same.
    let spaced = [data, b" "].concat();
    assert!(Manifest::parse(&spaced).is_ok() && Manifest::identity(&spaced) != identity);

    let text = String::from_utf8_lossy(data);
    let twice = text.replacen('{', "{\"sequence\":1,", 1);
    assert!(Manifest::parse(twice.as_bytes()).is_err(), "a member twice");
    let root: Value = serde_json::from_slice(data).expect("strict JSON is JSON");
    for object in ["", "/component", "/limits", "/source", "/toolchain", "/vectors", "/base"] {
        let Some(members) = root.pointer(object).and_then(Value::as_object) else { continue };
        assert!(changed(&root, object, |members| drop(members.insert("zz".into(), Value::Null))), "{object}/zz");
        for name in members.keys().filter(|name| !OPTIONAL.contains(&format!("{object}/{name}").as_str())) {
            assert!(changed(&root, object, |members| drop(members.remove(name))), "without {object}/{name}");
        }
    }
});

/// Whether a manifest with one object changed is refused.
fn changed(root: &Value, object: &str, change: impl FnOnce(&mut serde_json::Map<String, Value>)) -> bool {
    let mut root = root.clone();
    if let Some(members) = root.pointer_mut(object).and_then(Value::as_object_mut) {
        change(members);
    }
    Manifest::parse(root.to_string().as_bytes()).is_err()
}

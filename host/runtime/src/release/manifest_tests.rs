use serde_json::{Value, json};

use super::{MANIFEST_BYTES, Manifest, ManifestError};

fn good() -> Value {
    json!({
        "schema": "chartgate-release/1",
        "name": "smart-access",
        "version": "1.0.0",
        "component": { "sha256": "a".repeat(64), "size": 40_000 },
        "interfaces": ["chartgate:policy/access@0.1.0"],
        "fhir_versions": ["4.0.1"],
        "settings": { "a": [1.5], "b": 1 },
        "limits": { "fuel": 1_000_000, "memory_bytes": 1_048_576 },
        "sequence": 1,
        "source": { "commit": "0".repeat(40) },
        "toolchain": { "rustc": "rustc 1.95.0", "wit_component": "0.263.0" },
        "vectors": { "sha256": "b".repeat(64), "files": 0, "count": 0 }
    })
}

fn with(pointer: &str, value: Value) -> Result<Manifest, ManifestError> {
    let mut manifest = good();
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    manifest.pointer_mut(parent).unwrap()[member] = value;
    Manifest::parse(manifest.to_string().as_bytes())
}

fn member(result: Result<Manifest, ManifestError>) -> Option<&'static str> {
    match result {
        Ok(_) => None,
        Err(ManifestError::Member { member, .. }) => Some(member),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_good_manifest_is_read_and_its_settings_keep_their_bytes() {
    let text = good().to_string().replace("[1.5]", "[1.50 ]");
    let manifest = Manifest::parse(text.as_bytes()).unwrap();
    assert_eq!(manifest.settings_bytes(), br#"{"a":[1.50 ],"b":1}"#);
    assert!(!manifest.source.dirty);
}

#[test]
fn what_is_written_reads_back_and_is_stable() {
    let manifest = Manifest::parse(good().to_string().as_bytes()).unwrap();
    let bytes = manifest.to_bytes().unwrap();
    assert_eq!(Manifest::parse(&bytes).unwrap().to_bytes().unwrap(), bytes);
}

#[test]
fn the_identity_follows_the_exact_bytes() {
    assert_ne!(Manifest::identity(b"{}"), Manifest::identity(b"{} "));
}

#[test]
fn an_unknown_member_is_refused_at_every_level() {
    for pointer in ["/x", "/component/x", "/limits/x", "/source/x", "/toolchain/x", "/vectors/x"] {
        assert!(matches!(with(pointer, json!(1)), Err(ManifestError::Members(_))), "{pointer}");
    }
}

#[test]
fn a_missing_member_is_refused() {
    let names: Vec<String> = good().as_object().unwrap().keys().cloned().collect();
    for name in names {
        let mut manifest = good();
        manifest.as_object_mut().unwrap().remove(&name);
        let found = Manifest::parse(manifest.to_string().as_bytes());
        assert!(matches!(found, Err(ManifestError::Members(_))), "{name}");
    }
}

#[test]
fn a_repeated_member_is_refused_in_the_settings_too() {
    let top = good().to_string().replacen('{', "{\"sequence\":1,", 1);
    assert!(matches!(Manifest::parse(top.as_bytes()), Err(ManifestError::Json(_))));
    let within = good().to_string().replace("\"b\":1", "\"b\":1,\"b\":2");
    assert!(matches!(Manifest::parse(within.as_bytes()), Err(ManifestError::Json(_))));
}

#[test]
fn another_schema_is_refused_by_name() {
    let Err(ManifestError::Schema { found }) = with("/schema", json!("chartgate-release/2")) else { panic!() };
    assert_eq!(found, "chartgate-release/2");
}

#[test]
fn each_value_is_refused_by_name() {
    let cases = [
        ("/name", json!("Smart"), "name"),
        ("/name", json!("../up"), "name"),
        ("/name", json!("keys"), "name"),
        ("/version", json!("1.0"), "version"),
        ("/version", json!("1.0.0+1"), "version"),
        ("/component/sha256", json!("A".repeat(64)), "component.sha256"),
        ("/component/size", json!(0), "component.size"),
        ("/interfaces", json!([]), "interfaces"),
        ("/interfaces", json!(["access"]), "interfaces"),
        ("/interfaces", json!(["a:b/c@1.0.0", "a:b/c@1.0.0"]), "interfaces"),
        ("/fhir_versions", json!(["R4"]), "fhir_versions"),
        ("/settings", json!([]), "settings"),
        ("/limits/fuel", json!(0), "limits.fuel"),
        ("/limits/memory_bytes", json!(0), "limits.memory_bytes"),
        ("/source/commit", json!("main"), "source.commit"),
        ("/toolchain/rustc", json!(""), "toolchain.rustc"),
        ("/vectors/sha256", json!("b"), "vectors.sha256"),
        ("/base", json!({ "name": "a", "version": "1.0.0", "digest": "b".repeat(64) }), "base.digest"),
    ];
    for (pointer, value, expected) in cases {
        assert_eq!(member(with(pointer, value.clone())), Some(expected), "{pointer} {value}");
    }
}

#[test]
fn the_size_is_checked_just_inside_and_just_outside() {
    let mut text = good().to_string();
    text.push_str(&" ".repeat(MANIFEST_BYTES - text.len()));
    assert!(Manifest::parse(text.as_bytes()).is_ok());
    text.push(' ');
    assert!(matches!(Manifest::parse(text.as_bytes()), Err(ManifestError::TooLarge { .. })));
}

//! Which components may run as a policy.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod common;

use chartgate_runtime::admission::{INTERFACES, admit};
use chartgate_runtime::{AdmissionError, PolicyLimits, Runtime, RuntimeLimits};
use common::{all_of, fixture_component, fixture_module, limits, shared_runtime, wat};

const ACCESS: &str = r#"(instance $a) (export "chartgate:policy/access@0.1.0" (instance $a))"#;
const DESCRIBE: &str = r#"(instance $d) (export "chartgate:policy/describe@0.1.0" (instance $d))"#;
const MEMORY: &str = r#"(core module $m (memory 1 16)) (core instance (instantiate $m))"#;

fn refused(component: &[u8]) -> AdmissionError {
    admit(shared_runtime(), component, all_of(&limits())).unwrap_err()
}

fn refused_text(parts: &[&str]) -> AdmissionError {
    refused(&wat(&format!("(component {})", parts.join("\n"))))
}

#[test]
fn the_fixture_is_admitted_and_described() {
    let policy = admit(shared_runtime(), fixture_component(), all_of(&limits())).unwrap();
    assert_eq!(policy.description.name, "fixture");
    assert_eq!(policy.description.version, "0.1.0");
    assert_eq!(policy.description.fhir_versions, ["4.0.1"]);
    assert_eq!(policy.interfaces, INTERFACES);
    assert_eq!(policy.component_digest, chartgate_runtime::sha256(fixture_component()));
    assert!(!policy.uses_floats);
}

#[test]
fn size_is_checked_just_inside_and_just_outside() {
    let size = fixture_component().len();
    let with = |component_bytes| {
        let limits = RuntimeLimits { component_bytes, lanes: 1, ..limits() };
        let asked = all_of(&limits);
        admit(&Runtime::new(limits).unwrap(), fixture_component(), asked)
    };
    assert!(with(size).is_ok());
    let found = with(size - 1).unwrap_err();
    assert!(matches!(found, AdmissionError::TooLarge { found, limit } if found == size && limit == size - 1));
}

#[test]
fn only_a_component_is_taken() {
    let module = refused(&fixture_module());
    assert!(matches!(module, AdmissionError::NotAComponent { found: "a core module" }));
    for bytes in [&b""[..], b"(component)", b"\0asm", b"\x7fELF"] {
        assert!(matches!(refused(bytes), AdmissionError::NotAComponent { .. }));
    }
}

#[test]
fn a_truncated_or_changed_component_is_invalid() {
    let whole = fixture_component();
    for cut in [whole.len() - 1, whole.len() / 2, 9] {
        assert!(matches!(refused(&whole[..cut]), AdmissionError::Invalid(_)), "{cut}");
    }
}

#[test]
fn a_host_function_is_refused_by_name() {
    let log = r#"(import "chartgate:policy/log@0.1.0" (instance (export "log" (func (param "line" string)))))"#;
    let error = refused_text(&[log, ACCESS, DESCRIBE]);
    assert_eq!(error.to_string(), "it imports `chartgate:policy/log@0.1.0#log`, a policy may import nothing");
}

#[test]
fn every_kind_of_import_but_plain_types_is_refused() {
    let cases = [
        (r#"(import "clock" (func (result u64)))"#, "clock"),
        (r#"(import "code" (core module))"#, "code"),
        (r#"(import "part" (component))"#, "part"),
        (r#"(import "handle" (type (sub resource)))"#, "handle"),
        (r#"(import "a:b/c@1.0.0" (instance (export "r" (type (sub resource)))))"#, "a:b/c@1.0.0#r"),
        (r#"(import "a:b/c@1.0.0" (instance (export "i" (instance))))"#, "a:b/c@1.0.0#i"),
    ];
    for (import, name) in cases {
        let AdmissionError::Imports(names) = refused_text(&[import, ACCESS, DESCRIBE]) else { panic!("{import}") };
        assert_eq!(names, [name], "{import}");
    }
}

#[test]
fn an_instance_of_types_only_is_no_import() {
    let types = r#"(import "chartgate:policy/types@0.1.0" (instance (type (;0;) (record (field "a" u8))) (export "t" (type (eq 0)))))"#;
    let error = refused_text(&[types, DESCRIBE]);
    // It gets past the gate of imports and falls at the next one.
    assert!(matches!(error, AdmissionError::InterfaceMissing { .. }), "{error:?}");
}

#[test]
fn a_missing_interface_is_named_with_what_is_there() {
    let AdmissionError::InterfaceMissing { missing, found } = refused_text(&[ACCESS]) else { panic!() };
    assert_eq!(missing, "chartgate:policy/describe@0.1.0");
    assert_eq!(found, ["chartgate:policy/access@0.1.0"]);
    let nothing = refused_text(&[]).to_string();
    assert_eq!(nothing, "it does not export `chartgate:policy/access@0.1.0`; it exports nothing");
}

#[test]
fn another_version_of_an_interface_is_refused_even_a_compatible_one() {
    for version in ["0.9.0", "0.1.1", "1.0.0"] {
        let other = format!(r#"(instance $a) (export "chartgate:policy/access@{version}" (instance $a))"#);
        let error = refused_text(&[&other, DESCRIBE]).to_string();
        let expected = format!("unknown interface version `chartgate:policy/access@{version}`, this host serves 0.1.0");
        assert_eq!(error, expected);
    }
}

#[test]
fn memory_has_a_maximum_within_the_limit() {
    let memory = |declared: &str| format!("(core module $m (memory {declared})) (core instance (instantiate $m))");
    let error = |declared| refused_text(&[&memory(declared), ACCESS, DESCRIBE]);
    assert!(matches!(error("1"), AdmissionError::MemoryUnbounded));
    // 128 pages are the 8 MiB of the limit: the next gate refuses what is inside.
    assert!(matches!(error("1 128"), AdmissionError::Mismatch(_)));
    let AdmissionError::MemoryTooLarge { declared, limit } = error("1 129") else { panic!() };
    assert_eq!((declared, limit), (129 * 65_536, 8 << 20));
}

#[test]
fn a_release_may_ask_for_less_memory_than_the_component_declares_only_to_be_refused() {
    let fuel = limits().fuel;
    let ask = |memory_bytes| admit(shared_runtime(), fixture_component(), PolicyLimits { fuel, memory_bytes });
    assert!(ask(8 << 20).is_ok());
    assert!(matches!(ask((8 << 20) - 1), Err(AdmissionError::MemoryTooLarge { .. })));
}

#[test]
fn the_right_names_with_the_wrong_insides_do_not_fit() {
    assert!(matches!(refused_text(&[MEMORY, ACCESS, DESCRIBE]), AdmissionError::Mismatch(_)));
}

#[test]
fn a_second_core_instance_is_refused() {
    let two = "(core module $m (memory 1 1)) (core instance (instantiate $m)) (core instance (instantiate $m))";
    assert!(matches!(refused_text(&[two, ACCESS, DESCRIBE]), AdmissionError::Compile(_)));
}

#[test]
fn proposals_a_policy_has_no_use_for_are_invalid() {
    let cases = [
        ("simd", "(func (result v128) (v128.const i64x2 0 0))"),
        ("threads", "(memory 1 1 shared)"),
        ("memory64", "(memory i64 1 1)"),
        ("tail call", "(func $f (return_call $f))"),
        ("garbage collection", "(type (struct))"),
        ("exceptions", "(tag)"),
        ("several memories", "(memory 1 1) (memory 1 1)"),
    ];
    for (name, inside) in cases {
        let module = format!("(core module {inside})");
        assert!(matches!(refused_text(&[&module, ACCESS, DESCRIBE]), AdmissionError::Invalid(_)), "{name}");
    }
}

#[test]
fn floating_point_is_taken_and_noted() {
    let floats = "(core module (func (result f64) (f64.const 1)))";
    // It is valid: what refuses it is the gate behind.
    assert!(matches!(refused_text(&[floats, ACCESS, DESCRIBE]), AdmissionError::Mismatch(_)));
}

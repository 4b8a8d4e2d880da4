//! Configurations of issuers that nothing starts with.

use chartgate_tests::host::{World, run};

/// The start fails with exit code 2 and names all of these in one line.
fn fails(tables: &str, words: &[&str]) {
    let world = World::with_rules_and(tables);
    let ended = run(&mut world.serve(), "");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    for word in words {
        assert!(ended.stderr.contains(word), "{word} is not in {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("s3cr3t"), "{}", ended.stderr);
}

fn table(name: &str, more: &str) -> String {
    format!("[[tokens]]\ntenants = [\"default\"]\nissuer = \"https://{name}.example\"\naudiences = [\"a\"]\n{more}\n")
}

fn asked(file: &str) -> String {
    format!(
        "introspection = {{ url = \"https://login.example/introspect\", client_id = \"c\", client_secret_file = {file:?} }}"
    )
}

#[test]
fn every_mistake_about_issuers_is_named_at_once() {
    let tables = [
        table("a", "jwks_url = \"http://login.example/jwks\""),
        table("a", "jwks_url = \"https://10.0.0.1/jwks\""),
        table("b", "jwks_url = \"https://me:s3cr3t@login.example/jwks\""),
        table("c", "jwks_url = \"http://127.0.0.1/jwks\""),
        table("d", ""),
        table("e", "jwks_file = \"x\"\nalgorithms = [\"HS256\"]\njwks_uri = \"x\""),
        table("f", &asked("x")),
        table("g", &asked("x")),
        table("h", "jwks_file = \"x\"\nclaims = { scope = [] }"),
    ];
    let words = [
        "`tokens[0]`: `jwks_url`: it has to be https",
        "`tokens[1]`: `jwks_url`: its address is not public",
        "`tokens[1].issuer` is that of an earlier one",
        "`tokens[2]`: `jwks_url`: it holds a user",
        "`tokens[3]`: `jwks_url`: it has to be https",
        "`tokens[4]`: has to have one of",
        "`HS256` is no algorithm",
        "jwks_uri",
        "several issuers take `opaque` tokens",
        "the name of the `scope` claim",
    ];
    fails(&tables.concat(), &words);
}

#[test]
fn files_of_issuers_that_cannot_be_used_are_named_at_once() {
    let folder = World::new();
    let file = |name: &str, text: &str| {
        std::fs::write(folder.path(name), text).unwrap();
        folder.path(name).display().to_string()
    };
    let empty = file("empty-secret", "\n");
    let tables = [
        table("a", "jwks_file = \"/no/such/jwks.json\""),
        table("b", &format!("jwks_file = {:?}", file("bad-jwks.json", "{}"))),
        table("c", &asked(&empty)),
        table("d", &asked("/no/such/secret").replace("client_id", "opaque = false, jwt = true, client_id")),
    ];
    let words = [
        "cannot read `tokens[0].jwks_file` `/no/such/jwks.json`",
        "`tokens[1].jwks_file`",
        "bad-jwks.json",
        "empty-secret` is not one line of text",
        "cannot read `tokens[3].introspection.client_secret_file`",
    ];
    fails(&tables.concat(), &words);
}

#[test]
fn the_single_table_of_earlier_versions_is_refused() {
    fails("[tokens]\nissuer = \"https://a.example\"\naudiences = [\"a\"]\njwks_file = \"x\"\n", &["configuration"]);
}

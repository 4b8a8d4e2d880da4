//! The table "Who may import whom" of ARCHITECTURE.md, kept where Cargo does not keep it: over the
//! modules of one crate.
//!
//! The sources are read as text. Comments, literals and test modules are taken out, then every `use`
//! and every qualified path is held against the rules below. Code that macros write is not seen.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::path::Path;

use chartgate_tests::workspace_root;

/// Where the rules hold.
const FOLDERS: [&str; 4] = ["host/src", "host/model/src", "host/runtime/src", "policy/src"];

/// Paths that some files must not name.
struct Rule {
    /// the row of the table it belongs to
    row: &'static str,
    /// the files it holds in
    holds_in: fn(&str) -> bool,
    /// the paths those must not name
    never: fn(&[&str]) -> bool,
    /// a file and a line of it that breaks the rule
    broken: (&'static str, &'static str),
}

const RULES: [Rule; 18] = [
    Rule {
        row: "`policy` rules",
        holds_in: |file| within(file, "policy/src") && !within(file, "policy/src/component"),
        never: |path| has(path, &["wit_bindgen", "exports", "bindings"]) || path.starts_with(&["crate", "component"]),
        broken: ("policy/src/scope.rs", "use crate::component::exports::chartgate;"),
    },
    Rule {
        row: "`policy` rules",
        holds_in: |file| within(file, "policy/src"),
        never: |path| {
            let outside = ["env", "fs", "io", "net", "os", "process", "thread", "time"];
            (path[0] == "std" && has(path, &outside))
                || has(path, &["SystemTime", "Instant", "HashMap", "HashSet"])
                || of(path, &["rand", "getrandom"])
        },
        broken: ("policy/src/decide.rs", "use std::{string::String, time};"),
    },
    Rule {
        row: "`chartgate-model`",
        holds_in: |file| within(file, "host/model/src"),
        never: |path| of(path, &["tokio", "axum", "wasmtime", "rusqlite", "reqwest", "utoipa"]) || is_clock(path),
        broken: ("host/model/src/instant.rs", "fn now() -> u64 { let t = time::OffsetDateTime::now_utc(); 0 }"),
    },
    Rule {
        row: "`decide`",
        holds_in: |file| file == "host/src/decide.rs",
        never: |path| {
            let known = ["audit", "facts", "rollout", "VERSION"];
            of(path, &["axum", "wasmtime", "rusqlite", "utoipa", "chartgate_policy"])
                || (matches!(path[0], "crate" | "super") && !known.contains(path.get(1).unwrap_or(&"")))
        },
        broken: ("host/src/decide.rs", "use crate::store::Store;"),
    },
    Rule {
        row: "`chartgate-runtime`",
        holds_in: |file| within(file, "host/runtime/src"),
        never: |path| {
            let far = ["axum", "hyper", "reqwest", "http", "tokio", "rusqlite", "utoipa", "chartgate"];
            of(path, &far) || is_clock(path) || has(path, &["Instant"])
        },
        broken: ("host/runtime/src/engine.rs", "fn f() { tokio::spawn(async {}); }"),
    },
    // WIT types meet the model's in `convert`; the others read, load or call what is generated.
    Rule {
        row: "`chartgate-runtime`",
        holds_in: |file| {
            let see = ["bindings", "convert", "describe", "policy", "admission"];
            within(file, "host/runtime/src")
                && !see.iter().any(|name| within(file, &format!("host/runtime/src/{name}")))
        },
        never: |path| has(path, &["bindings", "exports"]),
        broken: ("host/runtime/src/release/registry.rs", "use crate::bindings::exports::chartgate::policy::access;"),
    },
    Rule {
        row: "`http`",
        holds_in: |file| within(file, "host/src/http"),
        never: |path| of(path, &["wasmtime", "rusqlite", "chartgate_policy"]),
        broken: ("host/src/http/admin/mod.rs", "use rusqlite as sql;"),
    },
    // The other side of it: HTTP is nobody else's business.
    Rule {
        row: "`http`",
        holds_in: |file| within(file, "host/src") && !within(file, "host/src/http"),
        never: |path| of(path, &["axum", "hyper", "utoipa"]),
        broken: ("host/src/store/mod.rs", "#[derive(utoipa::ToSchema)] struct Row;"),
    },
    // Offline decisions speak the same language as those over HTTP.
    Rule {
        row: "`http`",
        holds_in: |file| !within(file, "host/src/http") && file != "host/src/cli/decide.rs",
        never: |path| has(path, &["wire"]),
        broken: ("host/src/facts/mod.rs", "use crate::http::{problem::Problem, wire::DecideBody};"),
    },
    Rule {
        row: "`tokens`",
        holds_in: |file| within(file, "host/src") && !within(file, "host/src/tokens"),
        never: |path| of(path, &["jsonwebtoken"]),
        broken: ("host/src/facts/mod.rs", "use jsonwebtoken::decode;"),
    },
    // What carries decisions out makes none.
    Rule {
        row: "`proxy`",
        holds_in: |file| within(file, "host/src/proxy"),
        never: |path| {
            of(path, &["axum", "rusqlite", "wasmtime", "utoipa"])
                || matches!(path, ["crate", "http" | "decide" | "batch" | "filter" | "facts", ..])
        },
        broken: ("host/src/proxy/union.rs", "use crate::decide::Answer;"),
    },
    Rule {
        row: "`outbound`",
        holds_in: |file| within(file, "host/src") && !within(file, "host/src/outbound"),
        never: |path| of(path, &["reqwest"]),
        broken: ("host/src/tokens/mod.rs", "use reqwest::Client;"),
    },
    Rule {
        row: "`smart`",
        holds_in: |file| within(file, "host/src/smart"),
        never: |path| of(path, &["axum", "rusqlite", "wasmtime", "utoipa", "jsonwebtoken"]) || has(path, &["http"]),
        broken: ("host/src/smart/token.rs", "use crate::http::State;"),
    },
    // What people see and how their passwords are kept is the authorization server's business alone.
    Rule {
        row: "`smart`",
        holds_in: |file| within(file, "host/src") && !within(file, "host/src/smart"),
        never: |path| of(path, &["minijinja", "argon2"]),
        broken: ("host/src/http/oauth/browser.rs", "use minijinja::Environment;"),
    },
    Rule {
        row: "`people`, `derived`",
        holds_in: |file| within(file, "host/src/people") || within(file, "host/src/derived"),
        never: |path| of(path, &["axum", "tokio", "rusqlite", "reqwest", "wasmtime", "utoipa"]) || has(path, &["now"]),
        broken: ("host/src/derived/read.rs", "fn f() { jiff::Timestamp::now(); }"),
    },
    Rule {
        row: "SQL in the store alone",
        holds_in: |file| within(file, "host/src") && !within(file, "host/src/store"),
        never: |path| of(path, &["rusqlite"]),
        broken: ("host/src/rollout/mod.rs", "fn f(c: &rusqlite::Connection) {}"),
    },
    Rule {
        row: "the engine behind the runtime alone",
        holds_in: |file| !within(file, "host/runtime/src"),
        never: |path| of(path, &["wasmtime", "wasmparser", "chartgate_policy"]),
        broken: ("host/src/cli/policy.rs", "extern crate wasmtime;"),
    },
    Rule {
        row: "time and identifiers at the edge alone",
        holds_in: |file| file != "host/src/edge.rs",
        never: |path| is_clock(path) || of(path, &["ulid", "uuid", "rand", "getrandom"]),
        broken: ("host/src/audit/log.rs", "use std::time::{Duration, SystemTime as Clock};"),
    },
];

/// `host/src/http` holds `host/src/http/wire.rs` and is `host/src/http.rs`.
fn within(file: &str, place: &str) -> bool {
    file.strip_prefix(place).is_some_and(|rest| rest.starts_with('/') || rest == ".rs")
}

/// The path begins in one of these crates.
fn of(path: &[&str], crates: &[&str]) -> bool {
    crates.contains(&path[0])
}

/// One of these stands anywhere in the path.
fn has(path: &[&str], names: &[&str]) -> bool {
    path.iter().any(|name| names.contains(name))
}

fn is_clock(path: &[&str]) -> bool {
    has(path, &["SystemTime", "now_utc", "now_local", "Utc"])
}

/// The text without comments; literals become blanks, so that nothing in them looks like code.
fn without_comments_and_literals(text: &str) -> String {
    let mut code = String::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let in_word = code.ends_with(|c: char| c.is_alphanumeric() || c == '_');
        let length = comment(rest).or_else(|| literal(rest, in_word));
        match length {
            Some(_) => code.push(' '),
            None => code.push(first),
        }
        rest = &rest[length.unwrap_or(first.len_utf8())..];
    }
    code
}

/// Length of the comment this text begins with.
fn comment(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    text.strip_prefix("/*")?;
    let (mut depth, mut at) = (0, 0);
    loop {
        match text.get(at..at + 2) {
            Some("/*") => (depth, at) = (depth + 1, at + 2),
            Some("*/") => (depth, at) = (depth - 1, at + 2),
            _ => at += text[at..].chars().next().map_or(1, char::len_utf8),
        }
        if depth == 0 || at >= text.len() {
            return Some(at.min(text.len()));
        }
    }
}

/// Length of the string or character this text begins with.
fn literal(text: &str, in_word: bool) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        (prefix.is_empty() || !in_word)
            && text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#', '\'']))
    })?;
    let rest = &text[prefix.len()..];
    if prefix.ends_with('r') {
        let hashes = rest.len() - rest.trim_start_matches('#').len();
        rest[hashes..].strip_prefix('"')?;
        let end = format!("\"{}", "#".repeat(hashes));
        let body = rest[hashes + 1..].find(&end).unwrap_or(0);
        return Some(prefix.len() + hashes + 1 + body + end.len());
    }
    let quote = rest.chars().next().filter(|quote| *quote != '#')?;
    let mut chars = rest.char_indices().skip(1);
    if quote == '\'' {
        let (_, first) = chars.clone().next()?;
        // A lifetime has no second quote.
        if first != '\\' && chars.clone().nth(1).is_none_or(|(_, second)| second != '\'') {
            return None;
        }
    }
    while let Some((at, found)) = chars.next() {
        match found {
            '\\' => drop(chars.next()),
            found if found == quote => return Some(prefix.len() + at + 1),
            _ => {}
        }
    }
    None
}

/// Words, `::` and single other characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match first {
            first if is_word(first) => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            ':' if rest.starts_with("::") => 2,
            other => other.len_utf8(),
        };
        let (token, behind) = rest.split_at(length);
        tokens.push(token);
        rest = behind.trim_start();
    }
    tokens
}

/// Leave out each item marked `#[cfg(test)]`.
fn without_tests<'a>(tokens: &[&'a str]) -> Vec<&'a str> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut rest = tokens;
    while let Some((first, behind)) = rest.split_first() {
        match rest.strip_prefix(&MARK) {
            Some(behind) => rest = behind_item(behind),
            None => {
                kept.push(*first);
                rest = behind;
            }
        }
    }
    kept
}

/// What follows the item these tokens begin with: behind its `;` or its braces.
fn behind_item<'a, 'b>(tokens: &'b [&'a str]) -> &'b [&'a str] {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate() {
        match *token {
            "{" | "[" | "(" => depth += 1,
            "}" | "]" | ")" => depth -= 1,
            _ => {}
        }
        if depth == 0 && matches!(*token, ";" | "}") {
            return &tokens[at + 1..];
        }
    }
    &[]
}

/// Every path that is imported or spelt out, in one piece each.
fn paths(tokens: &[&str]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut rest = tokens.iter().copied().peekable();
    while let Some(token) = rest.next() {
        match token {
            "use" => tree(&mut rest, "", &mut found),
            "extern" if rest.next_if_eq(&"crate").is_some() => found.extend(rest.next().map(str::to_owned)),
            word if is_name(word) && rest.peek() == Some(&"::") => {
                let mut path = word.to_owned();
                while rest.next_if_eq(&"::").is_some() {
                    let Some(name) = rest.next_if(|token| is_name(token)) else { break };
                    path = format!("{path}::{name}");
                }
                found.insert(path);
            }
            _ => {}
        }
    }
    found
}

/// One tree of a `use`, up to the `,`, `}` or `;` behind it.
fn tree<'a>(rest: &mut Peekable<impl Iterator<Item = &'a str>>, before: &str, found: &mut BTreeSet<String>) {
    let mut path = before.to_owned();
    while let Some(token) = rest.next_if(|token| !matches!(*token, "," | "}" | ";")) {
        match token {
            "::" => {}
            "{" => {
                while rest.next_if_eq(&"}").is_none() && rest.peek().is_some() {
                    tree(rest, &path, found);
                    let _comma = rest.next_if_eq(&",");
                }
                return;
            }
            // Another name for it does not make it another thing.
            "as" => drop(rest.next()),
            name if path.is_empty() => path = name.to_owned(),
            name => path = format!("{path}::{name}"),
        }
    }
    found.insert(path);
}

fn is_name(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn paths_of(text: &str) -> BTreeSet<String> {
    let code = without_comments_and_literals(text);
    paths(&without_tests(&tokens(&code)))
}

/// `file: path`, for everything a file must not name.
fn broken<'a>(rules: impl IntoIterator<Item = &'a Rule>, file: &str, text: &str) -> Vec<String> {
    let paths = paths_of(text);
    let mut found = Vec::new();
    for rule in rules.into_iter().filter(|rule| (rule.holds_in)(file)) {
        let bad = paths.iter().filter(|path| (rule.never)(&path.split("::").collect::<Vec<_>>()));
        found.extend(bad.map(|path| format!("{file}: {path} ({})", rule.row)));
    }
    found
}

/// All source files but those of unit tests, by their path in the checkout.
fn sources() -> Vec<(String, String)> {
    let root = workspace_root().canonicalize().unwrap();
    let mut folders: Vec<_> = FOLDERS.iter().map(|folder| root.join(folder)).collect();
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
            let is_tests = name.ends_with("/tests.rs") || name.ends_with("_tests.rs");
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") && !is_tests {
                found.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found
}

#[test]
fn nobody_imports_what_the_table_forbids() {
    let found: Vec<String> = sources().iter().flat_map(|(file, text)| broken(&RULES, file, text)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_rule_notices_when_it_is_broken() {
    for rule in &RULES {
        let (file, line) = rule.broken;
        assert!((rule.holds_in)(file), "{file} is not where `{line}` is forbidden");
        assert_eq!(broken([rule], file, line).len(), 1, "{file}: {line}");
        // Said in a comment, in a text or in a test it does no harm.
        let hidden =
            format!("// {line}\n/* {line} */ const A: &str = r#\"{line}\"#;\n#[cfg(test)]\nmod tests {{ {line} }}\n");
        assert_eq!(broken([rule], file, &hidden), [""; 0], "{hidden}");
        assert_eq!(broken([rule], file, &format!("{hidden}{line}")).len(), 1, "{line}");
    }
}

#[test]
fn every_rule_holds_somewhere_and_its_paths_are_real() {
    let sources = sources();
    assert!(sources.len() > 80, "{} files", sources.len());
    for rule in &RULES {
        let held = sources.iter().filter(|(file, _)| (rule.holds_in)(file)).count();
        assert!(held > 0, "{} holds nowhere", rule.row);
        assert!(Path::new(&workspace_root()).join(rule.broken.0).exists(), "{}", rule.broken.0);
    }
    // Where the forbidden thing is allowed, it is seen: the paths are spelt as the code spells them.
    let seen = |file: &str, path: &str| {
        let (_, text) = sources.iter().find(|(name, _)| name == file).unwrap();
        assert!(paths_of(text).contains(path), "{path} in {file}: {:#?}", paths_of(text));
    };
    seen("host/src/edge.rs", "std::time::SystemTime::now");
    seen("host/src/edge.rs", "ulid::Ulid::generate");
    seen("host/src/store/mod.rs", "rusqlite::Connection");
    seen("host/src/http/mod.rs", "axum::Router");
    seen("host/src/http/decide.rs", "crate::http::wire::DecideBody");
    seen("host/runtime/src/policy.rs", "wasmtime::Store");
    seen("host/runtime/src/convert.rs", "crate::bindings::exports::chartgate::policy::access");
    seen("policy/src/component.rs", "wit_bindgen::generate");
}

#[test]
fn every_row_of_the_table_has_a_rule() {
    let text = std::fs::read_to_string(workspace_root().join("ARCHITECTURE.md")).unwrap();
    let (_, section) = text.split_once("## Who may import whom").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows: Vec<&str> =
        section.lines().filter_map(|line| Some(line.strip_prefix("| ")?.split_once(" |")?.0)).collect();
    let rows: Vec<&str> = rows.into_iter().filter(|row| !matches!(*row, "module" | "---")).collect();
    assert_eq!(rows.len(), 10, "{rows:?}");
    for row in rows {
        assert!(RULES.iter().any(|rule| rule.row == row), "no rule for {row}");
    }
}

#[test]
fn imports_are_found_however_they_are_written() {
    let table = [
        ("use axum::Json;", "axum::Json"),
        ("pub(crate) use ::axum::{Json, http::{HeaderMap, header as h}};", "axum::http::header"),
        ("use {std::fmt, axum::*};", "axum::*"),
        ("use axum as web;", "axum"),
        ("fn f() -> axum::http::StatusCode { x }", "axum::http::StatusCode"),
        ("let a = Vec::<::axum::Json>::new();", "axum::Json"),
        ("axum::routing::get!(x)", "axum::routing::get"),
        ("#[axum::debug_handler]\nfn f() {}", "axum::debug_handler"),
        ("let quote = '\"'; axum::serve(x); let c = '\"';", "axum::serve"),
        ("fn f<'a>(x: &'a str) -> axum::Json<&'a str> {}", "axum::Json"),
        ("let s = \"\\\"\"; axum::serve(x)", "axum::serve"),
        ("let r#type = br\"\\\"; axum::serve(x)", "axum::serve"),
        ("/* /* */ */ axum::serve(x)", "axum::serve"),
        ("#[cfg(test)]\n#[path = \"x.rs\"]\nmod tests;\nuse axum::Json;", "axum::Json"),
        ("#[cfg(test)]\nuse a::{b, c};\nuse axum::Json;", "axum::Json"),
        ("#[cfg(not(test))]\nuse axum::Json;", "axum::Json"),
        ("use axum::{\n    Json, // of axum\n    Router,\n};", "axum::Router"),
    ];
    for (code, path) in table {
        assert!(paths_of(code).contains(path), "{code}: {:?}", paths_of(code));
    }
    for code in [
        "mod axum;",
        "let axum = 1;",
        "\"axum::Json\"",
        "// axum::Json",
        "/// [`axum::Json`]",
        "#[cfg(test)] fn f() { axum::serve(x) }",
    ] {
        assert_eq!(paths_of(code), BTreeSet::new(), "{code}");
    }
}

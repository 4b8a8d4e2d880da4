//! What is read, what is refused, and what is read back.

use super::*;
use alloc::format;

fn accepts(text: &str) -> bool {
    Json::parse(text.as_bytes()).is_ok()
}

#[test]
fn what_is_json_is_read() {
    for text in ["{}", " [ ] ", "null", "-0.5e+10", "{\"a\":[1,{\"b\":\"\\u00e9\\ud83d\\ude00\"}],\"c\":true}"] {
        assert!(accepts(text), "{text}");
    }
}

#[test]
fn what_is_not_json_is_refused() {
    let texts = [
        "",
        "{",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "01",
        "1.",
        "+1",
        ".5",
        "1e",
        "nul",
        "\"a",
        "\"a\nb\"",
        "{} {}",
        "[1 2]",
    ];
    for text in texts {
        assert!(!accepts(text), "{text}");
    }
    assert!(Json::parse(b"\"\xff\"").is_err());
}

#[test]
fn what_ends_a_plain_text_is_found_wherever_it_stands() {
    let plain_text = "\u{7f}\u{80}ab#!\u{e9}[]\u{ffff}".repeat(3);
    assert_eq!(plain(plain_text.as_bytes()), plain_text.len());
    for at in 0..plain_text.len() {
        for special in [0, 0x1f, b'"', b'\\'] {
            for next in [b'a', b'#', b']', 0x20, 0x21, special] {
                let mut text = plain_text.clone().into_bytes();
                text.splice(at..at, [special, next]);
                assert_eq!(plain(&text), at, "{special:#x} {next:#x}");
            }
        }
    }
}

#[test]
fn a_string_ends_at_a_quote_that_is_not_escaped() {
    for text in [r#""""#, r#""\"""#, r#""\\""#, r#""1234567\"""#, r#""12345678\\""#] {
        assert!(accepts(text), "{text}");
    }
    for text in [r#"""#, r#""\""#, r#""\\\""#, r#""1234567\""#, r#""12345678\"#] {
        assert!(!accepts(text), "{text}");
    }
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(accepts(&nested(DEPTH_MAX + 1)));
    assert!(!accepts(&nested(DEPTH_MAX + 2)));
    let nested = |depth: usize| format!("{}{{}}{}", "{\"a\":".repeat(depth), "}".repeat(depth));
    assert!(accepts(&nested(DEPTH_MAX)));
    assert!(!accepts(&nested(DEPTH_MAX + 1)));
}

#[test]
fn a_name_that_stands_twice_is_malformed_however_it_is_spelled() {
    for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#] {
        let json = Json::parse(text.as_bytes()).unwrap();
        assert_eq!(json.root().get("a").err(), Some(Malformed), "{text}");
    }
}

fn read(text: &str) -> Result<String, Malformed> {
    Json::parse(text.as_bytes()).unwrap().root().string().unwrap().map(Cow::into_owned)
}

#[test]
fn escapes_are_resolved() {
    for (text, meant) in [
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""a\u0041\u00e9\u20AC""#, "aA\u{e9}\u{20ac}"),
        (r#""\ud800\udc00\ud83d\ude00\uDBFF\uDFFF""#, "\u{10000}\u{1f600}\u{10ffff}"),
    ] {
        assert_eq!(read(text).as_deref(), Ok(meant), "{text}");
    }
    assert!(read(r#""\x""#).is_err() && read(r#""\u00g0""#).is_err() && read(r#""\u00""#).is_err());
}

#[test]
fn a_lone_surrogate_is_malformed() {
    for text in [r#""\ud800""#, r#""\ud800\u0041""#, r#""\udc00""#, r#""\ud800x0041""#, r#""\ud800\ndc00""#] {
        assert!(read(text).is_err(), "{text}");
    }
    assert!(read(r#""\ud800xudc00""#).is_err() && read(r#""\ud800\xdc00""#).is_err());
}

#[test]
fn what_is_quoted_is_read_back_the_same() {
    let mut quoted = String::new();
    let text: String = (0..0x80).filter_map(char::from_u32).chain("\u{e9}\u{1f600}".chars()).collect();
    push_quoted(&mut quoted, &text);
    assert_eq!(read(&quoted), Ok(text));
    assert!(quoted.contains("\\u001f"));
}

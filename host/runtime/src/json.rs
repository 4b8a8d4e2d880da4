//! JSON that a policy or a release hands over: one object, no name twice, shallow.

use chartgate_model::strict;

/// Nesting of settings, obligation parameters and manifests.
pub(crate) const MAX_DEPTH: usize = 32;

/// Whether the bytes are one JSON object (RFC 8259) without a repeated name at any depth.
pub(crate) fn is_object(bytes: &[u8]) -> bool {
    // After the strict check the first byte that is not white space tells the kind.
    strict::check(bytes, MAX_DEPTH).is_ok() && bytes.trim_ascii_start().first() == Some(&b'{')
}

#[cfg(test)]
mod tests {
    use super::is_object;

    #[test]
    fn only_one_whole_object_without_repeats_passes() {
        for good in ["{}", " {\"a\":[1,{\"b\":null}]}\n"] {
            assert!(is_object(good.as_bytes()), "{good}");
        }
        for bad in ["", "[]", "null", "\"{}\"", "{", "{}{}", "{} x", "{\"a\":1,\"a\":2}", "{not json"] {
            assert!(!is_object(bad.as_bytes()), "{bad}");
        }
        assert!(!is_object(b"{\"a\":\"\xff\"}"));
    }
}

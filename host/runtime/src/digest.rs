//! SHA-256 digests as the product writes them.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

/// `sha256:` and 64 lower-case hexadecimal digits: the digest of exactly these bytes (FIPS 180-4).
pub fn sha256(bytes: &[u8]) -> String {
    format!("sha256:{}", sha256_hex(bytes))
}

/// The same digest without its prefix, as manifests and `sha256sum` write it.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(bytes) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// 64 lower-case hexadecimal digits.
pub(crate) fn is_sha256_hex(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

#[cfg(test)]
mod tests {
    use super::{is_sha256_hex, sha256};

    #[test]
    fn the_digest_is_that_of_the_standard() {
        // FIPS 180-4, example of the one-block message.
        assert_eq!(sha256(b"abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn a_digest_in_capitals_or_of_another_length_is_none() {
        let digits = "a".repeat(64);
        assert!(is_sha256_hex(&digits));
        for text in [digits.to_uppercase(), "a".repeat(63), "a".repeat(65), "g".repeat(64), String::new()] {
            assert!(!is_sha256_hex(&text), "{text}");
        }
    }
}

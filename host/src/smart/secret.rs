//! What nobody can guess: codes, tokens, the numbers of sessions and flows.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest as _, Sha256};

use crate::edge::Edge;
use crate::store::oauth::Digest;

/// 256 random bits, as text. It is shown once, to whom it is for; what is kept is its [`digest`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// The system gives no random numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random numbers")]
pub struct NoRandom;

impl Secret {
    /// Draw one.
    pub fn draw(edge: &Edge) -> Result<Self, NoRandom> {
        Ok(Self(URL_SAFE_NO_PAD.encode(bytes(edge)?)))
    }

    /// Draw one of letters and digits alone: what some programs encode before they send it and others do not stays
    /// the same.
    pub fn draw_plain(edge: &Edge) -> Result<Self, NoRandom> {
        Ok(Self(bytes(edge)?.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Eighty bits of one, in groups of four: for somebody who copies it from paper, and whose tries are counted.
    #[must_use]
    pub fn shortened(&self) -> Self {
        let letters: Vec<char> = self.0.chars().take(20).collect();
        let groups: Vec<String> = letters.chunks(4).map(|group| group.iter().collect()).collect();
        Self(groups.join("-"))
    }

    /// The text, for the one it is for.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// What is kept.
    pub fn digest(&self) -> Digest {
        digest(&self.0)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

/// SHA-256 of a secret as somebody gave it.
pub fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// The secret that follows a refresh token: the same each time it is asked for, and nobody without the key can tell it.
///
/// So an answer that was lost can be given again although only digests are kept.
pub fn successor(key: &[u8], of: &str) -> Secret {
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
    Secret(URL_SAFE_NO_PAD.encode(aws_lc_rs::hmac::sign(&key, of.as_bytes())))
}

fn bytes(edge: &Edge) -> Result<[u8; 32], NoRandom> {
    let mut bytes = [0; 32];
    // SECURITY: a guessable secret would be worse than none.
    if (edge.random)(&mut bytes) && bytes != [0; 32] { Ok(bytes) } else { Err(NoRandom) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_differ_and_have_their_alphabet() {
        let edge = Edge::system();
        let (one, other) = (Secret::draw(&edge).unwrap(), Secret::draw(&edge).unwrap());
        assert_ne!(one, other);
        assert_eq!(one.text().len(), 43);
        let plain = Secret::draw_plain(&edge).unwrap();
        assert!(plain.text().len() == 64 && plain.text().bytes().all(|b| b.is_ascii_alphanumeric()));
        assert_eq!(one.digest(), digest(one.text()));
        assert_eq!(format!("{one:?}"), "Secret");
    }

    #[test]
    fn without_random_numbers_there_are_no_secrets() {
        for bad in [
            Edge { random: std::sync::Arc::new(|_| false), ..Edge::system() },
            Edge { random: std::sync::Arc::new(|_| true), ..Edge::system() },
        ] {
            assert_eq!(Secret::draw(&bad), Err(NoRandom));
        }
    }

    #[test]
    fn a_successor_is_the_same_each_time_and_another_for_another_key() {
        assert_eq!(successor(b"k", "a"), successor(b"k", "a"));
        assert_ne!(successor(b"k", "a"), successor(b"l", "a"));
        assert_ne!(successor(b"k", "a"), successor(b"k", "b"));
    }
}

//! Detached minisign signatures (Ed25519 over BLAKE2b-512 of the manifest, with a signed comment).
//!
//! A minisign file can be checked and made with the `minisign` tool as well. Its first line, the
//! untrusted comment, is the one part no signature covers; nothing here reads meaning from it.

use std::io::Cursor;
use std::path::{Path, PathBuf};

use minisign::{KeyPair, PublicKey as SigningPublicKey, SecretKey, SecretKeyBox};
use minisign_verify::{Error as VerifyError, PublicKey, Signature};

use super::tree::{FileError, read_file};

/// Bytes of a key or signature file.
const FILE_BYTES: usize = 4 << 10;
/// Keys one host may trust.
const MAX_KEYS: usize = 64;
const UNTRUSTED: &str = "untrusted comment: ";
const SIGNATURE_COMMENT: &str = "chartgate release signature";

/// A signature that is not good, or keys that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SignatureError {
    /// Without a key nothing can be trusted.
    #[error("no trusted key is configured")]
    NoKeys,
    /// More keys than a host has use for.
    #[error("there are {found} trusted keys, at most {MAX_KEYS} are taken")]
    TooManyKeys {
        /// their number
        found: usize,
    },
    /// A key file or folder cannot be read.
    #[error("cannot read the trusted key `{}`", path.display())]
    KeyUnreadable {
        /// the file or folder
        path: PathBuf,
        /// why
        #[source]
        source: FileError,
    },
    /// A file is not a minisign public key.
    #[error("`{}` is not a minisign public key", path.display())]
    KeyMalformed {
        /// the file
        path: PathBuf,
    },
    /// The signature is not a minisign signature of the current kind.
    #[error("it is not a minisign signature")]
    Malformed,
    /// Signed by somebody else.
    #[error("it is signed by none of the {trusted} trusted keys")]
    UnknownKey {
        /// how many there are
        trusted: usize,
    },
    /// The key is trusted, but what it signed was something else.
    #[error("it does not match what was signed with the key `{key}`")]
    Mismatch {
        /// name of the trusted key
        key: String,
    },
}

/// A signature that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The secret key file cannot be read.
    #[error("cannot read the secret key `{}`", path.display())]
    KeyUnreadable {
        /// the file
        path: PathBuf,
        /// why
        #[source]
        source: FileError,
    },
    /// Not a secret key, or one under a password.
    #[error("`{}` is not an unencrypted minisign secret key", path.display())]
    KeyMalformed {
        /// the file
        path: PathBuf,
    },
    /// A comment of more than one line would end the signature early.
    #[error("the trusted comment holds control characters")]
    Comment,
    /// The signature could not be computed.
    #[error("cannot sign")]
    Failed(#[source] minisign::PError),
}

/// The public keys releases may be signed with. Never empty.
#[derive(Clone)]
pub struct TrustedKeys(Vec<(String, PublicKey)>);

impl TrustedKeys {
    /// All `*.pub` files of a folder, in the order of their names. Other files are left alone.
    pub fn from_dir(folder: &Path) -> Result<Self, SignatureError> {
        let unreadable = |error: std::io::Error| SignatureError::KeyUnreadable {
            path: folder.to_owned(),
            source: FileError::Io(error),
        };
        let mut files = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            if path.extension().is_some_and(|extension| extension == "pub") {
                files.push(path);
            }
        }
        files.sort();
        Self::from_files(&files)
    }

    /// Exactly these public key files, as `minisign -G` writes them.
    pub fn from_files<P: AsRef<Path>>(files: &[P]) -> Result<Self, SignatureError> {
        let mut keys = Vec::new();
        for file in files {
            let path = file.as_ref();
            // The keys' folder is the operator's own, often mounted through links: these are followed.
            let real = std::fs::canonicalize(path).map_err(FileError::Io);
            let bytes = real
                .and_then(|real| read_file(&real, FILE_BYTES))
                .map_err(|source| SignatureError::KeyUnreadable { path: path.to_owned(), source })?;
            let key = String::from_utf8(bytes).ok().and_then(|text| public_key(&text));
            let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
            keys.push((name, key.ok_or_else(|| SignatureError::KeyMalformed { path: path.to_owned() })?));
        }
        Self::checked(keys)
    }

    /// Named keys in the text of a `.pub` file.
    pub fn from_texts<'a>(keys: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, SignatureError> {
        let key = |(name, text): (&str, &str)| match public_key(text) {
            Some(key) => Ok((name.to_owned(), key)),
            None => Err(SignatureError::KeyMalformed { path: name.into() }),
        };
        Self::checked(keys.into_iter().map(key).collect::<Result<_, _>>()?)
    }

    /// The names of the keys, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }

    /// Check a signature over these bytes; answers the name of the key that made it.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<&str, SignatureError> {
        let signature = decode(signature).ok_or(SignatureError::Malformed)?;
        let mut mismatch = None;
        for (name, key) in &self.0 {
            // `false`: the old kind, which signs the message itself, is not accepted.
            match key.verify(message, &signature, false) {
                Ok(()) => return Ok(name),
                Err(VerifyError::UnexpectedKeyId) => {}
                Err(VerifyError::UnexpectedAlgorithm | VerifyError::UnsupportedAlgorithm) => {
                    return Err(SignatureError::Malformed);
                }
                Err(_) => mismatch = Some(name.clone()),
            }
        }
        Err(match mismatch {
            Some(key) => SignatureError::Mismatch { key },
            None => SignatureError::UnknownKey { trusted: self.0.len() },
        })
    }

    fn checked(keys: Vec<(String, PublicKey)>) -> Result<Self, SignatureError> {
        match keys.len() {
            0 => Err(SignatureError::NoKeys),
            1..=MAX_KEYS => Ok(Self(keys)),
            found => Err(SignatureError::TooManyKeys { found }),
        }
    }
}

impl std::fmt::Debug for TrustedKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// Two lines and nothing else.
fn public_key(text: &str) -> Option<PublicKey> {
    let exact = text.lines().count() == 2 && text.starts_with(UNTRUSTED);
    if exact { PublicKey::decode(text).ok() } else { None }
}

/// Four lines and nothing else: what follows would be signed by nobody.
fn decode(signature: &[u8]) -> Option<Signature> {
    let text = std::str::from_utf8(signature).ok()?;
    let exact = text.len() <= FILE_BYTES && text.lines().count() == 4 && text.starts_with(UNTRUSTED);
    if exact { Signature::decode(text).ok() } else { None }
}

/// Sign with a key made for this one signature, whose secret half is dropped on return. Answers the
/// text of the public key file and of the signature file. The key comes from the system's random
/// source.
pub fn sign_with_fresh_key(message: &[u8], trusted_comment: &str) -> Result<(String, String), SigningError> {
    let KeyPair { pk, sk } = KeyPair::generate_unencrypted_keypair().map_err(SigningError::Failed)?;
    let signature = sign(&sk, Some(&pk), message, trusted_comment)?;
    let public = pk.to_box().map_err(SigningError::Failed)?.into_string();
    Ok((public, signature))
}

/// Sign with an unencrypted minisign secret key file; answers the text of the signature file.
pub fn sign_with_key_file(file: &Path, message: &[u8], trusted_comment: &str) -> Result<String, SigningError> {
    let bytes =
        read_file(file, FILE_BYTES).map_err(|source| SigningError::KeyUnreadable { path: file.to_owned(), source })?;
    let malformed = || SigningError::KeyMalformed { path: file.to_owned() };
    let text = String::from_utf8(bytes).map_err(|_| malformed())?;
    // The cause is left out: this library's messages are not checked for what they quote of the key.
    let secret = SecretKeyBox::from_string(&text)
        .and_then(SecretKeyBox::into_unencrypted_secret_key)
        .map_err(|_| malformed())?;
    sign(&secret, None, message, trusted_comment)
}

fn sign(
    secret: &SecretKey,
    public: Option<&SigningPublicKey>,
    message: &[u8],
    trusted_comment: &str,
) -> Result<String, SigningError> {
    if trusted_comment.chars().any(char::is_control) {
        return Err(SigningError::Comment);
    }
    minisign::sign(public, secret, Cursor::new(message), Some(trusted_comment), Some(SIGNATURE_COMMENT))
        .map(minisign::SignatureBox::into_string)
        .map_err(SigningError::Failed)
}

#[cfg(test)]
#[path = "signature_tests.rs"]
mod tests;

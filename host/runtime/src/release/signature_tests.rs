use super::{MAX_KEYS, SignatureError, SigningError, TrustedKeys, sign_with_fresh_key, sign_with_key_file};

const MESSAGE: &[u8] = b"{\"name\":\"smart-access\"}";

fn signed() -> (TrustedKeys, String) {
    let (public, signature) = sign_with_fresh_key(MESSAGE, "smart-access 1.0.0").unwrap();
    (TrustedKeys::from_texts([("release", public.as_str())]).unwrap(), signature)
}

#[test]
fn a_good_signature_names_its_key() {
    let (keys, signature) = signed();
    assert_eq!(keys.verify(MESSAGE, signature.as_bytes()).unwrap(), "release");
}

#[test]
fn another_key_is_unknown_and_one_of_several_is_enough() {
    let (other, _) = sign_with_fresh_key(b"", "x").unwrap();
    let (public, signature) = sign_with_fresh_key(MESSAGE, "x").unwrap();
    let only_other = TrustedKeys::from_texts([("other", other.as_str())]).unwrap();
    let found = only_other.verify(MESSAGE, signature.as_bytes());
    assert!(matches!(found, Err(SignatureError::UnknownKey { trusted: 1 })));
    let both = TrustedKeys::from_texts([("other", other.as_str()), ("mine", public.as_str())]).unwrap();
    assert_eq!(both.verify(MESSAGE, signature.as_bytes()).unwrap(), "mine");
}

#[test]
fn any_flipped_bit_of_the_message_is_found() {
    let (keys, signature) = signed();
    for at in 0..MESSAGE.len() {
        let mut message = MESSAGE.to_vec();
        message[at] ^= 1;
        let found = keys.verify(&message, signature.as_bytes());
        assert!(matches!(found, Err(SignatureError::Mismatch { .. })), "{at}");
    }
}

#[test]
fn any_changed_byte_of_the_signed_lines_is_found() {
    let (keys, signature) = signed();
    let first_line = signature.find('\n').unwrap() + 1;
    for at in first_line..signature.trim_end().len() {
        let mut bytes = signature.clone().into_bytes();
        bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
        assert!(keys.verify(MESSAGE, &bytes).is_err(), "{at}");
    }
}

#[test]
fn a_line_more_or_less_is_malformed() {
    let (keys, signature) = signed();
    let shorter = signature.lines().take(3).collect::<Vec<_>>().join("\n");
    for text in [shorter, format!("{signature}more\n"), format!("\n{signature}"), String::new()] {
        assert!(matches!(keys.verify(MESSAGE, text.as_bytes()), Err(SignatureError::Malformed)), "{text}");
    }
    assert!(matches!(keys.verify(MESSAGE, b"\xff"), Err(SignatureError::Malformed)));
}

#[test]
fn the_trusted_comment_is_signed() {
    let (keys, signature) = signed();
    let changed = signature.replace("1.0.0", "1.0.1");
    assert_ne!(changed, signature);
    assert!(matches!(keys.verify(MESSAGE, changed.as_bytes()), Err(SignatureError::Mismatch { .. })));
}

#[test]
fn no_key_is_refused_and_so_are_too_many() {
    assert!(matches!(TrustedKeys::from_texts([]), Err(SignatureError::NoKeys)));
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(TrustedKeys::from_dir(empty.path()), Err(SignatureError::NoKeys)));
    let missing = TrustedKeys::from_dir(&empty.path().join("none"));
    assert!(matches!(missing, Err(SignatureError::KeyUnreadable { .. })));
    let (public, _) = sign_with_fresh_key(b"", "x").unwrap();
    let keys = |n| TrustedKeys::from_texts(std::iter::repeat_n(("k", public.as_str()), n));
    assert!(keys(MAX_KEYS).is_ok());
    assert!(matches!(keys(MAX_KEYS + 1), Err(SignatureError::TooManyKeys { .. })));
}

#[test]
fn a_folder_of_keys_is_read_by_name_and_a_bad_one_named() {
    let folder = tempfile::tempdir().unwrap();
    let (public, signature) = sign_with_fresh_key(MESSAGE, "x").unwrap();
    std::fs::write(folder.path().join("b.pub"), &public).unwrap();
    std::fs::write(folder.path().join("README.md"), "not a key").unwrap();
    let keys = TrustedKeys::from_dir(folder.path()).unwrap();
    assert_eq!(keys.verify(MESSAGE, signature.as_bytes()).unwrap(), "b");
    std::fs::write(folder.path().join("a.pub"), "nonsense").unwrap();
    let Err(SignatureError::KeyMalformed { path }) = TrustedKeys::from_dir(folder.path()) else { panic!() };
    assert!(path.ends_with("a.pub"));
}

#[test]
fn a_secret_key_file_signs_and_one_under_a_password_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let file = folder.path().join("secret.key");
    std::fs::write(&file, pair.sk.to_box(None).unwrap().into_string()).unwrap();
    let public = pair.pk.to_box().unwrap().into_string();
    let signature = sign_with_key_file(&file, MESSAGE, "by file").unwrap();
    let keys = TrustedKeys::from_texts([("file", public.as_str())]).unwrap();
    assert!(keys.verify(MESSAGE, signature.as_bytes()).is_ok());

    std::fs::write(&file, public).unwrap();
    assert!(matches!(sign_with_key_file(&file, MESSAGE, "x"), Err(SigningError::KeyMalformed { .. })));
    let absent = sign_with_key_file(&folder.path().join("none"), MESSAGE, "x");
    assert!(matches!(absent, Err(SigningError::KeyUnreadable { .. })));
}

#[test]
fn a_comment_of_two_lines_is_refused() {
    assert!(matches!(sign_with_fresh_key(MESSAGE, "a\nb"), Err(SigningError::Comment)));
}

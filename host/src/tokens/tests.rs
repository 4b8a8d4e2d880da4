//! Facts about tokens. All keys are made here and forgotten.

use std::sync::LazyLock;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair,
    RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512, RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaEncoding,
    RsaKeyPair, RsaPublicKeyComponents,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chartgate_model::{Millis, SubjectKind};
use serde_json::{Value, json};

use super::claims::{Claims, Required};
use super::issuers::{Issuer, Issuers, MAX_TOKEN_BYTES, Means};
use super::jwks::KeySet;
use super::keys;
use super::{ALGORITHMS, Algorithm, JwksError, TokenConfig, TokenError, VerifiedToken};

const NOW_S: u64 = 1_800_000_000;
const NOW: Millis = Millis(NOW_S * 1_000);
const BASE: &str = "https://ehr.example/fhir";

struct Keys {
    rsa: RsaKeyPair,
    p256: EcdsaKeyPair,
    p384: EcdsaKeyPair,
    ed: Ed25519KeyPair,
}

static KEYS: LazyLock<Keys> = LazyLock::new(|| Keys {
    rsa: RsaKeyPair::generate(KeySize::Rsa2048).unwrap(),
    p256: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap(),
    p384: EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING).unwrap(),
    ed: Ed25519KeyPair::generate().unwrap(),
});

fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn rsa_jwk() -> Value {
    let public = RsaPublicKeyComponents::<Vec<u8>>::from(KEYS.rsa.public_key());
    json!({"kty": "RSA", "kid": "rsa", "n": b64(public.n), "e": b64(public.e)})
}

fn ec_jwk(pair: &EcdsaKeyPair, curve: &str, kid: &str) -> Value {
    let point = &pair.public_key().as_ref()[1..];
    let (x, y) = point.split_at(point.len() / 2);
    json!({"kty": "EC", "kid": kid, "crv": curve, "x": b64(x), "y": b64(y)})
}

fn ed_jwk() -> Value {
    json!({"kty": "OKP", "kid": "ed", "crv": "Ed25519", "x": b64(KEYS.ed.public_key().as_ref())})
}

fn all_jwks() -> Vec<Value> {
    vec![rsa_jwk(), ec_jwk(&KEYS.p256, "P-256", "p256"), ec_jwk(&KEYS.p384, "P-384", "p384"), ed_jwk()]
}

fn set(keys: &[Value]) -> Vec<u8> {
    json!({"keys": keys}).to_string().into_bytes()
}

fn config() -> TokenConfig {
    TokenConfig::new("https://issuer.example".into(), vec![BASE.into(), "chartgate".into()])
}

/// A host that takes the tokens of one issuer, signed by one of these keys.
struct Host(Issuers);

impl Host {
    fn new(config: TokenConfig, keys: &[Value]) -> Self {
        Self::try_new(config, &set(keys)).unwrap()
    }

    fn try_new(config: TokenConfig, jwks: &[u8]) -> Result<Self, JwksError> {
        let keys = KeySet::parse(jwks, &config.algorithms)?;
        Ok(Self(Issuers(vec![Issuer { config, means: Means::Keys(keys::Keys::Fixed(keys)) }])))
    }

    fn verify(&self, token: &str, now: Millis) -> Result<VerifiedToken, TokenError> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(self.0.verify(token, BASE, now))
    }
}

fn host() -> Host {
    Host::new(config(), &all_jwks())
}

fn rsa_sign(encoding: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
    let mut signature = vec![0; KEYS.rsa.public_modulus_len()];
    KEYS.rsa.sign(encoding, &SystemRandom::new(), message, &mut signature).unwrap();
    signature
}

fn sign(algorithm: Algorithm, message: &[u8]) -> Vec<u8> {
    let ec = |pair: &EcdsaKeyPair| pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
    match algorithm {
        Algorithm::RS256 => rsa_sign(&RSA_PKCS1_SHA256, message),
        Algorithm::RS384 => rsa_sign(&RSA_PKCS1_SHA384, message),
        Algorithm::RS512 => rsa_sign(&RSA_PKCS1_SHA512, message),
        Algorithm::PS256 => rsa_sign(&RSA_PSS_SHA256, message),
        Algorithm::PS384 => rsa_sign(&RSA_PSS_SHA384, message),
        Algorithm::PS512 => rsa_sign(&RSA_PSS_SHA512, message),
        Algorithm::ES256 => ec(&KEYS.p256),
        Algorithm::ES384 => ec(&KEYS.p384),
        Algorithm::EdDSA => KEYS.ed.sign(message).as_ref().to_vec(),
        other => panic!("{other:?} is never signed with"),
    }
}

/// A token of exactly these bytes, signed with ES256.
fn token_of(header: &str, payload: &str) -> String {
    let signed = format!("{}.{}", b64(header), b64(payload));
    format!("{signed}.{}", b64(sign(Algorithm::ES256, signed.as_bytes())))
}

fn claims() -> Value {
    json!({
        "iss": "https://issuer.example", "aud": BASE, "exp": NOW_S + 300, "iat": NOW_S, "nbf": NOW_S,
        "sub": "u-17", "jti": "t-1", "client_id": "growth-chart", "scope": "user/Observation.rs launch",
        "fhirUser": "Practitioner/17", "patient": "123", "encounter": "7",
    })
}

const HEADER: &str = r#"{"alg":"ES256","typ":"at+jwt"}"#;

fn verify(token: &str) -> Result<VerifiedToken, TokenError> {
    host().verify(token, NOW)
}

/// Verify the usual claims with some replaced, added, or (as null) removed.
fn with(changes: Value) -> Result<VerifiedToken, TokenError> {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        claims.as_object_mut().unwrap().insert(name.clone(), value.clone());
    }
    verify(&token_of(HEADER, &claims.to_string()))
}

fn without(name: &str) -> Result<VerifiedToken, TokenError> {
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove(name);
    verify(&token_of(HEADER, &claims.to_string()))
}

fn with_header(header: &str) -> Result<VerifiedToken, TokenError> {
    verify(&token_of(header, &claims().to_string()))
}

fn malformed(name: &str) -> TokenError {
    TokenError::MalformedClaim(name.into())
}

#[test]
fn a_valid_token_becomes_a_subject() {
    let token = with(json!({})).unwrap();
    let subject = &token.subject;
    assert_eq!((subject.kind, subject.user.as_str()), (SubjectKind::Provider, "Practitioner/17"));
    assert_eq!((subject.client.as_str(), subject.scope.as_str()), ("growth-chart", "user/Observation.rs launch"));
    assert_eq!((subject.patient.as_deref(), subject.encounter.as_deref()), (Some("123"), Some("7")));
    assert_eq!(subject.expires, Some(Millis((NOW_S + 300) * 1_000)));
    assert_eq!((token.principal.as_deref(), token.token_id.as_deref()), (Some("u-17"), Some("t-1")));
}

#[test]
fn every_allowed_algorithm_verifies_and_a_flipped_bit_does_not() {
    for (name, algorithm) in ALGORITHMS {
        let signed = format!("{}.{}", b64(json!({"alg": name}).to_string()), b64(claims().to_string()));
        let mut signature = sign(algorithm, signed.as_bytes());
        verify(&format!("{signed}.{}", b64(&signature))).unwrap_or_else(|error| panic!("{name}: {error}"));
        signature[9] ^= 1;
        assert_eq!(verify(&format!("{signed}.{}", b64(&signature))), Err(TokenError::Signature), "{name}");
        assert_eq!(verify(&format!("{signed}.")), Err(TokenError::Signature), "{name}");
    }
}

#[test]
fn another_payload_under_the_same_signature_is_refused() {
    let token = token_of(HEADER, &claims().to_string());
    let parts: Vec<_> = token.split('.').collect();
    let other = b64(claims().to_string().replace("Practitioner/17", "Practitioner/18"));
    assert_eq!(verify(&format!("{}.{other}.{}", parts[0], parts[2])), Err(TokenError::Signature));
}

#[test]
fn none_and_symmetric_and_unknown_algorithms_are_refused() {
    for name in ["none", "None", "", "HS256", "HS512", "es256", "ES512", "RS1", "Ed25519"] {
        let header = json!({"alg": name}).to_string();
        assert_eq!(with_header(&header), Err(TokenError::Algorithm), "{name}");
        let unsigned = format!("{}.{}.", b64(&header), b64(claims().to_string()));
        assert_eq!(verify(&unsigned), Err(TokenError::Algorithm), "{name}");
    }
    assert_eq!(with_header("{}"), Err(TokenError::Header("alg")));
    assert_eq!(with_header(r#"{"alg":["ES256"]}"#), Err(TokenError::Header("alg")));
}

#[test]
fn an_algorithm_off_the_configured_list_is_refused() {
    let narrow = TokenConfig { algorithms: vec![Algorithm::RS256], ..config() };
    let token = token_of(HEADER, &claims().to_string());
    assert_eq!(Host::new(narrow, &all_jwks()).verify(&token, NOW), Err(TokenError::Algorithm));
}

#[test]
fn an_algorithm_that_does_not_fit_the_named_key_is_refused() {
    for kid in ["rsa", "p384", "ed", "unheard-of", ""] {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        assert_eq!(with_header(&header), Err(TokenError::UnknownKey), "{kid}");
    }
    with_header(r#"{"alg":"ES256","kid":"p256"}"#).unwrap();
    assert_eq!(with_header(r#"{"alg":"ES256","kid":1}"#), Err(TokenError::Header("kid")));
}

#[test]
fn a_key_is_used_only_as_its_alg_use_and_key_ops_say() {
    let token = token_of(HEADER, &claims().to_string());
    let outcome = |member: &str, value: Value| {
        let mut key = ec_jwk(&KEYS.p256, "P-256", "p256");
        key[member] = value;
        Host::new(config(), &[key, rsa_jwk()]).verify(&token, NOW).map(drop)
    };
    for (member, value) in [("alg", json!("ES256")), ("use", json!("sig")), ("key_ops", json!(["verify"]))] {
        assert_eq!(outcome(member, value), Ok(()), "{member}");
    }
    for (member, value) in [
        ("alg", json!("ES384")),
        ("alg", json!("ECDH-ES")),
        ("use", json!("enc")),
        ("key_ops", json!(["encrypt"])),
        ("key_ops", json!([])),
    ] {
        assert_eq!(outcome(member, value.clone()), Err(TokenError::UnknownKey), "{member} {value}");
    }
}

#[test]
fn with_several_fitting_keys_the_token_must_name_one() {
    let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let keys = [ec_jwk(&other, "P-256", "other"), ec_jwk(&KEYS.p256, "P-256", "p256")];
    let host = Host::new(config(), &keys);
    let outcome = |header: &str| host.verify(&token_of(header, &claims().to_string()), NOW).map(drop);
    assert_eq!(outcome(r#"{"alg":"ES256"}"#), Err(TokenError::KeyIdRequired));
    assert_eq!(outcome(r#"{"alg":"ES256","kid":"p256"}"#), Ok(()));
    assert_eq!(outcome(r#"{"alg":"ES256","kid":"other"}"#), Err(TokenError::Signature));
}

#[test]
fn a_key_the_token_brings_along_is_never_used() {
    let stranger = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let header = json!({
        "alg": "ES256", "jwk": ec_jwk(&stranger, "P-256", "p256"),
        "jku": "https://evil.example/keys", "x5u": "https://evil.example/cert", "x5c": ["AA=="],
    });
    let signed = format!("{}.{}", b64(header.to_string()), b64(claims().to_string()));
    let signature = stranger.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
    assert_eq!(verify(&format!("{signed}.{}", b64(signature.as_ref()))), Err(TokenError::Signature));
    // The same header under a trusted key is merely ignored.
    with_header(&header.to_string()).unwrap();
}

#[test]
fn header_parameters_that_change_the_meaning_are_refused() {
    for name in ["crit", "b64", "enc", "zip"] {
        let header = json!({"alg": "ES256", name: ["exp"]}).to_string();
        assert_eq!(with_header(&header), Err(TokenError::UnsupportedHeader(name)));
    }
}

#[test]
fn the_type_must_be_that_of_an_access_token_or_absent() {
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"] {
        with_header(&json!({"alg": "ES256", "typ": typ}).to_string()).unwrap();
    }
    with_header(r#"{"alg":"ES256"}"#).unwrap();
    for typ in ["", "id+jwt", "logout+jwt", "dpop+jwt", "application/jwt", "at+jwt ", "secevent+jwt"] {
        let header = json!({"alg": "ES256", "typ": typ}).to_string();
        assert_eq!(with_header(&header), Err(TokenError::Type), "{typ}");
    }
    assert_eq!(with_header(r#"{"alg":"ES256","typ":null}"#), Err(TokenError::Header("typ")));
}

#[test]
fn tokens_made_for_another_use_are_refused() {
    for (name, value) in [
        ("nonce", json!("n")),
        ("at_hash", json!("h")),
        ("c_hash", json!("h")),
        ("s_hash", json!("h")),
        ("events", json!({})),
        ("token_use", json!("id")),
        ("token_use", json!("refresh")),
        ("typ", json!("ID")),
        ("typ", json!("Refresh")),
    ] {
        assert_eq!(with(json!({name: value})), Err(TokenError::NotAnAccessToken), "{name}");
    }
    with(json!({"token_use": "access", "typ": "Bearer"})).unwrap();
    assert_eq!(with(json!({"cnf": {"jkt": "k"}})), Err(TokenError::SenderConstrained));
    assert_eq!(with(json!({"act": {"sub": "a"}})), Err(TokenError::Delegated));
}

#[test]
fn only_three_parts_of_canonical_base64url_are_read() {
    let token = token_of(HEADER, &claims().to_string());
    let parts: Vec<_> = token.split('.').collect();
    let [h, p, s] = parts[..] else { panic!() };
    // The last character of an ES256 signature carries four stray bits.
    let stray = format!("{}{}", &s[..s.len() - 1], if s.ends_with('A') { 'B' } else { 'R' });
    for bad in [
        String::new(),
        h.to_owned(),
        format!("{h}.{p}"),
        format!("{token}."),
        format!(".{token}"),
        format!("{h}.{p}.{s}.{s}.{s}"),
        format!("{h}=.{p}.{s}"),
        format!("{h}.{p}.{s}=="),
        format!("{h}.{p}.{s} "),
        format!("{h}.{p}\n.{s}"),
        format!("{h}.{p}.{stray}"),
        format!("{h}.{p}.{s}+"),
        format!("Bearer {token}"),
    ] {
        assert_eq!(verify(&bad), Err(TokenError::NotCompact), "{bad}");
    }
}

#[test]
fn repeated_members_and_other_json_than_objects_are_refused() {
    let repeated = claims().to_string().replacen('{', r#"{"patient":"999","#, 1);
    for payload in [repeated.as_str(), "[]", "null", "", "{", "\u{feff}{}"] {
        assert_eq!(verify(&token_of(HEADER, payload)), Err(TokenError::Json("payload")), "{payload}");
    }
    for header in [r#"{"alg":"ES256","alg":"ES256"}"#, r#"{"alg":"none","\u0061lg":"ES256"}"#, "[]", ""] {
        assert_eq!(with_header(header), Err(TokenError::Json("header")), "{header}");
    }
    let deep = format!("{}{}", "[".repeat(40), "]".repeat(40));
    let payload = claims().to_string().replacen('{', &format!(r#"{{"x":{deep},"#), 1);
    assert_eq!(verify(&token_of(HEADER, &payload)), Err(TokenError::Json("payload")));
}

#[test]
fn a_token_is_read_up_to_its_limit() {
    assert_eq!(verify(&"a".repeat(MAX_TOKEN_BYTES)).unwrap_err(), TokenError::NotCompact);
    assert_eq!(verify(&"a".repeat(MAX_TOKEN_BYTES + 1)).unwrap_err(), TokenError::TooLong);
}

#[test]
fn the_issuer_must_be_equal_byte_for_byte() {
    for issuer in ["https://issuer.example/", "https://ISSUER.example", "", "https://issuer.example.evil"] {
        assert_eq!(with(json!({"iss": issuer})), Err(TokenError::Issuer), "{issuer}");
    }
    assert_eq!(without("iss"), Err(TokenError::MissingClaim("iss".into())));
    assert_eq!(with(json!({"iss": ["https://issuer.example"]})), Err(malformed("iss")));
}

#[test]
fn one_audience_must_be_ours() {
    for audience in [json!("chartgate"), json!(["other", BASE]), json!([BASE])] {
        with(json!({"aud": audience})).unwrap();
    }
    for audience in [json!("other"), json!([]), json!(["other"]), json!(""), json!(format!("{BASE}/"))] {
        assert_eq!(with(json!({"aud": audience})), Err(TokenError::Audience), "{audience}");
    }
    for audience in [json!(null), json!({}), json!(1), json!([BASE, 1]), json!([[BASE]])] {
        assert_eq!(with(json!({"aud": audience})), Err(malformed("aud")), "{audience}");
    }
    assert_eq!(without("aud"), Err(TokenError::MissingClaim("aud".into())));
}

#[test]
fn times_hold_with_the_leeway_and_not_a_millisecond_longer() {
    let token = token_of(HEADER, &claims().to_string());
    let at = |ms: u64| host().verify(&token, Millis(ms)).map(drop);
    let end = (NOW_S + 330) * 1_000;
    assert_eq!((at(end - 1), at(end)), (Ok(()), Err(TokenError::Expired)));
    let begin = (NOW_S - 30) * 1_000;
    assert_eq!((at(begin), at(begin - 1)), (Ok(()), Err(TokenError::NotYetValid)));
    for name in ["nbf", "iat"] {
        with(json!({name: NOW_S + 30})).unwrap();
        assert_eq!(with(json!({name: NOW_S + 31})), Err(TokenError::NotYetValid), "{name}");
        without(name).unwrap();
    }
}

#[test]
fn times_must_be_whole_seconds_and_the_end_must_be_said() {
    assert_eq!(without("exp"), Err(TokenError::MissingClaim("exp".into())));
    for name in ["exp", "nbf", "iat"] {
        for value in [json!(null), json!("1900000000"), json!(1.9e9), json!(-1), json!(true), json!(u64::MAX)] {
            assert_eq!(with(json!({name: value})), Err(malformed(name)), "{name} {value}");
        }
    }
}

#[test]
fn the_user_is_taken_relative_to_the_base() {
    for (given, kind, user) in [
        ("Practitioner/17", SubjectKind::Provider, "Practitioner/17"),
        ("PractitionerRole/1", SubjectKind::Provider, "PractitionerRole/1"),
        ("Patient/1", SubjectKind::Patient, "Patient/1"),
        ("https://ehr.example/fhir/RelatedPerson/a.b", SubjectKind::Proxy, "RelatedPerson/a.b"),
    ] {
        let subject = with(json!({"fhirUser": given})).unwrap().subject;
        assert_eq!((subject.kind, subject.user.as_str()), (kind, user));
    }
}

#[test]
fn a_user_of_another_base_is_refused() {
    for given in [
        "https://other.example/fhir/Practitioner/17",
        "http://ehr.example/fhir/Practitioner/17",
        "https://ehr.example/fhir2/Practitioner/17",
        "https://ehr.example/Practitioner/17",
        "https://ehr.example/fhir.evil.example/Practitioner/17",
    ] {
        assert_eq!(with(json!({"fhirUser": given})), Err(TokenError::ForeignUser), "{given}");
    }
}

#[test]
fn a_user_that_is_no_reference_to_a_person_is_refused() {
    for given in [
        json!(""),
        json!("17"),
        json!("/Practitioner/17"),
        json!("Practitioner/17/_history/1"),
        json!("Device/1"),
        json!("https://ehr.example/fhir//Practitioner/17"),
        json!("https://ehr.example/fhir/../Practitioner/17"),
        json!("urn:uuid:17"),
        json!(["Practitioner/17"]),
        json!(null),
    ] {
        assert_eq!(with(json!({"fhirUser": given})), Err(malformed("fhirUser")), "{given}");
    }
    assert_eq!(without("fhirUser"), Err(TokenError::MissingClaim("fhirUser".into())));
}

#[test]
fn a_person_has_no_single_role() {
    assert_eq!(with(json!({"fhirUser": "Person/1"})), Err(TokenError::UserType("Person")));
}

#[test]
fn a_malformed_launch_context_is_an_error_and_never_no_context() {
    for claim in ["patient", "encounter"] {
        for value in [
            json!(""),
            json!("Patient/"),
            json!("Patient/123"),
            json!("https://other.example/fhir/Patient/1"),
            json!(["123", ""]),
            json!(["123"]),
            json!(null),
            json!(123),
            json!(".."),
            json!("a".repeat(65)),
        ] {
            assert_eq!(with(json!({claim: value})), Err(malformed(claim)), "{claim} {value}");
        }
        without(claim).unwrap();
        with(json!({claim: "a".repeat(64)})).unwrap();
    }
}

#[test]
fn the_client_is_named_once() {
    assert_eq!(without("client_id"), Err(TokenError::MissingClaim("client_id".into())));
    assert_eq!(with(json!({"azp": "another"})), Err(TokenError::TwoClients));
    with(json!({"azp": "growth-chart"})).unwrap();
    let mut claims = claims();
    claims.as_object_mut().unwrap().remove("client_id");
    claims["azp"] = json!("by-azp");
    assert_eq!(verify(&token_of(HEADER, &claims.to_string())).unwrap().subject.client, "by-azp");
    for value in [json!(""), json!(null), json!("a\u{7}b"), json!("c".repeat(257)), json!(["a"])] {
        assert_eq!(with(json!({"client_id": value})), Err(malformed("client_id")), "{value}");
    }
}

#[test]
fn scopes_come_as_a_string_or_as_a_list() {
    let scope = |value: Value| with(json!({"scope": value})).map(|token| token.subject.scope);
    assert_eq!(scope(json!(["launch", "user/*.rs"])).unwrap(), "launch user/*.rs");
    assert_eq!(scope(json!("user/Observation.rs?category=a|b")).unwrap(), "user/Observation.rs?category=a|b");
    for value in [
        json!(""),
        json!(" "),
        json!([]),
        json!([""]),
        json!(["a b"]),
        json!(["a", 1]),
        json!("a\tb"),
        json!("a\"b"),
        json!("a\\b"),
        json!("é"),
        json!(null),
        json!({}),
    ] {
        assert_eq!(scope(value.clone()), Err(malformed("scope")), "{value}");
    }
    assert_eq!(without("scope"), Err(TokenError::MissingClaim("scope".into())));
}

#[test]
fn scopes_are_taken_up_to_their_limit() {
    let limit = 8 * 1024;
    with(json!({"scope": "s".repeat(limit)})).unwrap();
    assert_eq!(with(json!({"scope": "s".repeat(limit + 1)})), Err(TokenError::ScopeTooLong));
}

/// What a host that knows these names makes of these claims.
fn mapped(names: &str, changes: Value) -> Result<VerifiedToken, TokenError> {
    let config = TokenConfig { claims: toml::from_str(names).unwrap(), ..config() };
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        claims[name] = value.clone();
    }
    Host::new(config, &all_jwks()).verify(&token_of(HEADER, &claims.to_string()), NOW)
}

#[test]
fn claims_can_go_by_other_names() {
    let names = "fhir_user = \"https://issuer.example/user\"\nscope = \"scp\"";
    let changes = json!({ "https://issuer.example/user": "Patient/9", "scp": ["launch"] });
    let subject = mapped(names, changes).unwrap().subject;
    assert_eq!((subject.user.as_str(), subject.scope.as_str()), ("Patient/9", "launch"));
}

#[test]
fn claims_can_stand_inside_others() {
    let names = "patient = [\"ext\", \"smart.v2\", \"patient\"]";
    let patient = |ext: Value| mapped(names, json!({ "ext": ext })).map(|token| token.subject.patient);
    assert_eq!(patient(json!({ "smart.v2": { "patient": "9" } })), Ok(Some("9".into())));
    for absent in [json!({}), json!({ "smart": { "v2": { "patient": "9" } } }), json!({ "smart.v2": {} })] {
        assert_eq!(patient(absent.clone()), Ok(None), "{absent}");
    }
    assert_eq!(mapped(names, json!({})).unwrap().subject.patient, None);
    // A way that does not lead through objects is not the same as no patient.
    for odd in [json!("x"), json!(null), json!([{ "smart.v2": {} }]), json!({ "smart.v2": null })] {
        assert_eq!(patient(odd.clone()), Err(malformed("ext > smart.v2 > patient")), "{odd}");
    }
}

#[test]
fn a_client_without_a_user_needs_to_be_allowed_and_to_be_alone() {
    let outcome = |system_clients: bool, changes: Value| {
        let config = TokenConfig { system_clients, ..config() };
        let mut claims = claims();
        for name in ["fhirUser", "patient", "encounter"] {
            claims.as_object_mut().unwrap().remove(name);
        }
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        Host::new(config, &all_jwks()).verify(&token_of(HEADER, &claims.to_string()), NOW).map(|token| token.subject)
    };
    let missing = || Err(TokenError::MissingClaim("fhirUser".into()));
    let subject = outcome(true, json!({})).unwrap();
    assert_eq!((subject.kind, subject.user.as_str()), (SubjectKind::System, ""));
    assert_eq!(subject.scope, "user/Observation.rs launch");
    assert_eq!(outcome(false, json!({})), missing());
    for user in [json!({ "patient": "1" }), json!({ "encounter": "1" }), json!({ "auth_time": 1 })] {
        assert_eq!(outcome(true, user.clone()), missing(), "{user}");
    }
    let subject = outcome(true, json!({ "fhirUser": "Practitioner/17" })).unwrap();
    assert_eq!(subject.kind, SubjectKind::Provider);
    assert_eq!(outcome(true, json!({ "fhirUser": null })), Err(malformed("fhirUser")));
}

#[test]
fn a_user_under_the_usual_name_is_a_user_though_another_name_is_configured() {
    let names = toml::from_str("fhir_user = \"extension_fhirUser\"").unwrap();
    let config = TokenConfig { claims: names, system_clients: true, ..config() };
    let mut claims = claims();
    for name in ["patient", "encounter"] {
        claims.as_object_mut().unwrap().remove(name);
    }
    let outcome = Host::new(config, &all_jwks()).verify(&token_of(HEADER, &claims.to_string()), NOW);
    assert_eq!(outcome, Err(TokenError::MissingClaim("extension_fhirUser".into())));
}

#[test]
fn an_answer_of_the_issuer_need_not_repeat_what_a_jwt_has_to_say() {
    let outcome = |required: Required, removed: &str, changes: Value| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(removed);
        for (name, value) in changes.as_object().unwrap() {
            claims[name] = value.clone();
        }
        let members = claims.as_object().unwrap();
        Claims { members, config: &config(), required }.verify(BASE, NOW).map(drop)
    };
    let lax = Required { issuer: false, audience: false };
    for name in ["iss", "aud"] {
        assert_eq!(outcome(lax, name, json!({})), Ok(()), "{name}");
        assert_eq!(outcome(Required::JWT, name, json!({})), Err(TokenError::MissingClaim(name.into())));
    }
    assert_eq!(outcome(lax, "iss", json!({ "iss": "https://other.example" })), Err(TokenError::Issuer));
    assert_eq!(outcome(lax, "aud", json!({ "aud": "other" })), Err(TokenError::Audience));
    assert_eq!(outcome(lax, "exp", json!({})), Err(TokenError::MissingClaim("exp".into())));
    assert_eq!(outcome(lax, "sub", json!({ "token_use": "access_token" })), Ok(()));
}

#[test]
fn a_token_is_held_against_the_issuer_it_names() {
    let issuer = |name: &str, key: Value| {
        let config = TokenConfig::new(name.into(), vec![BASE.into()]);
        let keys = KeySet::parse(&set(&[key]), &config.algorithms).unwrap();
        Issuer { config, means: Means::Keys(keys::Keys::Fixed(keys)) }
    };
    let other = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap();
    let ours = ec_jwk(&KEYS.p256, "P-256", "k");
    let host = Host(Issuers(vec![
        issuer("https://other.example", ec_jwk(&other, "P-256", "k")),
        issuer("https://issuer.example", ours),
    ]));
    let of = |issuer: &str| {
        let mut claims = claims();
        claims["iss"] = json!(issuer);
        host.verify(&token_of(r#"{"alg":"ES256","kid":"k"}"#, &claims.to_string()), NOW).map(drop)
    };
    assert_eq!(of("https://issuer.example"), Ok(()));
    assert_eq!(of("https://other.example"), Err(TokenError::Signature));
    assert_eq!(of("https://third.example"), Err(TokenError::Issuer));
}

#[test]
fn no_error_repeats_a_part_of_the_token() {
    let errors = [with(json!({"iss": "s3cr3t"})), with(json!({"patient": "s3cr3t/"})), verify("s3cr3t.s3cr3t")];
    for error in errors {
        let error = error.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("s3cr3t"));
        assert_eq!(error.www_authenticate_error(), "invalid_token");
        assert!(error.code().starts_with("token-") && !error.is_indeterminate());
    }
}

#[test]
fn a_careless_configuration_is_refused() {
    type Spoil = fn(&mut TokenConfig);
    let table: [(Spoil, &str); 7] = [
        (|c| c.issuer.clear(), "the issuer is empty"),
        (|c| c.audiences.clear(), "the list of audiences is empty or holds an empty one"),
        (|c| c.audiences.push(String::new()), "the list of audiences is empty or holds an empty one"),
        (|c| c.algorithms.clear(), "the list of algorithms is empty"),
        (|c| c.algorithms.push(Algorithm::HS256), "the algorithm `HS256` cannot be allowed"),
        (|c| c.leeway_s = 301, "a leeway of `301` s is more than 300 s"),
        (|c| c.claims.scope = "".into(), "the name of the `scope` claim is empty, or its path too long"),
    ];
    for (spoil, message) in table {
        let mut config = config();
        spoil(&mut config);
        let problems: Vec<String> = config.problems().iter().map(ToString::to_string).collect();
        assert_eq!(problems, [message]);
    }
    assert!(TokenConfig { leeway_s: 300, ..config() }.problems().is_empty());
}

fn keys_error(keys: &[Value]) -> JwksError {
    Host::try_new(config(), &set(keys)).err().unwrap()
}

fn changed(mut key: Value, member: &str, value: Value) -> Value {
    key[member] = value;
    key
}

#[test]
fn an_rsa_key_is_neither_weak_nor_oversized() {
    let modulus = |bits: usize| {
        let mut bytes = vec![0xff; bits.div_ceil(8)];
        bytes[0] = 0xff >> (bytes.len() * 8 - bits);
        changed(rsa_jwk(), "n", json!(b64(bytes)))
    };
    for bits in [1024, 2047, 8193] {
        assert_eq!(keys_error(&[ed_jwk(), modulus(bits)]), JwksError::ModulusSize { index: 1, bits });
    }
    for bits in [2048, 8192] {
        Host::new(config(), &[modulus(bits)]);
    }
    for exponent in [&[][..], &[0, 1, 0, 1], &[1], &[4], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
        let key = changed(rsa_jwk(), "e", json!(b64(exponent)));
        assert_eq!(keys_error(&[key]), JwksError::Member { index: 0, member: "e" }, "{exponent:?}");
    }
    let padded = changed(rsa_jwk(), "n", json!(b64([&[0][..], &[0xff; 256]].concat())));
    assert_eq!(keys_error(&[padded]), JwksError::Member { index: 0, member: "n" });
}

#[test]
fn secret_keys_do_not_belong_in_the_set() {
    let symmetric = json!({"kty": "oct", "kid": "s", "k": b64([1; 32])});
    assert_eq!(keys_error(&[rsa_jwk(), symmetric]), JwksError::Secret { index: 1 });
    for member in ["d", "p", "k"] {
        assert_eq!(keys_error(&[changed(rsa_jwk(), member, json!("AQAB"))]), JwksError::Secret { index: 0 });
    }
}

#[test]
fn malformed_keys_make_the_set_unusable() {
    let p256 = || ec_jwk(&KEYS.p256, "P-256", "p256");
    for (key, member) in [
        (changed(p256(), "x", json!(b64([1; 31]))), "x"),
        (changed(p256(), "y", json!(b64([1; 33]))), "y"),
        (changed(p256(), "y", json!(null)), "y"),
        (changed(p256(), "kid", json!("")), "kid"),
        (changed(p256(), "kid", json!(1)), "kid"),
        (changed(p256(), "use", json!(1)), "use"),
        (changed(p256(), "key_ops", json!("verify")), "key_ops"),
        (changed(ed_jwk(), "x", json!(b64([1; 33]))), "x"),
        (changed(ed_jwk(), "x", json!("A=")), "x"),
        (json!({"kty": "EC"}), "crv"),
        (json!({}), "kty"),
    ] {
        assert_eq!(keys_error(&[key]), JwksError::Member { index: 0, member });
    }
}

#[test]
fn keys_that_cannot_be_told_apart_are_refused() {
    let keys = [rsa_jwk(), rsa_jwk()];
    assert_eq!(keys_error(&keys), JwksError::SameKeyId { index: 1 });
    // The same name for different algorithms leaves no doubt.
    Host::new(config(), &[changed(rsa_jwk(), "kid", json!("k")), changed(ed_jwk(), "kid", json!("k"))]);
}

#[test]
fn unusable_keys_are_passed_over_but_one_must_remain() {
    let others = [
        json!({"kty": "EC", "crv": "P-521", "x": "AA", "y": "AA"}),
        json!({"kty": "OKP", "crv": "X25519", "x": "AA"}),
        json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AA"}),
        changed(rsa_jwk(), "use", json!("enc")),
    ];
    assert_eq!(keys_error(&others), JwksError::Empty);
    assert_eq!(keys_error(&[]), JwksError::Empty);
    Host::new(config(), &[&others[..], &[ed_jwk()]].concat());
}

#[test]
fn a_set_is_a_strict_object_of_at_most_a_hundred_keys() {
    let key = ed_jwk().to_string();
    for text in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#, &format!(r#"{{"keys":[],"keys":[{key}]}}"#)] {
        assert_eq!(Host::try_new(config(), text.as_bytes()).err(), Some(JwksError::NotAKeySet), "{text}");
    }
    let many = |count: usize| (0..count).map(|n| changed(ed_jwk(), "kid", json!(n.to_string()))).collect::<Vec<_>>();
    Host::new(config(), &many(100));
    assert_eq!(keys_error(&many(101)), JwksError::TooMany(101));
}

use serde_json::json;

use super::*;
use crate::tokens::SigningKey;

const NOW_S: u64 = 1_800_000_000;

fn good() -> Map<String, Value> {
    let token_url = "https://auth.example/oauth/token";
    let claims = json!({ "iss": "app", "sub": "app", "aud": token_url, "exp": NOW_S + 300, "jti": "j1" });
    claims.as_object().unwrap().clone()
}

struct Signer {
    key: SigningKey,
    keys: ClientKeys,
}

impl Signer {
    fn new() -> Self {
        let key = SigningKey::read("k1", &SigningKey::generate().unwrap()).unwrap();
        let keys = ClientKeys::inline(&json!({ "keys": [key.public()] })).unwrap();
        Self { key, keys }
    }

    async fn verify(&self, claims: &Map<String, Value>) -> Result<Assertion, TokenError> {
        self.verify_token(&self.key.sign("JWT", claims).unwrap()).await
    }

    async fn verify_token(&self, token: &str) -> Result<Assertion, TokenError> {
        let audiences = ["https://auth.example/oauth/token", "https://auth.example"];
        let expected = Expected { client: "app", audiences: &audiences, now: Millis(NOW_S * 1_000) };
        self.keys.verify(token, &expected).await
    }
}

fn with(name: &str, value: Value) -> Map<String, Value> {
    let mut claims = good();
    match value {
        Value::Null => claims.remove(name),
        value => claims.insert(name.into(), value),
    };
    claims
}

#[tokio::test]
async fn an_assertion_says_whose_it_is_for_whom_and_until_when() {
    let signer = Signer::new();
    assert_eq!(signer.verify(&good()).await.unwrap().jti, "j1");
    for (name, value) in [
        ("aud", json!("https://auth.example")),
        ("aud", json!(["https://auth.example"])),
        ("exp", json!(NOW_S + 360)),
        ("exp", json!(NOW_S + 1)),
        ("iat", json!(NOW_S + 60)),
        ("nbf", json!(NOW_S)),
    ] {
        assert!(signer.verify(&with(name, value.clone())).await.is_ok(), "{name} {value}");
    }
    for (name, value) in [
        ("iss", json!("other")),
        ("iss", Value::Null),
        ("sub", json!("other")),
        ("sub", Value::Null),
        ("aud", json!("https://other.example")),
        ("aud", json!(["https://auth.example", "https://other.example"])),
        ("aud", json!([])),
        ("aud", Value::Null),
        ("exp", json!(NOW_S)),
        ("exp", json!(NOW_S + 361)),
        ("exp", json!("soon")),
        ("exp", Value::Null),
        ("iat", json!(NOW_S + 61)),
        ("nbf", json!(NOW_S + 61)),
        ("jti", json!("")),
        ("jti", json!("x".repeat(257))),
        ("jti", json!(7)),
        ("jti", Value::Null),
    ] {
        assert!(signer.verify(&with(name, value.clone())).await.is_err(), "{name} {value}");
    }
}

#[tokio::test]
async fn a_header_names_a_key_of_the_registration_and_no_place_to_fetch_one() {
    let signer = Signer::new();
    let token = |header: Value| {
        use base64::Engine as _;
        let good = signer.key.sign("JWT", &good()).unwrap();
        let (_, rest) = good.split_once('.').unwrap();
        let header = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(header.to_string());
        format!("{header}.{rest}")
    };
    for (header, expected) in [
        (json!({ "alg": "none", "kid": "k1" }), TokenError::Algorithm),
        (json!({ "alg": "HS256", "kid": "k1" }), TokenError::Algorithm),
        (json!({ "alg": "RS256" }), TokenError::Header("kid")),
        (json!({ "alg": "RS256", "kid": "k2" }), TokenError::UnknownKey),
        (json!({ "alg": "RS256", "kid": "k1", "typ": "at+jwt" }), TokenError::Type),
        (json!({ "alg": "RS256", "kid": "k1", "crit": [] }), TokenError::UnsupportedHeader("crit")),
        (json!({ "alg": "RS256", "kid": "k1", "jku": "https://evil.example" }), TokenError::Header("jku")),
        (json!({ "alg": "RS256", "kid": "k1" }), TokenError::Signature),
    ] {
        assert_eq!(signer.verify_token(&token(header.clone())).await, Err(expected), "{header}");
    }
    assert!(signer.verify_token(&signer.key.sign("client-authentication+jwt", &good()).unwrap()).await.is_ok());
}

#[test]
fn the_claimed_client_is_read_without_being_believed() {
    let signer = Signer::new();
    assert_eq!(claimed_client(&signer.key.sign("JWT", &good()).unwrap()).as_deref(), Some("app"));
    assert_eq!(claimed_client("a.b.c"), None);
}

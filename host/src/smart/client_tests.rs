use super::*;

fn client(auth: ClientAuth, redirect_uris: &[&str]) -> Client {
    Client {
        id: "app".into(),
        name: "App".into(),
        kind: ClientKind::Patient,
        redirect_uris: redirect_uris.iter().map(ToString::to_string).collect(),
        scope: "openid patient/*.rs".into(),
        auth,
        launch_uri: None,
        origins: Vec::new(),
        introspect: false,
        policy_uri: None,
    }
}

fn public(redirect_uri: &str) -> Client {
    client(ClientAuth::None, &[redirect_uri])
}

fn confidential(redirect_uri: &str) -> Client {
    let secrets = vec![SecretHash { sha256: "0".repeat(64), expires_ms: None }];
    client(ClientAuth::ClientSecretBasic { secrets }, &[redirect_uri])
}

#[test]
fn an_address_to_return_to_is_a_place_only_its_owner_can_read() {
    for good in ["https://app.example/cb?a=b", "http://127.0.0.1/cb", "http://[::1]:8/cb", "http://localhost:3000/"] {
        assert_eq!(confidential(good).check(), Ok(()), "{good}");
    }
    for bad in [
        "http://app.example/cb",
        "https://app.example/cb#x",
        "https://me@app.example/",
        "/cb",
        "javascript:alert(1)",
        "data:text/html,x",
        "https://*.app.example/",
        "https://app.example/a b",
        "com.example.app:/cb",
        "",
    ] {
        assert!(confidential(bad).check().is_err(), "{bad}");
    }
    assert_eq!(public("com.example.app:/cb").check(), Ok(()));
    for bad in ["myapp:/cb", "javascript:alert(1)"] {
        assert!(public(bad).check().is_err(), "{bad}");
    }
}

#[test]
fn addresses_are_compared_as_text() {
    let app = confidential("https://app.example/cb");
    assert!(app.redirect_uri("https://app.example/cb").is_some());
    for near in [
        "https://app.example/cb/",
        "https://app.example/cb?x=1",
        "https://APP.example/cb",
        "https://app.example:443/cb",
        "https://app.example/CB",
        "https://app.example/cb/..",
        "https://app.example.evil.example/cb",
        "https://app.example@evil.example/cb",
        "http://app.example/cb",
        "https://app.example/%63b",
        "",
    ] {
        assert_eq!(app.redirect_uri(near), None, "{near}");
    }
}

#[test]
fn a_native_app_may_listen_at_any_port_of_this_machine() {
    let native = public("http://127.0.0.1/cb");
    assert!(native.redirect_uri("http://127.0.0.1:49152/cb").is_some());
    for bad in ["http://127.0.0.2:49152/cb", "http://localhost:49152/cb", "http://127.0.0.1:49152/other"] {
        assert_eq!(native.redirect_uri(bad), None, "{bad}");
    }
    assert_eq!(confidential("http://127.0.0.1/cb").redirect_uri("http://127.0.0.1:49152/cb"), None);
    assert_eq!(public("http://localhost/cb").redirect_uri("http://localhost:1/cb"), None);
}

#[test]
fn a_browser_calls_from_where_the_app_lives() {
    let app = Client { origins: vec!["https://other.example".into()], ..public("https://app.example:8443/cb") };
    assert_eq!(app.check(), Ok(()));
    assert!(app.calls_from("https://app.example:8443") && app.calls_from("https://other.example"));
    for far in ["https://app.example", "null", "https://evil.example", ""] {
        assert!(!app.calls_from(far), "{far}");
    }
    assert!(Client { origins: vec!["https://other.example/".into()], ..app }.check().is_err());
}

#[test]
fn an_approval_is_remembered_only_for_who_can_be_told_apart() {
    assert!(confidential("http://127.0.0.1/cb").may_be_remembered("http://127.0.0.1/cb"));
    assert!(public("https://app.example/cb").may_be_remembered("https://app.example/cb"));
    assert!(!public("com.example.app:/cb").may_be_remembered("com.example.app:/cb"));
}

#[test]
fn an_app_has_one_way_to_prove_who_it_is() {
    let keys = |jwks: Option<Value>, jwks_uri: Option<&str>| {
        let jwks_uri = jwks_uri.map(str::to_owned);
        client(ClientAuth::PrivateKeyJwt { jwks, jwks_uri, issuer_only: false }, &["https://app.example/"]).check()
    };
    assert_eq!(keys(None, Some("https://app.example/jwks")), Ok(()));
    for (jwks, uri) in [(None, None), (Some(Value::Null), Some("https://app.example/jwks")), (None, Some("ftp://x/"))] {
        assert!(keys(jwks, uri).is_err());
    }
    assert!(Client { introspect: true, ..public("https://app.example/") }.check().is_err());
    assert_eq!(Client { introspect: true, ..confidential("https://app.example/") }.check(), Ok(()));
}

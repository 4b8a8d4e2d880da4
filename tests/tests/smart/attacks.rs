//! What an attacker would try, from outside.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};

use chartgate::tokens::SigningKey;
use chartgate_tests::host::Client;
use chartgate_tests::smart::{App, Clinic, VERIFIER, form};
use reqwest::Method;
use serde_json::{Value, json};

use crate::clinic;
use crate::jwt::{ASSERTION_TYPE, assertion};

const SCOPE: &str = "openid launch/patient offline_access patient/Patient.rs patient/Observation.rs";

/// Somebody who serves a key set and counts who comes.
struct KeySite {
    at: SocketAddr,
    visits: Arc<AtomicUsize>,
}

impl KeySite {
    fn open(jwks: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (at, visits) = (listener.local_addr().unwrap(), Arc::new(AtomicUsize::new(0)));
        let (counted, body) = (Arc::clone(&visits), jwks.to_string());
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                counted.fetch_add(1, Ordering::SeqCst);
                let mut request = [0_u8; 4096];
                let _ = stream.read(&mut request);
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close";
                let _ = write!(stream, "{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            }
        });
        Self { at, visits }
    }

    fn visits(&self) -> usize {
        self.visits.load(Ordering::SeqCst)
    }
}

/// A token request for a code that does not matter: the client's proof is looked at first.
fn prove(app: &App, key: &SigningKey, clinic: &Clinic, jti: &str) -> (u16, String) {
    let proof = assertion(key, &app.id, &format!("{}/oauth/token", clinic.issuer), jti);
    let parameters = [
        ("grant_type", "authorization_code"),
        ("code", "x"),
        ("redirect_uri", app.redirect_uri.as_str()),
        ("code_verifier", VERIFIER),
        ("client_assertion_type", ASSERTION_TYPE),
        ("client_assertion", &proof),
    ];
    let answer = app.token(&parameters);
    (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
}

/// SECURITY: a registration must not make the host ask inside of the network it runs in (RFC 9700; SSRF).
#[test]
fn the_keys_of_an_app_are_fetched_from_public_addresses_only() {
    let key = SigningKey::read("k1", &SigningKey::generate().unwrap()).unwrap();
    let site = KeySite::open(&json!({ "keys": [key.public()] }));
    let with = |clinic: &Clinic, uri: &str| clinic.register("private_key_jwt", |body| body["jwks_uri"] = json!(uri));

    let inside = clinic();
    let app = with(inside, &format!("http://{}/jwks", site.at));
    assert_eq!(prove(&app, &key, inside, "1"), (400, "invalid_grant".into()), "where it is allowed, the proof counts");
    assert_eq!(site.visits(), 1);

    let careful = Clinic::careful();
    let port = site.at.port();
    for (at, uri) in [
        format!("http://127.0.0.1:{port}/jwks"),
        format!("https://127.0.0.1:{port}/jwks"),
        format!("https://localhost:{port}/jwks"),
        format!("https://[::1]:{port}/jwks"),
        format!("https://[::ffff:127.0.0.1]:{port}/jwks"),
        format!("https://0x7f000001:{port}/jwks"),
        format!("https://0:{port}/jwks"),
        "https://169.254.169.254/latest/meta-data/".into(),
        "https://10.0.0.1/jwks".into(),
        "https://[fd00::1]/jwks".into(),
    ]
    .iter()
    .enumerate()
    {
        let app = with(&careful, uri);
        assert_eq!(prove(&app, &key, &careful, &at.to_string()), (401, "invalid_client".into()), "{uri}");
    }
    assert_eq!(site.visits(), 1, "nobody came");
    for uri in ["ftp://app.example/jwks", "http://app.example/jwks", "file:///etc/passwd", "jwks", ""] {
        let body = json!({
            "name": "x", "kind": "patient", "redirect_uris": ["https://app.example/cb"], "scope": "openid",
            "auth": "private_key_jwt", "jwks_uri": uri,
        });
        let answer = careful.host.admin("POST", "/admin/v1/smart/clients", &[], &body.to_string());
        assert_eq!(answer.status, 400, "{uri}: {}", answer.text);
        assert!(answer.text.contains("jwks"), "{uri}: {}", answer.text);
    }
}

/// Two readers of one request must not see two requests (RFC 6749, section 3.1).
#[test]
fn what_stands_twice_or_is_too_long_is_refused() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let post = |path: &str, body: String| {
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = Client::new().send("POST", clinic.host.public, path, &headers, body);
        (answer.status, answer.json()["error"].as_str().unwrap_or_default().to_owned())
    };
    let refused = (400, "invalid_request".to_owned());
    for name in ["grant_type", "code", "redirect_uri", "code_verifier", "client_id", "scope"] {
        let pairs = [
            ("grant_type", "authorization_code"),
            ("code", "x"),
            ("redirect_uri", app.redirect_uri.as_str()),
            ("code_verifier", VERIFIER),
            ("client_id", &app.id),
            ("scope", "openid"),
        ];
        let body = form(&pairs);
        assert_eq!(post("/oauth/token", body.clone()), (400, "invalid_grant".into()));
        assert_eq!(post("/oauth/token", format!("{body}&{name}=y")), refused, "{name}");
    }
    for path in ["/oauth/revoke", "/oauth/introspect"] {
        assert_eq!(post(path, format!("token=x&token=y&client_id={}", app.id)), refused, "{path}");
    }
    let long = |bytes: usize| {
        let head = format!("grant_type=authorization_code&client_id={}&code=x&pad=", app.id);
        format!("{head}{}", "a".repeat(bytes - head.len()))
    };
    assert_eq!(post("/oauth/token", long(64 << 10)).1, "invalid_grant");
    assert_eq!(post("/oauth/token", long((64 << 10) + 1)), refused);

    for name in ["redirect_uri", "state", "scope", "code_challenge", "aud", "response_type"] {
        let page = clinic.browser().get(&format!("{}&{name}=y", app.authorize_url(SCOPE, |_| {})));
        assert_eq!((page.status, page.query("code")), (400, None), "{name}: {}", page.url);
    }
}

/// One of many that come with one code at once gets tokens, and then nobody has: it was in the wrong hands.
#[test]
fn of_many_that_bring_one_code_at_once_one_gets_tokens_at_most() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let code = app.code(&mut browser, &account, SCOPE);
    let together = Barrier::new(8);
    let answers = std::thread::scope(|scope| {
        let one = || {
            together.wait();
            app.exchange(&code)
        };
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(one)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let given: Vec<_> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(given.len(), 1, "{answers:?}");
    let token = given[0].json()["access_token"].as_str().unwrap().to_owned();
    assert_eq!(clinic.read(&token, "123").1, "token-inactive");
}

/// Names of apps and people, and whatever a form sends back, are text.
#[test]
fn nothing_becomes_part_of_a_page_but_as_text() {
    const EVIL: &str = "<img src=x onerror=alert(1)>\"'`";
    let clinic = clinic();
    let app = clinic.register("none", |body| body["name"] = json!(EVIL));
    let mut browser = clinic.browser();
    let login = browser.get(&app.authorize_url(SCOPE, |pairs| {
        pairs.retain(|(name, _)| name != "state");
        pairs.push(("state".into(), EVIL.into()));
    }));
    let again = browser.submit(&login, |fields| {
        fields.set("username", EVIL);
        fields.set("password", "x");
    });
    let account = clinic.account(&["patient=Patient/123"]);
    let approve = browser.sign_in(&login, &account);
    assert_eq!((again.status, approve.path()), (401, "/oauth/approve"));
    for page in [&login, &again, &approve] {
        assert!(!page.text.contains("<img src=x"), "{}", page.text);
    }
    assert!(approve.text.contains("&lt;img src=x"), "{}", approve.text);
    let back = browser.allow(&approve);
    assert_eq!(back.must("state"), EVIL, "an app gets its state back as it was");
}

/// Somebody who can plant a cookie from a neighbouring host must not decide which session counts.
#[test]
fn of_two_cookies_of_one_name_none_counts() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let page = app.authorize(&mut browser, SCOPE);
    let page = browser.sign_in(&page, &account);
    let (name, value) = browser.cookies().clone().pop_first().unwrap();
    let mut other = clinic.browser();
    let with = |cookies: String| {
        move |browser: &mut chartgate_tests::smart::Browser, url: &str| {
            browser.send(Method::GET, url, None, &[("cookie", &cookies)]).status
        }
    };
    assert_eq!(with(format!("{name}={value}"))(&mut other, page.url.as_str()), 200);
    assert_eq!(with(format!("{name}=planted; {name}={value}"))(&mut other, page.url.as_str()), 400);
    assert_eq!(with(format!("{name}={value}; {name}=planted"))(&mut other, page.url.as_str()), 400);
}

/// A patient sees who was given access to their chart by somebody else, and takes it back.
#[test]
fn what_a_guardian_approved_is_shown_to_the_patient_and_is_theirs_to_take_back() {
    let clinic = clinic();
    let app = clinic.register("client_secret_basic", |body| body["name"] = json!("Approved By Another"));
    let (mut guardian, account) = (clinic.browser(), clinic.account(&["proxy=RelatedPerson/9"]));
    let tokens = app.tokens(&app.code(&mut guardian, &account, SCOPE));
    assert_eq!(clinic.read(tokens.access(), "124").0, "permit");

    let signed_in = |patient: &str| {
        let (mut browser, account) = (clinic.browser(), clinic.account(&[patient]));
        let any = clinic.public_app();
        any.code(&mut browser, &account, SCOPE);
        browser
    };
    let mut stranger = signed_in("patient=Patient/123");
    assert!(!stranger.get("/oauth/apps").text.contains("Approved By Another"));
    let mut patient = signed_in("patient=Patient/124");
    let apps = patient.get("/oauth/apps");
    assert!(apps.text.contains("Approved By Another"), "{}", apps.text);
    let card = apps.text.split("<li class=\"card\">").find(|card| card.contains("Approved By Another")).unwrap();
    let grant = card.split("name=\"grant\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let own = stranger.get("/oauth/apps");
    stranger.submit(&own, |fields| fields.set("grant", &grant));
    assert_eq!(clinic.read(tokens.access(), "124").0, "permit", "nobody else takes it back");
    patient.submit(&apps, |fields| fields.set("grant", &grant));
    assert_eq!(clinic.read(tokens.access(), "124").1, "token-inactive");
}

/// Tokens are of one tenant; in another they are nobody's.
#[test]
fn a_token_counts_in_its_tenant_alone() {
    let (clinic, app) = (clinic(), clinic().public_app());
    let (mut browser, account) = (clinic.browser(), clinic.account(&["patient=Patient/123"]));
    let tokens = app.tokens(&app.code(&mut browser, &account, SCOPE));
    let ask = |tenant: &str| {
        let authorization = format!("Bearer {}", tokens.access());
        let request = json!({ "method": "GET", "url": "/Patient/123", "headers": { "authorization": authorization } });
        clinic.host.decide(&json!({ "tenant": tenant, "request": request })).verdict()
    };
    assert_eq!(ask("default").0, "permit");
    assert_ne!(ask("clinic-2").0, "permit", "{:?}", ask("clinic-2"));
}

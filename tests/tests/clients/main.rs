//! Other people's clients: each goes from discovery to tokens, records, renewal and revocation, by its own code.
//!
//! What they are and in which version is in `tests/clients`. They come from the public registries, once for each
//! checkout; Node, Python, Chromium and Apache are installed by `tests/run`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure here is a failed test")]
#![allow(clippy::indexing_slicing, reason = "a missing member is a failed test")]

mod tools;

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use chartgate_tests::servers::{FhirServer, Make};
use chartgate_tests::smart::{App, Clinic, PASSWORD};
use chartgate_tests::workspace_root;
use serde_json::{Value, json};

use chartgate_tests::tools::{free_port, installed};
use tools::{cargo, node, python, run};

/// Nobody listens there: the scripts stop where a browser would leave the server.
const CALLBACK: &str = "http://127.0.0.1:9/callback";

/// One clinic for all, in front of HAPI FHIR, with the apps that the scripts share.
struct Shared {
    _server: FhirServer,
    clinic: Clinic,
    settings: Vec<(&'static str, String)>,
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        let server = FhirServer::start(Make::Hapi);
        let records = std::fs::read_to_string(workspace_root().join("host/src/sandbox/resources.ndjson")).unwrap();
        server.load(&records.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<_>>());
        let clinic = Clinic::in_front_of(&server.url(), "{}", "");
        let keys = tools::keys();
        let pairs: Value = serde_json::from_str(&std::fs::read_to_string(&keys).unwrap()).unwrap();
        let app = |auth: &str, change: &dyn Fn(&mut Value)| {
            clinic.register(auth, |body| {
                body["redirect_uris"] = json!([CALLBACK]);
                change(body);
            })
        };
        let by_key =
            |name: &str| app("private_key_jwt", &|body| body["jwks"] = json!({ "keys": [pairs[name]["public"]] })).id;
        let (public, basic) = (app("none", &|_| {}), app("client_secret_basic", &|_| {}));
        let service = app("client_secret_basic", &|body| body["introspect"] = json!(true));
        let settings = vec![
            ("ISSUER", clinic.issuer.clone()),
            ("FHIR_BASE", clinic.base().to_owned()),
            ("REDIRECT_URI", CALLBACK.to_owned()),
            ("PASSWORD", PASSWORD.to_owned()),
            ("KEYS", keys.to_str().unwrap().to_owned()),
            ("PUBLIC_ID", public.id),
            ("BASIC_SECRET", secret(&basic)),
            ("BASIC_ID", basic.id),
            ("SERVICE_SECRET", secret(&service)),
            ("SERVICE_ID", service.id),
            ("ES384_ID", by_key("ES384")),
            ("RS384_ID", by_key("RS384")),
        ];
        Shared { _server: server, clinic, settings }
    })
}

/// What a script is told: what all are, and somebody of its own to sign in as.
fn told(more: Vec<(&'static str, String)>) -> Vec<(&'static str, String)> {
    let Shared { clinic, settings, .. } = shared();
    let mut all = settings.clone();
    all.push(("ACCOUNT", clinic.account(&["patient=Patient/123"])));
    all.extend(more);
    all
}

fn secret(app: &App) -> String {
    app.secret.clone().unwrap()
}

/// One after another: they share accounts, and a machine of two cores has enough of one browser.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn openid_client_in_node() {
    let _turn = turn();
    run(node("openid-client.mjs"), told(Vec::new()));
}

#[test]
fn oauth4webapi_in_node() {
    let _turn = turn();
    run(node("oauth4webapi.mjs"), told(Vec::new()));
}

#[test]
fn the_smart_client_in_node() {
    let _turn = turn();
    run(node("smart-node.mjs"), told(Vec::new()));
}

#[test]
fn the_smart_client_in_python() {
    let _turn = turn();
    run(python("smart_client.py"), told(Vec::new()));
}

#[test]
fn authlib_in_python() {
    let _turn = turn();
    run(python("authlib_client.py"), told(Vec::new()));
}

#[test]
fn requests_oauthlib_in_python() {
    let _turn = turn();
    run(python("oauthlib_client.py"), told(Vec::new()));
}

#[test]
fn openidconnect_in_rust() {
    let _turn = turn();
    run(cargo("rust"), told(Vec::new()));
}

/// The page and the server are at two origins, and at two sites for the browser.
#[test]
fn the_smart_client_in_a_browser() {
    let _turn = turn();
    let clinic = &shared().clinic;
    let port = free_port();
    let site = format!("http://localhost:{port}");
    let here = |body: &mut Value| {
        body["redirect_uris"] = json!([format!("{site}/index.html")]);
        body["launch_uri"] = json!(format!("{site}/launch.html"));
    };
    let patient_app = clinic.register("none", here);
    let provider_app = clinic.register("none", |body| {
        here(body);
        body["kind"] = json!("provider");
    });
    let doctor = clinic.account(&["provider=Practitioner/17"]);
    let launch = clinic.launch(&provider_app, json!({ "user": "Practitioner/17", "patient": "123" }));
    let more = vec![
        ("CHROMIUM", installed("chromium")),
        ("APP_PORT", port.to_string()),
        ("PATIENT_APP_ID", patient_app.id),
        ("PROVIDER_APP_ID", provider_app.id),
        ("PROVIDER_ACCOUNT", doctor),
        ("LAUNCH_URL", launch["url"].as_str().unwrap().to_owned()),
    ];
    run(node("browser.mjs"), told(more));
}

/// Not a client of the server but a judge of its pages.
#[test]
fn every_page_is_for_everybody() {
    let _turn = turn();
    // With the pages of a demo.
    let clinic = Clinic::with_sandbox();
    let port = free_port();
    // An app that cannot prove who it is asks every time.
    let app = clinic.register("none", |body| {
        body["redirect_uris"] = json!([format!("http://localhost:{port}/callback")]);
    });
    let scope =
        "openid fhirUser launch/patient offline_access patient/*.rs patient/Condition.rs patient/Observation.rs";
    let code = || {
        let body = json!({
            "label": "Patient 123", "identities": [{ "kind": "patient", "user": "Patient/123" }],
            "family_name": "Example", "birth_date": "1968-04-12",
        });
        let answer = clinic.host.admin("POST", "/admin/v1/smart/enrolments", &[], &body.to_string());
        answer.json()["code"].as_str().unwrap().to_owned()
    };
    let more = vec![
        ("ISSUER", clinic.issuer.clone()),
        ("FHIR_BASE", clinic.base().to_owned()),
        ("ACCOUNT", clinic.account(&["patient=Patient/123"])),
        ("CHROMIUM", installed("chromium")),
        ("APP_PORT", port.to_string()),
        ("AUTHORIZE_URL", app.authorize_url(scope, |_| {})),
        ("GUARDIAN", clinic.account(&["proxy=RelatedPerson/10"])),
        ("CODE_PHONE", code()),
        ("CODE_DESK", code()),
    ];
    run(node("pages.mjs"), told(more));
}

/// `mod_auth_openidc` gets the tokens, `mod_oauth2` guards a site by asking what they are worth.
#[test]
fn apache_as_an_app_and_as_a_resource_server() {
    let _turn = turn();
    let clinic = &shared().clinic;
    let port = free_port();
    let app = clinic.register("client_secret_basic", |body| {
        body["redirect_uris"] = json!([format!("http://127.0.0.1:{port}/app/callback")]);
    });
    let more = vec![
        ("APACHE", installed("apache2")),
        ("APACHE_PORT", port.to_string()),
        ("APP_SECRET", secret(&app)),
        ("APP_ID", app.id),
    ];
    run(node("apache.mjs"), told(more));
}

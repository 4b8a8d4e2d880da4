//! Facts from a FHIR server that is asked when a decision needs them: shared, kept for a while, and never a reason to
//! permit when they cannot be had.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use chartgate_tests::host::requests::{read, read_own, with, without};
use chartgate_tests::host::{EHR, Guest, Host, World};
use serde_json::{Value, json};
use tokio::runtime::Runtime;

const FAILED: &str = "fact-source-failed";

/// How the server answers.
#[derive(Clone, PartialEq)]
enum Mood {
    Well,
    Status(u16),
    Text(String),
    Slow,
}

#[derive(Clone)]
struct Shared {
    resources: Arc<Mutex<BTreeMap<String, Value>>>,
    mood: Arc<Mutex<Mood>>,
    asked: Arc<Mutex<Vec<String>>>,
    page: usize,
    next: Option<&'static str>,
}

/// A server that knows how to read and to search by reference, and no more.
struct Fhir {
    address: SocketAddr,
    shared: Shared,
    runtime: Option<Runtime>,
}

impl Fhir {
    fn new(page: usize, next: Option<&'static str>) -> Self {
        let shared = Shared {
            resources: Arc::default(),
            mood: Arc::new(Mutex::new(Mood::Well)),
            asked: Arc::default(),
            page,
            next,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(answer).with_state(shared.clone());
        runtime.spawn(async move { axum::serve(listener, router).await });
        Self { address, shared, runtime: Some(runtime) }
    }

    fn holds(&self, resource: Value) {
        let key = format!("{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
        self.shared.resources.lock().unwrap().insert(key, resource);
    }

    fn becomes(&self, mood: Mood) {
        *self.shared.mood.lock().unwrap() = mood;
    }

    fn asked(&self) -> Vec<String> {
        self.shared.asked.lock().unwrap().clone()
    }

    /// A host whose base `default` has this server, with more members of its table.
    fn host(&self, more: &str) -> (World, Host) {
        let mut world = World::new();
        world.add(Guest::Rules, "0.1.0", r#"{"require_patient_records":true,"require_provider_records":true}"#);
        // A machine that is busy with other tests must not end anybody's question.
        let patience = if more.contains("timeout_ms") { "" } else { "timeout_ms = 30000" };
        world.more = format!(
            "[fhir.default.facts]\nurl = \"http://{}/fhir\"\nallow_private = true\nmax_age_s = 0\n{patience}\n{more}\n",
            self.address
        );
        let host = world.start();
        (world, host)
    }
}

impl Drop for Fhir {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn answer(State(shared): State<Shared>, uri: Uri, headers: HeaderMap) -> Response {
    shared.asked.lock().unwrap().push(uri.to_string());
    let fhir = |value: &Value| ([(header::CONTENT_TYPE, "application/fhir+json")], value.to_string()).into_response();
    let mood = shared.mood.lock().unwrap().clone();
    match mood {
        Mood::Well if headers[header::ACCEPT] == "application/fhir+json" => {}
        Mood::Well => return StatusCode::NOT_ACCEPTABLE.into_response(),
        Mood::Status(status) => return StatusCode::from_u16(status).unwrap().into_response(),
        Mood::Text(text) => return text.into_response(),
        Mood::Slow => tokio::time::sleep(Duration::from_secs(60)).await,
    }
    let path = uri.path().strip_prefix("/fhir/").unwrap();
    let resources = shared.resources.lock().unwrap();
    if path.contains('/') {
        return resources.get(path).map_or(StatusCode::NOT_FOUND.into_response(), fhir);
    }
    let query: BTreeMap<String, String> =
        form_pairs(uri.query().unwrap_or_default()).filter(|(name, _)| name != "_count").collect();
    let offset: usize = query.get("_offset").map_or(0, |offset| offset.parse().unwrap());
    let wanted: Vec<&str> =
        query.iter().filter(|(name, _)| *name != "_offset").flat_map(|(_, value)| value.split(',')).collect();
    let matches = |resource: &&Value| {
        let text = resource.to_string();
        resource["resourceType"] == path
            && wanted.iter().any(|id| text.contains(&format!("\"{id}\"")) || text.contains(&format!("/{id}\"")))
    };
    let found: Vec<&Value> = resources.values().filter(matches).collect();
    let page: Vec<Value> =
        found.iter().skip(offset).take(shared.page).map(|resource| json!({ "resource": resource })).collect();
    let mut bundle = json!({ "resourceType": "Bundle", "type": "searchset", "entry": page });
    if found.len() > offset + shared.page {
        let base =
            shared.next.map_or_else(|| format!("http://{}/fhir", headers["host"].to_str().unwrap()), str::to_owned);
        let url = format!("{base}{}?{}&_offset={}", &uri.path()[5..], uri.query().unwrap(), offset + shared.page);
        bundle["link"] = json!([{ "relation": "next", "url": url }]);
    }
    fhir(&bundle)
}

fn form_pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    let url = reqwest::Url::parse(&format!("http://x/?{query}")).unwrap();
    url.query_pairs().map(|(name, value)| (name.into_owned(), value.into_owned())).collect::<Vec<_>>().into_iter()
}

fn patient(id: &str) -> Value {
    json!({ "resourceType": "Patient", "id": id, "birthDate": "1980-01-01" })
}

fn encounter(id: &str, patient: &str, user: &str) -> Value {
    json!({
        "resourceType": "Encounter", "id": id, "status": "in-progress",
        "subject": { "reference": format!("Patient/{patient}") }, "period": { "start": "2020-01-01T00:00:00Z" },
        "participant": [{ "individual": { "reference": user } }],
    })
}

fn practitioner() -> Value {
    json!({ "resourceType": "Practitioner", "id": "17", "active": true })
}

/// A clinician reads an observation of patient 123, and says nothing of relationships.
fn ask() -> Value {
    without(&read(), "/facts")
}

fn reason(host: &Host, body: &Value) -> String {
    host.decide(body).verdict().1
}

/// One with a patient, a clinician and their encounter.
fn clinic(page: usize) -> Fhir {
    let fhir = Fhir::new(page, None);
    fhir.holds(patient("123"));
    fhir.holds(practitioner());
    fhir.holds(encounter("9", "123", "Practitioner/17"));
    fhir
}

#[test]
fn what_the_server_knows_decides_and_is_named_as_its_source() {
    let fhir = clinic(100);
    let (_world, host) = fhir.host("");
    let answer = host.decide(&ask());
    assert_eq!(answer.verdict(), ("permit".into(), "relationship-encounter".into()));
    let sources = answer.decided()["facts"]["sources"].clone();
    let named =
        |start: &str| sources.as_array().unwrap().iter().any(|source| source.as_str().unwrap().starts_with(start));
    assert!(named("directory@0") && named("fhir@2"), "{sources}");
    for (change, expected) in [
        (with(&practitioner(), "/active", json!(false)), "user-not-active"),
        (practitioner(), "relationship-encounter"),
        (with(&encounter("9", "123", "Practitioner/17"), "/status", json!("cancelled")), "no-relationship"),
        (
            with(&patient("123"), "/link", json!([{ "type": "replaced-by", "other": { "reference": "Patient/9" } }])),
            "merge-unresolved",
        ),
        (patient("9"), "no-relationship"),
        (encounter("8", "9", "Practitioner/17"), "relationship-encounter"),
    ] {
        fhir.holds(change.clone());
        assert_eq!(reason(&host, &ask()), expected, "{change}");
    }
    assert_eq!(reason(&host, &read_own()), "chart-merged");
}

#[test]
fn directory_and_server_stand_side_by_side_and_the_stricter_wins() {
    let fhir = clinic(100);
    let (_world, host) = fhir.host("");
    assert_eq!(reason(&host, &ask()), "relationship-encounter");
    let put = |path: &str, body: Value| {
        let answer = host.admin("PUT", path, &[], &body.to_string());
        assert_eq!(answer.status, 200, "{}", answer.text);
    };
    put("/admin/v1/patients", json!({ "patient": "123", "restriction": { "allow": ["Practitioner/1"] } }));
    assert_eq!(reason(&host, &ask()), "chart-restricted");
    put("/admin/v1/patients", json!({ "patient": "123" }));
    let row = json!({ "user": "Practitioner/17", "patient": "123", "kind": "encounter" });
    put("/admin/v1/relationships", with(&row, "/status", json!("revoked")));
    assert_eq!(reason(&host, &ask()), "relationship-revoked");
    put("/admin/v1/relationships", with(&row, "/kind", json!("treatment")));
    assert_eq!(reason(&host, &ask()), "relationship-treatment");
    // Another tenant's people are not this server's.
    assert_eq!(reason(&host, &with(&ask(), "/tenant", json!("clinic-2"))), "user-unknown");
}

#[test]
fn a_search_is_narrowed_to_whom_the_server_knows() {
    // Two resources a page: the rest is on the next ones.
    let fhir = clinic(2);
    for at in 0..5 {
        fhir.holds(patient(&format!("p{at}")));
        fhir.holds(encounter(&format!("e{at}"), &format!("p{at}"), "Practitioner/17"));
    }
    let (_world, host) = fhir.host("");
    let answer = host.decide(&search());
    let url = answer.decided()["obligations"][0]["url"].clone();
    assert_eq!(url, "/Observation?patient=123,p0,p1,p2,p3,p4", "{}", answer.text);
}

#[test]
fn a_server_that_fails_permits_nothing_and_is_left_alone() {
    let fhir = clinic(100);
    let (_world, host) = fhir.host("timeout_ms = 3000\npage_bytes = 1024");
    assert_eq!(reason(&host, &ask()), "relationship-encounter");
    for mood in [
        Mood::Status(500),
        Mood::Status(401),
        Mood::Text("not json".into()),
        Mood::Text("[]".into()),
        Mood::Text(format!("{{\"resourceType\":\"Bundle\",\"x\":\"{}\"}}", "x".repeat(1_024))),
        Mood::Text("{\"resourceType\":\"Bundle\",\"resourceType\":\"Bundle\"}".into()),
        Mood::Slow,
    ] {
        fhir.becomes(mood);
        let since = Instant::now();
        let answer = host.decide(&ask());
        assert_eq!(answer.verdict(), ("indeterminate".into(), FAILED.into()));
        assert_eq!(answer.denial_status(), 503);
        assert!(since.elapsed() < Duration::from_secs(25), "it hangs");
        fhir.becomes(Mood::Well);
        until(&host, "relationship-encounter");
    }
    fhir.becomes(Mood::Status(500));
    for _ in 0..5 {
        assert_eq!(reason(&host, &ask()), FAILED);
    }
    let asked = fhir.asked().len();
    for _ in 0..20 {
        assert_eq!(reason(&host, &ask()), FAILED);
    }
    assert!(fhir.asked().len() <= asked + 2, "it is asked although it keeps failing");
    fhir.becomes(Mood::Well);
    until(&host, "relationship-encounter");
}

fn until(host: &Host, expected: &str) {
    let since = Instant::now();
    while reason(host, &ask()) != expected {
        assert!(since.elapsed() < Duration::from_secs(60), "{expected} does not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn search() -> Value {
    json!({
        "request": { "method": "GET", "url": "/Observation" }, "obligations": ["search-narrowing"],
        "subject": { "user": "Practitioner/17", "client": "app", "scope": "user/Observation.rs" },
    })
}

#[test]
fn an_answer_that_is_cut_off_decides_nothing() {
    let fhir = clinic(1);
    let (_world, host) = fhir.host("");
    for at in 0..4 {
        fhir.holds(encounter(&format!("e{at}"), "123", "Practitioner/17"));
    }
    assert_eq!(reason(&host, &ask()), "relationship-encounter", "five pages are read");
    fhir.holds(encounter("e4", "123", "Practitioner/17"));
    for _ in 0..8 {
        assert_eq!(reason(&host, &ask()), FAILED, "and the sixth could take away what they give");
    }
    assert_eq!(reason(&host, &search()), "too-many-patients", "a list that is cut off is not taken for whole");
    // One patient with too much on file is no reason to leave the server alone.
    fhir.holds(patient("124"));
    fhir.holds(encounter("x", "124", "Practitioner/17"));
    let body = with(&ask(), "/stored/Observation~19/subject/reference", json!("Patient/124"));
    assert_eq!(reason(&host, &body), "relationship-encounter");
}

#[test]
fn a_patient_the_server_cannot_tell_about_is_out_of_reach() {
    let fhir = clinic(100);
    let (_world, host) = fhir.host("");
    assert_eq!(reason(&host, &ask()), "relationship-encounter");
    let twice = json!([
        { "type": "replaced-by", "other": { "reference": "Patient/8" } },
        { "type": "replaced-by", "other": { "reference": "Patient/9" } },
    ]);
    fhir.holds(with(&patient("123"), "/link", twice));
    let known = host.admin("PUT", "/admin/v1/patients", &[], r#"{"patient":"123","birth_date":"1980-01-01"}"#);
    assert_eq!(known.status, 200);
    assert_eq!(reason(&host, &ask()), FAILED);
    fhir.holds(patient("123"));
    assert_eq!(reason(&host, &ask()), "relationship-encounter");
    let another = with(&practitioner(), "/id", json!("18"));
    fhir.shared.resources.lock().unwrap().insert("Practitioner/17".into(), another);
    assert_eq!(reason(&host, &ask()), FAILED, "somebody else was not asked about");
}

#[test]
fn a_person_closes_a_providers_own_chart() {
    let fhir = clinic(100);
    let (_world, host) = fhir.host("");
    fhir.holds(json!({
        "resourceType": "Person", "id": "p", "link": [
            { "target": { "reference": "Practitioner/17" } }, { "target": { "reference": "Patient/123" } },
        ],
    }));
    assert_eq!(reason(&host, &ask()), "own-chart");
}

/// An encounter names the role, and whoever plays it asks; or the role asks, and whoever plays it has left.
#[test]
fn a_role_counts_for_its_practitioner_and_ends_with_them() {
    let fhir = Fhir::new(100, None);
    let (_world, host) = fhir.host("");
    fhir.holds(patient("123"));
    fhir.holds(practitioner());
    fhir.holds(encounter("9", "123", "PractitionerRole/9"));
    let role = json!({ "resourceType": "PractitionerRole", "id": "9", "active": true });
    let of = |id: &str| with(&role, "/practitioner", json!({ "reference": format!("Practitioner/{id}") }));
    let as_role = with(&ask(), "/subject/user", json!("PractitionerRole/9"));
    fhir.holds(role.clone());
    assert_eq!(reason(&host, &ask()), "no-relationship", "nobody says whose role it is");
    fhir.holds(of("17"));
    for body in [&ask(), &as_role] {
        assert_eq!(reason(&host, body), "relationship-encounter");
        assert_eq!(
            reason(&host, &with(&search(), "/subject/user", body["subject"]["user"].clone())),
            "relationship-encounter"
        );
    }
    fhir.holds(with(&of("17"), "/active", json!(false)));
    assert_eq!((reason(&host, &ask()), reason(&host, &as_role)), ("no-relationship".into(), "user-not-active".into()));
    fhir.holds(of("17"));
    fhir.holds(with(&practitioner(), "/active", json!(false)));
    assert_eq!(reason(&host, &as_role), "user-not-active");
    fhir.holds(of("18"));
    assert_eq!(reason(&host, &as_role), "user-not-active", "whoever plays it is not there");
    fhir.holds(with(&of("18"), "/practitioner", json!({ "display": "somebody" })));
    assert_eq!(reason(&host, &as_role), FAILED);
    fhir.holds(of("17"));
    fhir.holds(practitioner());
    fhir.holds(json!({ "resourceType": "Person", "id": "p", "link": [
        { "target": { "reference": "Practitioner/17" } }, { "target": { "reference": "Patient/123" } },
    ] }));
    assert_eq!(reason(&host, &as_role), "own-chart");
}

/// What the directory knows of roles and of merged charts, the server is asked about too.
#[test]
fn what_the_directory_leads_to_is_asked_of_the_server() {
    let fhir = Fhir::new(100, None);
    let (world, host) = fhir.host("");
    let directory = |arguments: &[&str]| {
        let done = world.directory(arguments);
        assert_eq!(done.code, Some(0), "{done:?}");
    };
    fhir.holds(patient("123"));
    fhir.holds(practitioner());
    fhir.holds(encounter("9", "123", "PractitionerRole/9"));
    directory(&["set", "user", "PractitionerRole/9", r#"{"practitioner":"Practitioner/17"}"#]);
    let as_role = with(&ask(), "/subject/user", json!("PractitionerRole/9"));
    let role = json!({ "resourceType": "PractitionerRole", "id": "9", "active": true });
    fhir.holds(role.clone());
    assert_eq!([reason(&host, &ask()), reason(&host, &as_role)], ["relationship-encounter"; 2].map(str::to_owned));
    // The server knows better of the role, and of who played it.
    fhir.holds(with(&role, "/active", json!(false)));
    assert_eq!(
        [reason(&host, &ask()), reason(&host, &as_role)],
        ["no-relationship", "user-not-active"].map(str::to_owned)
    );
    fhir.holds(with(&role, "/practitioner", json!({ "reference": "Practitioner/18" })));
    assert_eq!(reason(&host, &ask()), "no-relationship");
    fhir.holds(role);
    fhir.holds(with(&practitioner(), "/active", json!(false)));
    assert_eq!(reason(&host, &as_role), "user-not-active");
    fhir.holds(practitioner());

    // A chart that was merged by hand: what the server knows of where it went counts.
    directory(&["set", "patient", "A", r#"{"merged_into":"B","birth_date":"1980"}"#]);
    directory(&["grant", "RelatedPerson/1", "B", "health-care-agent"]);
    fhir.holds(patient("B"));
    let of = |id: &str| {
        let subject = json!({ "user": "RelatedPerson/1", "client": "phr", "scope": "user/Patient.rs" });
        let body = json!({ "request": { "method": "GET", "url": format!("/Patient/{id}") }, "subject": subject });
        reason(&host, &body)
    };
    assert_eq!([of("A"), of("B")], ["relationship-health-care-agent"; 2].map(str::to_owned));
    fhir.holds(with(&patient("B"), "/deceasedDateTime", json!("2026-01-01")));
    assert_eq!([of("A"), of("B")], ["patient-deceased"; 2].map(str::to_owned));

    // A list of a role that only the server tells of, and a patient who is known as test data there alone.
    directory(&["forget", "user", "PractitionerRole/9"]);
    fhir.holds(json!({ "resourceType": "PractitionerRole", "id": "9", "active": true,
        "practitioner": { "reference": "Practitioner/17" } }));
    directory(&["grant", "PractitionerRole/9", "5", "treatment"]);
    fhir.holds(patient("5"));
    let narrowed = || host.decide(&search()).json()["obligations"][0]["url"].as_str().unwrap_or_default().to_owned();
    assert_eq!(narrowed(), "/Observation?patient=123,5");
    fhir.holds(with(&patient("5"), "/meta", json!({ "security": [{ "code": "HTEST" }] })));
    assert_eq!(narrowed(), "/Observation?patient=123");
}

/// Whom the directory relates a user to, the server is asked about too.
#[test]
fn a_search_knows_of_every_patient_what_a_read_knows() {
    let fhir = Fhir::new(100, None);
    fhir.holds(practitioner());
    fhir.holds(patient("1"));
    fhir.holds(with(&patient("2"), "/meta", json!({ "security": [{ "code": "HTEST" }] })));
    let (_world, host) = fhir.host("");
    for id in ["1", "2"] {
        let row = json!({ "user": "Practitioner/17", "patient": id, "kind": "treatment" });
        assert_eq!(host.admin("PUT", "/admin/v1/relationships", &[], &row.to_string()).status, 200);
        let record = json!({ "patient": id });
        assert_eq!(host.admin("PUT", "/admin/v1/patients", &[], &record.to_string()).status, 200);
    }
    let read = |id: &str| with(&ask(), "/stored/Observation~19/subject/reference", json!(format!("Patient/{id}")));
    let reasons = ["1", "2"].map(|id| reason(&host, &read(id)));
    assert_eq!(reasons, ["relationship-treatment", "test-mismatch"]);
    assert_eq!(host.decide(&search()).decided()["obligations"][0]["url"], "/Observation?patient=1");
}

#[test]
fn a_next_page_by_the_public_name_of_the_server_is_followed() {
    let fhir = Fhir::new(1, Some("https://ehr.example/fhir"));
    fhir.holds(patient("123"));
    fhir.holds(practitioner());
    fhir.holds(encounter("8", "123", "Practitioner/1"));
    fhir.holds(encounter("9", "123", "Practitioner/17"));
    let (_world, host) = fhir.host("");
    assert_eq!(reason(&host, &ask()), "relationship-encounter");
}

#[test]
fn a_next_page_elsewhere_is_not_followed() {
    let fhir = Fhir::new(1, Some("http://127.0.0.1:9/fhir"));
    fhir.holds(patient("123"));
    fhir.holds(practitioner());
    fhir.holds(encounter("8", "123", "Practitioner/17"));
    fhir.holds(encounter("9", "123", "Practitioner/17"));
    let (_world, host) = fhir.host("");
    assert_eq!(reason(&host, &ask()), FAILED);
}

#[test]
fn all_who_ask_at_once_share_one_answer_and_for_a_while_it_is_kept() {
    let fhir = clinic(100);
    let mut world = World::new();
    world.add(Guest::Rules, "0.1.0", r#"{"require_patient_records":true,"require_provider_records":true}"#);
    world.more = format!(
        "[fhir.default.facts]\nurl = \"http://{}/fhir\"\nallow_private = true\nmax_age_s = 60\ntimeout_ms = 30000\nwithout = [\"Person\", \"Group\"]\n",
        fhir.address
    );
    let host = world.start();
    let before = fhir.asked().len();
    let barrier = std::sync::Barrier::new(20);
    std::thread::scope(|scope| {
        for _ in 0..20 {
            scope.spawn(|| {
                let client = chartgate_tests::host::Client::new();
                barrier.wait();
                assert_eq!(client.decide(host.public, EHR, &ask()).verdict().1, "relationship-encounter");
            });
        }
    });
    fhir.holds(with(&practitioner(), "/active", json!(false)));
    assert_eq!(reason(&host, &ask()), "relationship-encounter", "for a minute at the most it is as it was");
    let mut asked = fhir.asked().split_off(before);
    asked.sort();
    let expected = [
        "/fhir/Appointment?patient=123&_count=200",
        "/fhir/CareTeam?patient=123&_count=200",
        "/fhir/Consent?patient=123&_count=200",
        "/fhir/Encounter?patient=123&_count=200",
        // Once for the chart, and once for whose general practitioner somebody is.
        "/fhir/Patient?_id=123&_count=200",
        "/fhir/Patient?_id=123&_count=200",
        "/fhir/Practitioner/17",
        "/fhir/PractitionerRole?practitioner=Practitioner%2F17&_count=200",
    ];
    assert_eq!(asked, expected);
}

#[test]
fn a_configuration_that_cannot_be_is_refused_naming_each_mistake() {
    for (more, member) in [
        ("max_age_s = 61", "fhir.default.facts.max_age_s"),
        ("timeout_ms = 0", "fhir.default.facts.timeout_ms"),
        ("timeout_ms = 30001", "fhir.default.facts.timeout_ms"),
        ("page_bytes = 1023", "fhir.default.facts.page_bytes"),
        ("zone = \"Middle/Earth\"", "fhir.default.facts.zone"),
        ("tenants = [\"No\"]", "fhir.default.facts.tenants"),
        ("url = \"http://ehr.example/fhir\"", "fhir.default.facts.url"),
        ("unheard_of = 1", "unheard_of"),
    ] {
        let mut world = World::with_rules();
        world.more = format!("[fhir.default.facts]\n{more}\n");
        let ended = chartgate_tests::host::run(&mut world.serve(), "");
        assert_eq!(ended.code, Some(2), "{more}: {}", ended.stderr);
        assert!(ended.stderr.contains(member), "{more}: {}", ended.stderr);
    }
}

//! `POST /v1/filter`: what of an answer may leave.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a failure here is a failed test")]

use std::sync::OnceLock;

use chartgate_tests::host::requests;
use chartgate_tests::host::{Answer, EHR, Guest, Host, PLAIN, World};
use serde_json::{Value, json};

fn shared() -> &'static (World, Host) {
    static HOST: OnceLock<(World, Host)> = OnceLock::new();
    HOST.get_or_init(|| {
        let mut world = World::with_rules();
        world.more = World::caller("gate", "gate-key", &["default"], &["decide", "filter", "vouch-subject"]);
        for (user, patient) in [("Practitioner/17", "123"), ("Practitioner/17", "124")] {
            assert_eq!(world.directory(&["grant", user, patient, "treatment"]).code, Some(0));
            let record = r#"{"birth_date":"1968-04-12"}"#;
            assert_eq!(world.directory(&["set", "patient", patient, record]).code, Some(0));
        }
        assert_eq!(world.directory(&["set", "user", "Practitioner/17", r#"{"status":"active"}"#]).code, Some(0));
        let host = world.start();
        (world, host)
    })
}

fn filter_as(key: &str, body: &Value) -> Answer {
    let key = format!("Bearer {key}");
    let host = &shared().1;
    host.client().send("POST", host.public, "/v1/filter", &[("authorization", &key)], body.to_string())
}

fn filter(body: &Value) -> Answer {
    filter_as("gate-key", body)
}

/// A clinician has searched, and the FHIR server answered this.
fn searched(scope: &str, entries: Vec<Value>) -> Value {
    json!({
        "decide": {
            "request": { "method": "GET", "url": "/Observation?_include=Observation:subject" },
            "subject": { "user": "Practitioner/17", "client": "growth-chart", "scope": scope },
            "obligations": ["search-narrowing", "response-filter"],
        },
        "bundle": { "resourceType": "Bundle", "type": "searchset", "total": entries.len(), "entry": entries },
    })
}

fn row(mode: &str, resource: Value) -> Value {
    json!({ "resource": resource, "search": { "mode": mode } })
}

fn observation(id: &str, patient: &str) -> Value {
    json!({ "resourceType": "Observation", "id": id, "subject": { "reference": format!("Patient/{patient}") } })
}

fn ids(answer: &Answer) -> Vec<String> {
    let bundle = &answer.json()["bundle"];
    let entries = bundle["entry"].as_array().cloned().unwrap_or_default();
    entries.iter().map(|entry| entry["resource"]["id"].as_str().unwrap_or("-").to_owned()).collect()
}

#[test]
fn rows_and_what_came_along_are_judged_each_for_itself() {
    let entries = vec![
        row("match", observation("1", "123")),
        row("match", observation("2", "999")),
        row("include", json!({ "resourceType": "Patient", "id": "123" })),
        row("include", json!({ "resourceType": "Patient", "id": "999" })),
        row("match", observation("3", "124")),
        row(
            "outcome",
            json!({ "resourceType": "OperationOutcome", "issue": [{ "severity": "warning", "code": "not-found", "diagnostics": "Patient/999" }] }),
        ),
    ];
    let answer = filter(&searched("user/Observation.rs user/Patient.rs", entries.clone()));
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(ids(&answer), ["1", "123", "3", "-"]);
    let json = answer.json();
    assert_eq!((json["removed"].as_u64(), &json["bundle"]["total"]), (Some(2), &Value::Null));
    assert!(!answer.text.contains("999"), "{}", answer.text);
    assert_eq!(answer.headers["chartgate-policy"], json["policy"]["digest"].as_str().unwrap());
    let answer = filter(&searched("user/Observation.rs", entries));
    assert_eq!(ids(&answer), ["1", "3", "-"], "no scope for patients");
}

#[test]
fn what_left_is_on_record_by_its_digest() {
    let (world, _) = shared();
    let entries = vec![row("match", observation("1", "123")), row("match", observation("2", "999"))];
    let answer = filter(&searched("user/Observation.rs", entries));
    let record = world.record(&answer.json()["id"]);
    assert_eq!(
        (record["schema"].as_str(), record["decision"].as_str()),
        (Some("chartgate-filter/1"), Some("filtered"))
    );
    let items = record["items"].as_array().unwrap();
    let digest = chartgate_runtime::sha256(observation("1", "123").to_string().as_bytes());
    assert_eq!(format!("sha256:{}", items[0]["sha256"].as_str().unwrap()), digest);
    assert_eq!((&items[0]["hidden"], items[1]["hidden"].as_str()), (&Value::Null, Some("no-relationship")));
    let permitted = world.record(&record["permitted_by"]);
    assert_eq!(
        (permitted["schema"].as_str(), permitted["face"].as_str()),
        (Some("chartgate-decision/1"), Some("filter"))
    );
    assert!(!record.to_string().contains("resourceType"), "an answer is not kept");
}

#[test]
fn one_resource_leaves_or_is_as_if_absent() {
    let body = |patient: &str| {
        json!({
            "decide": {
                "request": { "method": "GET", "url": "/Observation/1" },
                "subject": { "user": "Practitioner/17", "client": "growth-chart", "scope": "user/Observation.rs" },
                "obligations": ["response-filter"],
            },
            "resource": observation("1", patient),
        })
    };
    let kept = filter(&body("123")).json();
    assert_eq!((&kept["resource"], kept["removed"].as_u64()), (&observation("1", "123"), Some(0)));
    let hidden = filter(&body("999")).json();
    assert_eq!((&hidden["resource"], hidden["removed"].as_u64()), (&Value::Null, Some(1)));
    assert_eq!(hidden["denial"]["status"], 404);
    let mut absent = body("999");
    absent["decide"]["resource"] = json!(null);
    absent["decide"]["stored"] = json!({ "Observation/1": null });
    absent["decide"].as_object_mut().unwrap().remove("resource");
    assert_eq!(
        filter(&absent).json()["denial"]["outcome"],
        hidden["denial"]["outcome"],
        "hidden and absent look alike"
    );
}

#[test]
fn nothing_leaves_that_was_not_permitted() {
    let answer = filter(&searched("user/Condition.rs", vec![row("match", observation("1", "123"))]));
    let json = answer.json();
    assert_eq!(
        (answer.verdict(), json["denial"]["status"].as_u64()),
        (("deny".into(), "scope-insufficient".into()), Some(403))
    );
    assert!(json.get("bundle").is_none() && !answer.text.contains("Observation"), "{}", answer.text);
    let mut unmet = searched("user/Observation.rs", vec![]);
    unmet["decide"]["obligations"] = json!([]);
    assert_eq!(filter(&unmet).verdict().0, "deny");
}

#[test]
fn what_is_no_answer_is_a_400_that_names_the_member() {
    let good = searched("user/Observation.rs", vec![row("match", observation("1", "123"))]);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        filter(&body).problem()
    };
    let bad = |member: &str| (400, member.to_owned());
    assert_eq!(with(&|body| drop(body.as_object_mut().unwrap().remove("bundle"))), bad("bundle"));
    assert_eq!(with(&|body| body["resource"] = observation("1", "123")), bad("bundle"));
    assert_eq!(with(&|body| body["bundle"]["type"] = json!("batch")), bad("bundle.type"));
    assert_eq!(with(&|body| body["bundle"]["entry"][0]["resource"] = json!(7)), bad("bundle.entry[0].resource"));
    assert_eq!(with(&|body| body["more"] = json!(1)), bad("more"));
    assert_eq!(with(&|body| body["decide"]["subject"]["user"] = json!("x")), bad("decide.subject.kind"));
    assert_eq!(with(&|body| body["decide"]["simulate"] = json!(true)).0, 403, "a right is missing");
    let twice = good.to_string().replacen(r#""id":"1""#, r#""id":"1","id":"1""#, 1);
    let host = &shared().1;
    let headers = [("authorization", "Bearer gate-key")];
    let answer = host.client().send("POST", host.public, "/v1/filter", &headers, twice);
    assert_eq!(answer.problem().0, 400, "{}", answer.text);
}

#[test]
fn the_right_to_filter_is_needed() {
    let body = searched("user/Observation.rs", vec![]);
    assert_eq!(filter_as(PLAIN, &body).status, 403);
    assert_eq!(filter_as(EHR, &body).status, 403);
    assert_eq!(filter_as("nobody", &body).status, 401);
}

/// Two megabytes and a thousand rows, which no decision would take.
#[test]
fn a_long_answer_is_judged_to_its_end() {
    let padding = "x".repeat(2_000);
    let entry = |at: usize| {
        let patient = if at.is_multiple_of(3) { "123" } else { "999" };
        let mut resource = observation(&at.to_string(), patient);
        resource["note"] = json!([{ "text": padding }]);
        row("match", resource)
    };
    let answer = filter(&searched("user/Observation.rs", (0..2_000).map(entry).collect()));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let found = ids(&answer);
    assert_eq!(found.len(), 667);
    assert!(found.iter().all(|id| id.parse::<usize>().unwrap().is_multiple_of(3)));
}

/// A permitted search of a clinician, and what binds its answer to it.
fn bound(host: &Host, key: &str) -> (Value, String) {
    let body = searched("user/Observation.rs", vec![])["decide"].clone();
    let key = format!("Bearer {key}");
    let answer = host.client().send("POST", host.public, "/v1/decide", &[("authorization", &key)], body.to_string());
    assert_eq!(answer.verdict().0, "permit", "{}", answer.text);
    let told = answer.json();
    (told.clone(), told["binding"].as_str().unwrap_or_default().to_owned())
}

fn rows() -> Value {
    let entries = vec![row("match", observation("1", "123")), row("match", observation("2", "999"))];
    json!({ "resourceType": "Bundle", "type": "searchset", "entry": entries })
}

#[test]
fn a_binding_stands_for_the_request_it_was_given_for() {
    let host = &shared().1;
    let (_, binding) = bound(host, "gate-key");
    let answer = filter(&json!({ "binding": binding, "bundle": rows() }));
    assert_eq!(ids(&answer), ["1"], "{}", answer.text);
    let bad = (400, "binding".to_owned());
    let refused = |binding: &str| filter(&json!({ "binding": binding, "bundle": rows() })).problem();
    let (head, rest) = binding.split_once('.').unwrap();
    let (claims, signature) = rest.split_once('.').unwrap();
    let other = format!("{head}.{}.{signature}", claims.chars().rev().collect::<String>());
    for tampered in [other.as_str(), &binding[..binding.len() - 2], "", "x.y.z"] {
        assert_eq!(refused(tampered), bad);
    }
    let both =
        json!({ "binding": binding, "decide": searched("user/Observation.rs", vec![])["decide"], "bundle": rows() });
    assert_eq!(filter(&both).problem(), bad);
    assert_eq!(filter(&json!({ "bundle": rows() })).problem(), bad);
    // Another caller's.
    let (_, of_ehr) = bound(host, EHR);
    assert_eq!(refused(&of_ehr), bad);
    // Who only asks what would be gets none.
    let mut would = searched("user/Observation.rs", vec![])["decide"].clone();
    would["simulate"] = json!(true);
    assert!(host.decide_as(EHR, &would).json().get("binding").is_none());
    // Nothing comes after a plain read.
    let plain = host.decide_as(EHR, &requests::read());
    assert_eq!((plain.verdict().0.as_str(), plain.json().get("binding")), ("permit", None), "{}", plain.text);
}

// D03: a policy swapped between the permit and the answer: both are judged by the release that permitted.
#[test]
fn an_answer_is_judged_by_the_release_that_permitted_its_request_and_by_the_facts_of_its_moment() {
    let mut world = World::with_rules();
    world.more = World::caller("gate", "gate-key", &["default"], &["decide", "filter", "vouch-subject"]);
    assert_eq!(world.directory(&["grant", "Practitioner/17", "123", "treatment"]).code, Some(0));
    assert_eq!(world.directory(&["set", "patient", "123", r#"{"birth_date":"1968-04-12"}"#]).code, Some(0));
    assert_eq!(world.directory(&["set", "user", "Practitioner/17", r#"{"status":"active"}"#]).code, Some(0));
    world.add(Guest::Rules, "0.2.0", r#"{"role_membership":true}"#);
    let host = world.start();
    assert_eq!(host.roll_out(&json!({ "active": "smart-access@0.1.0" })).status, 200);
    let (told, binding) = bound(&host, "gate-key");
    let first = told["policy"]["digest"].as_str().unwrap().to_owned();
    assert_eq!(host.roll_out(&json!({ "active": "smart-access@0.2.0" })).status, 200);
    let (told, _) = bound(&host, "gate-key");
    assert_ne!(told["policy"]["digest"], json!(first), "the release was changed");
    let send = |path: &str, body: &Value| {
        let headers = [("authorization", "Bearer gate-key")];
        host.client().send("POST", host.public, path, &headers, body.to_string())
    };
    let answer = send("/v1/filter", &json!({ "binding": binding, "bundle": rows() }));
    assert_eq!((ids(&answer), &answer.json()["policy"]["digest"]), (vec!["1".into()], &json!(first)));
    // What was true a moment ago does not count.
    assert_eq!(world.directory(&["revoke", "Practitioner/17", "123", "treatment"]).code, Some(0));
    let answer = send("/v1/filter", &json!({ "binding": binding, "bundle": rows() }));
    assert!(ids(&answer).is_empty(), "{}", answer.text);
}

#[test]
fn of_one_resource_that_is_hidden_there_is_no_answer() {
    let history = |entries: Vec<Value>| {
        let mut body = searched("user/Observation.rs", vec![]);
        body["decide"]["request"]["url"] = json!("/Observation/2/_history");
        body["bundle"] = json!({ "resourceType": "Bundle", "type": "history", "entry": entries });
        filter(&body)
    };
    let version =
        |patient: &str| json!({ "resource": observation("2", patient), "request": { "method": "PUT", "url": "x" } });
    let hidden = history(vec![version("999")]).json();
    assert_eq!((&hidden["denial"]["status"], hidden.get("bundle")), (&json!(404), None), "{hidden}");
    let partly = history(vec![version("123"), version("999")]).json();
    assert_eq!((&partly["removed"], partly.get("denial")), (&json!(1), None), "{partly}");
}

#[test]
fn an_answer_without_a_body_cannot_be_filtered() {
    let asked = |method: &str| {
        let mut body = searched("user/Observation.rs", vec![])["decide"].clone();
        body["request"] = json!({ "method": method, "url": "/Observation/2/_history" });
        shared().1.decide_as("gate-key", &body).verdict().0
    };
    assert_eq!((asked("GET"), asked("HEAD")), ("permit".into(), "deny".into()));
}

#[test]
fn a_link_to_another_page_is_followed_by_whom_it_was_given_to() {
    let host = &shared().1;
    let (_, binding) = bound(host, "gate-key");
    let page = |change: &dyn Fn(&mut Value)| {
        let mut body = searched("user/Observation.rs", vec![])["decide"].clone();
        body["request"] = json!({ "method": "GET", "url": "/?_getpages=6ca9ba6f&_getpagesoffset=20" });
        body["binding"] = json!(binding);
        change(&mut body);
        let headers = [("authorization", "Bearer gate-key")];
        host.client().send("POST", host.public, "/v1/decide", &headers, body.to_string())
    };
    let answer = page(&|_| {});
    assert_eq!(answer.verdict().0, "permit", "{}", answer.text);
    assert_eq!(answer.json()["obligations"], json!([{ "id": "response-filter" }]));
    assert_eq!(answer.json()["binding"], json!(binding));
    let bad = (400, "binding".to_owned());
    assert_eq!(page(&|body| body["subject"]["scope"] = json!("user/*.rs")).problem(), bad, "another token");
    assert_eq!(page(&|body| body["subject"]["patient"] = json!("123")).problem(), bad);
    let not_a_get = page(&|body| body["request"]["method"] = json!("POST"));
    assert_eq!(not_a_get.problem(), (400, "request.method".into()));
    // What is no page but does something, or is answered later.
    for (name, value) in [("x-http-method-override", "DELETE"), ("prefer", "respond-async"), ("accept", "text/xml")] {
        let answer = page(&|body| body["request"]["headers"] = json!({ name: value }));
        assert_eq!(answer.problem(), (400, format!("request.headers.{name}")));
    }
    for url in ["/Observation/2?_method=DELETE", "/$export", "/Patient/2/$everything", "/Observation?_format=xml"] {
        assert_eq!(page(&|body| body["request"]["url"] = json!(url)).problem(), (400, "request.url".into()), "{url}");
    }
    assert_eq!(page(&|body| body["obligations"] = json!(["search-narrowing"])).problem(), (400, "obligations".into()));
    for url in ["https://other.example/fhir?_getpages=1", "/Patient/../x", "/a%2Fb"] {
        assert_eq!(page(&|body| body["request"]["url"] = json!(url)).problem(), (400, "request.url".into()), "{url}");
    }
    // Without the binding nobody knows whose page it is.
    let alone = page(&|body| drop(body.as_object_mut().unwrap().remove("binding")));
    assert_eq!(alone.verdict(), ("deny".into(), "search-parameter-refused".into()));
}

/// Rows with members left out are hidden, and a page without rows would be taken for the last.
#[test]
fn pages_that_cannot_be_judged_are_refused_and_those_that_can_are_not() {
    let host = &shared().1;
    let headers = [("authorization", "Bearer gate-key")];
    let send = |body: &Value| host.client().send("POST", host.public, "/v1/decide", &headers, body.to_string());
    let second = |more: &str| {
        let mut body = searched("user/Observation.rs", vec![])["decide"].clone();
        body["request"]["url"] = json!(format!("/Observation?patient=123&_count=10{more}"));
        body["obligations"] = json!(["search-narrowing", "response-filter"]);
        let first = send(&body);
        assert_eq!(first.verdict().0, "permit", "{}", first.text);
        body["binding"] = first.json()["binding"].clone();
        body["request"] = json!({ "method": "GET", "url": "/?_getpages=6ca9ba6f&_getpagesoffset=10" });
        send(&body)
    };
    for more in ["", "&_total=accurate", "&_summary=false", "&_revinclude=*"] {
        let page = second(more);
        assert_eq!(page.verdict().0, "permit", "{more}: {}", page.text);
        assert_eq!(page.json()["obligations"], json!([{ "id": "response-filter" }]));
    }
    for more in ["&_elements=code,subject", "&_summary=true"] {
        let refused = second(more);
        assert_eq!(refused.problem(), (400, "binding".into()), "{more}");
        assert!(refused.text.contains("_elements"), "{}", refused.text);
    }
}

/// As many and as large as servers send them, by an app with the scopes that apps have: within what a policy call may use.
#[test]
fn an_answer_of_ordinary_size_is_judged_whole() {
    let types = [
        "AllergyIntolerance",
        "CarePlan",
        "CareTeam",
        "Condition",
        "Coverage",
        "Device",
        "DiagnosticReport",
        "DocumentReference",
        "Encounter",
        "Goal",
        "Immunization",
        "Location",
        "MedicationDispense",
        "MedicationRequest",
        "Observation",
        "Organization",
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Procedure",
        "Provenance",
        "QuestionnaireResponse",
        "RelatedPerson",
        "ServiceRequest",
        "Specimen",
    ];
    let scope: Vec<String> = types.iter().map(|name| format!("user/{name}.rs")).collect();
    let large = |id: usize, bytes: usize| {
        let mut resource = observation(&id.to_string(), "123");
        let component = json!({
            "code": { "coding": [{ "system": "http://loinc.org", "code": "8480-6", "display": "Systolic" }] },
            "valueQuantity": { "value": 107, "unit": "mmHg", "code": "mm[Hg]" },
        });
        let count = bytes / component.to_string().len();
        resource["component"] = json!(vec![component; count]);
        row("match", resource)
    };
    let rows = (0..300).map(|id| large(id, 2_048)).chain((300..303).map(|id| large(id, 900_000))).collect();
    let answer = filter(&searched(&scope.join(" "), rows));
    assert_eq!(
        (answer.status, ids(&answer).len()),
        (200, 303),
        "{}",
        answer.text.chars().take(300).collect::<String>()
    );
}

/// What a search brings along by `_revinclude`: of rows that stay, and of nobody else's.
#[test]
fn a_provenance_stays_with_what_it_is_about() {
    let provenance = |id: &str, targets: &[&str]| {
        let targets: Vec<_> = targets.iter().map(|target| json!({ "reference": target })).collect();
        json!({ "resourceType": "Provenance", "id": id, "recorded": "2026-11-01T00:00:00Z", "target": targets })
    };
    let rows = vec![
        row("match", observation("7", "123")),
        row("match", observation("8", "999")),
        row("match", observation("9", "123")),
        row("include", observation("9", "999")),
        row("include", provenance("of-a-version", &["Observation/9"])),
        row("include", provenance("patient-too", &["Patient/123", "Observation/8"])),
        row("include", provenance("own", &["Observation/7"])),
        row("include", provenance("theirs", &["Observation/8"])),
        row("include", provenance("both", &["Observation/7", "Observation/8"])),
        row("include", provenance("elsewhere", &["Observation/77"])),
    ];
    let kept = |scope: &str| {
        let mut body = searched(scope, rows.clone());
        body["decide"]["request"]["url"] = json!("/Observation?_lastUpdated=gt2026&_revinclude=Provenance:target");
        let answer = filter(&body);
        assert_eq!(answer.status, 200, "{}", answer.text);
        ids(&answer)
    };
    assert_eq!(kept("user/Observation.rs user/Provenance.rs"), ["7", "9", "own"]);
    assert_eq!(kept("user/Observation.rs user/Provenance.s"), ["7", "9"]);
}

/// RFC 9110, section 13: an answer without content would tell by its status what nobody judged.
#[test]
fn a_conditional_read_is_not_left_to_a_filter() {
    let host = &shared().1;
    for name in ["If-None-Match", "If-Modified-Since"] {
        let mut body = searched("user/*.rs", vec![])["decide"].clone();
        body["request"] = json!({ "method": "GET", "url": "/Observation/2", "headers": { name: "W/\"3\"" } });
        let asked = host.client().decide(host.public, "gate-key", &body);
        assert_eq!(asked.verdict(), ("deny".into(), "content-missing".into()), "{name}");
        body["stored"] = json!({ "Observation/2": observation("2", "123") });
        assert_eq!(host.client().decide(host.public, "gate-key", &body).verdict().0, "permit");
    }
    let entry = |more: Value| {
        let mut request = json!({ "method": "GET", "url": "Observation/2" });
        request.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        json!([{ "request": request }])
    };
    let unchanged = json!([{ "response": { "status": "304", "etag": "W/\"3\"" } }]);
    let answer = filter(&batched("user/*.rs", &entry(json!({ "ifNoneMatch": "W/\"3\"" })), &unchanged));
    assert!(answer.text.contains("404") && !answer.text.contains("304"), "{}", answer.text);
    // Absent and hidden look the same, whatever the server says with them.
    let absent = [
        json!({ "response": { "status": "404" } }),
        json!({ "response": { "status": "404", "outcome": { "resourceType": "OperationOutcome" } } }),
        json!({ "response": { "status": "404" }, "resource": { "resourceType": "OperationOutcome" } }),
        json!({ "response": { "status": "200" }, "resource": observation("2", "999") }),
    ];
    let entries = absent
        .map(|one| filter(&batched("user/*.rs", &entry(json!({})), &json!([one]))).json()["bundle"]["entry"].clone());
    assert!(entries.iter().all(|one| *one == entries[0]), "{entries:?}");
}

/// A deletion, and a history of a time to come, would tell that something is there.
#[test]
fn a_history_of_one_that_shows_nothing_is_that_of_none() {
    for entries in [
        json!([]),
        json!([{ "request": { "method": "DELETE", "url": "Observation/2" }, "response": { "status": "204" } }]),
    ] {
        let mut body = searched("user/*.rs", vec![]);
        body["decide"]["request"]["url"] = json!("/Observation/2/_history");
        body["bundle"] = json!({ "resourceType": "Bundle", "type": "history", "entry": entries });
        let answer = filter(&body).json();
        assert_eq!((&answer["denial"]["status"], answer.get("bundle")), (&json!(404), None), "{answer}");
    }
}

/// A batch of these entries by a clinician, and the answer to each.
fn batched(scope: &str, entries: &Value, answers: &Value) -> Value {
    json!({
        "decide": {
            "request": {
                "method": "POST", "url": "/", "headers": { "content-type": "application/fhir+json" },
                "body": { "resourceType": "Bundle", "type": "batch", "entry": entries },
            },
            "subject": { "user": "Practitioner/17", "client": "growth-chart", "scope": scope },
            "obligations": ["search-narrowing", "response-filter", "batch-entries", "return-minimal"],
        },
        "bundle": { "resourceType": "Bundle", "type": "batch-response", "entry": answers },
    })
}

#[test]
fn each_answer_of_a_batch_is_judged_for_itself() {
    let get = |url: &str| json!({ "request": { "method": "GET", "url": url } });
    let batch = json!([get("Observation?patient=123"), get("Patient/999"), get("Patient/123"), get("Observation/7")]);
    let answers = |entries: Value| batched("user/*.rs", &batch, &entries);
    let done = |resource: Value| json!({ "resource": resource, "response": { "status": "200", "outcome": { "resourceType": "OperationOutcome" } } });
    let patient = |id: &str| json!({ "resourceType": "Patient", "id": id });
    let good =
        answers(json!([done(rows()), done(patient("999")), done(patient("123")), done(observation("7", "999"))]));
    let answer = filter(&good);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let entries = answer.json()["bundle"]["entry"].clone();
    assert_eq!(entries[0]["resource"]["entry"].as_array().unwrap().len(), 1, "{entries}");
    assert_eq!((&entries[1]["response"]["status"], entries[1].get("resource")), (&json!("404"), None));
    assert_eq!(entries[2]["resource"], patient("123"));
    assert_eq!((&entries[3]["response"]["status"], entries[3].get("resource")), (&json!("404"), None));
    assert_eq!(entries[1]["response"], entries[3]["response"], "hidden and denied look alike");
    assert!(!answer.text.contains("999") && entries[2]["response"].get("outcome").is_none(), "{}", answer.text);
    assert_eq!(filter(&answers(json!([done(rows())]))).problem(), (400, "bundle.entry".into()));
    let mut other = good.clone();
    other["bundle"]["type"] = json!("searchset");
    assert_eq!(filter(&other).problem(), (400, "bundle.type".into()));
    other["decide"]["request"]["body"]["entry"] = json!([get("Patient/999")]);
    assert_eq!(filter(&other).verdict(), ("deny".into(), "batch-denied".into()));
}

#[test]
fn what_is_nobodys_leaves_a_batch_as_it_came_and_rows_are_judged_whatever_gave_them() {
    let get = |url: &str| json!({ "request": { "method": "GET", "url": url } });
    let asked = json!([get("CodeSystem/$lookup?code=a"), get("metadata"), get("Observation/$lastn?patient=123&max=1")]);
    let done = |resource: &Value| json!({ "resource": resource, "response": { "status": "200" } });
    let looked_up = json!({ "resourceType": "Parameters", "parameter": [{ "name": "display", "valueString": "A" }] });
    let server = json!({ "resourceType": "CapabilityStatement", "status": "active" });
    let answer = filter(&batched("user/*.rs", &asked, &json!([done(&looked_up), done(&server), done(&rows())])));
    assert_eq!(answer.status, 200, "{}", answer.text);
    let entries = answer.json()["bundle"]["entry"].clone();
    assert_eq!((&entries[0]["resource"], &entries[1]["resource"]), (&looked_up, &server), "{entries}");
    assert_eq!(entries[2]["resource"]["entry"].as_array().unwrap().len(), 1, "{entries}");
    assert!(!answer.text.contains("999"), "{}", answer.text);
}

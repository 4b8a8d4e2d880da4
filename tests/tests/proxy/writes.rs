//! Writes, bundles, histories and the rest: what is not permitted is not done, and what is done is what was judged.

use chartgate_tests::host::{Answer, Client};
use serde_json::{Value, json};

use super::front::Front;
use super::searches::{hapi, sekmet};

fn observation(id: &str, patient: &str) -> Value {
    json!({ "resourceType": "Observation", "id": id, "status": "final", "subject": { "reference": format!("Patient/{patient}") },
        "code": { "coding": [{ "system": "urn:example:codes", "code": "W-1" }] }, "valueQuantity": { "value": 1.5, "unit": "mg" } })
}

fn status(front: &Front, path: &str) -> u16 {
    front.server.send("GET", path, &[], "").status
}

fn put(front: &Front, resource: &Value) -> Answer {
    let path = format!("/{}/{}", resource["resourceType"].as_str().unwrap(), resource["id"].as_str().unwrap());
    let answer = front.server.send("PUT", &path, &[], &resource.to_string());
    assert!(matches!(answer.status, 200 | 201), "{}", answer.text);
    answer
}

fn version(front: &Front, path: &str) -> String {
    front.server.send("GET", path, &[], "").json()["meta"]["versionId"].as_str().unwrap().to_owned()
}

fn is_outcome(answer: &Answer, status: u16) {
    assert_eq!(answer.status, status, "{}", answer.text);
    assert_eq!(answer.json()["resourceType"], "OperationOutcome");
    assert!(answer.header("content-type").starts_with("application/fhir+json"));
}

/// A patient writes into their own chart and into nobody else's.
fn writes(front: &Front) {
    let _turn = front.turn();
    let mut own = observation("x", "p1");
    own.as_object_mut().unwrap().remove("id");
    let created = front.send("patient", "POST", "/Observation", &[], &own.to_string());
    assert_eq!(created.status, 201, "{}", created.text);
    let location = created.header("location").to_owned();
    assert!(location.starts_with(front.clinic.base()), "{location}");
    let path = location.strip_prefix(front.clinic.base()).unwrap().split("/_history").next().unwrap().to_owned();
    let read = front.get("patient", &path);
    assert_eq!((read.status, &read.json()["valueQuantity"]["value"]), (200, &json!(1.5)));
    // Nobody who may not see it finds it.
    assert_eq!(front.get("proxy", &path).status, 404);

    // In somebody else's chart, from the beginning or by a change.
    let before = front.server.search("/Observation?patient=p2").matches.len();
    let stranger = front.send("patient", "POST", "/Observation", &[], &observation("x", "p2").to_string());
    is_outcome(&stranger, 404);
    assert_eq!(front.server.search("/Observation?patient=p2").matches.len(), before);
    let mut moved = read.json();
    moved["subject"]["reference"] = json!("Patient/p2");
    is_outcome(&front.send("patient", "PUT", &path, &[], &moved.to_string()), 404);
    put(front, &observation("w2", "p2"));
    let mut taken = observation("w2", "p1");
    is_outcome(&front.send("patient", "PUT", "/Observation/w2", &[], &taken.to_string()), 404);
    taken["id"] = json!("other");
    is_outcome(&front.send("patient", "PUT", "/Observation/w2", &[], &taken.to_string()), 404);
    is_outcome(&front.send("patient", "DELETE", "/Observation/w2", &[], ""), 404);
    let patch = json!([{ "op": "replace", "path": "/status", "value": "amended" }]).to_string();
    let by_patch = [("content-type", "application/json-patch+json")];
    is_outcome(&front.send("patient", "PATCH", "/Observation/w2", &by_patch, &patch), 404);
    assert_eq!(front.server.send("GET", "/Observation/w2", &[], "").json()["status"], "final");

    // Their own: with the version they know, and not with another.
    let version_of = version(front, &path);
    let mut changed = read.json();
    changed["status"] = json!("amended");
    let stale = format!("W/\"{version_of}9\"");
    is_outcome(&front.send("patient", "PUT", &path, &[("if-match", &stale)], &changed.to_string()), 412);
    let current = format!("W/\"{version_of}\"");
    let updated = front.send("patient", "PUT", &path, &[("if-match", &current)], &changed.to_string());
    assert_eq!(updated.status, 200, "{}", updated.text);
    let patch = json!([{ "op": "replace", "path": "/status", "value": "corrected" }]).to_string();
    let patched = front.send("patient", "PATCH", &path, &by_patch, &patch);
    assert_eq!(patched.status, 200, "{}", patched.text);
    assert_eq!(front.server.send("GET", &path, &[], "").json()["status"], "corrected");
    let away = json!([{ "op": "replace", "path": "/subject/reference", "value": "Patient/p2" }]).to_string();
    is_outcome(&front.send("patient", "PATCH", &path, &by_patch, &away), 404);
    let silent = front.send("patient", "PUT", &path, &[("prefer", "return=minimal")], &changed.to_string());
    assert_eq!((silent.status, silent.text.as_str()), (200, ""));
    let gone = front.send("patient", "DELETE", &path, &[], "");
    assert!(matches!(gone.status, 200 | 204), "{}", gone.text);
    is_outcome(&front.get("patient", &path), 404);

    // Nobody makes patients.
    is_outcome(&front.send("loader", "POST", "/Patient", &[], r#"{"resourceType":"Patient"}"#), 403);
}

/// By criteria: what they find is judged, and they find nobody out of reach.
fn conditional_writes(front: &Front) {
    let _turn = front.turn();
    let with = |patient: &str, value: &str| {
        let mut one = observation("x", patient);
        one.as_object_mut().unwrap().remove("id");
        one["identifier"] = json!([{ "system": "urn:example:w", "value": value }]);
        one
    };
    let criteria = "identifier=urn:example:w|c1&patient=p1";
    let create =
        |body: &Value| front.send("patient", "POST", "/Observation", &[("if-none-exist", criteria)], &body.to_string());
    let first = create(&with("p1", "c1"));
    assert_eq!(first.status, 201, "{}", first.text);
    let again = create(&with("p1", "c1"));
    assert!(matches!(again.status, 200 | 201), "{}", again.text);
    assert_eq!(front.server.search("/Observation?identifier=urn:example:w|c1").matches.len(), 1);

    let mut changed = with("p1", "c1");
    changed["status"] = json!("amended");
    let updated = front.send("patient", "PUT", &format!("/Observation?{criteria}"), &[], &changed.to_string());
    assert_eq!(updated.status, 200, "{}", updated.text);
    let there = front.server.search("/Observation?identifier=urn:example:w|c1").matches;
    assert_eq!((there.len(), &there[0]["status"]), (1, &json!("amended")));
    // A stranger's, by criteria that find it.
    put(front, &{
        let mut one = with("p2", "c2");
        one["id"] = json!("w3");
        one
    });
    let theirs = "/Observation?identifier=urn:example:w|c2";
    let answer = front.send("patient", "PUT", theirs, &[], &with("p1", "c2").to_string());
    assert!(matches!(answer.status, 403 | 404), "{}", answer.text);
    let answer = front.send("patient", "DELETE", theirs, &[], "");
    assert!(matches!(answer.status, 403 | 404), "{}", answer.text);
    assert_eq!(front.server.send("GET", "/Observation/w3", &[], "").json()["subject"]["reference"], "Patient/p2");
    let gone = front.send("patient", "DELETE", &format!("/Observation?{criteria}"), &[], "");
    assert!(matches!(gone.status, 200 | 204), "{}", gone.text);
    assert!(front.server.search("/Observation?identifier=urn:example:w|c1").matches.is_empty());
}

/// What has to be there, and what must not be (RFC 9110, section 13.1).
fn preconditions(front: &Front) {
    let _turn = front.turn();
    put(front, &observation("q1", "p1"));
    put(front, &observation("q2", "p2"));
    let put = |id: &str, headers: &[(&str, &str)]| {
        front.send("patient", "PUT", &format!("/Observation/{id}"), headers, &observation(id, "p1").to_string())
    };
    let none = [("if-none-match", "*")];
    let before = version(front, "/Observation/q1");
    is_outcome(&put("q1", &none), 412);
    assert_eq!(version(front, "/Observation/q1"), before);
    is_outcome(&put("q1", &[("if-none-match", "W/\"7\"")]), 400);
    assert_eq!(put("q3", &none).status, 201);
    // Hidden and absent are one to who wants some version of it.
    let some = [("if-match", "W/\"1\"")];
    let (hidden, absent) = (put("q2", &some), put("q4", &some));
    assert_eq!((hidden.status, &hidden.text), (404, &absent.text));
    assert_eq!(absent.status, 404);
    let current = version(front, "/Observation/q1");
    let either = format!("W/\"0\", W/\"{current}\"");
    assert_eq!(put("q1", &[("if-match", &either)]).status, 200);
    let any = put("q1", &[("if-match", "*")]);
    assert_eq!(any.status, 200, "{}", any.text);

    let mut wants_some = entry("PUT", "Observation/q5", Some(observation("q5", "p1")));
    wants_some["request"]["ifMatch"] = json!("W/\"1\"");
    let of_hidden = entry("PUT", "Observation/q2", Some(observation("q2", "p1")));
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": [wants_some, of_hidden] });
    let answer = front.send("patient", "POST", "/", &[], &batch.to_string()).json();
    assert_eq!((&answer["entry"][0], statuses(&answer)), (&answer["entry"][1], vec!["404".into(), "404".into()]));
    assert_eq!(status(front, "/Observation/q5"), 404);

    // In a batch each entry fails for itself.
    let mut stale = entry("PUT", "Observation/q1", Some(observation("q1", "p1")));
    stale["request"]["ifMatch"] = json!("W/\"77\"");
    let mut there = entry("PUT", "Observation/q3", Some(observation("q3", "p1")));
    there["request"]["ifNoneMatch"] = json!("*");
    let rest = [
        entry("GET", "Observation/q1", None),
        entry("PUT", &format!("Observation/{}", "a".repeat(80)), Some(observation("q1", "p1"))),
        entry("DELETE", "Observation/..", None),
    ];
    let entries: Vec<Value> = [stale.clone(), there].into_iter().chain(rest).collect();
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": entries });
    let answer = front.send("patient", "POST", "/", &[], &batch.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(statuses(&answer.json()), ["412", "412", "200", "403", "403"], "{}", answer.text);
    let transaction = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [stale] });
    is_outcome(&front.send("patient", "POST", "/", &[], &transaction.to_string()), 412);
    let twice = json!({ "resourceType": "Bundle", "type": "batch", "entry": [
        entry("PUT", "Observation/q1", Some(observation("q1", "p1"))), entry("DELETE", "Observation/q1", None) ] });
    is_outcome(&front.send("patient", "POST", "/", &[], &twice.to_string()), 400);
}

/// What gives access is not written by a patch that says one thing here and does another there.
fn patches(front: &Front) {
    let _turn = front.turn();
    let operation = |parts: Value| json!({ "name": "operation", "part": parts });
    let delete = |path: &str| {
        operation(json!([{ "name": "type", "valueCode": "delete" }, { "name": "path", "valueString": path }]))
    };
    let add = operation(json!([
        { "name": "type", "valueCode": "add" }, { "name": "path", "valueString": "Patient" },
        { "name": "name", "valueString": "managingOrganization" },
        { "name": "value", "valueReference": { "reference": "Organization/org1" } }]));
    let of_doctor = operation(json!([
        { "name": "type", "valueCode": "add" }, { "name": "path", "valueString": "Patient" },
        { "name": "name", "valueString": "link" },
        { "name": "value", "valueReference": { "reference": "Patient/p2" } }]));
    let send = |operations: Value| {
        let patch = json!({ "resourceType": "Parameters", "parameter": operations });
        front.send("patient", "PATCH", "/Patient/p1", &[], &patch.to_string())
    };
    let before = front.server.send("GET", "/Patient/p1", &[], "").text;
    is_outcome(&send(json!([of_doctor, delete("Patient.linkReference"), delete("Patient.link")])), 404);
    is_outcome(&send(json!([delete("Patient.birth")])), 404);
    is_outcome(&send(json!([add, delete("Patient.managing")])), 404);
    assert_eq!(front.server.send("GET", "/Patient/p1", &[], "").text, before);
}

fn statuses(bundle: &Value) -> Vec<String> {
    let entries = bundle["entry"].as_array().unwrap();
    let status = |entry: &Value| entry["response"]["status"].as_str().unwrap_or("200").chars().take(3).collect();
    entries.iter().map(status).collect()
}

/// Some servers create whatever is posted in a bundle, and do not look at the URL.
fn posts_in_bundles(front: &Front) {
    let _turn = front.turn();
    let before = front.server.search("/Observation?patient=p2").matches.len();
    for url in
        ["ValueSet/$expand", "ValueSet/x/$expand", "CodeSystem/$lookup", "Observation/$validate", "Observation/_search"]
    {
        for kind in ["batch", "transaction"] {
            let entries = [entry("POST", url, Some(observation("x", "p2")))];
            let bundle = json!({ "resourceType": "Bundle", "type": kind, "entry": entries });
            let answer = front.send("patient", "POST", "/", &[], &bundle.to_string());
            match kind {
                "batch" => assert_eq!(statuses(&answer.json()), ["403"], "{url}: {}", answer.text),
                _ => is_outcome(&answer, 403),
            }
        }
    }
    let alone = front.send("patient", "POST", "/ValueSet/$expand", &[], &observation("x", "p2").to_string());
    assert!((400..500).contains(&alone.status), "{}", alone.text);
    assert_eq!(front.server.search("/Observation?patient=p2").matches.len(), before);
}

fn entry(method: &str, url: &str, resource: Option<Value>) -> Value {
    let mut entry = json!({ "request": { "method": method, "url": url } });
    if let Some(resource) = resource {
        entry["resource"] = resource;
    }
    entry
}

fn bundles(front: &Front) {
    let _turn = front.turn();
    put(front, &observation("b1", "p1"));
    put(front, &observation("b2", "p2"));
    put(front, &observation("b3", "p2"));
    let mut changed = observation("b1", "p1");
    changed["valueQuantity"]["value"] = json!(2.25);
    let entries = json!([
        entry("GET", "Observation/lab-p1", None),
        entry("GET", "Observation/lab-p2", None),
        entry("PUT", "Observation/b1", Some(changed.clone())),
        entry("PUT", "Observation/b2", Some(observation("b2", "p1"))),
        entry("GET", "Observation?patient=p1&category=laboratory", None),
        entry("GET", "Observation?category=laboratory", None),
        entry("DELETE", "Observation/b3", None),
        entry("GET", "Observation/absent", None),
    ]);
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": entries });
    let answer = front.send("patient", "POST", "/", &[], &batch.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text);
    front.is_ours(&answer.text);
    let answered = answer.json();
    assert_eq!(answered["type"], "batch-response");
    let statuses: Vec<String> = answered["entry"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["response"]["status"].as_str().unwrap_or("200").chars().take(3).collect())
        .collect();
    assert_eq!(statuses, ["200", "404", "200", "404", "200", "200", "404", "404"], "{answered:#}");
    assert_eq!(answered["entry"][0]["resource"]["id"], "lab-p1");
    let hidden = |at: usize| &answered["entry"][at];
    assert_eq!(hidden(1)["response"], hidden(7)["response"], "hidden and absent look the same");
    for at in [4, 5] {
        let rows = answered["entry"][at]["resource"]["entry"].as_array().unwrap();
        assert_eq!(rows.iter().map(|row| &row["resource"]["id"]).collect::<Vec<_>>(), [&json!("lab-p1")], "{at}");
    }
    // The rest of a search within it is behind a link of ours.
    let searches = json!([entry("GET", "Condition?_count=2", None)]);
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": searches });
    let answered = front.send("provider", "POST", "/", &[], &batch.to_string()).json();
    let inner = &answered["entry"][0]["resource"];
    let next = chartgate_tests::servers::link(inner, "next").unwrap();
    let page = front.get("provider", next.strip_prefix(front.clinic.base()).unwrap());
    assert_eq!((page.status, inner["entry"].as_array().unwrap().len()), (200, 2), "{}", page.text);
    let there = |id: &str| front.server.send("GET", &format!("/Observation/{id}"), &[], "").json();
    assert_eq!(there("b1")["valueQuantity"]["value"], json!(2.25));
    assert_eq!(there("b2")["subject"]["reference"], "Patient/p2");

    // A transaction is done whole or not at all.
    changed["valueQuantity"]["value"] = json!(3);
    let entries = json!([
        entry("PUT", "Observation/b1", Some(changed.clone())),
        entry("PUT", "Observation/b2", Some(observation("b2", "p2"))),
    ]);
    let transaction = |entries: Value| json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
    let before = version(front, "/Observation/b1");
    is_outcome(&front.send("patient", "POST", "/", &[], &transaction(entries).to_string()), 403);
    assert_eq!(version(front, "/Observation/b1"), before);
    let mut new = observation("x", "p1");
    new.as_object_mut().unwrap().remove("id");
    let entries = json!([entry("PUT", "Observation/b1", Some(changed)), entry("POST", "Observation", Some(new))]);
    let done = front.send("patient", "POST", "/", &[], &transaction(entries).to_string());
    assert_eq!(done.status, 200, "{}", done.text);
    assert_eq!(done.json()["entry"].as_array().unwrap().len(), 2);
    assert_eq!(there("b1")["valueQuantity"]["value"], json!(3));
}

/// Rows of a bundle by whose they are.
fn strangers(bundle: &Value, patient: &str) -> Vec<String> {
    let rows = bundle["entry"].as_array().into_iter().flatten();
    let text = rows.map(|row| row["resource"].to_string());
    text.filter(|text| text.contains("\"Patient/p") && !text.contains(&format!("\"Patient/{patient}\""))).collect()
}

fn histories(front: &Front) {
    let _turn = front.turn();
    put(front, &observation("h1", "p1"));
    put(front, &observation("h1", "p1"));
    put(front, &observation("h2", "p2"));
    let own = front.get("patient", "/Observation/h1/_history");
    assert_eq!(own.status, 200, "{}", own.text);
    assert!(!own.json()["entry"].as_array().unwrap().is_empty());
    is_outcome(&front.get("patient", "/Observation/h2/_history"), 404);
    is_outcome(&front.get("patient", "/Observation/absent/_history"), 404);
    let of_version = format!("/Observation/h1/_history/{}", version(front, "/Observation/h1"));
    assert_eq!(front.get("patient", &of_version).status, 200);
    let theirs = format!("/Observation/h2/_history/{}", version(front, "/Observation/h2"));
    is_outcome(&front.get("patient", &theirs), 404);
    for path in ["/Observation/_history", "/_history"] {
        let answer = front.get("patient", path);
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!(strangers(&answer.json(), "p1"), [""; 0], "{path}");
    }
}

fn everything(front: &Front) {
    let _turn = front.turn();
    let own = front.search("patient", "/Patient/p1/$everything").unwrap();
    let all: Vec<Value> = own.matches.into_iter().chain(own.included).collect();
    assert!(all.iter().any(|one| one["id"] == "p1") && all.iter().any(|one| one["id"] == "lab-p1"));
    for one in &all {
        assert!(front.may_see("patient", one), "a leak: {one}");
    }
    for stranger in ["/Patient/p2/$everything", "/Patient/absent/$everything"] {
        is_outcome(&front.get("patient", stranger), 404);
    }
}

fn pages(front: &Front) {
    let _turn = front.turn();
    let first = front.get("provider", "/Condition?_count=2").json();
    let next = chartgate_tests::servers::link(&first, "next").unwrap();
    let path = next.strip_prefix(front.clinic.base()).unwrap();
    assert_eq!(front.get("provider", path).status, 200);
    // Wishes for less are left unheard, so that all of it can be judged: on every page.
    let less = front.search("provider", "/Condition?_count=2&_elements=code").unwrap();
    assert_eq!(less.matches, front.search("provider", "/Condition?_count=2").unwrap().matches);
    // Somebody else's page, one that is none, and one without a token.
    is_outcome(&front.get("patient", path), 410);
    is_outcome(&front.get("provider", "/_page/none"), 410);
    is_outcome(&front.send("provider", "POST", path, &[], "{}"), 405);
    let anonymous = Client::new().send("GET", front.clinic.host.public, &format!("/fhir{path}"), &[], "");
    is_outcome(&anonymous, 401);
    // A link of the server itself is a search like any other.
    let direct = front.server.send("GET", "/Condition?_count=2", &[], "").json();
    let link = chartgate_tests::servers::link(&direct, "next").unwrap().strip_prefix(&front.server.url()).unwrap();
    let answer = front.get("patient", link);
    assert!(answer.status != 200 || strangers(&answer.json(), "p1").is_empty(), "{}", answer.text);
}

/// What could mean two things, or cannot be looked into, is refused aloud.
fn odds(front: &Front) {
    let _turn = front.turn();
    let get = |path: &str, headers: &[(&str, &str)]| front.send("patient", "GET", path, headers, "");
    is_outcome(&get("/Patient/p1", &[("accept", "application/fhir+xml")]), 406);
    is_outcome(&get("/Patient/p1?_format=xml", &[]), 400);
    assert_eq!(get("/Patient/p1", &[("x-client", "Jos\u{e9}")]).status, 200);
    assert_eq!(get("/Observation", &[("prefer", "handling=lenient, respond-async")]).status, 200);
    let basic = Client::new().send(
        "GET",
        front.clinic.host.public,
        "/fhir/Patient/p1",
        &[("authorization", "Basic Zm9vOmJhcg==")],
        "",
    );
    is_outcome(&basic, 401);
    assert!(basic.header("www-authenticate").starts_with("Bearer"));
    let meta = get("/Patient/p1/$meta", &[]);
    assert!(matches!(meta.status, 200 | 400 | 404 | 501), "{}", meta.text);
    is_outcome(&get("/Patient/p1", &[("x-http-method-override", "DELETE")]), 400);
    is_outcome(&get("/Patient/p1", &[("X-HTTP-Method", "DELETE")]), 400);
    for path in ["/Patient//p1", "/Patient/%70%31", "/Patient/p1;x", "/Binary/b", "/$export", "/nonsense"] {
        let answer = get(path, &[]);
        assert!((400..500).contains(&answer.status), "{path}: {} {}", answer.status, answer.text);
    }
    let body = observation("x", "p1").to_string();
    let packed = front.send("patient", "POST", "/Observation", &[("content-encoding", "gzip")], &body);
    is_outcome(&packed, 415);
    let xml = front.send("patient", "POST", "/Observation", &[("content-type", "application/fhir+xml")], "<a/>");
    is_outcome(&xml, 415);
    let read = get("/Patient/p1", &[]);
    let tag = read.header("etag").to_owned();
    if !tag.is_empty() {
        let same = get("/Patient/p1", &[("if-none-match", &tag)]);
        assert_eq!((same.status, same.text.as_str()), (304, ""));
        is_outcome(&get("/Patient/p2", &[("if-none-match", &tag)]), 404);
    }
    let head = front.send("patient", "HEAD", "/Patient/p1", &[], "");
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    assert_eq!(front.send("patient", "HEAD", "/Patient/p2", &[], "").status, 404);
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let searched = front.send("patient", "POST", "/Observation/_search", &form, "category=laboratory");
    assert_eq!(searched.status, 200, "{}", searched.text);
    assert_eq!(searched.json()["entry"].as_array().unwrap().len(), 1);
    for path in ["/metadata", "/.well-known/smart-configuration"] {
        let answer = Client::new().send(
            "GET",
            front.clinic.host.public,
            &format!("/fhir{path}"),
            &[("origin", "https://app.example")],
            "",
        );
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (200, "*"), "{path}");
    }
    let statement = front.get("patient", "/metadata").json();
    let security = &statement["rest"][0]["security"];
    assert_eq!(security["service"][0]["coding"][0]["code"], "SMART-on-FHIR");
    assert_eq!(security["extension"][0]["extension"][0]["url"], "authorize");
    // Absent and hidden are the same to the byte.
    let (hidden, absent) = (get("/Observation/lab-p2", &[]), get("/Observation/absent", &[]));
    assert_eq!((hidden.status, &hidden.text), (404, &absent.text));
    assert_eq!(status(front, "/Observation/lab-p2"), 200);
}

macro_rules! on_each {
    ($($name:ident),*) => {
        mod on_sekmet { $(#[test] fn $name() { super::$name(super::sekmet()); })* }
        mod on_hapi { $(#[test] fn $name() { super::$name(super::hapi()); })* }
    };
}
on_each!(
    writes,
    patches,
    conditional_writes,
    preconditions,
    posts_in_bundles,
    bundles,
    histories,
    everything,
    pages,
    odds
);

//! Several FHIR servers and tenants behind one host: each at its path, and what is for one is for no other.

use chartgate_tests::host::{Client, Guest, World};
use chartgate_tests::servers::{FhirServer, Make};
use chartgate_tests::signing::{Key, key_set, now_s};
use serde_json::{Value, json};

fn observation(id: &str, patient: &str, text: &str) -> Value {
    json!({ "resourceType": "Observation", "id": id, "status": "final", "code": { "text": text },
        "subject": { "reference": format!("Patient/{patient}") } })
}

#[test]
fn two_servers_of_two_tenants_behind_one_host() {
    let servers = [FhirServer::start(Make::Sekmet), FhirServer::start(Make::Sekmet)];
    for (server, text) in servers.iter().zip(["first", "second"]) {
        server.load(&[observation("o1", "p1", text), observation("o2", "p2", text)]);
    }
    let key = Key::new("k1");
    let port = chartgate_tests::tools::free_port();
    let mut world = World::new().at(port);
    world.add(Guest::Rules, "0.1.0", "{}");
    let jwks = world.path("jwks.json");
    std::fs::write(&jwks, key_set(&[&key])).unwrap();
    world.base = format!("http://127.0.0.1:{port}/fhir");
    let other = format!("http://127.0.0.1:{port}/clinic-2/r4");
    let issuer = |name: &str, base: &str, tenant: &str| {
        format!(
            "[[tokens]]\nissuer = \"https://{name}.example\"\naudiences = [\"urn:example:fhir\"]\nfhir = [{base:?}]\n\
             tenants = [{tenant:?}]\njwks_file = {jwks:?}\n"
        )
    };
    world.more = format!(
        "[proxy]\nupstream = {:?}\nallow_private = true\n[fhir.other]\nurl = {other:?}\nversion = \"4.0.1\"\n\
         [fhir.other.proxy]\nupstream = {:?}\nallow_private = true\ntenant = \"clinic-2\"\n{}{}",
        servers[0].url(),
        servers[1].url(),
        issuer("one", "default", "default"),
        issuer("two", "other", "clinic-2"),
    );
    let host = world.start();
    let token = |issuer: &str| {
        let now = now_s();
        let claims = json!({
            "iss": format!("https://{issuer}.example"), "aud": "urn:example:fhir", "exp": now + 300, "iat": now - 5,
            "sub": "u", "client_id": "app", "scope": "patient/*.rs", "patient": "p1", "fhirUser": "Patient/p1",
        });
        format!("Bearer {}", key.sign(&claims))
    };
    let get = |base: &str, issuer: &str, path: &str| {
        let bearer = token(issuer);
        Client::new().send("GET", host.public, &format!("{base}{path}"), &[("authorization", &bearer)], "")
    };
    for (base, issuer, text) in [("/fhir", "one", "first"), ("/clinic-2/r4", "two", "second")] {
        let own = get(base, issuer, "/Observation/o1");
        assert_eq!((own.status, &own.json()["code"]["text"]), (200, &json!(text)), "{}", own.text);
        assert_eq!(get(base, issuer, "/Observation/o2").status, 404);
        let rows = get(base, issuer, "/Observation");
        assert_eq!(rows.json()["entry"].as_array().unwrap().len(), 1, "{}", rows.text);
        let address = format!("http://127.0.0.1:{port}{base}/Observation/o1");
        assert_eq!(rows.json()["entry"][0]["fullUrl"], json!(address));
    }
    // A token for one is none for the other.
    for (base, issuer) in [("/fhir", "two"), ("/clinic-2/r4", "one")] {
        let answer = get(base, issuer, "/Observation/o1");
        assert_eq!(answer.status, 401, "{}", answer.text);
    }
}

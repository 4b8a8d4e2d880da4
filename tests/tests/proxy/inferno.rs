//! What the ONC (g)(10) test kit of Inferno asks of a FHIR server, by its names, on HAPI FHIR: see `tests/INFERNO.md`.

use chartgate_tests::host::{Answer, Client};
use chartgate_tests::smart::Tokens;
use serde_json::{Value, json};

use super::front::Front;
use super::searches::hapi;

/// The types of the kit, and those besides that an unrestricted app reads.
const TYPES: [&str; 20] = [
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
    "MedicationRequest",
    "Observation",
    "Procedure",
    "Provenance",
    "ServiceRequest",
    "Specimen",
    "RelatedPerson",
    "FamilyMemberHistory",
    "Appointment",
];

fn get(front: &Front, token: &str, path: &str) -> Answer {
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str()), ("origin", "https://app.example")];
    Client::new().send("GET", front.clinic.host.public, &format!("/fhir{path}"), &headers, "")
}

/// A patient's standalone launch, who allows everything.
fn standalone(front: &Front, scope: &str) -> Tokens {
    let app = front.clinic.public_app();
    let account = front.clinic.account(&["patient=Patient/p1"]);
    app.tokens(&app.code(&mut front.clinic.browser(), &account, scope))
}

fn rows(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let json = answer.json();
    json["entry"].as_array().into_iter().flatten().map(|row| row["resource"].clone()).collect()
}

#[test]
fn g10_unauthorized_access() {
    let front = hapi();
    let answer = Client::new().send("GET", front.clinic.host.public, "/fhir/Patient/p1", &[], "");
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").starts_with("Bearer"));
    assert_eq!(get(front, "made-up", "/Patient/p1").status, 401);
}

#[test]
fn g10_patient_context_and_smart_openid_fhir_user_claim() {
    let front = hapi();
    let tokens = standalone(front, "launch/patient openid fhirUser offline_access patient/Observation.rs");
    assert_eq!(tokens.text("patient"), "p1");
    let claims = tokens.claims();
    let user = claims["fhirUser"].as_str().unwrap().strip_prefix(front.clinic.base()).unwrap();
    let answer = get(front, tokens.access(), user);
    assert_eq!((answer.status, &answer.json()["resourceType"]), (200, &json!("Patient")));
    assert_eq!(answer.header("access-control-allow-origin"), "*");
}

#[test]
fn g10_unrestricted_resource_type_access() {
    let (front, tokens) = (hapi(), standalone(hapi(), "launch/patient openid fhirUser offline_access patient/*.rs"));
    assert_eq!(get(front, tokens.access(), "/Patient/p1").status, 200);
    for kind in TYPES {
        let found = rows(&get(front, tokens.access(), &format!("/{kind}?patient=p1")));
        // What a Provenance is about here is no patient itself.
        assert_eq!(found.is_empty(), kind == "Provenance", "{kind}");
    }
    for path in ["/Practitioner/dr1", "/Organization/org1", "/Location/loc1", "/Medication/med1"] {
        assert_eq!(get(front, tokens.access(), path).status, 200, "{path}");
    }
    let with_provenance = get(front, tokens.access(), "/Observation?patient=p1&_revinclude=Provenance:target");
    assert!(rows(&with_provenance).iter().any(|row| row["resourceType"] == "Provenance"), "{}", with_provenance.text);
    let with_medication =
        get(front, tokens.access(), "/MedicationRequest?patient=p1&_include=MedicationRequest:medication");
    assert!(rows(&with_medication).iter().any(|row| row["resourceType"] == "Medication"), "{}", with_medication.text);
}

#[test]
fn g10_restricted_resource_type_access() {
    let front = hapi();
    let app = front.clinic.public_app();
    let account = front.clinic.account(&["patient=Patient/p1"]);
    let mut browser = front.clinic.browser();
    let page = app.authorize(&mut browser, "openid launch/patient patient/*.rs");
    let page = browser.sign_in(&page, &account);
    let page = browser.submit(&page, |fields| {
        fields.untick("scope", "s2");
        for kind in ["Patient", "Condition", "Observation"] {
            fields.tick("part", &format!("s2.{kind}"));
        }
        fields.set("action", "allow");
    });
    let tokens = app.tokens(&page.must("code"));
    for kind in TYPES {
        let answer = get(front, tokens.access(), &format!("/{kind}?patient=p1"));
        let granted = ["Condition", "Observation"].contains(&kind);
        assert_eq!(answer.status, if granted { 200 } else { 403 }, "{kind}: {}", answer.text);
    }
}

#[test]
fn g10_encounter_context() {
    let front = hapi();
    let app = front.clinic.provider_app();
    let doctor = front.clinic.account(&["provider=Practitioner/dr1"]);
    let context = json!({ "user": "Practitioner/dr1", "patient": "p1", "encounter": "enc-p1" });
    let launch = front.clinic.launch(&app, context);
    let url = app.authorize_url("launch openid fhirUser offline_access user/*.rs", |pairs| {
        pairs.push(("launch".into(), launch["launch"].as_str().unwrap().into()));
    });
    let mut browser = front.clinic.browser();
    let page = browser.get(&url);
    let tokens = app.tokens(&app.through(&mut browser, page, &doctor).must("code"));
    for path in [format!("/Patient/{}", tokens.text("patient")), format!("/Encounter/{}", tokens.text("encounter"))] {
        assert_eq!(get(front, tokens.access(), &path).status, 200, "{path}");
    }
}

#[test]
fn g10_smart_fine_grained_scopes() {
    let front = hapi();
    let category = |kind: &str, code: &str| match kind {
        "Condition" => {
            format!("patient/Condition.rs?category=http://terminology.hl7.org/CodeSystem/condition-category|{code}")
        }
        _ => {
            format!("patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|{code}")
        }
    };
    let groups: [&[(&str, &str)]; 2] = [
        &[
            ("Condition", "encounter-diagnosis"),
            ("Condition", "health-concern"),
            ("Observation", "laboratory"),
            ("Observation", "social-history"),
        ],
        &[("Condition", "problem-list-item"), ("Observation", "vital-signs"), ("Observation", "survey")],
    ];
    for group in groups {
        let asked: Vec<String> = group.iter().map(|(kind, code)| category(kind, code)).collect();
        let tokens =
            standalone(front, &format!("openid fhirUser launch/patient patient/Patient.rs {}", asked.join(" ")));
        for scope in &asked {
            assert!(tokens.scopes().contains(&scope.as_str()), "{scope} in {:?}", tokens.scopes());
        }
        for kind in ["Condition", "Observation"] {
            let may = |row: &Value| {
                let code = row["category"][0]["coding"][0]["code"].as_str().unwrap();
                group.contains(&(kind, code))
            };
            let all = front.server.search(&format!("/{kind}?patient=p1")).matches;
            let wanted: Vec<&Value> = all.iter().filter(|row| may(row)).collect();
            let found = rows(&get(front, tokens.access(), &format!("/{kind}?patient=p1")));
            assert!(found.iter().all(may), "{found:?}");
            assert_eq!(found.len(), wanted.len(), "{kind} by {group:?}");
            for row in &all {
                let answer = get(front, tokens.access(), &format!("/{kind}/{}", row["id"].as_str().unwrap()));
                assert_eq!(answer.status, if may(row) { 200 } else { 404 }, "{row}");
                assert_eq!(answer.json()["resourceType"] == kind, may(row));
            }
        }
    }
}

#[test]
fn g10_token_revocation() {
    let front = hapi();
    let app = front.clinic.public_app();
    let account = front.clinic.account(&["patient=Patient/p1"]);
    let scope = "launch/patient offline_access patient/*.rs";
    let tokens = app.tokens(&app.code(&mut front.clinic.browser(), &account, scope));
    let first = get(front, tokens.access(), "/Condition?_count=2");
    let page = chartgate_tests::servers::link(&first.json(), "next")
        .unwrap()
        .strip_prefix(front.clinic.base())
        .unwrap()
        .to_owned();
    assert_eq!(get(front, tokens.access(), &page).status, 200);
    assert_eq!(app.post("/oauth/revoke", &[("token", tokens.text("refresh_token"))]).status, 200);
    assert_eq!(get(front, tokens.access(), "/Patient/p1").status, 401);
    assert_eq!(get(front, tokens.access(), &page).status, 401);
}

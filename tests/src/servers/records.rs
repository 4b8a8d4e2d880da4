//! A clinic's records for FHIR servers: made up, the same each time, of types that US Core knows and a few besides.

use serde_json::{Value, json};

/// Patients there are: `p1` to `p60`.
pub const PATIENTS: usize = 60;

const CATEGORY: &str = "http://terminology.hl7.org/CodeSystem/observation-category";
const CONDITION: &str = "http://terminology.hl7.org/CodeSystem/condition-category";
const SECURITY: &str = "http://terminology.hl7.org/CodeSystem/v3-ActCode";

/// What apps may not write: patients, who they are related to, and what is nobody's record.
pub fn given() -> Vec<Value> {
    let mut all = vec![
        json!({ "resourceType": "Organization", "id": "org1", "active": true, "name": "Example Clinic" }),
        json!({ "resourceType": "Location", "id": "loc1", "status": "active", "name": "Ward 1" }),
        json!({ "resourceType": "Medication", "id": "med1", "status": "active", "code": text("Ibuprofen") }),
    ];
    for at in 1..=3 {
        all.push(json!({ "resourceType": "Practitioner", "id": format!("dr{at}"), "active": true,
            "name": [{ "family": format!("Doctor{at}") }] }));
    }
    for at in 1..=PATIENTS {
        all.extend(of_patient(at));
    }
    all
}

fn of_patient(at: usize) -> Vec<Value> {
    let id = format!("p{at}");
    let subject = reference(&format!("Patient/{id}"));
    vec![
        json!({ "resourceType": "Patient", "id": id, "active": true, "gender": if at.is_multiple_of(2) { "female" } else { "male" },
            "birthDate": format!("{}-04-12", 1950 + at % 50), "name": [{ "family": format!("Family{at}"), "given": [format!("Given{at}")] }],
            "identifier": [{ "system": "urn:example:chart", "value": format!("C-{at}") }],
            "generalPractitioner": [reference("Practitioner/dr1")] }),
        json!({ "resourceType": "RelatedPerson", "id": format!("rp-{id}"), "active": true, "patient": subject,
            "name": [{ "family": format!("Relative{at}") }] }),
        json!({ "resourceType": "CareTeam", "id": format!("ct-{id}"), "status": "active", "subject": subject,
            "participant": [{ "member": reference("Practitioner/dr1") }] }),
        json!({ "resourceType": "Device", "id": format!("dev-{id}"), "status": "active", "patient": subject }),
        json!({ "resourceType": "Encounter", "id": format!("enc-{id}"), "status": "finished", "subject": subject,
            "class": { "system": SECURITY, "code": "AMB" }, "period": { "start": "2026-01-05", "end": "2026-01-05" },
            "participant": [{ "individual": reference("Practitioner/dr2") }], "location": [{ "location": reference("Location/loc1") }] }),
        json!({ "resourceType": "Appointment", "id": format!("app-{id}"), "status": "booked",
            "participant": [{ "actor": subject, "status": "accepted" }, { "actor": reference("Practitioner/dr1"), "status": "accepted" }] }),
    ]
}

/// What apps may not write and speaks of what they wrote: some servers find only what pointed at something when it came.
pub fn provenances() -> Vec<Value> {
    let of = |at: usize| {
        let id = format!("p{at}");
        json!({ "resourceType": "Provenance", "id": format!("prov-{id}"), "recorded": "2026-01-05T10:00:00Z",
            "target": [reference(&format!("Observation/lab-{id}"))], "agent": [{ "who": reference("Practitioner/dr1") }] })
    };
    (1..=PATIENTS).map(of).collect()
}

/// What apps may write, of one patient.
pub fn written(at: usize) -> Vec<Value> {
    let id = format!("p{at}");
    let subject = reference(&format!("Patient/{id}"));
    // Somebody else's record names this patient as well: of two patients, and of the performer alone.
    let next = format!("Patient/p{}", at % PATIENTS + 1);
    let mut all = Vec::new();
    let observations =
        [("lab", "laboratory"), ("vital", "vital-signs"), ("social", "social-history"), ("survey", "survey")];
    for (at, (name, category)) in observations.into_iter().enumerate() {
        let mut observation = json!({ "resourceType": "Observation", "id": format!("{name}-{id}"), "status": "final",
            "category": [{ "coding": [{ "system": CATEGORY, "code": category }] }], "code": coded(&format!("100{at}-1")),
            "subject": subject, "encounter": reference(&format!("Encounter/enc-{id}")),
            "effectiveDateTime": format!("2026-0{}-11T08:00:00Z", at + 1), "performer": [reference("Practitioner/dr2")],
            "valueQuantity": { "value": 5.0 + f64::from(u32::try_from(at).unwrap_or_default()), "unit": "mmol/L" } });
        if name == "survey" {
            observation["performer"] = json!([reference(&next)]);
        }
        if name == "social" {
            observation["meta"]["security"] = json!([{ "system": SECURITY, "code": "PSY" }]);
        }
        all.push(observation);
    }
    for category in ["encounter-diagnosis", "problem-list-item", "health-concern"] {
        all.push(json!({ "resourceType": "Condition", "id": format!("{}-{id}", &category[..6]), "subject": subject,
            "category": [{ "coding": [{ "system": CONDITION, "code": category }] }], "code": coded("C-1"),
            "encounter": reference(&format!("Encounter/enc-{id}")) }));
    }
    let plain = [
        ("AllergyIntolerance", json!({ "patient": subject, "code": coded("A-1") })),
        (
            "CarePlan",
            json!({ "status": "active", "intent": "plan", "subject": subject, "category": [coded("assess-plan")] }),
        ),
        ("Coverage", json!({ "status": "active", "beneficiary": subject, "payor": [reference("Organization/org1")] })),
        (
            "DiagnosticReport",
            json!({ "status": "final", "code": coded("R-1"), "subject": subject,
            "result": [reference(&format!("Observation/lab-{id}"))] }),
        ),
        (
            "DocumentReference",
            json!({ "status": "current", "subject": subject, "type": coded("D-1"),
            "content": [{ "attachment": { "contentType": "text/plain", "data": "bm90ZQ==" } }] }),
        ),
        ("Goal", json!({ "lifecycleStatus": "active", "description": text("Walk"), "subject": subject })),
        (
            "Immunization",
            json!({ "status": "completed", "vaccineCode": coded("V-1"), "patient": subject, "occurrenceDateTime": "2026-02-01" }),
        ),
        (
            "MedicationRequest",
            json!({ "status": "active", "intent": "order", "subject": subject,
            "medicationReference": reference("Medication/med1"), "requester": reference("Practitioner/dr1") }),
        ),
        ("Procedure", json!({ "status": "completed", "code": coded("P-1"), "subject": subject })),
        ("ServiceRequest", json!({ "status": "active", "intent": "order", "code": coded("S-1"), "subject": subject })),
        ("Specimen", json!({ "status": "available", "subject": subject })),
        ("FamilyMemberHistory", json!({ "status": "completed", "patient": subject, "relationship": coded("MTH") })),
        ("Communication", json!({ "status": "completed", "subject": subject, "recipient": [reference(&next)] })),
    ];
    for (kind, members) in plain {
        let mut resource = json!({ "resourceType": kind, "id": format!("{}-{id}", kind[..4].to_lowercase()) });
        for (name, value) in members.as_object().into_iter().flatten() {
            resource[name] = value.clone();
        }
        all.push(resource);
    }
    all
}

/// Everything there is, of everybody.
pub fn all() -> Vec<Value> {
    given().into_iter().chain((1..=PATIENTS).flat_map(written)).chain(provenances()).collect()
}

/// A transaction that puts resources where they belong.
pub fn transaction(resources: &[Value]) -> Value {
    let entry = |resource: &Value| {
        let url = format!("{}/{}", text_of(resource, "resourceType"), text_of(resource, "id"));
        json!({ "resource": resource, "request": { "method": "PUT", "url": url } })
    };
    let entries: Vec<Value> = resources.iter().map(entry).collect();
    json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })
}

/// `Type/id`
pub fn key(resource: &Value) -> String {
    format!("{}/{}", text_of(resource, "resourceType"), text_of(resource, "id"))
}

fn text_of<'v>(resource: &'v Value, member: &str) -> &'v str {
    resource[member].as_str().unwrap_or_default()
}

fn reference(to: &str) -> Value {
    json!({ "reference": to })
}

fn text(text: &str) -> Value {
    json!({ "text": text })
}

fn coded(code: &str) -> Value {
    json!({ "coding": [{ "system": "urn:example:codes", "code": code }] })
}

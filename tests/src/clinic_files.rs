//! FHIR resources of a made-up clinic as NDJSON, as many as are wanted: the same each time.
#![allow(clippy::unwrap_used, reason = "test support: a failure is a failed test")]

use std::io::Write;

use serde_json::{Value, json};

/// Write `count` resources: patients with their encounters, teams, appointments and grants, and who works there.
pub fn write(out: &mut impl Write, count: usize) {
    for at in 0..count {
        writeln!(out, "{}", resource(at)).unwrap();
    }
}

fn resource(at: usize) -> Value {
    let (patient, user) = (format!("Patient/p{}", at / 8), format!("Practitioner/{}", at % 97));
    let day = |offset: usize| format!("2026-{:02}-{:02}", 1 + (at / 31 + offset) % 12, 1 + at % 28);
    match at % 8 {
        0 => json!({
            "resourceType": "Patient", "id": format!("p{}", at / 8), "birthDate": format!("{}-0{}-1{}", 1930 + at % 90, 1 + at % 9, at % 10),
            "generalPractitioner": [{ "reference": user }],
        }),
        1 => json!({ "resourceType": "Practitioner", "id": (at % 97).to_string(), "active": true }),
        2 => json!({
            "resourceType": "CareTeam", "id": at.to_string(), "status": "active", "subject": { "reference": patient },
            "period": { "start": day(0) }, "participant": [{ "member": { "reference": user } }],
        }),
        3 => json!({
            "resourceType": "Appointment", "id": at.to_string(), "status": "booked", "start": format!("{}T09:00:00Z", day(0)),
            "end": format!("{}T09:30:00Z", day(0)), "participant": [
                { "actor": { "reference": patient }, "status": "accepted" },
                { "actor": { "reference": user }, "status": "accepted" },
            ],
        }),
        4 => json!({
            "resourceType": "Consent", "id": at.to_string(), "status": "active", "patient": { "reference": patient },
            "provision": { "type": "permit", "actor": [{
                "role": { "coding": [{ "code": "GUARD" }] }, "reference": { "reference": format!("RelatedPerson/{at}") },
            }] },
        }),
        // One in eight says nothing that can be taken over.
        5 if at % 64 == 5 => json!({ "resourceType": "Encounter", "id": at.to_string(), "status": "finished" }),
        _ => json!({
            "resourceType": "Encounter", "id": at.to_string(), "status": "finished", "subject": { "reference": patient },
            "period": { "start": format!("{}T08:00:00Z", day(0)), "end": format!("{}T10:00:00Z", day(0)) },
            "participant": [{ "individual": { "reference": user } }],
        }),
    }
}

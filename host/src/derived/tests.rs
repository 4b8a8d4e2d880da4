//! What each type says, and what it is rejected for.

use chartgate_model::Millis;
use serde_json::{Value, json};

use super::{Derived, Reading, Reject, derive};
use crate::people::zone;

fn reading() -> Reading {
    let name = "America/New_York";
    Reading { base: Some("https://ehr.example/fhir".into()), zone: zone(name).unwrap(), zone_name: Some(name.into()) }
}

fn derived(resource: Value) -> Result<Derived, String> {
    derive(&resource, &reading()).map_err(|error| error.to_string())
}

/// `user patient kind start end` of each relationship; `-` for none.
fn related(resource: Value) -> Vec<String> {
    let time = |at: Option<Millis>| at.map_or("-".into(), Millis::to_rfc3339);
    let derived = derived(resource).unwrap();
    let line = |row: &chartgate_model::Relationship| {
        assert_eq!(row.terms.basis, derived.origin);
        format!("{} {} {} {} {}", row.user, row.patient, row.kind, time(row.start), time(row.end))
    };
    derived.relationships.iter().map(line).collect()
}

/// `class/id` and members of each record.
fn records(resource: Value) -> Vec<(String, Value)> {
    let patches = derived(resource).unwrap().records;
    patches
        .into_iter()
        .map(|patch| (format!("{}/{}", patch.class.code(), patch.id), Value::Object(patch.members)))
        .collect()
}

fn with(base: &Value, more: Value) -> Value {
    let mut changed = base.clone();
    for (name, value) in more.as_object().unwrap() {
        changed[name] = value.clone();
    }
    changed
}

#[test]
fn a_patient_says_what_their_record_holds() {
    let patient = json!({
        "resourceType": "Patient", "id": "123", "birthDate": "1980-02", "deceasedDateTime": "2020",
        "active": false, "meta": { "security": [{ "code": "HTEST" }] },
        "link": [
            { "type": "seealso", "other": { "reference": "Patient/1" } },
            { "type": "refer", "other": { "reference": "Patient/2" } },
            { "type": "replaces", "other": { "reference": "Patient/3" } },
            { "type": "replaced-by", "other": { "reference": "https://ehr.example/fhir/Patient/4" } },
        ],
        "generalPractitioner": [
            { "reference": "Practitioner/14" }, { "reference": "Organization/1" },
            { "reference": "https://other.example/Practitioner/15" },
        ],
    });
    let members = json!({
        "active": false, "birth_date": "1980-02", "deceased": true, "merged_into": "4", "test": true,
        "zone": "America/New_York",
    });
    assert_eq!(records(patient.clone()), [("patient/123".to_owned(), members)]);
    assert_eq!(related(patient), ["Practitioner/14 123 primary-care - -"]);
    let plain = json!({ "resourceType": "Patient", "id": "9" });
    // What it is silent about is so no more.
    let members = json!({
        "active": null, "birth_date": null, "deceased": null, "merged_into": null, "test": null,
        "zone": "America/New_York",
    });
    assert_eq!(records(plain), [("patient/9".to_owned(), members)]);
}

#[test]
fn a_chart_that_was_replaced_by_two_or_by_nobody_known_is_rejected() {
    let replaced = |others: &[&str]| {
        let link = |other: &&str| json!({ "type": "replaced-by", "other": { "reference": other } });
        derived(json!({ "resourceType": "Patient", "id": "1", "link": others.iter().map(link).collect::<Vec<_>>() }))
    };
    assert!(replaced(&["Patient/2", "Patient/2"]).is_ok());
    for others in [&["Patient/2", "Patient/3"][..], &["Patient/1"], &["https://x.example/Patient/2"], &["Group/2"]] {
        assert!(replaced(others).unwrap_err().contains("link"), "{others:?}");
    }
}

#[test]
fn users_are_there_as_long_as_their_resource_says() {
    let role = json!({
        "resourceType": "PractitionerRole", "id": "4", "active": true,
        "period": { "start": "2026-01-01", "end": "2026-12-31" },
    });
    // The days are those of New York, and the last one counts.
    let members = json!({
        "status": "active", "start": "2026-01-01T05:00:00Z", "end": "2027-01-01T05:00:00Z", "roles": ["provider"],
        "test": null, "practitioner": null,
    });
    assert_eq!(records(role.clone()), [("user/PractitionerRole/4".to_owned(), members)]);
    let gone = json!({ "resourceType": "Practitioner", "id": "17", "active": false });
    let played = |by: Value| derived(with(&role, json!({ "practitioner": by })));
    let told = played(json!({ "reference": "https://ehr.example/fhir/Practitioner/17" })).unwrap();
    assert_eq!(told.records[0].members["practitioner"], "Practitioner/17");
    for by in [json!({ "reference": "Person/1" }), json!({ "display": "Dr. X" }), json!({ "reference": "#p" })] {
        assert!(played(by).unwrap_err().contains("`practitioner`"));
    }
    let members = json!({ "status": "inactive", "roles": ["provider"], "start": null, "end": null, "test": null });
    assert_eq!(records(gone), [("user/Practitioner/17".to_owned(), members)]);
    let related_person = json!({
        "resourceType": "RelatedPerson", "id": "5", "patient": { "reference": "Patient/123" },
        "relationship": [{ "coding": [{ "code": "PRN" }] }], "period": { "end": "2026" }, "meta": { "security": [{ "code": "HTEST" }] },
    });
    let members =
        json!({ "status": null, "start": null, "end": "2027-01-01T05:00:00Z", "roles": ["proxy"], "test": true });
    assert_eq!(records(related_person.clone()), [("user/RelatedPerson/5".to_owned(), members)]);
    assert_eq!(related(related_person), [""; 0], "a RelatedPerson is described, not entitled");
}

#[test]
fn a_person_tells_a_providers_own_chart_and_opens_none() {
    let person = json!({
        "resourceType": "Person", "id": "p", "active": true, "link": [
            { "target": { "reference": "Patient/1" }, "assurance": "level4" },
            { "target": { "reference": "Patient/2" } },
            { "target": { "reference": "Practitioner/17" } },
            { "target": { "reference": "RelatedPerson/5" } },
        ],
    });
    let expected = [
        ("user/Person/p", json!({ "status": "active", "charts": ["1", "2"] })),
        ("user/Practitioner/17", json!({ "charts": ["1", "2"] })),
    ];
    assert_eq!(records(person.clone()), expected.map(|(id, members)| (id.to_owned(), members)));
    let without = records(with(&person, json!({ "link": [{ "target": { "reference": "Practitioner/17" } }] })));
    assert_eq!(without, [("user/Person/p".to_owned(), json!({ "status": "active" }))]);
}

#[test]
fn an_encounter_counts_from_its_start_for_those_who_take_part() {
    let encounter = json!({
        "resourceType": "Encounter", "id": "9", "status": "in-progress", "subject": { "reference": "Patient/123" },
        "period": { "start": "2026-11-01T08:00:00Z" },
        "participant": [
            { "individual": { "reference": "Practitioner/12" } },
            { "individual": { "reference": "Practitioner/13" },
              "period": { "start": "2026-11-02T08:00:00Z", "end": "2026-11-03T08:00:00Z" } },
            { "individual": { "reference": "RelatedPerson/5" } },
            { "actor": { "reference": "PractitionerRole/4" } },
        ],
    });
    assert_eq!(
        related(encounter.clone()),
        [
            "Practitioner/12 123 encounter 2026-11-01T08:00:00Z -",
            "Practitioner/13 123 encounter 2026-11-02T08:00:00Z 2026-11-03T08:00:00Z",
            "PractitionerRole/4 123 encounter 2026-11-01T08:00:00Z -",
        ]
    );
    let at_once = json!({ "start": "2026-11-01T08:00:00Z", "end": "2026-11-01T08:00:00Z" });
    let at_once = with(&encounter, json!({ "status": "finished", "period": at_once}));
    let at_once = with(&at_once, json!({ "participant": [encounter["participant"][0]] }));
    let expected = "Practitioner/12 123 encounter 2026-11-01T08:00:00Z 2026-11-01T08:00:00.001Z";
    assert_eq!(related(at_once), [expected], "what happened at once took a moment");
    let planned = with(&encounter, json!({ "status": "planned", "participant": [encounter["participant"][0]] }));
    assert_eq!(related(planned), [expected], "what is planned is so for a moment");
    for status in ["cancelled", "entered-in-error", "unknown"] {
        assert_eq!(related(with(&encounter, json!({ "status": status }))), [""; 0], "{status}");
    }
    for (more, said) in [
        (json!({ "status": null }), "status"),
        (json!({ "period": {} }), "period.start"),
        (json!({ "subject": { "reference": "Group/1" } }), "subject"),
        (json!({ "subject": { "reference": "https://other.example/Patient/123" } }), "subject"),
        (json!({ "period": { "start": "soon" } }), "start"),
        (json!({ "period": [] }), "period"),
        (json!({ "status": "finished" }), "period.end"),
        (json!({ "modifierExtension": [] }), "modifierExtension"),
        (json!({ "implicitRules": "https://ehr.example/rules" }), "implicitRules"),
        (json!({ "period": { "start": "2026-02-02", "end": "2026-01-01" } }), "period"),
    ] {
        let error = derived(with(&encounter, more)).unwrap_err();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_care_team_at_work_counts_for_its_people() {
    let team = json!({
        "resourceType": "CareTeam", "id": "7", "status": "active", "subject": { "reference": "Patient/123" },
        "period": { "end": "2026-11-30" },
        "participant": [
            { "member": { "reference": "Practitioner/12" } },
            { "member": { "reference": "Practitioner/13" }, "period": { "end": "2026-11-10T00:00:00Z" } },
            { "member": { "reference": "Practitioner/14" }, "period": { "start": "2027-01-01" } },
            { "member": { "reference": "CareTeam/8" } },
            { "member": { "reference": "Organization/1" } },
            { "member": { "reference": "Patient/123" } },
        ],
    });
    assert_eq!(
        related(team.clone()),
        [
            "Practitioner/12 123 care-team - 2026-12-01T05:00:00Z",
            "Practitioner/13 123 care-team - 2026-11-10T00:00:00Z",
        ]
    );
    // What R5 calls its period.
    let covered = |name: &str, value: Value| {
        with(&team, json!({ "participant": [{ "member": { "reference": "Practitioner/12" }, name: value }] }))
    };
    let until = related(covered("coveragePeriod", json!({ "end": "2026-11-10T00:00:00Z" })));
    assert_eq!(until, ["Practitioner/12 123 care-team - 2026-11-10T00:00:00Z"]);
    assert_eq!(related(covered("coveragePeriod", json!({ "start": "2027" }))), [""; 0]);
    assert!(derived(covered("coverageTiming", json!({}))).unwrap_err().contains("coverageTiming"));
    for status in [json!("inactive"), json!("proposed"), Value::Null] {
        let mut other = with(&team, json!({ "status": status }));
        if status.is_null() {
            other.as_object_mut().unwrap().remove("status");
        }
        assert_eq!(related(other), [""; 0]);
    }
}

#[test]
fn an_appointment_ties_its_patients_to_its_people() {
    let appointment = json!({
        "resourceType": "Appointment", "id": "3", "status": "booked", "start": "2026-12-01T09:00:00Z",
        "end": "2026-12-01T09:30:00Z", "participant": [
            { "actor": { "reference": "Patient/123" }, "status": "accepted" },
            { "actor": { "reference": "Practitioner/12" }, "status": "accepted" },
            { "actor": { "reference": "Practitioner/13" }, "status": "declined" },
            { "actor": { "reference": "Location/1" }, "status": "accepted" },
        ],
    });
    let row = "Practitioner/12 123 appointment 2026-12-01T09:00:00Z 2026-12-01T09:30:00Z";
    assert_eq!(related(appointment.clone()), [row]);
    for status in ["cancelled", "noshow", "proposed", "pending", "entered-in-error", "waitlist"] {
        assert_eq!(related(with(&appointment, json!({ "status": status }))), [""; 0], "{status}");
    }
    assert!(derived(with(&appointment, json!({ "end": "2026-12-01T09:00:00Z" }))).unwrap_err().contains("end"));
    // Who was to come for a part of it, or another day.
    let during = |period: Value| {
        let of = |actor: &str| json!({ "actor": { "reference": actor }, "status": "accepted" });
        let their = with(&of("Practitioner/12"), json!({ "period": period }));
        related(with(&appointment, json!({ "participant": [of("Patient/123"), their] })))
    };
    let part = "Practitioner/12 123 appointment 2026-12-01T09:00:00Z 2026-12-01T09:10:00Z";
    assert_eq!(during(json!({ "end": "2026-12-01T09:10:00Z" })), [part]);
    assert_eq!(during(json!({ "end": "2026-10-05" })), [""; 0]);
}

#[test]
fn what_was_before_1970_began_then() {
    let since = |period: Value| {
        derived(json!({ "resourceType": "RelatedPerson", "id": "5", "patient": { "reference": "Patient/123" },
            "period": period }))
    };
    let members = |period: Value| since(period).unwrap().records.remove(0).members;
    assert_eq!(members(json!({ "start": "1965-03-01" }))["start"], "1970-01-01T00:00:00Z");
    assert_eq!(members(json!({ "start": "1970-01-02" }))["start"], "1970-01-02T05:00:00Z");
    let over = members(json!({ "start": "1965", "end": "1967" }));
    assert!(over["end"].as_str().unwrap().starts_with("1970-01-01T00:00:00"), "{over:?}");
}

#[test]
fn a_group_is_the_panel_of_who_manages_it() {
    let group = json!({
        "resourceType": "Group", "id": "2", "type": "person", "actual": true,
        "managingEntity": { "reference": "PractitionerRole/4" }, "member": [
            { "entity": { "reference": "Patient/1" }, "period": { "start": "2026-01-01" } },
            { "entity": { "reference": "Patient/2" }, "inactive": true },
            { "entity": { "reference": "Group/3" } },
        ],
    });
    assert_eq!(related(group.clone()), ["PractitionerRole/4 1 department 2026-01-01T05:00:00Z -"]);
    for more in [
        json!({ "actual": false }),
        json!({ "type": "animal" }),
        json!({ "active": false }),
        json!({ "managingEntity": { "reference": "Organization/1" } }),
    ] {
        assert_eq!(related(with(&group, more)), [""; 0]);
    }
}

fn grant() -> Value {
    json!({
        "resourceType": "Consent", "id": "9", "status": "active", "patient": { "reference": "Patient/123" },
        "provision": {
            "type": "permit", "period": { "start": "2026-01-01T00:00:00Z", "end": "2027-01-01T00:00:00Z" },
            "actor": [{
                "role": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "GUARD" }] },
                "reference": { "reference": "RelatedPerson/5" },
            }],
            "provision": [
                { "type": "deny", "securityLabel": [{ "code": "SEX" }] },
                { "type": "deny", "class": [{ "code": "Condition" }] },
            ],
        },
    })
}

#[test]
fn a_consent_grants_what_it_permits_without_what_it_denies() {
    let derived = derived(grant()).unwrap();
    let [row] = derived.relationships.as_slice() else { panic!("{derived:?}") };
    assert_eq!((row.user.as_str(), row.patient.as_str(), row.kind.as_str()), ("RelatedPerson/5", "123", "guardian"));
    assert_eq!(row.terms.exclude_labels, ["SEX"]);
    assert_eq!(row.terms.exclude_types, ["Condition"]);
    assert_eq!(row.end, Some(Millis::parse("2027-01-01T00:00:00Z").unwrap()));
    for status in ["inactive", "rejected", "entered-in-error", "draft", "proposed"] {
        assert_eq!(related(with(&grant(), json!({ "status": status }))), [""; 0], "{status}");
    }
}

#[test]
fn an_authority_holds_from_when_it_was_given_and_for_what_it_says() {
    let granted = |code: &str, period: Value, given: Option<&str>| {
        let mut consent = grant();
        consent["provision"]["actor"][0]["role"]["coding"][0]["code"] = json!(code);
        consent["provision"]["period"] = period;
        consent["dateTime"] = json!(given);
        if given.is_none() {
            consent.as_object_mut().unwrap().remove("dateTime");
        }
        let row = derived(consent).unwrap().relationships.remove(0);
        (row.start.map(Millis::to_rfc3339), row.terms.condition)
    };
    let some = |text: &str| Some(text.to_owned());
    let since = json!({ "start": "2026-01-01T00:00:00Z" });
    let (start, given) = (some("2026-01-01T00:00:00Z"), some("2025-03-01T05:00:00Z"));
    assert_eq!(granted("GUARD", since.clone(), Some("2025-03-01")), (start.clone(), None));
    assert_eq!(granted("GUARD", json!({}), Some("2025-03-01")), (given.clone(), None));
    assert_eq!(granted("CAREGIVER", json!({ "end": "2030" }), Some("2025-03-01")), (given, None));
    for code in ["GUARD", "CAREGIVER"] {
        assert_eq!(granted(code, json!({}), None), (None, some("minority")), "{code}: of whom, nobody says");
    }
    assert_eq!(granted("MTH", json!({}), None), (None, None), "a parent is one of a minor anyway");
    for code in ["HPOWATT", "POWATT", "DPOWATT"] {
        assert_eq!(granted(code, since.clone(), None), (start.clone(), some("incapacity")), "{code}");
    }
    let mut consent = grant();
    consent["dateTime"] = json!("soon");
    assert!(derived(consent).unwrap_err().contains("dateTime"));
}

#[test]
fn a_consent_that_cannot_be_taken_over_whole_is_rejected_whole() {
    let changed = |pointer: &str, value: Value| {
        let mut consent = grant();
        let (parent, member) = pointer.rsplit_once('/').unwrap();
        consent.pointer_mut(parent).unwrap()[member] = value;
        derived(consent).unwrap_err()
    };
    for (pointer, value) in [
        ("/provision/type", json!("deny")),
        ("/provision/purpose", json!([{ "code": "TREAT" }])),
        ("/provision/actor", json!([])),
        ("/provision/actor/0/role", json!({ "coding": [{ "code": "FAMMEMB" }] })),
        ("/provision/actor/0/reference", json!({ "reference": "Practitioner/1" })),
        ("/provision/actor/0/reference", json!({ "reference": "Patient/123" })),
        ("/provision/actor/0/reference", json!({ "reference": "https://other.example/RelatedPerson/5" })),
        ("/provision/provision/0/type", json!("permit")),
        ("/provision/provision/0/code", json!([{ "coding": [] }])),
        ("/provision/provision/0/class", json!([{ "code": "Condition" }])),
        ("/provision/provision/0/securityLabel", json!([])),
        ("/provision/provision/0/securityLabel", json!([{ "display": "secret" }])),
        ("/provision/period", json!({ "start": "2027-01-01", "end": "2026-01-01" })),
    ] {
        let error = changed(pointer, value);
        assert!(error.contains("provision") || error.contains("period"), "{pointer}: {error}");
    }
    assert!(changed("/patient", json!({ "reference": "Group/1" })).contains("patient"));
}

#[test]
fn what_is_no_resource_of_these_types_is_rejected() {
    assert!(derived(json!({ "resourceType": "Observation", "id": "1" })).unwrap_err().contains("Observation"));
    for bad in
        [json!({}), json!([]), json!({ "resourceType": "Patient" }), json!({ "resourceType": "Patient", "id": "a/b" })]
    {
        assert!(derived(bad).unwrap_err().contains("type and an id"));
    }
}

#[test]
fn a_consent_to_something_else_makes_nobody_a_proxy() {
    let consent = |change: &dyn Fn(&mut Value)| {
        let mut consent = json!({
            "resourceType": "Consent", "id": "7", "status": "active", "patient": { "reference": "Patient/2" },
            "scope": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy" }] },
            "provision": { "type": "permit", "actor": [{
                "reference": { "reference": "RelatedPerson/5" },
                "role": { "coding": [{ "system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "GUARD" }] },
            }] },
        });
        change(&mut consent);
        derive(&consent, &reading()).map(|derived| derived.relationships.len())
    };
    assert_eq!(consent(&|_| ()), Ok(1));
    let scope = consent(&|consent| consent["scope"]["coding"][0]["code"] = json!("research"));
    assert_eq!(scope, Err(Reject::Unsupported("scope")));
    let refused = consent(&|consent| consent["verification"] = json!([{ "verified": false }]));
    assert_eq!(refused, Err(Reject::Unsupported("verification")));
    assert_eq!(consent(&|consent| consent["verification"] = json!([{ "verified": true }])), Ok(1));
    let role = |consent: &mut Value| {
        consent["provision"]["actor"][0]["role"]["coding"][0]["system"] = json!("http://hospital.example/roles");
    };
    assert_eq!(consent(&role), Err(Reject::Unsupported("provision.actor.role")));
}

#[test]
fn a_link_to_a_chart_that_cannot_be_followed_is_not_passed_over() {
    let person = |reference: &str| {
        let person = json!({ "resourceType": "Person", "id": "p", "link": [
            { "target": { "reference": "Practitioner/17" } }, { "target": { "reference": reference } },
        ] });
        derive(&person, &reading()).map(|derived| derived.records.len())
    };
    assert_eq!(person("Patient/2"), Ok(2));
    assert_eq!(person("Patient/2/_history/1"), Ok(2), "a version is one of the resource");
    for reference in ["https://other.example/fhir/Patient/2", "Patient/2/_history/", "Patient/2/x/1"] {
        assert!(person(reference).is_err(), "{reference}");
    }
    // Whose practitioner somebody is elsewhere matters only where a chart is theirs.
    assert!(person("https://other.example/fhir/Practitioner/2").is_ok());
    let links = ["https://other.example/fhir/Practitioner/2", "Patient/2"]
        .map(|reference| json!({ "target": { "reference": reference } }));
    assert!(derive(&json!({ "resourceType": "Person", "id": "p", "link": links }), &reading()).is_err());
}

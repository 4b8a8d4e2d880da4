//! Reads and searches: what comes back is what there is, less what may not be seen.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use chartgate_tests::servers::{Found, Make, records};
use serde_json::Value;

use super::front::Front;

/// Searches that everybody tries.
const SEARCHES: [&str; 30] = [
    "/Observation",
    "/Observation?category=laboratory",
    "/Observation?category=vital-signs,survey&_count=3",
    "/Observation?code=urn:example:codes|1002-1",
    "/Observation?patient=p1",
    "/Observation?patient=Patient/p2",
    "/Observation?subject=Patient/p3,Patient/p40",
    "/Observation?patient=p40",
    "/Observation?date=ge2026-02-01&_sort=-date",
    "/Observation?_include=Observation:encounter",
    "/Observation?category=laboratory&_revinclude=Provenance:target",
    "/Observation?patient.family=Family2",
    "/Condition?category=problem-list-item",
    "/Condition?_count=2",
    "/Encounter?_revinclude=Observation:encounter",
    "/DiagnosticReport?_include=DiagnosticReport:result",
    "/DiagnosticReport?_include=DiagnosticReport:result&_include:iterate=Observation:encounter",
    "/MedicationRequest?_include=MedicationRequest:medication",
    "/Patient?_id=p1,p2,p3,p50",
    "/Patient?family=Family2",
    "/Patient?identifier=urn:example:chart|C-2",
    "/Communication",
    "/Appointment",
    "/Provenance?patient=p1",
    "/Immunization?status=completed",
    "/AllergyIntolerance",
    "/Coverage",
    "/Specimen",
    "/Practitioner",
    "/Organization?name=Example",
];

/// Who is refused what that could be read, and how: reading is not searching.
const REFUSED: [(&str, &str, u16); 1] = [("narrow", "/Encounter?_revinclude=Observation:encounter", 403)];

fn keys(resources: &[Value]) -> BTreeSet<String> {
    resources.iter().map(records::key).collect()
}

/// What may be seen of what a search finds; of what came along, only what comes with that.
fn expected(front: &Front, who: &str, path: &str) -> Found {
    let all = front.server.search(path);
    let seen = |found: &[Value]| found.iter().filter(|one| front.may_see(who, one)).cloned().collect::<Vec<_>>();
    let matches = seen(&all.matches);
    let included = if all.included.is_empty() || matches.is_empty() {
        Vec::new()
    } else {
        let ids: Vec<&str> = matches.iter().map(|one| one["id"].as_str().unwrap()).collect();
        let (start, query) = path.split_once('?').unwrap();
        let narrowed: Vec<&str> = query.split('&').filter(|pair| !pair.starts_with("_count")).collect();
        seen(&front.server.search(&format!("{start}?{}&_id={}", narrowed.join("&"), ids.join(","))).included)
    };
    Found { matches, included }
}

/// What is wrong with what somebody gets for a search.
fn compared(front: &Front, who: &str, path: &str) -> Result<(), String> {
    let wanted = expected(front, who, path);
    let found = match front.search(who, path) {
        Ok(found) => found,
        // Where nothing of it may be seen, it may be said so.
        Err(403 | 404) if wanted.matches.is_empty() => return Ok(()),
        Err(status) if REFUSED.contains(&(who, path, status)) => return Ok(()),
        Err(status) => return Err(format!("{status}, and {:?} may be seen", keys(&wanted.matches))),
    };
    if keys(&found.matches) != keys(&wanted.matches) || found.matches.len() != wanted.matches.len() {
        return Err(format!("found {:?}\n  wanted {:?}", keys(&found.matches), keys(&wanted.matches)));
    }
    if keys(&found.included) != keys(&wanted.included) {
        return Err(format!("came along {:?}\n  wanted {:?}", keys(&found.included), keys(&wanted.included)));
    }
    for resource in found.matches.iter().chain(&found.included) {
        let same = |one: &&Value| records::key(one) == records::key(resource);
        let there = wanted.matches.iter().chain(&wanted.included).find(same);
        if there != Some(resource) {
            return Err(format!("{resource} is not {there:?}"));
        }
    }
    Ok(())
}

fn searches(front: &Front, left_out: &[&str]) {
    let _turn = front.turn();
    let mut wrong = Vec::new();
    let mut count = 0;
    for who in ["patient", "proxy", "narrow", "provider", "system"] {
        for path in SEARCHES.iter().filter(|path| !left_out.contains(path)) {
            count += 1;
            if let Err(what) = compared(front, who, path) {
                wrong.push(format!("{who} {path}: {what}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {count}:\n{}", wrong.len(), wrong.join("\n"));
}

pub(super) fn hapi() -> &'static Front {
    static FRONT: OnceLock<Front> = OnceLock::new();
    FRONT.get_or_init(|| Front::start(Make::Hapi))
}

pub(super) fn sekmet() -> &'static Front {
    static FRONT: OnceLock<Front> = OnceLock::new();
    FRONT.get_or_init(|| Front::start(Make::Sekmet))
}

fn reads(front: &Front) {
    let _turn = front.turn();
    for who in ["patient", "proxy", "narrow", "provider", "system"] {
        let mut counts = [0, 0];
        let sample = |resource: &&Value| {
            let id = resource["id"].as_str().unwrap();
            ["p1", "p2", "p7", "p60"].iter().any(|patient| id == *patient || id.ends_with(&format!("-{patient}")))
                || !id.contains("p")
        };
        for resource in records::all().iter().filter(sample) {
            let key = records::key(resource);
            let answer = front.get(who, &format!("/{key}"));
            let may = front.may_see(who, resource);
            counts[usize::from(may)] += 1;
            match answer.status {
                200 => {
                    assert!(may, "{who} {key}: a leak");
                    let direct = front.server.send("GET", &format!("/{key}"), &[], "");
                    assert_eq!(answer.json(), direct.json(), "{who} {key}");
                    assert_eq!(answer.header("etag"), direct.header("etag"), "{who} {key}");
                }
                403 | 404 => assert!(!may, "{who} {key}: wrongly hidden: {}", answer.text),
                status => panic!("{who} {key}: {status} {}", answer.text),
            }
        }
        println!("{who}: {} hidden, {} seen", counts[0], counts[1]);
        assert!((counts[0] > 20 || who == "system") && counts[1] >= 3, "{who}: {counts:?}");
    }
}

/// Searches over types, and by scopes that no single search can say, are run in parts: neither server knows the first.
fn unions(front: &Front) {
    let _turn = front.turn();
    for who in ["patient", "provider"] {
        let found = front.search(who, "/?_type=Condition,Immunization&_lastUpdated=ge2020").unwrap();
        let mut wanted = expected(front, who, "/Condition").matches;
        wanted.extend(expected(front, who, "/Immunization").matches);
        assert_eq!(keys(&found.matches), keys(&wanted), "{who}");
        assert_eq!(found.matches.len(), wanted.len(), "{who}");
    }
    let both = front.search("either", "/Observation").unwrap();
    let of = |query: &str| front.server.search(&format!("/Observation?patient=p1&{query}")).matches;
    let wanted: BTreeSet<String> = keys(&of("category=laboratory")).union(&keys(&of("code=1001-1"))).cloned().collect();
    assert_eq!((keys(&both.matches), both.matches.len()), (wanted, 2));
    assert_eq!(front.get("either", "/Observation?_summary=count").status, 403);
}

#[test]
fn unions_on_sekmet() {
    unions(sekmet());
}

#[test]
fn unions_on_hapi() {
    unions(hapi());
}

#[test]
fn reads_on_sekmet() {
    reads(sekmet());
}

#[test]
fn reads_on_hapi() {
    reads(hapi());
}

#[test]
fn searches_on_sekmet() {
    searches(sekmet(), &[]);
}

#[test]
fn searches_on_hapi() {
    searches(hapi(), &[]);
}

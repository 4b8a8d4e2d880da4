//! Fact keys worth fetching before the policy is asked for the first time.

use chartgate_model::{DecisionRequest, GrantRequest, Interaction, Item};
use chartgate_runtime::FactTemplate;

use crate::facts::key::FactKey;
use crate::facts::named::{named_patients, patients_of_items};

/// The keys a policy's templates give for a request, so that one call of the policy usually suffices.
pub fn keys_ahead(templates: &[FactTemplate], request: &DecisionRequest) -> Vec<String> {
    let asked = &request.request;
    let places = Places {
        user: &request.subject.user,
        client: &request.subject.client,
        launch_patient: request.subject.patient.as_deref(),
        patient: asked.id.as_deref().filter(|_| asked.resource_type == "Patient"),
        named_patients: named_patients(asked, &request.stored),
    };
    let of_interaction = templates.iter().filter(|template| template.interaction == Some(asked.interaction));
    keys_of(of_interaction, &places)
}

/// The keys the templates give for reads of the resources of an answer.
pub fn keys_of_items(templates: &[FactTemplate], request: &DecisionRequest, items: &[Item<'_>]) -> Vec<String> {
    let places = Places {
        user: &request.subject.user,
        client: &request.subject.client,
        launch_patient: request.subject.patient.as_deref(),
        patient: None,
        named_patients: patients_of_items(items),
    };
    keys_of(templates.iter().filter(|template| template.interaction == Some(Interaction::Read)), &places)
}

/// The keys the templates give for a grant.
pub fn grant_keys_ahead(templates: &[FactTemplate], request: &GrantRequest) -> Vec<String> {
    let places = Places {
        user: &request.user,
        client: &request.client,
        launch_patient: request.patient.as_deref(),
        patient: None,
        named_patients: Vec::new(),
    };
    keys_of(templates.iter().filter(|template| template.interaction.is_none()), &places)
}

fn keys_of<'t>(templates: impl Iterator<Item = &'t FactTemplate>, places: &Places<'_>) -> Vec<String> {
    let mut keys = fill_templates(templates.flat_map(|template| &template.keys), places);
    // A launch patient that is no id is for the policy to refuse, not for the directory to look up, and who they
    // are to themselves everybody knows.
    keys.retain(|key| match FactKey::parse(key) {
        Some(FactKey::Between { user, patient }) => user.strip_prefix("Patient/") != Some(patient),
        Some(_) => true,
        None => false,
    });
    keys
}

/// What the places of a template stand for.
struct Places<'a> {
    /// `{user}`; empty where there is none
    user: &'a str,
    /// `{client}`; empty where there is none
    client: &'a str,
    /// `{launch-patient}`
    launch_patient: Option<&'a str>,
    /// `{patient}`: the id of a request for one Patient
    patient: Option<&'a str>,
    /// `{named-patient}`: each patient the request speaks of, a key for each
    named_patients: Vec<&'a str>,
}

impl<'a> Places<'a> {
    fn values(&self, place: &str) -> Vec<&'a str> {
        let one = |value: Option<&'a str>| value.into_iter().collect();
        match place {
            "user" => one(Some(self.user)),
            "client" => one(Some(self.client)),
            "launch-patient" => one(self.launch_patient),
            "patient" => one(self.patient),
            "named-patient" => self.named_patients.clone(),
            _ => Vec::new(),
        }
    }
}

/// Fill the places of a policy's fact templates.
///
/// A key with a place that has no value, or that this host does not know, is left out: the policy asks
/// for it if it matters. Repeats collapse; the order is kept.
fn fill_templates<'t>(templates: impl IntoIterator<Item = &'t String>, places: &Places<'_>) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for template in templates {
        for key in fill(template, places) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    keys
}

/// One walk from left to right, so that a value is never itself taken for a template.
fn fill(template: &str, places: &Places<'_>) -> Vec<String> {
    let mut keys = vec![String::new()];
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let Some((place, after)) = after.split_once('}') else { return Vec::new() };
        let mut values = places.values(place);
        values.retain(|value| !value.is_empty());
        keys = keys.iter().flat_map(|key| values.iter().map(move |value| format!("{key}{before}{value}"))).collect();
        rest = after;
    }
    keys.iter_mut().for_each(|key| key.push_str(rest));
    keys
}

#[cfg(test)]
mod tests {
    use super::{Places, fill_templates};

    fn filled(templates: &[&str], user: &str, launch: Option<&str>, named: &[&str]) -> Vec<String> {
        let templates: Vec<_> = templates.iter().map(|&text| text.to_owned()).collect();
        let (patient, named_patients) = (named.first().copied(), named.to_vec());
        fill_templates(&templates, &Places { user, client: "app", launch_patient: launch, patient, named_patients })
    }

    const ALL: [&str; 3] =
        ["relationships/{user}", "relationships/{user}/{launch-patient}", "relationships/{user}/{patient}"];

    #[test]
    fn every_place_is_filled() {
        let keys = filled(&ALL, "Practitioner/17", Some("1"), &["2"]);
        let expected =
            ["relationships/Practitioner/17", "relationships/Practitioner/17/1", "relationships/Practitioner/17/2"];
        assert_eq!(keys, expected);
    }

    #[test]
    fn each_named_patient_gives_a_key() {
        let keys = filled(&["relationships/{user}/{named-patient}"], "Practitioner/17", None, &["1", "2"]);
        assert_eq!(keys, ["relationships/Practitioner/17/1", "relationships/Practitioner/17/2"]);
    }

    #[test]
    fn keys_with_an_unfilled_or_unknown_place_are_left_out() {
        assert_eq!(filled(&ALL, "Patient/1", None, &[]), ["relationships/Patient/1"]);
        assert_eq!(filled(&ALL, "", Some("1"), &["2"]), [""; 0]);
        assert_eq!(filled(&ALL, "Patient/1", Some(""), &[""]), ["relationships/Patient/1"]);
        assert_eq!(filled(&["consent/{encounter}", "x/{user", "{}"], "Patient/1", Some("1"), &["2"]), [""; 0]);
    }

    #[test]
    fn equal_keys_collapse() {
        let keys = filled(&ALL[1..], "Patient/1", Some("1"), &["1"]);
        assert_eq!(keys, ["relationships/Patient/1/1"]);
    }

    #[test]
    fn a_value_is_never_read_as_a_template() {
        assert_eq!(filled(&["a/{user}"], "{patient}", None, &["2"]), ["a/{patient}"]);
    }
}

//! Fact keys worth fetching before the policy is asked for the first time.

/// Fill the places `{user}`, `{launch-patient}` and `{patient}` of a policy's fact templates.
///
/// A key with a place that has no value, or that this host does not know, is left out: the policy asks
/// for it if it matters. Repeats collapse; the order is kept.
pub fn fill_templates(
    templates: &[String],
    user: &str,
    launch_patient: Option<&str>,
    patient: Option<&str>,
) -> Vec<String> {
    let value = |place: &str| match place {
        "user" => Some(user),
        "launch-patient" => launch_patient,
        "patient" => patient,
        _ => None,
    };
    let mut keys: Vec<String> = Vec::new();
    for template in templates {
        if let Some(key) = fill(template, |place| value(place).filter(|value| !value.is_empty()))
            && !keys.contains(&key)
        {
            keys.push(key);
        }
    }
    keys
}

/// One walk from left to right, so that a value is never itself taken for a template.
fn fill<'a>(template: &str, value: impl Fn(&str) -> Option<&'a str>) -> Option<String> {
    let mut key = String::with_capacity(template.len());
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        let (place, after) = after.split_once('}')?;
        key.push_str(before);
        key.push_str(value(place)?);
        rest = after;
    }
    key.push_str(rest);
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::fill_templates;

    fn filled(templates: &[&str], user: &str, launch: Option<&str>, patient: Option<&str>) -> Vec<String> {
        let templates: Vec<_> = templates.iter().map(|&text| text.to_owned()).collect();
        fill_templates(&templates, user, launch, patient)
    }

    const ALL: [&str; 3] =
        ["relationships/{user}", "relationships/{user}/{launch-patient}", "relationships/{user}/{patient}"];

    #[test]
    fn every_place_is_filled() {
        let keys = filled(&ALL, "Practitioner/17", Some("1"), Some("2"));
        let expected =
            ["relationships/Practitioner/17", "relationships/Practitioner/17/1", "relationships/Practitioner/17/2"];
        assert_eq!(keys, expected);
    }

    #[test]
    fn keys_with_an_unfilled_or_unknown_place_are_left_out() {
        assert_eq!(filled(&ALL, "Patient/1", None, None), ["relationships/Patient/1"]);
        assert_eq!(filled(&ALL, "", Some("1"), Some("2")), [""; 0]);
        assert_eq!(filled(&ALL, "Patient/1", Some(""), Some("")), ["relationships/Patient/1"]);
        assert_eq!(filled(&["consent/{encounter}", "x/{user", "{}"], "Patient/1", Some("1"), Some("2")), [""; 0]);
    }

    #[test]
    fn equal_keys_collapse() {
        let keys = filled(&ALL[1..], "Patient/1", Some("1"), Some("1"));
        assert_eq!(keys, ["relationships/Patient/1/1"]);
    }

    #[test]
    fn a_value_is_never_read_as_a_template() {
        assert_eq!(filled(&["a/{user}"], "{patient}", None, Some("2")), ["a/{patient}"]);
    }
}

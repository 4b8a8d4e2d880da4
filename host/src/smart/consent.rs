//! What a person is asked to approve, and what is left of it when they leave something out.

use super::scopes::{ResourceScope, TYPES, categories, tokens};

/// One thing that can be approved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    /// what its box is called
    pub(super) id: String,
    /// the scope, as it was asked
    pub(super) text: String,
    /// what it is about
    pub(super) about: About,
    /// parts that can be approved instead of all of it
    pub(super) parts: Vec<Part>,
}

/// What a scope is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum About {
    /// records
    Records {
        /// a type, or `*`
        resource_type: String,
        /// some of `cruds`
        letters: String,
        /// of everybody the user may see, not of one patient
        everybody: bool,
        /// only a part: the filter
        filter: Option<String>,
    },
    /// who the person is, and where they come from: no box, it goes with the rest
    Identity,
    /// going on when nobody is there
    Offline,
    /// something only the app and its server know
    Other,
}

/// A part of what was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// what its box is called
    pub(super) id: String,
    /// the category or the type
    pub(super) name: String,
    /// the scope of this part
    scope: String,
}

impl Item {
    /// Whether it goes with the rest and has no box.
    pub(super) fn is_fixed(&self) -> bool {
        self.about == About::Identity
    }
}

/// The things to approve in a scope string.
pub(super) fn items(scope: &str) -> Vec<Item> {
    tokens(scope).into_iter().enumerate().map(|(at, token)| item(at, token)).collect()
}

fn item(at: usize, token: &str) -> Item {
    let id = format!("s{at}");
    let about = match token {
        "openid" | "fhirUser" | "profile" | "launch" => About::Identity,
        "offline_access" | "online_access" => About::Offline,
        _ if token.starts_with("launch/") => About::Identity,
        _ => records(token),
    };
    let parts = ResourceScope::parse(token).map(|scope| parts(&id, &scope)).unwrap_or_default();
    Item { id, text: token.to_owned(), about, parts }
}

fn records(token: &str) -> About {
    match ResourceScope::parse(token) {
        None => About::Other,
        Some(scope) => About::Records {
            resource_type: scope.resource_type.to_owned(),
            letters: scope.letters.to_owned(),
            everybody: scope.context != "patient",
            filter: scope.filter.map(str::to_owned),
        },
    }
}

fn parts(id: &str, scope: &ResourceScope<'_>) -> Vec<Part> {
    let ResourceScope { context, resource_type, letters, filter } = scope;
    if filter.is_some() {
        return Vec::new();
    }
    let part = |name: &str, scope: String| Part { id: format!("{id}.{name}"), name: name.to_owned(), scope };
    if *resource_type == "*" {
        return TYPES.iter().map(|name| part(name, format!("{context}/{name}.{letters}"))).collect();
    }
    let categories = categories(resource_type).iter();
    categories.map(|(name, filter)| part(name, format!("{context}/{resource_type}.{letters}?{filter}"))).collect()
}

/// What is approved: every fixed thing, what is ticked as a whole, and the parts that are ticked of what is not.
///
/// INVARIANT: nothing of it reaches beyond what was asked. What is ticked and was not asked is nobody's box.
pub(super) fn approved(items: &[Item], ticked: &[String], parts: &[String]) -> String {
    let mut scope: Vec<&str> = Vec::new();
    for item in items {
        if item.is_fixed() || ticked.contains(&item.id) {
            scope.push(&item.text);
            continue;
        }
        scope.extend(item.parts.iter().filter(|part| parts.contains(&part.id)).map(|part| &*part.scope));
    }
    let mut once: Vec<&str> = Vec::new();
    for token in scope {
        if !once.contains(&token) {
            once.push(token);
        }
    }
    once.join(" ")
}

/// Whether anything but who the person is was approved.
pub(super) fn is_anything(scope: &str) -> bool {
    items(scope).iter().any(|item| matches!(item.about, About::Records { .. } | About::Other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smart::scopes::is_within;

    const ASKED: &str = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/Condition.rs \
                         patient/Observation.read patient/*.rs";

    fn approve(ticked: &[&str], parts: &[&str]) -> String {
        let owned = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        approved(&items(ASKED), &owned(ticked), &owned(parts))
    }

    #[test]
    fn everything_ticked_is_everything_asked_as_it_was_spelled() {
        let all: Vec<String> = items(ASKED).iter().map(|item| item.id.clone()).collect();
        let all: Vec<&str> = all.iter().map(String::as_str).collect();
        assert_eq!(approve(&all, &[]), tokens(ASKED).join(" "));
    }

    #[test]
    fn who_the_person_is_goes_with_the_rest() {
        assert_eq!(approve(&["s4"], &[]), "launch/patient openid fhirUser patient/Patient.rs");
        assert!(is_anything(&approve(&["s4"], &[])));
        assert!(!is_anything(&approve(&["s3"], &[])));
    }

    #[test]
    fn a_type_left_out_can_be_had_by_category() {
        let scope = approve(&["s4"], &["s5.problem-list-item", "s6.laboratory", "s6.vital-signs", "s5.laboratory"]);
        let of = |kind: &str| tokens(&scope).into_iter().filter(|token| token.contains(kind)).count();
        assert_eq!((of("/Condition."), of("/Observation.")), (1, 2));
        assert!(tokens(&scope).iter().all(|token| !token.contains("/Condition.rs ") && !token.ends_with(".read")));
        assert!(is_within(&scope, ASKED));
    }

    #[test]
    fn the_whole_of_a_type_makes_its_parts_needless() {
        assert_eq!(approve(&["s5"], &["s5.problem-list-item"]), "launch/patient openid fhirUser patient/Condition.rs");
    }

    #[test]
    fn a_wildcard_left_out_can_be_had_by_type() {
        let scope = approve(&[], &["s7.Goal", "s7.Patient"]);
        assert_eq!(scope, "launch/patient openid fhirUser patient/Goal.rs patient/Patient.rs");
    }

    #[test]
    fn nothing_reaches_beyond_what_was_asked() {
        for strange in ["s99", "s5.x", "s7.Nothing", "patient/Goal.cruds", ""] {
            assert_eq!(approve(&[strange], &[strange]), "launch/patient openid fhirUser", "{strange}");
        }
    }
}

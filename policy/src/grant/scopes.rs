//! Which of the scopes asked for can be granted at all, and what they speak of.

use alloc::collections::BTreeSet;
use alloc::vec::Vec;

use crate::access::write::writable;
use crate::interaction::Form;
use crate::scope::{Context, Letters, ResourceScope, has_plain, is_scope_token, resource_scope};
use crate::tables::{Class, ResourceType, Version};

/// The tokens that can be granted, each once and in the order asked.
pub(super) struct Kept<'a> {
    tokens: Vec<&'a str>,
    /// some speak of one patient's records, or ask who the patient is
    pub(super) needs_patient: bool,
    /// a patient may be in context
    pub(super) in_context: bool,
    /// something can be done with it: records reached, or a user known
    pub(super) is_useful: bool,
}

impl<'a> Kept<'a> {
    pub(super) fn of(scope: &'a str, version: &'static Version) -> Self {
        let mut kept = Self { tokens: Vec::new(), needs_patient: false, in_context: false, is_useful: false };
        let mut seen = BTreeSet::new();
        for token in scope.split(' ').filter(|token| seen.insert(*token)) {
            if let Some(sort) = sort(token, scope, version) {
                kept.tokens.push(token);
                kept.needs_patient |= matches!(sort, Sort::OfPatient | Sort::LaunchPatient);
                kept.in_context |= matches!(sort, Sort::OfPatient | Sort::LaunchPatient | Sort::Launch);
                kept.is_useful |= matches!(sort, Sort::OfPatient | Sort::OfUser | Sort::Openid);
            }
        }
        kept
    }

    /// Those that go with a patient in context, or without one: an encounter is somebody's.
    pub(super) fn granted(&self, has_patient: bool) -> Vec<&'a str> {
        let fits = |token: &&&str| has_patient || !token.starts_with("launch/");
        self.tokens.iter().filter(fits).copied().collect()
    }
}

/// What sort of scope a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    OfPatient,
    OfUser,
    Openid,
    Launch,
    LaunchPatient,
    /// goes along with the others: `fhirUser`, `launch/encounter`, `offline_access`, extensions
    Other,
}

/// What a token means here, if anything. What means nothing is left out, never repaired.
///
/// SECURITY: `system/` speaks of a client's own rights, and no user can give those away.
fn sort(token: &str, scope: &str, version: &'static Version) -> Option<Sort> {
    match token {
        "openid" => Some(Sort::Openid),
        "launch" => Some(Sort::Launch),
        "offline_access" | "online_access" => Some(Sort::Other),
        "fhirUser" | "profile" => has_plain(scope, "openid").then_some(Sort::Other),
        _ if token.starts_with("launch/") => launch(token),
        _ if token.starts_with("__") => (token.len() > 2 && is_scope_token(token)).then_some(Sort::Other),
        _ => match resource_scope(token, version).filter(is_ever_permitted)?.context {
            Context::Patient => Some(Sort::OfPatient),
            Context::User => Some(Sort::OfUser),
            Context::System => None,
        },
    }
}

/// `launch/encounter`, with a role perhaps.
fn launch(token: &str) -> Option<Sort> {
    let (kind, role) = match token.strip_prefix("launch/")?.split_once("?role=") {
        Some((kind, role)) => (kind, Some(role)),
        None => (token.strip_prefix("launch/")?, None),
    };
    let named = !kind.is_empty() && kind.bytes().all(|b| b.is_ascii_lowercase());
    let sound = named && role.is_none_or(is_scope_token);
    sound.then_some(if kind == "patient" { Sort::LaunchPatient } else { Sort::Other })
}

/// Whether some request of some letter could be permitted by a scope, in whatever release.
fn is_ever_permitted(scope: &ResourceScope) -> bool {
    let Some(on) = scope.on else { return true };
    scope.letters.each().any(|letter| allows(on, letter))
}

fn allows(on: &ResourceType, letter: Letters) -> bool {
    match letter {
        Letters::C => writable(on, Form::Create),
        Letters::U => writable(on, Form::Update),
        Letters::D => writable(on, Form::Delete),
        _ => on.class != Class::Unruled,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::version;
    use alloc::string::String;

    fn kept(scope: &str) -> String {
        Kept::of(scope, version("4.0.1").unwrap()).granted(true).join(" ")
    }

    #[test]
    fn what_means_something_is_kept_as_it_is_spelled() {
        let all = "openid fhirUser profile launch launch/patient launch/encounter launch/relatedperson?role=friend \
                   offline_access online_access __x patient/*.* user/Patient.read patient/Patient.cruds \
                   patient/Observation.rs?category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory";
        assert_eq!(kept(all), all);
    }

    #[test]
    fn what_means_nothing_is_left_out() {
        for token in [
            "",
            "email",
            "Openid",
            "fhirUser",
            "profile",
            "launch/",
            "launch/Patient",
            "launch/break-glass",
            "launch/patient?role=",
            "launch/patient?role=a\"b",
            "launch/patient?x=y",
            "launch/patient/1",
            "launchpatient",
            "__",
            "__a\\b",
            "__a\tb",
            "_x",
            "system/*.rs",
            "system/Patient.read",
            "patient/Nonsense.rs",
            "patient/patient.rs",
            "patient/Patient.sr",
            "patient/*.rs?category=a",
            "patient/Observation.rs?nonsense=a",
            "patient/Observation.read?category=a",
            "https://example.org/scope",
        ] {
            assert_eq!(kept(token), "", "{token:?}");
        }
    }

    #[test]
    fn what_no_release_could_permit_is_left_out() {
        let version = version("4.0.1").unwrap();
        let named = |name| version.resource_type(name).unwrap();
        assert_eq!((named("Parameters").class, named("Organization").class), (Class::Unruled, Class::Shared));
        for token in ["patient/Parameters.cruds", "user/Organization.cud", "patient/Patient.c", "patient/Patient.d"] {
            assert_eq!(kept(token), "", "{token}");
        }
        for token in ["user/Organization.cruds", "patient/Patient.cd", "patient/Patient.u", "patient/*.c"] {
            let expected = if token == "patient/Patient.cd" { "" } else { token };
            assert_eq!(kept(token), expected, "{token}");
        }
    }

    #[test]
    fn a_token_is_kept_once_where_it_stands_first() {
        assert_eq!(kept("patient/*.rs openid patient/*.rs openid fhirUser"), "patient/*.rs openid fhirUser");
    }
}

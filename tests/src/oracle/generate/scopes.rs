//! Scope strings: clauses that fit, clauses that do not, and tokens that are none.

use super::content::Pair;
use super::dice::Dice;
use super::values;

/// Scope tokens that are no resource scopes.
const OTHERS: [&str; 8] =
    ["openid", "fhirUser", "openid fhirUser", "launch/patient", "offline_access", "launch", "profile", "__x"];
/// Tokens that grant nothing, however they look.
const MALFORMED: [&str; 24] = [
    "patient/Observation.",
    "patient/Observation",
    "user/*.read-only",
    "user/*.rsXYZ",
    "user/*.rss",
    "patient/*.crudsc",
    "user/*.sr",
    "patient/*.dus",
    "user:*.rs",
    "Patient/*.rs",
    "user/observation.rs",
    "USER/*.rs",
    "user/*.RS",
    "user/*.rs?category=a",
    "user/Observation.read?category=a",
    "user/Observation.rs?",
    "user/Observation.rs?category",
    "user/Observation.rs?=a",
    "user/Observation.rs?category=a&",
    "user/Nonsense.rs",
    "user/*.rs\tuser/*.cruds",
    "break-glass user/*.btg",
    "user/*.rs,user/*.cruds",
    "user/*.rs\"",
];

/// A clause that grants a letter on a type.
pub(super) fn clause(dice: &mut Dice, context: &str, kind: &str, letter: char, filters: &[Pair]) -> String {
    if filters.is_empty() && dice.percent(35) {
        let kind = if dice.percent(60) { "*" } else { kind };
        let access = match letter {
            'r' | 's' => dice.text(&["read", "*"]),
            _ => dice.text(&["write", "*"]),
        };
        return format!("{context}/{kind}.{access}");
    }
    let letters = letters(dice, letter);
    if filters.is_empty() {
        let kind = if dice.percent(40) { "*" } else { kind };
        return format!("{context}/{kind}.{letters}");
    }
    let pairs: Vec<String> =
        filters.iter().map(|(name, value)| format!("{name}={}", values::encoded(dice, value))).collect();
    format!("{context}/{kind}.{letters}?{}", pairs.join("&"))
}

fn letters(dice: &mut Dice, letter: char) -> String {
    "cruds".chars().filter(|other| *other == letter || dice.percent(45)).collect()
}

/// A token that may be anything.
pub(super) fn stray(dice: &mut Dice, kind: &str) -> String {
    match dice.below(8) {
        0 | 1 => dice.text(&OTHERS),
        2 => dice.text(&MALFORMED),
        3 => {
            let name =
                dice.text(&["category", "code", "status", "_id", "patient", "category:not", "_text", "nonsense"]);
            format!("{}/{kind}.rs?{name}={}", context(dice), dice.text(&["a", "b", "123", "%zz", "%7C", "ap5"]))
        }
        4 => {
            let other = dice.text(&["Observation", "Condition", "Patient", "Organization", "Appointment", "Encounter"]);
            let letter = *dice.pick(&['c', 'r', 'u', 'd', 's']);
            let context = context(dice);
            clause(dice, &context, &other, letter, &[])
        }
        _ => {
            let (context, letter) = (context(dice), *dice.pick(&['c', 'r', 'u', 'd', 's']));
            clause(dice, &context, kind, letter, &[])
        }
    }
}

/// A context.
pub(super) fn context(dice: &mut Dice) -> String {
    dice.text(&["patient", "user", "system"])
}

/// Change one thing about a scope string.
pub(super) fn spoil(dice: &mut Dice, tokens: &mut [String]) {
    let at = dice.below(tokens.len());
    let token = tokens[at].clone();
    tokens[at] = match dice.below(9) {
        0 => dice.text(&MALFORMED),
        1 => token.replace("patient/", "user/"),
        2 => token.replace("user/", "patient/"),
        3 => token.replace("user/", "system/").replace("patient/", "system/"),
        4 => token.replacen('r', "", 1),
        5 => format!("{token}{}", dice.text(&["?", "s", "&x=y", ".rs", "%", "?category=a"])),
        6 => token.split('?').next().unwrap_or_default().to_owned(),
        7 => {
            format!("{token}&{}", dice.text(&["category=a", "status=a", "foo=a", "code:not=a", "_lastUpdated=ge2024"]))
        }
        _ => String::new(),
    };
}

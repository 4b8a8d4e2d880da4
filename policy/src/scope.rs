//! SMART scopes (SMART App Launch 2.2, section "Scopes and Launch Context").
//!
//! Grammar, whole token or nothing: `context/type.letters[?name=value(&name=value)*]`, or the v1
//! spelling `context/type.(read|write|*)`. Whatever does not fit grants nothing and is never repaired:
//! reading a prefix of `.read-only` as `.read` is how others failed open.

use alloc::string::String;
use alloc::vec::Vec;

use crate::search::filter::Filter;
use crate::tables::{ResourceType, Version};

/// The letters of SMART v2, as a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Letters(u8);

impl Letters {
    pub(crate) const C: Self = Self(1);
    pub(crate) const R: Self = Self(2);
    pub(crate) const U: Self = Self(4);
    pub(crate) const D: Self = Self(8);
    pub(crate) const S: Self = Self(16);
    const ORDER: [(u8, Self); 5] =
        [(b'c', Self::C), (b'r', Self::R), (b'u', Self::U), (b'd', Self::D), (b's', Self::S)];

    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// As a scope spells them.
    pub(crate) fn spelt(self) -> String {
        Self::ORDER.iter().filter(|(_, letter)| self.contains(*letter)).map(|(byte, _)| char::from(*byte)).collect()
    }

    pub(crate) fn writes(self) -> bool {
        [Self::C, Self::U, Self::D].into_iter().any(|letter| self.contains(letter))
    }

    /// The single letters in this set, in the order of `cruds`.
    pub(crate) fn each(self) -> impl Iterator<Item = Self> {
        Self::ORDER.into_iter().map(|(_, letter)| letter).filter(move |letter| self.contains(*letter))
    }

    /// `read`, `write`, `*`, or an in-order, non-empty, repeat-free subset of `cruds`.
    fn parse(text: &str) -> Option<(Self, Spelling)> {
        match text {
            "read" => return Some((Self::R.with(Self::S), Spelling::V1)),
            "write" => return Some((Self::C.with(Self::U).with(Self::D), Spelling::V1)),
            "*" => return Some((Self(31), Spelling::V1)),
            _ => {}
        }
        let mut order = Self::ORDER.into_iter();
        let letters = text.bytes().try_fold(Self(0), |letters, byte| {
            order.find(|(letter, _)| *letter == byte).map(|(_, letter)| letters.with(letter))
        })?;
        (letters != Self(0)).then_some((letters, Spelling::V2))
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Spelling {
    V1,
    V2,
}

/// Whose data a clause speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// the launch patient
    Patient,
    /// everybody the user may reach
    User,
    /// the client's own rights
    System,
}

/// A resource scope that stands in the token, not yet held against a type.
#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    context: Context,
    /// `*`, or what is only then a type if the tables know it
    resource_type: &'a str,
    letters: Letters,
    filter: Option<&'a str>,
}

/// A scope clause that covers the type and the letter of a request.
#[derive(Debug, Clone)]
pub(crate) struct Clause<'a> {
    /// as the token spells it
    pub(crate) text: &'a str,
    pub(crate) context: Context,
    /// granular constraint; empty when there is none
    pub(crate) filter: Filter<'a>,
}

/// RFC 6749, section 3.3: printable ASCII without space, `"` and `\`.
pub(crate) fn is_scope_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

fn parse(text: &str) -> Option<Token<'_>> {
    if !is_scope_token(text) {
        return None;
    }
    let (context, rest) = text.split_once('/')?;
    let context = match context {
        "patient" => Context::Patient,
        "user" => Context::User,
        "system" => Context::System,
        _ => return None,
    };
    let (rest, filter) = match rest.split_once('?') {
        Some((rest, filter)) => (rest, Some(filter)),
        None => (rest, None),
    };
    let (resource_type, letters) = rest.split_once('.')?;
    let (letters, spelling) = Letters::parse(letters)?;
    let filter_fits = filter.is_none() || spelling == Spelling::V2;
    filter_fits.then_some(Token { context, resource_type, letters, filter })
}

/// Whether a scope string carries this plain scope (`openid`, `launch`).
pub(crate) fn has_plain(scope: &str, wanted: &str) -> bool {
    scope.split(' ').any(|token| token == wanted)
}

/// The clauses that cover a type (or, at system level, `*` only) and one letter, in the token's order.
///
/// A granular clause is kept only when its filter can be judged on content of that type; on `*` it
/// cannot, since its parameters mean something else for each type. Dropping the filter and keeping
/// the clause would widen it.
pub(crate) fn covering<'a>(
    scope: &'a str,
    version: &'static Version,
    on: Option<&'static ResourceType>,
    letter: Letters,
) -> Vec<Clause<'a>> {
    let covers = |text: &'a str| {
        // Most tokens are of another type or letter: their filters are not worth reading.
        let token = parse(text)?;
        let names_it = token.resource_type == "*" || on.is_some_and(|on| on.name == token.resource_type);
        if !names_it || !token.letters.contains(letter) {
            return None;
        }
        let filter = match (token.filter, on) {
            (None, _) => Filter::default(),
            (Some(filter), Some(on)) if token.resource_type != "*" => Filter::parse(filter, version, on)?,
            (Some(_), _) => return None,
        };
        Some(Clause { text, context: token.context, filter })
    };
    scope.split(' ').filter_map(covers).collect()
}

/// A resource scope that stands for itself, not held against a request.
#[derive(Clone, Copy)]
pub(crate) struct ResourceScope {
    pub(crate) context: Context,
    /// `None` for every type
    pub(crate) on: Option<&'static ResourceType>,
    pub(crate) letters: Letters,
}

/// Read a resource scope. It is read exactly where [`covering`] would keep it for some type and letter.
pub(crate) fn resource_scope(text: &str, version: &'static Version) -> Option<ResourceScope> {
    let Token { context, resource_type, letters, filter } = parse(text)?;
    let on = match (resource_type, filter) {
        ("*", None) => None,
        ("*", Some(_)) => return None,
        (name, filter) => {
            let on = version.resource_type(name)?;
            if let Some(filter) = filter {
                Filter::parse(filter, version, on)?;
            }
            Some(on)
        }
    };
    Some(ResourceScope { context, on, letters })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::version;

    fn covers(scope: &str, resource_type: &str, letter: Letters) -> usize {
        let version = version("4.0.1").unwrap();
        covering(scope, version, version.resource_type(resource_type), letter).len()
    }

    #[test]
    fn v1_and_v2_spell_the_same_letters() {
        for (v1, v2) in [("read", "rs"), ("write", "cud"), ("*", "cruds")] {
            assert_eq!(Letters::parse(v1).unwrap().0, Letters::parse(v2).unwrap().0);
        }
    }

    #[test]
    fn letters_are_a_set() {
        assert_eq!(Letters::R.with(Letters::R), Letters::R);
        for (text, writes) in [("r", false), ("s", false), ("rs", false), ("c", true), ("u", true), ("d", true)] {
            assert_eq!(Letters::parse(text).unwrap().0.writes(), writes, "{text}");
        }
    }

    #[test]
    fn letters_out_of_order_repeated_or_followed_by_more_are_no_letters() {
        for text in ["", "sr", "rr", "rss", "crudsc", "read-only", "rsXYZ", "Read", "R", "dus", "r s", "rs.", "cruds*"]
        {
            assert!(Letters::parse(text).is_none(), "{text}");
        }
    }

    #[test]
    fn a_token_is_consumed_whole_or_not_at_all() {
        let tokens = [
            "patient/Observation.",
            "patient/Observation",
            "patient/.rs",
            "patient/*",
            "system:Observation.rs",
            "System/Observation.rs",
            "patient/observation.rs",
            "xpatient/Observation.rs",
            "patient/Observation.rs?",
            "patient/Observation.read?category=a",
            "patient//Observation.rs",
            "patient/Obs*.rs",
            "\u{a0}patient/Observation.rs",
            "patient/Observation.rs\t",
        ];
        for token in tokens {
            assert_eq!(covers(token, "Observation", Letters::R), 0, "{token}");
        }
        assert_eq!(covers("patient/Observation.rs", "Observation", Letters::R), 1);
    }

    #[test]
    fn a_filter_that_cannot_be_judged_makes_the_scope_ungrantable() {
        let filters = [
            "category",
            "category=",
            "=x",
            "code:in=x",
            "subject.name=x",
            "_include=Observation:subject",
            "_sort=date",
            "nonsense=x",
            "date=ap2020",
            "category=%zz",
            "category=a&",
            "category=a||b",
            "category=,a",
            "category=|",
        ];
        for filter in filters {
            let scope = alloc::format!("patient/Observation.rs?{filter}");
            assert_eq!(covers(&scope, "Observation", Letters::R), 0, "{filter}");
        }
        assert_eq!(covers("patient/Observation.rs?category=laboratory", "Observation", Letters::R), 1);
        assert_eq!(covers("patient/*.rs?category=laboratory", "Observation", Letters::R), 0);
    }
}

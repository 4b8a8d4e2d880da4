//! The scope string (SMART App Launch 2.2, "Scopes"): which clauses it holds.

use super::definitions::Definitions;

/// Whose data a clause is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Context {
    /// the launch patient's
    Patient,
    /// whoever the user reaches
    User,
    /// everybody's
    System,
}

/// One resource scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    /// whose data
    pub context: Context,
    /// `Observation` or `*`
    pub kind: String,
    /// some of `cruds`
    pub letters: String,
    /// names and values, decoded
    pub filters: Vec<(String, String)>,
}

/// The clauses of a scope string; what is malformed is none.
pub fn clauses(scope: &str, definitions: &Definitions) -> Vec<Clause> {
    scope.split(' ').filter_map(|token| clause(token, definitions)).collect()
}

/// Whether the string holds a scope as it stands.
pub fn has(scope: &str, wanted: &str) -> bool {
    scope.split(' ').any(|token| token == wanted)
}

fn clause(token: &str, definitions: &Definitions) -> Option<Clause> {
    if !token.bytes().all(|b| b.is_ascii_graphic() && b != b'"' && b != b'\\') {
        return None;
    }
    let (context, rest) = token.split_once('/')?;
    let context = match context {
        "patient" => Context::Patient,
        "user" => Context::User,
        "system" => Context::System,
        _ => return None,
    };
    let (resource, filters) = match rest.split_once('?') {
        Some((resource, filters)) => (resource, Some(filters)),
        None => (rest, None),
    };
    let (kind, access) = resource.split_once('.')?;
    if kind != "*" && !definitions.has_type(kind) {
        return None;
    }
    let (letters, is_v1) = match access {
        "read" => ("rs", true),
        "write" => ("cud", true),
        "*" => ("cruds", true),
        _ => (access, false),
    };
    if !in_order(letters) || (filters.is_some() && (is_v1 || kind == "*")) {
        return None;
    }
    let filters = filters.map_or(Some(Vec::new()), pairs)?;
    Some(Clause { context, kind: kind.to_owned(), letters: letters.to_owned(), filters })
}

/// A non-empty part of `cruds`, in that order.
fn in_order(letters: &str) -> bool {
    let mut places = letters.chars().map(|letter| "cruds".find(letter));
    let mut last = None;
    !letters.is_empty() && places.all(|place| place.is_some() && place > std::mem::replace(&mut last, place))
}

fn pairs(text: &str) -> Option<Vec<(String, String)>> {
    let mut found = Vec::new();
    for pair in text.split('&') {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (decode(name)?, decode(value)?);
        if name.is_empty() || value.is_empty() {
            return None;
        }
        found.push((name, value));
    }
    Some(found)
}

/// Percent-decode once; `None` for a broken escape or what is not UTF-8.
fn decode(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let (mut decoded, mut at) = (Vec::new(), 0);
    while let Some(&byte) = bytes.get(at) {
        if byte == b'%' {
            let digits = text.get(at + 1..at + 3).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))?;
            decoded.push(u8::from_str_radix(digits, 16).ok()?);
            at += 3;
        } else {
            decoded.push(byte);
            at += 1;
        }
    }
    String::from_utf8(decoded).ok()
}

#[cfg(test)]
mod tests {
    use super::clauses;
    use crate::oracle::definitions;

    #[test]
    fn only_whole_tokens_of_the_grammar_are_clauses() {
        let definitions = definitions::of_version("4.0.1").unwrap();
        let letters =
            |scope: &str| clauses(scope, definitions).into_iter().map(|clause| clause.letters).collect::<Vec<_>>();
        for (scope, wanted) in
            [("user/*.read", "rs"), ("user/*.write", "cud"), ("user/*.*", "cruds"), ("user/*.cu", "cu")]
        {
            assert_eq!(letters(scope), [wanted], "{scope}");
        }
        for scope in [
            "patient/Observation.",
            "patient/Observation.sr",
            "patient/Observation.rrs",
            "patient/Observation.read-only",
            "patient/observation.rs",
            "system:Patient.read",
            "patient/*.rs?code=a",
            "patient/Observation.read?code=a",
            "patient/Observation.rs?code",
            "patient/Observation.rs?code=%zz",
            "patient/Observation.rs\tuser/*.rs",
        ] {
            assert!(letters(scope).is_empty(), "{scope}");
        }
    }

    #[test]
    fn filters_are_decoded_once() {
        let definitions = definitions::of_version("4.0.1").unwrap();
        let clause = clauses("user/Observation.rs?code=a%5C%2Cb%2541+c&status=d", definitions).remove(0);
        let pairs = [("code".to_owned(), "a\\,b%41+c".to_owned()), ("status".to_owned(), "d".to_owned())];
        assert_eq!(clause.filters, pairs);
    }
}

//! What a literal reference points at.

/// A reference as its text says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Literal {
    /// a resource of this base, with or without a version
    Local {
        /// `Patient`
        kind: String,
        /// `123`
        id: String,
    },
    /// a resource of another server, with its type where the URL says it
    Foreign(Option<String>),
    /// contained, urn, conditional, malformed
    Unclear,
}

/// Read the text of `Reference.reference`.
pub fn read(text: &str, base: &str) -> Literal {
    let below = text.strip_prefix(base).and_then(|rest| rest.strip_prefix('/'));
    if let Some(relative) = below {
        return local(relative);
    }
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return local(text) };
    let mut segments = rest.rsplit('/');
    let (id, kind) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    let typed = is_type(kind) && is_id(id) && segments.next().is_some();
    Literal::Foreign(typed.then(|| kind.to_owned()))
}

fn local(text: &str) -> Literal {
    let segments: Vec<&str> = text.split('/').collect();
    let (kind, id) = match segments.as_slice() {
        [kind, id] => (kind, id),
        [kind, id, "_history", version] if is_id(version) => (kind, id),
        _ => return Literal::Unclear,
    };
    if is_type(kind) && is_id(id) {
        Literal::Local { kind: (*kind).to_owned(), id: (*id).to_owned() }
    } else {
        Literal::Unclear
    }
}

/// A FHIR id.
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

fn is_type(text: &str) -> bool {
    text.bytes().next().is_some_and(|b| b.is_ascii_uppercase()) && text.bytes().all(|b| b.is_ascii_alphabetic())
}

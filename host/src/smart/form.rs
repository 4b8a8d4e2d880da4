//! Parameters of a request, each at most once.

/// Parameters by name.
///
/// A parameter without a value counts as absent, and unknown ones are ignored (RFC 6749, section 3.1).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Form(Vec<(String, String)>);

/// The most parameters read.
const MOST: usize = 64;

/// A request cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// SECURITY: two readers could take different ones (RFC 6749, section 3.1)
    #[error("`{0}` is there twice")]
    Twice(String),
    /// more than 64
    #[error("there are too many parameters")]
    TooMany,
}

impl Form {
    /// Read a query or a form body. Names that repeat are errors only where they mean something: `known` says so.
    pub fn parse(text: &[u8], known: &[&str]) -> Result<Self, FormError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in url::form_urlencoded::parse(text) {
            if !known.contains(&&*name) {
                continue;
            }
            if pairs.iter().any(|(other, _)| *other == name) {
                return Err(FormError::Twice(name.into_owned()));
            }
            if pairs.len() >= MOST {
                return Err(FormError::TooMany);
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(pairs))
    }

    /// The value of a parameter, if it has one.
    pub fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Whether a parameter is there, with a value or without.
    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(known, _)| known == name)
    }
}

/// All values of a name that may repeat: the boxes ticked in a form.
pub fn all(text: &[u8], name: &str) -> Vec<String> {
    let pairs = url::form_urlencoded::parse(text).filter(|(known, _)| known == name);
    pairs.map(|(_, value)| value.into_owned()).take(MOST * 16).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_parameter_stands_once_and_an_unknown_one_is_ignored() {
        let known = ["scope", "state"];
        let form = Form::parse(b"scope=a+b&x=1&x=2&state=", &known).unwrap();
        assert_eq!((form.get("scope"), form.get("state"), form.get("x")), (Some("a b"), None, None));
        assert!(form.has("state"));
        assert_eq!(Form::parse(b"scope=a&scope=a", &known), Err(FormError::Twice("scope".into())));
        assert_eq!(Form::parse(b"state=&state=", &known), Err(FormError::Twice("state".into())));
    }

    #[test]
    fn boxes_may_repeat() {
        assert_eq!(all(b"scope=0&part=a&scope=1", "scope"), ["0", "1"]);
    }
}

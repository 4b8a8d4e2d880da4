//! The keys a policy asks by.

use chartgate_model::Relationship;

use crate::store::validate;

/// A fact key, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum FactKey<'a> {
    /// `relationships/<Type>/<id>/<patient id>`: all between the two
    Between {
        /// `Practitioner/17`
        user: &'a str,
        /// bare id
        patient: &'a str,
    },
    /// `relationships/<Type>/<id>`: all of a user
    OfUser {
        /// `Practitioner/17`
        user: &'a str,
    },
}

impl<'a> FactKey<'a> {
    /// Read a key; `None` for another prefix or a malformed rest.
    pub(super) fn parse(key: &'a str) -> Option<Self> {
        let rest = key.strip_prefix("relationships/")?;
        let user_only = rest.matches('/').count() == 1;
        let parsed = match rest.rsplit_once('/')? {
            _ if user_only => Self::OfUser { user: rest },
            (user, patient) => Self::Between { user, patient },
        };
        let sound = match parsed {
            Self::OfUser { user } => validate::user(user).is_ok(),
            Self::Between { user, patient } => validate::user(user).is_ok() && validate::is_id(patient),
        };
        sound.then_some(parsed)
    }

    /// Whether a relationship belongs into the answer.
    pub(super) fn concerns(&self, entry: &Relationship) -> bool {
        match *self {
            Self::Between { user, patient } => entry.user == user && entry.patient == patient,
            Self::OfUser { user } => entry.user == user,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::FactKey;

    #[test]
    fn both_forms_are_read() {
        let user = "Practitioner/17";
        assert_eq!(FactKey::parse("relationships/Practitioner/17"), Some(FactKey::OfUser { user }));
        let between = FactKey::Between { user, patient: "123" };
        assert_eq!(FactKey::parse("relationships/Practitioner/17/123"), Some(between));
    }

    #[test]
    fn anything_else_is_unknown() {
        for key in [
            "",
            "relationships",
            "relationships/",
            "relationships/17",
            "relationships/Practitioner/",
            "relationships/Practitioner/17/",
            "relationships/Practitioner/17/123/treatment",
            "relationships/Device/17",
            "relationships//Practitioner/17",
            "relationships/Practitioner/17/..",
            "Relationships/Practitioner/17",
            "resource/Patient/1",
            "consent/Patient/1",
        ] {
            assert_eq!(FactKey::parse(key), None, "{key}");
        }
    }
}

//! The keys a policy asks by.

use chartgate_model::{RecordClass, Relationship};

use crate::people::is_client_id;
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
    /// `patients/<Type>/<id>`: the charts of all of a user's patients
    PatientsOf {
        /// `Practitioner/17`
        user: &'a str,
    },
    /// `patient/<patient id>`, `user/<Type>/<id>`, `client/<client id>`: what is known of one
    Of {
        /// of whom
        class: RecordClass,
        /// as the class has it
        id: &'a str,
    },
}

impl<'a> FactKey<'a> {
    /// Read a key; `None` for another prefix or a malformed rest.
    pub(super) fn parse(key: &'a str) -> Option<Self> {
        let (prefix, rest) = key.split_once('/')?;
        if let Some(class) = RecordClass::from_code(prefix) {
            let sound = match class {
                RecordClass::Patient => validate::is_id(rest),
                RecordClass::User => validate::user(rest).is_ok(),
                RecordClass::Client => is_client_id(rest),
            };
            return sound.then_some(Self::Of { class, id: rest });
        }
        if prefix == "patients" {
            return validate::user(rest).is_ok().then_some(Self::PatientsOf { user: rest });
        }
        if prefix != "relationships" {
            return None;
        }
        let user_only = rest.matches('/').count() == 1;
        let parsed = match rest.rsplit_once('/')? {
            _ if user_only => Self::OfUser { user: rest },
            (user, patient) => Self::Between { user, patient },
        };
        let sound = match parsed {
            Self::OfUser { user } => validate::user(user).is_ok(),
            Self::Between { user, patient } => validate::user(user).is_ok() && validate::is_id(patient),
            Self::PatientsOf { .. } | Self::Of { .. } => true,
        };
        sound.then_some(parsed)
    }
}

/// Whether a relationship is of a user, and to a patient where one is named.
pub(super) fn concerns(entry: &Relationship, user: &str, patient: Option<&str>) -> bool {
    entry.user == user && patient.is_none_or(|patient| entry.patient == patient)
}

#[cfg(test)]
mod tests {
    use chartgate_model::RecordClass;

    use super::FactKey;

    #[test]
    fn both_forms_are_read() {
        let user = "Practitioner/17";
        assert_eq!(FactKey::parse("relationships/Practitioner/17"), Some(FactKey::OfUser { user }));
        let between = FactKey::Between { user, patient: "123" };
        assert_eq!(FactKey::parse("relationships/Practitioner/17/123"), Some(between));
    }

    #[test]
    fn a_record_is_asked_for_by_class_and_id() {
        for (key, class, id) in [
            ("patient/123", RecordClass::Patient, "123"),
            ("user/Practitioner/17", RecordClass::User, "Practitioner/17"),
            ("client/https://app.example/x", RecordClass::Client, "https://app.example/x"),
        ] {
            assert_eq!(FactKey::parse(key), Some(FactKey::Of { class, id }));
        }
        let user = "RelatedPerson/5";
        assert_eq!(FactKey::parse("patients/RelatedPerson/5"), Some(FactKey::PatientsOf { user }));
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
            "patient/",
            "patient/Patient/1",
            "patient/..",
            "patients/17",
            "user/17",
            "user/Device/1",
            "client/",
            "client/two words",
            "consent/Patient/1",
        ] {
            assert_eq!(FactKey::parse(key), None, "{key}");
        }
    }
}

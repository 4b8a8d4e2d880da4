//! Local accounts: who signs in, and as whom they may then act.

use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash};
use argon2::{Algorithm, Argon2, Params, Version};
use chartgate_model::SubjectKind;
use serde::{Deserialize, Serialize};

use super::secret::NoRandom;
use super::settings::{PASSWORD_MAX, PASSWORD_MIN};
use crate::edge::Edge;
use crate::store::oauth::AccountRow;
use crate::store::validate;

/// Somebody who signs in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Account {
    /// what people call them
    pub label: String,
    /// as whom they may act: one at a time
    pub identities: Vec<Identity>,
    /// nobody can sign in
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub closed: bool,
}

/// As whom somebody may act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// the role
    pub kind: Kind,
    /// `Practitioner/17`
    pub user: String,
}

/// A role of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// for themselves
    Patient,
    /// for others
    Proxy,
    /// a user of the record system
    Provider,
}

impl From<Kind> for SubjectKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Patient => Self::Patient,
            Kind::Proxy => Self::Proxy,
            Kind::Provider => Self::Provider,
        }
    }
}

impl Identity {
    /// The patient that is this very person.
    pub fn own_patient(&self) -> Option<&str> {
        self.user.strip_prefix("Patient/").filter(|_| self.kind == Kind::Patient)
    }
}

/// An account holds something it may not.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` {message}")]
pub struct AccountError {
    /// which member
    pub member: &'static str,
    /// what is wrong with it
    pub message: String,
}

fn wrong(member: &'static str, message: impl Into<String>) -> AccountError {
    AccountError { member, message: message.into() }
}

impl Account {
    /// Refuse what no account may hold.
    pub fn check(&self) -> Result<(), AccountError> {
        if !(1..=120).contains(&self.label.chars().count()) || self.label.contains(char::is_control) {
            return Err(wrong("label", "has to be 1 to 120 characters"));
        }
        if self.identities.len() > 32 {
            return Err(wrong("identities", "are more than 32"));
        }
        for identity in &self.identities {
            validate::user(&identity.user).map_err(|error| wrong("identities.user", error.message))?;
            let kind = identity.user.split('/').next().and_then(SubjectKind::of_user_type);
            if kind.is_some_and(|kind| kind != identity.kind.into()) {
                return Err(wrong("identities.kind", format!("does not fit `{}`", identity.user)));
            }
        }
        Ok(())
    }
}

/// The name somebody signs in with: without blanks around it, in lower case, and of a sane length.
pub fn name(given: &str) -> Result<String, AccountError> {
    let name = given.trim().to_lowercase();
    let sound = (3..=120).contains(&name.chars().count()) && !name.contains(|c: char| c.is_control() || c == ' ');
    if sound { Ok(name) } else { Err(wrong("name", "has to be 3 to 120 characters without blanks")) }
}

/// Refuse a password that is too short to be one, or too long to be worth its time.
pub fn check_password(password: &str) -> Result<(), AccountError> {
    let long_enough = password.chars().count() >= PASSWORD_MIN && password.len() <= PASSWORD_MAX;
    let varied = password.chars().collect::<std::collections::BTreeSet<_>>().len() >= 5;
    match long_enough && varied {
        true => Ok(()),
        false => Err(wrong("password", format!("has to be {PASSWORD_MIN} characters or more, five of them different"))),
    }
}

/// 19 MiB, two passes: what OWASP asks of Argon2id.
fn hasher() -> Option<Argon2<'static>> {
    Some(Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::new(19 * 1024, 2, 1, None).ok()?))
}

/// What is kept of a password.
pub fn hash(edge: &Edge, password: &str) -> Result<String, NoRandom> {
    let mut salt = [0; 16];
    if !(edge.random)(&mut salt) {
        return Err(NoRandom);
    }
    let hasher = hasher().ok_or(NoRandom)?;
    let hash = hasher.hash_password_with_salt(password.as_bytes(), &salt).map_err(|_| NoRandom)?;
    Ok(hash.to_string())
}

/// A hash nobody has the password of. It is checked when nobody is found, so that this takes as long.
pub const NOBODY: &str = "$argon2id$v=19$m=19456,t=2,p=1$Y2hhcnRnYXRlbm9ib2R5$\
                          3ZrkbkXjPSc7pFjrWqMVWZCSVZCQb5bHMqhFzk1bHBY";

/// Whether a password is an account's.
///
/// SECURITY: whether there is such an account does not show in the time this takes.
pub fn verify(account: Option<&AccountRow>, password: &str) -> bool {
    let kept = account.map_or(NOBODY, |account| account.password.as_str());
    let password = if password.len() > PASSWORD_MAX { "" } else { password };
    let matches = PasswordHash::new(kept)
        .ok()
        .zip(hasher())
        .is_some_and(|(hash, hasher)| hasher.verify_password(password.as_bytes(), &hash).is_ok());
    matches && account.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(password: &str) -> AccountRow {
        let password = hash(&Edge::system(), password).unwrap();
        AccountRow { name: "mia".into(), password, body: String::new() }
    }

    #[test]
    fn a_password_is_its_accounts_and_no_other() {
        let account = row("correct horse battery");
        assert!(verify(Some(&account), "correct horse battery"));
        for bad in ["correct horse batterz", "", "Correct horse battery"] {
            assert!(!verify(Some(&account), bad), "{bad}");
        }
        assert!(!verify(None, "correct horse battery") && !verify(None, ""));
    }

    #[test]
    fn the_hash_of_nobody_takes_the_same_work() {
        let hash = PasswordHash::new(NOBODY).unwrap();
        let kept = row("correct horse battery").password;
        let same = PasswordHash::new(&kept).unwrap();
        assert_eq!(hash.algorithm, same.algorithm);
        assert_eq!(hash.params.to_string(), same.params.to_string());
        assert_eq!(hash.hash.unwrap().len(), same.hash.unwrap().len());
    }

    #[test]
    fn a_password_is_long_and_varied() {
        for (good, password) in [
            (true, "abcdefghij"),
            (false, "abcdefghi"),
            (false, "aaaabbbbccccdddd"),
            (true, "aaaabbbbccccddddee"),
            (false, &*"abcde".repeat(200)),
        ] {
            assert_eq!(check_password(password).is_ok(), good, "{password}");
        }
    }

    #[test]
    fn names_are_told_apart_without_case() {
        assert_eq!(name(" Mia.Berg ").unwrap(), "mia.berg");
        for bad in ["ab", "a b c", "", "\u{7}abc"] {
            assert!(name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_identity_has_the_role_its_type_has() {
        let account = |kind, user: &str| Account {
            label: "Mia".into(),
            identities: vec![Identity { kind, user: user.into() }],
            closed: false,
        };
        assert!(account(Kind::Patient, "Patient/1").check().is_ok());
        assert!(account(Kind::Proxy, "Person/1").check().is_ok());
        assert!(account(Kind::Provider, "Patient/1").check().is_err());
        assert!(account(Kind::Patient, "Patient/").check().is_err());
    }
}

//! Making an account: somebody whom the practice gave a code, and who knows whose chart it is for.

use std::net::IpAddr;

use chartgate_model::Millis;
use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq as _;

use super::account::{self, Account, Identity};
use super::secret::{Secret, digest};
use super::session::{SignInError, in_turn};
use super::{Server, Visit};
use crate::store::StoreError;
use crate::store::oauth::{AccountRow, EnrolmentRow};

/// Tries with the wrong details after which a code is worth nothing.
const FAILURES_MAX: u32 = 5;

/// Whom a code is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Enrolment {
    /// what people call them
    pub label: String,
    /// as whom the account may act
    pub identities: Vec<Identity>,
    /// family name they have to know
    pub family_name: String,
    /// birth date they have to know, `1984-02-29`
    pub birth_date: String,
}

/// Nobody is enrolled.
#[derive(Debug, thiserror::Error)]
pub enum EnrolError {
    /// SECURITY: one answer for a code nobody has, one that has ended, and one of somebody else
    #[error("the code and the details do not belong together")]
    NoMatch,
    /// too many tries
    #[error("there were too many tries")]
    TooOften,
    /// the two passwords differ
    #[error("the two passwords differ")]
    Differ,
    /// too short a password
    #[error("the password is too weak")]
    Password,
    /// no name
    #[error("the name cannot be one")]
    BadName,
    /// somebody's
    #[error("the name is taken")]
    Name,
    /// it failed here
    #[error("it failed here")]
    Failed,
    /// the database
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<SignInError> for EnrolError {
    fn from(error: SignInError) -> Self {
        match error {
            SignInError::Store(error) => Self::Store(error),
            SignInError::TooOften => Self::TooOften,
            SignInError::Failed => Self::Failed,
        }
    }
}

/// What somebody says of themselves.
#[derive(Debug, Clone, Copy)]
pub struct Claimed<'a> {
    /// the code
    pub code: &'a str,
    /// family name
    pub family_name: &'a str,
    /// birth date
    pub birth_date: &'a str,
}

impl Server {
    /// Whether code and details belong together. All tries look alike from outside.
    pub fn check_enrolment(&self, claimed: &Claimed<'_>, address: IpAddr) -> Result<Enrolment, EnrolError> {
        if !self.throttle.may_enrol(address) {
            return Err(EnrolError::TooOften);
        }
        let (tenant, code) = (&self.settings.tenant, digest(&plain_code(claimed.code)));
        let Some(row) = self.store.enrolment(tenant, &code, self.now())? else {
            self.throttle.failed_to_enrol(address);
            return Err(EnrolError::NoMatch);
        };
        let unreadable = |_| StoreError::Unreadable { column: "enrolments.body" };
        let known: Enrolment = serde_json::from_str(&row.body).map_err(unreadable)?;
        if row.failures >= FAILURES_MAX || !known.is(claimed) {
            self.store.enrolment_failed(tenant, &code)?;
            self.throttle.failed_to_enrol(address);
            return Err(EnrolError::NoMatch);
        }
        Ok(known)
    }

    /// Make the account, and sign it in. The code is spent with it.
    pub async fn enrol(
        &self,
        visit: &Visit,
        claimed: &Claimed<'_>,
        (name, password, again): (&str, &str, &str),
        address: IpAddr,
    ) -> Result<Secret, EnrolError> {
        let known = self.check_enrolment(claimed, address)?;
        if password != again {
            return Err(EnrolError::Differ);
        }
        account::check_password(password).map_err(|_| EnrolError::Password)?;
        let name = account::name(name).map_err(|_| EnrolError::BadName)?;
        let account = Account { label: known.label, identities: known.identities, closed: false };
        let body = serde_json::to_string(&account).map_err(|_| EnrolError::Failed)?;
        let (edge, password) = (self.edge.clone(), password.to_owned());
        let hashed = in_turn(self.turn().await?, move || account::hash(&edge, &password)).await?;
        let password = hashed.map_err(|_| EnrolError::Failed)?;
        let row = AccountRow { name: name.clone(), password, body };
        let code = digest(&plain_code(claimed.code));
        if !self.store.enrol(&self.settings.tenant, &code, &row, self.now())? {
            return Err(EnrolError::Name);
        }
        let begun = self.begin_session(Some(&row), Some(&visit.session))?;
        begun.map(|(secret, _)| secret).ok_or(EnrolError::Failed)
    }
}

/// Issue a code.
pub(super) fn issue(
    store: &crate::store::Store,
    edge: &crate::edge::Edge,
    tenant: &str,
    enrolment: &Enrolment,
    expires: Millis,
) -> Result<Secret, EnrolError> {
    let code = Secret::draw_plain(edge).map_err(|_| EnrolError::Failed)?.shortened();
    let body = serde_json::to_string(enrolment).map_err(|_| EnrolError::Failed)?;
    let row = EnrolmentRow { body, failures: 0, expires };
    store.add_enrolment(tenant, &digest(&plain_code(code.text())), &row)?;
    Ok(code)
}

impl Enrolment {
    /// Refuse what no enrolment may hold.
    pub fn check(&self) -> Result<(), account::AccountError> {
        let Self { label, identities, .. } = self;
        Account { label: label.clone(), identities: identities.clone(), closed: false }.check()?;
        let wrong = |member, message: &str| Err(account::AccountError { member, message: message.into() });
        if plain_name(&self.family_name).is_empty() {
            return wrong("family_name", "is missing");
        }
        if self.birth_date.parse::<jiff::civil::Date>().is_err() {
            return wrong("birth_date", "has to be a day like 1984-02-29");
        }
        Ok(())
    }

    /// SECURITY: both are compared whole, so that the time taken does not tell which of them is wrong.
    fn is(&self, claimed: &Claimed<'_>) -> bool {
        let same = |known: &str, given: &str| known.as_bytes().ct_eq(given.as_bytes());
        let name = same(&plain_name(&self.family_name), &plain_name(claimed.family_name));
        bool::from(name & same(&self.birth_date, claimed.birth_date.trim()))
    }
}

/// A name without case, blanks, hyphens and apostrophes: people spell their own name in several ways.
fn plain_name(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// A code without the blanks and hyphens people copy with it.
fn plain_code(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enrolment() -> Enrolment {
        Enrolment {
            label: "Mia".into(),
            identities: Vec::new(),
            family_name: "O'Neill-Berg".into(),
            birth_date: "1984-02-29".into(),
        }
    }

    #[test]
    fn details_have_to_fit_both() {
        let is = |family_name, birth_date| enrolment().is(&Claimed { code: "", family_name, birth_date });
        assert!(is("O'Neill-Berg", "1984-02-29") && is("oneill berg", " 1984-02-29 "));
        for (name, date) in [("O'Neill", "1984-02-29"), ("O'Neill-Berg", "1984-02-28"), ("", ""), ("O'Neill-Berg", "")]
        {
            assert!(!is(name, date), "{name} {date}");
        }
    }

    #[test]
    fn an_enrolment_knows_a_name_and_a_day() {
        assert!(enrolment().check().is_ok());
        for bad in ["1984-02-30", "29.02.1984", ""] {
            assert!(Enrolment { birth_date: bad.into(), ..enrolment() }.check().is_err(), "{bad}");
        }
        assert!(Enrolment { family_name: "' -".into(), ..enrolment() }.check().is_err());
    }

    #[test]
    fn a_code_is_copied_with_and_without_its_hyphens() {
        assert_eq!(plain_code("AB12-cd34 "), plain_code("ab12cd34"));
    }
}

//! How far an authorization request is: who signed in, for whom, and that it waits for their approval.
//!
//! A flow cannot be driven past a step: each way on takes the flow as it was, and only the state that precedes has it.

use chartgate_model::Millis;
use serde::{Deserialize, Serialize};

use super::account::{Account, Identity};
use super::launch::LaunchContext;
use super::request::AuthorizationRequest;

/// A flow, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "step", rename_all = "kebab-case")]
pub enum Flow {
    /// somebody has to sign in
    SignIn(Asked),
    /// they have to choose as whom and for whom
    Choose(SignedIn),
    /// they have to approve
    Approve(Chosen),
}

/// What the app asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// as it asked
    pub request: AuthorizationRequest,
    /// what the record system opened it on
    pub launch: Option<LaunchContext>,
    /// when it asked, milliseconds since 1970
    pub at_ms: u64,
}

/// Somebody signed in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedIn {
    /// what was asked
    pub asked: Asked,
    /// name of the account
    pub account: String,
    /// when they signed in, milliseconds since 1970
    pub auth_ms: u64,
}

/// They act as somebody, for somebody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// who signed in
    pub signed_in: SignedIn,
    /// as whom
    pub identity: Identity,
    /// for whom: the patient of the token
    pub patient: Option<String>,
}

impl Asked {
    /// Somebody signed in, lately enough: `None` when they have to do so again.
    ///
    /// INVARIANT: with `prompt=login` only a login after the request counts.
    pub fn signed_in(&self, account: &str, auth: Millis, now: Millis) -> Option<SignedIn> {
        let request = &self.request;
        let age_s = now.0.saturating_sub(auth.0) / 1_000;
        // A login made for this request is never too old for it.
        let too_old = request.prompt.login || request.max_age_s.is_some_and(|max_s| age_s > max_s);
        let counts = self.was_made_for(auth) || !too_old;
        counts.then(|| SignedIn { asked: self.clone(), account: account.to_owned(), auth_ms: auth.0 })
    }

    /// Whether a login came after the request.
    pub fn was_made_for(&self, auth: Millis) -> bool {
        auth.0 >= self.at_ms
    }
}

impl SignedIn {
    /// The identities of the account that may act here: of a launch only the one it is for.
    pub fn identities<'a>(&self, account: &'a Account) -> impl Iterator<Item = &'a Identity> {
        let user = self.asked.launch.as_ref().map(|launch| launch.user.clone());
        account.identities.iter().filter(move |identity| user.as_ref().is_none_or(|user| *user == identity.user))
    }

    /// As whom, for whom.
    pub fn chosen(self, identity: Identity, patient: Option<String>) -> Chosen {
        Chosen { signed_in: self, identity, patient }
    }
}

impl Flow {
    /// What was asked for.
    pub fn asked(&self) -> &Asked {
        match self {
            Self::SignIn(asked) => asked,
            Self::Choose(signed_in) => &signed_in.asked,
            Self::Approve(chosen) => &chosen.signed_in.asked,
        }
    }

    /// Who signed in.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::SignIn(_) => None,
            Self::Choose(signed_in) => Some(&signed_in.account),
            Self::Approve(chosen) => Some(&chosen.signed_in.account),
        }
    }

    /// Whoever signed in, and may choose: for the first time or again.
    pub fn choosing(self) -> Option<SignedIn> {
        match self {
            Self::SignIn(_) => None,
            Self::Choose(signed_in) | Self::Approve(Chosen { signed_in, .. }) => Some(signed_in),
        }
    }

    /// From the start, with what was asked and nothing else.
    pub fn again(self) -> Self {
        match self {
            Self::SignIn(asked)
            | Self::Choose(SignedIn { asked, .. })
            | Self::Approve(Chosen { signed_in: SignedIn { asked, .. }, .. }) => Self::SignIn(asked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smart::request::Prompt;

    fn asked(prompt: Prompt, max_age_s: Option<u64>) -> Asked {
        let request = AuthorizationRequest {
            client: "app".into(),
            redirect_uri: "https://app.example/".into(),
            state: "s".into(),
            scope: "openid".into(),
            challenge: "c".into(),
            nonce: None,
            launch: None,
            prompt,
            max_age_s,
            login_hint: None,
            id_token_hint: None,
        };
        Asked { request, launch: None, at_ms: 100_000 }
    }

    #[test]
    fn an_old_login_counts_unless_the_app_wants_a_new_one() {
        let now = Millis(200_000);
        let counts = |asked: Asked, auth_ms| asked.signed_in("mia", Millis(auth_ms), now).is_some();
        assert!(counts(asked(Prompt::default(), None), 1));
        let login = Prompt { login: true, ..Prompt::default() };
        assert!(!counts(asked(login, None), 99_999) && counts(asked(login, None), 100_000));
        assert!(counts(asked(Prompt::default(), Some(110)), 90_000));
        assert!(!counts(asked(Prompt::default(), Some(109)), 90_000));
        assert!(counts(asked(Prompt::default(), Some(0)), 100_000));
    }

    #[test]
    fn a_launch_is_for_its_user_alone() {
        use crate::smart::account::Kind;
        let identity = |kind, user: &str| Identity { kind, user: user.into() };
        let identities = vec![identity(Kind::Patient, "Patient/1"), identity(Kind::Provider, "Practitioner/17")];
        let account = Account { label: "Mia".into(), identities, closed: false };
        let launch = LaunchContext { user: "Practitioner/17".into(), ..LaunchContext::default() };
        let signed_in = |launch| SignedIn {
            asked: Asked { launch, ..asked(Prompt::default(), None) },
            account: "mia".into(),
            auth_ms: 1,
        };
        let users = |signed_in: SignedIn| -> Vec<String> {
            signed_in.identities(&account).map(|identity| identity.user.clone()).collect()
        };
        assert_eq!(users(signed_in(Some(launch))), ["Practitioner/17"]);
        assert_eq!(users(signed_in(None)).len(), 2);
    }
}

//! Who is signed in at a browser: the session, how it begins, and how long it lasts.

use chartgate_model::Millis;

use super::authorize::Visit;
use super::secret::{Secret, digest};
use super::{Server, account};
use crate::store::StoreError;
use crate::store::oauth::{Digest, SessionRow};

/// How long somebody stays signed in at the most, however busy they are.
const SESSION_MAX_MS: u64 = 12 * 60 * 60 * 1_000;
/// How long a session outlives the last access token that hangs on it, so that it can be renewed.
const SESSION_GRACE_MS: u64 = 10 * 60 * 1_000;

impl Server {
    /// Sign in: a session of its own for who has the password.
    pub async fn sign_in(
        &self,
        visit: &Visit,
        name: &str,
        password: &str,
        address: std::net::IpAddr,
    ) -> Result<Option<Secret>, SignInError> {
        let name = account::name(name).unwrap_or_default();
        if !self.throttle.sign_in(&name, address) {
            return Err(SignInError::TooOften);
        }
        let row = self.store.account(&self.settings.tenant, &name)?;
        let password = password.to_owned();
        let (row, matches) = tokio::task::spawn_blocking(move || {
            let matches = account::verify(row.as_ref(), &password);
            (row, matches)
        })
        .await
        .map_err(|_| SignInError::Failed)?;
        let open = match row.filter(|_| matches) {
            Some(row) => self.account(&row.name)?.is_some(),
            None => false,
        };
        if !open {
            self.throttle.failed(address);
            return Ok(None);
        }
        Ok(Some(self.begin_session(Some(&name), Some(&visit.session))?.0))
    }

    /// A new session: of nobody, or of somebody who signed in, in place of the one before.
    pub fn begin_session(
        &self,
        account: Option<&str>,
        before: Option<&SessionRow>,
    ) -> Result<(Secret, SessionRow), SignInError> {
        let (now, secret) = (self.now(), Secret::draw(&self.edge).map_err(|_| SignInError::Failed)?);
        let csrf = Secret::draw(&self.edge).map_err(|_| SignInError::Failed)?;
        let session = SessionRow {
            id: secret.digest(),
            account: account.map(|name| (name.to_owned(), now)),
            csrf: csrf.text().to_owned(),
            expires: now.plus_ms(self.settings.session_ms),
        };
        self.store.begin_session(&self.settings.tenant, &session, before.map(|before| &before.id), now)?;
        Ok((secret, session))
    }

    /// Whether another request may begin at an address.
    pub fn may_begin(&self, address: std::net::IpAddr) -> bool {
        self.throttle.begin(address)
    }

    /// The session of a cookie.
    pub fn session(&self, cookie: &str) -> Result<Option<SessionRow>, StoreError> {
        let found = self.store.session(&self.settings.tenant, &digest(cookie), self.now())?;
        found.map(|session| self.kept(session, self.settings.session_ms)).transpose()
    }

    /// A session goes on while it is used.
    fn kept(&self, session: SessionRow, for_ms: u64) -> Result<SessionRow, StoreError> {
        let Some((_, auth)) = &session.account else { return Ok(session) };
        let until = self.now().plus_ms(for_ms).min(auth.plus_ms(SESSION_MAX_MS));
        // Not each time a page is looked at.
        if until.0 < session.expires.0 + SESSION_GRACE_MS / 10 {
            return Ok(session);
        }
        self.store.keep_session(&session.id, until)?;
        Ok(SessionRow { expires: until, ..session })
    }

    /// When an access token that hangs on a session has to end, if it would end by itself at `longest`; `None` when the
    /// session has ended.
    pub(super) fn within_session(&self, id: &Digest, longest: Millis) -> Result<Option<Millis>, StoreError> {
        let Some(session) = self.store.session(&self.settings.tenant, id, self.now())? else { return Ok(None) };
        let life_ms = longest.0.saturating_sub(self.now().0) + SESSION_GRACE_MS;
        Ok(Some(longest.min(self.kept(session, life_ms)?.expires)))
    }

    /// Sign out.
    pub fn end_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        self.store.end_session(&session.id, self.now())
    }
}

/// Nobody is signed in.
#[derive(Debug, thiserror::Error)]
pub enum SignInError {
    /// too many tries
    #[error("there were too many tries")]
    TooOften,
    /// it failed here
    #[error("signing in failed here")]
    Failed,
    /// the database
    #[error(transparent)]
    Store(#[from] StoreError),
}

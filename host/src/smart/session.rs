//! Who is signed in at a browser: the session, how it begins, and how long it lasts.

use std::sync::Arc;
use std::time::Duration;

use chartgate_model::Millis;
use tokio::sync::OwnedSemaphorePermit;

use super::authorize::Visit;
use super::secret::{Secret, digest};
use super::settings::FLOW_MS;
use super::{Server, account};
use crate::store::StoreError;
use crate::store::oauth::{AccountRow, Digest, SessionRow};

/// How long somebody stays signed in at the most, however busy they are.
const SESSION_MAX_MS: u64 = 12 * 60 * 60 * 1_000;
/// How long a session outlives the last access token that hangs on it, so that it can be renewed.
const SESSION_GRACE_MS: u64 = 10 * 60 * 1_000;
/// A session is not kept on each time a page is looked at.
const KEPT_MS: u64 = 60 * 1_000;
/// Passwords that are hashed at once: each takes 19 MiB.
pub(super) const HASHES_MAX: usize = 4;
/// How long somebody waits for their turn.
const WAIT: Duration = Duration::from_secs(10);

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
        let tried = || self.throttle.may_sign_in(&name, address);
        if !tried() {
            return Err(SignInError::TooOften);
        }
        let permit = self.turn().await?;
        // SECURITY: those who waited are counted by what came of those before them.
        if !tried() {
            return Err(SignInError::TooOften);
        }
        let (store, tenant) = (Arc::clone(&self.store), self.settings.tenant.clone());
        let (account, password) = (name.clone(), password.to_owned());
        let row = in_turn(permit, move || {
            let row = store.account(&tenant, &account)?;
            let matches = account::verify(row.as_ref(), &password);
            Ok::<_, StoreError>(row.filter(|_| matches))
        });
        let row = row.await??;
        let begun = row.map(|row| self.begin_session(Some(&row), Some(&visit.session))).transpose()?.flatten();
        if begun.is_none() {
            self.throttle.failed(&name, address);
        }
        Ok(begun.map(|(secret, _)| secret))
    }

    /// Wait until a password may be hashed: each takes a core and its memory.
    pub(super) async fn turn(&self) -> Result<OwnedSemaphorePermit, SignInError> {
        let turn = tokio::time::timeout(WAIT, Arc::clone(&self.hashing).acquire_owned());
        turn.await.map_err(|_| SignInError::TooOften)?.map_err(|_| SignInError::Failed)
    }

    /// A new session: of nobody, or of somebody who signed in, in place of the one before. Nothing where the account is
    /// not any more as it was when its password was compared.
    pub fn begin_session(
        &self,
        account: Option<&AccountRow>,
        before: Option<&SessionRow>,
    ) -> Result<Option<(Secret, SessionRow)>, SignInError> {
        let (now, secret) = (self.now(), Secret::draw(&self.edge).map_err(|_| SignInError::Failed)?);
        let csrf = Secret::draw(&self.edge).map_err(|_| SignInError::Failed)?;
        let session = SessionRow {
            id: secret.digest(),
            account: account.map(|row| (row.name.clone(), now)),
            csrf: csrf.text().to_owned(),
            expires: now.plus_ms(self.life_ms(account.is_some())),
        };
        let (tenant, password) = (&self.settings.tenant, account.map(|row| row.password.as_str()));
        let begun = self.store.begin_session(tenant, &session, password, before.map(|before| &before.id), now)?;
        Ok(begun.then_some((secret, session)))
    }

    /// How long a session lasts that nobody uses. One that nobody is signed in to lasts as long as a flow may take.
    fn life_ms(&self, signed_in: bool) -> u64 {
        if signed_in { self.settings.session_ms } else { self.settings.session_ms.max(FLOW_MS) }
    }

    /// Whether another request may begin at an address.
    pub fn may_begin(&self, address: std::net::IpAddr) -> bool {
        self.throttle.begin(address)
    }

    /// The session of a cookie.
    pub fn session(&self, cookie: &str) -> Result<Option<SessionRow>, StoreError> {
        let found = self.store.session(&self.settings.tenant, &digest(cookie), self.now())?;
        found.map(|session| self.kept(session)).transpose()
    }

    /// A session goes on while it is used.
    fn kept(&self, session: SessionRow) -> Result<SessionRow, StoreError> {
        let until = self.now().plus_ms(self.life_ms(session.account.is_some()));
        let until = session.account.as_ref().map_or(until, |(_, auth)| until.min(auth.plus_ms(SESSION_MAX_MS)));
        // Not each time a page is looked at.
        if until.0 < session.expires.0 + KEPT_MS {
            return Ok(session);
        }
        self.store.keep_session(&session.id, until)?;
        Ok(SessionRow { expires: until, ..session })
    }

    /// When an access token that hangs on a session has to end, if it would end by itself at `longest`; `None` when the
    /// session has ended. It goes on for the app, a while longer than the token so that this can be renewed, and not for
    /// whoever sits at the browser.
    pub(super) fn within_session(&self, id: &Digest, longest: Millis) -> Result<Option<Millis>, StoreError> {
        let Some(auth) = self.store.online(&self.settings.tenant, id, self.now())? else { return Ok(None) };
        let until = longest.plus_ms(SESSION_GRACE_MS).min(auth.plus_ms(SESSION_MAX_MS));
        self.store.keep_online(id, until)?;
        Ok(Some(longest.min(until)))
    }

    /// Sign out.
    pub fn end_session(&self, session: &SessionRow) -> Result<(), StoreError> {
        self.store.end_session(&session.id, self.now())
    }
}

/// Hash a password, whose turn it is.
pub(super) async fn in_turn<T: Send + 'static>(
    turn: OwnedSemaphorePermit,
    hash: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SignInError> {
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        hash()
    });
    done.await.map_err(|_| SignInError::Failed)
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

//! The authorization server: OAuth 2.0 authorization code flow, OpenID Connect, SMART App Launch.
//!
//! | module | holds |
//! | --- | --- |
//! | `request`, `form` | what an app asks for |
//! | `flow`, `authorize` | how far a request is, and the steps on |
//! | `launch` | what a record system opens an app on |
//! | `admin` | registering apps, accounts and launches |
//! | `account`, `enrol`, `throttle` | who signs in, who may make an account, how often they may try |
//! | `consent`, `scopes` | what a person is asked, and what is left of it |
//! | `client`, `authenticate` | registered apps, and their proof of who they are |
//! | `token`, `answer` | codes and refresh tokens against access tokens; what apps are told |
//! | `check` | what a token is worth: introspection, revocation, decisions |
//! | `keyring`, `secret` | keys that sign; what nobody can guess |
//! | `discovery` | where everything is |
//! | `view`, `text` | what pages show, and their words |
//!
//! SECURITY: no token, no code and no launch context comes out of here without a [`crate::grant::Granted`], which only
//! a policy call makes. Nothing is kept that could be used if the database were read: secrets are kept as digests.

pub mod account;
pub mod admin;
mod answer;
mod authenticate;
mod authorize;
mod check;
pub mod client;
mod consent;
mod discovery;
mod enrol;
pub mod error;
pub mod flow;
pub mod form;
mod keyring;
pub mod launch;
pub mod request;
mod scopes;
pub mod secret;
mod session;
pub mod settings;
mod text;
mod throttle;
mod token;
mod view;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use chartgate_model::Millis;
use tokio::sync::Semaphore;

pub use authenticate::Credentials;
pub use authorize::{Next, Started, UNLISTED, Visit};
pub use check::{Introspection, Verified};
pub use discovery::{cors_of, openid_configuration, places, smart_configuration};
pub use enrol::{Claimed, EnrolError, Enrolment};
pub use session::SignInError;
pub use text::{Page, TextError};
pub use token::{TOKEN_PARAMETERS, TokenResponse};

use crate::decide::Decider;
use crate::edge::Edge;
use crate::store::oauth::Digest;
use crate::store::{Store, StoreError};
use crate::tokens::ClientKeys;
use client::Client;
use keyring::Keyring;
use secret::{NoRandom, Secret};
use settings::Settings;
use text::Texts;
use throttle::Throttle;

/// The authorization server.
pub struct Server {
    settings: Settings,
    store: Arc<Store>,
    edge: Edge,
    decider: Arc<Decider>,
    keyring: Keyring,
    /// by which users are called at apps
    subject_key: Digest,
    /// who may hash a password now
    hashing: Arc<Semaphore>,
    client_keys: Mutex<HashMap<String, (String, Arc<ClientKeys>)>>,
    throttle: Throttle,
    texts: Texts,
}

/// The authorization server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// its database
    #[error("its database cannot be used")]
    Store(#[from] StoreError),
    /// its keys
    #[error("its signing keys cannot be made or read")]
    Keys(#[from] crate::tokens::SigningError),
    /// no random numbers
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// its texts
    #[error("its pages cannot be made")]
    Texts(#[from] TextError),
}

impl Server {
    /// Start it: with keys, and texts of its own.
    pub fn start(settings: Settings, store: Arc<Store>, edge: Edge, decider: Arc<Decider>) -> Result<Self, StartError> {
        let keyring = Keyring::open(&store, &edge, settings.key_ms)?;
        let subject_key = store.secret("subject", &Secret::draw(&edge)?.digest())?;
        Ok(Self {
            settings,
            store,
            edge,
            decider,
            keyring,
            subject_key,
            hashing: Arc::new(Semaphore::new(session::HASHES_MAX)),
            client_keys: Mutex::default(),
            throttle: Throttle::new(),
            texts: Texts::new()?,
        })
    }

    /// Who changes what this server knows.
    pub fn registrar(&self) -> admin::Registrar<'_> {
        let post = self.settings.secret_post;
        admin::Registrar { store: &self.store, edge: &self.edge, tenant: &self.settings.tenant, post }
    }

    /// How it behaves.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    fn now(&self) -> Millis {
        (self.edge.now)()
    }

    /// A registered app.
    pub fn client(&self, id: &str) -> Result<Option<Client>, StoreError> {
        let body = self.store.client(&self.settings.tenant, id)?;
        body.map(|body| serde_json::from_str(&body).map_err(|_| StoreError::Unreadable { column: "clients.body" }))
            .transpose()
    }

    /// All registered apps.
    pub fn clients(&self) -> Result<Vec<Client>, StoreError> {
        let read =
            |body: String| serde_json::from_str(&body).map_err(|_| StoreError::Unreadable { column: "clients.body" });
        self.store.clients(&self.settings.tenant)?.into_iter().map(read).collect()
    }

    /// Sign with a new key from now on; answers its id.
    pub fn rotate_key(&self) -> Result<String, StartError> {
        keyring::rotate(&self.store, &self.edge)
    }

    /// Where a record system opens an app, when the app has said where.
    pub fn launch_url(&self, client: &str, launch: &str) -> Result<Option<String>, StoreError> {
        let uri = self.client(client)?.and_then(|client| client.launch_uri);
        let pairs = [("iss", self.settings.base.url.as_str()), ("launch", launch)];
        Ok(uri.map(|uri| authorize::with_query(&uri, &pairs)))
    }

    /// Forget what has ended, and renew the signing key when it is old. To be called now and then.
    pub fn maintain(&self) -> Result<(), StartError> {
        let before = Millis(self.now().0.saturating_sub(settings::KEPT_MS));
        self.store.sweep(before)?;
        self.throttle.tidy();
        self.keyring.renew(&self.store, &self.edge, self.settings.key_ms)?;
        Ok(())
    }
}

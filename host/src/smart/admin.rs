//! Registering apps, accounts, codes to enrol with and launches: the same by API and by command line.

use chartgate_model::Millis;
use serde::{Deserialize, Serialize};

use super::account::{self, Account, AccountError, Identity};
use super::client::{Client, ClientAuth, ClientError, ClientKind, SecretHash};
use super::enrol::{EnrolError, Enrolment};
use super::launch::{LaunchContext, LaunchError};
use super::secret::{NoRandom, Secret};
use crate::edge::Edge;
use crate::store::oauth::AccountRow;
use crate::store::{Store, StoreError};

/// Somebody who may change what the authorization server knows.
pub struct Registrar<'a> {
    /// the database
    pub store: &'a Store,
    /// clock and random numbers
    pub edge: &'a Edge,
    /// whose apps and people
    pub tenant: &'a str,
    /// apps may send a secret in the body, `client_secret_post`
    pub post: bool,
}

/// Something cannot be registered.
#[derive(Debug, thiserror::Error)]
pub enum AdminError {
    /// an app
    #[error(transparent)]
    Client(#[from] ClientError),
    /// an account
    #[error(transparent)]
    Account(#[from] AccountError),
    /// a launch
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// there is none of that name
    #[error("there is no such `{0}`")]
    Unknown(&'static str),
    /// there is one already
    #[error("there is a `{0}` of this name already")]
    Taken(&'static str),
    /// it has no secret
    #[error("this client has no secret to rotate")]
    NoSecret,
    /// no random numbers
    #[error(transparent)]
    Random(#[from] NoRandom),
    /// the database
    #[error(transparent)]
    Store(#[from] StoreError),
    /// something kept cannot be read
    #[error("the database holds something that cannot be read")]
    Unreadable(#[from] serde_json::Error),
}

impl From<EnrolError> for AdminError {
    fn from(error: EnrolError) -> Self {
        match error {
            EnrolError::Store(error) => Self::Store(error),
            _ => Self::Random(NoRandom),
        }
    }
}

/// An app as it is registered: its secrets are drawn here.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewClient {
    /// OAuth client identifier; drawn when absent
    pub id: Option<String>,
    /// what people know it by
    pub name: String,
    /// `patient` or `provider`
    pub kind: ClientKind,
    /// where people are sent back to
    pub redirect_uris: Vec<String>,
    /// the most it may ask for
    pub scope: String,
    /// `none`, `client_secret_basic`, `client_secret_post` or `private_key_jwt`
    pub auth: String,
    /// keys of `private_key_jwt`
    pub jwks: Option<serde_json::Value>,
    /// where they are
    pub jwks_uri: Option<String>,
    /// its assertions may name the issuer only
    #[serde(default)]
    pub issuer_only: bool,
    /// days its secret lives; for good when absent
    pub secret_days: Option<u64>,
    /// where an EHR opens it
    pub launch_uri: Option<String>,
    /// browser origins besides those of `redirect_uris`
    #[serde(default)]
    pub origins: Vec<String>,
    /// it may ask about any token
    #[serde(default)]
    pub introspect: bool,
    /// what it does with data
    pub policy_uri: Option<String>,
}

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

impl Registrar<'_> {
    fn now(&self) -> Millis {
        (self.edge.now)()
    }

    /// Register an app; its secret is shown this once.
    pub fn add_client(&self, new: NewClient) -> Result<(Client, Option<Secret>), AdminError> {
        let id = match new.id {
            Some(id) => id,
            None => Secret::draw_plain(self.edge)?.text().chars().take(24).collect(),
        };
        if self.store.client(self.tenant, &id)?.is_some() {
            return Err(AdminError::Taken("client"));
        }
        let mut drawn = None;
        let mut secrets = || -> Result<Vec<SecretHash>, AdminError> {
            let (secret, hash) = self.secret(new.secret_days)?;
            drawn = Some(secret);
            Ok(vec![hash])
        };
        if new.auth == "client_secret_post" && !self.post {
            let message = "`client_secret_post` is off here (`smart.secret_post`), use `client_secret_basic`".into();
            return Err(ClientError { member: "auth", message }.into());
        }
        let auth = match new.auth.as_str() {
            "none" => ClientAuth::None,
            "client_secret_basic" => ClientAuth::ClientSecretBasic { secrets: secrets()? },
            "client_secret_post" => ClientAuth::ClientSecretPost { secrets: secrets()? },
            "private_key_jwt" => {
                ClientAuth::PrivateKeyJwt { jwks: new.jwks, jwks_uri: new.jwks_uri, issuer_only: new.issuer_only }
            }
            _ => {
                let message = "is none of none, client_secret_basic, client_secret_post, private_key_jwt".into();
                return Err(ClientError { member: "auth", message }.into());
            }
        };
        let client = Client {
            id,
            name: new.name,
            kind: new.kind,
            redirect_uris: new.redirect_uris,
            scope: new.scope,
            auth,
            launch_uri: new.launch_uri,
            origins: new.origins,
            introspect: new.introspect,
            policy_uri: new.policy_uri,
        };
        client.check()?;
        self.store.put_client(self.tenant, &client.id, &serde_json::to_string(&client)?, self.now())?;
        Ok((client, drawn))
    }

    fn secret(&self, days: Option<u64>) -> Result<(Secret, SecretHash), AdminError> {
        let secret = Secret::draw_plain(self.edge)?;
        let sha256 = secret.digest().iter().map(|byte| format!("{byte:02x}")).collect();
        let expires_ms = days.map(|days| self.now().0.saturating_add(days.saturating_mul(DAY_MS)));
        Ok((secret, SecretHash { sha256, expires_ms }))
    }

    /// All apps.
    pub fn clients(&self) -> Result<Vec<Client>, AdminError> {
        let bodies = self.store.clients(self.tenant)?;
        Ok(bodies.iter().map(|body| serde_json::from_str(body)).collect::<Result<_, _>>()?)
    }

    /// Give an app a new secret. Those it has go on for `grace_hours`.
    pub fn rotate_client(&self, id: &str, days: Option<u64>, grace_hours: u64) -> Result<Secret, AdminError> {
        let body = self.store.client(self.tenant, id)?.ok_or(AdminError::Unknown("client"))?;
        let mut client: Client = serde_json::from_str(&body)?;
        let (secret, hash) = self.secret(days)?;
        let now = self.now();
        let end = now.0.saturating_add(grace_hours.saturating_mul(60 * 60 * 1_000));
        match &mut client.auth {
            ClientAuth::ClientSecretBasic { secrets } | ClientAuth::ClientSecretPost { secrets } => {
                secrets.retain(|known| known.expires_ms.is_none_or(|expires| now.0 < expires));
                for known in secrets.iter_mut() {
                    known.expires_ms = Some(known.expires_ms.map_or(end, |expires| expires.min(end)));
                }
                secrets.truncate(7);
                secrets.insert(0, hash);
            }
            ClientAuth::None | ClientAuth::PrivateKeyJwt { .. } => return Err(AdminError::NoSecret),
        }
        self.store.put_client(self.tenant, id, &serde_json::to_string(&client)?, now)?;
        Ok(secret)
    }

    /// Take an app away, with all it was granted.
    pub fn remove_client(&self, id: &str) -> Result<(), AdminError> {
        match self.store.delete_client(self.tenant, id, self.now())? {
            true => Ok(()),
            false => Err(AdminError::Unknown("client")),
        }
    }

    /// Make an account.
    pub fn add_account(&self, name: &str, password: &str, account: &Account) -> Result<String, AdminError> {
        account.check()?;
        account::check_password(password)?;
        let name = account::name(name)?;
        let password = account::hash(self.edge, password)?;
        let row = AccountRow { name: name.clone(), password, body: serde_json::to_string(account)? };
        match self.store.add_account(self.tenant, &row, self.now())? {
            true => Ok(name),
            false => Err(AdminError::Taken("user")),
        }
    }

    /// Change an account: what is absent stays. All its sessions and grants end.
    pub fn change_account(
        &self,
        name: &str,
        password: Option<&str>,
        change: impl FnOnce(&mut Account),
    ) -> Result<(), AdminError> {
        let name = account::name(name)?;
        let row = self.store.account(self.tenant, &name)?.ok_or(AdminError::Unknown("user"))?;
        let mut account: Account = serde_json::from_str(&row.body)?;
        change(&mut account);
        account.check()?;
        let password = match password {
            Some(password) => {
                account::check_password(password)?;
                account::hash(self.edge, password)?
            }
            None => row.password,
        };
        let row = AccountRow { name: name.clone(), password, body: serde_json::to_string(&account)? };
        match self.store.change_account(self.tenant, &row, self.now())? {
            true => Ok(()),
            false => Err(AdminError::Unknown("user")),
        }
    }

    /// All accounts, by the names they sign in with.
    pub fn accounts(&self) -> Result<Vec<(String, Account)>, AdminError> {
        let rows = self.store.accounts(self.tenant)?.into_iter();
        Ok(rows
            .map(|row| Ok((row.name, serde_json::from_str(&row.body)?)))
            .collect::<Result<_, serde_json::Error>>()?)
    }

    /// Take an account away, with its sessions and grants.
    pub fn remove_account(&self, name: &str) -> Result<(), AdminError> {
        match self.store.delete_account(self.tenant, &account::name(name)?, self.now())? {
            true => Ok(()),
            false => Err(AdminError::Unknown("user")),
        }
    }

    /// A code by which one person makes an account.
    pub fn enrolment(&self, enrolment: &Enrolment, hours: u64) -> Result<(Secret, Millis), AdminError> {
        enrolment.check()?;
        let expires = self.now().plus_ms(hours.saturating_mul(60 * 60 * 1_000));
        Ok((super::enrol::issue(self.store, self.edge, self.tenant, enrolment, expires)?, expires))
    }

    /// The context an EHR opens an app on; answers what it sends along as `launch`.
    pub fn launch(&self, client: &str, context: &LaunchContext, life_ms: u64) -> Result<(Secret, Millis), AdminError> {
        context.check()?;
        if self.store.client(self.tenant, client)?.is_none() {
            return Err(AdminError::Unknown("client"));
        }
        let (secret, expires) = (Secret::draw(self.edge)?, self.now().plus_ms(life_ms));
        let body = serde_json::to_string(context)?;
        self.store.add_launch(self.tenant, &secret.digest(), client, &body, expires)?;
        Ok((secret, expires))
    }
}

/// `patient=Patient/123`: an identity in words.
impl std::str::FromStr for Identity {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, user) = text.split_once('=').ok_or("has to be like `patient=Patient/123`")?;
        let kind = match kind {
            "patient" => account::Kind::Patient,
            "proxy" => account::Kind::Proxy,
            "provider" => account::Kind::Provider,
            _ => return Err(format!("`{kind}` is none of patient, proxy, provider")),
        };
        Ok(Self { kind, user: user.to_owned() })
    }
}

//! What goes wrong, in the words of the specifications.

use crate::store::StoreError;

use super::secret::NoRandom;

/// An error code of OAuth 2.0 and OpenID Connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// malformed
    InvalidRequest,
    /// the app may not do this
    UnauthorizedClient,
    /// the person, or a rule, says no
    AccessDenied,
    /// anything but `code`
    UnsupportedResponseType,
    /// nothing of it can be had
    InvalidScope,
    /// it failed here
    ServerError,
    /// later, perhaps
    TemporarilyUnavailable,
    /// nobody is signed in, and nobody may be asked
    LoginRequired,
    /// it is not approved, and nobody may be asked
    ConsentRequired,
    /// something has to be chosen, and nobody may be asked
    InteractionRequired,
    /// request objects
    RequestNotSupported,
    /// request objects elsewhere
    RequestUriNotSupported,
    /// registration on the way
    RegistrationNotSupported,
    /// the app does not prove who it is
    InvalidClient,
    /// code or refresh token
    InvalidGrant,
    /// anything but `authorization_code` and `refresh_token`
    UnsupportedGrantType,
    /// of a bearer token (RFC 6750)
    InvalidToken,
}

impl ErrorCode {
    /// As it is sent.
    pub fn code(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnauthorizedClient => "unauthorized_client",
            Self::AccessDenied => "access_denied",
            Self::UnsupportedResponseType => "unsupported_response_type",
            Self::InvalidScope => "invalid_scope",
            Self::ServerError => "server_error",
            Self::TemporarilyUnavailable => "temporarily_unavailable",
            Self::LoginRequired => "login_required",
            Self::ConsentRequired => "consent_required",
            Self::InteractionRequired => "interaction_required",
            Self::RequestNotSupported => "request_not_supported",
            Self::RequestUriNotSupported => "request_uri_not_supported",
            Self::RegistrationNotSupported => "registration_not_supported",
            Self::InvalidClient => "invalid_client",
            Self::InvalidGrant => "invalid_grant",
            Self::UnsupportedGrantType => "unsupported_grant_type",
            Self::InvalidToken => "invalid_token",
        }
    }
}

/// An answer of the token endpoint and its like that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {description}", code.code())]
pub struct OAuthError {
    /// the code
    pub code: ErrorCode,
    /// for the app's developers; never holds a secret or patient data
    pub description: String,
    /// the client tried the `Authorization` header, so that the answer has to speak of it
    pub basic: bool,
}

impl OAuthError {
    /// An error and a word on it.
    pub fn new(code: ErrorCode, description: impl Into<String>) -> Self {
        Self { code, description: description.into(), basic: false }
    }

    /// It failed here.
    pub fn failed() -> Self {
        Self::new(ErrorCode::ServerError, "this server failed; nothing was given out")
    }
}

impl From<StoreError> for OAuthError {
    fn from(error: StoreError) -> Self {
        tracing::error!(error = %crate::causes::chain(&error), "the authorization server's database failed");
        Self::failed()
    }
}

impl From<NoRandom> for OAuthError {
    fn from(_: NoRandom) -> Self {
        tracing::error!("the system gives no random numbers");
        Self::failed()
    }
}

impl From<serde_json::Error> for OAuthError {
    fn from(_: serde_json::Error) -> Self {
        tracing::error!("the database holds something the authorization server cannot read");
        Self::failed()
    }
}

/// An authorization request that leads nowhere, or back with an error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthorizeError {
    /// nobody knows this app
    Client,
    /// no address, or none of the app's
    RedirectUri,
    /// it cannot be read at all
    Unreadable(String),
    /// the page's number is nobody's: it has ended, or belongs to another browser
    NoFlow,
    /// it failed here
    Failed,
    /// back to the app, with an error
    Back(super::request::Return, ErrorCode, String),
}

impl From<StoreError> for AuthorizeError {
    fn from(error: StoreError) -> Self {
        drop(OAuthError::from(error));
        Self::Failed
    }
}

impl From<super::keyring::KeyError> for AuthorizeError {
    fn from(error: super::keyring::KeyError) -> Self {
        drop(OAuthError::from(error));
        Self::Failed
    }
}

impl From<NoRandom> for AuthorizeError {
    fn from(error: NoRandom) -> Self {
        drop(OAuthError::from(error));
        Self::Failed
    }
}

impl From<serde_json::Error> for AuthorizeError {
    fn from(error: serde_json::Error) -> Self {
        drop(OAuthError::from(error));
        Self::Failed
    }
}

//! Why a request cannot be authorized or a destination cannot be connected. No error contains a secret.

use std::sync::Arc;

use super::token_endpoint::TokenEndpointError;
use crate::domain::error_chain;
use crate::sender::LocalResource;
use crate::settings::secrets::SecretError;
use crate::store::StoreError;

/// No token is available for a request.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthError {
    /// An operator has to connect the destination.
    #[error("the destination is not connected: {0}")]
    NotConnected(String),
    /// The authorization server issued no token.
    #[error("no access token")]
    NoToken(#[from] TokenEndpointError),
    /// New tokens could not be stored. They are not used: the tokens they replaced may be revoked.
    #[error("a new token could not be stored")]
    Unstored(#[source] Arc<StoreError>),
    /// Tokens could not be encrypted or decrypted.
    #[error("a token could not be sealed")]
    Unsealed(#[source] Arc<SecretError>),
    /// The destination's auth changed concurrently.
    #[error("the destination's auth is being changed")]
    Changing,
}

impl AuthError {
    /// What this machine lacked to request a token.
    #[must_use]
    pub const fn lacking(&self) -> Option<LocalResource> {
        match self {
            Self::NoToken(TokenEndpointError::NoResponse(failure)) => failure.local,
            Self::NoToken(
                TokenEndpointError::Refused { .. }
                | TokenEndpointError::NoToken { .. }
                | TokenEndpointError::Url(_),
            )
            | Self::NotConnected(_)
            | Self::Unstored(_)
            | Self::Unsealed(_)
            | Self::Changing => None,
        }
    }
}

/// A browser returned and the destination is not connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The state was never issued, or was used before.
    #[error("this link is unknown or was used before: connect again")]
    UnknownState,
    /// The authorization took longer than ten minutes.
    #[error("this link is older than ten minutes: connect again")]
    ExpiredState,
    /// Another browser came back than the one that began.
    #[error("this link was begun in another browser: connect again in this one")]
    OtherBrowser,
    /// The authorization server refused.
    #[error("the authorization server says: {0}")]
    Refused(String),
    /// The callback had neither a code nor an error.
    #[error("the authorization server sent no code")]
    NoCode,
    /// The code was refused, or the tokens could not be stored.
    #[error("{}", error_chain::display(.0))]
    Auth(#[from] AuthError),
}

//! Why a request is not authorized, or a destination not connected. None of it holds a secret.

use std::sync::Arc;

use super::grant::GrantError;
use crate::settings::secrets::SecretError;
use crate::store::StoreError;

/// There is no token for a request just now.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AuthFault {
    /// Somebody has to connect the destination.
    #[error("the destination is not connected: {0}")]
    NotConnected(String),
    /// The authorization server gives none.
    #[error("no access token")]
    NoToken(#[from] GrantError),
    /// Tokens that could not be stored are not used: what they replaced may be good no more.
    #[error("a new token could not be stored")]
    Unstored(#[source] Arc<StoreError>),
    /// Tokens could not be sealed or opened.
    #[error("a token could not be sealed")]
    Unsealed(#[source] Arc<SecretError>),
    /// The destination's auth is just being changed.
    #[error("the destination's auth is being changed")]
    Changing,
}

impl AuthFault {
    /// The fault with its causes, in one line.
    #[must_use]
    pub fn in_words(&self) -> String {
        let mut line = self.to_string();
        let mut next = std::error::Error::source(self);
        while let Some(cause) = next {
            line.push_str(": ");
            line.push_str(&cause.to_string());
            next = cause.source();
        }
        line
    }
}

/// A browser came back and the destination is not connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Its state is not one that was given out, or was used before.
    #[error("this link was used before, or is not from here: begin again")]
    UnknownState,
    /// It took longer than ten minutes.
    #[error("this link is older than ten minutes: begin again")]
    ExpiredState,
    /// The authorization server says no.
    #[error("the authorization server says: {0}")]
    Refused(String),
    /// It brought neither a code nor an error.
    #[error("the authorization server sent no code")]
    NoCode,
    /// The code was not taken, or the tokens could not be kept.
    #[error("{}", .0.in_words())]
    Fault(#[from] AuthFault),
}

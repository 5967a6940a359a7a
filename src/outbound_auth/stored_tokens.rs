//! The tokens of a connection as they are stored: sealed together.

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, Zeroizing};

use super::token_endpoint::Tokens;
use crate::domain::clock::Timestamp;
use crate::domain::secret::SealedSecret;
use crate::settings::secrets::{Keyring, Purpose, SecretError};

/// Both tokens of a connection, as they are encrypted at rest.
#[derive(Serialize, Deserialize)]
struct StoredTokens {
    access_token: String,
    #[serde(default)]
    refresh_token: Option<String>,
}

impl Drop for StoredTokens {
    fn drop(&mut self) {
        self.access_token.zeroize();
        self.refresh_token.zeroize();
    }
}

pub(super) fn sealed(
    tokens: &Tokens,
    refresh: Option<&SecretString>,
    keyring: &Keyring,
    got_at: Timestamp,
) -> Result<SealedSecret, SecretError> {
    let stored = StoredTokens {
        access_token: tokens.access.expose_secret().to_owned(),
        refresh_token: refresh.map(|token| token.expose_secret().to_owned()),
    };
    let text = Zeroizing::new(serde_json::to_string(&stored).unwrap_or_default());
    keyring.seal(&SecretString::from(text.as_str()), Purpose::Connection, got_at)
}

pub(super) fn unsealed(
    sealed: &SealedSecret,
    keyring: &Keyring,
) -> Result<(SecretString, Option<SecretString>), SecretError> {
    let text = keyring.open(sealed, Purpose::Connection)?;
    let stored: StoredTokens = serde_json::from_str(text.expose_secret())
        .map_err(|_not_what_was_sealed| SecretError::Tampered)?;
    let secret = |text: &str| SecretString::from(text);
    Ok((secret(&stored.access_token), stored.refresh_token.as_deref().map(secret)))
}

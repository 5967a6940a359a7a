//! The sealing key: encrypts secrets for the database with ChaCha20-Poly1305. Purpose and row id are the
//! associated data, so a sealed secret opens only for its purpose and row.

use std::fmt;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::error::SecretError;
use super::{private_file, random};
use crate::domain::clock::Timestamp;
use crate::domain::digest::sha256;
use crate::domain::secret::SealedSecret;

/// What a sealed secret is used for; it cannot be opened for another purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A source's write key.
    WriteKey,
    /// A destination's shared secret.
    SharedSecret,
    /// A bearer token that authorizes a destination's requests.
    BearerToken,
    /// The client secret for an authorization server.
    ClientSecret,
    /// The value of a destination's secret header.
    SecretHeader,
    /// The value of a destination's secret query parameter.
    SecretParameter,
    /// The OAuth tokens of a connected destination.
    Connection,
    /// A response stored for its `Idempotency-Key`.
    Answer,
}

impl Purpose {
    const fn as_str(self) -> &'static str {
        match self {
            Self::WriteKey => "write_key",
            Self::SharedSecret => "shared_secret",
            Self::BearerToken => "bearer_token",
            Self::ClientSecret => "client_secret",
            Self::SecretHeader => "secret_header",
            Self::SecretParameter => "secret_parameter",
            Self::Connection => "connection",
            Self::Answer => "answer",
        }
    }
}

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// The key that seals secrets in the database.
pub struct Keyring {
    id: String,
    cipher: ChaCha20Poly1305,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Keyring").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Keyring {
    /// The given key, else the one of the key file. A missing key file is created, unless the database
    /// already has secrets that only the missing key can open.
    ///
    /// # Errors
    /// [`SecretError`] when the key is invalid, or its file is missing, unreadable or readable by others.
    pub fn load(
        given: Option<&SecretString>,
        path: &Path,
        has_sealed_secrets: bool,
    ) -> Result<Self, SecretError> {
        if let Some(text) = given {
            return decode_key(text.expose_secret())
                .map(|key| Self::new(&key))
                .ok_or(SecretError::Key);
        }
        let text = match private_file::read(path)? {
            Some(text) => text,
            None if has_sealed_secrets => {
                return Err(SecretError::KeyMissing { path: path.to_owned() });
            }
            None => {
                let text = Zeroizing::new(STANDARD.encode(*random::bytes::<KEY_BYTES>()?));
                private_file::create(path, &text)?;
                text
            }
        };
        let key = decode_key(&text).ok_or_else(|| SecretError::Malformed {
            path: path.to_owned(),
            expected: "the base64 of 32 bytes",
        })?;
        Ok(Self::new(&key))
    }

    /// The keyring of this key.
    #[must_use]
    pub fn new(key: &[u8; KEY_BYTES]) -> Self {
        let id = hex::encode(&sha256(&[key])[..4]);
        Self { id, cipher: ChaCha20Poly1305::new(&Key::from(*key)) }
    }

    /// The key's id, a truncated hash of it.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.id
    }

    /// Seals a secret for a new row.
    ///
    /// # Errors
    /// [`SecretError`] when the random number generator fails, or the secret is too long.
    pub fn seal(
        &self,
        plain: &SecretString,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<SealedSecret, SecretError> {
        let id = *random::bytes::<16>()?;
        let nonce = *random::bytes::<NONCE_BYTES>()?;
        let payload =
            Payload { msg: plain.expose_secret().as_bytes(), aad: &associated_data(purpose, &id) };
        let ciphertext = self
            .cipher
            .encrypt(&Nonce::from(nonce), payload)
            .map_err(|chacha20poly1305::Error| SecretError::TooLong)?;
        let mut sealed = nonce.to_vec();
        sealed.extend_from_slice(&ciphertext);
        Ok(SealedSecret { id, key_id: self.id.clone(), sealed, created_at: now, retires_at: None })
    }

    /// Opens a secret sealed for this purpose and row.
    ///
    /// # Errors
    /// [`SecretError`] when it was sealed with another key, or fails authentication.
    pub fn open(
        &self,
        secret: &SealedSecret,
        purpose: Purpose,
    ) -> Result<SecretString, SecretError> {
        if secret.key_id != self.id {
            return Err(SecretError::OtherKey {
                wanted: secret.key_id.clone(),
                held: self.id.clone(),
            });
        }
        let (nonce, ciphertext) =
            secret.sealed.split_first_chunk::<NONCE_BYTES>().ok_or(SecretError::Tampered)?;
        let payload = Payload { msg: ciphertext, aad: &associated_data(purpose, &secret.id) };
        let plain = self
            .cipher
            .decrypt(&Nonce::from(*nonce), payload)
            .map(Zeroizing::new)
            .map_err(|chacha20poly1305::Error| SecretError::Tampered)?;
        std::str::from_utf8(&plain)
            .map(SecretString::from)
            .map_err(|_not_utf8| SecretError::Tampered)
    }
}

fn associated_data(purpose: Purpose, id: &[u8; 16]) -> Vec<u8> {
    [b"postrider/", purpose.as_str().as_bytes(), b"/", id.as_slice()].concat()
}

/// Decodes a key; `None` when the text is not the base64 of 32 bytes.
#[must_use]
pub fn decode_key(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
    let key: [u8; KEY_BYTES] = bytes.as_slice().try_into().ok()?;
    Some(Zeroizing::new(key))
}

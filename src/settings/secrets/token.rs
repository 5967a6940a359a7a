//! Tokens, write keys and shared secrets: generated from 256 random bits; the operator's token file.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use super::error::SecretError;
use super::{private_file, random};
use crate::domain::digest::sha256;

/// The SHA-256 of a token or a write key, by which it is looked up.
#[must_use]
pub fn digest(text: &str) -> [u8; 32] {
    sha256(&[text.as_bytes()])
}

/// A new write key or token: 256 random bits in base64url, which needs no quoting.
///
/// # Errors
/// [`SecretError::Random`] when the random number generator fails.
pub fn generate(prefix: &str) -> Result<SecretString, SecretError> {
    let bits = random::bytes::<32>()?;
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bits));
    Ok(SecretString::from(format!("{prefix}{}", *text)))
}

/// A new shared secret: `whsec_` and the base64 of 256 random bits.
///
/// # Errors
/// [`SecretError::Random`] when the random number generator fails.
pub fn generate_shared_secret() -> Result<SecretString, SecretError> {
    let bits = random::bytes::<32>()?;
    let text = Zeroizing::new(STANDARD.encode(*bits));
    Ok(SecretString::from(format!("whsec_{}", *text)))
}

/// The operator's token from its file; a missing file is created with a new token.
///
/// # Errors
/// [`SecretError`] when the file cannot be read or created, or is readable by others.
pub fn operator_token(path: &Path) -> Result<SecretString, SecretError> {
    if let Some(token) = read_token(path)? {
        return Ok(token);
    }
    let token = generate("prt_")?;
    private_file::create(path, token.expose_secret())?;
    Ok(token)
}

/// The operator's token from its file; `None` when the file does not exist.
///
/// # Errors
/// [`SecretError`] when the file cannot be read, is readable by others or is empty.
pub fn read_token(path: &Path) -> Result<Option<SecretString>, SecretError> {
    let Some(text) = private_file::read(path)? else { return Ok(None) };
    let token = text.trim();
    if token.is_empty() {
        return Err(SecretError::Malformed { path: path.to_owned(), expected: "a token" });
    }
    Ok(Some(SecretString::from(token)))
}

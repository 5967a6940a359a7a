//! Secrets: made from 256 random bits, sealed for the database, kept in files that only their owner
//! can read. Nothing here is printed, logged or put into an error.

use std::fmt;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use secrecy::{ExposeSecret as _, SecretString};
use zeroize::Zeroizing;

use crate::domain::clock::Timestamp;
use crate::domain::digest::sha256;
use crate::domain::secret::SealedSecret;
use crate::settings::Settings;

/// What went wrong with a secret; none of it tells the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random(#[source] getrandom::Error),
    /// A file of secrets cannot be read or made.
    #[error("{} cannot be {what}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Read or made.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// Others can read the file.
    #[error("{path} can be read by others (mode {mode:04o}): run chmod 600 {path}", path = path.display())]
    Exposed {
        /// Which.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file does not hold what it should.
    #[error("{} does not hold {expected}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
    },
    /// The key of the environment is not a key.
    #[error("POSTRIDER_SECRET_KEY should be the base64 of 32 bytes")]
    Key,
    /// The database holds sealed secrets, and there is no key.
    #[error(
        "the database holds secrets sealed with a key that is not here: {} is missing; \
         restore it or set POSTRIDER_SECRET_KEY", path.display()
    )]
    KeyMissing {
        /// Where the key file should be.
        path: PathBuf,
    },
    /// The secret was sealed with another key.
    #[error(
        "the secret is sealed with key {wanted}, and this process has key {held}: \
         give it the key file or POSTRIDER_SECRET_KEY that the secret was saved with"
    )]
    OtherKey {
        /// The key's id.
        wanted: String,
        /// The id of the key at hand.
        held: String,
    },
    /// What is stored is not what was sealed.
    #[error("the secret does not open: it was changed, or belongs to another row")]
    Tampered,
    /// The secret could not be sealed.
    #[error("the secret is too long to be sealed")]
    TooLong,
}

/// What a sealed secret is for; one purpose's secret does not open as another's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A source's write key.
    WriteKey,
    /// A destination's shared secret.
    SharedSecret,
    /// A token that authorizes a destination's requests.
    BearerToken,
    /// What a client shows to an authorization server.
    ClientSecret,
    /// The value of a destination's header.
    SecretHeader,
    /// The tokens of a connected destination.
    Connection,
    /// An answer that is kept to be given again.
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
            Self::Connection => "connection",
            Self::Answer => "answer",
        }
    }
}

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 12;

/// The key that seals secrets for the database.
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
    /// The key that the settings name: `secret_key`, else the key file. A missing key file is made,
    /// unless the database already holds what only the missing key can open.
    ///
    /// # Errors
    /// [`SecretError`] when the key file is missing, unreadable, readable by others or no key.
    pub fn of(settings: &Settings, sealed_before: bool) -> Result<Self, SecretError> {
        if let Some(text) = &settings.secret_key {
            return decode_key(text.expose_secret())
                .map(|key| Self::new(&key))
                .ok_or(SecretError::Key);
        }
        let path = &settings.secret_key_file;
        let text = match read_private(path)? {
            Some(text) => text,
            None if sealed_before => return Err(SecretError::KeyMissing { path: path.clone() }),
            None => {
                let text = Zeroizing::new(STANDARD.encode(*random::<KEY_BYTES>()?));
                create_private(path, &text)?;
                text
            }
        };
        let key = decode_key(&text).ok_or_else(|| SecretError::Malformed {
            path: path.clone(),
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

    /// A short hash of the key: tells keys apart and tells nothing of them.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.id
    }

    /// Seals a secret for a new row.
    ///
    /// # Errors
    /// [`SecretError`] when there is no randomness.
    pub fn seal(
        &self,
        plain: &SecretString,
        purpose: Purpose,
        now: Timestamp,
    ) -> Result<SealedSecret, SecretError> {
        let id = *random::<16>()?;
        let nonce = *random::<NONCE_BYTES>()?;
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

    /// Opens what was sealed for this purpose and row.
    ///
    /// # Errors
    /// [`SecretError`] when it was sealed with another key, or is not what was sealed.
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

/// SHA-256 of a token or a write key: what it is looked up by.
#[must_use]
pub fn digest(text: &str) -> [u8; 32] {
    sha256(&[text.as_bytes()])
}

/// A new write key or token: 256 random bits, in characters that need no quoting anywhere.
///
/// # Errors
/// [`SecretError::Random`] when the system gives no random bytes.
pub fn generate(prefix: &str) -> Result<SecretString, SecretError> {
    let bits = random::<32>()?;
    let text = Zeroizing::new(URL_SAFE_NO_PAD.encode(*bits));
    Ok(SecretString::from(format!("{prefix}{}", *text)))
}

/// A new shared secret: `whsec_` and the base64 of 256 random bits.
///
/// # Errors
/// [`SecretError`] when the system has no randomness.
pub fn generate_shared_secret() -> Result<SecretString, SecretError> {
    let bits = random::<32>()?;
    let text = Zeroizing::new(STANDARD.encode(*bits));
    Ok(SecretString::from(format!("whsec_{}", *text)))
}

/// The operator's token: from its file, which is made with a new token when it is missing.
///
/// # Errors
/// [`SecretError`] when the file cannot be read or made, or can be read by others.
pub fn operator_token(path: &Path) -> Result<SecretString, SecretError> {
    if let Some(token) = read_token(path)? {
        return Ok(token);
    }
    let token = generate("prt_")?;
    create_private(path, token.expose_secret())?;
    Ok(token)
}

/// The operator's token from its file; none when there is no such file.
///
/// # Errors
/// [`SecretError`] when the file cannot be read, can be read by others or is empty.
pub fn read_token(path: &Path) -> Result<Option<SecretString>, SecretError> {
    let Some(text) = read_private(path)? else { return Ok(None) };
    let token = text.trim();
    if token.is_empty() {
        return Err(SecretError::Malformed { path: path.to_owned(), expected: "a token" });
    }
    Ok(Some(SecretString::from(token)))
}

/// A key from its base64, or none when the text is not the base64 of 32 bytes.
#[must_use]
pub fn decode_key(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    let bytes = Zeroizing::new(STANDARD.decode(text.trim()).ok()?);
    let key: [u8; KEY_BYTES] = bytes.as_slice().try_into().ok()?;
    Some(Zeroizing::new(key))
}

fn random<const LENGTH: usize>() -> Result<Zeroizing<[u8; LENGTH]>, SecretError> {
    let mut bytes = Zeroizing::new([0u8; LENGTH]);
    getrandom::fill(bytes.as_mut_slice()).map_err(SecretError::Random)?;
    Ok(bytes)
}

/// Reads a file that nobody but its owner can read; none when there is no such file.
fn read_private(path: &Path) -> Result<Option<Zeroizing<String>>, SecretError> {
    let failed = |source| SecretError::File { path: path.to_owned(), what: "read", source };
    let mut file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let mode = file.metadata().map_err(failed)?.mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    file.read_to_string(&mut text).map_err(failed)?;
    Ok(Some(text))
}

/// Makes a file with mode 0600, whole or not at all, and never over one that is there.
fn create_private(path: &Path, text: &str) -> Result<(), SecretError> {
    let failed = |source| SecretError::File { path: path.to_owned(), what: "made", source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::NamedTempFile::new_in(folder).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)?;
    file.write_all(b"\n").map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist_noclobber(path).map_err(|error| failed(error.error))?;
    // The name must be as lasting as the content: what is sealed with a lost key is lost.
    std::fs::File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

//! Why a secret cannot be generated, sealed, opened, or read from its file.

use std::path::PathBuf;

/// Why a secret cannot be used; never contains the secret.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The system's random number generator fails.
    #[error("the system's random number generator fails")]
    Random(#[source] getrandom::Error),
    /// A file with a secret cannot be read or created.
    #[error("{} cannot be {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// "read" or "created".
        what: &'static str,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The file is readable by group or others.
    #[error("{path} is readable by other users (mode {mode:04o}): run chmod 600 {path}", path = path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The file belongs to another user, who can change it.
    #[error(
        "{path} belongs to user {owner} and this process runs as user {user}: run chown {user} {path}",
        path = path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its owner.
        owner: u32,
        /// The user of this process.
        user: u32,
    },
    /// The file's content is invalid.
    #[error("{} does not contain {expected}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The expected content.
        expected: &'static str,
    },
    /// `POSTRIDER_SECRET_KEY` is not a key.
    #[error("POSTRIDER_SECRET_KEY should be the base64 of 32 bytes")]
    Key,
    /// The database contains sealed secrets, and the key file is missing.
    #[error(
        "the database contains sealed secrets and their key file {} is missing: \
         restore it or set POSTRIDER_SECRET_KEY", path.display()
    )]
    KeyMissing {
        /// The key file's path.
        path: PathBuf,
    },
    /// The secret was sealed with another key.
    #[error(
        "the secret is sealed with key {wanted}, and this process has key {held}: \
         use the key file or POSTRIDER_SECRET_KEY that sealed it"
    )]
    OtherKey {
        /// The id of the key that sealed it.
        wanted: String,
        /// The id of this process's key.
        held: String,
    },
    /// Authentication of the sealed secret failed.
    #[error("the sealed secret fails authentication: it was modified, or belongs to another row")]
    Tampered,
    /// The secret is too long to be sealed.
    #[error("the secret is too long to be sealed")]
    TooLong,
}

//! Secrets: generated, sealed for the database, and kept in files that only their owner can read. They are
//! never printed, logged or part of an error.

mod error;
mod keyring;
mod private_file;
mod random;
mod token;

pub use error::SecretError;
pub use keyring::{Keyring, Purpose, decode_key};
pub use token::{digest, generate, generate_shared_secret, operator_token, read_token};

//! Secrets at rest: sealed by authenticated encryption (AEAD), never in clear.

use serde::{Deserialize, Serialize};

use super::clock::Timestamp;
use super::service_time::ServiceTime;

/// A secret as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedSecret {
    /// The row's random id; part of the AEAD's associated data.
    pub id: [u8; 16],
    /// Id of the key that sealed it.
    pub key_id: String,
    /// Nonce, ciphertext and authentication tag.
    pub sealed: Vec<u8>,
    /// When it was stored.
    pub created_at: Timestamp,
    /// When its validity beside its successor ends; none for the current one.
    pub retires_at: Option<ServiceTime>,
}

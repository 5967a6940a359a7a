//! To come.

use secrecy::SecretString;

/// To come.
#[derive(Debug)]
pub struct Signer;

impl Signer {
    /// To come.
    #[must_use]
    pub fn new(_secrets: &[SecretString]) -> Self {
        Self
    }
}

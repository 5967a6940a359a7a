//! Random bytes from the operating system.

use zeroize::Zeroizing;

use super::error::SecretError;

/// Random bytes, zeroized on drop.
pub(super) fn bytes<const LENGTH: usize>() -> Result<Zeroizing<[u8; LENGTH]>, SecretError> {
    let mut bytes = Zeroizing::new([0u8; LENGTH]);
    getrandom::fill(bytes.as_mut_slice()).map_err(SecretError::Random)?;
    Ok(bytes)
}

//! Ids for messages without one: random UUIDs (RFC 9562, version 4) from an injected generator.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use rand::Rng;
use rand::rngs::StdRng;

/// Generates message ids.
pub(super) struct MessageIds(Mutex<StdRng>);

impl MessageIds {
    pub(super) const fn new(rng: StdRng) -> Self {
        Self(Mutex::new(rng))
    }

    pub(super) fn next(&self) -> String {
        let mut bytes = [0; 16];
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
    }
}

impl fmt::Debug for MessageIds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("MessageIds")
    }
}

//! Insert functions: JavaScript that an event goes through before it is rendered. It runs in child
//! processes of this same program, each killed from outside at its limits; nothing of it ever runs in
//! the service's own process.

mod child;
mod confine;
mod frame;
mod pool;
mod realm;
mod run;
pub mod worker;

use std::fmt;
use std::sync::Arc;

use serde_json::value::RawValue;

use crate::domain::attempt::Outcome;
use crate::domain::digest::sha256;
use crate::domain::mapping::FunctionDefinition;

pub use child::VERB;
pub use pool::{FunctionPool, PoolOptions, Ran};

/// The longest source, in bytes.
pub const MAX_SOURCE: usize = 64 * 1024;
/// The longest settings as JSON, in bytes.
pub const MAX_SETTINGS: usize = 16 * 1024;

/// A function, ready to be called.
#[derive(Clone)]
pub struct Function {
    source: Arc<str>,
    settings: Arc<RawValue>,
    /// Of both: tells functions apart.
    digest: [u8; 32],
}

impl fmt::Debug for Function {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Function")
            .field("source_bytes", &self.source.len())
            .finish_non_exhaustive()
    }
}

impl Function {
    /// Makes a definition callable.
    ///
    /// # Errors
    /// What is wrong with its size, in words, after the field's name; the rest is known when it runs.
    pub fn of(definition: &FunctionDefinition) -> Result<Self, (&'static str, String)> {
        let source = definition.source.as_str();
        if source.trim().is_empty() {
            return Err(("source", "is empty".to_owned()));
        }
        if source.len() > MAX_SOURCE {
            return Err(("source", format!("is longer than {} KiB", MAX_SOURCE >> 10)));
        }
        if source.contains('\0') {
            return Err(("source", "should have no NUL character".to_owned()));
        }
        let settings = serde_json::value::to_raw_value(&definition.settings)
            .map_err(|error| ("settings", error.to_string()))?;
        if settings.get().len() > MAX_SETTINGS {
            return Err(("settings", format!("are longer than {} KiB", MAX_SETTINGS >> 10)));
        }
        let digest = sha256(&[source.as_bytes(), b"\0", settings.get().as_bytes()]);
        Ok(Self { source: source.into(), settings: settings.into(), digest })
    }
}

/// Why a function gave no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the attempt ends.
    pub outcome: Outcome,
    /// The cause in words.
    pub words: String,
}

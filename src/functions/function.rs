//! A function with its settings, checked for size and ready to call, and the result of calling it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::value::RawValue;

use crate::domain::attempt::Outcome;
use crate::domain::digest::sha256;
use crate::domain::mapping::FunctionDefinition;

/// Maximum size of the source, in bytes.
pub const MAX_SOURCE: usize = 64 * 1024;
/// Maximum size of the settings as JSON, in bytes.
pub const MAX_SETTINGS: usize = 16 * 1024;

/// A function that is ready to be called.
#[derive(Clone)]
pub struct Function {
    pub(super) source: Arc<str>,
    pub(super) settings: Arc<RawValue>,
    /// SHA-256 of source and settings.
    pub(super) digest: [u8; 32],
}

impl fmt::Debug for Function {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Function")
            .field("source_bytes", &self.source.len())
            .finish_non_exhaustive()
    }
}

impl Function {
    /// Checks the sizes of a definition. Syntax and handlers are checked by running it.
    ///
    /// # Errors
    /// The field's name and what is wrong with it.
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

/// Why a function returned no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The outcome of the attempt.
    pub outcome: Outcome,
    /// The error with its cause.
    pub message: String,
}

/// The result of a function for one event.
#[derive(Debug)]
pub struct FunctionRun {
    /// The returned event as `JSON.stringify` prints it, or the error.
    pub event: Result<Bytes, Failure>,
    /// Its console output, bounded. The output of `onBatch` belongs to its first event.
    pub console: Option<String>,
    /// How long the function ran for it; in an `onBatch` call, for all.
    pub duration: Duration,
}

impl FunctionRun {
    pub(super) fn new(event: Result<Bytes, Failure>, console: String) -> Self {
        let console = (!console.is_empty()).then_some(console);
        Self { event, console, duration: Duration::ZERO }
    }

    pub(super) fn failed(failure: Failure) -> Self {
        Self::new(Err(failure), String::new())
    }
}

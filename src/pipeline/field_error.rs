//! What is wrong with what was given: where and what, for whoever gave it.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One thing that is wrong with what was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// Where: `sources[0].destinations[1].mappings[0].url`, or the name of a query parameter.
    pub path: String,
    /// What, and what it should be.
    pub message: String,
}

impl Fault {
    /// A fault at a path.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

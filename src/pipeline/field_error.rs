//! A validation error: the path of the field and the message.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A validation error.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Fault)]
pub struct FieldError {
    /// The field: `sources[0].destinations[1].mappings[0].url`, or the name of a query parameter.
    pub path: String,
    /// What is wrong, and what is expected.
    pub message: String,
}

impl FieldError {
    /// An error at a path.
    #[must_use]
    pub fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into() }
    }
}

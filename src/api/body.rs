//! JSON request bodies: a size limit, and errors with line and column.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, header};
use serde::de::DeserializeOwned;
use serde_json::error::Category;

use super::problem::Problem;
use crate::domain::error_chain;
use crate::domain::unquoted::unquoted;

/// The maximum body size of the admin API, in bytes.
pub(super) const LIMIT: usize = 8 * 1024 * 1024;

/// A JSON request body.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        check_media_type(request.headers())?;
        let bytes =
            to_bytes(request.into_body(), LIMIT).await.map_err(|error| unreadable(&error))?;
        serde_json::from_slice(&bytes).map(Self).map_err(|error| misread(&error))
    }
}

/// A syntax error is a malformed request; valid JSON of another shape is an invalid one.
fn misread(error: &serde_json::Error) -> Problem {
    let words = format!("invalid body: {}", unquoted(&error.to_string()));
    match error.classify() {
        Category::Data => Problem::unprocessable("invalid", &words),
        Category::Io | Category::Syntax | Category::Eof => Problem::malformed(words),
    }
}

/// Only a JSON media type is accepted: it protects against cross-site form posts (CSRF).
fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let given = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = given.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    let essence = essence.to_ascii_lowercase();
    let is_json = essence == "application/json"
        || essence.starts_with("application/") && essence.ends_with("+json");
    if is_json { Ok(()) } else { Err(Problem::not_json(&essence)) }
}

pub(super) fn unreadable(error: &axum::Error) -> Problem {
    if error_chain::chain(error).any(|cause| cause.is::<http_body_util::LengthLimitError>()) {
        return Problem::too_large(LIMIT);
    }
    Problem::malformed("the body is incomplete")
}

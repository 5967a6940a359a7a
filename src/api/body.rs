//! A request's JSON body, within bounds; what is wrong with it is told by line and column.

use axum::body::to_bytes;
use axum::extract::{FromRequest, Request};
use serde::de::DeserializeOwned;

use super::problem::Problem;

/// The largest body that the admin API reads, in bytes.
const LIMIT: usize = 8 * 1024 * 1024;

/// A request's body, read from JSON.
pub(super) struct Body<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _state: &S) -> Result<Self, Problem> {
        let bytes =
            to_bytes(request.into_body(), LIMIT).await.map_err(|error| unreadable(&error))?;
        serde_json::from_slice(&bytes)
            .map(Self)
            .map_err(|error| Problem::malformed(format!("the body is not right: {error}")))
    }
}

fn unreadable(error: &axum::Error) -> Problem {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<http_body_util::LengthLimitError>() {
            return Problem::too_large(LIMIT);
        }
        cause = inner.source();
    }
    Problem::malformed("the body did not arrive whole")
}

//! What every answer of the admin API has: the request's id, and with a refusal the problem that
//! names it. What the framework refuses by itself becomes a problem here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::{Api, Problem};
use crate::domain::id::{Noun, PublicId};

/// The header that a request's id comes and goes in.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The longest id that is taken over.
const MAX_ID: usize = 128;
/// What the framework says of a refusal is no longer than this, in bytes.
const MAX_WORDS: usize = 4 * 1024;

/// The id of a request: the caller's own where it can stand in a log line, else one of ours.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

/// Counts the requests that came without an id.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicI64);

pub(super) async fn identify(
    State((api, counter)): State<(Arc<Api>, Arc<Counter>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(taken);
    let id = given.unwrap_or_else(|| {
        let count = counter.0.fetch_add(1, Ordering::Relaxed) + 1;
        PublicId::new(Noun::Request, api.service.clock.now(), count).to_string()
    });
    request.extensions_mut().insert(RequestId(id.clone()));
    let response = next.run(request).await;
    let mut response = if response.status().is_client_error() || response.status().is_server_error()
    {
        named(response, &id).await
    } else {
        response
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// An id of the caller's that can stand in a header, a log line and a table as it is.
fn taken(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    ((1..=MAX_ID).contains(&text.len()) && text.bytes().all(fits)).then(|| text.to_owned())
}

/// A refusal as a problem that names the request; its other headers stay.
async fn named(mut response: Response, id: &str) -> Response {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None => worded(response.status(), std::mem::take(response.body_mut())).await,
    };
    let mut answer = problem.of_request(id).into_response();
    for (name, value) in response.headers() {
        if *name != header::CONTENT_LENGTH && !answer.headers().contains_key(name) {
            answer.headers_mut().append(name, value.clone());
        }
    }
    answer
}

/// What the framework refused, in its words.
async fn worded(status: StatusCode, body: axum::body::Body) -> Problem {
    let words = to_bytes(body, MAX_WORDS).await.unwrap_or_default();
    Problem::of_status(status, String::from_utf8_lossy(&words).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_id_that_can_stand_anywhere_is_taken_over() {
        for wrong in ["", "a b", "a\"b", "<x>", "ä", &"a".repeat(129)] {
            let value = HeaderValue::from_bytes(wrong.as_bytes()).unwrap();
            assert_eq!(taken(&value), None, "{wrong:?}");
        }
        let right = HeaderValue::from_static("Order-7_a.b:c");
        assert_eq!(taken(&right).as_deref(), Some("Order-7_a.b:c"));
    }
}

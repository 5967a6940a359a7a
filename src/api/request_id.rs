//! The `X-Request-Id` of every response, also named by its problem details. Errors of the HTTP
//! framework become problem details here.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::to_bytes;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};

use super::{Api, Problem};
use crate::domain::id::{Noun, PublicId};

/// The header of the request id.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The maximum length of an id from a client.
const MAX_ID: usize = 128;
/// The maximum size of the framework's error text, in bytes.
const MAX_WORDS: usize = 4 * 1024;

/// The id of a request: the client's where it is valid, else a generated one.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

/// Counts the requests without a client id.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicI64);

pub(super) async fn identify(
    State((api, counter)): State<(Arc<Api>, Arc<Counter>)>,
    mut request: Request,
    next: Next,
) -> Response {
    let given = request.headers().get(REQUEST_ID).and_then(client_id);
    let id = given.unwrap_or_else(|| {
        let count = counter.0.fetch_add(1, Ordering::Relaxed) + 1;
        PublicId::new(Noun::Request, api.service.clock.now(), count).to_string()
    });
    request.extensions_mut().insert(RequestId(id.clone()));
    let response = next.run(request).await;
    let mut response = if response.status().is_client_error() || response.status().is_server_error()
    {
        with_request_id(response, &id).await
    } else {
        response
    };
    if let Ok(value) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, value);
    }
    response
}

/// A client id that is safe in headers, log lines and tables.
fn client_id(value: &HeaderValue) -> Option<String> {
    let text = value.to_str().ok()?;
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    ((1..=MAX_ID).contains(&text.len()) && text.bytes().all(fits)).then(|| text.to_owned())
}

/// An error response as problem details with the request id; its other headers are kept.
async fn with_request_id(mut response: Response, id: &str) -> Response {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None => framework_error(response.status(), std::mem::take(response.body_mut())).await,
    };
    let mut answer = problem.of_request(id).into_response();
    for (name, value) in response.headers() {
        if *name != header::CONTENT_LENGTH && !answer.headers().contains_key(name) {
            answer.headers_mut().append(name, value.clone());
        }
    }
    answer
}

/// An error of the framework, with its text.
async fn framework_error(status: StatusCode, body: axum::body::Body) -> Problem {
    let words = to_bytes(body, MAX_WORDS).await.unwrap_or_default();
    Problem::of_status(status, String::from_utf8_lossy(&words).trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_client_id_that_is_safe_everywhere_is_used() {
        for wrong in ["", "a b", "a\"b", "<x>", "ä", &"a".repeat(129)] {
            let value = HeaderValue::from_bytes(wrong.as_bytes()).unwrap();
            assert_eq!(client_id(&value), None, "{wrong:?}");
        }
        let right = HeaderValue::from_static("Order-7_a.b:c");
        assert_eq!(client_id(&right).as_deref(), Some("Order-7_a.b:c"));
    }
}

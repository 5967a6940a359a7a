//! Test sends and previews: one event is rendered, signed and, for a test send, sent as a delivery is,
//! without a lease, a circuit breaker or statistics.

use bytes::Bytes;
use http::HeaderMap;

use super::authorized_request::{add_placeholder_authorization, recorded_url};
use super::context::Context;
use super::dispatcher::Dispatcher;
use crate::domain::attempt::{NewAttempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::digest::sha256;
use crate::domain::event::Event;
use crate::domain::id::MappingId;
use crate::mapping::Rendered;
use crate::routing::MappingRoute;
use crate::sender::{SignedContent, SignedRequest, masked_headers};

/// The request of a preview or test send.
#[derive(Clone, Debug)]
pub struct TestRequest {
    /// The HTTP method.
    pub method: http::Method,
    /// The URL.
    pub url: String,
    /// The headers, `name: value` a line, secrets masked.
    pub headers: String,
    /// The exact bytes of the body.
    pub body: Bytes,
}

/// The result of a preview or test send.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// Whether the trigger matches the event; the request is rendered either way.
    pub matched: bool,
    /// The request; none when rendering failed.
    pub request: Option<TestRequest>,
    /// The insert function's console output.
    pub console: Option<String>,
    /// The attempt: of the test send, or of a preview that failed; none for a rendered preview.
    pub attempt: Option<NewAttempt>,
}

impl Dispatcher {
    /// Renders an event by a mapping's current revision and, with `send`, sends it; none when there is no
    /// such mapping.
    pub async fn test(
        &self,
        mapping_id: MappingId,
        event: &Event,
        send: bool,
    ) -> Option<TestResult> {
        let routes = self.context.parts.routes.current();
        let route = routes.mapping(mapping_id)?;
        Some(self.context.test(route, event, send).await)
    }

    /// Renders an event by a mapping that need not be saved, without sending.
    pub async fn preview(&self, route: &MappingRoute, event: &Event) -> TestResult {
        self.context.test(route, event, false).await
    }
}

impl Context {
    async fn test(&self, route: &MappingRoute, event: &Event, send: bool) -> TestResult {
        let started_at = self.parts.clock.now();
        let document = event.document().ok().and_then(|it| crate::json::parse(it).ok());
        let matched = document.is_some_and(|document| route.matches(&document));
        let prepared = self.prepare_one(route, event).await;
        let (node_id, revision_id) = (self.parts.node_id, route.revision_id);
        let mut attempt = NewAttempt::unsent(node_id, revision_id, started_at, Outcome::Render);
        attempt.console.clone_from(&prepared.console);
        let rendered = match prepared.rendered {
            Ok(rendered) => rendered,
            Err(error) => {
                attempt.outcome = error.outcome;
                attempt.error = Some(error.error);
                let console = prepared.console;
                return TestResult { matched, request: None, console, attempt: Some(attempt) };
            }
        };
        let body = body_of(route, &rendered);
        let mut headers = self.test_headers(route, started_at, &rendered, &body);
        let mut url = rendered.url.clone();
        let authorized = if send {
            self.authorize(route, &mut url, &mut headers).await
        } else {
            add_placeholder_authorization(route, &mut headers);
            Ok(())
        };
        let request = TestRequest {
            method: rendered.method.clone(),
            url: recorded_url(route, &rendered.url),
            headers: masked_headers(&headers, &[]),
            body: body.clone(),
        };
        attempt.url.clone_from(&request.url);
        attempt.request_headers.clone_from(&request.headers);
        attempt.body_sha256 = Some(sha256(&[&body]));
        let attempt = match authorized {
            Ok(()) if send => {
                let rendered = Rendered { body, url, ..rendered };
                Some(self.send_test(route, rendered, headers, attempt).await)
            }
            Ok(()) => None,
            Err(error) => {
                attempt.outcome = error.outcome;
                attempt.error = Some(error.error);
                Some(attempt)
            }
        };
        TestResult { matched, request: Some(request), console: prepared.console, attempt }
    }

    async fn send_test(
        &self,
        route: &MappingRoute,
        rendered: Rendered,
        headers: HeaderMap,
        mut attempt: NewAttempt,
    ) -> NewAttempt {
        let outgoing = SignedRequest {
            method: rendered.method,
            url: rendered.url,
            headers,
            spellings: rendered.spellings,
            body: rendered.body,
            timeout: route.timeout(),
            multistatus_bytes: 0,
        };
        let exchange = self.send(route, outgoing).await;
        attempt.duration_us = u64::try_from(exchange.duration.as_micros()).unwrap_or(u64::MAX);
        attempt.outcome = exchange.outcome;
        attempt.status = exchange.status;
        attempt.error = exchange.error;
        attempt.response_headers = exchange.response_headers;
        attempt.response_body = exchange.response_body;
        attempt.response_truncated = exchange.response_truncated;
        attempt
    }

    /// The headers of a delivery, under a `webhook-id` of the form `test_…`.
    fn test_headers(
        &self,
        route: &MappingRoute,
        started_at: Timestamp,
        rendered: &Rendered,
        body: &[u8],
    ) -> HeaderMap {
        let mut headers = rendered.headers.clone();
        let signed = SignedContent {
            webhook_id: &format!("test_{}", started_at.as_micros()),
            timestamp_s: started_at.as_seconds(),
            body,
            first_event: rendered.signed.as_deref(),
        };
        self.sign(route, &mut headers, &signed);
        headers
    }
}

/// The body: with batching, an array of one.
fn body_of(route: &MappingRoute, rendered: &Rendered) -> Bytes {
    if route.batching.is_some() {
        Bytes::from([b"[", &*rendered.body, b"]"].concat())
    } else {
        rendered.body.clone()
    }
}

//! Test sends: an operator tries a mapping on one event. It is prepared, signed and sent as a delivery
//! is, but holds no lease, opens no circuit and counts nowhere.

use bytes::Bytes;
use http::HeaderMap;

use super::send::stand_in_for_authorization;
use super::{Dispatcher, Shared};
use crate::domain::attempt::{NewAttempt, Outcome};
use crate::domain::clock::Timestamp;
use crate::domain::digest::sha256;
use crate::domain::event::Event;
use crate::domain::id::MappingId;
use crate::mapping::Rendered;
use crate::routing::MappingRoute;
use crate::sender::{Outgoing, Signed, masked_headers};

/// What would be sent, or was.
#[derive(Clone, Debug)]
pub struct TestRequest {
    /// The HTTP method.
    pub method: http::Method,
    /// Where to.
    pub url: String,
    /// The headers, `name: value` a line, secrets masked.
    pub headers: String,
    /// The exact bytes.
    pub body: Bytes,
}

/// What a test gave.
#[derive(Clone, Debug)]
pub struct TestResult {
    /// Whether the mapping is triggered by the event; the request is made all the same.
    pub matched: bool,
    /// The request; none where the event gives none.
    pub request: Option<TestRequest>,
    /// What an insert function wrote to its console.
    pub console: Option<String>,
    /// What came of preparing and, if it was to be sent, of sending it; none for a preview that
    /// could be rendered.
    pub attempt: Option<NewAttempt>,
}

impl Dispatcher {
    /// Tries the revision in force of a mapping on an event; none when there is no such mapping.
    pub async fn test(
        &self,
        mapping_id: MappingId,
        event: &Event,
        send: bool,
    ) -> Option<TestResult> {
        let routes = self.shared.parts.routes.current();
        let route = routes.mapping(mapping_id)?;
        Some(self.shared.test(route, event, send).await)
    }

    /// Tries a mapping that need not be in use on an event, without sending.
    pub async fn preview(&self, route: &MappingRoute, event: &Event) -> TestResult {
        self.shared.test(route, event, false).await
    }
}

impl Shared {
    async fn test(&self, route: &MappingRoute, event: &Event, send: bool) -> TestResult {
        let started_at = self.parts.clock.now();
        let document = event.document().ok().and_then(|it| crate::json::parse(it).ok());
        let matched = document.is_some_and(|document| route.matches(&document));
        let prepared = self.prepare_one(route, event).await;
        let (node_id, revision_id) = (self.parts.node_id, route.revision_id);
        let mut made = NewAttempt::unsent(node_id, revision_id, started_at, Outcome::Render);
        made.console.clone_from(&prepared.console);
        let rendered = match prepared.rendered {
            Ok(rendered) => rendered,
            Err(unprepared) => {
                made.outcome = unprepared.outcome;
                made.error = Some(unprepared.error);
                let console = prepared.console;
                return TestResult { matched, request: None, console, attempt: Some(made) };
            }
        };
        let body = body_of(route, &rendered);
        let mut headers = self.test_headers(route, started_at, &rendered, &body);
        let authorized = if send {
            self.authorize(route, &mut headers).await
        } else {
            stand_in_for_authorization(route, &mut headers);
            Ok(())
        };
        let request = TestRequest {
            method: rendered.method.clone(),
            url: rendered.url.to_string(),
            headers: masked_headers(&headers, &[]),
            body: body.clone(),
        };
        made.url.clone_from(&request.url);
        made.request_headers.clone_from(&request.headers);
        made.body_sha256 = Some(sha256(&[&body]));
        let attempt = match authorized {
            Ok(()) if send => {
                let rendered = Rendered { body, ..rendered };
                Some(self.try_out(route, rendered, headers, made).await)
            }
            Ok(()) => None,
            Err(unprepared) => {
                made.outcome = unprepared.outcome;
                made.error = Some(unprepared.error);
                Some(made)
            }
        };
        TestResult { matched, request: Some(request), console: prepared.console, attempt }
    }

    async fn try_out(
        &self,
        route: &MappingRoute,
        rendered: Rendered,
        headers: HeaderMap,
        mut made: NewAttempt,
    ) -> NewAttempt {
        let outgoing = Outgoing {
            method: rendered.method,
            url: rendered.url,
            headers,
            body: rendered.body,
            timeout: route.settings.timeout(),
            multistatus_bytes: 0,
        };
        let exchange = self.send(route, outgoing).await;
        made.duration_us = u64::try_from(exchange.duration.as_micros()).unwrap_or(u64::MAX);
        made.outcome = exchange.outcome;
        made.status = exchange.status;
        made.error = exchange.error;
        made.response_headers = exchange.response_headers;
        made.response_body = exchange.response_body;
        made.response_truncated = exchange.response_truncated;
        made
    }

    /// As a delivery's, under an id that is no delivery's.
    fn test_headers(
        &self,
        route: &MappingRoute,
        started_at: Timestamp,
        rendered: &Rendered,
        body: &[u8],
    ) -> HeaderMap {
        let mut headers = rendered.headers.clone();
        let signed = Signed {
            webhook_id: &format!("test_{}", started_at.as_micros()),
            timestamp_s: started_at.as_seconds(),
            body,
            first_event: &rendered.body,
        };
        self.sign(route, &mut headers, &signed);
        headers
    }
}

/// The bytes that are sent: where events share requests, an array of one.
fn body_of(route: &MappingRoute, rendered: &Rendered) -> Bytes {
    if route.batching.is_some() {
        Bytes::from([b"[", &*rendered.body, b"]"].concat())
    } else {
        rendered.body.clone()
    }
}

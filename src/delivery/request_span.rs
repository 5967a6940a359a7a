//! W3C Trace Context of requests: each request is a child span of its events' trace, sent to the
//! receiver in `traceparent` and exported where a collector is set.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::batch::Batch;
use crate::domain::attempt::Outcome;
use crate::domain::clock::Timestamp;
use crate::domain::span::{AttributeValue, Span, SpanKind};
use crate::domain::trace::Trace;
use crate::routing::MappingRoute;
use crate::sender::Exchange;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Adds the trace headers of a child span with this id and returns its context; none when the mapping
/// sets `traceparent` itself.
pub(super) fn propagate(trace: &Trace, span_id: [u8; 8], headers: &mut HeaderMap) -> Option<Trace> {
    if headers.contains_key(TRACEPARENT) {
        return None;
    }
    let span = trace.child(span_id);
    let state = span.state.as_deref().map(HeaderValue::from_str);
    if let Ok(parent) = HeaderValue::from_str(&span.traceparent()) {
        headers.insert(TRACEPARENT, parent);
    }
    if let Some(Ok(state)) = state {
        headers.entry(TRACESTATE).or_insert(state);
    }
    Some(span)
}

/// The span of a request that has ended.
pub(super) fn request_span(
    route: &MappingRoute,
    batch: &Batch,
    trace: Trace,
    exchange: &Exchange,
    started_at: Timestamp,
) -> Span {
    let text = AttributeValue::Text;
    let number = AttributeValue::Number;
    let mut attributes = vec![
        ("postrider.mapping", text(route.name.clone())),
        ("postrider.webhook_id", text(batch.webhook_id())),
        ("postrider.outcome", text(exchange.outcome.as_str().to_owned())),
        ("postrider.deliveries", number(i64::try_from(batch.len()).unwrap_or(i64::MAX))),
    ];
    if let Some(first) = batch.items.first() {
        attributes.push(("http.request.method", text(first.rendered.method.to_string())));
        let host = first.rendered.url.host_str().unwrap_or_default();
        attributes.push(("server.address", text(host.to_owned())));
    }
    if let Some(status) = exchange.status {
        attributes.push(("http.response.status_code", number(status.into())));
    }
    Span {
        parent_id: batch.trace().map(|parent| parent.parent_id),
        trace,
        name: "deliver",
        kind: SpanKind::Client,
        started_at,
        duration: exchange.duration,
        attributes,
        // A delivered request may have a fault noted.
        error: exchange.error.clone().filter(|_| exchange.outcome != Outcome::Delivered),
    }
}

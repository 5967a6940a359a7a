//! Spans: one operation of a trace, as exported over OTLP.

use std::time::Duration;

use super::trace::Trace;
use crate::domain::clock::Timestamp;

/// The kind of a span, as OpenTelemetry has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// An incoming request.
    Server,
    /// An outgoing request.
    Client,
}

/// An operation that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its trace context; `parent_id` is its own span id.
    pub trace: Trace,
    /// The parent span; none for a root span.
    pub parent_id: Option<[u8; 8]>,
    /// The operation.
    pub name: &'static str,
    /// Its kind.
    pub kind: SpanKind,
    /// When it started.
    pub started_at: Timestamp,
    /// Its duration.
    pub duration: Duration,
    /// Its attributes; never a secret.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// The error; none on success.
    pub error: Option<String>,
}

/// The value of a span attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeValue {
    /// Text.
    Text(String),
    /// A count or a code.
    Number(i64),
}

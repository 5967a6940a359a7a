//! Spans: one piece of work in a trace, as it is told to whoever gathers traces.

use std::time::Duration;

use super::trace::Trace;
use crate::domain::clock::Timestamp;

/// What a span stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// A request that came in.
    Server,
    /// A request that went out.
    Client,
}

/// A piece of work that has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its trace and its own id, as `parent_id` of what comes after it.
    pub trace: Trace,
    /// The span before it; none: the trace began with it.
    pub parent_id: Option<[u8; 8]>,
    /// What was done.
    pub name: &'static str,
    /// On which side.
    pub kind: SpanKind,
    /// When it began.
    pub started_at: Timestamp,
    /// How long it took.
    pub duration: Duration,
    /// What is worth knowing; no secrets.
    pub facts: Vec<(&'static str, Fact)>,
    /// What went wrong; none when nothing did.
    pub error: Option<String>,
}

/// One thing worth knowing of a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// Words.
    Text(String),
    /// A count or a code.
    Number(i64),
}

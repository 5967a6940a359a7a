//! The head of a tracking request: what is known before its body is read.

use std::net::IpAddr;
use std::sync::Arc;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

use super::body::Encoding;
use super::endpoint::Endpoint;
use super::tenant::Tenant;
use crate::domain::trace::Trace;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A request's head that was not refused.
pub(super) struct RequestHead {
    pub(super) endpoint: Endpoint,
    pub(super) encoding: Encoding,
    /// The write key in the headers, if any; it belonged to an enabled source when the head was read.
    pub(super) key: Option<String>,
    /// Whose share of intake it takes.
    pub(super) tenant: Tenant,
    /// The sender's address; none where it is not known.
    pub(super) client: Option<IpAddr>,
    /// The trace that the request is part of.
    pub(super) trace: Option<Arc<Trace>>,
}

/// The W3C trace context of a request.
pub(super) fn trace(headers: &HeaderMap) -> Option<Arc<Trace>> {
    let parent = headers.get(TRACEPARENT)?.to_str().ok()?;
    let states = headers.get_all(TRACESTATE).iter().map(HeaderValue::to_str);
    // Several tracestate headers form one list.
    let state = states.collect::<Result<Vec<_>, _>>().unwrap_or_default().join(",");
    Trace::parse(parent, Some(&state)).map(Arc::new)
}

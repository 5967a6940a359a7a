//! OTLP's JSON encoding of spans (OpenTelemetry protocol 1.x, `ExportTraceServiceRequest`): ids in hex,
//! 64-bit integers as strings.

use serde_json::{Value, json};

use crate::domain::span::{Fact, Span, SpanKind};

/// Values of OTLP's enums `SpanKind` and `StatusCode`.
const SERVER: u8 = 2;
const CLIENT: u8 = 3;
const ERROR: u8 = 2;

/// The body of an export request with these spans.
pub(super) fn request(node_name: &str, spans: &[Span]) -> Value {
    let resource = [
        attribute("service.name", &Fact::Text("postrider".to_owned())),
        attribute("service.version", &Fact::Text(env!("CARGO_PKG_VERSION").to_owned())),
        attribute("service.instance.id", &Fact::Text(node_name.to_owned())),
    ];
    let spans: Vec<_> = spans.iter().map(span).collect();
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "postrider"}, "spans": spans}],
    }]})
}

fn span(span: &Span) -> Value {
    let started_ns = i128::from(span.started_at.as_micros()) * 1_000;
    let ended_ns = started_ns + i128::try_from(span.duration.as_nanos()).unwrap_or(0);
    let attributes: Vec<_> = span.facts.iter().map(|(name, fact)| attribute(name, fact)).collect();
    let mut shown = json!({
        "traceId": hex::encode(span.trace.trace_id),
        "spanId": hex::encode(span.trace.parent_id),
        "name": span.name,
        "kind": match span.kind { SpanKind::Server => SERVER, SpanKind::Client => CLIENT },
        "startTimeUnixNano": started_ns.to_string(),
        "endTimeUnixNano": ended_ns.to_string(),
        "attributes": attributes,
    });
    if let Some(parent_id) = span.parent_id {
        shown["parentSpanId"] = hex::encode(parent_id).into();
    }
    if let Some(state) = &span.trace.state {
        shown["traceState"] = state.as_ref().into();
    }
    if let Some(error) = &span.error {
        shown["status"] = json!({"code": ERROR, "message": error});
    }
    shown
}

fn attribute(name: &str, fact: &Fact) -> Value {
    let value = match fact {
        Fact::Text(text) => json!({"stringValue": text}),
        Fact::Number(number) => json!({"intValue": number.to_string()}),
    };
    json!({"key": name, "value": value})
}

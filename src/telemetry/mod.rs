//! Observability: metrics, traces exported over OTLP, log lines. Nothing here influences delivery.

pub mod log;
pub mod metrics;
pub mod traces;

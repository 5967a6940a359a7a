//! Observability: metrics, traces exported over OTLP, log lines. Nothing here influences delivery.

pub mod log;
pub mod log_rate;
pub mod metrics;
mod postgres_metrics;
pub mod refusals;
pub mod traces;

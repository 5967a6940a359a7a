//! What the service reports of itself: metrics, traces, log lines. It observes and never decides.

pub mod log;
pub mod metrics;
pub mod traces;

//! State badges: a label with a tone. The label is always shown; colour alone is not accessible.

use crate::domain::attempt::{Effect, Outcome};

/// A label with a tone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) label: String,
    /// `good`, `warn`, `bad`, `live` or `idle`.
    pub(super) tone: &'static str,
}

impl Badge {
    pub(super) fn new(label: impl Into<String>, tone: &'static str) -> Self {
        Self { label: label.into(), tone }
    }

    /// The state of a delivery or job.
    pub(super) fn of_state(state: &str) -> Self {
        let tone = match state {
            "delivered" | "done" => "good",
            "dead" => "bad",
            "leased" | "running" => "live",
            "cancelled" => "warn",
            _ => "idle",
        };
        Self::new(state, tone)
    }

    /// The outcome of an attempt.
    pub(super) fn of_outcome(outcome: &str) -> Self {
        let tone = match Outcome::parse(outcome).map(Outcome::effect) {
            Some(Effect::Delivered) => "good",
            Some(Effect::Dropped) => "idle",
            Some(Effect::Dead) => "bad",
            Some(Effect::Retried) | None => "warn",
        };
        Self::new(outcome.replace('_', " "), tone)
    }
}

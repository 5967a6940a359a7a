//! Words of state with a tone. The word is always there: a tone alone says nothing to many readers.

/// A word and how it is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Badge {
    pub(super) word: String,
    /// `good`, `warn`, `bad`, `live` or `idle`.
    pub(super) tone: &'static str,
}

impl Badge {
    pub(super) fn new(word: impl Into<String>, tone: &'static str) -> Self {
        Self { word: word.into(), tone }
    }

    /// Where a delivery or a job stands.
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

    /// How an attempt ended.
    pub(super) fn of_outcome(outcome: &str) -> Self {
        let tone = match outcome {
            "delivered" => "good",
            "dropped" => "idle",
            "rejected" | "redirect" | "render" | "address" | "function" => "bad",
            _ => "warn",
        };
        Self::new(outcome.replace('_', " "), tone)
    }
}

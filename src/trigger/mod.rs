//! The trigger language: which events a mapping wants. For now its one sentence is the empty one,
//! which wants every event; any other is refused when the mapping is saved.

use crate::json::Value;

/// A parsed trigger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// Every event.
    Everything,
}

/// Why an expression is not a trigger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the end of the trigger at position {position}: this version knows only the empty trigger, which matches every event"
)]
pub struct TriggerError {
    /// Characters before the fault.
    pub position: usize,
}

impl Trigger {
    /// Parses an expression.
    ///
    /// # Errors
    /// [`TriggerError`] when it is not one.
    pub fn parse(expression: &str) -> Result<Self, TriggerError> {
        match expression.chars().position(|char| !char.is_whitespace()) {
            None => Ok(Self::Everything),
            Some(position) => Err(TriggerError { position }),
        }
    }

    /// Whether an event's document matches.
    #[must_use]
    pub const fn matches(&self, _document: &Value<'_>) -> bool {
        match self {
            Self::Everything => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_empty_trigger_matches_everything_and_others_are_refused_with_their_position() {
        assert!(Trigger::parse(" \n").expect("a trigger").matches(&Value::Null));
        assert_eq!(Trigger::parse("  type"), Err(TriggerError { position: 2 }));
    }
}

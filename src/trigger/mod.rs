//! Triggers (Segment's FQL): the expression that selects a mapping's events. It is parsed once, when its
//! mapping is compiled, and evaluated for each event. Conditions on a value of another type evaluate as
//! in Segment's public implementation.

mod evaluate;
mod expression;
mod glob;
mod index;
mod lex;
mod parse;
mod print;

use std::fmt;

use crate::json::Value;
use expression::Expression;
pub use index::TriggerIndex;

/// The longest trigger, in characters.
pub const MAX_CHARS: usize = 10_000;

/// The deepest nesting of groups and negations.
pub const MAX_DEPTH: usize = 64;

/// A parsed trigger.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trigger(Option<Expression>);

/// A syntax error and its position.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at position {position}, found {found}")]
pub struct TriggerError {
    /// Characters before the fault.
    pub position: usize,
    /// The expected token.
    pub expected: &'static str,
    /// The token found.
    pub found: String,
}

/// The part of a trigger that an event does not match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The condition, as the language prints it.
    pub condition: String,
    /// The field that it tests and its value; none for more than one condition.
    pub field: Option<Field>,
}

/// A field that a condition tests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its path, as the language prints it.
    pub path: String,
    /// Its value as JSON; none when it is missing.
    pub value: Option<String>,
}

impl Trigger {
    /// Parses an expression. White space alone matches every event.
    ///
    /// # Errors
    /// [`TriggerError`] at the first syntax error.
    pub fn parse(expression: &str) -> Result<Self, TriggerError> {
        parse::parse(expression).map(Self)
    }

    /// Whether an event's document matches.
    #[must_use]
    pub fn matches(&self, document: &Value<'_>) -> bool {
        self.0.as_ref().is_none_or(|expression| evaluate::holds(expression, document))
    }

    /// The smallest part of the trigger that does not match an event's document: of conditions joined by
    /// `and`, the first. None when the trigger matches.
    #[must_use]
    pub fn unmet(&self, document: &Value<'_>) -> Option<Unmet> {
        self.0.as_ref().and_then(|expression| evaluate::unmet(expression, document))
    }
}

impl fmt::Display for Trigger {
    /// The expression in a form that parses to the same trigger.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |expression| write!(out, "{expression}"))
    }
}

#[cfg(test)]
mod tests;

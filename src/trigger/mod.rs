//! The trigger language: which events a mapping wants. An expression is parsed once, when its mapping
//! is compiled, and refused with the place of its fault; matching an event then only walks it. What a
//! condition means for a value of another type is Segment's, as its public subscriptions decide it.

mod evaluate;
mod expression;
mod glob;
mod lex;
mod parse;
mod print;

use std::fmt;

use crate::json::Value;
use expression::Expression;

/// A trigger may have this many characters; a longer one is refused.
pub const MAX_CHARS: usize = 10_000;

/// Groups and negations may stand in each other this deep; deeper ones are refused.
pub const MAX_DEPTH: usize = 64;

/// A parsed trigger.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trigger(Option<Expression>);

/// Why a text is not a trigger, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at position {position}, found {found}")]
pub struct TriggerError {
    /// Characters before the fault.
    pub position: usize,
    /// What should have stood there.
    pub expected: &'static str,
    /// What stands there.
    pub found: String,
}

/// The part of a trigger that an event does not meet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The condition, as the language prints it.
    pub condition: String,
    /// The field it looks at and what stands there, as JSON; none for more than one condition.
    pub field: Option<Field>,
}

/// A field that a condition looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its path, as the language prints it.
    pub path: String,
    /// What stands there, as JSON; none when it is missing.
    pub value: Option<String>,
}

impl Trigger {
    /// Parses an expression. One of nothing but white space matches every event.
    ///
    /// # Errors
    /// [`TriggerError`] when it is not one.
    pub fn parse(expression: &str) -> Result<Self, TriggerError> {
        parse::parse(expression).map(Self)
    }

    /// Whether an event's document matches.
    #[must_use]
    pub fn matches(&self, document: &Value<'_>) -> bool {
        self.0.as_ref().is_none_or(|expression| evaluate::holds(expression, document))
    }

    /// The smallest part that keeps the trigger from matching an event's document: of conditions that
    /// must all hold, the first that does not. None when it matches.
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

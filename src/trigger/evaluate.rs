//! Evaluates an expression for an event. The result for a missing field, or a field of another type, is
//! defined here for each condition.

use std::borrow::Cow;

use super::expression::{Condition, Expression, Function, Literal, Operand, Order, Path, Test};
use super::{Field, Unmet};
use crate::json::{self, Text, Value};

/// Whether the expression holds.
pub(super) fn holds(expression: &Expression, document: &Value<'_>) -> bool {
    match expression {
        Expression::All(parts) => parts.iter().all(|part| holds(part, document)),
        Expression::Any(parts) => parts.iter().any(|part| holds(part, document)),
        Expression::Not(inner) => !holds(inner, document),
        Expression::Condition(condition) => condition.holds(document),
    }
}

/// Longer values are cut for display.
const MAX_SHOWN_CHARS: usize = 100;

/// The smallest part of the expression that does not hold; none when it holds.
pub(super) fn unmet(expression: &Expression, document: &Value<'_>) -> Option<Unmet> {
    if holds(expression, document) {
        return None;
    }
    match expression {
        Expression::All(parts) => parts.iter().find_map(|part| unmet(part, document)),
        Expression::Any(_) | Expression::Not(_) => {
            Some(Unmet { condition: expression.to_string(), field: None })
        }
        Expression::Condition(condition) => {
            let path = &condition.operand.path;
            let value = path.find(document).map(|value| {
                let text = json::to_string(value);
                match text.char_indices().nth(MAX_SHOWN_CHARS) {
                    Some((end, _)) => format!("{}…", &text[..end]),
                    None => text,
                }
            });
            let field = Field { path: path.to_string(), value };
            Some(Unmet { condition: condition.to_string(), field: Some(field) })
        }
    }
}

impl Path {
    /// The value at the path's end; none when it is missing.
    pub(super) fn find<'d, 'a>(&self, document: &'d Value<'a>) -> Option<&'d Value<'a>> {
        let mut value = document;
        for step in &self.0 {
            value = match value {
                Value::Object(object) => object.get(step)?,
                Value::Array(items) => items.get(index(step)?)?,
                // A falsy value along the path is the result, as in Segment.
                Value::Null | Value::Bool(false) => return Some(value),
                Value::Number(number) if *number == 0.0 => return Some(value),
                Value::String(text) if text.printed().is_empty() => return Some(value),
                Value::Bool(true) | Value::Number(_) | Value::String(_) => return None,
            };
        }
        Some(value)
    }
}

/// The array index that a step is, in canonical form.
fn index(step: &str) -> Option<usize> {
    let canonical = step == "0" || !step.starts_with(['0', '+']);
    canonical.then(|| step.parse().ok()).flatten()
}

/// An operand's value, with the distinctions that conditions make.
enum Subject<'d> {
    /// Missing or null.
    Nothing,
    Bool(bool),
    Number(f64),
    Text(&'d Text<'d>),
    /// The result of a function of a string.
    Computed(Cow<'d, str>),
    /// A list or an object.
    Other,
}

impl Subject<'_> {
    fn as_str(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Text(text) => Some(text.plain()),
            Self::Computed(text) => Some(Cow::Borrowed(text)),
            Self::Nothing | Self::Bool(_) | Self::Number(_) | Self::Other => None,
        }
    }

    fn equals(&self, literal: &Literal) -> bool {
        match (self, literal) {
            (Self::Nothing, Literal::Null) => true,
            (Self::Bool(bool), Literal::Bool(wanted)) => bool == wanted,
            (Self::Number(number), Literal::Number(wanted)) => number == wanted,
            (Self::Text(text), Literal::Text(wanted)) => text.printed() == wanted.printed(),
            (Self::Computed(text), Literal::Text(wanted)) => *text == wanted.plain(),
            _ => false,
        }
    }
}

impl Operand {
    fn of<'d>(&self, document: &'d Value<'d>) -> Subject<'d> {
        let value = self.path.find(document);
        match self.function {
            None => match value {
                None | Some(Value::Null) => Subject::Nothing,
                Some(Value::Bool(bool)) => Subject::Bool(*bool),
                Some(Value::Number(number)) => Subject::Number(*number),
                Some(Value::String(text)) => Subject::Text(text),
                Some(Value::Array(_) | Value::Object(_)) => Subject::Other,
            },
            Some(Function::Length) => length(value),
            Some(Function::Lowercase) => {
                cased(value, |char| char.to_lowercase().eq([char]), str::to_lowercase)
            }
            Some(Function::Uppercase) => {
                cased(value, |char| char.to_uppercase().eq([char]), str::to_uppercase)
            }
            Some(Function::TypeOf) => Subject::Computed(Cow::Borrowed(match value {
                None | Some(Value::Null) => "null",
                Some(Value::Bool(_)) => "bool",
                Some(Value::Number(_)) => "number",
                Some(Value::String(_)) => "string",
                Some(Value::Array(_)) => "list",
                Some(Value::Object(_)) => "object",
            })),
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "an event is far smaller than 2^53 bytes")]
fn length<'d>(value: Option<&Value<'_>>) -> Subject<'d> {
    match value {
        None | Some(Value::Null) => Subject::Number(0.0),
        Some(Value::String(text)) => Subject::Number(text.plain().len() as f64),
        Some(Value::Array(items)) => Subject::Number(items.len() as f64),
        Some(Value::Bool(_) | Value::Number(_) | Value::Object(_)) => Subject::Nothing,
    }
}

/// A string in one case, allocated only when it is not in that case already.
fn cased<'d>(
    value: Option<&'d Value<'d>>,
    is_cased: fn(char) -> bool,
    case: fn(&str) -> String,
) -> Subject<'d> {
    match value {
        Some(Value::String(text)) => {
            let plain = text.plain();
            let text = if plain.chars().all(is_cased) { plain } else { Cow::Owned(case(&plain)) };
            Subject::Computed(text)
        }
        None
        | Some(
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_),
        ) => Subject::Nothing,
    }
}

impl Condition {
    fn holds(&self, document: &Value<'_>) -> bool {
        let subject = self.operand.of(document);
        match &self.test {
            Test::Equal(literal) => subject.equals(literal),
            Test::Unequal(literal @ Literal::Number(_)) => {
                matches!(subject, Subject::Number(_)) && !subject.equals(literal)
            }
            // Segment compares with the text here, so that `true != true` holds; see decision 0012.
            Test::Unequal(Literal::Bool(bool)) => {
                let expected = if *bool { "true" } else { "false" };
                subject.as_str().is_none_or(|text| text != expected)
            }
            Test::Unequal(literal) => !subject.equals(literal),
            Test::Order(order, bound) => match subject {
                Subject::Number(number) => order.holds(number, *bound),
                Subject::Nothing
                | Subject::Bool(_)
                | Subject::Text(_)
                | Subject::Computed(_)
                | Subject::Other => false,
            },
            Test::In(literals) => literals.iter().any(|literal| subject.equals(literal)),
            Test::Contains { part, negated } => {
                subject.as_str().is_some_and(|text| text.contains(part.as_str()) != *negated)
            }
            Test::Match { glob, negated } => {
                subject.as_str().is_some_and(|text| glob.matches(&text) != *negated)
            }
        }
    }
}

impl Order {
    fn holds(self, number: f64, bound: f64) -> bool {
        match self {
            Self::Less => number < bound,
            Self::LessOrEqual => number <= bound,
            Self::Greater => number > bound,
            Self::GreaterOrEqual => number >= bound,
        }
    }
}

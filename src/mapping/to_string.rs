//! Conversion to text: JavaScript's `String(value)`, and whether a value is blank.

use super::budget::Budget;
use super::error::ErrorKind;
use super::value::{Shape, View};
use crate::json::{Text, TextBuilder, number_text};

/// The cost of a step: values that refer to each other many times must not make it endless.
const STEP: usize = 8;

/// Appends a value as text. Missing and null items of an array are empty.
pub(super) fn push(
    value: View<'_>,
    text: &mut TextBuilder,
    budget: &mut Budget,
) -> Result<(), ErrorKind> {
    budget.take(STEP)?;
    match value.shape() {
        Shape::Missing => text.push(&Text::from_plain("undefined")),
        Shape::Null => text.push(&Text::from_plain("null")),
        Shape::Bool(true) => text.push(&Text::from_plain("true")),
        Shape::Bool(false) => text.push(&Text::from_plain("false")),
        Shape::Number(number) => text.push(&number_text(number)),
        Shape::String(string) => {
            budget.take(string.printed().len())?;
            text.push(string);
        }
        Shape::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(&Text::from_plain(","));
                }
                if item.exists() {
                    push(item, text, budget)?;
                }
            }
        }
        Shape::Object(_) => text.push(&Text::from_plain("[object Object]")),
    }
    Ok(())
}

/// Whether JavaScript's `value == ''` holds, or the value is missing or null.
pub(super) fn is_blank(value: View<'_>, budget: &mut Budget) -> Result<bool, ErrorKind> {
    budget.take(STEP)?;
    Ok(match value.shape() {
        Shape::Missing | Shape::Null => true,
        Shape::Bool(bool) => !bool,
        Shape::Number(number) => number == 0.0,
        Shape::String(text) => text.printed().is_empty(),
        Shape::Array(items) => match items.len() {
            0 => true,
            // Two items have a comma between them, so only a single item can be empty text.
            1 => is_empty_text(items.get(0), budget)?,
            _ => false,
        },
        Shape::Object(_) => false,
    })
}

fn is_empty_text(item: View<'_>, budget: &mut Budget) -> Result<bool, ErrorKind> {
    match item.shape() {
        Shape::Missing | Shape::Null => Ok(true),
        Shape::String(_) | Shape::Array(_) => is_blank(item, budget),
        Shape::Bool(_) | Shape::Number(_) | Shape::Object(_) => Ok(false),
    }
}

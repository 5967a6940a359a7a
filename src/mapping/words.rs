//! Values in words: what JavaScript's `String(value)` gives, and what it takes for blank.

use super::error::{Allowance, Why};
use super::value::{Shape, View};
use crate::json::{Text, TextBuilder, number_text};

/// What a step costs: the walk through values that refer to each other over and over must end.
const STEP: usize = 8;

/// Appends a value in words. Missing and null within an array are empty.
pub(super) fn push(
    value: View<'_>,
    text: &mut TextBuilder,
    allowance: &mut Allowance,
) -> Result<(), Why> {
    allowance.take(STEP)?;
    match value.shape() {
        Shape::Missing => text.push(&Text::from_plain("undefined")),
        Shape::Null => text.push(&Text::from_plain("null")),
        Shape::Bool(true) => text.push(&Text::from_plain("true")),
        Shape::Bool(false) => text.push(&Text::from_plain("false")),
        Shape::Number(number) => text.push(&number_text(number)),
        Shape::String(string) => {
            allowance.take(string.printed().len())?;
            text.push(string);
        }
        Shape::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    text.push(&Text::from_plain(","));
                }
                if item.exists() {
                    push(item, text, allowance)?;
                }
            }
        }
        Shape::Object(_) => text.push(&Text::from_plain("[object Object]")),
    }
    Ok(())
}

/// Whether JavaScript's `value == ''` holds, or the value is missing or null.
pub(super) fn is_blank(value: View<'_>, allowance: &mut Allowance) -> Result<bool, Why> {
    allowance.take(STEP)?;
    Ok(match value.shape() {
        Shape::Missing | Shape::Null => true,
        Shape::Bool(bool) => !bool,
        Shape::Number(number) => number == 0.0,
        Shape::String(text) => text.printed().is_empty(),
        Shape::Array(items) => match items.len() {
            0 => true,
            // Two items have a comma between them, so only the words of a single one can be none.
            1 => is_wordless(items.get(0), allowance)?,
            _ => false,
        },
        Shape::Object(_) => false,
    })
}

fn is_wordless(item: View<'_>, allowance: &mut Allowance) -> Result<bool, Why> {
    match item.shape() {
        Shape::Missing | Shape::Null => Ok(true),
        Shape::String(_) | Shape::Array(_) => is_blank(item, allowance),
        Shape::Bool(_) | Shape::Number(_) | Shape::Object(_) => Ok(false),
    }
}

//! The printer: what `JSON.stringify` gives for a value.

use super::number::print_number;
use super::text::Text;
use super::value::Value;

/// Levels that are indented.
const MAX_INDENTED: usize = 32;

/// Appends the value's JSON text.
pub fn print(value: &Value<'_>, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => print_number(*number, out),
        Value::String(text) => print_text(text, out),
        Value::Array(items) => {
            out.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                print(item, out);
            }
            out.push(b']');
        }
        Value::Object(object) => {
            out.push(b'{');
            for (at, (key, value)) in object.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                print_text(key, out);
                out.push(b':');
                print(value, out);
            }
            out.push(b'}');
        }
    }
}

/// Appends a string's JSON text.
pub fn print_text(text: &Text<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(text.printed().as_bytes());
    out.push(b'"');
}

/// The value's JSON text, indented by two spaces a level.
#[must_use]
pub fn to_string_indented(value: &Value<'_>) -> String {
    let mut out = Vec::new();
    print_indented(value, 0, &mut out);
    // Every piece printed is UTF-8.
    String::from_utf8(out).unwrap_or_default()
}

fn print_indented(value: &Value<'_>, depth: usize, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                out.push(if at == 0 { b'[' } else { b',' });
                new_line(depth + 1, out);
                print_indented(item, depth + 1, out);
            }
            new_line(depth, out);
            out.push(b']');
        }
        Value::Object(object) if !object.is_empty() => {
            for (at, (key, value)) in object.iter().enumerate() {
                out.push(if at == 0 { b'{' } else { b',' });
                new_line(depth + 1, out);
                print_text(key, out);
                out.extend_from_slice(b": ");
                print_indented(value, depth + 1, out);
            }
            new_line(depth, out);
            out.push(b'}');
        }
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => print(value, out),
    }
}

fn new_line(depth: usize, out: &mut Vec<u8>) {
    out.push(b'\n');
    // Deep nesting would make the text many times as large.
    out.resize(out.len() + 2 * depth.min(MAX_INDENTED), b' ');
}

/// The value's JSON text.
#[must_use]
pub fn to_string(value: &Value<'_>) -> String {
    let mut out = Vec::new();
    print(value, &mut out);
    // Every piece printed is UTF-8.
    String::from_utf8(out).unwrap_or_default()
}

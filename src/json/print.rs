//! The printer: what `JSON.stringify` gives for a value.

use super::number::print_number;
use super::text::Text;
use super::value::Value;

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

/// The value's JSON text.
#[must_use]
pub fn to_string(value: &Value<'_>) -> String {
    let mut out = Vec::new();
    print(value, &mut out);
    // Every piece printed is UTF-8.
    String::from_utf8(out).unwrap_or_default()
}

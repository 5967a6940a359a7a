//! Computed values as JSON text of a bounded length. Missing fields are left out, missing items are null.

use super::budget::MAX_DEPTH;
use super::error::ErrorKind;
use super::value::{Shape, View};
use crate::json::{print_number, print_text};

/// A value's JSON text of at most `limit` bytes. The value is not missing.
pub(super) fn print(value: View<'_>, limit: usize) -> Result<Vec<u8>, ErrorKind> {
    let mut printer = Printer { out: Vec::new(), limit };
    printer.value(value, 0)?;
    if printer.out.len() > limit {
        return Err(ErrorKind::TooLong);
    }
    Ok(printer.out)
}

struct Printer {
    out: Vec<u8>,
    limit: usize,
}

impl Printer {
    fn value(&mut self, value: View<'_>, depth: usize) -> Result<(), ErrorKind> {
        if self.out.len() > self.limit {
            return Err(ErrorKind::TooLong);
        }
        match value.shape() {
            Shape::Missing | Shape::Null => self.out.extend_from_slice(b"null"),
            Shape::Bool(true) => self.out.extend_from_slice(b"true"),
            Shape::Bool(false) => self.out.extend_from_slice(b"false"),
            Shape::Number(number) => print_number(number, &mut self.out),
            Shape::String(text) => print_text(text, &mut self.out),
            Shape::Array(items) => {
                let depth = deeper(depth)?;
                self.out.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        self.out.push(b',');
                    }
                    self.value(item, depth)?;
                }
                self.out.push(b']');
            }
            Shape::Object(fields) => {
                let depth = deeper(depth)?;
                self.out.push(b'{');
                let mut first = true;
                for (key, field) in fields.iter() {
                    if matches!(field.shape(), Shape::Missing) {
                        continue;
                    }
                    if !first {
                        self.out.push(b',');
                    }
                    first = false;
                    print_text(key, &mut self.out);
                    self.out.push(b':');
                    self.value(field, depth)?;
                }
                self.out.push(b'}');
            }
        }
        Ok(())
    }
}

const fn deeper(depth: usize) -> Result<usize, ErrorKind> {
    if depth == MAX_DEPTH { Err(ErrorKind::TooDeep) } else { Ok(depth + 1) }
}

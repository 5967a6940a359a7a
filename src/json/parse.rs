//! The parser: accepts what `JSON.parse` accepts (ECMA-404), to a bounded depth.

use std::fmt;

use super::text::{Text, push_char, push_unit};
use super::value::{Object, Value};

/// The deepest nesting of arrays and objects.
pub const MAX_DEPTH: usize = 512;

/// A syntax error and its position.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// Bytes before the error.
    pub offset: usize,
    /// Its line, from 1.
    pub line: usize,
    /// Its column in bytes, from 1.
    pub column: usize,
    /// The expected text.
    pub expected: &'static str,
}

impl fmt::Display for ParseError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "expected {} at line {} column {}", self.expected, self.line, self.column)
    }
}

impl std::error::Error for ParseError {}

/// Parses a whole text.
///
/// # Errors
/// [`ParseError`] when it is not UTF-8, not JSON, or nested deeper than [`MAX_DEPTH`].
pub fn parse(bytes: &[u8]) -> Result<Value<'_>, ParseError> {
    let located = |fault: Fault| {
        let before = &bytes[..fault.offset.min(bytes.len())];
        let line_start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        ParseError {
            offset: fault.offset,
            line: before.iter().filter(|byte| **byte == b'\n').count() + 1,
            column: before.len() - line_start + 1,
            expected: fault.expected,
        }
    };
    let text = std::str::from_utf8(bytes)
        .map_err(|error| located(Fault { offset: error.valid_up_to(), expected: "UTF-8" }))?;
    let mut parser = Parser { text, bytes: text.as_bytes(), at: 0, depth: 0 };
    parser.whole().map_err(located)
}

struct Fault {
    offset: usize,
    expected: &'static str,
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn whole(&mut self) -> Result<Value<'a>, Fault> {
        let value = self.value()?;
        self.skip_space();
        if self.at == self.bytes.len() {
            Ok(value)
        } else {
            Err(self.fault("nothing after the value"))
        }
    }

    const fn fault(&self, expected: &'static str) -> Fault {
        Fault { offset: self.at, expected }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn value(&mut self) -> Result<Value<'a>, Fault> {
        self.skip_space();
        match self.peek() {
            Some(b'"') => self.string().map(Value::String),
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word("true", Value::Bool(true)),
            Some(b'f') => self.word("false", Value::Bool(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(self.fault("a JSON value")),
        }
    }

    fn word(&mut self, word: &'static str, value: Value<'a>) -> Result<Value<'a>, Fault> {
        if self.bytes[self.at..].starts_with(word.as_bytes()) {
            self.at += word.len();
            Ok(value)
        } else {
            Err(self.fault(word))
        }
    }

    fn nested(
        &mut self,
        inside: fn(&mut Self) -> Result<Value<'a>, Fault>,
    ) -> Result<Value<'a>, Fault> {
        if self.depth == MAX_DEPTH {
            return Err(self.fault("at most 512 levels of nesting"));
        }
        self.depth += 1;
        self.at += 1;
        let value = inside(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Value<'a>, Fault> {
        let mut items = Vec::new();
        self.skip_space();
        if self.peek() == Some(b']') {
            self.at += 1;
            return Ok(Value::Array(items));
        }
        loop {
            items.push(self.value()?);
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b']') => {
                    self.at += 1;
                    return Ok(Value::Array(items));
                }
                _ => return Err(self.fault("',' or ']'")),
            }
        }
    }

    fn object(&mut self) -> Result<Value<'a>, Fault> {
        let mut fields = Vec::new();
        self.skip_space();
        if self.peek() == Some(b'}') {
            self.at += 1;
            return Ok(Value::Object(Object::new()));
        }
        loop {
            self.skip_space();
            if self.peek() != Some(b'"') {
                return Err(self.fault("a property name in double quotes"));
            }
            let key = self.string()?;
            self.skip_space();
            if self.peek() != Some(b':') {
                return Err(self.fault("':'"));
            }
            self.at += 1;
            fields.push((key, self.value()?));
            self.skip_space();
            match self.peek() {
                Some(b',') => self.at += 1,
                Some(b'}') => {
                    self.at += 1;
                    return Ok(Value::Object(Object::from_literal(fields)));
                }
                _ => return Err(self.fault("',' or '}'")),
            }
        }
    }

    fn number(&mut self) -> Result<Value<'a>, Fault> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            Some(b'1'..=b'9') => self.digits(),
            _ => return Err(self.fault("a digit")),
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.some_digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.some_digits()?;
        }
        // JSON numbers are a subset of Rust's; too large ones become infinite, as in JavaScript.
        match self.text[start..self.at].parse() {
            Ok(number) => Ok(Value::Number(number)),
            Err(_) => Err(self.fault("a number")),
        }
    }

    fn some_digits(&mut self) -> Result<(), Fault> {
        if !matches!(self.peek(), Some(b'0'..=b'9')) {
            return Err(self.fault("a digit"));
        }
        self.digits();
        Ok(())
    }

    fn digits(&mut self) {
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
    }

    /// At the opening quote.
    fn string(&mut self) -> Result<Text<'a>, Fault> {
        self.at += 1;
        let start = self.at;
        self.skip_ordinary()?;
        if self.peek() == Some(b'"') {
            let inside = &self.text[start..self.at];
            self.at += 1;
            return Ok(Text::from_unescaped_literal(inside));
        }
        let mut printed = String::with_capacity(self.at - start + 32);
        printed.push_str(&self.text[start..self.at]);
        loop {
            if self.peek() == Some(b'"') {
                self.at += 1;
                return Ok(Text::from_printed(printed));
            }
            self.escape(&mut printed)?;
            let from = self.at;
            self.skip_ordinary()?;
            printed.push_str(&self.text[from..self.at]);
        }
    }

    /// Up to the next quote or backslash.
    fn skip_ordinary(&mut self) -> Result<(), Fault> {
        let rest = &self.bytes[self.at..];
        let ordinary = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..=0x1f));
        self.at += ordinary.unwrap_or(rest.len());
        match self.peek() {
            Some(b'"' | b'\\') => Ok(()),
            Some(_) => Err(self.fault("an escape: control characters are not allowed in a string")),
            None => Err(self.fault("'\"' at the end of the string")),
        }
    }

    /// At a backslash: appends the escaped character in its printed form.
    fn escape(&mut self, printed: &mut String) -> Result<(), Fault> {
        self.at += 1;
        let char = match self.peek() {
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => {
                self.at += 1;
                return self.unicode_escape(printed);
            }
            _ => return Err(self.fault("one of \" \\ / b f n r t u after a backslash")),
        };
        self.at += 1;
        push_char(printed, char);
        Ok(())
    }

    fn unicode_escape(&mut self, printed: &mut String) -> Result<(), Fault> {
        let unit = self.four_hex_digits()?;
        if let Some(char) = char::from_u32(unit) {
            push_char(printed, char);
            return Ok(());
        }
        // A surrogate: with its other half it is one character, a lone one stays an escape.
        let after = self.at;
        if unit < 0xDC00 && self.bytes[self.at..].starts_with(b"\\u") {
            self.at += 2;
            let low = self.four_hex_digits()?;
            if (0xDC00..=0xDFFF).contains(&low) {
                let code = 0x1_0000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                printed.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                return Ok(());
            }
            self.at = after;
        }
        push_unit(printed, unit);
        Ok(())
    }

    fn four_hex_digits(&mut self) -> Result<u32, Fault> {
        let mut unit = 0;
        for _ in 0..4 {
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16));
            unit = unit * 16 + digit.ok_or_else(|| self.fault("four hexadecimal digits"))?;
            self.at += 1;
        }
        Ok(unit)
    }
}

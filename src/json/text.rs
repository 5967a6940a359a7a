//! A JavaScript string, held as the JSON text that `JSON.stringify` gives for it without the quotes.
//! In that form it is always valid UTF-8, also where the string has lone surrogates; printing is a
//! copy, and two strings are equal when their texts are.

use std::borrow::Cow;
use std::fmt::Write;

/// A string in its printed form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Text<'a>(Cow<'a, str>);

impl<'a> Text<'a> {
    /// From the string itself.
    #[must_use]
    pub fn from_plain(plain: &'a str) -> Self {
        if plain.bytes().any(must_escape) {
            let mut printed = String::with_capacity(plain.len() + 8);
            plain.chars().for_each(|char| push_char(&mut printed, char));
            Self(Cow::Owned(printed))
        } else {
            Self(Cow::Borrowed(plain))
        }
    }

    /// From the inside of a JSON string literal without escapes.
    pub(super) const fn from_unescaped_literal(inside: &'a str) -> Self {
        Self(Cow::Borrowed(inside))
    }

    pub(super) const fn from_printed(printed: String) -> Self {
        Self(Cow::Owned(printed))
    }

    /// The printed form: what stands between the quotes.
    #[must_use]
    pub fn printed(&self) -> &str {
        &self.0
    }

    /// The string itself. Lone surrogates, which Rust cannot hold, become U+FFFD.
    #[must_use]
    pub fn plain(&self) -> Cow<'_, str> {
        if self.0.contains('\\') {
            // The printed form is a valid literal: decoding it again cannot fail.
            Cow::Owned(decode(&self.0))
        } else {
            Cow::Borrowed(&self.0)
        }
    }

    /// The array index this key is, if it is one: JavaScript puts those first (ECMA-262, 10.1.11).
    pub(super) fn array_index(&self) -> Option<u32> {
        let digits = self.0.as_bytes();
        let canonical = match digits {
            [b'0'] => true,
            [b'1'..=b'9', rest @ ..] => rest.len() < 10 && rest.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        canonical.then(|| self.0.parse().ok()).flatten().filter(|index| *index != u32::MAX)
    }

    /// Cuts the ties to what it borrows from.
    #[must_use]
    pub fn into_owned(self) -> Text<'static> {
        Text(Cow::Owned(self.0.into_owned()))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(plain: &'a str) -> Self {
        Self::from_plain(plain)
    }
}

impl From<String> for Text<'static> {
    fn from(plain: String) -> Self {
        if plain.bytes().any(must_escape) {
            Text::from_plain(&plain).into_owned()
        } else {
            Text(Cow::Owned(plain))
        }
    }
}

const fn must_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Appends a character as `JSON.stringify` prints it.
pub(super) fn push_char(printed: &mut String, char: char) {
    match char {
        '"' => printed.push_str("\\\""),
        '\\' => printed.push_str("\\\\"),
        '\u{8}' => printed.push_str("\\b"),
        '\u{c}' => printed.push_str("\\f"),
        '\n' => printed.push_str("\\n"),
        '\r' => printed.push_str("\\r"),
        '\t' => printed.push_str("\\t"),
        control if control < ' ' => push_unit(printed, control as u32),
        char => printed.push(char),
    }
}

/// Appends a UTF-16 code unit as an escape: control characters and lone surrogates.
pub(super) fn push_unit(printed: &mut String, unit: u32) {
    // Writing to a String does not fail.
    let _ = write!(printed, "\\u{unit:04x}");
}

fn decode(printed: &str) -> String {
    let mut plain = String::with_capacity(printed.len());
    let mut rest = printed.chars();
    while let Some(char) = rest.next() {
        if char != '\\' {
            plain.push(char);
            continue;
        }
        plain.push(match rest.next() {
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => {
                let digits: String = rest.by_ref().take(4).collect();
                u32::from_str_radix(&digits, 16)
                    .ok()
                    .and_then(char::from_u32)
                    .unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            Some(escaped) => escaped,
            None => char::REPLACEMENT_CHARACTER,
        });
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_string_reads_back() {
        for plain in ["", "abc", "a\"b\\c", "\u{1}\n\t\u{8}\u{c}\r", "é😀\u{2028}\u{7f}"] {
            assert_eq!(Text::from_plain(plain).plain(), plain);
            assert_eq!(Text::from(plain.to_owned()).plain(), plain);
        }
    }

    #[test]
    fn array_indices_are_told_from_other_keys() {
        let index = |key| Text::from_plain(key).array_index();
        assert_eq!(index("0"), Some(0));
        assert_eq!(index("4294967294"), Some(4_294_967_294));
        for key in ["", "00", "01", "-1", "1.5", "4294967295", "99999999999", "a"] {
            assert_eq!(index(key), None, "{key}");
        }
    }
}

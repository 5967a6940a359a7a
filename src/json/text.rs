//! A JavaScript string, stored as its `JSON.stringify` output without the quotes. That form is valid
//! UTF-8 even with lone surrogates, printing copies it, and two strings are equal when their printed
//! forms are.

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

    /// From a printed form, or a part of one that splits no escape.
    #[must_use]
    pub const fn from_printed(printed: String) -> Self {
        Self(Cow::Owned(printed))
    }

    /// The printed form, without the quotes.
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

    /// The string as an id: as [`Self::plain`] gives it, but with lone surrogates as escapes, so that two ids are equal
    /// only if the strings are. Backslashes before what looks like such an escape are doubled.
    #[must_use]
    pub fn distinct(&self) -> Cow<'_, str> {
        if !self.0.contains(SURROGATE_ESCAPE) {
            return self.plain();
        }
        let mut distinct = String::with_capacity(self.0.len());
        let mut rest = &*self.0;
        while let Some(at) = next_surrogate_escape(rest) {
            let (before, escape) = rest.split_at(at);
            // The backslashes before it stay as they are printed.
            let text = before.trim_end_matches('\\');
            distinct.push_str(&decode(text));
            distinct.push_str(&before[text.len()..]);
            let (escape, after) = escape.split_at(SURROGATE_ESCAPE.len());
            distinct.push_str(escape);
            rest = after;
        }
        distinct.push_str(&decode(rest));
        Cow::Owned(distinct)
    }

    /// The same string, borrowed from this one.
    #[must_use]
    pub fn reborrow(&self) -> Text<'_> {
        Text(Cow::Borrowed(&self.0))
    }

    /// Its UTF-16 code units, the unit of JavaScript's lengths and indices.
    #[must_use]
    pub fn units(&self) -> Vec<u16> {
        let mut units = Vec::with_capacity(self.0.len());
        let mut buffer = [0; 2];
        let mut rest = self.0.chars();
        while let Some(char) = rest.next() {
            if char == '\\' {
                units.push(unescape(&mut rest));
            } else {
                units.extend_from_slice(char.encode_utf16(&mut buffer));
            }
        }
        units
    }

    /// From UTF-16 code units; lone surrogates are kept.
    #[must_use]
    pub fn from_units(units: &[u16]) -> Text<'static> {
        let mut printed = String::with_capacity(units.len());
        for char in char::decode_utf16(units.iter().copied()) {
            match char {
                Ok(char) => push_char(&mut printed, char),
                Err(lone) => push_unit(&mut printed, u32::from(lone.unpaired_surrogate())),
            }
        }
        Text(Cow::Owned(printed))
    }

    /// The array index this key is, if it is one: JavaScript puts those first (ECMA-262, 10.1.11).
    #[must_use]
    pub fn array_index(&self) -> Option<u32> {
        let digits = self.0.as_bytes();
        let canonical = match digits {
            [b'0'] => true,
            [b'1'..=b'9', rest @ ..] => rest.len() < 10 && rest.iter().all(u8::is_ascii_digit),
            _ => false,
        };
        canonical.then(|| self.0.parse().ok()).flatten().filter(|index| *index != u32::MAX)
    }

    /// An owned copy.
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

/// The beginning of a printed surrogate: its second digit is 8 to f.
const SURROGATE_ESCAPE: &str = "\\ud";

/// Where a printed text has the next thing that looks like a lone surrogate, escaped or not.
fn next_surrogate_escape(printed: &str) -> Option<usize> {
    let looks_so = |(at, _): &(usize, &str)| {
        let digit = printed.as_bytes().get(at + SURROGATE_ESCAPE.len());
        matches!(digit, Some(b'8'..=b'9' | b'a'..=b'f'))
    };
    printed.match_indices(SURROGATE_ESCAPE).find(looks_so).map(|(at, _)| at)
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
        let unit = u32::from(unescape(&mut rest));
        plain.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    plain
}

/// The code unit of an escape, its backslash taken already.
fn unescape(rest: &mut std::str::Chars<'_>) -> u16 {
    const REPLACEMENT: u16 = 0xFFFD;
    match rest.next() {
        Some('b') => 0x8,
        Some('f') => 0xC,
        Some('n') => 0xA,
        Some('r') => 0xD,
        Some('t') => 0x9,
        Some('u') => {
            let digits: String = rest.by_ref().take(4).collect();
            u16::from_str_radix(&digits, 16).unwrap_or(REPLACEMENT)
        }
        // Only the quote and the backslash are left: nothing else is printed with a backslash.
        Some(escaped) => u16::try_from(u32::from(escaped)).unwrap_or(REPLACEMENT),
        None => REPLACEMENT,
    }
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
    fn code_units_read_back_with_their_lone_surrogates() {
        for plain in ["", "a\"b\\c", "\u{1}\n\t", "é😀\u{2028}"] {
            let text = Text::from_plain(plain);
            assert_eq!(text.units(), plain.encode_utf16().collect::<Vec<_>>());
            assert_eq!(Text::from_units(&text.units()), text);
        }
        let lone = Text::from_units(&[0x61, 0xD83D, 0x62, 0xDE00]);
        assert_eq!(lone.printed(), "a\\ud83db\\ude00");
        assert_eq!(lone.units(), [0x61, 0xD83D, 0x62, 0xDE00]);
    }

    #[test]
    fn distinct_strings_have_distinct_ids() {
        let lone = |units: &[u16]| Text::from_units(units).distinct().into_owned();
        let plain = |text: &str| Text::from_plain(text).distinct().into_owned();
        for text in ["", "abc", "a\"b\\c\n", "\\", "\\u0041", "\\ud7", "é😀", "\u{fffd}"] {
            assert_eq!(plain(text), text);
        }
        assert_eq!(lone(&[0x61, 0xD83D]), "a\\ud83d");
        assert_eq!(lone(&[0x22, 0xDE00, 0x22]), "\"\\ude00\"");
        assert_eq!(plain("\\ud83d"), "\\\\ud83d");
        let mut seen = std::collections::HashSet::new();
        let slashes = |count: usize| vec![0x5C_u16; count];
        let literal: Vec<u16> = "ud83d".encode_utf16().collect();
        for count in 0..5 {
            assert!(seen.insert(lone(&[slashes(count), vec![0xD83D]].concat())), "{count}");
            assert!(seen.insert(lone(&[slashes(count), literal.clone()].concat())), "{count}");
        }
        assert!(seen.insert(lone(&[0xD83E])) && seen.insert(lone(&[0xFFFD])));
    }

    #[test]
    fn array_indices_are_distinguished_from_other_keys() {
        let index = |key| Text::from_plain(key).array_index();
        assert_eq!(index("0"), Some(0));
        assert_eq!(index("4294967294"), Some(4_294_967_294));
        for key in ["", "00", "01", "-1", "1.5", "4294967295", "99999999999", "a"] {
            assert_eq!(index(key), None, "{key}");
        }
    }
}

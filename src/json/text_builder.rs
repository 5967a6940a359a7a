//! Concatenation of strings. A lone high surrogate followed by a lone low one becomes one character, as
//! in JavaScript.

use super::text::Text;

/// The length of a printed surrogate: a backslash, `u` and four digits.
const ESCAPE: usize = 6;

/// A string under construction.
#[derive(Clone, Debug, Default)]
pub struct TextBuilder {
    printed: String,
}

impl TextBuilder {
    /// An empty one.
    #[must_use]
    pub const fn new() -> Self {
        Self { printed: String::new() }
    }

    /// Bytes of the printed form so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.printed.len()
    }

    /// Whether it is empty.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.printed.is_empty()
    }

    /// Appends a string.
    pub fn push(&mut self, text: &Text<'_>) {
        let printed = text.printed();
        if let Some(low) = surrogate(printed, 0xDC00)
            && let Some(high) = trailing_high(&self.printed)
        {
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (low - 0xDC00);
            self.printed.truncate(self.printed.len() - ESCAPE);
            self.printed.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            self.printed.push_str(&printed[ESCAPE..]);
        } else {
            self.printed.push_str(printed);
        }
    }

    /// The string.
    #[must_use]
    pub fn finish(self) -> Text<'static> {
        Text::from_printed(self.printed)
    }
}

/// The surrogate at the start of a printed text, in the half that begins at `first`.
fn surrogate(printed: &str, first: u32) -> Option<u32> {
    let digits = printed.strip_prefix("\\u")?.get(..4)?;
    let unit = u32::from_str_radix(digits, 16).ok()?;
    (first..first + 0x400).contains(&unit).then_some(unit)
}

/// The lone high surrogate at the end of a printed text.
fn trailing_high(printed: &str) -> Option<u32> {
    let start = printed.len().checked_sub(ESCAPE)?;
    let unit = surrogate(printed.get(start..)?, 0xD800)?;
    // After an odd number of backslashes this one is itself escaped: then it is plain text.
    let before = printed[..start].bytes().rev().take_while(|byte| *byte == b'\\').count();
    (before % 2 == 0).then_some(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(units: &[&[u16]]) -> Vec<u16> {
        let mut builder = TextBuilder::new();
        units.iter().for_each(|units| builder.push(&Text::from_units(units)));
        builder.finish().units()
    }

    #[test]
    fn halves_of_a_character_become_one_where_they_meet() {
        let mut builder = TextBuilder::new();
        builder.push(&Text::from_units(&[0x61, 0xD83D]));
        builder.push(&Text::from_units(&[0xDE00, 0x62]));
        assert_eq!(builder.finish(), Text::from_plain("a😀b"));
        assert_eq!(joined(&[&[0xDE00], &[0xD83D]]), [0xDE00, 0xD83D]);
        assert_eq!(joined(&[&[0xD83D], &[], &[0xD83D], &[0xDE00]]), [0xD83D, 0xD83D, 0xDE00]);
    }

    #[test]
    fn an_escaped_backslash_is_not_a_surrogate() {
        let mut builder = TextBuilder::new();
        builder.push(&Text::from_plain("\\ud83d"));
        builder.push(&Text::from_units(&[0xDE00]));
        assert_eq!(builder.finish().printed(), "\\\\ud83d\\ude00");
    }
}

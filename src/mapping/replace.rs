//! `@replace` and `@case` on text. A pattern is literal, its replacement has JavaScript's `$&`, `` $` ``,
//! `$'` and `$$`. Both work on UTF-16 code units, as JavaScript's strings do.

use super::budget::Budget;
use super::error::ErrorKind;
use crate::json::Text;

/// The longest pattern and the longest replacement, in UTF-16 code units.
pub(super) const MAX_UNITS: usize = 10;

/// A pattern and its replacement.
#[derive(Clone, Debug)]
pub(super) struct Replacement {
    pattern: Vec<u16>,
    inserts: Vec<Insert>,
    every: bool,
    ignore_case: bool,
}

#[derive(Clone, Debug, PartialEq)]
enum Insert {
    Units(Vec<u16>),
    Match,
    Before,
    After,
}

impl Replacement {
    /// `pattern` is not empty.
    pub(super) fn new(pattern: &str, replacement: &str, every: bool, ignore_case: bool) -> Self {
        let units = pattern.encode_utf16();
        Self {
            pattern: units.map(|unit| if ignore_case { fold(unit) } else { unit }).collect(),
            inserts: inserts(replacement),
            every,
            ignore_case,
        }
    }

    /// The text with its matches replaced.
    pub(super) fn apply(&self, text: &[u16], budget: &mut Budget) -> Result<Vec<u16>, ErrorKind> {
        let (mut out, mut copied, mut at) = (Vec::with_capacity(text.len()), 0, 0);
        budget.take(size_of_val(text))?;
        while at + self.pattern.len() <= text.len() {
            let end = at + self.pattern.len();
            if !self.matches(&text[at..end]) {
                at += 1;
                continue;
            }
            out.extend_from_slice(&text[copied..at]);
            for insert in &self.inserts {
                let units = match insert {
                    Insert::Units(units) => units.as_slice(),
                    Insert::Match => &text[at..end],
                    Insert::Before => &text[..at],
                    Insert::After => &text[end..],
                };
                budget.take(size_of_val(units))?;
                out.extend_from_slice(units);
            }
            copied = end;
            at = end;
            if !self.every {
                break;
            }
        }
        out.extend_from_slice(&text[copied..]);
        Ok(out)
    }

    fn matches(&self, units: &[u16]) -> bool {
        units
            .iter()
            .zip(&self.pattern)
            .all(|(unit, wanted)| unit == wanted || self.ignore_case && fold(*unit) == *wanted)
    }
}

/// The number of UTF-16 code units, JavaScript's `length`.
pub(super) fn units_of(text: &str) -> usize {
    text.encode_utf16().count()
}

/// What a replacement inserts (ECMA-262, GetSubstitution; there are no groups).
fn inserts(replacement: &str) -> Vec<Insert> {
    let mut inserts = Vec::new();
    let mut literal = String::new();
    let mut rest = replacement;
    while let Some(char) = rest.chars().next() {
        let special = match rest.as_bytes() {
            [b'$', b'&', ..] => Some(Insert::Match),
            [b'$', b'`', ..] => Some(Insert::Before),
            [b'$', b'\'', ..] => Some(Insert::After),
            [b'$', b'$', ..] => {
                literal.push('$');
                rest = &rest[2..];
                continue;
            }
            _ => None,
        };
        let Some(insert) = special else {
            literal.push(char);
            rest = &rest[char.len_utf8()..];
            continue;
        };
        if !literal.is_empty() {
            inserts.push(Insert::Units(literal.encode_utf16().collect()));
            literal.clear();
        }
        inserts.push(insert);
        rest = &rest[2..];
    }
    if !literal.is_empty() {
        inserts.push(Insert::Units(literal.encode_utf16().collect()));
    }
    inserts
}

/// The case folding of a regular expression that ignores case (ECMA-262, Canonicalize without `u`).
fn fold(unit: u16) -> u16 {
    let Some(char) = char::from_u32(u32::from(unit)) else { return unit };
    let mut upper = char.to_uppercase();
    match (upper.next().and_then(|one| u16::try_from(u32::from(one)).ok()), upper.next()) {
        (Some(folded), None) if unit < 128 || folded >= 128 => folded,
        _ => unit,
    }
}

/// Text in upper or lower case; lone surrogates stay.
pub(super) fn change_case(text: &Text<'_>, upper: bool) -> Text<'static> {
    let change = |plain: &str| if upper { plain.to_uppercase() } else { plain.to_lowercase() };
    if !text.printed().contains("\\ud") {
        return Text::from(change(&text.plain()));
    }
    let (mut changed, mut run) = (Vec::new(), String::new());
    for char in char::decode_utf16(text.units()) {
        match char {
            Ok(char) => run.push(char),
            Err(lone) => {
                changed.extend(change(&run).encode_utf16());
                run.clear();
                changed.push(lone.unpaired_surrogate());
            }
        }
    }
    changed.extend(change(&run).encode_utf16());
    Text::from_units(&changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replaced(text: &str, pattern: &str, replacement: &str, flags: &str) -> String {
        let replacement =
            Replacement::new(pattern, replacement, flags.contains('g'), flags.contains('i'));
        let units: Vec<u16> = text.encode_utf16().collect();
        String::from_utf16_lossy(
            &replacement.apply(&units, &mut Budget::new()).expect("within bounds"),
        )
    }

    #[test]
    fn patterns_are_literal_and_replacements_are_javascripts() {
        for (text, pattern, replacement, flags, expected) in [
            ("a.b.c", ".", "-", "g", "a-b-c"),
            ("a.b.c", ".", "", "", "ab.c"),
            ("aaa", "aa", "b", "g", "ba"),
            ("héllo", "l", "[$&$'$$]", "g", "hé[llo$][lo$]o"),
            ("abc", "b", "$`$1$", "g", "aa$1$c"),
            ("Größe", "ÖSS", "x", "gi", "Größe"),
            ("ÖößSſK", "ö", "", "gi", "ßSſK"),
            ("SſKk", "s", "-", "gi", "-ſKk"),
            ("x😀y😀", "😀", "", "g", "xy"),
            ("ab", "abc", "x", "g", "ab"),
        ] {
            assert_eq!(replaced(text, pattern, replacement, flags), expected, "{text} {pattern}");
        }
    }

    #[test]
    fn a_replacement_that_exceeds_the_budget_is_refused() {
        let replacement = Replacement::new("a", "$`$`$`$`$`", true, false);
        let text = vec![u16::from(b'a'); 30_000];
        assert_eq!(replacement.apply(&text, &mut Budget::new()), Err(ErrorKind::TooMuch));
    }

    #[test]
    fn case_changes_by_unicode_and_keeps_lone_surrogates() {
        let upper = |units: &[u16]| change_case(&Text::from_units(units), true).units();
        assert_eq!(change_case(&Text::from_plain("straße"), true), Text::from_plain("STRASSE"));
        assert_eq!(change_case(&Text::from_plain("ΟΔΟΣ"), false), Text::from_plain("οδος"));
        assert_eq!(upper(&[0x61, 0xD83D, 0x62]), [0x41, 0xD83D, 0x42]);
    }
}

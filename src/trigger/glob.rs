//! Globs: `*` for any characters, `?` for one, `\x` for x itself; other characters are literal. A pattern
//! is split at its stars when it is compiled. Each piece is searched once, from the end of the piece
//! before: matching never backtracks.

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Glob {
    source: String,
    /// Before the first star, between stars, and after the last: one more than stars.
    pieces: Vec<Piece>,
}

/// A stretch without stars.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(String),
    /// With at least one `?`, which is `None`.
    Mixed(Vec<Option<char>>),
}

impl Glob {
    /// Compiles a pattern; every pattern is valid. A trailing `\` is literal.
    pub(super) fn new(source: &str) -> Self {
        let mut pieces = Vec::new();
        let mut piece = Vec::new();
        let mut chars = source.chars();
        while let Some(char) = chars.next() {
            match char {
                '*' => pieces.push(Piece::of(std::mem::take(&mut piece))),
                '?' => piece.push(None),
                '\\' => piece.push(Some(chars.next().unwrap_or('\\'))),
                char => piece.push(Some(char)),
            }
        }
        pieces.push(Piece::of(piece));
        Self { source: source.to_owned(), pieces }
    }

    /// The pattern.
    pub(super) fn source(&self) -> &str {
        &self.source
    }

    /// Whether the whole text matches.
    pub(super) fn matches(&self, text: &str) -> bool {
        let [first, rest @ ..] = self.pieces.as_slice() else { return false };
        let Some(mut text) = first.after_start(text) else { return false };
        let [between @ .., last] = rest else { return text.is_empty() };
        for piece in between {
            match piece.after_first(text) {
                Some(rest) => text = rest,
                None => return false,
            }
        }
        last.ends(text)
    }
}

impl Piece {
    fn of(chars: Vec<Option<char>>) -> Self {
        let literal: Option<String> = chars.iter().copied().collect();
        literal.map_or(Self::Mixed(chars), Self::Literal)
    }

    /// The rest of a text that starts with the piece.
    fn after_start<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => text.strip_prefix(literal.as_str()),
            Self::Mixed(chars) => {
                let mut rest = text.chars();
                let fits =
                    chars.iter().all(|wanted| rest.next().is_some_and(|char| is(*wanted, char)));
                fits.then_some(rest.as_str())
            }
        }
    }

    /// The rest after the piece's first occurrence in the text.
    fn after_first<'t>(&self, text: &'t str) -> Option<&'t str> {
        match self {
            Self::Literal(literal) => {
                text.find(literal.as_str()).map(|at| &text[at + literal.len()..])
            }
            Self::Mixed(_) => text.char_indices().find_map(|(at, _)| self.after_start(&text[at..])),
        }
    }

    fn ends(&self, text: &str) -> bool {
        match self {
            Self::Literal(literal) => text.ends_with(literal.as_str()),
            Self::Mixed(chars) => {
                let mut rest = text.chars().rev();
                chars.iter().rev().all(|wanted| rest.next().is_some_and(|char| is(*wanted, char)))
            }
        }
    }
}

fn is(wanted: Option<char>, char: char) -> bool {
    wanted.is_none_or(|wanted| wanted == char)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_glob_matches_whole_texts() {
        for (pattern, text, matched) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("abc", "abc", true),
            ("ab", "abc", false),
            ("a*d", "abcd", true),
            ("a??d", "abcd", true),
            ("a??d", "abd", false),
            ("*d", "abcd", true),
            ("a*", "ba", false),
            (r"ab\*d", "ab*d", true),
            (r"ab\*d", "abcd", false),
            (r"ab\?", "ab?", true),
            (r"ab\?", "abc", false),
            (r"a\\b", r"a\b", true),
            (r"ab\", r"ab\", true),
            ("*a*b*", "xxaxxbxx", true),
            ("*a*b*", "xxbxxaxx", false),
            ("*ab", "abab", true),
            ("ab*ab", "ab", false),
            ("a*?b", "ab", false),
            ("a*?b", "axb", true),
            ("*?x*", "xx", true),
            ("?", "é", true),
            ("?", "😀", true),
            ("*é?", "né😀", true),
            ("[ab]c", "[ab]c", true),
            ("[ab]c", "ac", false),
        ] {
            assert_eq!(Glob::new(pattern).matches(text), matched, "{pattern} on {text}");
        }
    }

    #[test]
    fn a_pattern_full_of_stars_is_not_slow() {
        let text = "a".repeat(200_000);
        assert!(!Glob::new(&format!("{}b", "*a".repeat(2_000))).matches(&text));
        assert!(!Glob::new(&format!("{}b", "*a?".repeat(1_000))).matches(&text));
    }

    /// The plainest matcher there is, to compare with.
    fn plainly(pattern: &[char], text: &[char]) -> bool {
        match pattern {
            [] => text.is_empty(),
            ['*', rest @ ..] => (0..=text.len()).any(|skipped| plainly(rest, &text[skipped..])),
            ['?', rest @ ..] => !text.is_empty() && plainly(rest, &text[1..]),
            ['\\', char, rest @ ..] | [char, rest @ ..] => {
                text.first() == Some(char) && plainly(rest, &text[1..])
            }
        }
    }

    proptest! {
        #[test]
        fn it_agrees_with_the_plainest_matcher(pattern in r"[ab*?é\\]{0,8}", text in r"[ab*é\\]{0,10}") {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(
                Glob::new(&pattern).matches(&text),
                plainly(&chars(&pattern), &chars(&text))
            );
        }
    }
}

//! Characters that a reader does not see: copied along with a URL, a name or a secret, they make another of it.

/// The first invisible character of a text. A plain space is none: around a URL the parser drops
/// it, inside it becomes `%20`.
#[must_use]
pub fn first_invisible(text: &str) -> Option<char> {
    let is_edge = |at: usize, one: char| at == 0 || at + one.len_utf8() == text.len();
    let found = text
        .char_indices()
        .find(|(at, one)| is_invisible(*one) || (joins(*one) && is_edge(*at, *one)));
    found.map(|(_, one)| one)
}

/// Spaces but the plain one, and characters without width or that change the direction of writing.
fn is_invisible(one: char) -> bool {
    (one.is_whitespace() && !one.is_ascii())
        || matches!(
            one,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'
                | '\u{1160}'
                | '\u{180e}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{202a}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff9}'..='\u{fffb}'
        )
}

/// Characters that shape their neighbours: invisible only at an end.
const fn joins(one: char) -> bool {
    matches!(one, '\u{200c}' | '\u{200d}' | '\u{fe00}'..='\u{fe0f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invisible_characters_are_found_wherever_they_stand() {
        for one in
            ['\u{a0}', '\u{200b}', '\u{2007}', '\u{202f}', '\u{3000}', '\u{feff}', '\u{2060}']
        {
            for text in [
                format!("https://example.com/hook{one}"),
                format!("{one}https://example.com/hook"),
                format!("https://example{one}.com/hook"),
            ] {
                assert_eq!(first_invisible(&text), Some(one), "{text:?}");
            }
        }
        assert_eq!(first_invisible("https://example.com/\u{200d}"), Some('\u{200d}'));
    }

    #[test]
    fn what_is_seen_is_not_invisible() {
        for text in [
            "https://example.com/hook?a=b c",
            " https://example.com/ ",
            "https://bücher.example/straße",
            "https://example.com/نامه\u{200c}ای",
            "https://example.com/👩\u{200d}💻",
            "",
        ] {
            assert_eq!(first_invisible(text), None, "{text:?}");
        }
    }
}

//! Text for a terminal: control and direction characters are shown by their code, so that text from
//! elsewhere neither moves the cursor nor changes the order in which a line is read.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Whether a character acts on a terminal or on the direction of text, or is a line of its own.
#[must_use]
pub fn acts(char: char) -> bool {
    char.is_control()
        || matches!(
            char,
            '\u{61c}'
                | '\u{200b}'
                | '\u{200e}'
                | '\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{feff}'
                | '\u{fff9}'..='\u{fffb}'
                | '\u{e0000}'..='\u{e007f}'
        )
}

/// Text from elsewhere: each such character as `\u{1b}`.
#[must_use]
pub fn shown(text: &str) -> Cow<'_, str> {
    if !text.chars().any(acts) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    text.chars().for_each(|char| push(&mut shown, char));
    Cow::Owned(shown)
}

/// A whole output: line breaks, tabs and colours (SGR sequences) of our own are kept.
#[must_use]
pub fn shown_output(text: &str) -> Cow<'_, str> {
    let is_kept = |char: char| matches!(char, '\n' | '\t') || !acts(char);
    if text.chars().all(is_kept) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(char) = rest.chars().next() {
        let length = colour_length(rest).unwrap_or(char.len_utf8());
        let (head, tail) = rest.split_at(length);
        if is_kept(char) || length > char.len_utf8() {
            shown.push_str(head);
        } else {
            push(&mut shown, char);
        }
        rest = tail;
    }
    Cow::Owned(shown)
}

/// JSON for a terminal, where such characters stand only within strings: as JSON escapes.
#[must_use]
pub fn shown_json(json: &str) -> Cow<'_, str> {
    let is_kept = |char: char| matches!(char, '\n' | '\t') || !acts(char);
    if json.chars().all(is_kept) {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 16);
    for char in json.chars() {
        if is_kept(char) {
            shown.push(char);
            continue;
        }
        let mut units = [0; 2];
        for unit in char.encode_utf16(&mut units) {
            // Writing to a String does not fail.
            let _ = write!(shown, "\\u{unit:04x}");
        }
    }
    Cow::Owned(shown)
}

fn push(shown: &mut String, char: char) {
    if acts(char) {
        // Writing to a String does not fail.
        let _ = write!(shown, "\\u{{{:x}}}", u32::from(char));
    } else {
        shown.push(char);
    }
}

/// The length of the colour sequence that the text begins with.
fn colour_length(text: &str) -> Option<usize> {
    let parameters = text.strip_prefix("\u{1b}[")?;
    let end = parameters.find(|char: char| !char.is_ascii_digit() && char != ';')?;
    parameters[end..].starts_with('m').then_some(2 + end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_direction_characters_are_shown_by_their_code() {
        assert_eq!(shown("größe 日本 👍"), "größe 日本 👍");
        assert_eq!(shown("a\u{1b}[2Jb\tc\n"), "a\\u{1b}[2Jb\\u{9}c\\u{a}");
        assert_eq!(shown("\u{9b}31m\u{7f}"), "\\u{9b}31m\\u{7f}");
        assert_eq!(shown("txt.\u{202e}exe\u{2066}"), "txt.\\u{202e}exe\\u{2066}");
        assert_eq!(shown("\u{200f}\u{feff}"), "\\u{200f}\\u{feff}");
    }

    #[test]
    fn an_output_keeps_its_lines_and_colours() {
        let own = "\u{1b}[1;31mred\u{1b}[0m\n\tnext";
        assert_eq!(shown_output(own), own);
        assert_eq!(shown_output("\u{1b}]0;title\u{7}"), "\\u{1b}]0;title\\u{7}");
        assert_eq!(shown_output("\u{1b}[2J\u{202e}"), "\\u{1b}[2J\\u{202e}");
    }

    #[test]
    fn json_stays_json() {
        let json = serde_json::to_string_pretty(&["\u{202e}a\u{9b}\u{e0041}"]).expect("JSON");
        let shown = shown_json(&json);
        assert!(!shown.chars().any(|char| acts(char) && char != '\n'), "{shown}");
        let back: Vec<String> = serde_json::from_str(&shown).expect("JSON");
        assert_eq!(back, ["\u{202e}a\u{9b}\u{e0041}"]);
    }
}

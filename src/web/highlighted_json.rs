//! JSON as highlighted HTML: indented, every token copied from the original. Text that is not JSON is
//! shown as plain text.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;

use super::untrusted::write_escaped;
use crate::json;

/// JSON nested deeper than this is shown as plain text.
const MAX_DEPTH: usize = 200;

/// JSON or plain text as HTML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct HighlightedJson(String);

impl HighlightedJson {
    pub(super) fn of(text: &str) -> Self {
        let is_json = json::parse(text.as_bytes()).is_ok();
        let mut out = String::with_capacity(text.len() * 2);
        let shown = if is_json { pretty(text, &mut out) } else { Err(fmt::Error) };
        if shown.is_err() {
            out.clear();
            // Writing to a String does not fail.
            let _ = write_escaped(&mut out, text);
        }
        Self(out)
    }
}

impl fmt::Display for HighlightedJson {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

// Every token goes through `write_escaped`.
impl HtmlSafe for HighlightedJson {}

/// Writes valid JSON; fails when it is nested too deep.
fn pretty(text: &str, out: &mut String) -> fmt::Result {
    let mut rest = text.trim_start();
    let mut depth = 0_usize;
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => string_length(rest),
            '{' | '}' | '[' | ']' | ',' | ':' => 1,
            _ => rest.find([',', '}', ']', ' ', '\n', '\r', '\t', ':']).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(length.max(1));
        rest = after.trim_start();
        match first {
            '{' | '[' => {
                out.push(first);
                depth += 1;
                if depth > MAX_DEPTH {
                    return Err(fmt::Error);
                }
                if !rest.starts_with(['}', ']']) {
                    newline(out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !out.ends_with(['{', '[']) {
                    newline(out, depth);
                }
                out.push(first);
            }
            ',' => {
                out.push(first);
                newline(out, depth);
            }
            ':' => out.push_str(": "),
            '"' if rest.starts_with(':') => highlight(out, "key", token)?,
            '"' => highlight(out, "string", token)?,
            't' | 'f' | 'n' => highlight(out, "literal", token)?,
            _ => highlight(out, "number", token)?,
        }
    }
    Ok(())
}

fn highlight(out: &mut String, class: &str, token: &str) -> fmt::Result {
    write!(out, r#"<span class="{class}">"#)?;
    write_escaped(out, token)?;
    out.write_str("</span>")
}

fn newline(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// The length in bytes of the string literal at the start, quotes included.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(html: &str) -> String {
        let mut text = String::new();
        let mut inside = false;
        for c in html.chars() {
            match c {
                '<' => inside = true,
                '>' => inside = false,
                c if !inside => text.push(c),
                _ => {}
            }
        }
        text
    }

    #[test]
    fn tokens_are_copied_unchanged() {
        let json = HighlightedJson::of(r#"{"a":1.50e3,"b":[true,null,[]],"c":{},"d":"x \" {y}"}"#)
            .to_string();
        let text = plain(&json).replace("&#34;", "\"");
        assert_eq!(
            text,
            "{\n  \"a\": 1.50e3,\n  \"b\": [\n    true,\n    null,\n    []\n  ],\n  \"c\": {},\n  \
             \"d\": \"x \\\" {y}\"\n}"
        );
        assert!(json.contains(r#"<span class="key">&#34;a&#34;</span>"#));
    }

    #[test]
    fn hostile_or_invalid_json_is_shown_as_text() {
        let json =
            HighlightedJson::of(r#"{"<script>":"</pre><script>alert(1)</script>"}"#).to_string();
        assert!(!json.contains("<script"), "{json}");
        assert_eq!(HighlightedJson::of("<b>no").to_string(), "&#60;b&#62;no");
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(HighlightedJson::of(&deep).to_string(), deep);
    }
}

//! JSON for reading: indented, each token as it stands in the original, none of them recomputed. What
//! is not JSON is shown as the text that it is.

use std::fmt::{self, Write as _};

use askama::filters::HtmlSafe;

use super::text::write_escaped;

/// A document deeper than this is shown as plain text.
const DEEPEST: usize = 200;

/// A document, ready to be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Json(String);

impl Json {
    pub(super) fn of(text: &str) -> Self {
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok();
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

impl fmt::Display for Json {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

// Every token went through `write_escaped`.
impl HtmlSafe for Json {}

/// Writes a document that is known to be JSON; an error when it is too deep.
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
                if depth > DEEPEST {
                    return Err(fmt::Error);
                }
                if !rest.starts_with(['}', ']']) {
                    line(out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if !out.ends_with(['{', '[']) {
                    line(out, depth);
                }
                out.push(first);
            }
            ',' => {
                out.push(first);
                line(out, depth);
            }
            ':' => out.push_str(": "),
            '"' if rest.starts_with(':') => coloured(out, "key", token)?,
            '"' => coloured(out, "text", token)?,
            't' | 'f' | 'n' => coloured(out, "word", token)?,
            _ => coloured(out, "figure", token)?,
        }
    }
    Ok(())
}

fn coloured(out: &mut String, class: &str, token: &str) -> fmt::Result {
    write!(out, r#"<span class="{class}">"#)?;
    write_escaped(out, token)?;
    out.write_str("</span>")
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

/// The length of the string that a text begins with, both quotes included, in bytes.
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
    fn tokens_stay_as_they_are() {
        let json = Json::of(r#"{"a":1.50e3,"b":[true,null,[]],"c":{},"d":"x \" {y}"}"#).to_string();
        let text = plain(&json).replace("&#34;", "\"");
        assert_eq!(
            text,
            "{\n  \"a\": 1.50e3,\n  \"b\": [\n    true,\n    null,\n    []\n  ],\n  \"c\": {},\n  \
             \"d\": \"x \\\" {y}\"\n}"
        );
        assert!(json.contains(r#"<span class="key">&#34;a&#34;</span>"#));
    }

    #[test]
    fn what_is_hostile_or_no_json_is_text() {
        let json = Json::of(r#"{"<script>":"</pre><script>alert(1)</script>"}"#).to_string();
        assert!(!json.contains("<script"), "{json}");
        assert_eq!(Json::of("<b>no").to_string(), "&#60;b&#62;no");
        let deep = format!("{}{}", "[".repeat(5_000), "]".repeat(5_000));
        assert_eq!(Json::of(&deep).to_string(), deep);
    }
}

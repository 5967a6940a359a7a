//! What came from outside, as pages show it: escaped like all text, and with characters that do not
//! show themselves, or turn the order of others round, written out.

use std::fmt;

use askama::filters::{Escaper as _, Html, HtmlSafe};

/// A text from outside: prints isolated from the direction of what stands around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Outside(pub(super) String);

impl<T: Into<String>> From<T> for Outside {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Outside {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("<bdi>")?;
        write_escaped(out, &self.0)?;
        out.write_str("</bdi>")
    }
}

// Every character goes through `write_escaped`.
impl HtmlSafe for Outside {}

/// Writes a text as HTML; what would hide in it is shown as its number.
pub(super) fn write_escaped(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some((at, odd)) = rest.char_indices().find(|(_, c)| is_odd(*c)) {
        Html.write_escaped_str(&mut *out, &rest[..at])?;
        write!(out, r#"<span class="oddity">U+{:04X}</span>"#, u32::from(odd))?;
        rest = &rest[at + odd.len_utf8()..];
    }
    Html.write_escaped_str(out, rest)
}

/// Control characters, and those that turn or hide what stands around them.
fn is_odd(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{61c}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A number with its thousands apart.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 delivery`, `2,000 deliveries`.
pub(super) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{} {}", count(number), if number == 1 { one } else { many })
}

/// A part of a path, percent-encoded.
pub(super) fn encoded(part: &str) -> String {
    percent_encoding::utf8_percent_encode(part, percent_encoding::NON_ALPHANUMERIC).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_from_outside_is_markup() {
        let text = Outside::from("<script>alert(\"a\" + 'b')</script>&\u{202e}gpj.exe\0");
        assert_eq!(
            text.to_string(),
            "<bdi>&#60;script&#62;alert(&#34;a&#34; + &#39;b&#39;)&#60;/script&#62;&#38;\
             <span class=\"oddity\">U+202E</span>gpj.exe<span class=\"oddity\">U+0000</span></bdi>"
        );
    }

    #[test]
    fn numbers_are_readable_and_honest() {
        assert_eq!([count(7), count(1_234), count(1_234_567)], ["7", "1,234", "1,234,567"]);
        assert_eq!(counted(1, "delivery", "deliveries"), "1 delivery");
        assert_eq!(encoded("a b/ü"), "a%20b%2F%C3%BC");
    }
}

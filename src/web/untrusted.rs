//! Untrusted text in HTML: escaped, isolated from the text direction around it, with control, invisible
//! and bidirectional characters printed as code points.

use std::fmt;

use askama::filters::{Escaper as _, Html, HtmlSafe};

/// Untrusted text; displays as an escaped `<bdi>` element.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Untrusted(pub(super) String);

impl<T: Into<String>> From<T> for Untrusted {
    fn from(text: T) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for Untrusted {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("<bdi>")?;
        write_escaped(out, &self.0)?;
        out.write_str("</bdi>")
    }
}

// Every character goes through `write_escaped`.
impl HtmlSafe for Untrusted {}

/// Writes text as escaped HTML; see the module about invisible characters.
pub(super) fn write_escaped(out: &mut impl fmt::Write, text: &str) -> fmt::Result {
    let mut rest = text;
    while let Some((at, invisible)) = rest.char_indices().find(|(_, c)| is_invisible(*c)) {
        Html.write_escaped_str(&mut *out, &rest[..at])?;
        write!(out, r#"<span class="invisible">U+{:04X}</span>"#, u32::from(invisible))?;
        rest = &rest[at + invisible.len_utf8()..];
    }
    Html.write_escaped_str(out, rest)
}

/// Control, zero-width, bidirectional and tag characters.
fn is_invisible(c: char) -> bool {
    (c.is_control() && !matches!(c, '\n' | '\t'))
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}')
        || matches!(c, '\u{feff}' | '\u{61c}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn untrusted_text_is_never_markup() {
        let text = Untrusted::from("<script>alert(\"a\" + 'b')</script>&\u{202e}gpj.exe\0");
        assert_eq!(
            text.to_string(),
            "<bdi>&#60;script&#62;alert(&#34;a&#34; + &#39;b&#39;)&#60;/script&#62;&#38;\
             <span class=\"invisible\">U+202E</span>gpj.exe<span class=\"invisible\">U+0000</span></bdi>"
        );
    }
}

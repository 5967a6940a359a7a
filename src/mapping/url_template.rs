//! URL templates: a value of the event is percent-encoded for the component that it stands in, and never
//! extends the host that the literal text has.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::Url;

use super::error::ErrorKind;
use crate::domain::mapping::UrlValues;

/// The longest URL that an event may give, in bytes.
pub(super) const MAX_URL: usize = 8_192;
/// All but the unreserved characters (RFC 3986, 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, for a value that is a path, and in a query or fragment, where a slash separates nothing.
const WITH_SLASHES: &AsciiSet = &RESERVED.remove(b'/');
/// What ends an authority; a backslash is a slash in http URLs (WHATWG URL, 4.4).
const AUTHORITY_END: [char; 4] = ['/', '\\', '?', '#'];

/// The component that the next value stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Component<'t> {
    /// Before the scheme has ended: a value is the URL's beginning, and may be the whole URL.
    Start,
    /// In the authority, of which this much is known.
    Authority(&'t str),
    Path,
    QueryOrFragment,
}

/// A URL under construction.
#[derive(Debug)]
pub(super) struct UrlBuilder {
    values: UrlValues,
    text: String,
    has_path_value: bool,
}

impl UrlBuilder {
    pub(super) const fn new(values: UrlValues) -> Self {
        Self { values, text: String::new(), has_path_value: false }
    }

    /// Appends text of the template.
    pub(super) fn push_literal(&mut self, text: &str) {
        self.text.push_str(text);
    }

    /// Appends a value of the event; `next` is the template's text behind it.
    pub(super) fn push_value(&mut self, value: &str, next: Option<&str>) -> Result<(), ErrorKind> {
        if self.text.len() > MAX_URL {
            return Err(ErrorKind::UrlLength);
        }
        if value.chars().any(char::is_control) {
            return Err(ErrorKind::UrlControl);
        }
        let encoded = match component(&self.text) {
            Component::Start => value.to_owned(),
            Component::Authority(host) if begins_path(host, value) => {
                self.has_path_value = true;
                match self.values {
                    UrlValues::Encoded if value.starts_with('/') => encode(value, WITH_SLASHES),
                    UrlValues::Encoded => return Err(ErrorKind::UrlAuthority),
                    UrlValues::Raw => value.to_owned(),
                }
            }
            Component::Authority(host) => {
                check_authority(host, value, next)?;
                value.to_owned()
            }
            Component::Path => {
                self.has_path_value = true;
                self.encode(value, RESERVED)
            }
            Component::QueryOrFragment => self.encode(value, WITH_SLASHES),
        };
        self.text.push_str(&encoded);
        Ok(())
    }

    fn encode(&self, value: &str, set: &'static AsciiSet) -> String {
        match self.values {
            UrlValues::Encoded => encode(value, set),
            UrlValues::Raw => value.to_owned(),
        }
    }

    /// The URL's text. An encoded value cannot be `.` or `..`, which would remove parts of the path.
    pub(super) fn finish(self) -> Result<String, ErrorKind> {
        if self.text.len() > MAX_URL {
            return Err(ErrorKind::UrlLength);
        }
        if self.values == UrlValues::Encoded && self.has_path_value && has_dot_segment(&self.text) {
            return Err(ErrorKind::UrlDotSegment);
        }
        Ok(self.text)
    }
}

fn encode(value: &str, set: &'static AsciiSet) -> String {
    utf8_percent_encode(value, set).to_string()
}

fn component(text: &str) -> Component<'_> {
    let Some((_, rest)) = text.split_once("://") else { return Component::Start };
    let Some(end) = rest.find(AUTHORITY_END) else { return Component::Authority(rest) };
    if rest[end..].contains(['?', '#']) { Component::QueryOrFragment } else { Component::Path }
}

/// Whether a value directly behind a host ends the authority.
fn begins_path(host: &str, value: &str) -> bool {
    host.ends_with(|last: char| last.is_alphanumeric() || last == ']')
        && value.starts_with(['/', '?', '#'])
}

/// A value in the authority has characters of a host only, and does not extend a complete host.
fn check_authority(host: &str, value: &str, next: Option<&str>) -> Result<(), ErrorKind> {
    let fits = |char: char| char.is_alphanumeric() || "-._:[]".contains(char);
    if value.contains('@') {
        return Err(ErrorKind::UrlCredentials);
    }
    if !value.chars().all(fits) {
        return Err(ErrorKind::UrlAuthority);
    }
    let is_last = next.is_none_or(|next| next.starts_with(AUTHORITY_END) || next.starts_with(':'));
    let is_complete = is_last && host.ends_with(char::is_alphanumeric);
    if is_complete && !value.is_empty() && (host.contains('.') || value.contains(['.', ':'])) {
        return Err(ErrorKind::UrlAuthority);
    }
    Ok(())
}

fn has_dot_segment(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else { return false };
    let path = rest.find(AUTHORITY_END).map_or("", |at| &rest[at..]);
    let path = path.split(['?', '#']).next().unwrap_or_default();
    path.split(['/', '\\']).any(|segment| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    })
}

/// The origin of a template whose literal start has a whole authority, as a URL; none where the event
/// decides on it.
pub(super) fn literal_origin(start: &str) -> Option<Url> {
    let (_, rest) = start.split_once("://")?;
    let end = start.len() - rest.len() + rest.find(AUTHORITY_END)?;
    // A placeholder that is filled later is no literal text.
    let authority = start.get(..end).filter(|text| !text.contains("{{"))?;
    let url = Url::parse(authority).ok()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(values: UrlValues, parts: &[(&str, &str)], last: &str) -> Result<String, ErrorKind> {
        let mut url = UrlBuilder::new(values);
        for (at, (literal, value)) in parts.iter().enumerate() {
            url.push_literal(literal);
            let next = parts.get(at + 1).map_or(last, |(literal, _)| *literal);
            url.push_value(value, (!next.is_empty()).then_some(next))?;
        }
        url.push_literal(last);
        url.finish()
    }

    fn encoded(before: &str, value: &str, after: &str) -> Result<String, ErrorKind> {
        fill(UrlValues::Encoded, &[(before, value)], after)
    }

    #[test]
    fn a_value_is_percent_encoded_for_the_component_that_it_stands_in() {
        for (before, value, after, url) in [
            ("https://a.test/u/", "a/b?x=1#f", "/end", "https://a.test/u/a%2Fb%3Fx%3D1%23f/end"),
            ("https://a.test/u/", "é 1", "", "https://a.test/u/%C3%A9%201"),
            ("https://a.test/u/", "a%2Fb", "", "https://a.test/u/a%252Fb"),
            ("https://a.test/?q=", "a&b=c+d", "&z=1", "https://a.test/?q=a%26b%3Dc%2Bd&z=1"),
            ("https://a.test/#", "a#", "", "https://a.test/#a%23"),
            ("https://a.test", "/x/y z", "", "https://a.test/x/y%20z"),
            ("https://", "b.test:8443", "/x", "https://b.test:8443/x"),
            ("https://", "eu-1", ".a.test/x", "https://eu-1.a.test/x"),
            ("", "https://b.test/x?y=1", "", "https://b.test/x?y=1"),
            ("https://a.test/", "...", "", "https://a.test/..."),
        ] {
            assert_eq!(encoded(before, value, after), Ok(url.to_owned()), "{before} {value}");
        }
        let two = fill(UrlValues::Encoded, &[("", "https://b.test/x"), ("/", "a/b")], "");
        assert_eq!(two, Ok("https://b.test/x/a%2Fb".to_owned()), "what follows is encoded");
    }

    #[test]
    fn a_value_changes_neither_the_host_nor_the_path_around_it() {
        for values in [UrlValues::Encoded, UrlValues::Raw] {
            for (before, value, after) in [
                ("https://a.test", ".evil.test", ""),
                ("https://a.test", "@evil.test", ""),
                ("https://a.test", "x.evil.test", "/hook"),
                ("https://a.test", ":pw@evil.test", "/hook"),
                ("https://localhost", ".evil.test", "/"),
                ("https://", "evil.test/", ".a.test/x"),
                ("https://", "evil.test#", ".a.test/x"),
                ("https://", "evil.test\\", ".a.test/x"),
                ("https://", "u:p@evil.test", "/x"),
                ("https://a.test:", "1@evil.test", "/x"),
            ] {
                let filled = fill(values, &[(before, value)], after);
                let kind = if value.contains('@') {
                    ErrorKind::UrlCredentials
                } else {
                    ErrorKind::UrlAuthority
                };
                assert_eq!(filled, Err(kind), "{before} {value} {after}");
            }
        }
        assert_eq!(encoded("https://a.test/", "a\r\nb", ""), Err(ErrorKind::UrlControl));
        for value in [".", ".."] {
            let filled = encoded("https://a.test/users/", value, "/x");
            assert_eq!(filled, Err(ErrorKind::UrlDotSegment), "{value}");
        }
        let raw = |value| fill(UrlValues::Raw, &[("https://a.test/u/", value)], "");
        assert_eq!(raw("a/b?x=1"), Ok("https://a.test/u/a/b?x=1".to_owned()));
    }

    #[test]
    fn an_origin_is_literal_when_its_authority_ends_before_the_first_value() {
        for (start, origin) in [
            ("https://a.test/", Some("https://a.test/")),
            ("HTTPS://A.test:8443/x/", Some("https://a.test:8443/")),
            ("http://a.test?x=", Some("http://a.test/")),
            ("https://a.test", None),
            ("https://a.test:", None),
            ("https://", None),
            ("https:///", None),
            ("https://{{b}}.test/", None),
            ("//a.test/", None),
            ("ftp://a.test/", None),
            ("", None),
        ] {
            let found = literal_origin(start);
            assert_eq!(found.as_ref().map(Url::as_str), origin, "{start}");
        }
    }
}

//! Headers as text for an attempt's record: one `name: value` a line, secrets masked, bounded.

use http::{HeaderMap, HeaderName, HeaderValue};

const MASK: &str = "***";

/// At most so much text is kept of one message's headers, in bytes.
const KEEP_BYTES: usize = 16 * 1024;

/// A request's headers, `name: value` a line. Values that look like credentials, that are marked
/// sensitive, or whose name is in `masked`, are shown as `***`; the signatures are shown.
#[must_use]
pub fn masked_headers(headers: &HeaderMap, masked: &[HeaderName]) -> String {
    let mut text = String::with_capacity(headers.len() * 48);
    for (name, value) in headers {
        let hide = value.is_sensitive() || masked.contains(name) || looks_secret(name.as_str());
        push_line(&mut text, name, if hide { None } else { Some(value) });
        if text.len() > KEEP_BYTES {
            cut(&mut text);
            break;
        }
    }
    text
}

/// Whether a header of this name usually carries a credential.
fn looks_secret(name: &str) -> bool {
    name.split(['-', '_']).any(|word| {
        matches!(
            word,
            "authorization" | "auth" | "cookie" | "cookies" | "key" | "credential" | "credentials"
        )
    }) && name != "idempotency-key"
        || ["token", "secret", "passw", "apikey", "cookie"].iter().any(|part| name.contains(part))
}

fn push_line(text: &mut String, name: &HeaderName, value: Option<&HeaderValue>) {
    text.push_str(name.as_str());
    text.push_str(": ");
    match value {
        Some(value) => text.push_str(&String::from_utf8_lossy(value.as_bytes())),
        None => text.push_str(MASK),
    }
    text.push('\n');
}

fn cut(text: &mut String) {
    let end = (0..=KEEP_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text.push('…');
}

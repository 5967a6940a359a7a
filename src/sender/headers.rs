//! Headers as text for an attempt's record: one `name: value` per line, secrets masked, size bounded.

use super::masked_url::masked_text;
use http::{HeaderMap, HeaderName, HeaderValue};

const MASK: &str = "***";

/// The most text that is recorded of one message's headers, in bytes.
const KEEP_BYTES: usize = 16 * 1024;

/// Headers, one `name: value` per line. The value is `***` if the name looks like a credential's or is
/// in `masked`, or if the value is marked sensitive; signatures are shown.
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

/// Words of a name that mark a credential.
const SECRET_WORDS: [&str; 6] =
    ["auth", "authorization", "cookies", "credential", "credentials", "key"];
/// Substrings of a name that mark a credential.
const SECRET_PARTS: [&str; 5] = ["apikey", "cookie", "passw", "secret", "token"];
/// The exception: not a credential.
const NOT_SECRET: &str = "idempotency-key";

/// Frequent names that are no credentials: a fast path.
const PLAIN: [&str; 12] = [
    "content-type",
    "content-length",
    "user-agent",
    "accept",
    "date",
    "server",
    "connection",
    "webhook-id",
    "webhook-timestamp",
    "webhook-signature",
    "x-signature",
    "transfer-encoding",
];

/// Whether a header of this name usually carries a credential; case-insensitive.
#[must_use]
pub fn is_credential(name: &str) -> bool {
    looks_secret(&name.to_ascii_lowercase())
}

fn looks_secret(name: &str) -> bool {
    if PLAIN.contains(&name) {
        return false;
    }
    let word = || name.split(['-', '_']).any(|word| SECRET_WORDS.contains(&word));
    let part = || SECRET_PARTS.iter().any(|part| name.contains(part));
    name != NOT_SECRET && (word() || part())
}

/// Headers whose values are URLs, which may have secret parameters.
const HAVE_URLS: [&str; 5] = ["content-location", "link", "location", "referer", "refresh"];

fn push_line(text: &mut String, name: &HeaderName, value: Option<&HeaderValue>) {
    text.push_str(name.as_str());
    text.push_str(": ");
    match value {
        Some(value) => match value.to_str() {
            Ok(ascii) if HAVE_URLS.contains(&name.as_str()) => text.push_str(&masked_text(ascii)),
            Ok(ascii) => text.push_str(ascii),
            Err(_) => text.push_str(&String::from_utf8_lossy(value.as_bytes())),
        },
        None => text.push_str(MASK),
    }
    text.push('\n');
}

fn cut(text: &mut String) {
    let end = (0..=KEEP_BYTES).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    text.truncate(end);
    text.push('…');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
                (name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
            })
            .collect()
    }

    #[test]
    fn credentials_are_masked() {
        let names = [
            "Authorization",
            "Proxy-Authorization",
            "Cookie",
            "Set-Cookie",
            "X-Api-Key",
            "ApiKey",
            "X-Auth",
            "X-Auth-Token",
            "Access_Token",
            "Client-Secret",
            "X-Password",
            "X-Functions-Key",
            "Aws-Credentials",
        ];
        for name in names {
            let text = masked_headers(&headers(&[(name, "hunter2")]), &[]);
            assert_eq!(text, format!("{}: ***\n", name.to_ascii_lowercase()));
        }
    }

    #[test]
    fn signatures_and_ordinary_headers_are_shown() {
        let names = [
            "content-type",
            "idempotency-key",
            "user-agent",
            "webhook-id",
            "webhook-signature",
            "webhook-timestamp",
            "www-authenticate",
            "x-author",
            "x-keyboard",
            "x-signature",
        ];
        for name in names {
            assert_eq!(masked_headers(&headers(&[(name, "v")]), &[]), format!("{name}: v\n"));
        }
    }

    #[test]
    fn named_and_sensitive_values_are_masked() {
        let mut map = headers(&[("x-a", "1"), ("x-b", "2")]);
        map.get_mut("x-b").unwrap().set_sensitive(true);
        assert_eq!(masked_headers(&map, &[HeaderName::from_static("x-a")]), "x-a: ***\nx-b: ***\n");
    }

    #[test]
    fn text_is_bounded_and_cut_between_characters() {
        let text = masked_headers(&headers(&[("x-a", &"é".repeat(KEEP_BYTES))]), &[]);
        assert!(text.len() <= KEEP_BYTES + '…'.len_utf8());
        assert!(text.ends_with("é…"));
        let bytes = HeaderMap::from_iter([(
            HeaderName::from_static("x-b"),
            HeaderValue::from_bytes(b"\xff!").unwrap(),
        )]);
        assert_eq!(masked_headers(&bytes, &[]), "x-b: \u{fffd}!\n");
    }
}

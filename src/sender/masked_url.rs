//! URLs as they are recorded: query parameters whose name is a secret's have no value.

use url::Url;

const MASK: &str = "***";
/// Words of a name that mark a secret.
const SECRET_WORDS: [&str; 15] = [
    "auth",
    "authorization",
    "code",
    "credential",
    "credentials",
    "hmac",
    "jwt",
    "key",
    "pass",
    "pw",
    "pwd",
    "sas",
    "sig",
    "signature",
    "session",
];
/// Substrings of a name that mark a secret.
const SECRET_PARTS: [&str; 6] = ["apikey", "accesskey", "cookie", "passw", "secret", "token"];
/// The exception: not a credential.
const NOT_SECRET: &str = "idempotency";

/// Whether a query parameter of this name usually carries a secret: `apiKey`, `access_token`, `sig`.
#[must_use]
pub fn is_secret_parameter(name: &str) -> bool {
    let name: String = percent_encoding::percent_decode_str(name).decode_utf8_lossy().into_owned();
    let mut words = String::with_capacity(name.len() + 4);
    let mut was_lower = false;
    for char in name.chars() {
        if char.is_uppercase() && was_lower {
            words.push(' ');
        }
        was_lower = char.is_lowercase() || char.is_numeric();
        words.extend(char.to_lowercase());
    }
    let joined: String = words.chars().filter(|char| char.is_alphanumeric()).collect();
    if joined.contains(NOT_SECRET) {
        return false;
    }
    let word = |word: &str| SECRET_WORDS.contains(&word);
    words.split(|char: char| !char.is_alphanumeric()).any(word)
        || SECRET_PARTS.iter().any(|part| joined.contains(part))
}

/// A URL with the values of secret parameters masked, and those of the destination appended.
#[must_use]
pub fn masked_url<'n>(url: &Url, secret_parameters: impl Iterator<Item = &'n str>) -> String {
    let mut text = masked_text(url.as_str());
    for name in secret_parameters {
        let (before, fragment) = match text.split_once('#') {
            Some((before, fragment)) => (before.to_owned(), Some(fragment.to_owned())),
            None => (text, None),
        };
        let mark = if before.contains('?') { '&' } else { '?' };
        text = format!("{before}{mark}{name}={MASK}");
        if let Some(fragment) = fragment {
            text.push('#');
            text.push_str(&fragment);
        }
    }
    text
}

/// A URL's text with the values of secret parameters masked, in its query and its fragment.
pub(super) fn masked_text(url: &str) -> String {
    let Some(start) = url.find(['?', '#']) else { return url.to_owned() };
    let (path, query) = url.split_at(start);
    let mut text = String::with_capacity(url.len());
    text.push_str(path);
    for pair in query.split_inclusive(['?', '&', '#', ';']) {
        let (pair, end) = match pair.char_indices().next_back() {
            Some((at, '?' | '&' | '#' | ';')) => pair.split_at(at),
            Some(_) | None => (pair, ""),
        };
        match pair.split_once('=') {
            Some((name, value)) if !value.is_empty() && is_secret_parameter(name) => {
                text.push_str(name);
                text.push('=');
                text.push_str(MASK);
            }
            Some(_) | None => text.push_str(pair),
        }
        text.push_str(end);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_with_the_name_of_a_secret_are_masked() {
        let masked = |text: &str| masked_url(&Url::parse(text).expect("a URL"), std::iter::empty());
        for (url, expected) in [
            ("https://a.test/x", "https://a.test/x"),
            ("https://a.test/x?id=1&page=2", "https://a.test/x?id=1&page=2"),
            ("https://a.test/x?id=1&token=t", "https://a.test/x?id=1&token=***"),
            (
                "https://a.test/x?apiKey=a&z=1#access_token=b",
                "https://a.test/x?apiKey=***&z=1#access_token=***",
            ),
            ("https://a.test/x?api%5Fkey=a", "https://a.test/x?api%5Fkey=***"),
            ("https://a.test/x?X-Amz-Signature=a", "https://a.test/x?X-Amz-Signature=***"),
            ("https://a.test/x?a=1;sig=b", "https://a.test/x?a=1;sig=***"),
            ("https://a.test/x?key=", "https://a.test/x?key="),
            ("https://a.test/x?monkey=1&author=2", "https://a.test/x?monkey=1&author=2"),
            ("https://a.test/x?idempotency_key=1", "https://a.test/x?idempotency_key=1"),
        ] {
            assert_eq!(masked(url), expected);
        }
    }

    #[test]
    fn the_destinations_parameters_are_shown_by_name() {
        let url = Url::parse("https://a.test/x?id=1#f").expect("a URL");
        let shown = masked_url(&url, ["k", "l"].into_iter());
        assert_eq!(shown, "https://a.test/x?id=1&k=***&l=***#f");
    }
}

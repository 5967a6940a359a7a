//! Redaction: removes a request's secrets from the parts of a response that are recorded, in case the
//! receiver echoes them, whatever the encoding: JSON, percent, form and HTML escapes, base64, hex.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::Bytes;

use super::echo::{Echo, echo_at};
use super::exchange::Exchange;

impl Exchange {
    /// Masks the request's secrets wherever the receiver echoed them.
    pub fn redact<'s>(&mut self, secrets: impl IntoIterator<Item = &'s str>) {
        for secret in secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET_LEN) {
            let forms = Forms::of(secret);
            if let Some(error) = &mut self.error {
                forms.mask_text(error);
            }
            forms.mask_text(&mut self.response_headers);
            self.response_body = forms.masked(&self.response_body, self.response_truncated);
            if let Some(body) = &mut self.multistatus {
                *body = forms.masked(body, false);
            }
        }
    }
}

/// Masks a secret in a text, in every encoding.
pub fn mask_secret(text: &mut String, secret: &str) {
    if secret.len() >= MIN_SECRET_LEN {
        Forms::of(secret).mask_text(text);
    }
}

/// A shorter secret cannot be distinguished from ordinary text.
const MIN_SECRET_LEN: usize = 4;
/// A shorter base64 or hex text cannot be distinguished either.
const MIN_ENCODED_LEN: usize = 6;
const MASK: &str = "***";

/// A secret, and the encodings in which its characters are not next to each other.
struct Forms<'s> {
    secret: &'s [u8],
    encoded: Vec<Vec<u8>>,
}

impl<'s> Forms<'s> {
    fn of(secret: &'s str) -> Self {
        let mut encoded = vec![hex::encode(secret), hex::encode_upper(secret)];
        for offset in 0..3 {
            // In a longer text the secret begins at any of the three positions of a base64 group: the
            // characters that it shares with its neighbours are left out.
            let padded = [&[0; 2][..offset], secret.as_bytes()].concat();
            let from = [0, 2, 3][offset];
            let to = (padded.len() * 8) / 6;
            for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                let text = engine.encode(&padded);
                encoded.extend(text.get(from..to).map(str::to_owned));
            }
        }
        encoded.retain(|text| text.len() >= MIN_ENCODED_LEN);
        encoded.sort();
        encoded.dedup();
        let encoded = encoded.into_iter().map(String::into_bytes).collect();
        Self { secret: secret.as_bytes(), encoded }
    }

    fn mask_text(&self, text: &mut String) {
        if let Some(masked) = self.replaced(text.as_bytes(), false) {
            *text = String::from_utf8_lossy(&masked).into_owned();
        }
    }

    fn masked(&self, body: &Bytes, truncated: bool) -> Bytes {
        self.replaced(body, truncated).map_or_else(|| body.clone(), Bytes::from)
    }

    /// The bytes with every occurrence masked; in a truncated body also the beginning of one at its end.
    /// None when there is none.
    fn replaced(&self, bytes: &[u8], truncated: bool) -> Option<Vec<u8>> {
        let (mut kept, mut from, mut at) = (Vec::new(), 0, 0);
        while at < bytes.len() {
            let Some(length) = self.length_at(&bytes[at..], truncated) else {
                at += 1;
                continue;
            };
            kept.extend_from_slice(&bytes[from..at]);
            kept.extend_from_slice(MASK.as_bytes());
            at += length;
            from = at;
        }
        (from > 0).then(|| {
            kept.extend_from_slice(&bytes[from..]);
            kept
        })
    }

    /// How many bytes at the start of `rest` are the secret.
    fn length_at(&self, rest: &[u8], truncated: bool) -> Option<usize> {
        let echoed = match echo_at(rest, self.secret) {
            Echo::Whole(length) => Some(length),
            Echo::CutAfter(known) if truncated && known >= MIN_SECRET_LEN => Some(rest.len()),
            Echo::CutAfter(_) | Echo::None => None,
        };
        let encoded = || {
            let found = self.encoded.iter().find(|text| rest.starts_with(text));
            let cut = || {
                let is_cut = truncated && rest.len() >= MIN_ENCODED_LEN;
                is_cut && self.encoded.iter().any(|text| text.starts_with(rest))
            };
            found.map(Vec::len).or_else(|| cut().then_some(rest.len()))
        };
        echoed.or_else(encoded)
    }
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE};

    use super::*;

    const SECRET: &str = "s3cret/to+ken \"é&<x>'\\";

    fn masked(text: &str, truncated: bool) -> String {
        let body = Forms::of("s3cret-token").masked(&Bytes::from(text.to_owned()), truncated);
        String::from_utf8(body.to_vec()).expect("text")
    }

    #[test]
    fn echoed_secrets_are_masked() {
        assert_eq!(masked("nothing", false), "nothing");
        assert_eq!(masked("s3cret-token", false), "***");
        assert_eq!(masked("a s3cret-token b s3cret-tokens3cret-token", true), "a *** b ******");
        assert_eq!(masked("it is s3cret-t", true), "it is ***");
        assert_eq!(masked("it is s3cret-t", false), "it is s3cret-t");
        assert_eq!(masked("it is s3c", true), "it is s3c", "below the minimum length");
        assert_eq!(masked("s3cret%2Dt", true), "***");
        assert_eq!(masked("czNjcmV0LXRv", true), "***", "the beginning of the base64");
    }

    #[test]
    fn a_secret_is_masked_in_every_usual_encoding() {
        let json = serde_json::to_string(SECRET).expect("JSON");
        let twice = serde_json::to_string(&json).expect("JSON");
        let percent =
            percent_encoding::utf8_percent_encode(SECRET, percent_encoding::NON_ALPHANUMERIC)
                .to_string();
        let all_unicode: String =
            SECRET.chars().map(|it| format!("\\u{:04x}", u32::from(it))).collect();
        for text in [
            SECRET.to_owned(),
            json.trim_matches('"').to_owned(),
            json.replace('/', "\\/"),
            json.replace('<', "\\u003C").replace('>', "\\u003e").replace('&', "\\u0026"),
            json.replace('é', "\\u00e9"),
            twice,
            all_unicode,
            percent.clone(),
            percent.to_lowercase(),
            percent.replace("%20", "+"),
            percent.replace('%', "%25"),
            SECRET
                .replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&gt;")
                .replace('"', "&quot;")
                .replace('\'', "&#x27;"),
            SECRET.replace('&', "&#38;").replace('\'', "&#39;").replace('"', "&#34;"),
            STANDARD.encode(SECRET),
            URL_SAFE.encode(SECRET),
            hex::encode(SECRET),
            hex::encode_upper(SECRET),
        ] {
            let mut shown = format!("<{text}>");
            mask_secret(&mut shown, SECRET);
            assert!(shown.contains("***"), "{text} → {shown}");
            assert!(shown.trim_matches(['<', '>', '"', '\\']).len() <= 5, "{text} → {shown}");
        }
    }

    #[test]
    fn base64_is_masked_wherever_the_secret_begins_in_it() {
        for before in ["", "u", "us", "user:"] {
            for after in ["", "@", "@h", "@host"] {
                for engine in [&STANDARD, &URL_SAFE] {
                    let mut shown = engine.encode(format!("{before}s3cret-token{after}"));
                    mask_secret(&mut shown, "s3cret-token");
                    assert!(shown.contains("***"), "{before} {after}: {shown}");
                    assert!(!shown.contains("cret"), "{shown}");
                }
            }
        }
    }
}

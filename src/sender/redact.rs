//! Redaction: removes a request's secrets from the parts of a response that are recorded, in case the
//! receiver echoes them.

use bytes::Bytes;

use super::exchange::Exchange;

impl Exchange {
    /// Masks the request's secrets wherever the receiver echoed them.
    pub fn redact<'s>(&mut self, secrets: impl IntoIterator<Item = &'s str>) {
        for secret in secrets.into_iter().filter(|secret| secret.len() >= MIN_SECRET_LEN) {
            if let Some(error) = &mut self.error {
                mask(error, secret);
            }
            mask(&mut self.response_headers, secret);
            self.response_body =
                masked(&self.response_body, secret.as_bytes(), self.response_truncated);
            if let Some(body) = &mut self.multistatus {
                *body = masked(body, secret.as_bytes(), false);
            }
        }
    }
}

/// A shorter secret cannot be distinguished from ordinary text.
const MIN_SECRET_LEN: usize = 4;
const MASK: &str = "***";

fn mask(text: &mut String, secret: &str) {
    if text.contains(secret) {
        *text = text.replace(secret, MASK);
    }
}

/// The body with every occurrence masked; in a truncated body also a prefix of the secret at its end.
fn masked(body: &Bytes, secret: &[u8], truncated: bool) -> Bytes {
    let mut kept = Vec::new();
    let mut from = 0;
    while let Some(at) = find(&body[from..], secret) {
        kept.extend_from_slice(&body[from..from + at]);
        kept.extend_from_slice(MASK.as_bytes());
        from += at + secret.len();
    }
    let rest = &body[from..];
    let partial =
        (MIN_SECRET_LEN..secret.len()).rev().find(|length| rest.ends_with(&secret[..*length]));
    let partial = if truncated { partial } else { None };
    if from == 0 && partial.is_none() {
        return body.clone();
    }
    kept.extend_from_slice(&rest[..rest.len() - partial.unwrap_or(0)]);
    if partial.is_some() {
        kept.extend_from_slice(MASK.as_bytes());
    }
    Bytes::from(kept)
}

fn find(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    bytes.windows(needle.len()).position(|window| window == needle)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn echoed_secrets_are_masked() {
        let body = |text: &str, truncated| {
            let body = masked(&Bytes::from(text.to_owned()), b"s3cret-token", truncated);
            String::from_utf8(body.to_vec()).expect("text")
        };
        assert_eq!(body("nothing", false), "nothing");
        assert_eq!(body("s3cret-token", false), "***");
        assert_eq!(body("a s3cret-token b s3cret-tokens3cret-token", true), "a *** b ******");
        assert_eq!(body("it is s3cret-t", true), "it is ***");
        assert_eq!(body("it is s3cret-t", false), "it is s3cret-t");
        assert_eq!(body("it is s3c", true), "it is s3c", "below the minimum length");
    }
}

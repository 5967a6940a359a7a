//! Signs and verifies: Segment's `X-Signature` and the Standard Webhooks headers. HMAC keys are prepared
//! once and never shown or logged.

use std::fmt;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use http::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac::{Context, HMAC_SHA256, Key, Tag};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::domain::destination::XSignatureKey;

const X_SIGNATURE: HeaderName = HeaderName::from_static("x-signature");
const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

/// Prefix of a Standard Webhooks secret.
const SECRET_PREFIX: &str = "whsec_";
/// Prefix of a symmetric Standard Webhooks signature.
const VERSION_PREFIX: &str = "v1,";
/// Length of one `v1,` signature: the prefix and the base64 of 32 bytes.
const STANDARD_LEN: usize = VERSION_PREFIX.len() + 44;

/// Accepts base64 with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Signs messages with a destination's shared secrets. The keyed HMAC states are cached, so an attempt
/// hashes only its message.
#[derive(Clone)]
pub struct Signer {
    x: Option<Hmac<Sha1>>,
    standard: Vec<Key>,
}

impl fmt::Debug for Signer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Signer").field("secrets", &self.standard.len()).finish_non_exhaustive()
    }
}

/// The content that is signed: the body with its webhook id and timestamp.
#[derive(Clone, Copy, Debug)]
pub struct SignedContent<'a> {
    /// The `webhook-id`: visible ASCII, the same in every attempt.
    pub webhook_id: &'a str,
    /// Time of the attempt, in seconds since the Unix epoch.
    pub timestamp_s: i64,
    /// The whole body.
    pub body: &'a [u8],
    /// The bytes that `X-Signature` covers: the body, or for a batch its first event's JSON; none: there is no
    /// `X-Signature`.
    pub first_event: Option<&'a [u8]>,
}

impl Signer {
    /// Prepares the keys: the current secret first, then the one being rotated out. Without secrets,
    /// messages get an id and a timestamp but no signature.
    #[must_use]
    pub fn new(secrets: &[SecretString]) -> Self {
        Self::rotating(secrets, XSignatureKey::Current)
    }

    /// Prepares the keys, with the key of `X-Signature` while two secrets are active.
    #[must_use]
    pub fn rotating(secrets: &[SecretString], x_signature: XSignatureKey) -> Self {
        let x = match x_signature {
            XSignatureKey::Previous => secrets.last(),
            XSignatureKey::Current => secrets.first(),
        };
        Self { x: x.map(x_mac), standard: secrets.iter().map(standard_key).collect() }
    }

    /// Adds `webhook-id` and `webhook-timestamp`, and with a secret `webhook-signature` and
    /// `X-Signature`. The `webhook-*` headers replace the mapping's; an `X-Signature` of the mapping
    /// stays.
    pub fn sign(&self, headers: &mut HeaderMap, message: &SignedContent<'_>) {
        headers.insert(WEBHOOK_ID, header_value(message.webhook_id));
        headers.insert(WEBHOOK_TIMESTAMP, HeaderValue::from(message.timestamp_s));
        headers.remove(WEBHOOK_SIGNATURE);
        if let (Some(mac), Some(first_event)) = (&self.x, message.first_event) {
            let digest = mac.clone().chain_update(first_event).finalize().into_bytes();
            let mut text = [0; 40];
            // The buffer is twice as long as the digest, so encoding cannot fail.
            let _ = hex::encode_to_slice(digest, &mut text);
            headers.entry(X_SIGNATURE).or_insert_with(|| ascii_value(&text));
        }
        if !self.standard.is_empty() {
            headers.insert(WEBHOOK_SIGNATURE, self.standard_signatures(message));
        }
    }

    fn standard_signatures(&self, message: &SignedContent<'_>) -> HeaderValue {
        let mut text = String::with_capacity(self.standard.len() * (STANDARD_LEN + 1));
        for key in &self.standard {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(VERSION_PREFIX);
            STANDARD.encode_string(standard_tag(key, message), &mut text);
        }
        ascii_value(text.as_bytes())
    }
}

/// The `X-Signature` of a body under this secret.
#[must_use]
pub fn x_signature(secret: &SecretString, body: &[u8]) -> String {
    hex::encode(x_mac(secret).chain_update(body).finalize().into_bytes())
}

/// Whether `hex` is the `X-Signature` of `body` under this secret, compared in constant time.
#[must_use]
pub fn verify_x_signature(secret: &SecretString, body: &[u8], hex: &str) -> bool {
    let Ok(given) = hex::decode(hex.trim()) else { return false };
    x_mac(secret).chain_update(body).verify_slice(&given).is_ok()
}

/// Whether any signature in a `webhook-signature` header is valid for this message under this secret;
/// each is compared in constant time. The caller checks the timestamp's age.
#[must_use]
pub fn verify_standard(
    secret: &SecretString,
    webhook_id: &str,
    timestamp_s: i64,
    body: &[u8],
    header: &str,
) -> bool {
    let message = SignedContent { webhook_id, timestamp_s, body, first_event: None };
    let tag = standard_tag(&standard_key(secret), &message);
    header
        .split_ascii_whitespace()
        .filter_map(|signature| signature.strip_prefix(VERSION_PREFIX))
        .filter_map(|text| STANDARD.decode(text).ok())
        .any(|given| tag.as_ref().ct_eq(&given).into())
}

fn x_mac(secret: &SecretString) -> Hmac<Sha1> {
    Hmac::new_from_slice(secret.expose_secret().as_bytes()).expect("HMAC takes any key length")
}

fn standard_key(secret: &SecretString) -> Key {
    let text = secret.expose_secret();
    let decoded = text
        .strip_prefix(SECRET_PREFIX)
        .and_then(|encoded| LENIENT.decode(encoded).ok())
        .map(Zeroizing::new);
    Key::new(HMAC_SHA256, decoded.as_ref().map_or(text.as_bytes(), |key| key.as_slice()))
}

fn standard_tag(key: &Key, message: &SignedContent<'_>) -> Tag {
    let mut context = Context::with_key(key);
    context.update(message.webhook_id.as_bytes());
    context.update(b".");
    context.update(itoa::Buffer::new().format(message.timestamp_s).as_bytes());
    context.update(b".");
    context.update(message.body);
    context.sign()
}

fn ascii_value(text: &[u8]) -> HeaderValue {
    HeaderValue::from_bytes(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// An id that is not a valid header value is sent empty: verification then fails at the receiver, which
/// is safer than a message that looks unsigned.
fn header_value(id: &str) -> HeaderValue {
    ascii_value(id.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> SecretString {
        SecretString::from(text)
    }

    fn message(body: &[u8]) -> SignedContent<'_> {
        SignedContent {
            webhook_id: "evt_1",
            timestamp_s: 1_700_000_000,
            body,
            first_event: Some(body),
        }
    }

    fn signed_headers(secrets: &[SecretString], message: &SignedContent<'_>) -> HeaderMap {
        let mut headers = HeaderMap::new();
        Signer::new(secrets).sign(&mut headers, message);
        headers
    }

    fn text<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
        headers[name].to_str().unwrap()
    }

    #[test]
    fn without_a_secret_only_id_and_timestamp_are_sent() {
        let headers = signed_headers(&[], &message(b"{}"));
        assert_eq!(text(&headers, "webhook-id"), "evt_1");
        assert_eq!(text(&headers, "webhook-timestamp"), "1700000000");
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn signatures_verify_and_forgeries_do_not() {
        let ours = secret("abc123");
        let headers = signed_headers(std::slice::from_ref(&ours), &message(b"{\"a\":1}"));
        let x = text(&headers, "x-signature");
        assert!(verify_x_signature(&ours, b"{\"a\":1}", x));
        assert!(!verify_x_signature(&ours, b"{\"a\":2}", x));
        assert!(!verify_x_signature(&secret("abc124"), b"{\"a\":1}", x));
        assert!(!verify_x_signature(&ours, b"{\"a\":1}", "not hex"));

        let standard = text(&headers, "webhook-signature");
        let verify = |secret: &SecretString, id, at, body: &[u8]| {
            verify_standard(secret, id, at, body, standard)
        };
        assert!(verify(&ours, "evt_1", 1_700_000_000, b"{\"a\":1}"));
        assert!(!verify(&ours, "evt_2", 1_700_000_000, b"{\"a\":1}"));
        assert!(!verify(&ours, "evt_1", 1_700_000_001, b"{\"a\":1}"));
        assert!(!verify(&ours, "evt_1", 1_700_000_000, b"{\"a\":2}"));
        assert!(!verify(&secret("abc124"), "evt_1", 1_700_000_000, b"{\"a\":1}"));
        assert!(!verify_standard(&ours, "evt_1", 1_700_000_000, b"{\"a\":1}", "v1,AAAA v2,x"));
    }

    #[test]
    fn rotation_signs_with_both_secrets_and_x_signature_with_the_current_one() {
        let (fresh, old) = (secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), secret("old"));
        let headers = signed_headers(&[fresh.clone(), old.clone()], &message(b"{}"));
        let standard = text(&headers, "webhook-signature");
        assert_eq!(standard.split(' ').count(), 2);
        assert!(verify_standard(&fresh, "evt_1", 1_700_000_000, b"{}", standard));
        assert!(verify_standard(&old, "evt_1", 1_700_000_000, b"{}", standard));
        let x = text(&headers, "x-signature");
        assert!(verify_x_signature(&fresh, b"{}", x));
        assert!(!verify_x_signature(&old, b"{}", x));
    }

    #[test]
    fn a_batch_is_signed_by_its_body_and_x_signature_by_its_first_event() {
        let ours = secret("abc123");
        let batch =
            SignedContent { first_event: Some(b"{\"i\":1}"), ..message(b"[{\"i\":1},{\"i\":2}]") };
        let headers = signed_headers(std::slice::from_ref(&ours), &batch);
        assert!(verify_x_signature(&ours, b"{\"i\":1}", text(&headers, "x-signature")));
        let standard = text(&headers, "webhook-signature");
        assert!(verify_standard(&ours, "evt_1", batch.timestamp_s, batch.body, standard));
    }

    #[test]
    fn webhook_headers_override_the_mapping_and_x_signature_does_not() {
        let mut headers = HeaderMap::new();
        headers.insert("webhook-signature", HeaderValue::from_static("v1,forged"));
        headers.insert("webhook-id", HeaderValue::from_static("forged"));
        headers.insert("x-signature", HeaderValue::from_static("mine"));
        Signer::new(&[secret("s")]).sign(&mut headers, &message(b"{}"));
        assert_eq!(headers.get_all("webhook-signature").iter().count(), 1);
        assert_ne!(text(&headers, "webhook-signature"), "v1,forged");
        assert_eq!(text(&headers, "webhook-id"), "evt_1");
        assert_eq!(text(&headers, "x-signature"), "mine");

        Signer::new(&[]).sign(&mut headers, &message(b"{}"));
        assert!(!headers.contains_key("webhook-signature"));
    }

    #[test]
    fn whsec_secrets_decode_with_and_without_padding_and_fall_back_to_plain_text() {
        let key = |text: &str| {
            standard_tag(&standard_key(&secret(text)), &message(b"x")).as_ref().to_vec()
        };
        assert_eq!(key("whsec_AAECAw=="), key("whsec_AAECAw"));
        let plain =
            standard_tag(&Key::new(HMAC_SHA256, b"whsec_?"), &message(b"x")).as_ref().to_vec();
        assert_eq!(key("whsec_?"), plain);
    }

    #[test]
    fn debug_shows_no_key() {
        let shown = format!("{:?}", Signer::new(&[secret("abc123")]));
        assert_eq!(shown, "Signer { secrets: 1, .. }");
    }
}

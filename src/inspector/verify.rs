//! Verification of webhook signatures, as a receiver would do it. The cryptography is `sender`'s.

use std::time::Duration;

use http::HeaderMap;
use secrecy::SecretString;

use crate::domain::clock::Timestamp;
use crate::json::{self, Value};
use crate::sender::{verify_standard, verify_x_signature};

/// The accepted difference of `webhook-timestamp` from now, as Standard Webhooks recommends.
const TOLERANCE: Duration = Duration::from_secs(5 * 60);

/// The result of verifying one kind of signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Valid.
    Verified,
    /// Invalid.
    Wrong,
    /// Valid, with a timestamp outside of the tolerance: a replay or clock skew.
    Stale,
    /// Missing.
    Absent,
    /// Not checked: no secret is known.
    Unchecked,
}

impl Verdict {
    /// Its name in the API and the CLI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Verified => "verified",
            Self::Wrong => "wrong",
            Self::Stale => "stale",
            Self::Absent => "absent",
            Self::Unchecked => "unchecked",
        }
    }
}

/// Verifies `X-Signature` over the body's bytes, or over the body parsed and stringified again, as some
/// receivers compute it; for a batch, which is an array, over its first event.
pub(super) fn x_signature(secrets: &[SecretString], headers: &HeaderMap, body: &[u8]) -> Verdict {
    let Some(header) = headers.get("x-signature") else { return Verdict::Absent };
    if secrets.is_empty() {
        return Verdict::Unchecked;
    }
    let Ok(hex) = header.to_str() else { return Verdict::Wrong };
    let verifies = |text: &[u8]| secrets.iter().any(|secret| verify_x_signature(secret, text, hex));
    let is_right = match json::parse(body) {
        Ok(Value::Array(events)) => events.first().is_some_and(|first| {
            // The profile of an extensible webhook wraps the items.
            let wrapped = first.as_object().and_then(|item| item.get("json"));
            let signed = [Some(first), wrapped].into_iter().flatten();
            signed.map(json::to_string).any(|text| verifies(text.as_bytes()))
        }),
        Ok(value) => verifies(body) || verifies(json::to_string(&value).as_bytes()),
        Err(_) => verifies(body),
    };
    if is_right { Verdict::Verified } else { Verdict::Wrong }
}

/// Verifies the Standard Webhooks headers.
pub(super) fn standard(
    secrets: &[SecretString],
    headers: &HeaderMap,
    body: &[u8],
    now: Timestamp,
) -> Verdict {
    let Some(signature) = headers.get("webhook-signature") else { return Verdict::Absent };
    if secrets.is_empty() {
        return Verdict::Unchecked;
    }
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let seconds = text("webhook-timestamp").and_then(|text| text.parse::<i64>().ok());
    let (Some(id), Some(seconds), Ok(signature)) =
        (webhook_id(headers), seconds, signature.to_str())
    else {
        return Verdict::Wrong;
    };
    if !secrets.iter().any(|secret| verify_standard(secret, id, seconds, body, signature)) {
        return Verdict::Wrong;
    }
    if now.as_seconds().abs_diff(seconds) > TOLERANCE.as_secs() {
        return Verdict::Stale;
    }
    Verdict::Verified
}

/// The `webhook-id`, if there is one in ASCII.
pub(super) fn webhook_id(headers: &HeaderMap) -> Option<&str> {
    headers.get("webhook-id").and_then(|id| id.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sender::{SignedContent, Signer};

    const BODY: &[u8] = br#"{"type":"track","n":1}"#;

    fn signed(secret: &str, body: &[u8], first_event: &[u8]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let message = SignedContent {
            webhook_id: "msg_1",
            timestamp_s: 1_000,
            body,
            first_event: Some(first_event),
        };
        Signer::new(&[secret.into()]).sign(&mut headers, &message);
        headers
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000)
    }

    #[test]
    fn verdicts_distinguish_valid_invalid_stale_and_missing_signatures() {
        let (right, other): ([SecretString; 1], [SecretString; 1]) =
            (["secret".into()], ["other".into()]);
        let headers = signed("secret", BODY, BODY);
        assert_eq!(x_signature(&right, &headers, BODY), Verdict::Verified);
        assert_eq!(x_signature(&other, &headers, BODY), Verdict::Wrong);
        assert_eq!(x_signature(&right, &headers, b"{}"), Verdict::Wrong);
        assert_eq!(x_signature(&[], &headers, BODY), Verdict::Unchecked);
        assert_eq!(x_signature(&right, &HeaderMap::new(), BODY), Verdict::Absent);
        assert_eq!(standard(&right, &headers, BODY, at(1_100)), Verdict::Verified);
        assert_eq!(standard(&right, &headers, BODY, at(1_301)), Verdict::Stale);
        assert_eq!(standard(&right, &headers, BODY, at(699)), Verdict::Stale);
        assert_eq!(standard(&other, &headers, BODY, at(1_000)), Verdict::Wrong);
        assert_eq!(standard(&right, &headers, b"{}", at(1_000)), Verdict::Wrong);
        assert_eq!(standard(&right, &HeaderMap::new(), BODY, at(1_000)), Verdict::Absent);
    }

    #[test]
    fn x_signature_verifies_over_restringified_json_and_over_the_first_event_of_a_batch() {
        let secrets: [SecretString; 1] = ["secret".into()];
        let spaced = br#"{ "type": "track", "n": 1.0 }"#;
        assert_eq!(
            x_signature(&secrets, &signed("secret", spaced, BODY), spaced),
            Verdict::Verified
        );
        let batch = br#"[{"type":"track","n":1},{"type":"track","n":2}]"#;
        assert_eq!(x_signature(&secrets, &signed("secret", batch, BODY), batch), Verdict::Verified);
        assert_eq!(x_signature(&secrets, &signed("secret", batch, batch), batch), Verdict::Wrong);
        let wrapped = br#"[{"json":{"type":"track","n":1}},{"json":{"n":2}}]"#;
        let headers = signed("secret", wrapped, BODY);
        assert_eq!(x_signature(&secrets, &headers, wrapped), Verdict::Verified);
        let alone = br#"[{"type":"track","n":1}]"#;
        assert_eq!(x_signature(&secrets, &signed("secret", alone, BODY), alone), Verdict::Verified);
        assert_eq!(x_signature(&secrets, &signed("secret", b"[]", BODY), b"[]"), Verdict::Wrong);
    }
}

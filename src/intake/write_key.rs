//! Extracts the write key from headers or body. It is a credential: compared by digest in `routing`, never
//! logged, never stored with an event.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use http::HeaderMap;
use http::header::AUTHORIZATION;

use crate::json::{Object, Value};

/// The property that carries a write key in a body.
pub(crate) const PROPERTY: &str = "writeKey";

/// The key in `Authorization`: the user name of Basic, or a bearer token. None if the header is missing,
/// of another scheme, empty or malformed.
pub(super) fn in_headers(headers: &HeaderMap) -> Option<String> {
    let credentials = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, rest) = credentials.split_once(' ')?;
    let rest = rest.trim();
    let key = if scheme.eq_ignore_ascii_case("basic") {
        let bytes = STANDARD.decode(rest).or_else(|_| STANDARD_NO_PAD.decode(rest)).ok()?;
        let mut user = String::from_utf8(bytes).ok()?;
        // Some SDKs omit the colon before the empty password.
        if let Some(colon) = user.find(':') {
            user.truncate(colon);
        }
        user
    } else if scheme.eq_ignore_ascii_case("bearer") {
        rest.to_owned()
    } else {
        return None;
    };
    (!key.is_empty()).then_some(key)
}

/// The key in a body: `writeKey` at its top level.
pub(super) fn in_body(body: &Value<'_>) -> Option<String> {
    let key = body.as_object().and_then(|body: &Object<'_>| body.get(PROPERTY))?.as_str()?;
    (!key.is_empty()).then(|| key.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().expect("a header value"))])
    }

    #[test]
    fn the_key_is_read_from_basic_and_bearer() {
        let key = |value: &str| in_headers(&header(value));
        for basic in ["key:", "key", "key:password", "key:a:b"] {
            assert_eq!(key(&format!("Basic {}", STANDARD.encode(basic))).as_deref(), Some("key"));
            assert_eq!(
                key(&format!("basic  {}", STANDARD_NO_PAD.encode(basic))).as_deref(),
                Some("key")
            );
        }
        assert_eq!(key("Bearer key").as_deref(), Some("key"));
        for none in
            ["Basic", "Basic !!", "Basic Og==", "Bearer ", "Digest key", "key", "Basic /w=="]
        {
            assert_eq!(key(none), None, "{none}");
        }
    }
}

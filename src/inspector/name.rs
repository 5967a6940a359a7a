//! The name of an inspector, a part of its URL.

use std::sync::Arc;

const NAME_BYTES: usize = 64;

/// An inspector's name: 1 to 64 lower-case letters, digits, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct InspectorName(Arc<str>);

impl InspectorName {
    /// Parses a name; `None` when it is invalid.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let is_allowed = |byte: u8| is_alphanumeric(byte) || byte == b'-' || byte == b'_';
        ((1..=NAME_BYTES).contains(&text.len()) && text.bytes().all(is_allowed))
            .then(|| Self(text.into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_bounded_and_plain() {
        for text in ["a", "orders-2_x", &"x".repeat(64)] {
            assert!(InspectorName::parse(text).is_some(), "{text}");
        }
        for text in ["", "A", "a/b", "a.b", "é", "<script>", "a b", &"x".repeat(65)] {
            assert!(InspectorName::parse(text).is_none(), "{text}");
        }
    }
}

//! What is wrong with the text of a secret: traces of how it was copied, and a shared secret that is too
//! short. Messages never quote it.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

use crate::domain::invisible::first_invisible;

/// The shortest shared secret, in bytes: of its text, or of the key that its base64 encodes.
pub(super) const MIN_SHARED_SECRET: usize = 8;
/// Prefix of a Standard Webhooks secret.
const ENCODED_PREFIX: &str = "whsec_";

/// Accepts base64 with and without padding.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The traces of copying at the ends of a secret, which a receiver's copy would not have.
pub(super) fn edge_fault(secret: &str) -> Option<&'static str> {
    blank_fault(secret).or_else(|| {
        let is_quote = |char: char| "\"'`\u{2018}\u{2019}\u{201c}\u{201d}".contains(char);
        let is_quoted = secret.starts_with(is_quote) || secret.ends_with(is_quote);
        is_quoted.then_some("begins or ends with a quotation mark: leave quotes out")
    })
}

/// The same without quotes, which some secrets have.
pub(super) fn blank_fault(secret: &str) -> Option<&'static str> {
    let is_invisible = |char: char| {
        let shows_nothing = || first_invisible(char.encode_utf8(&mut [0; 4])).is_some();
        char.is_whitespace() || char.is_control() || shows_nothing()
    };
    if secret.starts_with(['\u{feff}', '\u{fffe}']) || secret.ends_with('\u{feff}') {
        Some("begins with a byte order mark (BOM): save it without one")
    } else if secret.starts_with(['\n', '\r']) || secret.ends_with(['\n', '\r']) {
        Some("begins or ends with a line break: leave it out")
    } else if secret.starts_with(is_invisible) || secret.ends_with(is_invisible) {
        Some("begins or ends with a space or an invisible character: leave it out")
    } else {
        None
    }
}

/// What is wrong with a shared secret of any length.
pub(super) fn shared_secret_fault(secret: &str) -> Option<&'static str> {
    edge_fault(secret).or_else(|| {
        let encoded = secret.strip_prefix(ENCODED_PREFIX)?;
        match LENIENT.decode(encoded) {
            Ok(key) if !key.is_empty() => None,
            Ok(_) | Err(_) => Some("starts with whsec_, so base64 should follow"),
        }
    })
}

/// What is wrong with a shared secret, its length included.
pub(super) fn strong_secret_fault(secret: &str) -> Option<&'static str> {
    shared_secret_fault(secret).or_else(|| {
        let decoded = secret.strip_prefix(ENCODED_PREFIX).and_then(|it| LENIENT.decode(it).ok());
        let length = decoded.map_or(secret.len(), |key| key.len());
        (length < MIN_SHARED_SECRET).then_some(
            "is shorter than 8 bytes, so signatures could be forged: take a longer one, or accept \
             it with --weak (allow_weak_secret)",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_of_copying_are_named() {
        for (secret, word) in [
            ("long-enough\n", "line break"),
            ("long-enough\r\n", "line break"),
            ("\nlong-enough", "line break"),
            ("long-enough ", "space"),
            (" long-enough", "space"),
            ("long-enough\t", "space"),
            ("long-enough\u{a0}", "space"),
            ("long-enough\u{200b}", "invisible"),
            ("\u{ad}long-enough", "invisible"),
            ("long-enough\u{180e}", "invisible"),
            ("long-enough\u{200d}", "invisible"),
            ("long-enough\0", "invisible"),
            ("\u{7f}long-enough", "invisible"),
            ("\u{feff}long-enough", "byte order mark"),
            ("\"long-enough\"", "quotation mark"),
            ("'long-enough'", "quotation mark"),
            ("long-enough'", "quotation mark"),
            ("\u{201c}long-enough\u{201d}", "quotation mark"),
        ] {
            let fault = strong_secret_fault(secret).unwrap_or_default();
            assert!(fault.contains(word), "{secret:?}: {fault}");
            assert_eq!(Some(fault), shared_secret_fault(secret), "weak or not");
        }
        assert_eq!(strong_secret_fault("with \"quotes\" and spaces inside."), None);
    }

    #[test]
    fn whsec_secrets_are_taken_with_and_without_padding() {
        for good in
            ["whsec_AAECAwQFBgc=", "whsec_AAECAwQFBgc", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
        {
            assert_eq!(strong_secret_fault(good), None, "{good}");
        }
        for bad in ["whsec_", "whsec_%", "whsec_A", "whsec_AAECAwQFBgc=="] {
            assert!(shared_secret_fault(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn a_short_shared_secret_needs_to_be_accepted() {
        for short in ["abc123", "1234567", "whsec_AAECAw=="] {
            let fault = strong_secret_fault(short).unwrap_or_default();
            assert!(fault.contains("--weak"), "{short}: {fault}");
            assert_eq!(shared_secret_fault(short), None);
        }
        assert_eq!(strong_secret_fault("12345678"), None);
    }
}

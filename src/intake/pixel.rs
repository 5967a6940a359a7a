//! An event in the URL of an image, as pages and mails without scripts send it: `data` is the base64 of its JSON.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use http::Uri;

use super::response::IntakeError;

/// Padding is often left out.
const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
    .with_decode_padding_mode(DecodePaddingMode::Indifferent)
    .with_decode_allow_trailing_bits(true);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);

/// The message in a query.
pub(super) fn message(uri: &Uri) -> Result<Bytes, IntakeError> {
    let query = uri.query().unwrap_or_default().as_bytes();
    let data = form_urlencoded::parse(query).find(|(key, _)| key == "data");
    let (_, data) = data.filter(|(_, data)| !data.is_empty()).ok_or(IntakeError::NoData)?;
    // A plus sign that was not escaped reads as a space; some senders use the URL's alphabet.
    let standard: String = data
        .chars()
        .map(|char| match char {
            ' ' | '-' => '+',
            '_' => '/',
            char => char,
        })
        .collect();
    STANDARD.decode(standard).map(Bytes::from).map_err(IntakeError::Data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_is_read_in_either_alphabet_with_and_without_padding() {
        // The message needs both of the characters in which the alphabets differ.
        let json = "{\"event\":\"~~~???>>>\",\"userId\":\"ü\"}";
        let standard = base64::engine::general_purpose::STANDARD.encode(json);
        assert!(standard.contains('/') || standard.contains('+'), "{standard}");
        let url_safe = base64::engine::general_purpose::URL_SAFE.encode(json);
        let escaped: String = form_urlencoded::byte_serialize(standard.as_bytes()).collect();
        let all = [standard.clone(), standard.trim_end_matches('=').to_owned(), url_safe, escaped];
        for data in all {
            let uri: Uri = format!("/v1/pixel/track?x=1&data={data}").parse().expect("a URI");
            assert_eq!(&message(&uri).expect("base64")[..], json.as_bytes(), "{data}");
        }
    }

    #[test]
    fn missing_and_malformed_data_is_refused() {
        let of = |uri: &'static str| message(&Uri::from_static(uri));
        for uri in ["/v1/pixel/track", "/v1/pixel/track?data=", "/v1/pixel/track?date=e30="] {
            assert!(matches!(of(uri), Err(IntakeError::NoData)), "{uri}");
        }
        assert!(matches!(of("/v1/pixel/track?data=%7B%7D"), Err(IntakeError::Data(_))));
    }
}

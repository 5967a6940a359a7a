//! The vectors: data and event in, body and signature out, byte for byte.

use http::HeaderMap;
use postrider::json;
use postrider::sender::{SignedContent, Signer};
use secrecy::SecretString;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::request;

#[derive(Deserialize)]
struct Vector<'v> {
    data: Value,
    #[serde(borrow)]
    event: &'v RawValue,
    shared_secret: String,
    body: String,
    x_signature: String,
}

#[test]
fn every_vector_renders_byte_for_byte_with_its_signature() {
    let mut seen = 0;
    for line in include_str!("../vectors/mapping.jsonl").lines() {
        let vector: Vector<'_> = serde_json::from_str(line).unwrap();
        let rendered = request(json!({"data": vector.data}), vector.event.get()).unwrap();
        assert_eq!(std::str::from_utf8(&rendered.body).unwrap(), vector.body, "{line}");
        let mut headers = HeaderMap::new();
        Signer::new(&[SecretString::from(vector.shared_secret)]).sign(
            &mut headers,
            &SignedContent {
                webhook_id: "dlv_1",
                timestamp_s: 0,
                body: &rendered.body,
                first_event: rendered.signed.as_deref(),
            },
        );
        assert_eq!(headers["x-signature"], vector.x_signature, "{line}");
        seen += 1;
    }
    assert_eq!(seen, 200);
}

#[test]
fn the_whole_event_is_the_body_when_there_is_no_data() {
    for line in include_str!("../vectors/mapping.jsonl").lines() {
        let vector: Vector<'_> = serde_json::from_str(line).unwrap();
        let rendered = request(json!({}), vector.event.get()).unwrap();
        let event = json::parse(vector.event.get().as_bytes()).unwrap();
        assert_eq!(rendered.body, json::to_string(&event));
    }
}

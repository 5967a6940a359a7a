//! Signatures as receivers see them, and the reference vectors.

use http::HeaderMap;
use postrider::sender::{
    SignedContent, SignedRequest, Signer, verify_standard, verify_x_signature,
};
use secrecy::SecretString;
use serde_json::Value;

use super::{post, sender};
use crate::support::receiver::{Behaviour, Receiver};

const VECTORS: &str = include_str!("../vectors/signature.jsonl");

fn field<'a>(case: &'a Value, name: &str) -> &'a str {
    case[name].as_str().unwrap()
}

fn signed_headers(secrets: &[SecretString], message: &SignedContent<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    Signer::new(secrets).sign(&mut headers, message);
    headers
}

fn x_signature_case(case: &Value) {
    let secret = SecretString::from(field(case, "secret"));
    let text = field(case, "signed_text").as_bytes();
    let message =
        SignedContent { webhook_id: "evt_1", timestamp_s: 0, body: b"[]", first_event: Some(text) };
    let headers = signed_headers(std::slice::from_ref(&secret), &message);
    assert_eq!(headers["x-signature"], field(case, "expect"), "{case}");
    assert!(verify_x_signature(&secret, text, field(case, "expect")), "{case}");
}

fn webhook_signature_case(case: &Value) {
    let secret = SecretString::from(field(case, "secret"));
    let message = SignedContent {
        webhook_id: field(case, "webhook-id"),
        timestamp_s: case["webhook-timestamp"].as_i64().unwrap(),
        body: field(case, "body").as_bytes(),
        first_event: Some(b""),
    };
    let headers = signed_headers(std::slice::from_ref(&secret), &message);
    assert_eq!(headers["webhook-signature"], field(case, "expect"), "{case}");
    let (id, at) = (message.webhook_id, message.timestamp_s);
    assert!(verify_standard(&secret, id, at, message.body, field(case, "expect")), "{case}");
}

#[test]
fn all_reference_vectors_verify() {
    let mut kinds = [0, 0];
    for line in VECTORS.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        match field(&case, "kind") {
            "x-signature" => {
                x_signature_case(&case);
                kinds[0] += 1;
            }
            "webhook-signature" => {
                webhook_signature_case(&case);
                kinds[1] += 1;
            }
            other => panic!("unknown kind of vector: {other}"),
        }
    }
    assert_eq!(kinds, [4, 1]);
}

#[tokio::test]
async fn signatures_verify_with_both_secrets_during_rotation() {
    let receiver = Receiver::start(Behaviour::ok()).await;
    let (fresh, old) = (SecretString::from("fresh"), SecretString::from("whsec_b2xkIHNlY3JldA=="));
    let mut request: SignedRequest = post(&receiver.url("/"));
    let body = request.body.clone();
    let message = SignedContent {
        webhook_id: "dlv_1",
        timestamp_s: 1_700_000_000,
        body: &body,
        first_event: Some(&body),
    };
    Signer::new(&[fresh.clone(), old.clone()]).sign(&mut request.headers, &message);
    sender().send(request).await;

    let arrived = &receiver.wait_for(1).await[0];
    assert_eq!(arrived.header("webhook-id"), Some("dlv_1"));
    let at = arrived.header("webhook-timestamp").unwrap().parse().unwrap();
    let standard = arrived.header("webhook-signature").unwrap();
    assert_eq!(standard.split(' ').count(), 2);
    for secret in [&fresh, &old] {
        assert!(verify_standard(secret, "dlv_1", at, &arrived.body, standard));
    }
    assert!(verify_x_signature(&fresh, &arrived.body, arrived.header("x-signature").unwrap()));
}

//! To come.
#![expect(missing_docs, reason = "to come")]

use crate::domain::attempt::Outcome;
use crate::domain::mapping::Method;
use bytes::Bytes;
use http::HeaderMap;
use secrecy::SecretString;
use std::time::Duration;

#[derive(Debug)]
pub struct Signer;

impl Signer {
    #[must_use]
    pub fn new(_secrets: &[SecretString]) -> Self {
        Self
    }
    pub fn sign(&self, _headers: &mut HeaderMap, _message: &Signed<'_>) {}
}
pub struct Signed<'a> {
    pub webhook_id: &'a str,
    pub timestamp_s: i64,
    pub body: &'a [u8],
    pub first_event: &'a [u8],
}
pub struct Sender;
impl Sender {
    pub async fn send(&self, _request: Outgoing) -> Exchange {
        std::future::pending().await
    }
    pub fn user_agent(&self) -> &http::HeaderValue {
        unreachable!()
    }
}
pub struct Outgoing {
    pub method: Method,
    pub url: url::Url,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub timeout: Duration,
}
pub struct Exchange {
    pub outcome: Outcome,
    pub status: Option<u16>,
    pub error: Option<String>,
    pub retry_after: Option<Duration>,
    pub duration: Duration,
    pub response_headers: String,
    pub response_body: Bytes,
    pub response_truncated: bool,
}
#[must_use]
pub fn masked_headers(_headers: &HeaderMap) -> String {
    String::new()
}

//! Responses of the tracking API. Success is always the same bytes; a refusal has a status, a code for
//! programs and a message with the problem, its position and the remedy.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;

use super::limits::{
    MAX_BATCH_MESSAGES, MAX_ENVELOPE_BYTES, MAX_MERGED_BYTES, MAX_MESSAGE_BYTES, MAX_REQUEST_BYTES,
};
use crate::domain::source_limiter::LimitReached;
use crate::json::ParseError;
use crate::store::StoreError;

/// An I/O error while a body was read.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Why a request was refused; nothing of it was stored.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntakeError {
    #[error("there is no such endpoint: see /v1/track, /v1/identify, /v1/batch and the like")]
    NotFound,
    #[error("this endpoint accepts {accepted} only")]
    Method { accepted: Method },
    #[error(
        "the request has no write key: give it as the user name of Basic authentication, as a \
         bearer token, or as writeKey in the body"
    )]
    NoWriteKey,
    #[error("no source has this write key")]
    UnknownWriteKey,
    #[error("the source of this write key is disabled")]
    SourceDisabled,
    #[error("the content-encoding should be gzip, deflate or none")]
    Encoding,
    #[error("the body cannot be decompressed as its content-encoding says")]
    Compressed(#[source] std::io::Error),
    #[error("the query has no data: give the event as the base64 of its JSON")]
    NoData,
    #[error("data is not base64")]
    Data(#[source] base64::DecodeError),
    #[error("the body is larger than {MAX_REQUEST_BYTES} bytes: send smaller batches")]
    RequestTooLarge,
    #[error("the event has {bytes} bytes, more than the {MAX_MESSAGE_BYTES} it may have")]
    MessageTooLarge { bytes: usize },
    #[error(
        "batch[{index}] has {bytes} bytes, more than the {MAX_MESSAGE_BYTES} an event may have; \
         nothing of the batch was accepted"
    )]
    ItemTooLarge { index: usize, bytes: usize },
    #[error("the batch has {count} events, more than the {MAX_BATCH_MESSAGES} it may have")]
    TooManyMessages { count: usize },
    #[error(
        "context, integrations and sentAt of the batch have {bytes} bytes, more than the \
         {MAX_ENVELOPE_BYTES} they may have"
    )]
    EnvelopeTooLarge { bytes: usize },
    #[error(
        "context and integrations of the batch, merged into each of its {count} events, make more \
         than {MAX_MERGED_BYTES} bytes: send smaller batches"
    )]
    MergedTooLarge { count: usize },
    #[error("the body is not JSON: {0} (offset {offset})", offset = .0.offset)]
    Json(#[source] ParseError),
    #[error("timed out while reading the body")]
    SlowBody,
    #[error("the connection broke while reading the body")]
    BrokenBody(#[source] BodyError),
    #[error("the service is overloaded: retry")]
    Overloaded,
    #[error("{}", limit_text(.0))]
    Limited(LimitReached),
    #[error("the disk is full: no events are accepted until space is freed")]
    DiskFull,
    #[error("the outbox is not available: retry")]
    Unavailable(#[source] Option<StoreError>),
}

impl From<StoreError> for IntakeError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full => Self::DiskFull,
            StoreError::Overloaded => Self::Overloaded,
            other @ (StoreError::Database { .. }
            | StoreError::Unreachable { .. }
            | StoreError::Closed
            | StoreError::Conflict
            | StoreError::Foreign { .. }) => Self::Unavailable(Some(other)),
        }
    }
}

impl IntakeError {
    /// The HTTP status and the error code.
    pub(super) const fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::Method { .. } => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::NoWriteKey => (StatusCode::UNAUTHORIZED, "write_key_missing"),
            Self::UnknownWriteKey => (StatusCode::UNAUTHORIZED, "write_key_unknown"),
            Self::SourceDisabled => (StatusCode::FORBIDDEN, "source_disabled"),
            Self::Encoding => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_encoding"),
            Self::Compressed(_) => (StatusCode::BAD_REQUEST, "invalid_compression"),
            Self::NoData | Self::Data(_) => (StatusCode::BAD_REQUEST, "invalid_data"),
            Self::RequestTooLarge
            | Self::MessageTooLarge { .. }
            | Self::ItemTooLarge { .. }
            | Self::EnvelopeTooLarge { .. }
            | Self::MergedTooLarge { .. } => (StatusCode::BAD_REQUEST, "too_large"),
            Self::TooManyMessages { .. } => (StatusCode::BAD_REQUEST, "too_many_events"),
            Self::Json(_) => (StatusCode::BAD_REQUEST, "invalid_json"),
            // Not 408, for which most SDKs drop the batch.
            Self::SlowBody => (StatusCode::SERVICE_UNAVAILABLE, "timeout"),
            Self::BrokenBody(_) => (StatusCode::BAD_REQUEST, "incomplete_body"),
            Self::Overloaded => (StatusCode::TOO_MANY_REQUESTS, "overloaded"),
            Self::Limited(LimitReached::Rate { .. }) => {
                (StatusCode::TOO_MANY_REQUESTS, "rate_limited")
            }
            Self::Limited(LimitReached::Quota { .. }) => {
                (StatusCode::TOO_MANY_REQUESTS, "quota_exceeded")
            }
            Self::DiskFull => (StatusCode::INSUFFICIENT_STORAGE, "disk_full"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        }
    }

    /// When to retry what was refused for a moment, in seconds.
    const fn retry_after_s(&self) -> u64 {
        let Self::Limited(reached) = self else { return 1 };
        match reached {
            LimitReached::Rate { retry_after_s, .. }
            | LimitReached::Quota { retry_after_s, .. } => *retry_after_s,
        }
    }

    /// Additional headers.
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Self::Method { accepted } = self {
            let allowed = if *accepted == Method::GET { "GET, OPTIONS" } else { "POST, OPTIONS" };
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        match self.status_and_code().0 {
            StatusCode::UNSUPPORTED_MEDIA_TYPE => {
                headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("gzip, deflate"));
            }
            // Not Basic: browsers would show a login dialog.
            StatusCode::UNAUTHORIZED => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after_s()));
            }
            StatusCode::INSUFFICIENT_STORAGE => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("30"));
            }
            _ => {}
        }
        headers
    }
}

fn limit_text(reached: &LimitReached) -> String {
    match reached {
        LimitReached::Rate { per_second, retry_after_s } => {
            format!("the source may send {per_second} events a second: retry in {retry_after_s} s")
        }
        LimitReached::Quota { quota, left, retry_after_s } => format!(
            "the source may send {quota} events a day (UTC), of which {left} are left: retry in \
             {retry_after_s} s"
        ),
    }
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// The response after the commit.
pub(super) fn success() -> Response {
    ([(CONTENT_TYPE, JSON)], Body::from(r#"{"success":true}"#)).into_response()
}

/// A transparent GIF of one pixel.
const PIXEL: &[u8] = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

/// The response to an event in a pixel's URL, after the commit.
pub(super) fn pixel() -> Response {
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("image/gif")),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    (headers, Body::from(PIXEL)).into_response()
}

impl IntoResponse for IntakeError {
    fn into_response(self) -> Response {
        #[derive(Serialize)]
        struct Error<'a> {
            success: bool,
            code: &'a str,
            message: String,
        }
        let (status, code) = self.status_and_code();
        let error = Error { success: false, code, message: self.to_string() };
        // Strings and a boolean always serialize.
        let body = serde_json::to_vec(&error).unwrap_or_default();
        (status, self.headers(), [(CONTENT_TYPE, JSON)], body).into_response()
    }
}

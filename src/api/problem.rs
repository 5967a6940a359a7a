//! Errors as HTTP: RFC 9457 problem details. A client error is reported in full, with the path of
//! each invalid field; an internal error is logged with its causes and returned without them.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::domain::auth::Forbidden;
use crate::domain::error_chain;
use crate::pipeline::FieldError;
use crate::service::ServiceError;
use crate::settings::secrets::SecretError;
use crate::store::StoreError;

/// Problem details (RFC 9457).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `status` and `code` identify the kind.
    #[serde(rename = "type")]
    #[schema(value_type = String)]
    pub kind: Box<str>,
    /// The reason phrase of the status.
    #[schema(value_type = String)]
    pub title: Box<str>,
    /// The HTTP status.
    pub status: u16,
    /// The machine-readable kind.
    #[schema(value_type = String)]
    pub code: Box<str>,
    /// The explanation, in one line.
    pub detail: String,
    /// The request: `urn:postrider:request:` and its `X-Request-Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub instance: Option<Box<str>>,
    /// The invalid fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FieldError>,
}

impl Problem {
    fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: "about:blank".into(),
            title: status.canonical_reason().unwrap_or_default().into(),
            status: status.as_u16(),
            code: code.into(),
            detail: detail.into(),
            instance: None,
            faults: Vec::new(),
        }
    }

    pub(super) fn no_token() -> Self {
        Self::unauthorized("a bearer token is required: Authorization: Bearer TOKEN")
    }

    pub(super) fn unauthorized(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", detail)
    }

    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", format!("there is no {what}"))
    }

    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed", detail)
    }

    /// An error of the HTTP framework.
    pub(super) fn of_status(status: StatusCode, words: &str) -> Self {
        let title = status.canonical_reason().unwrap_or("refused");
        let code = match status {
            StatusCode::BAD_REQUEST => "malformed",
            StatusCode::INTERNAL_SERVER_ERROR => "failed",
            _ => "refused",
        };
        Self::new(status, code, if words.is_empty() { title } else { words })
    }

    /// The same with the id of the request.
    pub(super) fn of_request(self, id: &str) -> Self {
        Self { instance: Some(format!("urn:postrider:request:{id}").into()), ..self }
    }

    pub(super) fn conflict(code: &str, detail: &str) -> Self {
        Self::new(StatusCode::CONFLICT, code, detail)
    }

    pub(super) fn unprocessable(code: &str, detail: &str) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail)
    }

    pub(super) fn not_json(given: &str) -> Self {
        let detail = format!("the body should be application/json, not {given:?}");
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "not_json", detail)
    }

    pub(super) fn too_many(quota: u32, reset_s: u64) -> Self {
        let detail = format!(
            "more than {quota} requests in a minute with this token: retry in {reset_s} s (the setting \
             api_requests_per_minute)"
        );
        Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_requests", detail)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("the body is larger than {limit} bytes");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", detail)
    }

    fn inside(error: &(dyn std::error::Error + 'static)) -> Self {
        tracing::error!(error = error_chain::display(error), "an API request failed");
        let detail = format!("{error}; see the log of the service");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", detail)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let text = error.to_string();
        match error {
            StoreError::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, "disk_full", text),
            StoreError::Overloaded => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "overloaded", text)
            }
            StoreError::Closed => Self::new(StatusCode::SERVICE_UNAVAILABLE, "closed", text),
            StoreError::Unreachable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unreachable", text)
            }
            StoreError::Conflict => Self::new(StatusCode::CONFLICT, "conflict", text),
            StoreError::Database { .. } | StoreError::Foreign { .. } => Self::inside(&error),
        }
    }
}

impl From<SecretError> for Problem {
    fn from(error: SecretError) -> Self {
        Self::inside(&error)
    }
}

impl From<Forbidden> for Problem {
    fn from(error: Forbidden) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", error.to_string())
    }
}

impl From<ServiceError> for Problem {
    fn from(refusal: ServiceError) -> Self {
        let detail = refusal.to_string();
        match refusal {
            ServiceError::Invalid(faults) => {
                Self { faults, ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid", detail) }
            }
            ServiceError::Malformed(_) => Self::malformed(detail),
            ServiceError::Forbidden(error) => error.into(),
            ServiceError::Missing(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            ServiceError::Conflict(_) => Self::new(StatusCode::CONFLICT, "conflict", detail),
            ServiceError::TooManyStreams(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "too_many_streams", detail)
            }
            ServiceError::Stale(_) => Self::new(StatusCode::PRECONDITION_FAILED, "stale", detail),
            ServiceError::NotActive(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "not_active", detail)
            }
            ServiceError::Store(error) => error.into(),
            ServiceError::Secret(error) => error.into(),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response.extensions_mut().insert(self);
        response
    }
}

pub(super) async fn no_such_path(uri: Uri) -> Problem {
    Problem::not_found(&format!("path {} in the admin API", uri.path()))
}

pub(super) async fn no_such_method(method: axum::http::Method, uri: Uri) -> Problem {
    let detail = format!("{} does not support {method}", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

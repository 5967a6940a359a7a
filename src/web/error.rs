//! The error of a handler: status, title and detail. `error_page` renders it. Input errors are shown in
//! full; internal errors keep their cause for the log.

use axum::http::StatusCode;

use crate::domain::auth::Forbidden;
use crate::pipeline::FieldError;
use crate::service::ServiceError;
use crate::settings::secrets::SecretError;
use crate::store::StoreError;

/// Why a handler has no page to return.
#[derive(Debug)]
pub(super) struct PageError {
    pub(super) status: StatusCode,
    pub(super) title: &'static str,
    pub(super) detail: String,
    pub(super) faults: Vec<FieldError>,
    /// The cause of an internal error, for the log only.
    pub(super) internal: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl PageError {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, title, detail: detail.into(), faults: Vec::new(), internal: None }
    }

    /// 404: `what` names the missing object, as in `delivery dlv_…`.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", format!("There is no {what}."))
    }

    /// 400: the request cannot be parsed.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Bad request", detail)
    }

    /// 405.
    pub(super) fn method_not_allowed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "Method not allowed", detail)
    }

    /// 409: the current state does not allow the request.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Conflict", detail)
    }

    /// 413.
    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("A form may have at most {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Too large", detail)
    }

    /// 401: no session.
    pub(super) fn unknown_caller() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Signed out", "Sign in and try again.")
    }

    /// 403: the CSRF check failed.
    pub(super) fn cross_site() -> Self {
        let detail = "This request came from another site and was not executed. If you sent it from this \
                      UI, set public_url to the address in your browser.";
        Self::new(StatusCode::FORBIDDEN, "Cross-site request refused", detail)
    }

    /// 500: the page shows the error without its causes; the log has them.
    fn internal(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let page_error = Self::new(status, "Internal error", sentence(&error.to_string()));
        Self { internal: Some(error), ..page_error }
    }
}

impl From<StoreError> for PageError {
    fn from(error: StoreError) -> Self {
        let text = sentence(&error.to_string());
        match error {
            StoreError::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, "Disk full", text),
            StoreError::Overloaded | StoreError::Closed | StoreError::Unreachable { .. } => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", text)
            }
            StoreError::Conflict => {
                Self::conflict("It was changed concurrently. Reload and try again.")
            }
            StoreError::Database { .. } | StoreError::Foreign { .. } => {
                Self::internal(Box::new(error))
            }
        }
    }
}

impl From<ServiceError> for PageError {
    fn from(refusal: ServiceError) -> Self {
        let text = sentence(&refusal.to_string());
        match refusal {
            ServiceError::Invalid(faults) => {
                let detail = "The request is invalid.";
                Self { faults, ..Self::malformed(detail) }
            }
            ServiceError::Malformed(_) => Self::malformed(text),
            ServiceError::Forbidden(error) => error.into(),
            ServiceError::Missing(what) => Self::not_found(&what),
            ServiceError::Conflict(_) => Self::conflict(text),
            ServiceError::Stale(_) => {
                Self::new(StatusCode::PRECONDITION_FAILED, "Edit conflict", text)
            }
            ServiceError::TooManyStreams(_) => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "Too many live streams", text)
            }
            ServiceError::NotActive(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Unavailable", text)
            }
            ServiceError::Store(error) => error.into(),
            ServiceError::Secret(error) => error.into(),
        }
    }
}

impl From<Forbidden> for PageError {
    fn from(error: Forbidden) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Forbidden", sentence(&error.to_string()))
    }
}

impl From<SecretError> for PageError {
    fn from(error: SecretError) -> Self {
        Self::internal(Box::new(error))
    }
}

impl From<askama::Error> for PageError {
    fn from(error: askama::Error) -> Self {
        Self::internal(Box::new(error))
    }
}

/// An error message as a sentence: capitalized, with a full stop.
fn sentence(message: &str) -> String {
    let mut chars = message.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

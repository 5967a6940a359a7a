//! Errors as pages. What a reader did wrong is told in full; what went wrong inside is logged with its
//! causes under a number that the page names, and told without them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use askama::Template;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use tower_http::csrf::ProtectionError;

use super::Web;
use super::shell::{Shell, page_with};
use crate::domain::auth::Forbidden;
use crate::domain::error_chain;
use crate::pipeline::Fault;
use crate::service::Refusal;
use crate::settings::secrets::SecretError;
use crate::store::StoreError;

/// Why there is no page.
#[derive(Debug)]
pub(super) struct Failure {
    status: StatusCode,
    title: &'static str,
    detail: String,
    faults: Vec<Fault>,
    inside: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Failure {
    fn new(status: StatusCode, title: &'static str, detail: impl Into<String>) -> Self {
        Self { status, title, detail: detail.into(), faults: Vec::new(), inside: None }
    }

    /// There is no such thing: `delivery dlv_…`.
    pub(super) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "Not found", format!("There is no {what}."))
    }

    /// The request could not be read.
    pub(super) fn malformed(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "Not understood", detail)
    }

    /// What was asked for does not go with how things stand.
    pub(super) fn conflict(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "Not as it was", detail)
    }

    pub(super) fn too_large(limit: usize) -> Self {
        let detail = format!("A form here takes at most {limit} bytes.");
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "Too large", detail)
    }

    /// Nobody is signed in where somebody has to be.
    pub(super) fn unknown_caller() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "Signed out", "Sign in, then do it again.")
    }

    /// A form sent by another site, or by a page of another.
    fn cross_site() -> Self {
        let detail = "This came from another site, so nothing was done. If you sent it from here, the \
                      service is reached by another name than it knows: set public_url to the address \
                      in your browser.";
        Self::new(StatusCode::FORBIDDEN, "Refused", detail)
    }

    fn inside(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        let failure = Self::new(status, "Something failed", capitalized(&error.to_string()));
        Self { inside: Some(error), ..failure }
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let text = capitalized(&error.to_string());
        match error {
            StoreError::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, "Disk full", text),
            StoreError::Overloaded | StoreError::Closed => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not now", text)
            }
            StoreError::Conflict => Self::conflict("It was changed meanwhile: look again."),
            StoreError::Database { .. } | StoreError::Foreign { .. } => {
                Self::inside(Box::new(error))
            }
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let text = capitalized(&refusal.to_string());
        match refusal {
            Refusal::Invalid(faults) => {
                let detail = "What was asked for is not right.";
                Self { faults, ..Self::malformed(detail) }
            }
            Refusal::Malformed(_) => Self::malformed(text),
            Refusal::Forbidden(error) => error.into(),
            Refusal::Missing(what) => Self::not_found(&what),
            Refusal::Conflict(_) => Self::conflict(text),
            Refusal::Stale(_) => {
                Self::new(StatusCode::PRECONDITION_FAILED, "Changed meanwhile", text)
            }
            Refusal::Busy(_) => Self::new(StatusCode::SERVICE_UNAVAILABLE, "Not now", text),
            Refusal::Store(error) => error.into(),
            Refusal::Secret(error) => error.into(),
        }
    }
}

impl From<Forbidden> for Failure {
    fn from(error: Forbidden) -> Self {
        Self::new(StatusCode::FORBIDDEN, "Not allowed", capitalized(&error.to_string()))
    }
}

impl From<SecretError> for Failure {
    fn from(error: SecretError) -> Self {
        Self::inside(Box::new(error))
    }
}

impl From<askama::Error> for Failure {
    fn from(error: askama::Error) -> Self {
        Self::inside(Box::new(error))
    }
}

/// Carries a failure out of the handlers to where the page of it is made.
#[derive(Clone)]
struct Carried(Arc<std::sync::Mutex<Option<Failure>>>);

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Carried(Arc::new(std::sync::Mutex::new(Some(self)))));
        response
    }
}

#[derive(Template)]
#[template(path = "failure.html")]
struct FailurePage {
    shell: Shell,
    status: u16,
    title: &'static str,
    detail: String,
    faults: Vec<Fault>,
    request_id: Option<String>,
}

#[derive(Template)]
#[template(path = "failure_bare.html")]
struct BareFailurePage {
    shell: Shell,
    status: u16,
    title: &'static str,
    detail: String,
    request_id: Option<String>,
}

/// The response, or the page of the failure that it carries.
pub(super) fn shown(web: &Web, shell: Shell, mut response: Response) -> Response {
    let extensions = response.extensions_mut();
    let carried = extensions.remove::<Carried>().and_then(|carried| {
        carried.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    });
    let refused = extensions.remove::<ProtectionError>().map(|_| Failure::cross_site());
    match carried.or(refused) {
        Some(failure) => {
            let mut page = render(web, shell, failure);
            // What the handler had to say beside the page, cookies above all, still holds.
            for (name, value) in response.headers() {
                if name == axum::http::header::SET_COOKIE {
                    page.headers_mut().append(name, value.clone());
                }
            }
            page
        }
        None => response,
    }
}

/// The page of a failure.
fn render(web: &Web, shell: Shell, failure: Failure) -> Response {
    let Failure { status, title, detail, faults, inside } = failure;
    let request_id = inside.map(|error| {
        let number = web.failures.fetch_add(1, Ordering::Relaxed);
        let id = format!("{:x}-{number}", web.service.started_at.as_seconds());
        tracing::error!(request_id = id, error = error_chain::display(&*error), "a page failed");
        id
    });
    let code = status.as_u16();
    let rendered = if shell.caller.is_some() {
        page_with(status, &FailurePage { shell, status: code, title, detail, faults, request_id })
    } else {
        page_with(status, &BareFailurePage { shell, status: code, title, detail, request_id })
    };
    rendered.unwrap_or_else(|failure| {
        tracing::error!(failure = failure.detail, "the page of a failure failed");
        status.into_response()
    })
}

/// Words of ours as a sentence.
fn capitalized(words: &str) -> String {
    let mut chars = words.chars();
    let first = chars.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}

pub(super) async fn no_such_page(uri: Uri) -> Failure {
    Failure::not_found(&format!("page {}", uri.path()))
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> Failure {
    let detail = format!("{} does not take {method}.", uri.path());
    Failure::new(StatusCode::METHOD_NOT_ALLOWED, "Not that way", detail)
}

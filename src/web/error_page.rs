//! Error pages: a handler's [`PageError`] rendered inside the layout. The cause of an internal error
//! goes to the log under a request id that the page shows.

use std::sync::{Arc, Mutex, PoisonError};

use askama::Template;
use axum::Json;
use axum::http::{Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;
use tower_http::csrf::ProtectionError;

use super::error::PageError;
use super::layout::{Layout, page_with};
use super::state::Web;
use crate::domain::error_chain;
use crate::pipeline::FieldError;

/// Carries the error from the handler to the middleware, which knows the layout.
#[derive(Clone)]
struct Carried(Arc<Mutex<Option<PageError>>>);

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(Carried(Arc::new(Mutex::new(Some(self)))));
        response
    }
}

#[derive(Template)]
#[template(path = "error.html")]
struct ErrorPage {
    layout: Layout,
    status: u16,
    title: &'static str,
    detail: String,
    faults: Vec<FieldError>,
    request_id: Option<String>,
}

#[derive(Template)]
#[template(path = "error_signed_out.html")]
struct SignedOutErrorPage {
    layout: Layout,
    status: u16,
    title: &'static str,
    detail: String,
    request_id: Option<String>,
}

/// Replaces a response that carries an error by the page of that error.
pub(super) fn apply(web: &Web, layout: Layout, mut response: Response) -> Response {
    let extensions = response.extensions_mut();
    let carried = extensions
        .remove::<Carried>()
        .and_then(|carried| carried.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    let refused = extensions.remove::<ProtectionError>().map(|_| PageError::cross_site());
    match carried.or(refused) {
        Some(error) => {
            let mut page = render(web, layout, error);
            // Cookies that the handler set still apply.
            for (name, value) in response.headers() {
                if name == header::SET_COOKIE {
                    page.headers_mut().append(name, value.clone());
                }
            }
            page
        }
        None => response,
    }
}

fn render(web: &Web, layout: Layout, error: PageError) -> Response {
    let PageError { status, title, detail, faults, internal } = error;
    let request_id = internal.map(|error| {
        let request_id = web.next_request_id();
        tracing::error!(request_id, error = error_chain::display(&*error), "a page failed");
        request_id
    });
    let code = status.as_u16();
    let rendered = if layout.caller.is_some() {
        page_with(status, &ErrorPage { layout, status: code, title, detail, faults, request_id })
    } else {
        page_with(status, &SignedOutErrorPage { layout, status: code, title, detail, request_id })
    };
    rendered.unwrap_or_else(|error| {
        tracing::error!(failure = error.detail, "the page of a failure failed");
        status.into_response()
    })
}

/// The answer under an unknown path: a page to a browser that follows a link, JSON as the tracking API's to what
/// sends something, such as an SDK with a wrong path.
pub(super) async fn no_such_page(method: Method, uri: Uri) -> Response {
    if matches!(method, Method::GET | Method::HEAD) {
        return PageError::not_found(&format!("page {}", uri.path())).into_response();
    }
    let message = "there is no such path: the tracking API is under /v1/, as in /v1/track and /v1/batch, the admin \
                   API under /api/v1/";
    let body = json!({"success": false, "code": "not_found", "message": message});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
}

pub(super) async fn no_such_method(method: Method, uri: Uri) -> PageError {
    PageError::method_not_allowed(format!("{} does not support {method}.", uri.path()))
}

//! The middleware around every page: it identifies the caller, builds the layout, renders errors and
//! carries flash messages over redirects.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;

use super::cookies::Name;
use super::error_page;
use super::flash::Flash;
use super::layout::Layout;
use super::state::Web;

/// Runs a request with its [`Layout`] as an extension.
pub(super) async fn layout(
    State(web): State<Arc<Web>>,
    mut request: Request,
    next: Next,
) -> Response {
    let secure = web.is_secure();
    let received = Name::Flash.read(request.headers(), secure);
    let layout = Layout {
        assets: web.assets.base(),
        caller: web.caller(&request),
        path: request.uri().path().to_owned(),
        flash: received.as_deref().and_then(Flash::of_cookie),
        now: web.now(),
    };
    request.extensions_mut().insert(layout.clone());
    let mut response = next.run(request).await;
    // A redirect does not show the message: it stays for the page that follows.
    let shown = response.status() != StatusCode::SEE_OTHER;
    if received.is_some() && shown {
        Name::Flash.clear(&mut response, secure);
    }
    if let Some(flash) = response.extensions_mut().remove::<Flash>() {
        Name::Flash.set(&mut response, secure, &flash.to_cookie());
    }
    error_page::apply(&web, layout, response)
}

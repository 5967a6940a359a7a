//! Pagination: the cursor of the next page, in the body and as a `Link` header (RFC 8288).

use axum::Json;
use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::openapi::BASE;
use crate::service::page::Page;

/// A page as a response.
#[derive(Debug)]
pub(super) struct Paged<T>(pub(super) Page<T>);

/// The cursor of the next page.
#[derive(Clone, Debug)]
struct NextPage(String);

impl<T: Serialize> IntoResponse for Paged<T> {
    fn into_response(self) -> Response {
        let next = self.0.next.clone().map(NextPage);
        let mut response = Json(self.0).into_response();
        if let Some(next) = next {
            response.extensions_mut().insert(next);
        }
        response
    }
}

/// Adds the `Link` header: the same query with the next cursor.
pub(super) async fn link(request: Request, next: Next) -> Response {
    let asked = request.uri().clone();
    let mut response = next.run(request).await;
    if let Some(NextPage(before)) = response.extensions_mut().remove::<NextPage>() {
        let query = asked.query().unwrap_or_default().as_bytes();
        let others = form_urlencoded::parse(query).filter(|(name, _)| name != "before");
        let mut next = form_urlencoded::Serializer::new(String::new());
        next.extend_pairs(others).append_pair("before", &before);
        let link = format!("<{BASE}{}?{}>; rel=\"next\"", asked.path(), next.finish());
        if let Ok(link) = HeaderValue::try_from(link) {
            response.headers_mut().insert(header::LINK, link);
        }
    }
    response
}

//! The API's description, as JSON.

use std::sync::Arc;

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use bytes::Bytes;
use utoipa::openapi::OpenApi;

use super::Api;

/// The routes that tell what the API is.
pub(super) fn routes(document: &OpenApi) -> Router<Arc<Api>> {
    let json = document.to_json().map(Bytes::from).map_err(|error| error.to_string());
    Router::new().route(
        "/openapi.json",
        get(|| async move {
            match json {
                Ok(json) => ([(header::CONTENT_TYPE, "application/json")], json).into_response(),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error).into_response(),
            }
        }),
    )
}

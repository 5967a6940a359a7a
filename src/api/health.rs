//! What machines ask without a token: alive, ready, and the metrics. None of it reads the database.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::Api;

/// Whether the process is alive.
#[utoipa::path(get, path = "/healthz", tag = "machines",
    responses((status = 200, description = "It is", body = String, content_type = "text/plain")))]
pub(super) async fn alive() -> &'static str {
    "ok\n"
}

/// Whether it takes and delivers events.
#[utoipa::path(get, path = "/readyz", tag = "machines",
    responses(
        (status = 200, description = "It does", body = String, content_type = "text/plain"),
        (status = 503, description = "Why not", body = String, content_type = "text/plain")))]
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Response {
    match api.service.not_ready() {
        None => "ready\n".into_response(),
        Some(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {why}\n")).into_response()
        }
    }
}

/// What is counted, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "machines",
    responses((status = 200, description = "OpenMetrics text", body = String,
        content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(api): State<Arc<Api>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let text = api.metrics.encode(&api.service.store.ledger());
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

//! The admin API: what an operator asks of a running service, under `/api/v1` with a bearer token,
//! and what machines ask without one (`/healthz`, `/readyz`, `/metrics`). One file per noun; errors
//! become HTTP in `problem` alone.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::{any, delete, get, post};

use crate::desk::Desk;
use crate::metrics::Metrics;

mod body;
pub mod connection;
mod deliveries;
mod events;
mod health;
mod inspectors;
mod jobs;
mod pipeline;
mod problem;
mod sse;
mod status;
mod test_sends;
mod token;
mod tokens;

pub use problem::Problem;

/// All that the handlers use.
#[derive(Debug)]
pub struct Api {
    /// What an operator can ask and do.
    pub desk: Arc<Desk>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

const CONNECT: &str = "/destinations/{source}/{destination}/connect";
const DISCONNECT: &str = "/destinations/{source}/{destination}/disconnect";

/// The routes of the admin API and of the machines' questions. It has no fallback of its own
/// outside `/api/v1`, so that it can be merged with other routes.
pub fn router(api: Arc<Api>) -> Router {
    let nouns = Router::new()
        .route("/pipeline", get(pipeline::show).post(pipeline::apply))
        .route(CONNECT, get(connection::show).post(connection::begin))
        .route(DISCONNECT, post(connection::disconnect))
        .route("/events", get(events::list))
        .route("/events/stream", get(events::stream))
        .route("/events/{id}", get(events::show))
        .route("/events/{id}/explain", get(events::explain))
        .route("/deliveries", get(deliveries::list))
        .route("/deliveries/{id}", get(deliveries::show))
        .route("/redrives", get(jobs::list_redrives).post(jobs::redrive))
        .route("/discards", get(jobs::list_discards).post(jobs::discard))
        .route("/jobs", get(jobs::list))
        .route("/jobs/{id}", get(jobs::show))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .route(
            "/mappings/{source}/{destination}/{mapping}/tests",
            get(test_sends::list).post(test_sends::test),
        )
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{name}", delete(tokens::revoke))
        .route("/inspectors", get(inspectors::list))
        .route(
            "/inspectors/{name}",
            get(inspectors::show).put(inspectors::set).delete(inspectors::forget),
        )
        .route("/inspectors/{name}/stream", get(inspectors::stream))
        .route("/status", get(status::show))
        .route("/doctor", post(status::doctor))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&api), token::authenticate));
    Router::new()
        .merge(inspect(&api))
        .nest("/api/v1", nouns)
        .route(connection::CALLBACK, get(connection::callback))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .with_state(api)
}

/// Where the inspectors take webhooks; nothing where the settings do not allow them.
fn inspect(api: &Api) -> Router<Arc<Api>> {
    let Some(inspectors) = &api.desk.inspectors else { return Router::new() };
    let clock = Arc::clone(&api.desk.clock);
    let body_timeout = Duration::from_millis(api.desk.settings.body_timeout_ms);
    let door = inspectors::Door::new(Arc::clone(inspectors), clock, body_timeout);
    Router::new()
        .route("/inspect/{name}", any(inspectors::take))
        .route("/inspect/{name}/{*below}", any(inspectors::take_below))
        .with_state(Arc::new(door))
}

//! The admin API: what an operator asks of a running service, under `/api/v1` with a bearer token,
//! and what machines ask without one (`/healthz`, `/readyz`, `/metrics`). One file per noun; errors
//! become HTTP in `problem` alone.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use crate::auth::Auth;
use crate::clock::{Clock, Timestamp};
use crate::config::Settings;
use crate::metrics::Metrics;
use crate::pipeline::Editor;
use crate::process::Process;
use crate::store::Store;

mod body;
pub mod connection;
pub mod deliveries;
pub mod events;
pub mod explain;
mod filter;
mod health;
pub mod jobs;
pub mod pipeline;
mod problem;
pub mod status;
pub mod test_sends;
mod token;

pub use problem::Problem;
pub use token::install_operator_token;

/// All that the handlers use.
pub struct Api {
    /// The store.
    pub store: Arc<dyn Store>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What changes the pipeline.
    pub editor: Arc<Editor>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The settings in force.
    pub settings: Settings,
    /// The process around.
    pub process: Arc<dyn Process>,
    /// What connects destinations.
    pub auth: Auth,
    /// Where authorization servers send browsers back to.
    pub callback_url: String,
    /// When the process started.
    pub started_at: Timestamp,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Api").field("started_at", &self.started_at).finish_non_exhaustive()
    }
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
        .route("/events/{id}", get(events::show))
        .route("/events/{id}/explain", get(explain::show))
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
        .route("/status", get(status::show))
        .route("/doctor", post(status::doctor))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&api), token::authenticate));
    Router::new()
        .nest("/api/v1", nouns)
        .route(connection::CALLBACK, get(connection::callback))
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(health::metrics))
        .with_state(api)
}

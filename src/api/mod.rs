//! The admin API under `/api/v1` with a bearer token, and the endpoints for machines without one
//! (`/healthz`, `/readyz`, `/metrics`). One file per noun; errors become HTTP in `problem` alone.

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::service::Service;
use crate::telemetry::metrics::Metrics;
use crate::telemetry::refusals::Refusals;

mod attempts;
mod audit;
mod authentication;
mod body;
pub mod connection;
mod dead_letters;
mod deliveries;
mod destinations;
mod docs;
mod events;
mod exports;
mod health;
mod idempotency;
mod inspectors;
mod jobs;
mod mappings;
mod openapi;
mod page;
mod pauses;
mod pipeline;
mod problem;
mod pruning;
mod query;
mod request_id;
mod resource;
mod sources;
mod statistics;
mod status;
mod test_sends;
mod tokens;

pub use problem::Problem;

/// The state of the handlers.
#[derive(Debug)]
pub struct Api {
    /// The operator's operations.
    pub service: Arc<Service>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Counts and logs failed authentications.
    pub refusals: Refusals,
}

/// The routes of the admin API and of the machine endpoints. There is no fallback outside
/// `/api/v1`, so that the router can be merged with others.
pub fn router(api: Arc<Api>) -> Router {
    let counter = Arc::new(request_id::Counter::default());
    let (nouns, _) = nouns().split_for_parts();
    let nouns = nouns
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(axum::middleware::from_fn(page::link))
        // Not for unknown paths: a sender with a wrong path must not take its write key for the fault.
        .route_layer(from_fn_with_state(Arc::clone(&api), idempotency::once))
        .route_layer(from_fn_with_state(Arc::clone(&api), authentication::authenticate))
        .layer(from_fn_with_state((Arc::clone(&api), counter), request_id::identify));
    let (machines, _) = machines().split_for_parts();
    Router::new()
        .nest(openapi::BASE, nouns)
        .merge(machines)
        .merge(inspectors::webhook_routes(&api.service))
        .merge(docs::routes(description))
        .with_state(api)
}

/// The OpenAPI document.
fn description() -> OpenApi {
    openapi::document(nouns().into_openapi(), machines().into_openapi())
}

/// The endpoints of the admin API. Each handler is routed here; its path, parameters and bodies are
/// declared beside it and become the OpenAPI document.
fn nouns() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(pipeline::show, pipeline::apply))
        .routes(routes!(sources::list, sources::create))
        .routes(routes!(sources::show, sources::replace, sources::patch, sources::remove))
        .routes(routes!(sources::rotate))
        .routes(routes!(destinations::list, destinations::create))
        .routes(routes!(
            destinations::show,
            destinations::replace,
            destinations::patch,
            destinations::remove
        ))
        .routes(routes!(destinations::rotate))
        .routes(routes!(mappings::list, mappings::create))
        .routes(routes!(mappings::show, mappings::replace, mappings::patch, mappings::remove))
        .routes(routes!(mappings::revisions))
        .routes(routes!(mappings::revision))
        .routes(routes!(mappings::compare))
        .routes(routes!(mappings::roll_back))
        .routes(routes!(connection::show, connection::begin))
        .routes(routes!(connection::disconnect))
        .routes(routes!(pauses::pause_destination))
        .routes(routes!(pauses::resume_destination))
        .routes(routes!(pauses::pause_mapping))
        .routes(routes!(pauses::resume_mapping))
        .routes(routes!(events::list))
        .routes(routes!(events::stream))
        .routes(routes!(exports::events))
        .routes(routes!(exports::deliveries))
        .routes(routes!(exports::attempts))
        .routes(routes!(events::show))
        .routes(routes!(events::explain))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::show))
        .routes(routes!(attempts::list))
        .routes(routes!(dead_letters::list))
        .routes(routes!(dead_letters::groups))
        .routes(routes!(statistics::show))
        .routes(routes!(statistics::health))
        .routes(routes!(jobs::list_redrives, jobs::redrive))
        .routes(routes!(jobs::list_discards, jobs::discard))
        .routes(routes!(jobs::list_backfills, jobs::backfill))
        .routes(routes!(jobs::list))
        .routes(routes!(jobs::show))
        .routes(routes!(jobs::cancel))
        .routes(routes!(test_sends::list, test_sends::test))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(audit::list))
        .routes(routes!(audit::verify))
        .routes(routes!(inspectors::list))
        .routes(routes!(inspectors::show, inspectors::set, inspectors::forget))
        .routes(routes!(inspectors::stream))
        .routes(routes!(pruning::prune))
        .routes(routes!(status::show))
        .routes(routes!(status::doctor))
}

/// The endpoints without a token.
fn machines() -> OpenApiRouter<Arc<Api>> {
    OpenApiRouter::new()
        .routes(routes!(connection::callback))
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
}

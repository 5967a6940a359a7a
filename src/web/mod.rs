//! The web UI: server-rendered pages of templates compiled into the binary. Every page works without
//! JavaScript; scripts only update it. This file owns the routes; `pipeline` has the pages of sources,
//! destinations and mappings.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

mod assets;
mod attention;
mod audit;
mod backfill;
mod badge;
mod chart;
mod cookies;
mod curl_command;
mod dead_letters;
mod deliveries;
mod delivery;
mod destination_health;
mod destinations;
mod doctor;
mod error;
mod error_page;
mod events;
mod exports;
mod flash;
mod form;
mod format;
mod highlighted_json;
mod inspectors;
mod jobs;
mod json_diff;
mod layout;
mod line_diff;
mod live;
mod middleware;
mod navigation;
mod overview;
mod pipeline;
mod role;
mod security;
mod sessions;
mod settings;
mod sign_in;
mod state;
mod time;
mod time_series;
mod tokens;
mod untrusted;

pub use state::{Web, WebParts};

/// The routes of the UI, with a fallback for unknown paths.
pub fn router(web: Arc<Web>) -> Router {
    let pages = Router::new()
        .route("/", get(overview::show))
        .route(live::PAGE, get(live::show))
        .route(live::STREAM, get(live::stream))
        .route(events::PATH, get(events::list))
        .route("/events/export", get(exports::events))
        .route("/events/{id}", get(events::show))
        .route(deliveries::PATH, get(deliveries::list))
        .route("/deliveries/export", get(exports::deliveries))
        .route("/deliveries/{id}", get(delivery::show))
        .route("/deliveries/{id}/redrive", post(delivery::redrive))
        .route("/deliveries/{id}/discard", post(delivery::discard))
        .route("/dead-letters", get(dead_letters::list))
        .route(destinations::PATH, get(destinations::list))
        .route("/audit", get(audit::list))
        .route("/jobs", get(jobs::list).post(jobs::create))
        .route("/jobs/new", get(jobs::new_form))
        .route("/jobs/{id}", get(jobs::show))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .route("/backfills", post(backfill::create))
        .route("/backfills/new", get(backfill::new_form))
        .merge(pipeline::routes())
        .route("/inspectors", get(inspectors::list))
        .route("/inspectors/{name}", get(inspectors::show).post(inspectors::save))
        .route("/inspectors/{name}/forget", post(inspectors::reset))
        .route("/inspectors/{name}/stream", get(inspectors::stream))
        .route("/tokens", get(tokens::list).post(tokens::create))
        .route("/tokens/{name}/revoke", post(tokens::revoke))
        .route("/settings", get(settings::show))
        .route("/doctor", get(doctor::show).post(doctor::run))
        .route("/sign-out", post(sign_in::sign_out))
        .layer(axum::middleware::from_fn(sign_in::require));
    let public = Router::new()
        .route("/sign-in", get(sign_in::form).post(sign_in::sign_in))
        .merge(pages)
        .method_not_allowed_fallback(error_page::no_such_method)
        .layer(security::csrf(web.service.settings.public_url.as_deref()))
        // An unknown path is not found, with a session or without, from this site or another.
        .fallback(error_page::no_such_page)
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&web), middleware::layout))
        .layer(axum::middleware::from_fn(security::headers));
    let assets =
        Router::new().route(assets::ROUTE, get(assets::serve)).with_state(Arc::clone(&web.assets));
    public.with_state(web).merge(assets)
}

//! The pages: what an operator sees and does in a browser. Rendered here, whole, from templates that
//! are part of the binary; a page works without scripts, which only keep it fresh. One file per noun;
//! `shell` is around every page, and errors become pages in `failure` alone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use axum::Router;
use axum::routing::{get, post};

use crate::domain::clock::Timestamp;
use crate::service::Service;
use crate::settings::Origin;

mod asset;
mod audit;
mod badge;
mod chart;
mod concern;
mod cookie;
mod curl;
mod dead_letters;
mod deliveries;
mod delivery;
mod destination;
mod diff;
mod difference;
mod doctor;
mod failure;
mod flow;
mod form;
mod guard;
mod inspectors;
mod jobs;
mod json;
mod live;
mod mapping;
mod menu;
mod moment;
mod overview;
mod revisions;
mod session;
mod settings;
mod setup;
mod shell;
mod source;
mod sources;
mod text;
mod tokens;

use asset::Assets;
use session::Sessions;

/// What the pages are made with.
pub struct WebParts {
    /// What is asked and done with.
    pub service: Arc<Service>,
    /// Where each setting came from, by name.
    pub origins: BTreeMap<&'static str, Origin>,
}

/// All that the handlers use.
pub struct Web {
    service: Arc<Service>,
    origins: BTreeMap<&'static str, Origin>,
    assets: Assets,
    sessions: Sessions,
    /// Requests that failed inside so far: numbers the next one for the reader and the log.
    failures: AtomicU64,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Web").finish_non_exhaustive()
    }
}

impl Web {
    /// Pages of a service made of these parts.
    #[must_use]
    pub fn new(parts: WebParts) -> Self {
        Self {
            service: parts.service,
            origins: parts.origins,
            assets: Assets::new(),
            sessions: Sessions::default(),
            failures: AtomicU64::new(0),
        }
    }

    fn now(&self) -> Timestamp {
        self.service.clock.now()
    }

    /// Whether browsers come over TLS: then cookies are kept from going any other way.
    fn is_secure(&self) -> bool {
        let url = self.service.settings.public_url.as_deref();
        url.is_some_and(|url| url.starts_with("https://"))
    }
}

/// The routes of what is set up: a noun below the one that it belongs to.
fn set_up() -> Router<Arc<Web>> {
    const SOURCE: &str = "/sources/{source}";
    const DESTINATION: &str = "/sources/{source}/destinations/{destination}";
    const MAPPING: &str = "/sources/{source}/destinations/{destination}/mappings/{mapping}";
    let pages = Router::new()
        .route("/sources", get(sources::list).post(sources::make))
        .route(SOURCE, get(source::show))
        .route(&format!("{SOURCE}/new"), get(destination::ask).post(destination::make))
        .route(DESTINATION, get(destination::show).post(destination::save))
        .route(&format!("{DESTINATION}/connect"), post(destination::connect))
        .route(&format!("{DESTINATION}/disconnect"), post(destination::disconnect))
        .route(&format!("{DESTINATION}/new"), get(mapping::ask).post(mapping::make))
        .route(&format!("{DESTINATION}/new/preview"), post(mapping::preview_new))
        .route(MAPPING, get(mapping::show).post(mapping::save))
        .route(&format!("{MAPPING}/preview"), post(mapping::preview))
        .route(&format!("{MAPPING}/test"), post(mapping::test))
        .route(&format!("{MAPPING}/revisions"), get(revisions::list))
        .route(&format!("{MAPPING}/roll-back"), post(revisions::roll_back));
    [SOURCE, DESTINATION, MAPPING].into_iter().fold(pages, |pages, one| {
        pages
            .route(&format!("{one}/enabled"), post(setup::switch))
            .route(&format!("{one}/rotate"), post(setup::rotate))
            .route(&format!("{one}/remove"), post(setup::remove))
    })
}

/// The routes of the pages. Their fallback answers every path that nothing else takes.
pub fn router(web: Arc<Web>) -> Router {
    let pages = Router::new()
        .route("/", get(overview::show))
        .route(live::PAGE, get(live::show))
        .route(live::STREAM, get(live::stream))
        .route(deliveries::LIST, get(deliveries::list))
        .route("/deliveries/{id}", get(delivery::show))
        .route("/deliveries/{id}/redrive", post(delivery::redrive))
        .route("/deliveries/{id}/discard", post(delivery::discard))
        .route("/dead-letters", get(dead_letters::list))
        .route("/audit", get(audit::list))
        .route("/jobs", get(jobs::list).post(jobs::make))
        .route("/jobs/new", get(jobs::ask))
        .route("/jobs/{id}", get(jobs::show))
        .route("/jobs/{id}/cancel", post(jobs::cancel))
        .merge(set_up())
        .route("/inspectors", get(inspectors::list))
        .route("/inspectors/{name}", get(inspectors::show).post(inspectors::set))
        .route("/inspectors/{name}/forget", post(inspectors::forget))
        .route("/inspectors/{name}/stream", get(inspectors::stream))
        .route("/tokens", get(tokens::list).post(tokens::make))
        .route("/tokens/{name}/revoke", post(tokens::revoke))
        .route("/settings", get(settings::show))
        .route("/doctor", get(doctor::ask).post(doctor::examine))
        .route("/sign-out", post(session::sign_out))
        .fallback(failure::no_such_page)
        .layer(axum::middleware::from_fn(session::require));
    let open = Router::new()
        .route("/sign-in", get(session::ask).post(session::sign_in))
        .merge(pages)
        .method_not_allowed_fallback(failure::no_such_method)
        .layer(guard::cross_site(web.service.settings.public_url.as_deref()))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&web), shell::surround))
        .layer(axum::middleware::from_fn(guard::headers));
    Router::new().route(asset::ROUTE, get(asset::serve)).merge(open).with_state(web)
}

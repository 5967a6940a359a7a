//! The pages of the pipeline: sources, destinations, mappings and their revisions. This file owns their
//! routes; `editor` has the handlers that all nouns share.

use std::sync::Arc;

use axum::Router;
use axum::routing::{get, post};

use super::state::Web;

mod destination;
mod destination_form;
mod editor;
mod mapping;
mod mapping_form;
mod pausing;
mod preview;
mod revisions;
mod secret;
mod source;
mod sources;
mod target;

use destination_form::DestinationForm;
use mapping_form::MappingForm;
use sources::SourceForm;

/// The routes; each noun is nested below its parent.
pub(super) fn routes() -> Router<Arc<Web>> {
    const SOURCE: &str = "/sources/{source}";
    const DESTINATION: &str = "/sources/{source}/destinations/{destination}";
    const MAPPING: &str = "/sources/{source}/destinations/{destination}/mappings/{mapping}";
    let pages = Router::new()
        .route("/sources", get(sources::list).post(editor::create::<SourceForm>))
        .route(SOURCE, get(editor::show::<SourceForm>).post(editor::save::<SourceForm>))
        .route(
            &format!("{SOURCE}/new"),
            get(editor::new_form::<DestinationForm>).post(editor::create::<DestinationForm>),
        )
        .route(
            DESTINATION,
            get(editor::show::<DestinationForm>).post(editor::save::<DestinationForm>),
        )
        .route(&format!("{DESTINATION}/connect"), post(destination::connect))
        .route(&format!("{DESTINATION}/disconnect"), post(destination::disconnect))
        .route(&format!("{DESTINATION}/primary"), post(editor::make_primary))
        .route(
            &format!("{DESTINATION}/new"),
            get(editor::new_form::<MappingForm>).post(editor::create::<MappingForm>),
        )
        .route(&format!("{DESTINATION}/new/preview"), post(mapping::preview_new))
        .route(MAPPING, get(editor::show::<MappingForm>).post(editor::save::<MappingForm>))
        .route(&format!("{MAPPING}/preview"), post(mapping::preview))
        .route(&format!("{MAPPING}/test"), post(mapping::send_test))
        .route(&format!("{MAPPING}/revisions"), get(revisions::list))
        .route(&format!("{MAPPING}/roll-back"), post(revisions::roll_back));
    [SOURCE, DESTINATION, MAPPING].into_iter().fold(pages, |pages, noun| {
        pages
            .route(&format!("{noun}/enabled"), post(editor::set_enabled))
            .route(&format!("{noun}/rotate"), post(editor::rotate_secret))
            .route(&format!("{noun}/remove"), post(editor::delete))
            .route(&format!("{noun}/pause"), post(pausing::pause))
            .route(&format!("{noun}/resume"), post(pausing::resume))
    })
}

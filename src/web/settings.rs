//! The effective settings and the origin of each; secrets are not shown.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::error::PageError;
use super::layout::{Layout, page};
use super::state::Web;
use crate::settings::{Origin, SETTINGS};

/// A setting.
struct Row {
    name: &'static str,
    help: &'static str,
    value: String,
    origin: String,
    is_default: bool,
    variable: String,
}

#[derive(Template)]
#[template(path = "settings.html")]
struct SettingsPage {
    layout: Layout,
    rows: Vec<Row>,
}

pub(super) async fn show(
    State(web): State<Arc<Web>>,
    layout: Layout,
) -> Result<Response, PageError> {
    let rows = SETTINGS.iter().map(|setting| {
        let origin = web.origins.get(setting.name).unwrap_or(&Origin::Default);
        Row {
            name: setting.name,
            help: setting.help,
            value: setting.show(&web.service.settings),
            origin: origin.to_string(),
            is_default: matches!(origin, Origin::Default | Origin::BesideDatabase),
            variable: setting.variable(),
        }
    });
    page(&SettingsPage { rows: rows.collect(), layout })
}

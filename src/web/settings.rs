//! The effective settings and the origin of each; secrets are not shown.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::error::PageError;
use super::layout::{Layout, page};
use super::state::Web;
use crate::settings::{Origin, SETTINGS};

/// In place of paths and networks, which describe the machine.
const FOR_ADMINS: &str = "(shown to admins)";

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
    let shows_all = layout.may_administer();
    let rows = SETTINGS.iter().map(|setting| {
        let origin = web.origins.get(setting.name).unwrap_or(&Origin::Default);
        Row {
            name: setting.name,
            help: setting.help,
            value: if shows_all || !setting.is_internal() {
                setting.show(&web.service.settings)
            } else {
                FOR_ADMINS.to_owned()
            },
            origin: match origin {
                Origin::File { line, .. } if !shows_all => format!("settings file, line {line}"),
                Origin::Default
                | Origin::BesideDatabase
                | Origin::File { .. }
                | Origin::Variable(_)
                | Origin::Flag(_) => origin.to_string(),
            },
            is_default: matches!(origin, Origin::Default | Origin::BesideDatabase),
            variable: setting.variable(),
        }
    });
    page(&SettingsPage { rows: rows.collect(), layout })
}

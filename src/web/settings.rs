//! The settings in force and where each came from; secrets are not shown.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Web;
use super::failure::Failure;
use super::shell::{Shell, page};
use crate::settings::{Origin, SETTINGS};

struct Line {
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
    shell: Shell,
    lines: Vec<Line>,
}

pub(super) async fn show(State(web): State<Arc<Web>>, shell: Shell) -> Result<Response, Failure> {
    let lines = SETTINGS.iter().map(|setting| {
        let origin = web.origins.get(setting.name).unwrap_or(&Origin::Default);
        Line {
            name: setting.name,
            help: setting.help,
            value: setting.show(&web.service.settings),
            origin: origin.to_string(),
            is_default: matches!(origin, Origin::Default | Origin::BesideDatabase),
            variable: setting.variable(),
        }
    });
    page(&SettingsPage { lines: lines.collect(), shell })
}

//! The overview: how the service does, and what needs attention first.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Web;
use super::failure::Failure;
use super::shell::{Shell, page};

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    shell: Shell,
    delivered: u64,
}

pub(super) async fn show(State(web): State<Arc<Web>>, shell: Shell) -> Result<Response, Failure> {
    let ledger = web.desk.store.ledger();
    page(&OverviewPage { shell, delivered: ledger.delivered })
}

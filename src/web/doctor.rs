//! The integrity check of the store, run on request, and its results.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::badge::Badge;
use super::error::PageError;
use super::layout::{Layout, page};
use super::role::Require;
use super::state::Web;
use super::untrusted::Untrusted;
use crate::domain::auth::Operator;

/// The result of one check.
struct Row {
    check: String,
    result: Badge,
    detail: Untrusted,
}

#[derive(Template)]
#[template(path = "doctor.html")]
struct DoctorPage {
    layout: Layout,
    /// None before a run.
    rows: Option<Vec<Row>>,
    all_passed: bool,
}

pub(super) async fn show(layout: Layout) -> Result<Response, PageError> {
    page(&DoctorPage { layout, rows: None, all_passed: false })
}

pub(super) async fn run(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(operator): Require<Operator>,
) -> Result<Response, PageError> {
    let findings = web.service.doctor(&operator).await?;
    let all_passed = findings.iter().all(|finding| finding.ok);
    let rows = findings.into_iter().map(|finding| Row {
        check: finding.check.replace('_', " "),
        result: if finding.ok { Badge::new("passed", "good") } else { Badge::new("failed", "bad") },
        detail: finding.detail.into(),
    });
    page(&DoctorPage { rows: Some(rows.collect()), all_passed, layout })
}

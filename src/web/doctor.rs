//! The doctor: an examination of the whole store, run when it is asked for, and what it found.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::Web;
use super::badge::Badge;
use super::failure::Failure;
use super::shell::{As, Shell, page};
use super::text::Outside;
use crate::domain::auth::Operator;

struct Line {
    check: String,
    result: Badge,
    detail: Outside,
}

#[derive(Template)]
#[template(path = "doctor.html")]
struct DoctorPage {
    shell: Shell,
    /// None before an examination.
    lines: Option<Vec<Line>>,
    all_well: bool,
}

pub(super) async fn ask(shell: Shell) -> Result<Response, Failure> {
    page(&DoctorPage { shell, lines: None, all_well: false })
}

pub(super) async fn examine(
    State(web): State<Arc<Web>>,
    shell: Shell,
    As(operator): As<Operator>,
) -> Result<Response, Failure> {
    let findings = web.service.doctor(&operator).await?;
    let all_well = findings.iter().all(|finding| finding.ok);
    let lines = findings.into_iter().map(|finding| Line {
        check: finding.check.replace('_', " "),
        result: if finding.ok { Badge::new("well", "good") } else { Badge::new("look", "bad") },
        detail: finding.detail.into(),
    });
    page(&DoctorPage { lines: Some(lines.collect()), all_well, shell })
}

//! The buttons that pause and resume a destination or a mapping.

use std::sync::Arc;

use axum::extract::State;

use super::super::error::PageError;
use super::super::flash::{Flash, SeeOther};
use super::super::form::Form;
use super::super::format::{at_least, counted};
use super::super::role::Require;
use super::super::state::Web;
use super::target::{PathTarget, path};
use crate::domain::auth::Operator;
use crate::service::pauses::{PauseRequest, PausedView, ResumeRequest};

fn waiting(view: &PausedView) -> String {
    if view.more {
        format!("{} deliveries wait", at_least(view.waiting, true))
    } else {
        format!("{} waiting", counted(view.waiting, "delivery", "deliveries"))
    }
}

/// Pauses.
pub(super) async fn pause(
    State(web): State<Arc<Web>>,
    Require(operator): Require<Operator>,
    PathTarget(target): PathTarget,
    form: Form,
) -> Result<SeeOther, PageError> {
    let note = form.non_empty("note").map(ToOwned::to_owned);
    let view = web.service.pause(&operator, &target, PauseRequest { note }).await?;
    let words = format!("{} is paused: {}.", target.name(), waiting(&view));
    Ok(SeeOther::to(path(&target)).with_flash(Flash::good(words)))
}

/// Resumes, at once or at a rate.
pub(super) async fn resume(
    State(web): State<Arc<Web>>,
    Require(operator): Require<Operator>,
    PathTarget(target): PathTarget,
    form: Form,
) -> Result<SeeOther, PageError> {
    let rate = form.non_empty("rate_per_second").map(str::parse::<u32>).transpose();
    let Ok(rate_per_second) = rate else {
        let flash = Flash::warn("The rate should be a whole number of deliveries a second.");
        return Ok(SeeOther::to(path(&target)).with_flash(flash));
    };
    let request = ResumeRequest { rate_per_second, note: None };
    let view = web.service.resume(&operator, &target, request).await?;
    let rate = rate_per_second.map(|rate| format!(" at {rate} deliveries a second"));
    let (name, rate) = (target.name(), rate.unwrap_or_default());
    let words = format!("{name} is resumed{rate}: {}.", waiting(&view));
    Ok(SeeOther::to(path(&target)).with_flash(Flash::good(words)))
}

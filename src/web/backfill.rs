//! The page that creates a backfill of a mapping: it counts before the job is created.

use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};

use super::error::PageError;
use super::flash::SeeOther;
use super::form::{Form, Query};
use super::format::at_least;
use super::layout::{Layout, page_with};
use super::role::Require;
use super::state::Web;
use super::untrusted::Untrusted;
use crate::domain::auth::Operator;
use crate::pipeline::FieldError;
use crate::service::ServiceError;
use crate::service::backfills::{AskedBackfill, BackfillRequest};

/// The fields that show their own faults.
const FIELDS: [&str; 4] = ["since", "until", "rate_per_second", "note"];

#[derive(Template)]
#[template(path = "backfill_new.html")]
struct NewBackfillPage {
    layout: Layout,
    mapping: Untrusted,
    /// The mapping as text, for the hidden field.
    hidden: String,
    form: Form,
    faults: Vec<FieldError>,
    /// How many events match, once they are counted.
    matched: Option<String>,
}

impl NewBackfillPage {
    fn again(&self) -> bool {
        self.form.text("again") == "true"
    }
}

/// The request of a form; a rate that is no number becomes a fault.
fn request(form: &mut Form, dry_run: bool) -> BackfillRequest {
    let rate = form.non_empty("rate_per_second").map(str::parse::<u32>).transpose();
    if rate.is_err() {
        form.fault("rate_per_second", "should be a whole number, or empty for no limit");
    }
    BackfillRequest {
        mapping: form.text("mapping").to_owned(),
        since: form.text("since").trim().to_owned(),
        until: form.non_empty("until").map(|until| until.trim().to_owned()),
        again: form.text("again") == "true",
        dry_run,
        rate_per_second: rate.unwrap_or_default(),
        note: form.non_empty("note").map(ToOwned::to_owned),
    }
}

/// The form; with a time range, how many events match.
pub(super) async fn new_form(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(operator): Require<Operator>,
    Query(form): Query,
) -> Result<Response, PageError> {
    preview(&web, layout, &operator, form).await
}

async fn preview(
    web: &Web,
    layout: Layout,
    operator: &Operator,
    mut form: Form,
) -> Result<Response, PageError> {
    let mut matched = None;
    if form.non_empty("since").is_some() && form.is_valid() {
        let request = request(&mut form, true);
        match web.service.backfill(operator, request).await {
            Ok(AskedBackfill::Preview(preview)) => {
                matched = Some(at_least(preview.matched, preview.more));
            }
            Ok(AskedBackfill::Made(_)) => {
                return Err(PageError::conflict("The job was created already."));
            }
            Err(ServiceError::Invalid(faults)) => form.add_faults(faults),
            Err(refusal) => return Err(refusal.into()),
        }
    }
    let status = if form.is_valid() { StatusCode::OK } else { StatusCode::BAD_REQUEST };
    let page = NewBackfillPage {
        mapping: form.text("mapping").into(),
        hidden: form.text("mapping").to_owned(),
        faults: form.other_faults(&FIELDS),
        matched,
        form,
        layout,
    };
    page_with(status, &page)
}

pub(super) async fn create(
    State(web): State<Arc<Web>>,
    layout: Layout,
    Require(operator): Require<Operator>,
    mut form: Form,
) -> Result<Response, PageError> {
    let request = request(&mut form, false);
    if !form.is_valid() {
        return preview(&web, layout, &operator, form).await;
    }
    match web.service.backfill(&operator, request).await {
        Ok(AskedBackfill::Made(job)) => {
            Ok(SeeOther::to(format!("/jobs/{}", job.id)).into_response())
        }
        Ok(AskedBackfill::Preview(_)) => Err(PageError::conflict("The job was not created.")),
        Err(ServiceError::Invalid(faults)) => {
            form.add_faults(faults);
            preview(&web, layout, &operator, form).await
        }
        Err(refusal) => Err(refusal.into()),
    }
}

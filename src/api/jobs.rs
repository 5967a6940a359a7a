//! Jobs: redrives and discards, asked for by filter or by ids, with a dry run that changes nothing.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use super::body::Body;
use super::deliveries::{DeliveryView, Page};
use super::filter;
use super::token::Actor;
use super::{Api, Problem};
use crate::domain::id::{DeliveryId, JobId, Noun, PublicId};
use crate::domain::job::{Job, JobAction, JobState, NewJob};
use crate::pipeline::Fault;

/// Jobs in a list at most.
const LISTED: u32 = 200;
/// Deliveries in a dry run's sample.
const SAMPLE: u32 = 10;
/// Deliveries that can be named by id in one job.
const MAX_IDS: usize = 1_000;
/// The longest note, in characters.
const MAX_NOTE: usize = 1_000;

/// A job that is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JobRequest {
    /// These deliveries.
    pub ids: Vec<String>,
    /// Deliveries that meet all of these conditions, named as in the list of deliveries.
    pub filter: std::collections::BTreeMap<String, String>,
    /// Only tell what it would do.
    pub dry_run: bool,
    /// Deliveries a second at most.
    pub rate_per_second: Option<u32>,
    /// Why, for the record.
    pub note: Option<String>,
}

/// What a job would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PreviewView {
    /// How many deliveries match.
    pub matched: u64,
    /// The first of them.
    pub sample: Vec<DeliveryView>,
}

/// A job as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct JobView {
    /// Its id.
    pub id: String,
    /// `redrive` or `discard`.
    pub action: String,
    /// Where it stands.
    pub state: String,
    /// Deliveries that matched when it was made.
    pub matched: u64,
    /// Deliveries acted on so far.
    pub done: u64,
    /// Deliveries a second at most.
    pub rate_per_second: Option<u32>,
    /// Who asked.
    pub actor: String,
    /// Why.
    pub note: Option<String>,
    /// When it was made.
    pub created_at: String,
    /// When it was done or cancelled.
    pub finished_at: Option<String>,
}

impl JobView {
    fn of(job: &Job) -> Self {
        Self {
            id: PublicId::new(Noun::Job, job.created_at, job.id.0).to_string(),
            action: job.asked.action.as_str().to_owned(),
            state: job.state.as_str().to_owned(),
            matched: job.matched,
            done: job.done,
            rate_per_second: job.asked.rate_per_second,
            actor: job.asked.actor.clone(),
            note: job.asked.note.clone(),
            created_at: job.created_at.to_iso(),
            finished_at: job.finished_at.map(crate::clock::Timestamp::to_iso),
        }
    }

    /// Whether it goes on.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == JobState::Running.as_str()
    }
}

pub(super) async fn redrive(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Body(request): Body<JobRequest>,
) -> Result<Response, Problem> {
    ask(&api, JobAction::Redrive, actor, request).await
}

pub(super) async fn discard(
    State(api): State<Arc<Api>>,
    Extension(actor): Extension<Actor>,
    Body(request): Body<JobRequest>,
) -> Result<Response, Problem> {
    ask(&api, JobAction::Discard, actor, request).await
}

async fn ask(
    api: &Api,
    action: JobAction,
    Actor(actor): Actor,
    request: JobRequest,
) -> Result<Response, Problem> {
    check(&request)?;
    let pipeline = api.store.pipeline().await?;
    let conditions: Vec<_> = request.filter.into_iter().collect();
    let filter = filter::job(&request.ids, &conditions, &pipeline)?;
    if let Some(state) = filter.state
        && !action.takes(state)
    {
        let message = format!("a {} does not take {} deliveries", action.as_str(), state.as_str());
        return Err(Problem::invalid(vec![Fault::new("filter.state", message)]));
    }
    known(api, &request.ids).await?;
    if request.dry_run {
        let preview = api.store.preview_job(action, filter, SAMPLE).await?;
        let sample = preview.sample.iter().map(|row| DeliveryView::of(row, &pipeline)).collect();
        return Ok(Json(PreviewView { matched: preview.matched, sample }).into_response());
    }
    let job = NewJob {
        action,
        filter,
        rate_per_second: request.rate_per_second,
        actor,
        note: request.note,
    };
    let job = api.store.create_job(job, api.clock.now()).await?;
    api.process.wake();
    Ok((StatusCode::ACCEPTED, Json(JobView::of(&job))).into_response())
}

/// An id of another database must not select one of ours with the same key.
async fn known(api: &Api, ids: &[String]) -> Result<(), Problem> {
    let mut faults = Vec::new();
    for (index, text) in ids.iter().enumerate() {
        let Ok(id) = PublicId::parse_as(text, Noun::Delivery) else { continue };
        let row = api.store.delivery(DeliveryId(id.key)).await?;
        if row.is_none_or(|row| row.delivery.accepted_at != id.created_at) {
            let message = format!("there is no delivery {text}");
            faults.push(Fault::new(format!("ids[{index}]"), message));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
}

fn check(request: &JobRequest) -> Result<(), Problem> {
    let mut faults = Vec::new();
    if request.ids.len() > MAX_IDS {
        faults.push(Fault::new("ids", format!("should be at most {MAX_IDS}; use a filter")));
    }
    if request.rate_per_second == Some(0) {
        faults
            .push(Fault::new("rate_per_second", "should be at least 1; leave it out for no limit"));
    }
    if request.note.as_ref().is_some_and(|note| note.chars().count() > MAX_NOTE) {
        faults.push(Fault::new("note", format!("should have at most {MAX_NOTE} characters")));
    }
    if faults.is_empty() { Ok(()) } else { Err(Problem::invalid(faults)) }
}

pub(super) async fn list(State(api): State<Arc<Api>>) -> Result<Json<Page<JobView>>, Problem> {
    listed(&api, |_| true).await
}

pub(super) async fn list_redrives(
    State(api): State<Arc<Api>>,
) -> Result<Json<Page<JobView>>, Problem> {
    listed(&api, |action| action == JobAction::Redrive).await
}

pub(super) async fn list_discards(
    State(api): State<Arc<Api>>,
) -> Result<Json<Page<JobView>>, Problem> {
    listed(&api, |action| action == JobAction::Discard).await
}

async fn listed(
    api: &Api,
    wanted: impl Fn(JobAction) -> bool,
) -> Result<Json<Page<JobView>>, Problem> {
    let jobs = api.store.jobs(LISTED).await?;
    let items = jobs.iter().filter(|job| wanted(job.asked.action)).map(JobView::of).collect();
    Ok(Json(Page { items, next: None }))
}

pub(super) async fn show(
    State(api): State<Arc<Api>>,
    Path(text): Path<String>,
) -> Result<Json<JobView>, Problem> {
    find(&api, &text).await.map(|job| Json(JobView::of(&job)))
}

pub(super) async fn cancel(
    State(api): State<Arc<Api>>,
    Path(text): Path<String>,
) -> Result<Json<JobView>, Problem> {
    let job = find(&api, &text).await?;
    let job = api.store.cancel_job(job.id, api.clock.now()).await?;
    job.map(|job| Json(JobView::of(&job))).ok_or_else(|| Problem::not_found(&format!("job {text}")))
}

async fn find(api: &Api, text: &str) -> Result<Job, Problem> {
    let id = PublicId::parse_as(text, Noun::Job)
        .map_err(|error| Problem::malformed(error.to_string()))?;
    let job = api.store.job(JobId(id.key)).await?;
    job.filter(|job| job.created_at == id.created_at)
        .ok_or_else(|| Problem::not_found(&format!("job {text}")))
}

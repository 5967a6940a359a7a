//! Jobs: redrives, discards and backfills; the first two selected by filter or by ids, with a dry run that changes nothing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deliveries::DeliveryView;
use super::filter::{self, destination_path, mapping_path};
use super::page::Page;
use super::scope::visible_destinations;
use super::shared_fields::{check_note, check_rate};
use super::{Condition, Service, ServiceError};
use crate::domain::auth::{Caller, Operator};
use crate::domain::clock::Timestamp;
use crate::domain::id::{DeliveryId, DestinationId, JobId, MappingId, Noun, PublicId, SourceId};
use crate::domain::job::{Job, JobAction, JobFilter, JobState, NewJob};
use crate::pipeline::FieldError;
use crate::store::Pipeline;

/// The size of a dry run's sample.
const SAMPLE: u32 = 10;
/// The maximum number of ids in one job.
const MAX_IDS: usize = 1_000;

/// A request for a job.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JobRequest {
    /// The deliveries, by id.
    #[schema(max_items = 1_000)]
    pub ids: Vec<String>,
    /// Deliveries that meet all of these conditions, as in the list of deliveries.
    pub filter: BTreeMap<String, String>,
    /// Whether to only count what the job would select.
    pub dry_run: bool,
    /// Rate limit, in deliveries per second.
    #[schema(minimum = 1)]
    pub rate_per_second: Option<u32>,
    /// The reason, for the audit log.
    #[schema(max_length = 1_000)]
    pub note: Option<String>,
}

/// The result of a dry run.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PreviewView {
    /// The number of matching deliveries, up to the limit of the count.
    pub matched: u64,
    /// Whether the count reached its limit.
    #[serde(default)]
    pub more: bool,
    /// A sample of the matches.
    pub sample: Vec<DeliveryView>,
}

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobView {
    /// Its id.
    pub id: String,
    /// `redrive`, `discard` or `backfill`.
    pub action: String,
    /// Its filter, as in the list of deliveries; empty for a job by ids.
    #[serde(default)]
    pub filter: BTreeMap<String, String>,
    /// The number of ids.
    #[serde(default)]
    pub named: usize,
    /// Its state.
    pub state: String,
    /// Deliveries that matched when it was created, up to the limit of the count.
    pub matched: u64,
    /// Whether that count reached its limit.
    #[serde(default)]
    pub more: bool,
    /// Deliveries processed so far.
    pub done: u64,
    /// Rate limit, in deliveries per second.
    pub rate_per_second: Option<u32>,
    /// The token that created it.
    pub actor: String,
    /// The reason.
    pub note: Option<String>,
    /// When it was created.
    pub created_at: String,
    /// When it finished or was cancelled.
    pub finished_at: Option<String>,
}

impl JobView {
    pub(super) fn of(job: &Job, pipeline: &Pipeline, event: Option<String>) -> Self {
        Self {
            id: public_id(job),
            action: job.spec.action.as_str().to_owned(),
            filter: words(&job.spec.filter, pipeline, event),
            named: job.spec.filter.delivery_ids.len(),
            state: job.state.as_str().to_owned(),
            matched: job.matched,
            more: job.more,
            done: job.done,
            rate_per_second: job.spec.rate_per_second,
            actor: job.spec.actor.clone(),
            note: job.spec.note.clone(),
            created_at: job.created_at.to_iso(),
            finished_at: job.finished_at.map(Timestamp::to_iso),
        }
    }

    /// Whether it is still running.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.state == JobState::Running.as_str()
    }
}

/// The result of a request for a job.
#[derive(Clone, Debug)]
pub enum Asked {
    /// A dry run.
    Preview(PreviewView),
    /// A created job, which runs in the background.
    Made(JobView),
}

impl Service {
    /// Creates a job, or dry-runs it.
    ///
    /// # Errors
    /// [`ServiceError`], with each error; no job is created then.
    pub async fn ask_job(
        &self,
        action: JobAction,
        operator: &Operator,
        request: JobRequest,
    ) -> Result<Asked, ServiceError> {
        check(&request)?;
        let pipeline = self.pipeline(operator).await?;
        let conditions: Vec<_> = request.filter.into_iter().collect();
        let conditions = filter::absolute(&conditions, self.clock.now());
        let mut filter = filter::job(&request.ids, &conditions, &pipeline)?;
        // The selection is limited to the caller's scope.
        filter.among = visible_destinations(operator, &pipeline);
        filter.asked_by = Some(operator.token_id);
        if let Some(state) = filter.state
            && !action.takes(state)
        {
            let message =
                format!("a {} does not select {} deliveries", action.as_str(), state.as_str());
            return Err(ServiceError::at("filter.state", message));
        }
        // Scope first: whether another destination's delivery exists is not told.
        self.within(operator, &request.ids, &filter).await?;
        self.known(&request.ids).await?;
        if !self.names_exist(operator, &conditions, &pipeline).await? {
            return Err(ServiceError::at("filter.event", "does not exist"));
        }
        if request.dry_run {
            let preview = self.store.preview_job(action, filter, SAMPLE).await?;
            let sample = preview
                .sample
                .iter()
                .map(|row| DeliveryView::of(row, &pipeline, &*self.clock))
                .collect();
            let (matched, more) = (preview.matched, preview.more);
            return Ok(Asked::Preview(PreviewView { matched, more, sample }));
        }
        let job = NewJob {
            action,
            filter,
            rate_per_second: request.rate_per_second,
            actor: operator.name.clone(),
            note: request.note,
        };
        let act = operator.act(self.clock.now()).noted(job.note.clone());
        let job = self.store.create_job(job, act).await?;
        self.node.wake();
        self.view_of_job(&job, &pipeline).await.map(Asked::Made)
    }

    /// A public id of another database must not select a row with the same key.
    async fn known(&self, ids: &[String]) -> Result<(), ServiceError> {
        let mut faults = Vec::new();
        for (index, text) in ids.iter().enumerate() {
            let Ok(id) = PublicId::parse_as(text, Noun::Delivery) else { continue };
            let row = self.store.delivery(DeliveryId(id.key)).await?;
            if row.is_none_or(|row| row.delivery.accepted_at != id.created_at) {
                let message = format!("there is no delivery {text}");
                faults.push(FieldError::new(format!("ids[{index}]"), message));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(ServiceError::Invalid(faults)) }
    }

    /// Every id must be within the caller's scope.
    async fn within(
        &self,
        operator: &Operator,
        ids: &[String],
        filter: &JobFilter,
    ) -> Result<(), ServiceError> {
        let Some(among) = &filter.among else { return Ok(()) };
        for text in ids {
            let Ok(id) = PublicId::parse_as(text, Noun::Delivery) else { continue };
            let row = self.store.delivery(DeliveryId(id.key)).await?;
            let is_within = row.is_some_and(|row| {
                row.delivery.accepted_at == id.created_at
                    && among.contains(&row.delivery.destination_id)
            });
            if !is_within {
                return operator.reaches_everything().map_err(ServiceError::from);
            }
        }
        Ok(())
    }

    /// A page of the jobs that match, newest first; only those with this action, if one is given.
    /// Jobs outside the caller's scope are left out: a page may hold fewer items than its limit.
    ///
    /// # Errors
    /// [`ServiceError`], with each condition that is not right.
    pub async fn jobs(
        &self,
        caller: &Caller,
        action: Option<JobAction>,
        conditions: &[Condition],
    ) -> Result<Page<JobView>, ServiceError> {
        let mut query = filter::jobs(conditions, action)?;
        let limit = query.limit as usize;
        // One row beyond the limit shows whether there is a next page.
        query.limit += 1;
        let jobs = self.store.jobs(query).await?;
        let pipeline = self.pipeline(caller).await?;
        let mut items = Vec::new();
        for job in jobs.iter().take(limit).filter(|job| sees(caller, job, &pipeline)) {
            items.push(self.view_of_job(job, &pipeline).await?);
        }
        let last = jobs.get(limit - 1).filter(|_| jobs.len() > limit);
        Ok(Page { items, next: last.map(public_id), looked_to: None })
    }

    /// A job by its id.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none.
    pub async fn job(&self, caller: &Caller, text: &str) -> Result<JobView, ServiceError> {
        let (job, pipeline) = self.find_job(caller, text).await?;
        self.view_of_job(&job, &pipeline).await
    }

    /// Cancels a job; what it has processed stays.
    ///
    /// # Errors
    /// [`ServiceError`] when there is none.
    pub async fn cancel_job(
        &self,
        operator: &Operator,
        text: &str,
    ) -> Result<JobView, ServiceError> {
        let (job, pipeline) = self.find_job(operator, text).await?;
        let job = self.store.cancel_job(job.id, operator.act(self.clock.now())).await?;
        let job = job.ok_or_else(|| ServiceError::Missing(format!("job {text}")))?;
        self.view_of_job(&job, &pipeline).await
    }

    async fn view_of_job(&self, job: &Job, pipeline: &Pipeline) -> Result<JobView, ServiceError> {
        let event = match job.spec.filter.event_id {
            None => None,
            Some(id) => Some(self.store.event(id).await?.map_or_else(removed, |stored| {
                PublicId::new(Noun::Event, stored.event.received_at, id.0).to_string()
            })),
        };
        Ok(JobView::of(job, pipeline, event))
    }

    async fn find_job(&self, caller: &Caller, text: &str) -> Result<(Job, Pipeline), ServiceError> {
        let id = PublicId::parse_as(text, Noun::Job)
            .map_err(|error| ServiceError::Malformed(error.to_string()))?;
        let job = self.store.job(JobId(id.key)).await?;
        let pipeline = self.pipeline(caller).await?;
        job.filter(|job| job.created_at == id.created_at)
            .filter(|job| sees(caller, job, &pipeline))
            .map(|job| (job, pipeline))
            .ok_or_else(|| ServiceError::Missing(format!("job {text}")))
    }
}

fn public_id(job: &Job) -> String {
    PublicId::new(Noun::Job, job.created_at, job.id.0).to_string()
}

/// Whether a job is visible to a caller: its own, or one within its scope.
fn sees(caller: &Caller, job: &Job, pipeline: &Pipeline) -> bool {
    let filter = &job.spec.filter;
    let covers = |id: &DestinationId| pipeline.destinations.iter().any(|it| it.id == *id);
    let has = |id: &MappingId| pipeline.mappings.iter().any(|it| it.id == *id);
    caller.scope.limits().is_none()
        || match filter.asked_by {
            Some(token_id) => token_id == caller.token_id,
            // A job from before the token was created is that of another token with its name.
            None => job.spec.actor == caller.name && job.created_at >= caller.created_at,
        }
        || filter.destination_id.as_ref().is_some_and(covers)
        || filter.mapping_id.as_ref().is_some_and(has)
        || filter.among.as_ref().is_some_and(|ids| ids.iter().all(covers))
}

fn removed() -> String {
    "removed since".to_owned()
}

/// A filter in the form of a request; removed resources are marked as such.
fn words(
    filter: &JobFilter,
    pipeline: &Pipeline,
    event_id: Option<String>,
) -> BTreeMap<String, String> {
    let path = |path: Vec<String>| if path.is_empty() { removed() } else { path.join("/") };
    let source = |id: SourceId| {
        let found = pipeline.sources.iter().find(|it| it.id == id);
        path(found.map(|it| it.name.clone()).into_iter().collect())
    };
    let event = &filter.event;
    let given = [
        ("state", filter.state.map(|it| it.as_str().to_owned())),
        ("reason", filter.reason.map(|it| it.as_str().to_owned())),
        ("outcome", filter.outcome.map(|it| it.as_str().to_owned())),
        ("status", filter.status.map(|it| it.to_string())),
        ("source", event.source_id.map(source)),
        ("destination", filter.destination_id.map(|id| path(destination_path(pipeline, id)))),
        ("mapping", filter.mapping_id.map(|id| path(mapping_path(pipeline, id)))),
        ("type", event.kind.map(|it| it.as_str().to_owned())),
        ("name", event.name.clone()),
        ("user_id", event.user_id.clone()),
        ("message_id", event.message_id.clone()),
        ("event", event_id),
        ("since", filter.accepted_from.map(Timestamp::to_iso)),
        ("until", filter.accepted_until.map(Timestamp::to_iso)),
        ("again", filter.again.then(|| "true".to_owned())),
    ];
    given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

fn check(request: &JobRequest) -> Result<(), ServiceError> {
    let mut faults = Vec::new();
    if request.ids.len() > MAX_IDS {
        faults.push(FieldError::new("ids", format!("should be at most {MAX_IDS}; use a filter")));
    }
    check_rate(request.rate_per_second, &mut faults);
    check_note(request.note.as_deref(), &mut faults);
    if faults.is_empty() { Ok(()) } else { Err(ServiceError::Invalid(faults)) }
}

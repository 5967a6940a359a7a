//! Jobs: redrives and discards, asked for by filter or by ids, with a dry run that changes nothing.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::deliveries::{DeliveryView, Page};
use super::filter;
use super::{Desk, Refusal};
use crate::domain::access::{Caller, Operator};
use crate::domain::id::{DeliveryId, DestinationId, JobId, Noun, PublicId};
use crate::domain::job::{Job, JobAction, JobFilter, JobState, NewJob};
use crate::pipeline::Fault;
use crate::store::Pipeline;

/// Jobs in a list at most.
const LISTED: u32 = 200;
/// Deliveries in a dry run's sample.
const SAMPLE: u32 = 10;
/// Deliveries that can be named by id in one job.
const MAX_IDS: usize = 1_000;
/// The longest note, in characters.
const MAX_NOTE: usize = 1_000;

/// A job that is asked for.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
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
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct PreviewView {
    /// How many deliveries match.
    pub matched: u64,
    /// The first of them.
    pub sample: Vec<DeliveryView>,
}

/// A job as it is shown.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
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

/// What came of asking for a job.
#[derive(Clone, Debug)]
pub enum Asked {
    /// It would do this.
    Preview(PreviewView),
    /// It was made, and goes on by itself.
    Made(JobView),
}

impl Desk {
    /// Makes a job, or only tells what it would do.
    ///
    /// # Errors
    /// [`Refusal`], with each fault; nothing is made then.
    pub async fn ask_job(
        &self,
        action: JobAction,
        operator: &Operator,
        request: JobRequest,
    ) -> Result<Asked, Refusal> {
        check(&request)?;
        let pipeline = self.pipeline(operator).await?;
        let conditions: Vec<_> = request.filter.into_iter().collect();
        let filter = filter::job(&request.ids, &conditions, &pipeline)?;
        if let Some(state) = filter.state
            && !action.takes(state)
        {
            let message =
                format!("a {} does not take {} deliveries", action.as_str(), state.as_str());
            return Err(Refusal::at("filter.state", message));
        }
        self.known(&request.ids).await?;
        self.within(operator, &filter, &pipeline).await?;
        if request.dry_run {
            let preview = self.store.preview_job(action, filter, SAMPLE).await?;
            let sample =
                preview.sample.iter().map(|row| DeliveryView::of(row, &pipeline)).collect();
            return Ok(Asked::Preview(PreviewView { matched: preview.matched, sample }));
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
        self.process.wake();
        Ok(Asked::Made(JobView::of(&job)))
    }

    /// An id of another database must not select one of ours with the same key.
    async fn known(&self, ids: &[String]) -> Result<(), Refusal> {
        let mut faults = Vec::new();
        for (index, text) in ids.iter().enumerate() {
            let Ok(id) = PublicId::parse_as(text, Noun::Delivery) else { continue };
            let row = self.store.delivery(DeliveryId(id.key)).await?;
            if row.is_none_or(|row| row.delivery.accepted_at != id.created_at) {
                let message = format!("there is no delivery {text}");
                faults.push(Fault::new(format!("ids[{index}]"), message));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(Refusal::Invalid(faults)) }
    }

    /// A token that is limited to destinations selects nothing else: its jobs name deliveries of
    /// them, or one of them.
    async fn within(
        &self,
        operator: &Operator,
        filter: &JobFilter,
        pipeline: &Pipeline,
    ) -> Result<(), Refusal> {
        if operator.scope.limits().is_none() || names_one(filter, pipeline) {
            return Ok(());
        }
        if filter.delivery_ids.is_empty() {
            return operator.reaches_everything().map_err(Refusal::from);
        }
        for id in &filter.delivery_ids {
            let row = self.store.delivery(*id).await?;
            if !row.is_some_and(|row| covers(pipeline, row.delivery.destination_id)) {
                return operator.reaches_everything().map_err(Refusal::from);
            }
        }
        Ok(())
    }

    /// Jobs, newest first; only those with this action, if one is given.
    ///
    /// # Errors
    /// [`Refusal`] when the store fails.
    pub async fn jobs(
        &self,
        caller: &Caller,
        action: Option<JobAction>,
    ) -> Result<Page<JobView>, Refusal> {
        let jobs = self.store.jobs(LISTED).await?;
        let pipeline = self.pipeline(caller).await?;
        let wanted = jobs
            .iter()
            .filter(|job| action.is_none_or(|it| it == job.asked.action))
            .filter(|job| sees(caller, &job.asked, &pipeline));
        Ok(Page::whole(wanted.map(JobView::of).collect()))
    }

    /// A job by its id.
    ///
    /// # Errors
    /// [`Refusal`] when there is none.
    pub async fn job(&self, caller: &Caller, text: &str) -> Result<JobView, Refusal> {
        self.find_job(caller, text).await.map(|job| JobView::of(&job))
    }

    /// Stops a job where it is.
    ///
    /// # Errors
    /// [`Refusal`] when there is none.
    pub async fn cancel_job(&self, operator: &Operator, text: &str) -> Result<JobView, Refusal> {
        let job = self.find_job(operator, text).await?;
        let job = self.store.cancel_job(job.id, operator.act(self.clock.now())).await?;
        job.map(|job| JobView::of(&job)).ok_or_else(|| Refusal::Missing(format!("job {text}")))
    }

    async fn find_job(&self, caller: &Caller, text: &str) -> Result<Job, Refusal> {
        let id = PublicId::parse_as(text, Noun::Job)
            .map_err(|error| Refusal::Malformed(error.to_string()))?;
        let job = self.store.job(JobId(id.key)).await?;
        let pipeline = self.pipeline(caller).await?;
        job.filter(|job| job.created_at == id.created_at)
            .filter(|job| sees(caller, &job.asked, &pipeline))
            .ok_or_else(|| Refusal::Missing(format!("job {text}")))
    }
}

fn covers(pipeline: &Pipeline, id: DestinationId) -> bool {
    pipeline.destinations.iter().any(|it| it.id == id)
}

/// Whether a filter names a destination, or a mapping of one, that is in this narrowed pipeline.
fn names_one(filter: &JobFilter, pipeline: &Pipeline) -> bool {
    filter.destination_id.is_some_and(|id| covers(pipeline, id))
        || filter.mapping_id.is_some_and(|id| pipeline.mappings.iter().any(|it| it.id == id))
}

/// Whether a caller may see a job: one of its own, or of its destinations only.
fn sees(caller: &Caller, asked: &NewJob, pipeline: &Pipeline) -> bool {
    caller.scope.limits().is_none()
        || asked.actor == caller.name
        || names_one(&asked.filter, pipeline)
}

fn check(request: &JobRequest) -> Result<(), Refusal> {
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
    if faults.is_empty() { Ok(()) } else { Err(Refusal::Invalid(faults)) }
}

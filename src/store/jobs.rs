//! Redrive and discard jobs: durable, resumable, one batch of deliveries a commit.

use async_trait::async_trait;

use super::StoreError;
use super::history::{Cursor, DeliveryRow};
use crate::domain::auth::Act;
use crate::domain::clock::Moment;
use crate::domain::id::{JobId, MappingId};
use crate::domain::job::{Job, JobAction, JobFilter, JobState, NewJob};

/// Filter of a list of jobs; all conditions apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobQuery {
    /// With this action.
    pub action: Option<JobAction>,
    /// In this state.
    pub state: Option<JobState>,
    /// Below this position: the cursor of keyset pagination, newest first.
    pub before: Option<Cursor>,
    /// At most so many.
    pub limit: u32,
}

/// The dry run of a job.
#[derive(Clone, Debug)]
pub struct JobPreview {
    /// How many deliveries match, up to a bound.
    pub matched: u64,
    /// Whether the count reached its bound.
    pub more: bool,
    /// The first matches.
    pub sample: Vec<DeliveryRow>,
}

/// The result of one step of a job.
#[derive(Clone, Debug)]
pub struct JobStep {
    /// The job after the step.
    pub job: Job,
    /// Mappings with deliveries that the step made due.
    pub due: Vec<MappingId>,
}

/// Jobs over many deliveries.
#[async_trait]
pub trait Jobs: Send + Sync + 'static {
    /// What a job with this filter would match; changes nothing.
    async fn preview_job(
        &self,
        action: JobAction,
        filter: JobFilter,
        sample: u32,
    ) -> Result<JobPreview, StoreError>;

    /// Creates a job. Its selection is fixed now, by a bound or a snapshot: deliveries that die later
    /// are not part of it.
    async fn create_job(&self, job: NewJob, act: Act) -> Result<Job, StoreError>;

    /// Advances a running job by at most `limit` deliveries; one commit writes them and the job's
    /// progress. A job that is not running is returned unchanged; none when there is no such job.
    /// Only one node may advance a job at a time.
    async fn advance_job(
        &self,
        id: JobId,
        limit: u32,
        now: Moment,
    ) -> Result<Option<JobStep>, StoreError>;

    /// Cancels a running job; none when there is no such job.
    async fn cancel_job(&self, id: JobId, act: Act) -> Result<Option<Job>, StoreError>;

    /// One job.
    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// Jobs that match, newest first.
    async fn jobs(&self, query: JobQuery) -> Result<Vec<Job>, StoreError>;
}

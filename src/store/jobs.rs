//! Redrive, discard and backfill jobs: durable, resumable, one batch of deliveries a commit.

use async_trait::async_trait;

use super::StoreError;
use super::history::{Cursor, DeliveryRow};
use crate::domain::auth::Act;
use crate::domain::clock::Moment;
use crate::domain::event::StoredEvent;
use crate::domain::id::{EventId, JobId, MappingId};
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

/// A position among a backfill's events; opaque outside the engine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BackfillCursor(pub(super) i64);

/// Events that a backfill scanned.
#[derive(Clone, Debug)]
pub struct BackfillPage {
    /// Those that its filter selects; the mapping's trigger is not evaluated.
    pub events: Vec<StoredEvent>,
    /// The position behind the scan.
    pub cursor: BackfillCursor,
    /// Whether there are no further events.
    pub is_last: bool,
}

impl BackfillCursor {
    /// The position behind an event of a page.
    #[must_use]
    pub const fn behind(event: &StoredEvent) -> Self {
        Self(event.id.0)
    }
}

/// A running backfill.
#[derive(Clone, Debug)]
pub struct RunningBackfill {
    /// The job.
    pub job: Job,
    /// Its position.
    pub cursor: BackfillCursor,
    /// The position of the last event accepted before it was created.
    pub upto: BackfillCursor,
}

/// A step of a backfill.
#[derive(Clone, Debug)]
pub struct BackfillStep {
    /// The job.
    pub job_id: JobId,
    /// Its position, as it was read.
    pub from: BackfillCursor,
    /// Its position after the step.
    pub to: BackfillCursor,
    /// Events that get a delivery.
    pub events: Vec<EventId>,
    /// Whether the job ends with it.
    pub is_last: bool,
    /// Now.
    pub now: Moment,
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

    /// Creates a backfill, which `matched` counts. Its events are fixed now, as a job's deliveries are.
    async fn create_backfill(
        &self,
        job: NewJob,
        matched: (u64, bool),
        act: Act,
    ) -> Result<Job, StoreError>;

    /// The next events of a backfill with this filter, between two positions: at most `limit` are scanned.
    /// Events that have a delivery for the mapping are left out, unless the filter includes them.
    async fn backfill_page(
        &self,
        filter: JobFilter,
        range: (BackfillCursor, Option<BackfillCursor>),
        limit: u32,
    ) -> Result<BackfillPage, StoreError>;

    /// A backfill that runs; none when it does not.
    async fn running_backfill(&self, id: JobId) -> Result<Option<RunningBackfill>, StoreError>;

    /// Advances a backfill: one commit makes the deliveries and moves its position. A job that is not
    /// running, or is at another position, is returned unchanged. [`JobStep::due`] has an entry for each
    /// delivery.
    async fn advance_backfill(&self, step: BackfillStep) -> Result<Option<JobStep>, StoreError>;

    /// Cancels a running job; none when there is no such job.
    async fn cancel_job(&self, id: JobId, act: Act) -> Result<Option<Job>, StoreError>;

    /// One job.
    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError>;

    /// Jobs that match, newest first.
    async fn jobs(&self, query: JobQuery) -> Result<Vec<Job>, StoreError>;
}

//! Jobs on PostgreSQL.

use async_trait::async_trait;

use super::super::error::to_store;
use super::super::{PostgresStore, backfill, job};
use crate::domain::auth::Act;
use crate::domain::clock::Moment;
use crate::domain::id::JobId;
use crate::domain::job::{Job, JobAction, JobFilter, NewJob};
use crate::store::{
    BackfillCursor, BackfillPage, BackfillStep, JobPreview, JobQuery, JobStep, Jobs,
    RunningBackfill, StoreError,
};

#[async_trait]
impl Jobs for PostgresStore {
    async fn preview_job(
        &self,
        action: JobAction,
        filter: JobFilter,
        sample: u32,
    ) -> Result<JobPreview, StoreError> {
        const CONTEXT: &str = "preview a job";
        let mut conn = self.reader(CONTEXT).await?;
        job::preview(&mut conn, action, &filter, sample)
            .await
            .map_err(|error| to_store(CONTEXT, error))
    }

    async fn create_job(&self, job: NewJob, act: Act) -> Result<Job, StoreError> {
        let counted = self.preview_job(job.action, job.filter.clone(), 0).await?;
        self.step(job::Create { job, counted, act }).await
    }

    async fn advance_job(
        &self,
        id: JobId,
        limit: u32,
        now: Moment,
    ) -> Result<Option<JobStep>, StoreError> {
        const CONTEXT: &str = "select the deliveries of a job";
        let selected = {
            let mut conn = self.reader(CONTEXT).await?;
            job::select(&mut conn, id, limit).await.map_err(|error| to_store(CONTEXT, error))?
        };
        match selected {
            Some(selected) => self.step(job::Advance { selected, now }).await,
            None => Ok(None),
        }
    }

    async fn create_backfill(
        &self,
        job: NewJob,
        (matched, more): (u64, bool),
        act: Act,
    ) -> Result<Job, StoreError> {
        let counted = JobPreview { matched, more, sample: Vec::new() };
        self.step(job::Create { job, counted, act }).await
    }

    async fn backfill_page(
        &self,
        filter: JobFilter,
        range: (BackfillCursor, Option<BackfillCursor>),
        limit: u32,
    ) -> Result<BackfillPage, StoreError> {
        const CONTEXT: &str = "select the events of a backfill";
        let mut conn = self.reader(CONTEXT).await?;
        let found = backfill::page(&mut conn, &filter, range, limit).await;
        found.map_err(|error| to_store(CONTEXT, error))
    }

    async fn running_backfill(&self, id: JobId) -> Result<Option<RunningBackfill>, StoreError> {
        const CONTEXT: &str = "read a backfill";
        let mut conn = self.reader(CONTEXT).await?;
        backfill::running(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))
    }

    async fn advance_backfill(&self, step: BackfillStep) -> Result<Option<JobStep>, StoreError> {
        self.step(backfill::Backfill(step)).await
    }

    async fn cancel_job(&self, id: JobId, act: Act) -> Result<Option<Job>, StoreError> {
        self.step(job::Cancel { id, act }).await
    }

    async fn job(&self, id: JobId) -> Result<Option<Job>, StoreError> {
        const CONTEXT: &str = "read a job";
        let mut conn = self.reader(CONTEXT).await?;
        let found = job::read(&mut conn, id).await.map_err(|error| to_store(CONTEXT, error))?;
        Ok(found.map(|stored| stored.job))
    }

    async fn jobs(&self, query: JobQuery) -> Result<Vec<Job>, StoreError> {
        const CONTEXT: &str = "list jobs";
        let mut conn = self.reader(CONTEXT).await?;
        job::list(&mut conn, &query).await.map_err(|error| to_store(CONTEXT, error))
    }
}

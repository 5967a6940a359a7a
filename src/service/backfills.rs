//! Backfills: jobs that make deliveries of one mapping from kept events of a time range, with a dry run that
//! counts.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::filter::{self, mapping_path};
use super::jobs::JobView;
use super::shared_fields::{check_note, check_rate};
use super::{Service, ServiceError};
use crate::domain::auth::Operator;
use crate::domain::clock::Timestamp;
use crate::domain::id::MappingId;
use crate::domain::job::{JobAction, JobFilter, NewJob};
use crate::pipeline::FieldError;
use crate::store::{BackfillCursor, Pipeline};

/// Events that one page of a count scans.
const PAGE: u32 = 512;
/// Pages that are counted at most.
const PAGES: u32 = 200;

/// A request for a backfill.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct BackfillRequest {
    /// The mapping: its name, a path that ends in it, or its id.
    pub mapping: String,
    /// Events accepted at or after this time.
    pub since: String,
    /// Events accepted before this time; left out: until now.
    pub until: Option<String>,
    /// Whether events that have a delivery for the mapping already get another one.
    pub again: bool,
    /// Whether to only count what the job would make.
    pub dry_run: bool,
    /// Rate limit, in deliveries per second.
    #[schema(minimum = 1)]
    pub rate_per_second: Option<u32>,
    /// The reason, for the audit log.
    #[schema(max_length = 1_000)]
    pub note: Option<String>,
}

/// The result of a dry run of a backfill.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct BackfillPreview {
    /// `source/destination/mapping`.
    pub mapping: String,
    /// The number of events that would get a delivery, up to the limit of the count.
    pub matched: u64,
    /// Whether the count reached its limit.
    pub more: bool,
}

/// The result of a request for a backfill.
#[derive(Clone, Debug)]
pub enum AskedBackfill {
    /// A dry run.
    Preview(BackfillPreview),
    /// A created job, which runs in the background.
    Made(JobView),
}

fn check(request: &BackfillRequest) -> Result<(), ServiceError> {
    let mut faults = Vec::new();
    for (field, value) in [("mapping", &request.mapping), ("since", &request.since)] {
        if value.trim().is_empty() {
            faults.push(FieldError::new(field, "is required"));
        }
    }
    check_rate(request.rate_per_second, &mut faults);
    check_note(request.note.as_deref(), &mut faults);
    if faults.is_empty() { Ok(()) } else { Err(ServiceError::Invalid(faults)) }
}

/// An error whose conditions are fields of the request.
fn with_fields(error: ServiceError) -> ServiceError {
    if let ServiceError::Invalid(faults) = error {
        let field = |it: FieldError| FieldError::new(unprefixed(&it.path), it.message);
        return ServiceError::Invalid(faults.into_iter().map(field).collect());
    }
    error
}

/// The selection that a request describes, with the mapping.
fn selection(
    request: &BackfillRequest,
    pipeline: &Pipeline,
    now: Timestamp,
) -> Result<(JobFilter, MappingId), ServiceError> {
    let mut conditions = vec![
        ("mapping".to_owned(), request.mapping.clone()),
        ("since".to_owned(), request.since.clone()),
    ];
    let until = request.until.clone().filter(|until| !until.trim().is_empty());
    conditions.extend(until.map(|until| ("until".to_owned(), until)));
    let conditions = filter::absolute(&conditions, now);
    let selected = filter::job(&[], &conditions, pipeline).map_err(with_fields)?;
    let mapping_id =
        selected.mapping_id.ok_or_else(|| ServiceError::at("mapping", "is required"))?;
    // What was accepted until now, this moment included.
    let end = now + std::time::Duration::from_micros(1);
    let until = selected.accepted_until.unwrap_or(end).min(end);
    let filter = JobFilter {
        mapping_id: Some(mapping_id),
        accepted_from: selected.accepted_from,
        accepted_until: Some(until),
        again: request.again,
        ..JobFilter::default()
    };
    if filter.accepted_from.is_some_and(|from| from >= until) {
        return Err(ServiceError::at("since", "should be before until"));
    }
    Ok((filter, mapping_id))
}

fn unprefixed(path: &str) -> String {
    path.strip_prefix("filter.").unwrap_or(path).to_owned()
}

impl Service {
    /// Creates a backfill, or dry-runs it.
    ///
    /// # Errors
    /// [`ServiceError`], with each error; no job is created then.
    pub async fn backfill(
        &self,
        operator: &Operator,
        request: BackfillRequest,
    ) -> Result<AskedBackfill, ServiceError> {
        check(&request)?;
        let pipeline = self.pipeline(operator).await?;
        let now = self.clock.now();
        let (mut filter, mapping_id) = selection(&request, &pipeline, now)?;
        filter.asked_by = Some(operator.token_id);
        let path = mapping_path(&pipeline, mapping_id).join("/");
        self.check_backfilled(&pipeline, mapping_id, &path)?;
        let (matched, more) = self.count_backfill(&filter, mapping_id).await?;
        if request.dry_run {
            let preview = BackfillPreview { mapping: path, matched, more };
            return Ok(AskedBackfill::Preview(preview));
        }
        let job = NewJob {
            action: JobAction::Backfill,
            filter,
            rate_per_second: request.rate_per_second,
            actor: operator.name.clone(),
            note: request.note,
        };
        let act = operator.act(now).noted(job.note.clone());
        let job = self.store.create_backfill(job, (matched, more), act).await?;
        self.node.wake();
        Ok(AskedBackfill::Made(JobView::of(&job, &pipeline, None)))
    }

    /// The mapping must be one that deliveries can be made for.
    fn check_backfilled(
        &self,
        pipeline: &Pipeline,
        mapping_id: MappingId,
        path: &str,
    ) -> Result<(), ServiceError> {
        let mapping = pipeline.mappings.iter().find(|it| it.id == mapping_id);
        let destination = mapping.and_then(|mapping| {
            pipeline.destinations.iter().find(|it| it.id == mapping.destination_id)
        });
        let is_enabled =
            mapping.is_some_and(|it| it.enabled) && destination.is_some_and(|it| it.enabled);
        if !is_enabled {
            let words = format!("{path} is disabled: enable it first, or enable and pause it");
            return Err(ServiceError::Conflict(words));
        }
        if let Some((_, error)) =
            self.node.mapping_faults().into_iter().find(|(id, _)| *id == mapping_id)
        {
            let words = format!("this version cannot compile {path}: {error}");
            return Err(ServiceError::Conflict(words));
        }
        Ok(())
    }

    /// How many events would get a delivery, and whether that is not all.
    async fn count_backfill(
        &self,
        filter: &JobFilter,
        mapping_id: MappingId,
    ) -> Result<(u64, bool), ServiceError> {
        let (mut from, mut matched) = (BackfillCursor::default(), 0);
        for _ in 0..PAGES {
            let page = self.store.backfill_page(filter.clone(), (from, None), PAGE).await?;
            let routed = self.node.routed(mapping_id, &page.events).unwrap_or_default();
            matched += u64::try_from(routed.len()).unwrap_or(u64::MAX);
            if page.is_last {
                return Ok((matched, false));
            }
            from = page.cursor;
        }
        Ok((matched, true))
    }
}

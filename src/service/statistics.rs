//! Statistics over time and the health of each destination, from the per-minute and per-hour rows
//! of the current mappings.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::filter::{self, Condition, destination_path, mapping_path};
use super::parameters::MAX_STEP_MINUTES;
use super::{Service, ServiceError, parameters, pauses};
use crate::domain::auth::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::destination::Destination;
use crate::domain::id::MappingId;
use crate::domain::pause::PauseTarget;
use crate::pipeline::{Found, Target};
use crate::store::{BacklogSample, Pipeline, StatisticsQuery, StatisticsRow};

const MINUTE_MICROS: i64 = 60_000_000;
const HOUR_MICROS: i64 = 60 * MINUTE_MICROS;
/// The maximum number of steps in an answer.
const MAX_STEPS: i64 = 1_500;
/// The maximum number of rows that one query reads: stored steps times mappings.
const MAX_ROWS: i64 = 400_000;
/// The range of health.
const HEALTH: Duration = Duration::from_secs(3_600);
/// The default range of statistics.
const DEFAULT_RANGE: Duration = Duration::from_secs(24 * 3_600);

/// Statistics by time, oldest first; empty steps are left out.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatisticsView {
    /// The start.
    pub since: String,
    /// The end.
    pub until: String,
    /// The length of a step, in minutes.
    pub step_minutes: u32,
    /// The steps that are not empty.
    pub steps: Vec<StepView>,
    /// The total.
    pub total: CountsView,
    /// Backlog and dead letters of the whole service at the end of each step in which they changed;
    /// the first is the level before the range. Empty for a filtered query and for a caller with a
    /// destination scope.
    #[serde(default)]
    pub levels: Vec<LevelView>,
}

/// Backlog and dead letters at the end of a step.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LevelView {
    /// The step's start.
    pub at: String,
    /// The backlog: deliveries pending or leased.
    pub waiting: u64,
    /// Dead letters that are stored.
    pub dead: u64,
}

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// Its start.
    pub at: String,
    /// Its counts.
    #[serde(flatten)]
    pub counts: CountsView,
}

/// Counts and latency of a period.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CountsView {
    /// Deliveries accepted.
    pub accepted: u64,
    /// Attempts made.
    pub attempts: u64,
    /// Deliveries delivered.
    pub delivered: u64,
    /// Deliveries dead-lettered.
    pub dead: u64,
    /// The success rate of attempts, in permille; none without attempts.
    pub success_permille: Option<u64>,
    /// The mean latency of attempts, in microseconds.
    pub mean_us: Option<u64>,
    /// The p50 latency of attempts, in microseconds: an estimate.
    pub p50_us: Option<u64>,
    /// The p99 latency of attempts, in microseconds: an estimate, at most 10 seconds.
    pub p99_us: Option<u64>,
}

/// The health of a destination.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HealthView {
    /// `source/destination`.
    pub destination: String,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Counts and latency of the last hour.
    pub last_hour: CountsView,
    /// Its mappings with an open circuit.
    pub open_circuits: Vec<String>,
    /// The earliest due time of its pending deliveries; none without any.
    pub oldest_due_at: Option<String>,
    /// Why its deliveries are held; none when they are not held.
    pub held: Option<String>,
}

impl CountsView {
    fn of(row: &StatisticsRow) -> Self {
        let succeeded = row.attempts.saturating_sub(row.failed);
        Self {
            accepted: row.accepted,
            attempts: row.attempts,
            delivered: row.delivered,
            dead: row.dead,
            success_permille: (succeeded * 1_000).checked_div(row.attempts),
            mean_us: row.mean_us(),
            p50_us: row.latency_us(500),
            p99_us: row.latency_us(990),
        }
    }
}

/// A query for statistics.
struct StatisticsSelection {
    from: Timestamp,
    until: Timestamp,
    step_minutes: i64,
    mappings: Vec<MappingId>,
    is_narrowed: bool,
}

impl StatisticsSelection {
    fn of(
        conditions: &[Condition],
        pipeline: &Pipeline,
        now: Timestamp,
    ) -> Result<Self, ServiceError> {
        let (mut since, mut until, mut step) = (None, None, None);
        let (mut source, mut destination, mut mapping) = (None, None, None);
        let conditions = filter::absolute(conditions, now);
        filter::each(&conditions, parameters::STATISTICS, |name, value| {
            match name {
                "since" => since = Some(filter::time(value)?),
                "until" => until = Some(filter::time(value)?),
                "step_minutes" => {
                    step = Some(filter::number(value, 1, i64::from(MAX_STEP_MINUTES))?)
                }
                "source" => source = Some(filter::source(value, pipeline)?),
                "destination" => destination = Some(filter::destination(value, pipeline)?),
                "mapping" => mapping = Some(filter::mapping(value, pipeline)?),
                _ => return Err(filter::unknown(parameters::STATISTICS, name)),
            }
            Ok(())
        })?;
        let until = until.unwrap_or(now);
        let from = since.unwrap_or(until - DEFAULT_RANGE);
        let of_source = |id| {
            let above = pipeline.destinations.iter().find(|it| it.id == id);
            source.is_none_or(|source| above.is_some_and(|it| it.source_id == source))
        };
        let wanted = pipeline.mappings.iter().filter(|it| {
            mapping.is_none_or(|id| id == it.id)
                && destination.is_none_or(|id| id == it.destination_id)
                && of_source(it.destination_id)
        });
        let mappings: Vec<_> = wanted.map(|it| it.id).collect();
        let minutes = ((until.as_micros() - from.as_micros()) / MINUTE_MICROS).max(0) + 1;
        let step_minutes = step.unwrap_or_else(|| default_step(minutes));
        if until <= from {
            return Err(ServiceError::at("until", "should be after since"));
        }
        if minutes / step_minutes > MAX_STEPS {
            let message = format!("gives more than {MAX_STEPS} steps: use longer ones");
            return Err(ServiceError::at("step_minutes", message));
        }
        let kept = if step_minutes % 60 == 0 { 60 } else { 1 };
        let count = i64::try_from(mappings.len()).unwrap_or(i64::MAX);
        if (minutes / kept).saturating_mul(count) > MAX_ROWS {
            let message = "reads too many rows: filter by destination or mapping, or \
                           use whole hours (step_minutes=60)";
            return Err(ServiceError::at("since", message));
        }
        let is_narrowed = source.is_some() || destination.is_some() || mapping.is_some();
        Ok(Self { from, until, step_minutes, mappings, is_narrowed })
    }

    /// The start of the step that a time falls in.
    fn step_of(&self, at: Timestamp) -> Timestamp {
        at.start_of(self.step_minutes * MINUTE_MICROS)
    }
}

/// The default step: a round one that gives at most 150 steps.
fn default_step(minutes: i64) -> i64 {
    const STEPS: [i64; 8] = [1, 5, 15, 60, 180, 360, 720, 1_440];
    STEPS.into_iter().find(|step| minutes / step <= 150).unwrap_or(1_440)
}

impl Service {
    /// Statistics over time.
    ///
    /// # Errors
    /// [`ServiceError`], with each invalid condition.
    pub async fn statistics(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<StatisticsView, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let now = self.clock.now();
        let selection = StatisticsSelection::of(conditions, &pipeline, now)?;
        let hours = selection.step_minutes % 60 == 0;
        let grain = if hours { HOUR_MICROS } else { MINUTE_MICROS };
        let query = StatisticsQuery {
            from: selection.from.start_of(grain),
            until: selection.until,
            mappings: selection.mappings.clone(),
            hours,
        };
        let rows = self.store.statistics(query).await?;
        let mut total = StatisticsRow::default();
        let mut steps: Vec<(Timestamp, StatisticsRow)> = Vec::new();
        for row in &rows {
            total.add(row);
            let at = selection.step_of(row.minute_at);
            match steps.last_mut() {
                Some((last, sum)) if *last == at => sum.add(row),
                Some(_) | None => steps.push((at, *row)),
            }
        }
        let steps =
            steps.iter().map(|(at, row)| StepView { at: at.to_iso(), counts: CountsView::of(row) });
        let levels = if selection.is_narrowed || caller.scope.limits().is_some() {
            Vec::new()
        } else {
            self.levels(&selection, now).await?
        };
        Ok(StatisticsView {
            levels,
            since: selection.from.to_iso(),
            until: selection.until.to_iso(),
            step_minutes: u32::try_from(selection.step_minutes).unwrap_or(u32::MAX),
            steps: steps.collect(),
            total: CountsView::of(&total),
        })
    }

    /// Backlog and dead letters at the end of each step, and now.
    async fn levels(
        &self,
        selection: &StatisticsSelection,
        now: Timestamp,
    ) -> Result<Vec<LevelView>, ServiceError> {
        let minutes = u64::try_from(selection.step_minutes).unwrap_or(1);
        let step = Duration::from_secs(60 * minutes);
        let mut levels = self.store.backlog(selection.from..selection.until, step).await?;
        if selection.until >= now {
            let ledger = self.store.ledger().await?;
            let at = selection.step_of(now);
            let (waiting, dead) = (ledger.waiting(), ledger.dead_letters());
            levels.retain(|level| level.at < at);
            levels.push(BacklogSample { at, waiting, dead });
        }
        let views = levels.into_iter().map(|level| LevelView {
            at: level.at.to_iso(),
            waiting: level.waiting,
            dead: level.dead,
        });
        Ok(views.collect())
    }

    /// The health of each destination, by path.
    ///
    /// # Errors
    /// [`ServiceError`] when the store fails.
    pub async fn health(&self, caller: &Caller) -> Result<Vec<HealthView>, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        self.health_of(&pipeline.destinations, &pipeline).await
    }

    /// The health of one destination.
    ///
    /// # Errors
    /// [`ServiceError`] when there is no such destination.
    pub async fn destination_health(
        &self,
        caller: &Caller,
        target: &Target,
    ) -> Result<HealthView, ServiceError> {
        let pipeline = self.pipeline(caller).await?;
        let found = match target.find(&pipeline) {
            Some(Found::Destination(destination)) => std::slice::from_ref(destination),
            Some(Found::Source(_) | Found::Mapping(_)) | None => &[],
        };
        let mut health = self.health_of(found, &pipeline).await?;
        health.pop().ok_or_else(|| ServiceError::Missing(target.to_string()))
    }

    /// The health of these destinations, in one query.
    async fn health_of(
        &self,
        destinations: &[Destination],
        pipeline: &Pipeline,
    ) -> Result<Vec<HealthView>, ServiceError> {
        let below = |destination: &Destination| -> Vec<MappingId> {
            let all = pipeline.mappings.iter();
            all.filter(|it| it.destination_id == destination.id).map(|it| it.id).collect()
        };
        let mappings: Vec<_> = destinations.iter().flat_map(below).collect();
        let now = self.clock.now();
        let due: HashMap<_, _> = self.store.next_due(&mappings).await?.into_iter().collect();
        let query = StatisticsQuery { from: now - HEALTH, until: now, mappings, hours: false };
        let counted = self.store.statistics_by_mapping(query).await?;
        let counted: HashMap<_, _> =
            counted.into_iter().map(|row| (MappingId(row.mapping_id), row)).collect();
        let open: Vec<_> = self.node.open_circuits().iter().map(|it| it.mapping_id).collect();
        let views = destinations.iter().map(|destination| {
            let mappings = below(destination);
            let mut last_hour = StatisticsRow::default();
            mappings.iter().filter_map(|id| counted.get(id)).for_each(|row| last_hour.add(row));
            let holds = |id: &&MappingId| pipeline.pause(PauseTarget::Mapping(**id)).is_none();
            let oldest_due = mappings.iter().filter(holds).filter_map(|id| due.get(id)).min();
            let open = mappings.iter().filter(|id| open.contains(id));
            HealthView {
                destination: destination_path(pipeline, destination.id).join("/"),
                enabled: destination.enabled,
                last_hour: CountsView::of(&last_hour),
                open_circuits: open.map(|id| mapping_path(pipeline, *id).join("/")).collect(),
                oldest_due_at: oldest_due.map(|at| self.clock.to_wall(*at).to_iso()),
                held: pipeline
                    .pause(PauseTarget::Destination(destination.id))
                    .map(pauses::why)
                    .or_else(|| pipeline.held(destination).map(|why| why.to_string())),
            }
        });
        Ok(views.collect())
    }
}

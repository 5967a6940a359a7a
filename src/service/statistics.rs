//! What happened over time, and how each destination fares: from the minutes and hours that are kept,
//! of the mappings that there are now.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::filter::{self, Condition, destination_path, mapping_path};
use super::parameters::MAX_STEP_MINUTES;
use super::{Refusal, Service, parameters};
use crate::domain::auth::Caller;
use crate::domain::clock::Timestamp;
use crate::domain::destination::Destination;
use crate::domain::id::MappingId;
use crate::pipeline::{Found, Target};
use crate::store::{Level, Pipeline, StatisticsQuery, StatisticsRow};

const MINUTE_MICROS: i64 = 60_000_000;
const HOUR_MICROS: i64 = 60 * MINUTE_MICROS;
/// Steps in an answer at most.
const MAX_STEPS: i64 = 1_500;
/// Rows that one answer reads at most: steps as they are kept, times mappings.
const MAX_ROWS: i64 = 400_000;
/// How far back health looks.
const HEALTH: Duration = Duration::from_secs(3_600);
/// The range of statistics when none is given.
const DEFAULT_RANGE: Duration = Duration::from_secs(24 * 3_600);

/// Statistics by time, oldest first; steps without any are left out.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatisticsView {
    /// The start.
    pub since: String,
    /// The end.
    pub until: String,
    /// How long each step is, in minutes.
    pub step_minutes: u32,
    /// Each step in which something happened.
    pub steps: Vec<StepView>,
    /// All of them together.
    pub total: CountsView,
    /// How much waited and was dead, of the service as a whole: at the end of each step in which that
    /// changed, the first telling how it stood before. Empty where the question is narrowed, or whoever
    /// asks is limited.
    #[serde(default)]
    pub levels: Vec<LevelView>,
}

/// How much waited and was dead at the end of a step.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct LevelView {
    /// The step's start.
    pub at: String,
    /// Deliveries pending or leased.
    pub waiting: u64,
    /// Dead letters kept.
    pub dead: u64,
}

/// One step.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StepView {
    /// Its start.
    pub at: String,
    /// What happened in it.
    #[serde(flatten)]
    pub counts: CountsView,
}

/// What happened in some time.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize, ToSchema)]
pub struct CountsView {
    /// Deliveries accepted.
    pub accepted: u64,
    /// Attempts made.
    pub attempts: u64,
    /// Deliveries delivered.
    pub delivered: u64,
    /// Deliveries that died.
    pub dead: u64,
    /// The share of attempts that delivered, in thousandths; none without attempts.
    pub success_permille: Option<u64>,
    /// How long an attempt took on average, in microseconds.
    pub mean_us: Option<u64>,
    /// How long half of the attempts took at most: an estimate.
    pub p50_us: Option<u64>,
    /// How long 99 of 100 attempts took at most: an estimate; 10 seconds stand for more.
    pub p99_us: Option<u64>,
}

/// How a destination fares.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HealthView {
    /// `source/destination`.
    pub destination: String,
    /// Whether it takes deliveries.
    pub enabled: bool,
    /// What happened in the last hour.
    pub last_hour: CountsView,
    /// Its mappings that are being tried by one probe at a time.
    pub open_circuits: Vec<String>,
    /// When the delivery that has waited longest is or was due; none when none is pending.
    pub oldest_due_at: Option<String>,
    /// Why its deliveries are held; none when they are not.
    pub held: Option<String>,
}

impl CountsView {
    fn of(row: &StatisticsRow) -> Self {
        let share = |of: u64| (row.attempts > 0).then(|| of / row.attempts);
        Self {
            accepted: row.accepted,
            attempts: row.attempts,
            delivered: row.delivered,
            dead: row.dead,
            success_permille: share(row.delivered.min(row.attempts) * 1_000),
            mean_us: share(row.attempt_us),
            p50_us: row.latency_us(500),
            p99_us: row.latency_us(990),
        }
    }
}

/// What statistics are asked for.
struct Asked {
    from: Timestamp,
    until: Timestamp,
    step_minutes: i64,
    mappings: Vec<MappingId>,
    is_narrowed: bool,
}

impl Asked {
    fn of(conditions: &[Condition], pipeline: &Pipeline, now: Timestamp) -> Result<Self, Refusal> {
        let (mut since, mut until, mut step) = (None, None, None);
        let (mut source, mut destination, mut mapping) = (None, None, None);
        filter::each(conditions, parameters::STATISTICS, |name, value| {
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
            return Err(Refusal::at("until", "should be after since"));
        }
        if minutes / step_minutes > MAX_STEPS {
            let message = format!("gives more than {MAX_STEPS} steps: ask for longer ones");
            return Err(Refusal::at("step_minutes", message));
        }
        let kept = if step_minutes % 60 == 0 { 60 } else { 1 };
        let count = i64::try_from(mappings.len()).unwrap_or(i64::MAX);
        if (minutes / kept).saturating_mul(count) > MAX_ROWS {
            let message = "is more than one answer reads: narrow it to a destination or mapping, or \
                           ask for whole hours (step_minutes=60)";
            return Err(Refusal::at("since", message));
        }
        let is_narrowed = source.is_some() || destination.is_some() || mapping.is_some();
        Ok(Self { from, until, step_minutes, mappings, is_narrowed })
    }

    /// When the step that this time falls in began.
    fn step_of(&self, at: Timestamp) -> Timestamp {
        at.start_of(self.step_minutes * MINUTE_MICROS)
    }
}

/// A step that gives a chart: about a hundred of them, in steps that people count in.
fn default_step(minutes: i64) -> i64 {
    const STEPS: [i64; 8] = [1, 5, 15, 60, 180, 360, 720, 1_440];
    STEPS.into_iter().find(|step| minutes / step <= 150).unwrap_or(1_440)
}

impl Service {
    /// What happened over time.
    ///
    /// # Errors
    /// [`Refusal`], with each condition that is not right.
    pub async fn statistics(
        &self,
        caller: &Caller,
        conditions: &[Condition],
    ) -> Result<StatisticsView, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let now = self.clock.now();
        let asked = Asked::of(conditions, &pipeline, now)?;
        let hours = asked.step_minutes % 60 == 0;
        let grain = if hours { HOUR_MICROS } else { MINUTE_MICROS };
        let query = StatisticsQuery {
            from: asked.from.start_of(grain),
            until: asked.until,
            mappings: asked.mappings.clone(),
            hours,
        };
        let rows = self.counted(query).await?;
        let mut total = StatisticsRow::default();
        let mut steps: Vec<(Timestamp, StatisticsRow)> = Vec::new();
        for row in &rows {
            total.add(row);
            let at = asked.step_of(row.minute_at);
            match steps.last_mut() {
                Some((last, sum)) if *last == at => sum.add(row),
                Some(_) | None => steps.push((at, *row)),
            }
        }
        let steps =
            steps.iter().map(|(at, row)| StepView { at: at.to_iso(), counts: CountsView::of(row) });
        let levels = if asked.is_narrowed || caller.scope.limits().is_some() {
            Vec::new()
        } else {
            self.levels(&asked, now).await?
        };
        Ok(StatisticsView {
            levels,
            since: asked.from.to_iso(),
            until: asked.until.to_iso(),
            step_minutes: u32::try_from(asked.step_minutes).unwrap_or(u32::MAX),
            steps: steps.collect(),
            total: CountsView::of(&total),
        })
    }

    /// What the store counted, with what is still to be stored.
    async fn counted(&self, query: StatisticsQuery) -> Result<Vec<StatisticsRow>, Refusal> {
        let unstored = self.unstored(&query);
        let stored = self.store.statistics(query).await?;
        let mut rows: BTreeMap<_, _> = stored.into_iter().map(|row| (row.minute_at, row)).collect();
        for row in unstored {
            let none = StatisticsRow { minute_at: row.minute_at, ..StatisticsRow::default() };
            rows.entry(row.minute_at).or_insert(none).add(&row);
        }
        Ok(rows.into_values().collect())
    }

    /// The same of each mapping, for all of the time.
    async fn counted_by_mapping(
        &self,
        query: StatisticsQuery,
    ) -> Result<HashMap<MappingId, StatisticsRow>, Refusal> {
        let unstored = self.unstored(&query);
        let stored = self.store.statistics_by_mapping(query).await?;
        let mut rows: HashMap<_, StatisticsRow> = HashMap::new();
        for row in stored.iter().chain(&unstored) {
            rows.entry(MappingId(row.mapping_id)).or_default().add(row);
        }
        Ok(rows)
    }

    /// What is asked for of what is still to be stored.
    fn unstored(&self, query: &StatisticsQuery) -> Vec<StatisticsRow> {
        let grain = if query.hours { HOUR_MICROS } else { MINUTE_MICROS };
        let mut rows = self.node.unstored_statistics();
        for row in &mut rows {
            row.minute_at = row.minute_at.start_of(grain);
        }
        rows.retain(|row| {
            let is_within = (query.from..query.until).contains(&row.minute_at);
            is_within && query.mappings.contains(&MappingId(row.mapping_id))
        });
        rows
    }

    /// How it stood at the end of each step, and how it stands.
    async fn levels(&self, asked: &Asked, now: Timestamp) -> Result<Vec<LevelView>, Refusal> {
        let minutes = u64::try_from(asked.step_minutes).unwrap_or(1);
        let step = Duration::from_secs(60 * minutes);
        let mut levels = self.store.levels(asked.from..asked.until, step).await?;
        if asked.until >= now {
            let ledger = self.store.ledger();
            let at = asked.step_of(now);
            let (waiting, dead) = (ledger.waiting(), ledger.dead_letters());
            levels.retain(|level| level.at < at);
            levels.push(Level { at, waiting, dead });
        }
        let views = levels.into_iter().map(|level| LevelView {
            at: level.at.to_iso(),
            waiting: level.waiting,
            dead: level.dead,
        });
        Ok(views.collect())
    }

    /// How each destination fares, by path.
    ///
    /// # Errors
    /// [`Refusal`] when the store fails.
    pub async fn health(&self, caller: &Caller) -> Result<Vec<HealthView>, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        self.health_of(&pipeline.destinations, &pipeline).await
    }

    /// How one destination fares.
    ///
    /// # Errors
    /// [`Refusal`] when there is no such destination.
    pub async fn destination_health(
        &self,
        caller: &Caller,
        target: &Target,
    ) -> Result<HealthView, Refusal> {
        let pipeline = self.pipeline(caller).await?;
        let found = match target.find(&pipeline) {
            Some(Found::Destination(destination)) => std::slice::from_ref(destination),
            Some(Found::Source(_) | Found::Mapping(_)) | None => &[],
        };
        let mut health = self.health_of(found, &pipeline).await?;
        health.pop().ok_or_else(|| Refusal::Missing(target.to_string()))
    }

    /// How these destinations fare, asked for all of them at once.
    async fn health_of(
        &self,
        destinations: &[Destination],
        pipeline: &Pipeline,
    ) -> Result<Vec<HealthView>, Refusal> {
        let below = |destination: &Destination| -> Vec<MappingId> {
            let all = pipeline.mappings.iter();
            all.filter(|it| it.destination_id == destination.id).map(|it| it.id).collect()
        };
        let mappings: Vec<_> = destinations.iter().flat_map(below).collect();
        let now = self.clock.now();
        let due: HashMap<_, _> = self.store.next_due(&mappings).await?.into_iter().collect();
        let query = StatisticsQuery { from: now - HEALTH, until: now, mappings, hours: false };
        let counted = self.counted_by_mapping(query).await?;
        let open: Vec<_> = self.node.open_circuits().iter().map(|it| it.mapping_id).collect();
        let views = destinations.iter().map(|destination| {
            let mappings = below(destination);
            let mut last_hour = StatisticsRow::default();
            mappings.iter().filter_map(|id| counted.get(id)).for_each(|row| last_hour.add(row));
            let oldest_due = mappings.iter().filter_map(|id| due.get(id)).min();
            let open = mappings.iter().filter(|id| open.contains(id));
            HealthView {
                destination: destination_path(pipeline, destination.id).join("/"),
                enabled: destination.enabled,
                last_hour: CountsView::of(&last_hour),
                open_circuits: open.map(|id| mapping_path(pipeline, *id).join("/")).collect(),
                oldest_due_at: oldest_due.map(|at| at.to_iso()),
                held: pipeline.held(destination).map(|why| why.to_string()),
            }
        });
        Ok(views.collect())
    }
}

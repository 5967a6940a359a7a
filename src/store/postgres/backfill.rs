//! Backfills: deliveries of one mapping from kept events. A reader selects events; the caller evaluates the
//! mapping's trigger; one commit adds the deliveries, puts their keys into their events and moves the job's cursor,
//! so that a restart makes none twice.

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::job::{self, finish, read_in, save};
use super::keyset::Scan;
use super::tx::{Step, Tx, params};
use crate::domain::clock::Timestamp;
use crate::domain::id::{JobId, MappingId};
use crate::domain::job::{JobFilter, JobState};
use crate::store::failure::Failure;
use crate::store::row::{self, EVENT_COLUMNS, int};
use crate::store::statement::Span;
use crate::store::{BackfillCursor, BackfillPage, BackfillStep, JobStep, RunningBackfill};

/// Whether event `e` has a delivery for mapping `$1`.
const HAS_DELIVERY: &str = "EXISTS (SELECT 1 FROM unnest(e.delivery_ids) AS own (id)
        JOIN deliveries AS d ON d.id = own.id WHERE d.mapping_id = $1)";

/// The next events of a backfill, at most `limit` scanned.
pub(super) async fn page(
    conn: &mut PgConnection,
    filter: &JobFilter,
    range: (BackfillCursor, Option<BackfillCursor>),
    limit: u32,
) -> Result<BackfillPage, Failure> {
    let (BackfillCursor(after), upto) = range;
    let keys = Scan::EVENTS.range(conn, Span::of_filter(filter)).await?;
    let upto = upto.map_or(i64::MAX, |BackfillCursor(upto)| upto).min(keys.before - 1);
    let after = after.max(keys.floor - 1);
    let end: (Option<i64>, i64) = sqlx::query_as(
        "SELECT max(id), count(*) FROM (SELECT id FROM events
            WHERE id > $1 AND id <= $2 ORDER BY id LIMIT $3) AS scanned",
    )
    .bind(after)
    .bind(upto)
    .bind(i64::from(limit))
    .fetch_one(&mut *conn)
    .await?;
    let (Some(end), scanned) = end else {
        let cursor = BackfillCursor(after);
        return Ok(BackfillPage { events: Vec::new(), cursor, is_last: true });
    };
    let mapping_id = filter.mapping_id.unwrap_or(MappingId(0));
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events AS e
         WHERE e.id > $2 AND e.id <= $3 AND e.rejection IS NULL
            AND e.source_id = (SELECT d.source_id FROM mappings AS m
                JOIN destinations AS d ON d.id = m.destination_id WHERE m.id = $1)
            AND e.received_at >= $4 AND e.received_at < $5 AND ($6 OR NOT {HAS_DELIVERY})
         ORDER BY e.id"
    );
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(mapping_id.0)
        .bind(after)
        .bind(end)
        .bind(filter.accepted_from.map_or(i64::MIN, Timestamp::as_micros))
        .bind(filter.accepted_until.map_or(i64::MAX, Timestamp::as_micros))
        .bind(filter.again)
        .fetch_all(conn)
        .await?;
    let events = rows.iter().map(row::event).collect::<Result<_, _>>()?;
    let is_last = scanned < i64::from(limit) || end >= upto;
    Ok(BackfillPage { events, cursor: BackfillCursor(end), is_last })
}

/// The position of a running backfill; none when it does not run.
pub(super) async fn running(
    conn: &mut PgConnection,
    id: JobId,
) -> Result<Option<RunningBackfill>, Failure> {
    let stored = job::read(conn, id).await?;
    let running = stored.filter(|it| it.job.state == JobState::Running);
    Ok(running.map(|it| RunningBackfill {
        cursor: BackfillCursor(it.cursor),
        upto: BackfillCursor(it.upper_id),
        job: it.job,
    }))
}

/// Makes the deliveries of one step.
#[derive(Debug)]
pub(super) struct Backfill(pub(super) BackfillStep);

#[async_trait]
impl Step for Backfill {
    type Answer = Option<JobStep>;
    const CONTEXT: &'static str = "run a step of a backfill";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<JobStep>, Failure> {
        let step = &self.0;
        let Some(mut stored) = read_in(tx, step.job_id).await? else { return Ok(None) };
        // Cancelled, or advanced by another step, since the selection.
        if stored.job.state != JobState::Running || stored.cursor != step.from.0 {
            return Ok(Some(JobStep { job: stored.job, due: Vec::new() }));
        }
        let filter = &stored.job.spec.filter;
        let mapping_id = filter.mapping_id.unwrap_or(MappingId(0));
        let made = make(tx, step, (mapping_id, filter.again)).await?;
        stored.job.done += made;
        stored.cursor = step.to.0;
        if step.is_last {
            finish(tx, &mut stored, step.now.wall).await?;
        } else {
            save(tx, &stored).await?;
        }
        let due = vec![mapping_id; usize::try_from(made).unwrap_or(0)];
        Ok(Some(JobStep { job: stored.job, due }))
    }
}

/// Makes one delivery of each event; none where there is one already, or the event or the mapping was removed.
/// Returns how many.
async fn make(
    tx: &mut Tx<'_>,
    step: &BackfillStep,
    (mapping_id, again): (MappingId, bool),
) -> Result<u64, Failure> {
    let sql = format!(
        "WITH given AS MATERIALIZED (
            SELECT * FROM unnest($2::bigint[], $3::bigint[]) AS g (event_id, id)
         ), made AS (
            UPDATE events AS e SET delivery_ids = e.delivery_ids || g.id FROM given AS g
            WHERE e.id = g.event_id AND e.id = ANY ($2) AND ($4 OR NOT {HAS_DELIVERY})
                AND EXISTS (SELECT 1 FROM mappings AS m WHERE m.id = $1 AND m.removed_at IS NULL)
            RETURNING g.id, e.id AS event_id
         )
         INSERT INTO pending (id, event_id, mapping_id, destination_id, accepted_at, deadline_at, token,
            tried, due_at)
         SELECT n.id, n.event_id, m.id, m.destination_id, $5, $6::bigint + 1000 * coalesce(
            (SELECT (settings::json ->> 'window_ms')::bigint FROM destinations AS d
                WHERE d.id = m.destination_id), 14400000), 0, 0, $6::bigint
         FROM made AS n CROSS JOIN mappings AS m WHERE m.id = $1"
    );
    let events: Vec<i64> = step.events.iter().map(|id| id.0).collect();
    let ids: Vec<i64> = events.iter().map(|_| tx.keys.next()).collect();
    let (wall, service) = (step.now.wall.as_micros(), step.now.service.as_micros());
    let values = params![mapping_id.0, events, ids, again, wall, service];
    let made = tx.execute(AssertSqlSafe(sql), values).await?;
    tx.counts.ledger.accepted += int(made);
    tx.counts.ledger.pending += int(made);
    for _ in 0..made {
        tx.counts.statistics.accepted(mapping_id);
    }
    Ok(made)
}

//! Backfills: deliveries of one mapping from kept events. A reader selects events; the caller evaluates the
//! mapping's trigger; the writer makes the deliveries and moves the job's cursor in one commit, so that a restart
//! makes none twice.

use rusqlite::params;
use sqlx::AssertSqlSafe;
use sqlx::sqlite::SqliteConnection;

use super::job::{self, finish, read_in, save};
use super::keyset::Scan;
use super::writer::step::{Step, Tx};
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::id::{EventId, JobId, MappingId};
use crate::domain::job::{JobFilter, JobState};
use crate::store::failure::Failure;
use crate::store::row::{self, EVENT_COLUMNS};
use crate::store::statement::Span;
use crate::store::{BackfillCursor, BackfillPage, BackfillStep, JobStep, RunningBackfill};

/// Whether event `e` has a delivery for mapping `?1`.
const HAS_DELIVERY: &str = "(EXISTS (SELECT 1 FROM deliveries AS d
        WHERE d.id >= e.first_delivery_id AND d.id < e.first_delivery_id + e.delivery_count
            AND d.mapping_id = ?1)
     OR EXISTS (SELECT 1 FROM backfilled AS b CROSS JOIN deliveries AS d ON d.id = b.delivery_id
        WHERE b.event_id = e.id AND d.mapping_id = ?1))";

/// The next events of a backfill, at most `limit` scanned.
pub(super) async fn page(
    conn: &mut SqliteConnection,
    filter: &JobFilter,
    range: (BackfillCursor, Option<BackfillCursor>),
    limit: u32,
) -> Result<BackfillPage, Failure> {
    let (BackfillCursor(after), upto) = range;
    let keys = Scan::EVENTS.range(conn, Span::of_filter(filter)).await?;
    let upto = upto.map_or(i64::MAX, |BackfillCursor(upto)| upto).min(keys.before - 1);
    let after = after.max(keys.floor - 1);
    let end: (Option<i64>, i64) = sqlx::query_as(
        "SELECT max(id), count(*) FROM (SELECT id FROM events NOT INDEXED
            WHERE id > ? AND id <= ? ORDER BY id LIMIT ?)",
    )
    .bind(after)
    .bind(upto)
    .bind(limit)
    .fetch_one(&mut *conn)
    .await?;
    let (Some(end), scanned) = end else {
        let cursor = BackfillCursor(after);
        return Ok(BackfillPage { events: Vec::new(), cursor, is_last: true });
    };
    let mapping_id = filter.mapping_id.unwrap_or(MappingId(0));
    let sql = format!(
        "SELECT {EVENT_COLUMNS} FROM events AS e NOT INDEXED
         WHERE e.id > ?2 AND e.id <= ?3 AND e.rejection IS NULL
            AND e.source_id = (SELECT d.source_id FROM mappings AS m
                JOIN destinations AS d ON d.id = m.destination_id WHERE m.id = ?1)
            AND e.received_at >= ?4 AND e.received_at < ?5 AND (?6 OR NOT {HAS_DELIVERY})
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
    conn: &mut SqliteConnection,
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

impl Step for Backfill {
    type Answer = Option<JobStep>;
    const CONTEXT: &'static str = "run a step of a backfill";

    fn bulk_rows(&self) -> usize {
        self.0.events.len()
    }

    fn run(&self, tx: &mut Tx<'_>) -> Result<Option<JobStep>, Failure> {
        let step = &self.0;
        let Some(mut stored) = read_in(tx, step.job_id)? else { return Ok(None) };
        // Cancelled, or advanced by another step, since the selection.
        if stored.job.state != JobState::Running || stored.cursor != step.from.0 {
            return Ok(Some(JobStep { job: stored.job, due: Vec::new() }));
        }
        let mapping_id = stored.job.spec.filter.mapping_id.unwrap_or(MappingId(0));
        let mut due = Vec::new();
        for event_id in &step.events {
            if make(tx, *event_id, (mapping_id, stored.job.spec.filter.again), step.now)? {
                due.push(mapping_id);
            }
        }
        stored.job.done += u64::try_from(due.len()).unwrap_or(u64::MAX);
        stored.cursor = step.to.0;
        if step.is_last {
            finish(tx, &mut stored, step.now.wall)?;
        } else {
            save(tx, &stored)?;
        }
        Ok(Some(JobStep { job: stored.job, due }))
    }
}

/// Makes the delivery of one event; false when there is one already, or the event or the mapping was removed.
fn make(
    tx: &mut Tx<'_>,
    event_id: EventId,
    (mapping_id, again): (MappingId, bool),
    now: Moment,
) -> Result<bool, Failure> {
    let id = tx.state.next_delivery_id;
    let sql = format!(
        "INSERT INTO deliveries (id, event_id, mapping_id, destination_id, accepted_at,
            deadline_at, state, token, tried, due_at)
         SELECT ?3, e.id, m.id, m.destination_id, ?4, ?6 + 1000 * coalesce(
            (SELECT json_extract(settings, '$.window_ms') FROM destinations
                WHERE id = m.destination_id), 14400000),
            'pending', 0, 0, ?6
         FROM events AS e CROSS JOIN mappings AS m
         WHERE e.id = ?2 AND m.id = ?1 AND m.removed_at IS NULL AND (?5 OR NOT {HAS_DELIVERY})"
    );
    let (wall, service) = (now.wall.as_micros(), now.service.as_micros());
    let made = tx.execute(&sql, params![mapping_id.0, event_id.0, id, wall, again, service])?;
    if made == 0 {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO backfilled (event_id, delivery_id) VALUES (?, ?)",
        params![event_id.0, id],
    )?;
    tx.state.next_delivery_id += 1;
    tx.state.ledger.accepted += 1;
    tx.state.ledger.pending += 1;
    tx.statistics.counts().accepted(mapping_id);
    Ok(true)
}

//! Service time across restarts, and the steps of the wall clock since the database was made. Records are in wall
//! time and their age is in service time: the steps tell which records are surely older than a service time.

use rusqlite::params;
use sqlx::sqlite::SqliteConnection;

use super::writer::step::Tx;
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::service_time::ServiceTime;

/// A smaller change of the offset is drift.
const STEP_MICROS: i64 = 1_000_000;
/// The most steps that are kept. Beyond it the two oldest become one.
const MOST_STEPS: i64 = 1_000;

/// The last moment on record; none where no node has served the database.
pub(super) async fn last_moment(
    conn: &mut SqliteConnection,
) -> Result<Option<Moment>, sqlx::Error> {
    let found: Option<(i64, i64)> =
        sqlx::query_as("SELECT wall_at, service_at FROM service_time").fetch_optional(conn).await?;
    Ok(found.map(|(wall, service)| Moment {
        wall: Timestamp::from_micros(wall),
        service: ServiceTime::from_micros(service),
    }))
}

/// Records the moment, and the step of the wall clock if it has stepped since the last one.
pub(super) fn note(tx: &Tx<'_>, now: Moment) -> rusqlite::Result<()> {
    let (wall, service) = (now.wall.as_micros(), now.service.as_micros());
    tx.execute(
        "INSERT INTO service_time (id, wall_at, service_at) VALUES (1, ?1, ?2)
         ON CONFLICT (id) DO UPDATE SET wall_at = ?1, service_at = ?2",
        params![wall, service],
    )?;
    let stepped = tx.execute(
        "INSERT INTO clock_steps (service_at, offset_us) SELECT ?1, ?2
         WHERE abs(?2 - coalesce((SELECT offset_us FROM clock_steps
            ORDER BY service_at DESC LIMIT 1), 0)) >= ?3
         ON CONFLICT (service_at) DO UPDATE SET offset_us = ?2",
        params![service, now.offset(), STEP_MICROS],
    )?;
    if stepped > 0 {
        merge_oldest(tx)?;
    }
    Ok(())
}

/// Beyond the most steps, gives the second oldest the lower offset of the two oldest and drops the oldest: some
/// records are kept longer, none is removed earlier.
fn merge_oldest(tx: &Tx<'_>) -> rusqlite::Result<()> {
    for sql in [
        "UPDATE clock_steps SET offset_us = min(offset_us,
            (SELECT offset_us FROM clock_steps ORDER BY service_at LIMIT 1))
         WHERE service_at = (SELECT service_at FROM clock_steps ORDER BY service_at LIMIT 1 OFFSET 1)
            AND (SELECT count(*) FROM clock_steps) > ?1",
        "DELETE FROM clock_steps
         WHERE service_at = (SELECT min(service_at) FROM clock_steps)
            AND (SELECT count(*) FROM clock_steps) > ?1",
    ] {
        tx.execute(sql, params![MOST_STEPS])?;
    }
    Ok(())
}

/// A wall time before which every record is older than `before`: the lowest that a record of then or later can
/// have. Before the first step the offset was none.
pub(super) fn wall_before(tx: &Tx<'_>, before: ServiceTime) -> rusqlite::Result<Timestamp> {
    let micros = tx.sqlite.one(
        "WITH first (service_at, offset_us) AS
            (SELECT ?2, 0 UNION ALL SELECT service_at, offset_us FROM clock_steps),
         spans AS (SELECT service_at, offset_us,
            lead(service_at) OVER (ORDER BY service_at) AS until FROM first)
         SELECT min(max(service_at, ?1) + offset_us) FROM spans WHERE until IS NULL OR until > ?1",
        params![before.as_micros(), i64::MIN / 2],
        |row| row.get(0),
    )?;
    Ok(Timestamp::from_micros(micros))
}

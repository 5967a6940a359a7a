//! Service time is that of the database: a node continues from it when it starts, by the server's clock. Steps of
//! the nodes' wall clocks tell which records, which are in wall time, are surely older than a service time.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::tx::{Tx, params};
use crate::domain::clock::{Moment, Timestamp};
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;

/// A smaller change of the offset is drift, and so is a difference between two nodes.
const STEP_MICROS: i64 = 1_000_000;
/// The most steps that are kept. Beyond it the two oldest become one.
const MOST_STEPS: i64 = 1_000;

/// The service time: that of the latest heartbeat, and what the server's clock says has passed since then, which
/// is never negative. A step of the server's clock while nodes run changes nothing.
pub(super) async fn now(conn: &mut PgConnection) -> Result<ServiceTime, sqlx::Error> {
    let micros = sqlx::query_scalar(
        "WITH clock (now) AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
         SELECT coalesce((SELECT t.service_at + greatest(clock.now - t.server_at, 0)
            FROM service_time AS t), clock.now) FROM clock",
    )
    .fetch_one(conn)
    .await?;
    Ok(ServiceTime::from_micros(micros))
}

/// Records the moment of a heartbeat, and the step of the wall clock if it has stepped since the last one.
pub(super) async fn note(tx: &mut Tx<'_>, now: Moment) -> Result<(), Failure> {
    let service = now.service.as_micros();
    tx.execute(
        "INSERT INTO service_time AS t (id, service_at, server_at)
         VALUES (1, $1, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint)
         ON CONFLICT (id) DO UPDATE SET service_at = greatest(t.service_at, excluded.service_at),
            server_at = excluded.server_at",
        params![service],
    )
    .await?;
    let stepped = tx
        .execute(
            "INSERT INTO clock_steps (service_at, offset_us) SELECT $1::bigint, $2::bigint
             WHERE abs($2 - coalesce((SELECT offset_us FROM clock_steps
                ORDER BY service_at DESC LIMIT 1), 0)) >= $3
             ON CONFLICT (service_at) DO UPDATE SET offset_us = $2",
            params![service, now.offset(), STEP_MICROS],
        )
        .await?;
    if stepped > 0 {
        merge_oldest(tx).await?;
    }
    Ok(())
}

/// Beyond the most steps, gives the second oldest the lower offset of the two oldest and drops the oldest: some
/// records are kept longer, none is removed earlier.
async fn merge_oldest(tx: &mut Tx<'_>) -> Result<(), Failure> {
    for sql in [
        "UPDATE clock_steps SET offset_us = least(offset_us,
            (SELECT offset_us FROM clock_steps ORDER BY service_at LIMIT 1))
         WHERE service_at = (SELECT service_at FROM clock_steps ORDER BY service_at LIMIT 1 OFFSET 1)
            AND (SELECT count(*) FROM clock_steps) > $1",
        "DELETE FROM clock_steps
         WHERE service_at = (SELECT min(service_at) FROM clock_steps)
            AND (SELECT count(*) FROM clock_steps) > $1",
    ] {
        tx.execute(sql, params![MOST_STEPS]).await?;
    }
    Ok(())
}

/// A wall time before which every record is older than `before`: the lowest that a record of then or later can
/// have. Before the first step the offset was none.
pub(super) async fn wall_before(
    tx: &mut Tx<'_>,
    before: ServiceTime,
) -> Result<Timestamp, Failure> {
    tx.one(
        "WITH first (service_at, offset_us) AS
            (SELECT $2::bigint, 0::bigint UNION ALL SELECT service_at, offset_us FROM clock_steps),
         spans AS (SELECT service_at, offset_us,
            lead(service_at) OVER (ORDER BY service_at) AS until FROM first)
         SELECT min(greatest(service_at, $1) + offset_us) FROM spans
            WHERE until IS NULL OR until > $1",
        params![before.as_micros(), i64::MIN / 2],
        |row| Ok(Timestamp::from_micros(row.try_get(0)?)),
    )
    .await
}

/// The service times at which a record of this wall time can have been made, from the earliest to the latest.
pub(super) async fn of_wall(
    conn: &mut PgConnection,
    slack: Duration,
) -> Result<Offsets, sqlx::Error> {
    let row = sqlx::query(
        "SELECT least(min(offset_us), 0), greatest(max(offset_us), 0) FROM clock_steps",
    )
    .fetch_one(conn)
    .await?;
    Ok(Offsets { least: row.try_get(0)?, most: row.try_get(1)?, slack })
}

/// What wall time less service time has been.
#[derive(Clone, Copy, Debug)]
pub(super) struct Offsets {
    least: i64,
    most: i64,
    slack: Duration,
}

impl Offsets {
    /// The earliest service time of a record of a wall time.
    pub(super) fn earliest(&self, at: Timestamp) -> ServiceTime {
        ServiceTime::from_micros(at.shifted(-self.most).as_micros()) - self.slack
    }

    /// The latest one.
    pub(super) fn latest(&self, at: Timestamp) -> ServiceTime {
        ServiceTime::from_micros(at.shifted(-self.least).as_micros()) + self.slack
    }
}

//! What the server is like that the store lives on: partitions ahead, dead rows, the oldest snapshot, replication. For
//! the doctor and the metrics. Sessions of other roles and standbys are seen by a role with `pg_read_all_stats`.

use std::time::Duration;

use sqlx::Row as _;
use sqlx::postgres::PgConnection;

use super::partition::{Day, TABLES};
use crate::domain::service_time::ServiceTime;
use crate::store::Finding;
use crate::store::failure::Failure;
use crate::telemetry::metrics::Metrics;

/// Tables whose dead rows every look reads past.
const HOT_TABLES: [&str; 5] = ["pending", "leased", "dead", "statistics_log", "inbox"];
const DAY: Duration = Duration::from_secs(24 * 3_600);
/// Days that partitions are made ahead.
const DAYS: u32 = 2;
const MOST_DEAD_ROWS: i64 = 100_000;
const OLDEST_SNAPSHOT_S: f64 = 600.0;
const MOST_LAG_S: f64 = 30.0;

/// The state of the server.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct ServerState {
    /// Days after today that have all their partitions.
    days_ahead: i64,
    dead_rows: i64,
    oldest_snapshot_s: f64,
    standbys: i64,
    lag_s: f64,
    slots: i64,
    inactive_slots: i64,
    /// WAL that slots keep.
    kept_wal_bytes: i64,
}

impl ServerState {
    /// Reads it; a few catalog queries.
    pub(super) async fn read(conn: &mut PgConnection, now: ServiceTime) -> Result<Self, Failure> {
        let row = sqlx::query(
            "SELECT
                (SELECT coalesce(sum(n_dead_tup), 0)::bigint FROM pg_stat_user_tables
                 WHERE schemaname = 'postrider' AND relname = ANY ($1)),
                (SELECT coalesce(extract(epoch FROM max(clock_timestamp() - xact_start)), 0)::float8
                 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
                    AND (backend_xid IS NOT NULL OR backend_xmin IS NOT NULL)),
                (SELECT count(*) FROM pg_stat_replication),
                (SELECT coalesce(extract(epoch FROM max(replay_lag)), 0)::float8 FROM pg_stat_replication),
                (SELECT count(*) FROM pg_replication_slots),
                (SELECT count(*) FROM pg_replication_slots WHERE NOT active),
                (SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), 0)::bigint
                 FROM pg_replication_slots)",
        )
        .bind(HOT_TABLES.map(str::to_owned).to_vec())
        .fetch_one(&mut *conn)
        .await?;
        Ok(Self {
            days_ahead: days_ahead(conn, now).await?,
            dead_rows: row.try_get(0)?,
            oldest_snapshot_s: row.try_get(1)?,
            standbys: row.try_get(2)?,
            lag_s: row.try_get(3)?,
            slots: row.try_get(4)?,
            inactive_slots: row.try_get(5)?,
            kept_wal_bytes: row.try_get(6)?,
        })
    }

    /// For the doctor.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let finding = |check, ok, detail| Finding { check, ok, detail };
        let Self { days_ahead, dead_rows, oldest_snapshot_s, .. } = self;
        vec![
            finding(
                "partitions ahead",
                *days_ahead >= 1,
                format!("{days_ahead} days after today have their partitions"),
            ),
            finding(
                "dead rows",
                *dead_rows <= MOST_DEAD_ROWS,
                format!(
                    "{dead_rows} in the hot tables; autovacuum or an old snapshot is behind above 100,000"
                ),
            ),
            finding(
                "oldest snapshot",
                *oldest_snapshot_s <= OLDEST_SNAPSHOT_S,
                format!("{oldest_snapshot_s:.0} s; rows that are newer cannot be vacuumed"),
            ),
            finding(
                "replication",
                self.lag_s <= MOST_LAG_S && self.inactive_slots == 0,
                format!(
                    "{} standbys, {:.1} s behind at most; {} slots, {} of them inactive, keep {} MiB of WAL",
                    self.standbys,
                    self.lag_s,
                    self.slots,
                    self.inactive_slots,
                    self.kept_wal_bytes >> 20,
                ),
            ),
        ]
    }

    /// For a scrape, which queries nothing.
    pub(super) fn show(&self, metrics: &Metrics) {
        let shown = &metrics.postgres;
        shown.partition_days_ahead.set(self.days_ahead);
        shown.dead_rows.set(self.dead_rows);
        shown.oldest_snapshot_seconds.set(self.oldest_snapshot_s);
        shown.replication_lag_seconds.set(self.lag_s);
        shown.inactive_slots.set(self.inactive_slots);
        shown.kept_wal_bytes.set(self.kept_wal_bytes);
    }
}

/// Days after today that have all their partitions; -1 when today has not.
async fn days_ahead(conn: &mut PgConnection, now: ServiceTime) -> Result<i64, Failure> {
    let mut ahead = -1;
    for number in 0..=DAYS {
        let day = Day::of(now + DAY * number);
        let names: Vec<String> = TABLES.iter().map(|table| day.name(table)).collect();
        let missing: bool = sqlx::query_scalar(
            "SELECT bool_or(to_regclass(name) IS NULL) FROM unnest($1::text[]) AS name",
        )
        .bind(names)
        .fetch_one(&mut *conn)
        .await?;
        if missing {
            break;
        }
        ahead = i64::from(number);
    }
    Ok(ahead)
}

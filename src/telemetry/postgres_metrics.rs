//! Metrics of a PostgreSQL server that holds the database; all zero on SQLite.

use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

/// The state of the server, read once a minute.
#[derive(Debug, Default)]
pub struct PostgresMetrics {
    /// `postrider_postgres_partition_days_ahead`: days after today that have their partitions.
    pub partition_days_ahead: Gauge<i64, AtomicI64>,
    /// `postrider_postgres_dead_rows`: dead rows of the hot tables.
    pub dead_rows: Gauge<i64, AtomicI64>,
    /// `postrider_postgres_oldest_snapshot_seconds`: age of the oldest snapshot.
    pub oldest_snapshot_seconds: Gauge<f64, AtomicU64>,
    /// `postrider_postgres_replication_lag_seconds`: how far the slowest standby is behind.
    pub replication_lag_seconds: Gauge<f64, AtomicU64>,
    /// `postrider_postgres_inactive_slots`: replication slots that nothing reads.
    pub inactive_slots: Gauge<i64, AtomicI64>,
    /// `postrider_postgres_kept_wal_bytes`: WAL that replication slots keep.
    pub kept_wal_bytes: Gauge<i64, AtomicI64>,
}

impl PostgresMetrics {
    pub(super) fn register(&self, to: &mut Registry) {
        to.register(
            "postgres_partition_days_ahead",
            "Days after today that have their partitions",
            self.partition_days_ahead.clone(),
        );
        to.register(
            "postgres_dead_rows",
            "Dead rows of PostgreSQL's hot tables",
            self.dead_rows.clone(),
        );
        to.register_with_unit(
            "postgres_oldest_snapshot",
            "Age of the oldest snapshot in the database",
            Unit::Seconds,
            self.oldest_snapshot_seconds.clone(),
        );
        to.register_with_unit(
            "postgres_replication_lag",
            "How far the slowest standby is behind",
            Unit::Seconds,
            self.replication_lag_seconds.clone(),
        );
        to.register(
            "postgres_inactive_slots",
            "Replication slots that nothing reads",
            self.inactive_slots.clone(),
        );
        to.register_with_unit(
            "postgres_kept_wal",
            "WAL that replication slots keep",
            Unit::Bytes,
            self.kept_wal_bytes.clone(),
        );
    }
}

//! Events of sources with a daily quota, counted by day in the commits that accept them.

use std::collections::BTreeMap;

use rusqlite::params;
use sqlx::sqlite::SqliteConnection;

use super::writer::step::Tx;
use crate::domain::event::Event;
use crate::domain::id::SourceId;
use crate::domain::source_limiter::{SourceUsage, day_of};
use crate::store::failure::Failure;
use crate::store::row::{Columns, count, int};

/// Counts are kept for this many days.
const KEPT_DAYS: i64 = 7;

/// The counts of one commit.
#[derive(Debug, Default)]
pub(super) struct Counts(BTreeMap<(SourceId, i64), u64>);

impl Counts {
    /// Counts an event that was stored.
    pub(super) fn count(&mut self, event: &Event) {
        *self.0.entry((event.source_id, day_of(event.received_at))).or_default() += 1;
    }

    /// Adds them to the stored ones.
    pub(super) fn write(&self, tx: &Tx<'_>) -> rusqlite::Result<()> {
        for ((source_id, day), events) in &self.0 {
            let mut add = tx.prepare(
                "INSERT INTO source_usage (source_id, day, events) VALUES (?, ?, ?)
                 ON CONFLICT (source_id, day) DO UPDATE SET events = events + excluded.events",
            )?;
            add.execute(params![source_id.0, day, int(*events)])?;
            let mut prune =
                tx.prepare("DELETE FROM source_usage WHERE source_id = ? AND day < ?")?;
            prune.execute(params![source_id.0, day - KEPT_DAYS])?;
        }
        Ok(())
    }
}

/// The counts from this day on.
pub(super) async fn since(
    conn: &mut SqliteConnection,
    day: i64,
) -> Result<Vec<SourceUsage>, Failure> {
    let sql = "SELECT source_id, day, events FROM source_usage WHERE day >= ?";
    let rows = sqlx::query(sql).bind(day).fetch_all(conn).await?;
    let usage = rows.iter().map(|row| {
        let mut from = Columns::from(row, 0);
        Ok(SourceUsage {
            source_id: SourceId(from.take()?),
            day: from.take()?,
            events: count(from.take()?),
        })
    });
    usage.collect()
}

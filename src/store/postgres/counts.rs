//! What a transaction counts: changes of the ledger, statistics, and the usage of sources. All are written in the
//! commit of what they count, to rows that no other writer changes.

use std::collections::BTreeMap;

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::ledger::{self, LedgerChange};
use super::rows::{Inserts, NewRows};
use crate::domain::clock::Timestamp;
use crate::domain::event::Event;
use crate::domain::id::SourceId;
use crate::domain::source_limiter::{SourceUsage, day_of};
use crate::store::failure::Failure;
use crate::store::row::{Columns, count};
use crate::store::statistics_counts::{StatisticsCounts, pack};

/// Usage is kept for this many days.
const KEPT_DAYS: i64 = 7;

const USAGE: &str = "source_usage AS u (source_id, day, writer, events)";
const ADD_USAGE: &str =
    "ON CONFLICT (source_id, day, writer) DO UPDATE SET events = u.events + excluded.events";

/// What a transaction counts, and the rows that it writes with that.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) rows: Inserts,
    pub(super) ledger: LedgerChange,
    pub(super) statistics: StatisticsCounts,
    usage: BTreeMap<(SourceId, i64), i64>,
}

impl Counts {
    /// Counts an event for its source's daily quota.
    pub(super) fn used(&mut self, event: &Event) {
        *self.usage.entry((event.source_id, day_of(event.received_at))).or_default() += 1;
    }

    /// Writes rows and counts. Comes last before COMMIT: others of the ledger's row wait for it.
    pub(super) async fn write(
        mut self,
        conn: &mut PgConnection,
        ledger_row: i64,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let mut usage = NewRows::default();
        for ((source_id, day), events) in &self.usage {
            usage.row().int(source_id.0).int(*day).int(ledger_row).int(*events);
        }
        if !self.statistics.is_empty() {
            let mut packed = Vec::new();
            self.statistics.sums(now).values().for_each(|row| pack(row, &mut packed));
            let mut log = NewRows::default();
            log.row().bytes(&packed);
            self.rows.add(log, "statistics_log (counts)", "");
        }
        self.rows.add(usage, USAGE, ADD_USAGE);
        self.ledger.add_to(&mut self.rows, ledger_row);
        self.rows.run(conn).await
    }
}

/// Adds the rows of each source and day to one, and drops those of past days.
const FOLD_USAGE: &str = "WITH gone AS (
        DELETE FROM source_usage WHERE ctid = ANY (ARRAY (
            SELECT ctid FROM source_usage WHERE writer >= 0 OR day < $1
            ORDER BY source_id, day, writer LIMIT 10000 FOR UPDATE SKIP LOCKED))
        RETURNING *
     )
     INSERT INTO source_usage AS u (source_id, day, writer, events)
     SELECT source_id, day, -1, sum(events) FROM gone WHERE day >= $1 GROUP BY source_id, day ";

/// Folds what commits counted into one row each, but for rows that a commit is adding to.
pub(super) async fn fold(conn: &mut PgConnection, now: Timestamp) -> Result<(), sqlx::Error> {
    ledger::fold(&mut *conn).await?;
    sqlx::query(AssertSqlSafe(format!("{FOLD_USAGE}{ADD_USAGE}")))
        .bind(day_of(now) - KEPT_DAYS)
        .execute(conn)
        .await
        .map(|_| ())
}

/// The usage of sources from this day on.
pub(super) async fn usage_since(
    conn: &mut PgConnection,
    day: i64,
) -> Result<Vec<SourceUsage>, Failure> {
    let rows = sqlx::query(
        "SELECT source_id, day, sum(events)::bigint FROM source_usage WHERE day >= $1
         GROUP BY source_id, day",
    )
    .bind(day)
    .fetch_all(conn)
    .await?;
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

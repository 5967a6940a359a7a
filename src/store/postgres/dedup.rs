//! De-duplication slots take turns of 2 hours; one is truncated when its last key is 24 hours old.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::AssertSqlSafe;
use sqlx::Row as _;

use super::tx::{Step, Tx, params};
use crate::domain::service_time::ServiceTime;
use crate::store::failure::Failure;

/// Shared by those who admit keys, in the function `admit`.
const LOCK: i64 = 5_786_930_140_093_827_072;
const SLOTS: i64 = 14;
const TURN: Duration = Duration::from_secs(2 * 3_600);
const KEPT: Duration = Duration::from_secs(24 * 3_600);

/// Truncates expired slots; opens the next one once the open one had its turn and the next is empty.
#[derive(Debug)]
pub(super) struct Rotate {
    pub(super) now: ServiceTime,
}

#[async_trait]
impl Step for Rotate {
    type Answer = ();
    const CONTEXT: &'static str = "rotate the de-duplication slots";

    async fn run(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        if !self.is_due(tx).await? {
            return Ok(());
        }
        tx.execute("SELECT pg_advisory_xact_lock($1)", params![LOCK]).await?;
        // Again: another node may have been first.
        if self.is_due(tx).await? {
            self.rotate(tx).await?;
        }
        Ok(())
    }
}

impl Rotate {
    /// Whether the open slot had its turn or another has expired.
    async fn is_due(&self, tx: &mut Tx<'_>) -> Result<bool, Failure> {
        tx.one(
            "SELECT EXISTS (SELECT 1 FROM dedup_slots WHERE closed_at <= $1
                OR (closed_at IS NULL AND opened_at <= $2))",
            params![(self.now - KEPT).as_micros(), (self.now - TURN).as_micros()],
            |row| Ok(row.try_get(0)?),
        )
        .await
    }

    async fn rotate(&self, tx: &mut Tx<'_>) -> Result<(), Failure> {
        let expired: Vec<i64> = tx
            .all(
                "UPDATE dedup_slots SET opened_at = NULL, closed_at = NULL WHERE closed_at <= $1
                 RETURNING slot",
                params![(self.now - KEPT).as_micros()],
                |row| Ok(row.try_get(0)?),
            )
            .await?;
        for slot in expired {
            let sql = format!("TRUNCATE dedup_{slot}");
            tx.execute(AssertSqlSafe(sql), params![]).await?;
        }
        let open: Option<i64> = tx
            .first(
                "SELECT o.slot FROM dedup_slots AS o
                 JOIN dedup_slots AS n ON n.slot = (o.slot + 1) % $2 AND n.opened_at IS NULL
                 WHERE o.closed_at IS NULL AND o.opened_at <= $1",
                params![(self.now - TURN).as_micros(), SLOTS],
                |row| Ok(row.try_get(0)?),
            )
            .await?;
        let Some(open) = open else { return Ok(()) };
        let now = self.now.as_micros();
        tx.execute("UPDATE dedup_slots SET closed_at = $1 WHERE slot = $2", params![now, open])
            .await?;
        tx.execute(
            "UPDATE dedup_slots SET opened_at = $1 WHERE slot = $2",
            params![now, (open + 1) % SLOTS],
        )
        .await?;
        Ok(())
    }
}

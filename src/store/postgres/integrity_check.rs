//! The consistency check: the ledger against counted rows, rows without what they belong to, leases that the
//! reaper missed, partitions.

use sqlx::postgres::PgConnection;
use sqlx::{Connection as _, Row as _};

use super::ledger;
use crate::domain::service_time::ServiceTime;
use crate::store::Finding;
use crate::store::consistency::{self, CountedDeliveries};
use crate::store::failure::Failure;
use crate::store::row::count;

/// Every check, of one snapshot.
pub(super) async fn check(
    conn: &mut PgConnection,
    now: ServiceTime,
) -> Result<Vec<Finding>, Failure> {
    let mut snapshot = conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let findings = vec![
        consistency::ledger(
            &ledger::read(&mut snapshot).await?,
            &count_deliveries(&mut snapshot).await?,
        ),
        orphans(&mut snapshot).await?,
        leases(&mut snapshot, now).await?,
        partitions(&mut snapshot).await?,
    ];
    snapshot.rollback().await?;
    Ok(findings)
}

/// Deliveries by state.
pub(super) async fn count_deliveries(
    conn: &mut PgConnection,
) -> Result<CountedDeliveries, Failure> {
    let row = sqlx::query(
        "SELECT (SELECT count(*) FROM pending), (SELECT count(*) FROM leased),
            (SELECT count(*) FROM settled WHERE state = 'delivered'), (SELECT count(*) FROM dead),
            (SELECT count(*) FROM settled WHERE state = 'discarded')",
    )
    .fetch_one(conn)
    .await?;
    let at = |index: usize| row.try_get(index).map(count);
    Ok(CountedDeliveries {
        pending: at(0)?,
        leased: at(1)?,
        delivered: at(2)?,
        dead: at(3)?,
        discarded: at(4)?,
    })
}

async fn orphans(conn: &mut PgConnection) -> Result<Finding, Failure> {
    let checks = [
        (
            "deliveries without their event",
            "SELECT count(*) FROM deliveries AS d WHERE NOT EXISTS
                (SELECT 1 FROM events AS e WHERE e.id = d.event_id AND d.id = ANY (e.delivery_ids))",
        ),
        (
            "events without their deliveries",
            "SELECT count(*) FROM events AS e CROSS JOIN unnest(e.delivery_ids) AS g (id)
             WHERE NOT EXISTS (SELECT 1 FROM deliveries AS d WHERE d.id = g.id)",
        ),
        (
            "deliveries in two states",
            "SELECT count(*) FROM (SELECT id FROM deliveries GROUP BY id HAVING count(*) > 1) AS d",
        ),
        (
            "attempts without their delivery",
            "SELECT count(*) FROM attempts AS a WHERE NOT EXISTS
                (SELECT 1 FROM deliveries AS d WHERE d.id = a.delivery_id)",
        ),
        (
            "attempts without their batch",
            "SELECT count(*) FROM attempts AS a WHERE a.batch_id IS NOT NULL AND NOT EXISTS
                (SELECT 1 FROM batches AS b WHERE b.id = a.batch_id)",
        ),
        (
            "batches without an attempt",
            "SELECT count(*) FROM batches AS b WHERE NOT EXISTS
                (SELECT 1 FROM attempts AS a WHERE a.batch_id = b.id)",
        ),
        (
            "deliveries settled by one that was not delivered itself",
            "SELECT count(*) FROM settled AS d LEFT JOIN settled AS w ON w.id = d.settled_by
             WHERE d.settled_by IS NOT NULL AND (w.id IS NULL OR w.state <> 'delivered'
                OR w.settled_by IS NOT NULL OR w.event_id <> d.event_id
                OR w.destination_id <> d.destination_id)",
        ),
    ];
    let mut faults = Vec::new();
    for (what, sql) in checks {
        let found: i64 = sqlx::query_scalar(sql).fetch_one(&mut *conn).await?;
        if found > 0 {
            faults.push(format!("{found} {what}"));
        }
    }
    let detail = if faults.is_empty() {
        "every row has what it belongs to".to_owned()
    } else {
        faults.join("; ")
    };
    Ok(Finding { check: "orphans", ok: faults.is_empty(), detail })
}

/// An overdue lease means that the lease reaper is not running.
async fn leases(conn: &mut PgConnection, now: ServiceTime) -> Result<Finding, Failure> {
    const OVERDUE_US: i64 = 5 * 60 * 1_000_000;
    let row =
        sqlx::query("SELECT count(*), count(*) FILTER (WHERE lease_expires_at < $1) FROM leased")
            .bind(now.as_micros() - OVERDUE_US)
            .fetch_one(conn)
            .await?;
    let (held, overdue): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    let detail = format!("{held} held, {overdue} of them more than 5 minutes past their end");
    Ok(Finding { check: "leases", ok: overdue == 0, detail })
}

/// Rows in default partitions are whole, but retention cannot drop them with their day.
async fn partitions(conn: &mut PgConnection) -> Result<Finding, Failure> {
    let rows: i64 = sqlx::query_scalar(
        "SELECT (SELECT count(*) FROM events_default) + (SELECT count(*) FROM settled_default)
            + (SELECT count(*) FROM attempts_default)",
    )
    .fetch_one(conn)
    .await?;
    let detail = format!("{rows} rows in partitions of no day");
    Ok(Finding { check: "partitions", ok: true, detail })
}
